#!/usr/bin/env python3
"""Time and memory of ingot against the size of what it is asked for.

    .venv/bin/python tests/bench/growth.py [-n REPETITIONS] [--no-services]

Boots below a root of files and of secrets; boots in a container with a real systemd of services whose units do nothing;
`ingot check`, which parses, merges and plans, of ten thousand steps and of documents of a megabyte. Time is from exec to
exit; what is own is that in which no request was being answered. Memory is the most that was resident. The last column is
what each item adds, beside what each added where there were fewer. Prints a Markdown table; the sizes take turns, so that
a noisy machine harms all of them alike.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.first_boot import covered, shown  # noqa: E402
from harness.agent import LAUNCHER, binary, peak_memory  # noqa: E402
from harness.aws.account import Aws  # noqa: E402
from harness.aws.imds import Imds  # noqa: E402
from harness.host import container, sized  # noqa: E402

FILES, SECRETS, SERVICES, STEPS = (1, 10, 100, 1000), (1, 20, 200), (1, 10, 100), (1000, 2000, 5000, 10_000)
MEGABYTE = 1 << 20


@dataclass
class Row:
    what: str
    size: int
    document: str
    seconds: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    exchanges: int = 0
    memory: int = 0  # KiB

    def line(self, before: "Row | None") -> str:
        each = "–"
        if before and before.what == self.what:
            added = statistics.median(self.own) - statistics.median(before.own)
            each = f"{1e6 * added / (self.size - before.size):.0f}"
        cells = [self.what, f"{self.size:,}", f"{len(self.document.encode()) / 1000:.1f}", shown(self.seconds), shown(self.own)]
        return "| " + " | ".join([*cells, str(self.exchanges), f"{self.memory / 1024:.1f}", each]) + " |"


class Below:
    """Boots below a root, with an AWS that has the secrets."""

    def __init__(self, imds: Imds, aws: Aws):
        self.imds, self.aws = imds, aws
        self.env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **imds.env, **aws.env}

    def run(self, row: Row, memory: bool) -> None:
        self.imds.forget()
        self.aws.put("/harness/forget", {})
        with tempfile.TemporaryDirectory(prefix="growth.") as root:
            command = [str(binary()), "boot", "--root", root, "--user-data", "-"]
            document = row.document.encode()
            if memory:
                row.memory = peak_memory(command, self.env, document)
                return
            begun = time.monotonic()
            done = subprocess.run(command, env=self.env, input=document, capture_output=True)
            seconds = time.monotonic() - begun
            if done.returncode != 0:
                raise SystemExit(f"{row.size} {row.what}: exit code {done.returncode}\n{done.stderr.decode()}")
        calls = [*self.aws.calls(), *self.imds.requests()]
        row.exchanges = len(calls)
        row.seconds.append(seconds)
        row.own.append(seconds - covered([(call["time"], call["time"] + call["seconds"]) for call in calls]))


class Checks:
    """`ingot check` of a file: the pure parts."""

    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    def run(self, row: Row, memory: bool) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(row.document)
            file.flush()
            command = [str(binary()), "check", file.name]
            if memory:
                row.memory = peak_memory(command, self.env)
                return
            begun = time.monotonic()
            subprocess.run(command, env=self.env, stdout=subprocess.DEVNULL, check=True)
        row.seconds.append(time.monotonic() - begun)
        row.own.append(row.seconds[-1])


class Inside:
    """Boots in a container, of services that systemd starts and that do nothing. Its part is in their time."""

    def __init__(self, machine: container.Machine):
        self.machine = machine

    def run(self, row: Row, memory: bool) -> None:
        self.machine.shell("systemctl stop 'bench-*.service'; rm -rf /run/ingot /var/lib/ingot")
        self.machine.write("/opt/document.yaml", row.document)
        command = "ingot boot --user-data /opt/document.yaml"
        if memory:
            told = self.machine.shell(f"perl /opt/launcher $(command -v {command.split()[0]}) {command.split(' ', 1)[1]} 2>&1 | tail -n 1")
            code, peak = told.stdout.split()
            assert code == "0", told
            row.memory = int(peak)
            return
        script = f"b=$EPOCHREALTIME; {command} >/run/out 2>&1; c=$?; e=$EPOCHREALTIME; echo $c $b $e"
        code, begun, ended = self.machine.run("bash", "-c", script, timeout=300).stdout.split()
        if code != "0":
            raise SystemExit(f"{row.size} {row.what}: exit code {code}\n{self.machine.shell('cat /run/out').stdout}")
        row.seconds.append(float(ended) - float(begun))
        row.own.append(row.seconds[-1])


def large(count: int) -> str:
    """A megabyte in so many files."""
    content = "x" * (MEGABYTE // count) + "\n"
    return sized.HEAD + sized.section("files", {f"/etc/bench/f{i}": {"content": content} for i in range(count)})


def measure(where, rows: list[Row], repetitions: int) -> list[Row]:
    for row in rows:
        # Also the warm-up.
        where.run(row, memory=True)
    for _ in range(repetitions):
        for row in rows:
            where.run(row, memory=False)
    return rows


def in_container(repetitions: int) -> list[Row]:
    with container.Machine() as machine:
        machine.install_ingot(enabled=False)
        machine.write("/opt/launcher", LAUNCHER)
        unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
        for i in range(max(SERVICES)):
            machine.write(f"/etc/systemd/system/bench-{i}.service", unit)
        machine.boot()
        rows = [Row("services", size, sized.services(size)) for size in SERVICES]
        return measure(Inside(machine), rows, repetitions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=9, help="runs of each size")
    parser.add_argument("--no-services", action="store_true", help="without the container, which needs root")
    arguments = parser.parse_args()
    if binary() is None:
        raise SystemExit("no ingot: build it with `cargo dist`")
    found: list[Row] = []
    with Imds() as imds, Aws() as aws:
        for i in range(max(SECRETS)):
            aws.secret(f"bench/s{i}", f"secret-value-{i}")
        below = Below(imds, aws)
        for name, sizes in (("files", FILES), ("secrets", SECRETS)):
            found += measure(below, [Row(name, size, sized.SHAPES[name](size)) for size in sizes], arguments.n)
        found += measure(below, [Row("files of 1 MB in all", size, large(size)) for size in (1, 10, 100)], arguments.n)
    if not arguments.no_services:
        if why := container.unavailable():
            raise SystemExit(why)
        found += in_container(arguments.n)
    for name, shape in sized.SHAPES.items():
        found += measure(Checks(), [Row(f"check: {name}", size, shape(size)) for size in STEPS], arguments.n)
    print(f"{platform.machine()}, {os.cpu_count()} cores; {arguments.n} runs; median (least–most)\n")
    columns = ["", "size", "document, kB", "from exec to exit, ms", "own, ms", "exchanges", "peak memory, MB", "each more, µs"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for before, row in zip([None, *found], found):
        print(row.line(before))


if __name__ == "__main__":
    main()
