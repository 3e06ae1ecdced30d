#!/usr/bin/env python3
"""10,000 small files on a volume just made from a snapshot, read for the first time: by `preload:`, by cat, by fio.

    .venv/bin/python tests/bench/preload.py [-n REPETITIONS] [--guest] [--kind xfs|ext4] [--fetch SECONDS] …

The files are of 4 to 16 KiB, in 100 directories; beside each lies one that nobody asks for, so that all of the disk is
between them. Each run has a disk of its own of which nothing has been fetched. How it behaves is in `harness/vm/lazy.py`.

On this machine the disk is a loop device (128 reads at a time), and all programs run as fast as they can. With --guest
it is an NVMe disk in QEMU (64), where every instruction is translated and what programs do themselves takes 10 to 20
times as long, while the disk takes as long as ever.

Times are from the mounted filesystem to the last byte; ingot's as its report says. Prints a Markdown table.

- *cat*: `find … -exec cat {} +`, one file after the other
- *xargs -P32 cat*: 32 of them at a time
- *fio, 32 jobs*: each job reads the files of a list in one go each. The list is a gift: no directory is read for it
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import LAUNCHER, REPOSITORY, binary, document  # noqa: E402
from harness.aws.imds import Imds  # noqa: E402
from harness.host import loop  # noqa: E402
from harness.host.images import filesystem  # noqa: E402
from harness.vm.lazy import Ebs, LazyVolume  # noqa: E402
from harness.vm.qemu import Guest  # noqa: E402

FILES, DIRECTORIES, AT_A_TIME = 10_000, 100, 32
ROOT, AT = "/run/preload-bench", "/run/preload-bench/srv/shop"
PATTERN, NAMED = "*/*.idx", "-type f -name '*.idx'"
FIO = "{tools}/lib64/ld-linux-x86-64.so.2 --library-path {tools}/lib {tools}/fio"


def contents() -> dict[str, bytes]:
    random_ = random.Random(7)
    files = {}
    for number in range(FILES):
        name = f"{number % DIRECTORIES:02}/{number // DIRECTORIES:02}"
        files[f"{name}.idx"] = random_.randbytes(random_.randint(4 << 10, 16 << 10))
        files[f"{name}.log"] = random_.randbytes(random_.randint(4 << 10, 80 << 10))
    return files


def fio() -> Path:
    """A directory with fio and what it needs, in .cache/."""
    made = REPOSITORY / ".cache/bench-fio"
    if not (made / "fio").exists():
        print("fetching fio", file=sys.stderr)
        with tempfile.TemporaryDirectory() as root:
            extract = ["mmdebstrap", "--quiet", "--variant=extract", "--include=fio", "bookworm", root]
            subprocess.run(extract, check=True)
            libraries = [Path(root, place) for place in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")]
            path = ":".join(map(str, [*libraries, libraries[1] / "ceph"]))
            linker = Path(root, "lib64/ld-linux-x86-64.so.2").resolve()
            program = Path(root, "usr/bin/fio")
            listing = [linker, "--library-path", path, "--list", program]
            listed = subprocess.run(listing, check=True, capture_output=True, text=True)
            shutil.rmtree(made, ignore_errors=True)
            (made / "lib").mkdir(parents=True)
            (made / "lib64").mkdir()
            shutil.copy(linker, made / "lib64/ld-linux-x86-64.so.2")
            for line in listed.stdout.splitlines():
                if "=> /" in line:
                    shutil.copy(line.split()[2], made / "lib")
            shutil.copy(program, made / "fio")
    return made


def lists(directory: Path, files: dict[str, bytes], seen_at: Path) -> None:
    """What each of the jobs of fio is to read, in fio's own words. It finds the lists at `seen_at`."""
    wanted = [(name, len(content)) for name, content in files.items() if name.endswith(".idx")]
    head = "[global]\nioengine=psync\nthread\nreplay_no_stall=1\ngroup_reporting\n"
    jobs = []
    for number in range(AT_A_TIME):
        share = wanted[number * len(wanted) // AT_A_TIME : (number + 1) * len(wanted) // AT_A_TIME]
        lines = ["fio version 2 iolog"]
        lines += [f"{AT}/{name} add" for name, _ in share]
        for name, length in share:
            lines += [f"{AT}/{name} open", f"{AT}/{name} read 0 {length}", f"{AT}/{name} close"]
        (directory / f"{number}.log").write_text("\n".join(lines) + "\n")
        jobs.append(f"[job{number}]\nread_iolog={seen_at}/{number}.log\n")
    (directory / "all.fio").write_text(head + "".join(jobs))


class Host:
    """This machine, with a loop device in a mount namespace."""

    def __init__(self, tools: Path, scratch: Path):
        self.tools, self.scratch = tools, scratch

    def __enter__(self) -> "Host":
        self.imds = Imds().__enter__()
        self.disks = loop.Disks().__enter__()
        self.disks.run("mount", "-t", "tmpfs", "tmpfs", "/run")
        self.program = binary()
        return self

    def __exit__(self, *_) -> None:
        self.disks.__exit__()
        self.imds.__exit__()

    @contextmanager
    def disk(self, volume: LazyVolume):
        disk = self.disks.attach(volume.path, direct=True)
        yield disk.node
        self.disks.detach(disk.node)

    def run(self, script: str, stdin: str = "") -> tuple[float, str]:
        """The seconds it took, and what it wrote to stderr."""
        env = {"PATH": loop.PATH, **self.imds.env}
        begun = time.monotonic()
        command = [*self.disks.prefix, "sh", "-c", script]
        done = subprocess.run(command, env=env, input=stdin, capture_output=True, text=True)
        return checked(script, time.monotonic() - begun, done.returncode, done.stderr, done.stdout)

    def read(self, path: str) -> str:
        return self.disks.seen(Path(path)).read_text()


class InQemu(Host):
    """A guest in QEMU, with an NVMe disk."""

    def __enter__(self) -> "InQemu":
        files = [path for path in self.tools.rglob("*") if path.is_file()]
        contents = {str(path.relative_to(self.tools)): path.read_bytes() for path in files}
        image = filesystem(self.scratch / "tools.img", "ext4", contents)
        self.tools = Path("/mnt")
        self.guest = Guest().__enter__()
        self.guest.write("/usr/bin/ingot", binary().read_bytes(), 0o755)
        volume = self.guest.volume(image, attached_as="/dev/sdf")
        self.guest.boot()
        self.run(f"mount {self.node(volume)} /mnt && chmod -R a+x /mnt")
        self.program = "/usr/bin/ingot"
        return self

    def node(self, volume: str) -> str:
        serial = volume.replace("-", "")
        return "/dev/" + self.guest.wait_for(lambda: self.guest.disks().get(serial), 60, f"the disk of {volume}")

    def __exit__(self, *_) -> None:
        self.guest.__exit__()

    @contextmanager
    def disk(self, volume: LazyVolume):
        id = self.guest.volume(volume.path, attached_as="/dev/sdg")
        node = self.node(id)
        self.run("udevadm settle")
        yield node
        self.guest.aws.client("ec2").detach_volume(VolumeId=id)
        self.guest.wait_for(lambda: id.replace("-", "") not in self.guest.disks(), 60, f"the end of {id}")

    def run(self, script: str, stdin: str = "") -> tuple[float, str]:
        begun = time.monotonic()
        done = self.guest.run("sh", "-c", script, stdin=stdin, timeout=900)
        return checked(script, time.monotonic() - begun, done.code, done.stderr, done.stdout)

    def read(self, path: str) -> str:
        return self.guest.read(path)


def checked(script: str, seconds: float, code: int, stderr: str, stdout: str) -> tuple[float, str]:
    if code != 0:
        raise SystemExit(f"{script}: exit code {code}\n{stdout}{stderr}")
    return seconds, stderr


class Side:
    """One way to do it, and what it took each time."""

    def __init__(self, name: str, script: str | None = None):
        self.name, self.script = name, script
        self.seconds: list[float] = []
        self.reads: list[int] = []
        self.mib: list[float] = []
        self.memory: list[int] = []

    def run(self, machine: Host, image: Path, ebs: Ebs) -> None:
        with LazyVolume(machine.scratch / "volume", image, ebs) as volume, machine.disk(volume) as node:
            machine.run(f"rm -rf {ROOT} && mkdir -p {AT} && sync")
            reads, bytes_ = volume.timing.reads, volume.timing.bytes
            seconds = self.preload(machine, node) if self.script is None else self.by_script(machine, node)
            self.seconds.append(seconds)
            self.reads.append(volume.timing.reads - reads)
            self.mib.append((volume.timing.bytes - bytes_) / (1 << 20))
            machine.run(f"umount {AT}")

    def by_script(self, machine: Host, node: str) -> float:
        machine.run(f"mount {node} {AT}")
        fio = FIO.format(tools=machine.tools)
        return machine.run(self.script.format(at=AT, named=NAMED, tools=machine.tools, fio=fio))[0]

    def preload(self, machine: Host, node: str) -> float:
        text = document(mounts={"/srv/shop": {"device": node, "preload": [PATTERN]}})
        _, said = machine.run(f"perl -e '{LAUNCHER}' {machine.program} boot --root {ROOT} --user-data -", text)
        code, peak = said.splitlines()[-1].split()
        report = json.loads(machine.read(f"{ROOT}/run/ingot/report.json"))
        steps = {step["address"]: step for step in report["steps"]}
        preload = steps["preload./srv/shop"]
        if code != "0" or preload["outcome"] != "changed":
            raise SystemExit(f"ingot: exit code {code}\n{said}")
        self.memory.append(int(peak))
        return (preload["finished_ms"] - steps["mounts./srv/shop"]["finished_ms"]) / 1000


CAT = "find {at} {named} -exec cat {{}} + >/dev/null"
XARGS = "find {at} {named} -print0 | xargs -0 -n 32 -P 32 cat >/dev/null"
FIO_JOBS = "{fio} {tools}/lists/all.fio >/dev/null"


def shown(values: list[float], digits: int = 2) -> str:
    """Median, and least to most."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}–{high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=3, help="runs of each side")
    parser.add_argument("--guest", action="store_true", help="in QEMU, not on this machine")
    parser.add_argument("--kind", choices=["xfs", "ext4"], default="xfs")
    for name, help in (
        ("fetch", "seconds until the first touch of 512 KiB is answered"),
        ("latency", "seconds of every other read"),
        ("iops", "operations a second"),
        ("mib_s", "MiB a second"),
    ):
        option, default = f"--{name.replace('_', '-')}", getattr(Ebs, name)
        parser.add_argument(option, type=float, default=default, help=f"{help} (%(default)s)")
    arguments = parser.parse_args()
    if not binary():
        raise SystemExit("no ingot: build it with `cargo dist`")
    ebs = Ebs(arguments.fetch, arguments.latency, arguments.iops, arguments.mib_s)
    sides = [Side("ingot"), Side("cat", CAT), Side("xargs -P32 cat", XARGS), Side("fio, 32 jobs", FIO_JOBS)]

    with tempfile.TemporaryDirectory(prefix="preload-bench.") as scratch:
        scratch = Path(scratch)
        files = contents()
        image = filesystem(scratch / "image", arguments.kind, files, size_gib=1)
        tools = scratch / "tools"
        shutil.copytree(fio(), tools)
        (tools / "lists").mkdir()
        lists(tools / "lists", files, (Path("/mnt") if arguments.guest else tools) / "lists")
        with (InQemu if arguments.guest else Host)(tools, scratch) as machine:
            for turn in range(arguments.n):
                for side in sides:
                    side.run(machine, image, ebs)
                    print(f"{turn + 1}: {side.name}: {side.seconds[-1]:.2f} s", file=sys.stderr)

    where = "NVMe in QEMU, 64 reads at a time" if arguments.guest else "loop device, 128 reads at a time"
    wanted = [len(content) for name, content in files.items() if name.endswith(".idx")]
    size = sum(map(len, files.values())) >> 20
    print(f"{len(wanted)} files, {sum(wanted) >> 20} of {size} MiB, {arguments.kind}; {where}; {ebs}")
    print("median (least–most)\n")
    columns = ["", "runs", "s", "times ingot's", "reads", "MiB read", "peak memory, MB"]
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    base = statistics.median(sides[0].seconds)
    for side in sides:
        ratio = f"{statistics.median(side.seconds) / base:.1f}"
        memory = f"{max(side.memory) / 1024:.1f}" if side.memory else ""
        reads, mib = f"{statistics.median(side.reads):.0f}", f"{statistics.median(side.mib):.0f}"
        print("|", " | ".join([side.name, str(len(side.seconds)), shown(side.seconds), ratio, reads, mib, memory]), "|")


if __name__ == "__main__":
    main()
