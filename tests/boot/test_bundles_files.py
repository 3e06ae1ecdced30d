"""Releases that are one file, and links that a release may have to what lies outside of it."""

import gzip
import hashlib
import os
import tarfile

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, document, until
from harness.host.archives import entry, packed, release, tar, zipped

INTO = "/opt/shop"
PROGRAM = b"\x7fELF" + os.urandom(70_000)
JAR = zipped(("META-INF/MANIFEST.MF", 0, b"Manifest-Version: 1.0\n"), system=0)


@pytest.fixture
def machine(with_store):
    return with_store


def bundle(name: str, more: dict | None = None, **fields) -> str:
    return document(bundles={"app": {"s3": f"s3://shop-releases/{name}", "into": INTO, **fields}}, **(more or {}))


def installed(machine, store, text: str):
    """The directory of the current release. A second boot changes nothing, and asks nobody."""
    result = machine.boot(text)
    assert result.code == DONE, result
    before, asked = machine.tree(identity=True), len(store.requests)
    again = machine.boot(text)
    assert set(again.outcomes().values()) == {"unchanged"} and machine.tree(identity=True) == before
    assert len(store.requests) == asked
    return machine.path(f"{INTO}/current").resolve()


# One file.


@pytest.mark.parametrize(
    "name, content, fields, file",
    [
        ("shop-1.2.jar", JAR, {}, "shop-1.2.jar"),
        ("shop-1.2.jar", JAR, {"file": "shop.jar"}, "shop.jar"),
        ("shop-linux-amd64", PROGRAM, {"file": "shop"}, "shop"),
        ("shop.gz", gzip.compress(PROGRAM), {}, "shop"),
        ("shop.zst", packed(PROGRAM, "tar.zst"), {}, "shop"),
        ("shop-1.2.zst", packed(PROGRAM, "tar.zst"), {"file": "shop"}, "shop"),
        ("shop.gz", gzip.compress(PROGRAM), {"file": "shop.gz"}, "shop.gz"),
        ("data.tar.gz", release("tar.gz"), {}, "data.tar.gz"),
    ],
)
def test_a_release_that_is_one_file(machine, store, name, content, fields, file):
    digest = store.put(f"shop-releases/{name}", content)
    directory = installed(machine, store, bundle(name, unpack=False, sha256=digest, **fields))
    assert [path.name for path in directory.iterdir()] == [file]
    decompressed = name.endswith((".gz", ".zst")) and not file.endswith(".gz")
    assert (directory / file).read_bytes() == (PROGRAM if decompressed else content)
    assert machine.mode(f"{INTO}/current/{file}") == "0755"
    assert os.readlink(machine.path(f"{INTO}/current")).startswith("releases/")
    assert f'"sha256":"{digest}"' in machine.path(f"{INTO}/releases/.{directory.name}.json").read_text()


def test_others_refer_to_the_file(machine, store):
    store.put("shop-releases/shop-1.jar", JAR)
    files = {"/etc/shop": {"content": "{{bundles.app.file}} {{bundles.app.version}}\n"}}
    installed(machine, store, bundle("shop-1.jar", {"files": files}, unpack=False, file="shop.jar"))
    assert machine.read("/etc/shop") == f"{INTO}/current/shop.jar shop-1.jar\n"
    wrong = machine.boot(bundle("shop-1.jar", {"files": files}))
    assert wrong.code == BAD_DOCUMENT and "bundles.app does not offer `bundles.app.file`" in wrong.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_owner_and_mode_of_a_file(machine, store):
    machine.write("/etc/passwd", "root:x:0:0::/:/bin/sh\nshop:x:1234:1235::/:/bin/sh\n")
    machine.write("/etc/group", "shop:x:1235:\n")
    store.put("shop-releases/shop.jar", JAR)
    for fields, owner, of_file, of_directory in (
        ({}, (0, 0), "0755", "0755"),
        ({"mode": "0644"}, (0, 0), "0644", "0755"),
        ({"mode": "0640", "owner": "shop"}, (1234, 1235), "0640", "0750"),
        ({"mode": "0600", "owner": "shop"}, (1234, 1235), "0600", "0700"),
    ):
        directory = installed(machine, store, bundle("shop.jar", unpack=False, **fields))
        for path in (directory, directory / "shop.jar"):
            assert (path.stat().st_uid, path.stat().st_gid) == owner
        assert machine.mode(f"{INTO}/current/shop.jar") == of_file and machine.mode(f"{INTO}/current/") == of_directory
    assert len([request for request in store.requests if request.method == "GET"]) == 1


def test_a_file_that_is_gone_or_renamed_is_fetched_again(machine, store):
    store.put("shop-releases/shop.jar", JAR)
    directory = installed(machine, store, bundle("shop.jar", unpack=False))
    (directory / "shop.jar").unlink()
    assert (installed(machine, store, bundle("shop.jar", unpack=False)) / "shop.jar").read_bytes() == JAR
    directory = installed(machine, store, bundle("shop.jar", unpack=False, file="app.jar"))
    assert [path.name for path in directory.iterdir()] == ["app.jar"]
    unpacked = installed(machine, store, bundle("shop.jar", version="shop.jar"))
    assert [path.name for path in unpacked.iterdir()] == ["META-INF"]


def test_releases_of_files_are_kept_and_gone_back_to(machine, store):
    for number in range(1, 4):
        store.put(f"shop-releases/shop-{number}", b"%d" % number)
        installed(machine, store, bundle(f"shop-{number}", unpack=False, file="shop", keep=2))
    asked = len(store.requests)
    directory = installed(machine, store, bundle("shop-2", unpack=False, file="shop", keep=2))
    assert (directory / "shop").read_bytes() == b"2" and len(store.requests) == asked
    assert sorted(path.name for path in machine.path(f"{INTO}/releases").iterdir() if path.is_dir()) == ["shop-2", "shop-3"]


@pytest.mark.parametrize(
    "name, content, fields, said",
    [
        ("shop", b"", {}, "this is an empty file"),
        ("shop.gz", PROGRAM, {}, "this is not gzip, despite its name"),
        ("shop.zst", gzip.compress(PROGRAM), {}, "this is not zstd, despite its name"),
        ("shop.gz", gzip.compress(PROGRAM)[:-9], {}, "it is truncated"),
        ("shop", PROGRAM, {"sha256": hashlib.sha256(b"other").hexdigest()}, "the archive's SHA-256 is"),
        ("shop.gz", gzip.compress(bytes(1100 << 20), 1), {"max_size_gib": 1}, "unpacks to more than"),
    ],
)
def test_a_file_that_is_wrong_never_counts(machine, store, name, content, fields, said):
    store.put("shop-releases/good", b"good")
    directory = installed(machine, store, bundle("good", unpack=False, file="shop"))
    store.put(f"shop-releases/{name}", content)
    result = machine.boot(bundle(name, unpack=False, file="shop", version="bad", **fields))
    assert result.code == FAILED and said in result.failure("bundles.app"), result
    assert machine.path(f"{INTO}/current").resolve() == directory and (directory / "shop").read_bytes() == b"good"
    assert not [path for path in machine.path(f"{INTO}/releases").iterdir() if ".ingot-staged" in path.name]


@pytest.mark.parametrize("after", [0, 1, 1000, 69_999])
def test_killed_while_a_file_comes(machine, store, after):
    store.put("shop-releases/shop-1", b"one")
    installed(machine, store, bundle("shop-1", unpack=False, file="shop"))
    store.put("shop-releases/shop-2", PROGRAM)
    before = len(store.requests)
    store.fault = lambda request: {"stall": after, "seconds": 60}
    text = bundle("shop-2", unpack=False, file="shop")
    running = machine.start_boot(text)
    until("the file is asked for", lambda: len(store.requests) > before, running)
    running.kill()
    running.wait()
    assert (machine.path(f"{INTO}/current").resolve() / "shop").read_bytes() == b"one"
    store.fault = lambda request: None
    assert (installed(machine, store, text) / "shop").read_bytes() == PROGRAM


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"file": "shop.jar"}, "`file` applies to a release that is one file"),
        ({"unpack": False, "file": "bin/shop"}, "`bin/shop` is not the name of a file"),
        ({"unpack": False, "file": ".."}, "`..` is not the name of a file"),
        ({"unpack": False, "strip_components": 1}, "`strip_components` and `links` apply to archives"),
        ({"unpack": False, "links": {"a": "/srv/a"}}, "`strip_components` and `links` apply to archives"),
        ({"links": {"../a": "/srv/a"}}, "`../a` is not the path of a link in the release"),
        ({"links": {"/a": "/srv/a"}}, "`/a` is not the path of a link in the release"),
        ({"links": {"a": "srv/a"}}, "`srv/a` is not an absolute file path"),
        ({"links": {"a": "/srv/../etc"}}, "`/srv/../etc` is not an absolute file path"),
        ({"links": {"a": "/"}}, "`/` is not an absolute file path"),
    ],
)
def test_fields_that_contradict_each_other_are_mistakes(machine, store, fields, said):
    result = machine.boot(bundle("shop", **fields))
    assert result.code == BAD_DOCUMENT and said in result.stderr, result
    assert not store.requests


# Links.


def linked(*links, files=()) -> bytes:
    return tar(*((entry(name, tarfile.SYMTYPE, to), b"") for name, to in links), *((entry(name), b"x") for name in files))


def test_links_out_of_a_release_are_allowed_by_name(machine, store):
    links = [("shared/uploads", "/srv/shared/uploads"), ("shared/cache", "/srv/shared/cache"), ("log", "../../shared/log")]
    store.put("shop-releases/shop.tar", linked(*links))
    refused = machine.boot(bundle("shop.tar"))
    said = refused.failure("bundles.app")
    assert refused.code == FAILED and "the archive holds `shared/uploads`, a link to an absolute path" in said
    assert 'links: { "shared/uploads": "/srv/shared/uploads" }' in said
    allowed = {"shared/*": "/srv/shared", "log": f"{INTO}/shared/log"}
    directory = installed(machine, store, bundle("shop.tar", links=allowed))
    assert {name: os.readlink(directory / name) for name, _ in links} == dict(links)


@pytest.mark.parametrize(
    "name, to",
    [
        ("shared/x", "/srv/sharedevil"),
        ("shared/x", "/srv/shared/../../etc/passwd"),
        ("shared/x", "/etc/passwd"),
        ("shared/deep/x", "/srv/shared/x"),
        ("other", "/srv/shared/x"),
        ("data", "/srv/shared"),
        ("data", "../../../../srv"),
    ],
)
def test_a_link_that_is_not_allowed_leads_nowhere(machine, store, name, to):
    store.put("shop-releases/shop.tar", linked((name, to)))
    result = machine.boot(bundle("shop.tar", links={"shared/*": "/srv/shared", "data": "/srv/data"}))
    assert result.code == FAILED and f"the archive holds `{name}`" in result.failure("bundles.app")
    assert not machine.path(f"{INTO}/current").is_symlink()


def test_nothing_is_written_through_a_link_that_is_allowed(machine, store):
    machine.write("/srv/shared/x", "keep")
    store.put("shop-releases/shop.tar", linked(("shared", "/srv/shared"), files=["shared/x"]))
    result = machine.boot(bundle("shop.tar", links={"shared": "/srv/shared"}))
    assert result.code == FAILED and "goes through a link" in result.failure("bundles.app")
    assert machine.read("/srv/shared/x") == "keep"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_what_a_link_leads_to_stays_as_it_is(machine, store):
    machine.write("/etc/passwd", "root:x:0:0::/:/bin/sh\nshop:x:1234:1235::/:/bin/sh\n")
    machine.write("/etc/group", "shop:x:1235:\n")
    machine.write("/srv/shared/x", "keep")
    links = {"shared": "/srv/shared"}
    for number, owner in ((1, "root"), (1, "shop"), (2, "shop"), (3, "shop")):
        store.put(f"shop-releases/{number}.tar", linked(("shared", "/srv/shared"), files=["a"]))
        # The third has the first removed.
        assert machine.boot(bundle(f"{number}.tar", links=links, owner=owner, keep=1)).code == DONE
    found = machine.path("/srv/shared/x").stat()
    assert machine.read("/srv/shared/x") == "keep" and (found.st_uid, found.st_gid) == (0, 0)


def test_links_are_made_where_the_archive_has_none(machine, store):
    store.put("shop-releases/shop.tar", tar((entry("bin/shop"), b"x"), (entry("log", tarfile.DIRTYPE, mode=0o755), b"")))
    links = {"log": "/srv/log", "public/uploads": "/srv/uploads"}
    directory = installed(machine, store, bundle("shop.tar", links=links))
    assert {name: os.readlink(directory / name) for name in links} == links
    # Another link makes another release of the same archive.
    directory = installed(machine, store, bundle("shop.tar", links={"log": "/srv/other"}))
    assert os.readlink(directory / "log") == "/srv/other" and not (directory / "public").exists()


def test_a_link_does_not_take_the_place_of_what_the_archive_has(machine, store):
    store.put("shop-releases/shop.tar", tar((entry("log/.keep"), b"")))
    said = machine.boot(bundle("shop.tar", links={"log": "/srv/log"})).failure("bundles.app")
    assert "the archive holds `log`, a directory that is not empty, in place of the link to /srv/log that `links` of the bundle requires" in said
