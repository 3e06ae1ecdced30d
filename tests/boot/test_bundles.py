"""Releases from S3 and from plain servers, through bad networks, in bad archives, onto full disks."""

import base64
import hashlib
import json
import os
import random
import subprocess
import tarfile
import threading
import time

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, UNREACHABLE, Agent, binary, document, peak_memory
from harness.aws.store import Store, error
from harness.host import archives
from harness.host.archives import FORMATS, RELEASE, entry, packed, release, tar

KEYS = ("ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "harness-session-token")
INTO = "/opt/shop"


@pytest.fixture
def machine(with_store):
    return with_store


def bundle(source: str = "s3://shop-releases/shop-1.tar.gz", **fields) -> str:
    kind = "s3" if source.startswith("s3:") else "url" if source.startswith("https:") else "parameter"
    return document(bundles={"app": {kind: source, "into": INTO, **fields}})


def holds(agent: Agent, files: dict[str, bytes]) -> None:
    """`current` leads to a release of just these files, and nothing is left over."""
    current = agent.path(f"{INTO}/current")
    assert current.is_symlink() and os.readlink(current).startswith("releases/")
    found = {str(path.relative_to(current.resolve())): path.read_bytes() for path in current.resolve().rglob("*") if path.is_file()}
    assert found == files
    clean(agent)


def clean(agent: Agent) -> None:
    releases = agent.path(f"{INTO}/releases")
    assert not releases.exists() or not [path for path in releases.iterdir() if ".ingot-staged" in path.name]


def nothing(agent: Agent) -> None:
    """No release counts, and none is left over."""
    assert not agent.path(f"{INTO}/current").is_symlink()
    clean(agent)


def releases(agent: Agent) -> list[str]:
    return sorted(path.name for path in agent.path(f"{INTO}/releases").iterdir() if path.is_dir())


# Where it comes from.


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_from_s3(agent, aws, format):
    content = release(format)
    aws.client("s3").create_bucket(Bucket="shop-releases", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    aws.client("s3").put_object(Bucket="shop-releases", Key=f"a b/shop-1.{format}", Body=content)
    text = bundle(f"s3://shop-releases/a b/shop-1.{format}", sha256=hashlib.sha256(content).hexdigest())
    result = agent.boot(text)
    assert result.code == DONE, result
    holds(agent, RELEASE)
    assert releases(agent) == [f"shop-1-{hashlib.sha256(content).hexdigest()[:8]}"]
    assert agent.mode(f"{INTO}/current/bin/shop") == "0755" and agent.mode(f"{INTO}/current/empty") == "0644"
    before, calls = agent.tree(identity=True), aws.count()
    again = agent.boot(text)
    assert again.outcomes() == {"bundles.app": "unchanged"} and agent.tree(identity=True) == before
    assert aws.count() == calls, "a second boot asked AWS"


def test_a_version_of_an_object(agent, aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="shop-releases", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket="shop-releases", VersioningConfiguration={"Status": "Enabled"})
    put = lambda files: s3.put_object(Bucket="shop-releases", Key="shop.tar", Body=release("tar", files))["VersionId"]  # noqa: E731
    versions = [put({"VERSION": b"1"}), put({"VERSION": b"2"})]
    for version, content in zip(versions, (b"1", b"2"), strict=True):
        result = agent.boot(bundle("s3://shop-releases/shop.tar", version_id=version))
        assert result.code == DONE, result
        holds(agent, {"VERSION": content})
    assert len(releases(agent)) == 2


def test_a_parameter_names_the_release(machine, store, aws):
    for number in (1, 2):
        content = release("tar.zst", {"VERSION": b"%d" % number})
        store.put(f"shop-releases/shop-{number}.tar.zst", content)
        aws.parameter("/shop/release", f"s3://shop-releases/shop-{number}.tar.zst\n")
        result = machine.boot(bundle("/shop/release"))
        assert result.code == DONE, result
        holds(machine, {"VERSION": b"%d" % number})
    aws.parameter("/shop/release", "shop-3")
    result = machine.boot(bundle("/shop/release"))
    assert "`shop-3` is neither s3://BUCKET/KEY nor an https URL" in result.failure("bundles.app")
    holds(machine, {"VERSION": b"2"})


def test_a_plain_server(agent, tmp_path):
    with Store(tls=tmp_path) as store:
        agent.env.update(store.env)
        digest = store.put("files/shop-1.zip", release("zip"))
        store.fault = lambda request: (
            {"status": 302, "headers": {"Location": "/files/shop-1.zip"}} if request.path == "/latest?token=s3cr3t" else None
        )
        encoded = base64.b64encode(bytes.fromhex(digest)).decode()
        result = agent.boot(bundle(f"{store.url}/latest?token=s3cr3t", sha256=encoded))
        assert result.code == DONE, result
        holds(agent, RELEASE)
        assert not agent.leaks(result, ["s3cr3t"])
        assert not any("authorization" in request.headers for request in store.requests)
        result = agent.boot(bundle(f"{store.url}/gone", sha256=digest))
        assert "not found (status 404)" in result.failure("bundles.app")


def test_a_url_without_a_digest_is_a_mistake(agent):
    assert agent.boot(bundle("https://example.com/x.tar")).code == BAD_DOCUMENT


def test_requests_are_signed_as_s3_wants_it(machine, store):
    store.put("shop-releases/a%20b/%C3%BC%2B%281%29.tar", release("tar"))
    store.credentials = KEYS
    result = machine.boot(bundle("s3://shop-releases/a b/ü+(1).tar", strip_components=0))
    # The token is that of the stand-in for IMDS: it goes along, signed.
    assert result.code == DONE, result
    assert all(request.signed and request.region == "eu-central-1" for request in store.requests)
    assert all("x-amz-security-token" in request.headers["authorization"] for request in store.requests)


def test_a_bucket_of_another_region(machine, store):
    store.put("shop-releases/shop-1.tar.gz", release("tar.gz"))
    store.fault = lambda request: (
        error(301, "PermanentRedirect", "use another", **{"x-amz-bucket-region": "us-west-2"}) if request.region != "us-west-2" else None
    )
    result = machine.boot(bundle())
    assert result.code == DONE, result
    assert [request.region for request in store.requests][:2] == ["eu-central-1", "us-west-2"]
    store.fault = lambda request: error(301, "PermanentRedirect", "use another")
    result = machine.boot(bundle("s3://shop-releases/other.tar"))
    assert "get-bucket-location" in result.failure("bundles.app")


@pytest.mark.parametrize(
    "refusal, said",
    [
        (error(404, "NoSuchKey", "The specified key does not exist."), "upload s3://shop-releases/shop-1.tar.gz"),
        (error(404, "NoSuchBucket", "The specified bucket does not exist"), "correct the bucket's name"),
        (error(403, "AccessDenied", "Access Denied"), "allow s3:GetObject on arn:aws:s3:::shop-releases/shop-1.tar.gz"),
        (error(403, "AccessDenied", "not authorized to perform: kms:Decrypt on resource"), "allow kms:Decrypt"),
        (error(403, "InvalidObjectState", "not valid for the object's storage class"), "restore the object from Glacier"),
        ({"status": 200, "body": b"<html>"}, "this is not an archive: it looks like HTML or XML"),
    ],
)
def test_what_s3_refuses_is_told_apart(machine, store, refusal, said):
    store.fault = lambda request: refusal
    result = machine.boot(bundle())
    assert result.code == FAILED, result
    assert said in result.failure("bundles.app")
    nothing(machine)


def test_an_empty_object(machine, store):
    store.put("shop-releases/shop-1.tar.gz", b"")
    assert "it looks like an empty file" in machine.boot(bundle()).failure("bundles.app")


# On the way.


def test_what_is_throttled_or_cut_off_is_asked_for_again(machine, store):
    content = random.Random(3).randbytes(11 << 20)
    store.put("shop-releases/shop-1.tar.gz", release("tar.gz", {"data": content}))
    random_ = random.Random(4)
    asked = []

    def fault(request):
        asked.append(request.range)
        if len(asked) == 1:
            return error(503, "SlowDown", "Please reduce your request rate.")
        return {"cut": random_.randrange(1, 3 << 20)} if len(asked) < 12 else None

    store.fault = fault
    result = machine.boot(bundle())
    assert result.code == DONE, result
    holds(machine, {"data": content})
    # What had come was not asked for again.
    assert any(span and span[0] % (2 << 20) for span in asked), asked


def test_several_ranges_at_once(machine, store):
    store.put("shop-releases/shop-1.tar.gz", release("tar.gz", {"data": random.Random(3).randbytes(22 << 20)}))
    under_way, most, news = [], [0], threading.Condition()

    def fault(request):
        # Only the first request comes without a tag, and the others wait for its answer.
        if "if-match" not in request.headers:
            return
        with news:
            under_way.append(request)
            most.append(len(under_way))
            news.notify_all()
            news.wait_for(lambda: max(most) >= 4, 60)
        # Time for a fifth request, which must not come.
        time.sleep(0.2)
        with news:
            under_way.remove(request)

    store.fault = fault
    result = machine.boot(bundle())
    assert result.code == DONE and max(most) == 4, (result, most)
    tags = {request.headers.get("if-match") for request in store.requests if request.method == "GET"}
    assert len(tags) == 2 and None in tags, tags


def test_a_server_that_knows_no_ranges(agent, tmp_path):
    content = random.Random(3).randbytes(9 << 20)
    with Store(tls=tmp_path) as store:
        agent.env.update(store.env)
        digest = store.put("shop-1.tar", release("tar", {"data": content}))
        # Cut off twice: with nothing to go on from, it begins anew.
        store.fault = lambda request: {"whole": True, **({"cut": 5 << 20} if request.number < 4 else {})}
        result = agent.boot(bundle(f"{store.url}/shop-1.tar", sha256=digest))
        assert result.code == DONE, result
        holds(agent, {"data": content})


def test_an_object_that_is_replaced_while_it_comes(machine, store):
    contents = [release("tar", {"data": random.Random(seed).randbytes(9 << 20)}) for seed in (1, 2)]
    store.put("shop-releases/shop-1.tar.gz", contents[0])

    def fault(request):
        if request.range and request.range[0]:
            store.put("shop-releases/shop-1.tar.gz", contents[1])

    store.fault = fault
    result = machine.boot(bundle())
    assert result.code == DONE, result
    holds(machine, {"data": random.Random(2).randbytes(9 << 20)})


def test_nobody_answers(agent, aws):
    agent.env["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:9"
    result = agent.boot(bundle(timeout="3s"))
    assert result.code == UNREACHABLE, result
    nothing(agent)


# What it should be.


def test_another_archive_is_not_installed(machine, store):
    first = store.put("shop-releases/shop-1.tar.gz", release("tar.gz"))
    assert machine.boot(bundle(sha256=first)).code == DONE
    store.put("shop-releases/shop-2.tar.gz", release("tar.gz", {"evil": b"x"}))
    result = machine.boot(bundle("s3://shop-releases/shop-2.tar.gz", sha256=hashlib.sha256(b"2").hexdigest()))
    assert result.code == FAILED and "the archive's SHA-256 is" in result.failure("bundles.app")
    holds(machine, RELEASE)
    assert len(releases(machine)) == 1


def test_the_digest_that_s3_keeps(machine, store):
    content = release("tar.gz")
    digest = lambda content: base64.b64encode(hashlib.sha256(content).digest()).decode()  # noqa: E731
    store.put("shop-releases/shop-1.tar.gz", content, x_amz_checksum_sha256=digest(content), x_amz_checksum_type="FULL_OBJECT")
    result = machine.boot(bundle())
    assert result.code == DONE and not result.report["warnings"], result
    store.put("shop-releases/shop-2.tar.gz", content, x_amz_checksum_sha256=digest(b"x"), x_amz_checksum_type="FULL_OBJECT")
    assert "the archive's SHA-256 is" in machine.boot(bundle("s3://shop-releases/shop-2.tar.gz")).failure("bundles.app")
    store.put("shop-releases/shop-3.tar.gz", content)
    result = machine.boot(bundle("s3://shop-releases/shop-3.tar.gz"))
    assert result.code == DONE and "the digest of s3://shop-releases/shop-3.tar.gz is not given" in result.report["warnings"][0]


# Archives that mean harm.

EVIL = {
    "parent": tar((entry("../victim"), b"x")),
    "absolute": tar((entry("/opt/victim"), b"x")),
    "link-out": tar((entry("a", tarfile.SYMTYPE, "/opt"), b""), (entry("a/victim"), b"x")),
    "link-up": tar((entry("a", tarfile.SYMTYPE, ".."), b""), (entry("a/victim"), b"x")),
    "link-chain": tar((entry("a/b/c", tarfile.SYMTYPE, "../.."), b""), (entry("d", tarfile.SYMTYPE, "a/b/c/.."), b""), (entry("d/victim"), b"x")),
    "link-inside": tar((entry("a", tarfile.SYMTYPE, "b"), b""), (entry("b", tarfile.DIRTYPE, mode=0o755), b""), (entry("a/x"), b"x")),
    "hard-link": tar((entry("a", tarfile.LNKTYPE, "../../victim"), b"")),
    "device": tar((entry("null", tarfile.CHRTYPE), b"")),
    "fifo": tar((entry("fifo", tarfile.FIFOTYPE), b"")),
    "long-name": tar((entry("x" * 300), b"x")),
    "deep": tar((entry("d/" * 300 + "x"), b"x"), format=tarfile.PAX_FORMAT),
    "file-and-directory": tar((entry("a"), b"x"), (entry("a/b"), b"x")),
    "bomb": tar((entry("zeros"), bytes(1100 << 20))),
}


@pytest.mark.parametrize("name", EVIL)
def test_an_evil_archive_is_refused(machine, store, name):
    machine.write("/opt/victim", "keep")
    before = machine.tree()
    store.put("shop-releases/shop-1.tar.gz", packed(EVIL[name], "tar.gz"))
    result = machine.boot(bundle())
    assert result.code == FAILED, result
    said = result.failure("bundles.app")
    assert ("the archive holds `" in said or "unpacks to more than" in said) and "hint: None" not in said
    nothing(machine)
    made = {path for path in machine.tree().items() if path not in before.items()}
    assert {path for path, _ in made} <= {"opt/shop", "opt/shop/releases", "run", "var", "var/lib"}


def test_what_is_strange_but_does_no_harm(machine, store):
    entries = [
        (entry("twice"), b"one"),
        (entry("twice"), b"two"),
        (entry("long/" + "n" * 250), b"long"),
        (entry("caf\udce9"), b"latin-1"),
        (entry("bin/su", mode=0o6755), b"x"),
        (entry("open", mode=0o666), b"x"),
        (entry("link", tarfile.SYMTYPE, "bin/su"), b""),
        (entry("hard", tarfile.LNKTYPE, "bin/su"), b""),
    ]
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        store.put(f"shop-releases/{format}.tar.gz", packed(tar(*entries, format=format), "tar.gz"))
        result = machine.boot(bundle(f"s3://shop-releases/{format}.tar.gz"))
        assert result.code == DONE, result
        current = machine.path(f"{INTO}/current").resolve()
        assert (current / "twice").read_bytes() == b"two" and (current / f"long/{'n' * 250}").read_bytes() == b"long"
        assert (current / os.fsdecode(b"caf\xe9")).read_bytes() == b"latin-1"
        assert (machine.mode(f"{INTO}/current/bin/su"), machine.mode(f"{INTO}/current/open")) == ("0755", "0644")
        assert (current / "hard").stat().st_ino == (current / "bin/su").stat().st_ino
        assert any("removed setuid and setgid from" in warning for warning in result.report["warnings"])


def test_what_gnu_tar_and_zip_make(machine, store, tmp_path):
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/shop").write_text("shop")
    (tree / "bin/shop").chmod(0o755)
    (tree / "link").symlink_to("bin/shop")
    with (tree / "sparse").open("wb") as sparse:
        sparse.seek(5 << 20)
        sparse.write(b"end")
    for number, options in enumerate((["--format=gnu", "--sparse"], ["--format=posix"], ["--format=ustar"], ["--format=oldgnu", "-S"])):
        path = tmp_path / f"{number}.tar"
        subprocess.run(["tar", "-C", tree, *options, "-cf", path, "."], check=True)
        store.put(f"shop-releases/{number}.tar", path)
        result = machine.boot(bundle(f"s3://shop-releases/{number}.tar"))
        assert result.code == DONE, result
        same = subprocess.run(["diff", "-r", "--no-dereference", tree, machine.path(f"{INTO}/current").resolve()], capture_output=True)
        assert same.returncode == 0, same


def test_many_small_files(machine, store):
    files = {f"d{number // 500}/f{number}": b"%d" % number for number in range(100_000)}
    store.put("shop-releases/shop-1.tar.zst", release("tar.zst", files))
    result = machine.boot(bundle("s3://shop-releases/shop-1.tar.zst"))
    assert result.code == DONE, result
    assert sum(1 for path in machine.path(f"{INTO}/current").resolve().rglob("*") if path.is_file()) == 100_000


# Disks and crashes.


def mounted(agent: Agent, size: str):
    at = agent.path("/opt")
    at.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", at], check=True)
    return at


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a filesystem")
@pytest.mark.parametrize("format", ("tar.gz", "zip"))
def test_a_full_disk(machine, store, format):
    at = mounted(machine, "24m")
    try:
        store.put(f"shop-releases/1.{format}", release(format, {"data": random.Random(1).randbytes(30 << 20)}))
        result = machine.boot(bundle(f"s3://shop-releases/1.{format}"))
        assert "the filesystem of /opt/shop has room for" in result.failure("bundles.app")
        gets = [request for request in store.requests if request.method == "GET"]
        assert len(gets) == 1, "more than the first range was asked for"
        # One that says little of itself beforehand.
        store.put(f"shop-releases/2.{format}", release(format, {"data": bytes(60 << 20)}))
        result = machine.boot(bundle(f"s3://shop-releases/2.{format}"))
        assert result.code == FAILED and "has no space for" in result.failure("bundles.app"), result
        nothing(machine)
        assert os.statvfs(at).f_bavail * os.statvfs(at).f_frsize > 23 << 20
        store.put(f"shop-releases/3.{format}", release(format))
        assert machine.boot(bundle(f"s3://shop-releases/3.{format}")).code == DONE
        holds(machine, RELEASE)
    finally:
        subprocess.run(["umount", at], check=True)


@pytest.mark.parametrize("seed", range(6))
def test_killed_in_the_middle(machine, store, seed):
    random_ = random.Random(seed)
    files = {f"f{number}": random_.randbytes(200_000) for number in range(60)}
    store.put("shop-releases/shop-1.tar.gz", release("tar.gz"))
    store.put("shop-releases/shop-2.tar.zst", release("tar.zst", files))
    assert machine.boot(bundle()).code == DONE
    text = bundle("s3://shop-releases/shop-2.tar.zst")
    running = machine.start_boot(text)
    time.sleep(random_.random() * 0.3)
    running.kill()
    running.wait()
    current = os.readlink(machine.path(f"{INTO}/current"))
    assert current in ("releases/shop-1", "releases/shop-2")
    if current == "releases/shop-1":
        assert (machine.path(f"{INTO}/current").resolve() / "VERSION").read_bytes() == b"1\n"
    result = machine.boot(text)
    assert result.code == DONE, result
    holds(machine, files)


def test_releases_are_kept_and_gone_back_to(machine, store):
    for number in range(1, 6):
        store.put(f"shop-releases/shop-{number}.tar.gz", release("tar.gz", {"VERSION": b"%d" % number}))
        assert machine.boot(bundle(f"s3://shop-releases/shop-{number}.tar.gz", keep=2)).code == DONE
        assert releases(machine) == [f"shop-{kept}" for kept in range(max(1, number - 1), number + 1)]
    asked = len(store.requests)
    result = machine.boot(bundle("s3://shop-releases/shop-4.tar.gz", keep=2))
    assert result.step("bundles.app")["changes"] == ["switch /opt/shop/current from releases/shop-5 to releases/shop-4"]
    assert len(store.requests) == asked
    holds(machine, {"VERSION": b"4"})


def test_what_ingot_has_not_made_stays(machine, store):
    store.put("shop-releases/shop-1.tar.gz", release("tar.gz"))
    machine.write(f"{INTO}/releases/shop-1/mine", "keep")
    result = machine.boot(bundle())
    assert "/opt/shop/releases/shop-1 already exists, and was not created by ingot" in result.failure("bundles.app")
    assert machine.read(f"{INTO}/releases/shop-1/mine") == "keep"
    machine.write(f"{INTO}/current/mine", "keep")
    assert machine.boot(bundle(version="other")).code == FAILED
    assert machine.read(f"{INTO}/current/mine") == "keep"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_owner_and_mode(machine, store):
    machine.write("/etc/passwd", "root:x:0:0::/:/bin/sh\nshop:x:1234:1235::/:/bin/sh\n")
    machine.write("/etc/group", "shop:x:1235:\n")
    store.put("shop-releases/shop-1.tar.gz", release("tar.gz"))
    for fields, owner, mode in (({}, (0, 0), "0755"), ({"owner": "shop", "mode": "0750"}, (1234, 1235), "0750")):
        result = machine.boot(bundle(**fields))
        assert result.code == DONE, result
        current = machine.path(f"{INTO}/current").resolve()
        found = {(path.lstat().st_uid, path.lstat().st_gid) for path in (current, *current.rglob("*"))}
        assert found == {owner} and machine.mode(str(current).removeprefix(str(machine.root))) == mode
    assert len([request for request in store.requests if request.method == "GET"]) == 1


@pytest.mark.parametrize("format", FORMATS[1:])
def test_200_megabytes_in_little_memory(machine, store, tmp_path_factory, format):
    large = archives.large(tmp_path_factory.getbasetemp(), format, 200)
    digest = store.put(f"shop-releases/large.{format}", large)
    text = bundle(f"s3://shop-releases/large.{format}", sha256=digest).encode()
    peak = peak_memory([str(binary()), *machine.boot_args(text)], machine.env, text)
    idle = document(files={"/etc/x": {"content": "x"}}).encode()
    own = peak_memory([str(binary()), *machine.boot_args(idle)], machine.env, idle)
    # Of the program that is baked into images, and of any build by what the bundle adds to it.
    assert peak - own < 28 << 10, f"{peak} KiB, without a bundle {own} KiB"
    assert peak < 40 << 10 or binary().stat().st_size > 20_000_000, f"{peak} KiB"
    tree = tmp_path_factory.getbasetemp() / "tree-200"
    same = subprocess.run(["diff", "-rq", tree, machine.path(f"{INTO}/current").resolve()], capture_output=True)
    assert same.returncode == 0, same


def test_the_report_says_how_far_it_is(machine, store):
    store.put("shop-releases/shop-1.tar.gz", release("tar.gz", {"data": random.Random(3).randbytes(20 << 20)}))
    store.fault = lambda request: {"stall": 1 << 20, "seconds": 300} if request.range and request.range[0] == 4 << 20 else None
    running = machine.start_boot(bundle())
    report = machine.path("/run/ingot/report.json")
    end = time.monotonic() + 60
    seen = None
    while not seen and time.monotonic() < end:
        steps = json.loads(report.read_bytes())["steps"] if report.exists() else []
        seen = next((step["progress"] for step in steps if step.get("progress")), None)
        time.sleep(0.05)
    running.kill()
    running.wait()
    assert seen and seen["of_bytes"] > 20 << 20


def test_a_range_that_nobody_sends_is_told_at_the_deadline(machine, store):
    def range_of(fault):
        return lambda request: fault if request.range and request.range[0] >> 21 == 2 else None

    store.put("shop-releases/shop-1.tar.gz", release("tar.gz", {"data": random.Random(3).randbytes(20 << 20)}))
    store.fault = range_of(error(503, "SlowDown", "Please reduce your request rate."))
    throttled = machine.boot(bundle(), "--deadline", "5s")
    assert "to try again: GetObject" in throttled.failure("bundles.app"), throttled
    # Far longer than a call may be silent.
    store.fault = range_of({"stall": 1, "seconds": 60})
    silent = machine.boot(bundle(), "--deadline", "20s")
    assert silent.code == UNREACHABLE and "no response in time" in silent.failure("bundles.app"), silent
    store.fault = range_of(None)
    assert machine.boot(bundle()).code == DONE
