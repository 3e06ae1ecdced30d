"""`ingot-fleet release`: what is packed, what is refused, and that a release is made once, also by a process that is killed."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
import zipfile

import pytest
from harness.agent import DONE, FAILED, USAGE
from harness.fleet import BUCKET

ARCHIVE, MANIFEST = "shop/releases/v1.tar.zst", "shop/releases/v1.json"


@pytest.fixture
def app(fleet):
    fleet.write("app/Procfile", "web: bin/shop\n")
    fleet.write("app/bin/shop", "#!/bin/sh\nexec sleep infinity\n", 0o755)
    fleet.write("app/public/index.html", "hello")
    return fleet


def unpacked(content: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(subprocess.run(["zstd", "-dqc"], input=content, stdout=subprocess.PIPE, check=True).stdout))


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_a_directory_becomes_a_release(app):
    result = app("release", "app", "--name", "v1", "--json")
    assert result.code == DONE, result
    content = app.read(ARCHIVE)
    digest = hashlib.sha256(content).hexdigest()
    manifest = json.loads(app.read(MANIFEST))
    assert {key: manifest[key] for key in ("schema", "application", "name", "sha256", "bytes", "format")} == {
        "schema": 1, "application": "shop", "name": "v1", "sha256": digest, "bytes": len(content), "format": "tar.zst",
    }  # fmt: skip
    assert manifest["by"].startswith("arn:aws:") and manifest["at"].endswith("Z")
    assert result.json == {**manifest, "location": f"s3://{BUCKET}/{ARCHIVE}", "created": True}
    files = {member.name: (member.mode, member.uid, member.mtime) for member in unpacked(content)}
    assert files == {
        "Procfile": (0o644, 0, 315532800),
        "bin": (0o755, 0, 315532800),
        "bin/shop": (0o755, 0, 315532800),
        "public": (0o755, 0, 315532800),
        "public/index.html": (0o644, 0, 315532800),
    }


def test_what_is_printed_is_what_instances_take(app):
    result = app("release", "app", "--name", "v1")
    assert result.stdout == f"v1@sha256:{hashlib.sha256(app.read(ARCHIVE)).hexdigest()}\n", result


def test_the_same_content_again_is_success(app):
    first = app("release", "app", "--name", "v1")
    os.utime(app.directory / "app/Procfile", (1, 1))
    (app.directory / "app/Procfile").chmod(0o664)
    again = app("release", "app", "--name", "v1", "--json")
    assert again.code == DONE and again.json["created"] is False, again
    assert "v1 already exists" in again.stderr
    assert first.stdout == f"v1@sha256:{again.json['sha256']}\n"
    assert len(app.s3.list_object_versions(Bucket=BUCKET)["Versions"]) == 2


def test_other_content_under_the_name_is_refused(app):
    app("release", "app", "--name", "v1")
    before = app.read(ARCHIVE)
    app.write("app/Procfile", "web: bin/other\n")
    result = app("release", "app", "--name", "v1")
    assert result.code == FAILED and result.stdout == "", result
    assert "the release v1 exists with other content: it was made" in result.stderr and "hint: choose another name with --name: a release never changes" in result.stderr
    assert app.read(ARCHIVE) == before and len(app.s3.list_object_versions(Bucket=BUCKET)["Versions"]) == 2


def test_git_names_the_release_and_dates_its_files(app):
    app.write(".gitignore", "*.log\nhome\n")
    app.write("app/debug.log", "noise")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"], ["tag", "-am", "one", "release/1.0"]):
        app.git(*command)
    result = app("release", "app", "--json")
    assert result.code == DONE and result.json["name"] == "release-1.0", result
    assert result.json["revision"] == {"commit": app.git("rev-parse", "HEAD"), "dirty": False}
    [time] = {member.mtime for member in unpacked(app.read("shop/releases/release-1.0.tar.zst"))}
    assert time == 1796068800  # 2026-11-30T20:00:00Z
    # What lies above the directory does not count: a build's directory is often ignored as a whole.
    assert "debug.log" in unpacked(app.read("shop/releases/release-1.0.tar.zst")).getnames()

    app.write("app/Procfile", "web: bin/other\n")
    dirty = app("release", "app", "--json")
    assert dirty.code == DONE and dirty.json["name"] == f"release-1.0-dirty-{dirty.json['sha256'][:8]}", dirty
    assert dirty.json["revision"]["dirty"] and "uncommitted changes" in dirty.stderr


def test_without_git_a_name_is_asked_for(app):
    result = app("release", "app")
    assert result.code == USAGE and "cannot name the release of app: not a git repository" in result.stderr and "--name" in result.stderr, result
    assert app.keys() == []


def test_what_is_left_out(app):
    app.write("app/.git/HEAD", "x")
    app.write("app/.gitignore", "*.map\nnode_modules/\n")
    app.write("app/a.map", "x")
    app.write("app/node_modules/x/index.js", "x")
    app("release", "app", "--name", "v1")
    assert not {".git", "a.map", "node_modules"} & set(unpacked(app.read(ARCHIVE)).getnames())
    # Who deploys what a build made names in .ebignore what is not to come along.
    app.write("app/.ebignore", "*.map\n")
    app("release", "app", "--name", "v2")
    names = unpacked(app.read("shop/releases/v2.tar.zst")).getnames()
    assert "node_modules/x/index.js" in names and "a.map" not in names and ".git" not in names


def test_links_are_kept_and_none_leads_out(app):
    (app.directory / "app/current").symlink_to("public")
    assert app("release", "app", "--name", "v1").code == DONE
    assert unpacked(app.read(ARCHIVE)).getmember("current").linkname == "public"
    for target in ("/etc/passwd", "../fleet.yaml", "public/../../x"):
        (app.directory / "app/out").unlink(missing_ok=True)
        (app.directory / "app/out").symlink_to(target)
        result = app("release", "app", "--name", "v2")
        assert result.code == FAILED and "app/out is a link " in result.stderr and target in result.stderr, result
    assert len(app.keys()) == 2


@pytest.mark.parametrize("suffix", ["tar", "zip", "anything"])
def test_an_archive_is_taken_as_it_is(app, suffix):
    content = tar(Procfile=b"web: x\n")
    if suffix == "zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("Procfile", "web: x\n")
        content = out.getvalue()
    app.write(f"made.{suffix}", content)
    result = app("release", f"made.{suffix}", "--name", "v1", "--json")
    assert result.code == DONE and result.json["format"] == ("zip" if suffix == "zip" else "tar"), result
    assert app.read(ARCHIVE) == content


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "an empty file"),
        (b"\x7fELF" + bytes(600), "an executable (ELF)"),
        (b"\xfd7zXZ\0" + bytes(600), "an xz file"),
        (b"<html>not found</html>", "HTML"),
        (tar(a=bytes(5000))[:2000], "it ends in the middle"),
        (tar(**{"../x": b"x"}), "leads out of its directory"),
        (b"PK\x03\x04" + bytes(600), "damaged"),
    ],
)
def test_a_bad_archive_is_refused_before_anything_is_sent(app, content, says):
    app.write("bad.tar.zst", content)
    result = app("release", "bad.tar.zst", "--name", "v1")
    assert result.code == FAILED and says in result.stderr and "hint: " in result.stderr, result
    assert app.keys() == [] and app.aws.count() == 0


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "a b", "x" * 101, "ü"])
def test_names_that_no_instance_takes(app, name):
    result = app("release", "app", f"--name={name}")
    assert result.code == USAGE and "A-Z a-z 0-9" in result.stderr, result


def test_what_is_not_there(app):
    assert app("release", "nothing", "--name", "v1").code == USAGE
    app.write("empty/.ebignore", "*")
    result = app("release", "empty", "--name", "v1")
    assert result.code == FAILED and "has no files to release" in result.stderr, result
    assert app("release", "app", "--name", "v1", "--file", "other.yaml").code == USAGE


def test_an_archive_is_a_file(app):
    os.mkfifo(app.directory / "pipe")
    for path in ("pipe", "/dev/null"):
        result = app("release", path, "--name", "v1")
        assert result.code == USAGE and "is neither a directory nor a file" in result.stderr and "hint: write the archive to a file" in result.stderr, result
    assert app.aws.count() == 0


# Killed, answered by nobody, raced.


@pytest.mark.parametrize("kind", ["delay", "hang"])  # before the write takes effect, and after it
@pytest.mark.parametrize("key", [ARCHIVE, MANIFEST])
def test_killed_at_any_write_the_next_run_goes_on(app, key, kind):
    app.aws.fault(kind, operation="PutObject", containing=key, times=1, seconds=3600)
    is_there = lambda call: key in call["target"] and (kind == "delay" or "status" in call)
    app.killed("release", "app", "--name", "v1", when=lambda: any(map(is_there, app.aws.calls("PutObject"))))
    app.aws.recover()
    left = {(ARCHIVE, "delay"): [], (MANIFEST, "hang"): [MANIFEST, ARCHIVE]}.get((key, kind), [ARCHIVE])
    assert app.keys() == left
    states = [release["state"] for release in app("releases", "--json").json["releases"]]
    assert states == {0: [], 1: ["unfinished"], 2: ["complete"]}[len(left)]
    result = app("release", "app", "--name", "v1")
    assert result.code == DONE, result
    assert app.keys() == [MANIFEST, ARCHIVE] and len(app.s3.list_object_versions(Bucket=BUCKET)["Versions"]) == 2


@pytest.mark.parametrize("key", [ARCHIVE, MANIFEST])
def test_an_answer_that_got_lost_is_read_back(app, key):
    app.aws.fault("reset", operation="PutObject", containing=key, times=1)
    result = app("release", "app", "--name", "v1", "--json")
    assert result.code == DONE and result.json["created"], result
    assert app.aws.count("PutObject") == 3
    assert len(app.s3.list_object_versions(Bucket=BUCKET)["Versions"]) == 2


def test_of_two_with_other_content_one_makes_it(app):
    app.write("other/Procfile", "web: other\n")
    app.aws.latency(0.2)
    running = [app.start("release", directory, "--name", "v1") for directory in ("app", "other")]
    ended = [(*process.communicate(), process.returncode) for process in running]
    assert sorted(code for *_, code in ended) == [DONE, FAILED], ended
    [refusal] = [stderr for _, stderr, code in ended if code]
    assert "the name v1 is taken" in refusal or "the release v1 exists with other content" in refusal
    assert json.loads(app.read(MANIFEST))["sha256"] == hashlib.sha256(app.read(ARCHIVE)).hexdigest()


def test_two_with_the_same_content_are_both_right(app):
    app.aws.latency(0.2)
    running = [app.start("release", "app", "--name", "v1", "--json") for _ in range(2)]
    ended = [(*process.communicate(), process.returncode) for process in running]
    assert [code for *_, code in ended] == [DONE, DONE], ended
    assert sorted(json.loads(stdout)["created"] for stdout, *_ in ended) == [False, True]


def test_a_large_one_goes_in_parts(app):
    app.env["AWS_ENDPOINT_URL"] = app.aws.direct  # the front keeps every body that it sees
    app.write("app/large", os.urandom(40 << 20))
    result = app("release", "app", "--name", "v1", "--json")
    assert result.code == DONE, result
    assert hashlib.sha256(app.read(ARCHIVE)).hexdigest() == result.json["sha256"]
    assert app.s3.head_object(Bucket=BUCKET, Key=ARCHIVE)["ETag"].endswith('-3"')
    again = app("release", "app", "--name", "v1", "--json")
    assert again.code == DONE and not again.json["created"], again
    # Only the description is missing: it goes on with what is there.
    app.s3.delete_object(Bucket=BUCKET, Key=MANIFEST)
    assert app("release", "app", "--name", "v1").code == DONE
    versions = app.s3.list_object_versions(Bucket=BUCKET, Prefix=ARCHIVE)["Versions"]
    assert len(versions) == 1
    app.write("app/large", b"other")
    other = app("release", "app", "--name", "v1")
    assert other.code == FAILED and "the release v1 exists with other content" in other.stderr, other


def test_memory_is_bounded(app):
    app.env["AWS_ENDPOINT_URL"] = app.aws.direct
    app.write("app/large", os.urandom(300 << 20))
    process = app.start("release", "app", "--name", "v1")
    most = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                most = max([most, *(int(line.split()[1]) for line in status if line.startswith("VmHWM"))])
        except (FileNotFoundError, ProcessLookupError):
            break
        time.sleep(0.01)
    assert process.wait() == DONE, process.communicate()
    assert 10 << 10 < most < 200 << 10, f"{most} KiB"
