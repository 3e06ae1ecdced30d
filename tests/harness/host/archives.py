"""Archives for tests: releases in every format, and those that mean harm."""

import io
import random
import subprocess
import tarfile
import zipfile
from pathlib import Path

FORMATS = ("tar", "tar.gz", "tar.zst", "zip")

RELEASE = {"bin/shop": b"#!/bin/sh\necho shop\n", "lib/a/b/data": bytes(range(256)) * 3000, "empty": b"", "VERSION": b"1\n"}


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size, info.mtime = kind, link, mode, size, 1_600_000_000
    return info


def tar(*entries, format: int = tarfile.GNU_FORMAT) -> bytes:
    """Of pairs of an entry and its content."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=format, encoding="utf-8", errors="surrogateescape") as archive:
        for info, content in entries:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return output.getvalue()


def release(format: str, files: dict[str, bytes] | None = None) -> bytes:
    """A release of these files, in one of FORMATS."""
    files = RELEASE if files is None else files
    if format == "zip":
        output = io.BytesIO()
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (0o100755 if name.startswith("bin/") else 0o100644) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, content)
        return output.getvalue()
    plain = tar(*((entry(name, mode=0o755 if name.startswith("bin/") else 0o644), content) for name, content in files.items()))
    return packed(plain, format)


def zipped(*entries, system: int = 3, stream: bool = False) -> bytes:
    """A zip of triples of a name, attributes as Python's zipfile has them, and content. `system` 0 is MS-DOS, which Java's
    jar tool, Go's archive/zip and PowerShell say they are, and 3 Unix. `stream`: as written to a pipe."""
    output = Pipe() if stream else io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, attributes, content in entries:
            info = zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10))
            # As it is: it would have its backslashes taken for separators on Windows only.
            info.filename, info.create_system, info.external_attr, info.compress_type = name, system, attributes, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return output.getvalue()


class Pipe(io.RawIOBase):
    """Takes what is written, and goes back nowhere."""

    def __init__(self):
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content) -> int:
        self.content += bytes(content)
        return len(bytes(content))

    def getvalue(self) -> bytes:
        return bytes(self.content)


def classic(archive: bytes) -> bytes:
    """A zip without the records of zip64: as old writers made it, with the last 16 bits of the number of its entries."""
    record, locator, end = archive.rindex(b"PK\6\6"), archive.rindex(b"PK\6\7"), archive.rindex(b"PK\5\6")
    count = int.from_bytes(archive[record + 32 : record + 40], "little") & 0xFFFF
    assert record < locator < end
    return archive[:record] + archive[end : end + 8] + 2 * count.to_bytes(2, "little") + archive[end + 12 :]


def packed(plain: bytes, format: str) -> bytes:
    if format == "tar":
        return plain
    program = ["gzip", "-1"] if format == "tar.gz" else ["zstd", "-q", "-3"]
    return subprocess.run(program, input=plain, stdout=subprocess.PIPE, check=True).stdout


def large(directory: Path, format: str, megabytes: int, seed: int = 7) -> Path:
    """An archive of about so many megabytes: half of it cannot be compressed, half of it is like text."""
    path = directory / f"large-{megabytes}.{format}"
    if path.exists():
        return path
    tree = directory / f"tree-{megabytes}"
    if not tree.exists():
        random_ = random.Random(seed)
        words = [random_.randbytes(random_.randrange(2, 9)).hex() for _ in range(4000)]
        for number in range(megabytes):
            part = tree / f"part-{number % 16:02}"
            part.mkdir(parents=True, exist_ok=True)
            (part / f"{number}.bin").write_bytes(random_.randbytes(1 << 19))
            text = " ".join(random_.choices(words, k=130_000))
            (part / f"{number}.txt").write_text(text)
        (tree / "bin").mkdir()
        (tree / "bin/shop").write_bytes(b"#!/bin/sh\n")
    if format == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for file in sorted(tree.rglob("*")):
                archive.write(file, file.relative_to(tree))
        return path
    program = {"tar": "cat", "tar.gz": "gzip -1", "tar.zst": "zstd -q -3"}[format]
    subprocess.run(["tar", "-C", tree, "--use-compress-program", program, "-cf", path, "."], check=True)
    return path
