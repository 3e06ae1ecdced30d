"""Disks of this kernel, as loop devices, and a mount namespace to mount them in. Both are gone in the end, whatever
happened.

    with Disks() as disks:
        disk = disks.attach(filesystem(path, "xfs", {"db/table": b"rows"}, size_gib=0.3))
        agent = Agent(tmp_path, imds.env, inside=disks)
        agent.boot(document_of(disk.node))
        assert disks.mounted(agent.root / "srv/data").source == disk.node

Programs are hidden, and put in the place of others, in that namespace only.
"""

import errno
import hashlib
import os
import random
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.agent import PATIENCE, document

# How often a free node is tried: others take some at the same time.
TRIES = 50
NEEDED = ("losetup", "unshare", "nsenter", "mount", "umount")
MAKERS = ("mkfs.xfs", "mkfs.ext4", "mkfs.btrfs")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def unavailable() -> str | None:
    """Why there are no disks to be had here; `None` if there are."""
    if os.geteuid() != 0:
        return "loop devices and mounts need root"
    missing = [program for program in (*NEEDED, *MAKERS) if not shutil.which(program, path=PATH)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if not Path("/dev/loop-control").exists():
        return "this kernel has no loop devices"
    known = Path("/proc/filesystems").read_text().split()
    missing = [name for name in ("ext4", "xfs", "btrfs") if name not in known and not loads(name)]
    return f"this kernel has no {', '.join(missing)}" if missing else None


def loads(filesystem: str) -> bool:
    if modprobe := shutil.which("modprobe", path=PATH):
        return subprocess.run([modprobe, "--quiet", filesystem], capture_output=True).returncode == 0
    return False


@dataclass
class Mounted:
    """A line of mountinfo."""

    at: str
    root: str
    source: str
    kind: str
    options: list[str]
    of_filesystem: list[str]


@dataclass
class Disk:
    image: Path
    node: str

    def part(self, number: int) -> str:
        return f"{self.node}p{number}"

    def content(self) -> str:
        """A digest of every byte that was ever written, by its place: of an image with holes in no time."""
        with open(self.node, "rb") as device:
            os.fsync(device)
        digest = hashlib.sha256()
        with open(self.image, "rb") as file:
            at, size = 0, file.seek(0, os.SEEK_END)
            digest.update(b"%d bytes" % size)
            while (begin := next_data(file, at)) is not None:
                at = file.seek(begin, os.SEEK_HOLE)
                file.seek(begin)
                for start in range(begin, at, 1 << 20):
                    block = file.read(min(1 << 20, at - start))
                    # A hole that was filled with zeros, as a filesystem below may do by itself, reads the same.
                    for offset in range(0, len(block), 4096):
                        if page := block[offset : offset + 4096].rstrip(b"\0"):
                            digest.update(b"at %d:" % (start + offset) + page)
        return digest.hexdigest()


def next_data(file, at: int) -> int | None:
    try:
        return file.seek(at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def tool(*command: str | Path, **more) -> str:
    """What a program of the system says, if all is well."""
    done = subprocess.run([str(word) for word in command], env={"PATH": PATH}, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def on(disk: Disk, filesystem: str = "xfs", *, mount: bool = True, **fields) -> str:
    """A document: this disk is to hold that filesystem, and to be mounted at /srv/data."""
    volume = {"from": {"device": disk.node}, "filesystem": filesystem, **fields}
    mounts = {"/srv/data": {"device": "{{volumes.data.device}}"}} if mount else {}
    return document(volumes={"data": volume}, mounts=mounts)


class Disks:
    def __enter__(self) -> "Disks":
        self.nodes: list[str] = []
        self.directory = Path(tempfile.mkdtemp(prefix="ingot-disks."))
        # It ends when we do, however that is: then nobody holds its other end of the pipe.
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.holder.stdout.readline() == b"ready\n", "there is no mount namespace to be had"
        return self

    def __exit__(self, *_) -> None:
        for line in Path("/proc/swaps").read_text().splitlines()[1:] if Path("/proc/swaps").exists() else []:
            if (node := line.split()[0]) in self.nodes:
                subprocess.run(["swapoff", node], check=False)
        self.holder.kill()
        self.holder.wait()
        self.holder.stdin.close()
        self.holder.stdout.close()
        for node in list(self.nodes):
            self.detach(node)
        shutil.rmtree(self.directory)

    # The namespace.

    @property
    def prefix(self) -> list[str]:
        """What a command begins with to be run inside. It stays the same process."""
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--"]

    def seen(self, path: Path) -> Path:
        """A path of inside, for who is outside."""
        return Path(f"/proc/{self.holder.pid}/root") / path.relative_to("/")

    def run(self, *command: str | Path) -> str:
        return tool(*self.prefix, *command)

    def mounts(self, below: Path = Path("/")) -> list[Mounted]:
        found = []
        for line in Path(f"/proc/{self.holder.pid}/mountinfo").read_text().splitlines():
            own, _, of_filesystem = line.partition(" - ")
            _, _, _, root, at, options, *_ = own.split(" ")
            kind, source, more = of_filesystem.split(" ")
            if Path(at).is_relative_to(below):
                found.append(Mounted(at, root, source, kind, options.split(","), more.split(",")))
        return found

    def mounted(self, at: Path) -> Mounted | None:
        """What is seen at a path."""
        return next((mounted for mounted in reversed(self.mounts(at)) if mounted.at == str(at)), None)

    def hide(self, program: str) -> None:
        """As if it were not installed."""
        for directory in dict.fromkeys(os.path.realpath(directory) for directory in PATH.split(":")):
            if (path := Path(directory) / program).exists():
                self.run("mount", "--bind", "/dev/null", path)

    def install(self, program: str, script: str) -> None:
        """Puts a script where it is found before the program of that name."""
        own = self.directory / "sbin"
        if not own.exists():
            own.mkdir()
            self.run("mount", "--bind", own, "/usr/local/sbin")
        path = own / program
        path.write_text(script)
        path.chmod(0o755)

    # Disks.

    def attach(self, image: Path, node: str | None = None, *, read_only: bool = False, direct: bool = False) -> Disk:
        """A disk with the content of a file, and what partitions there are; at the next free node, or this one. With
        `direct`, reads of it wait for the file side by side."""
        options = ["--read-only"] * read_only + ["--direct-io=on"] * direct
        for _ in range(TRIES):
            chosen = node or self.free()
            done = subprocess.run(["losetup", "--partscan", *options, chosen, image], capture_output=True, text=True)
            if done.returncode == 0:
                break
            # Somebody else was faster.
            time.sleep(random.uniform(0, 0.1))
        else:
            raise RuntimeError(f"losetup {chosen} {image}: {done.stderr}")
        self.nodes.append(chosen)
        self.find_partitions(chosen)
        return Disk(image, chosen)

    def free(self) -> str:
        return tool("losetup", "--find").strip()

    def find_partitions(self, node: str) -> None:
        """Not every kernel reads partition tables; each can be told."""
        table = subprocess.run(["partx", "--show", "--noheadings", node], capture_output=True, text=True)
        if table.returncode == 0 and table.stdout.strip() and not list(Path("/dev").glob(f"{Path(node).name}p*")):
            tool("partx", "--add", node)

    def detach(self, node: str) -> None:
        subprocess.run(["partx", "--delete", node], capture_output=True)
        end = time.monotonic() + PATIENCE
        # Whoever was killed with it may not be gone yet.
        while subprocess.run(["losetup", "--detach", node], capture_output=True).returncode != 0:
            if time.monotonic() > end or not Path(f"/sys/block/{Path(node).name}/loop").exists():
                break
            time.sleep(0.05)
        self.nodes.remove(node)


