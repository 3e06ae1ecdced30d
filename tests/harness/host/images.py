"""Disk images with a filesystem and files on it, made without mounting anything.

    image = filesystem(directory / "shop.img", "xfs", {"db/table": b"…"}, size_gib=1, label="shop")
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

GIB = 1 << 30

# The smallest filesystems that each mkfs makes without complaint, in GiB.
SMALLEST = {"xfs": 300 / 1024, "ext4": 32 / 1024, "btrfs": 128 / 1024, "swap": 16 / 1024}


def blank(path: Path, size_gib: float) -> Path:
    """Zeros that take no space."""
    with open(path, "wb") as file:
        file.truncate(int(size_gib * GIB))
    return path


def copy(source: Path, path: Path, size_gib: float | None = None) -> Path:
    """The same content, its holes as holes; grown to `size_gib` as a volume that is larger than its snapshot."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, path], check=True)
    if size_gib:
        os.truncate(path, max(int(size_gib * GIB), path.stat().st_size))
    return path


def filesystem(
    path: Path, kind: str, files: dict[str, bytes] | None = None, *, size_gib: float = 1, label: str | None = None
) -> Path:
    """An image with a filesystem of this kind (xfs, ext4, btrfs, swap) and these files, by their paths in it."""
    blank(path, size_gib)
    with tempfile.TemporaryDirectory(prefix="ingot-image.") as directory:
        tree = Path(directory) / "tree"
        tree.mkdir()
        for name, content in (files or {}).items():
            file = tree / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        labelled = ["-L", label] if label else []
        match kind:
            case "ext4":
                command = ["mke2fs", "-q", "-t", "ext4", "-d", str(tree)]
            case "btrfs":
                command = ["mkfs.btrfs", "--quiet", "--rootdir", str(tree)]
            case "xfs":
                prototype = Path(directory) / "prototype"
                prototype.write_text("\n".join(["-", "0 0", "d--755 0 0", *entries(tree), "$", ""]))
                command = ["mkfs.xfs", "-q", "-p", str(prototype)]
            case "swap":
                command = ["mkswap"]
        command[0] = shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin:/sbin") or command[0]
        done = subprocess.run([*command, *labelled, str(path)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return path


def small(path: Path, kind: str, files: dict[str, bytes] | None = None, **more) -> Path:
    """A filesystem as small as may be, with a file on it."""
    size_gib = more.pop("size_gib", SMALLEST[kind])
    return filesystem(path, kind, {"db/table": b"rows\n"} if files is None else files, size_gib=size_gib, **more)


def patched(path: Path, *patches: tuple[int, bytes]) -> Path:
    """An image with these bytes in their places; a negative place counts from the end."""
    with open(path, "r+b") as file:
        for at, content in patches:
            file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
            file.write(content)
    return path


def entries(directory: Path) -> list[str]:
    """A directory in the language of mkfs.xfs(8), "-p protofile"."""
    lines = []
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            lines += [f"{path.name} d--755 0 0", *entries(path), "$"]
        else:
            lines.append(f"{path.name} ---644 0 0 {path}")
    return lines
