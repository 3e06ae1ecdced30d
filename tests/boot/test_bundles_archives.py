"""Archives as real programs make them, as servers send them, and what is said of those that ingot does not read."""

import bz2
import gzip
import io
import lzma
import os
import py_compile
import subprocess
import tarfile
import zipfile

import pytest
from harness.agent import DONE, FAILED, document
from harness.aws.store import Store
from harness.host.archives import FORMATS, RELEASE, classic, entry, packed, release, tar, zipped

INTO = "/opt/shop"


@pytest.fixture
def boot(with_store, store):
    """Boots with a release of this content. Its directory, if it counts."""
    agent = with_store

    def boot(content: bytes, name: str = "shop", **fields):
        store.put(f"shop-releases/{name}", content)
        text = document(bundles={"app": {"s3": f"s3://shop-releases/{name}", "into": INTO, **fields}})
        result = agent.boot(text)
        assert result.code == DONE, result
        assert agent.boot(text).outcomes() == {"bundles.app": "unchanged"}
        return agent.path(f"{INTO}/current").resolve()

    return boot


@pytest.fixture
def refused(with_store, store):
    """Boots with a release that ingot does not take. What it says of it, with its hint."""
    agent = with_store

    def refused(content: bytes, **fields) -> str:
        store.put("shop-releases/shop", content)
        result = agent.boot(document(bundles={"app": {"s3": "s3://shop-releases/shop", "into": INTO, **fields}}))
        assert result.code == FAILED, result
        assert not agent.path(f"{INTO}/current").is_symlink()
        return result.failure("bundles.app")

    return refused


def modes(directory) -> dict[str, str]:
    return {str(path.relative_to(directory)): f"{path.stat().st_mode & 0o7777:04o}" for path in sorted(directory.rglob("*"))}


# On the way.


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_is_not_judged_by_the_first_bytes(agent, store, format):
    agent.env.update(store.env)
    # More than 512 bytes in every format.
    files = {"data": os.urandom(3000)}
    for first in (1, 2, 3, 5, 100, 257, 261, 262, 263, 511, 512, 513, 600):
        store.put(f"shop-releases/{first}", release(format, files))
        store.fault = lambda request, first=first: {"first": first}
        result = agent.boot(document(bundles={"app": {"s3": f"s3://shop-releases/{first}", "into": INTO}}))
        assert result.code == DONE, (first, result)
        assert (agent.path(f"{INTO}/current").resolve() / "data").read_bytes() == files["data"]


def test_a_plain_server_may_send_a_few_bytes_first(agent, tmp_path):
    content = release("tar")
    with Store(tls=tmp_path) as store:
        agent.env.update(store.env)
        digest = store.put("shop", content)
        store.fault = lambda request: {"whole": True, "first": 100}
        result = agent.boot(document(bundles={"app": {"url": f"{store.url}/shop", "sha256": digest, "into": INTO}}))
    assert result.code == DONE, result
    assert (agent.path(f"{INTO}/current").resolve() / "VERSION").read_bytes() == RELEASE["VERSION"]


# Zips.


@pytest.mark.parametrize(
    "system, directory, file",
    [(0, 0, 0), (0, 0x10, 0x20), (3, 0o40000 << 16, 0o100000 << 16), (3, 0o40755 << 16 | 0x10, 0o100644 << 16)],
)
def test_modes_that_a_zip_does_not_say(boot, system, directory, file):
    found = boot(zipped(("lib/", directory, b""), ("lib/shop.jar", file, b"x"), ("README", file, b""), system=system))
    assert modes(found) == {"README": "0644", "lib": "0755", "lib/shop.jar": "0644"}


def test_a_zip_of_powershell(boot):
    found = boot(zipped(("bin\\", 0x10, b""), ("bin\\shop.exe", 0x20, b"shop"), ("lib\\deep\\x", 0x20, b"x"), system=0))
    assert {str(path.relative_to(found)) for path in found.rglob("*") if path.is_file()} == {"bin/shop.exe", "lib/deep/x"}
    assert (found / "bin/shop.exe").read_bytes() == b"shop"


@pytest.mark.parametrize("name", ["..\\victim", "lib\\..\\..\\..\\victim", "\\opt\\victim"])
def test_backslashes_lead_nowhere_else(refused, agent, name):
    agent.write("/opt/victim", "keep")
    said = refused(zipped((name, 0, b"x"), system=0))
    assert "points outside its directory with `..`" in said or "which is an absolute path" in said
    assert agent.read("/opt/victim") == "keep"


def test_a_zip_of_standard_input(boot):
    """`zip - - < FILE` says that its entry is a FIFO, and has sizes of 8 bytes behind its content and of 4 in the list."""
    content = zipped(("-", 0o010600 << 16, b"hello" * 99), stream=True)
    size, listed = len(b"hello" * 99), content.rindex(b"PK\1\2")
    descriptor, end = content.rindex(b"PK\7\10", 0, listed), content.rindex(b"PK\5\6")
    packed = int.from_bytes(content[descriptor + 8 : descriptor + 12], "little")
    long = content[: descriptor + 8] + packed.to_bytes(8, "little") + size.to_bytes(8, "little")
    found = boot(long + content[listed : end + 16] + len(long).to_bytes(4, "little") + content[end + 20 :])
    assert (found / "-").read_bytes() == b"hello" * 99


def test_a_zip_that_was_written_to_a_pipe(boot):
    content = zipped(("a", 0, b"one" * 999), ("empty", 0, b""), ("d/b", 0, b"two"), stream=True)
    assert content[6] & 8, "the bit that says that sizes follow"
    found = boot(content)
    assert (found / "a").read_bytes() == b"one" * 999 and (found / "d/b").read_bytes() == b"two"


@pytest.mark.parametrize("count", [65_535, 65_536])
def test_zips_of_many_entries(boot, count):
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number % 100}/{number}", b"")
    content = output.getvalue()
    for content in [content] if count == 65_535 else [content, classic(content)]:
        found = boot(content, f"shop-{len(content)}")
        assert sum(1 for path in found.rglob("*") if path.is_file()) == count


def test_times_in_zips(boot):
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        extended = zipfile.ZipInfo("extended", (2000, 1, 1, 0, 0, 0))
        extended.extra = b"UT\5\0\1" + (1_700_000_001).to_bytes(4, "little")
        archive.writestr(extended, b"x")
        archive.writestr(zipfile.ZipInfo("dos", (2024, 5, 6, 7, 8, 10)), b"x")
    found = boot(output.getvalue())
    assert (found / "extended").stat().st_mtime == 1_700_000_001
    assert (found / "dos").stat().st_mtime == 1_714_979_290, "2024-05-06 07:08:10 UTC"


# Tars.


def test_no_pyc_is_stale(boot, tmp_path):
    """Python compares the second of a source's time with the one in its .pyc, and its tarfile rounds what a tar without pax
    headers would say."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(20):
        source = tree / f"m{number}.py"
        source.write_text(f"value = {number}\n")
        os.utime(source, ns=(0, 1_700_000_000_000_000_000 + number * 50_000_000 + number * 10_000_000_000))
        py_compile.compile(str(source), cfile=str(source.with_suffix(".pyc")))
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as archive:
        archive.add(tree, ".")
    found = boot(output.getvalue())
    stale = []
    for source in sorted(found.glob("*.py")):
        compiled = source.with_suffix(".pyc").read_bytes()
        assert source.stat().st_mtime_ns == (tree / source.name).stat().st_mtime_ns
        if int.from_bytes(compiled[8:12], "little") != int(source.stat().st_mtime):
            stale.append(source.name)
    assert len(list(found.glob("*.py"))) == 20 and not stale


def test_a_hard_link_to_a_symbolic_link(boot):
    found = boot(
        tar(
            (entry("lib/libx.so.1"), b"x"),
            (entry("lib/libx.so", tarfile.SYMTYPE, "libx.so.1"), b""),
            (entry("lib/liby.so", tarfile.LNKTYPE, "lib/libx.so"), b""),
        )
    )
    assert os.readlink(found / "lib/liby.so") == "libx.so.1" and (found / "lib/liby.so").read_bytes() == b"x"


def test_a_hard_link_to_a_symbolic_link_that_leads_out_from_there(refused):
    said = refused(tar((entry("a/b/c", tarfile.SYMTYPE, "../../x"), b""), (entry("c", tarfile.LNKTYPE, "a/b/c"), b"")))
    assert "the archive holds `c`, a link that points outside the bundle: ../../x" in said


@pytest.mark.parametrize("padding", [b"\0", bytes(10_240), bytes(1 << 20)])
def test_zeros_behind_gzip(boot, padding):
    found = boot(release("tar.gz") + padding)
    assert (found / "VERSION").read_bytes() == b"1\n"


def test_joined_members_and_frames(boot):
    plain = release("tar")
    halves = plain[:1000], plain[1000:]
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    for name, content in (
        ("gzip", b"".join(gzip.compress(half) for half in halves)),
        ("zstd", b"".join(packed(half, "tar.zst") for half in halves)),
        ("skippable", skippable + skippable.join(packed(half, "tar.zst") for half in halves) + skippable),
    ):
        assert (boot(content, name) / "VERSION").read_bytes() == b"1\n", name


# What is not read.


def encrypted() -> bytes:
    """As `zip -e` marks an entry: by a bit before its content, and in the list of contents."""
    content = bytearray(zipped(("secret", 0, b"x")))
    listed = content.rindex(b"PK\1\2")
    content[6] |= 1
    content[listed + 8] |= 1
    return bytes(content)


def split(part: int) -> bytes:
    """The first or the last part of a zip in two."""
    whole = zipped(("shop", 0, os.urandom(5000)))
    if part == 1:
        return b"PK\7\10" + whole[:2000]
    end = whole.rindex(b"PK\5\6")
    return b"\xf0\xf1\xf2" + whole[2000 : end + 4] + b"\1\0" + whole[end + 6 :]


def wide() -> bytes:
    return subprocess.run(["zstd", "-q", "-3", "--zstd=wlog=27"], input=release("tar"), stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize(
    "content, said, hint",
    [
        (lambda: lzma.compress(release("tar")), "this is an xz file", "zstd"),
        (lambda: bz2.compress(release("tar")), "this is a bzip2 file", "zstd"),
        (lambda: b"7z\xbc\xaf\x27\x1c" + bytes(600), "this is a 7z archive", "tar.zst or zip"),
        (lambda: b"Rar!\x1a\x07\x01\x00" + bytes(600), "this is a rar archive", "tar.zst or zip"),
        (lambda: b"\x04\x22\x4d\x18" + bytes(600), "this is an lz4 file", "zstd"),
        (encrypted, "this is an encrypted zip: `secret` needs a password", "without a password"),
        (lambda: split(1), "this is the first part of a split zip", "zip -s 0"),
        (lambda: split(2), "this is the last part of a split zip", "zip -s 0"),
        (wide, "this is zstd with a window of more than 16 MiB", "`--long`"),
        (lambda: b"<!DOCTYPE html><html><body>Sign in</body></html>", "it looks like HTML or XML", "curl"),
        (lambda: b"", "it looks like an empty file", "publish"),
        (lambda: b"\x7fELF" + bytes(600), "this is an executable (ELF)", "unpack: false"),
        (lambda: gzip.compress(b"\x7fELF" + bytes(600)), "this is an executable (ELF), compressed with gzip", "unpack: false"),
    ],
    ids=["xz", "bzip2", "7z", "rar", "lz4", "encrypted", "split-first", "split-last", "window", "page", "empty", "program", "gzip-program"],
)
def test_what_ingot_does_not_read_is_named(refused, content, said, hint):
    message = refused(content())
    assert said in message and "damaged" not in message
    assert hint in message.partition("hint: ")[2], message
