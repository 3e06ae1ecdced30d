#!/usr/bin/env python3
"""From the kernel's word that a disk is there to its filesystem being mounted, when ingot has waited for it.

    .venv/bin/python tests/bench/mount.py [-n REPETITIONS] [--guest] [--kind xfs|ext4]

On this machine the disk is a loop device that gets its file; with --guest also an NVMe disk that is plugged into a guest
in QEMU, where every instruction is translated: what the kernel and programs do takes 10 to 20 times as long there.

Time is from the first uevent of the disk to its line in /proc/self/mountinfo, as a third process sees both. *mount(2)* is
the least there can be: a loop that waits for the same uevent and then calls mount(2), again and again until it succeeds.
ingot first looks which disk it is and what lies on it, all of which it writes down. Prints a Markdown table.
"""

import argparse
import fcntl
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import binary, document  # noqa: E402
from harness.aws.imds import Imds  # noqa: E402
from harness.host import images, loop  # noqa: E402
from harness.vm.qemu import Guest  # noqa: E402

# Far from those that others take: it is free for most of the time.
NUMBER = 4000 + os.getpid() % 1000
LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81

ROOT = "/run/mount-bench"
AT = f"{ROOT}/srv/data"

# Perl without modules, which is what the guest has. The kernel's uevents are multicast group 1 of netlink protocol 15.
PRELUDE = r"""
    use strict; use warnings; use Socket; $| = 1;
    my ($name, $at, $kind) = @ARGV;
    my $arm = `uname -m` =~ /aarch64/;
    socket(my $kernel, 16, SOCK_DGRAM, 15) or die "netlink: $!";
    bind($kernel, pack("SSLL", 16, 0, 0, 1)) or die "bind: $!";
    sub is_disk { recv($kernel, my $message, 8192, 0); return $message =~ /\0DEVNAME=$name\0/ && $message !~ /^remove/ }
    sub now { my $time = pack("q2", 0, 0); syscall($arm ? 113 : 228, 1, $time); my @of = unpack("q2", $time); $of[0] + $of[1] / 1e9 }
    sub is_mounted { open(my $table, "<", "/proc/self/mountinfo"); local $/; return <$table> =~ / \Q$at\E / }
"""

# A change of the table is an exceptional condition of its file.
OBSERVER = (
    PRELUDE
    + r"""
    open(my $table, "<", "/proc/self/mountinfo") or die;
    print "ready\n";
    1 until is_disk();
    my $begun = now();
    until (is_mounted()) { my $changed = ""; vec($changed, fileno($table), 1) = 1; select(undef, undef, $changed, 1) }
    print now() - $begun, "\n";
"""
)

FLOOR = (
    PRELUDE
    + r"""
    my ($source, $none) = ("/dev/$name", "");
    1 until is_disk();
    while (syscall($arm ? 40 : 165, $source, $at, $kind, 0, $none)) { select(undef, undef, undef, 0.0001) }
"""
)


# The observer begins first, and ends last.
SCRIPT = r"""
    mkdir -p {at} && cd {root} || exit 1
    perl -e "$OBSERVER" {name} {at} >seen &
    until [ -s seen ]; do sleep 0.05; done
    {contender} || exit 1
    wait
    tail -n 1 seen
    cd / && umount {at} && rm -rf {root}
"""


class Host:
    """This machine: a loop device that gets its file."""

    where = "loop device on this machine"
    settled = 0.5  # seconds until whoever is to wait for a disk does so

    def __init__(self, kind: str, scratch: Path):
        self.image = images.filesystem(scratch / "image", kind, {"db/table": b"rows\n"}, size_gib=0.5)

    def __enter__(self) -> "Host":
        self.imds = Imds().__enter__()
        self.disks = loop.Disks().__enter__()
        self.disks.run("mount", "-t", "tmpfs", "tmpfs", "/run")
        self.program = str(binary())
        self.name, self.wanted = f"loop{NUMBER}", f"/dev/loop{NUMBER}"
        self.control(LOOP_CTL_ADD)
        return self

    def __exit__(self, *_) -> None:
        self.disks.__exit__()
        self.control(LOOP_CTL_REMOVE)
        self.imds.__exit__()

    def control(self, request: int) -> None:
        with open("/dev/loop-control", "rb") as control:
            fcntl.ioctl(control, request, NUMBER)

    def run(self, script: str, env: dict[str, str], stdin: str) -> str:
        command = [*self.disks.prefix, "sh", "-c", script]
        env = {"PATH": loop.PATH, **self.imds.env, **env}
        done = subprocess.run(command, env=env, input=stdin, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def is_begun(self) -> bool:
        return self.disks.seen(Path(ROOT, "seen")).exists()

    def plug(self) -> None:
        self.disks.attach(self.image, self.wanted)

    def unplug(self) -> None:
        self.disks.detach(self.wanted)


class InQemu(Host):
    """A guest in QEMU: an NVMe disk that is plugged in."""

    where = "NVMe disk in QEMU"
    settled = 5
    wanted, name = "vol-0123456789abcdef0", "nvme1n1"

    def __enter__(self) -> "InQemu":
        self.guest = Guest().__enter__()
        self.program = "/usr/bin/ingot"
        self.guest.write(self.program, binary().read_bytes(), 0o755)
        self.guest.boot()
        self.guest.run("systemctl", "is-system-running", "--wait")
        return self

    def __exit__(self, *_) -> None:
        self.guest.__exit__()

    def run(self, script: str, env: dict[str, str], stdin: str) -> str:
        done = self.guest.run("sh", "-c", script, env=env, stdin=stdin, timeout=120)
        if done.code != 0:
            raise RuntimeError(str(done))
        return done.stdout

    def is_begun(self) -> bool:
        return self.guest.run("test", "-e", f"{ROOT}/seen").code == 0

    def plug(self) -> None:
        self.guest.plug(self.wanted, self.image)

    def unplug(self) -> None:
        self.guest.unplug(self.wanted)


def measure(machine: Host, contender: str, kind: str) -> float:
    """The milliseconds from uevent to mount."""
    env, text = {"OBSERVER": OBSERVER, "FLOOR": FLOOR}, ""
    if contender == "ingot":
        volumes = {"data": {"from": {"device": machine.wanted}}}
        text = document(volumes=volumes, mounts={"/srv/data": {"device": "{{volumes.data.device}}"}})
        command = f"{machine.program} boot --root {ROOT} --user-data -"
    else:
        command = f'perl -e "$FLOOR" {machine.name} {AT} {kind}'
    script = SCRIPT.format(at=AT, root=ROOT, name=machine.name, contender=command)
    with ThreadPoolExecutor(1) as beside:
        ended = beside.submit(machine.run, script, env, text)
        while not machine.is_begun() and not ended.done():
            time.sleep(0.05)
        time.sleep(machine.settled)
        machine.plug()
        seconds = float(ended.result(120))
    machine.unplug()
    return 1000 * seconds


def shown(values: list[float]) -> str:
    """Median, and least to most."""
    low, middle, high = (f"{value:.1f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}–{high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=20, help="runs of each; a quarter of it in the guest")
    parser.add_argument("--guest", action="store_true", help="also in QEMU")
    parser.add_argument("--kind", choices=["xfs", "ext4"], default="xfs")
    arguments = parser.parse_args()
    if not binary():
        raise SystemExit("no ingot: build it with `cargo dist`")
    rows = []
    with tempfile.TemporaryDirectory(prefix="mount-bench.") as scratch:
        for place in [Host, InQemu][: 1 + arguments.guest]:
            with place(arguments.kind, Path(scratch)) as machine:
                taken: dict[str, list[float]] = {"mount(2)": [], "ingot": []}
                # The first of each is the warm-up: modules are loaded, programs read.
                for turn in range(1 + (arguments.n if place is Host else -(-arguments.n // 4))):
                    for contender, values in taken.items():
                        took = measure(machine, contender, arguments.kind)
                        print(f"{machine.where}: {contender}: {took:.1f} ms", file=sys.stderr)
                        if turn > 0:
                            values.append(took)
            floor, ours = (statistics.median(taken[name]) for name in ("mount(2)", "ingot"))
            rows.append([place.where, str(len(taken["ingot"])), shown(taken["mount(2)"]), shown(taken["ingot"]), f"{ours - floor:.1f}"])

    print(f"{arguments.kind}, {binary()}; median (least–most)\n")
    columns = ["", "runs", "mount(2), ms", "ingot, ms", "ingot's own, ms"]
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    for row in rows:
        print("|", " | ".join(row), "|")


if __name__ == "__main__":
    main()
