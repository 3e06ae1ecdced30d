#!/usr/bin/env python3
"""A root of 2 GB searched for secrets: by `ingot seal`, and by grep for a handful of patterns.

    .venv/bin/python tests/bench/seal.py [-n REPETITIONS] [--gib SIZE]
    .venv/bin/python tests/bench/seal.py --trees [NAME…]      # what is found in trees of published software

The root is Debian's (the one the tests boot, where it has been made) and an application in /opt: programs of random
bytes, modules and large texts of what people wrote, the same each time, and one secret that both must find. Both sides
read from the page cache, which a first run of grep has filled as far as there is room, and take turns.

grep knows seven patterns, ingot 250; grep reads all there is, ingot leaves alone what a package brought, so beside the
time of the whole there is that of the application alone. Prints a Markdown table.

With `--trees`, real software is fetched from the registries (harness/host/trees.py; root for Debian's), and every finding is
printed with its verdict, before a table. Then the secrets and the look-alikes of the tests.

- *grep*: `grep -rEI`, one process
- *grep -P2*: the same, a process for each half of the files
"""

import argparse
import itertools
import json
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import LAUNCHER, REPOSITORY, binary  # noqa: E402
from harness.host import lookalikes, planted, trees  # noqa: E402

PATTERNS = (
    r"(AKIA|ASIA)[A-Z2-7]{16}",
    r"gh[pousr]_[0-9A-Za-z]{36}",
    r"glpat-[0-9A-Za-z_-]{20}",
    r"xox[abp]-[0-9]{10,13}-",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    r"[sr]k_live_[0-9A-Za-z]{24}",
    r"(password|secret|token|api_key)[\"']? ?[=:] ?[\"'][0-9A-Za-z/+_-]{16,}[\"']",
)
PLANTED = "opt/shop/config/settings.py"


def secret() -> str:
    """Put together here, so that no scanner takes this file for a leak."""
    return "gh" + "p_" + "".join(random.Random(5).choices("ABCDEFabcdef0123456789", k=36))


def texts() -> list[bytes]:
    """What people wrote: the modules of this interpreter's environment."""
    modules = Path(sysconfig.get_path("purelib"))
    wanted = (path for path in sorted(modules.rglob("*")) if path.suffix in (".py", ".json", ".js", ".yaml", ".md", ".txt"))
    return [path.read_bytes() for path in itertools.islice(wanted, 4000)]


def application(root: Path, size: int) -> None:
    """A quarter of it modules, a quarter large text, half programs and data."""
    random_ = random.Random(7)
    written_by_people = texts()
    written = number = 0

    def write(name: str, content: bytes) -> None:
        nonlocal written, number
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written += len(content)
        number += 1

    while written < size // 4:
        write(f"opt/shop/lib/{number // 100:03}/{number:05}.py", random_.choice(written_by_people))
    while written < size // 2:
        write(f"var/log/shop/{number}.log", b"\n".join(random_.choices(written_by_people, k=600)))
    while written < size:
        write(f"opt/shop/bin/{number}", b"\x7fELF\0" + random_.randbytes(24 << 20))
    write(PLANTED, f"import os\nREMOTE = '{secret()}'\n".encode())


def debian(root: Path) -> None:
    """Debian's files, where a test has fetched them."""
    made = next((path for path in (REPOSITORY / ".cache/debian").glob("*") if path.is_dir()), None)
    if made is None:
        raise SystemExit("no Debian root: run `pytest tests/machine/test_systemd.py` once")
    subprocess.run(["cp", "--archive", "--reflink=auto", f"{made}/.", str(root)], check=True)


def timed(command: list[str], root: Path) -> tuple[float, float]:
    """Seconds, and the peak of memory in MB. Between us and the program stands a small one, whose memory is less."""
    start = time.monotonic()
    done = subprocess.run(["perl", "-e", LAUNCHER, *command], cwd=root, capture_output=True, text=True, errors="replace")
    seconds = time.monotonic() - start
    if PLANTED not in done.stdout:
        raise SystemExit(f"{command[0]}: {PLANTED} was not found\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds, int(done.stderr.split()[-1]) / 1024


# What says nothing about secrets.
OF_THE_SETUP = ("ingot-", "no-systemd", "unit-", "layer")


def found(root: Path) -> tuple[list[dict], float, float]:
    """Findings about secrets, seconds, and the peak of memory in MB."""
    start = time.monotonic()
    command = [str(binary()), "seal", "--root", str(root), "--json"]
    done = subprocess.run(["perl", "-e", LAUNCHER, *command], capture_output=True, text=True, errors="replace")
    seconds = time.monotonic() - start
    findings = [one for one in json.loads(done.stdout)["findings"] if not one["rule"].startswith(OF_THE_SETUP)]
    return [one for one in findings if "scrub" not in one["hint"]], seconds, int(done.stderr.split()[-1]) / 1024


def judge_trees(names: list[str]) -> None:
    rows = []
    for name in names or trees.TREES:
        root = trees.made(name)
        # Read once, so that what is measured is not the disk.
        subprocess.run(["grep", "-rqF", "\1never\1", root])
        findings, seconds, memory = found(root)
        judged = trees.judged(root, findings)
        for path, rule, is_true, why in judged.findings:
            print(f"{name}: {path}: {rule}: {'true' if is_true else 'false'}: {why}", file=sys.stderr)
        rows.append(f"| {' | '.join([*judged.row(name), f'{seconds:.1f}', f'{memory:.0f}'])} |")
    head = "| tree | files | MB | findings | true | false | s | peak memory, MB |\n|---|---|---|---|---|---|---|---|"
    print(head, *rows, sep="\n")
    with tempfile.TemporaryDirectory(prefix="seal-bench.", dir=REPOSITORY / "target") as scratch:
        where = planted.plant(Path(scratch) / "planted")
        secrets = {one["path"] for one in found(Path(scratch) / "planted")[0]}
        missed = [kind for kind, path in where.items() if not any((one + "/").startswith(path + "/") for one in secrets)]
        print(f"\nplanted {len(where)}, found {len(where) - len(missed)}; missed: {', '.join(missed) or 'none'}")
        paths = lookalikes.lay(Path(scratch) / "harmless")
        print(f"harmless {len(paths)}, found {len(found(Path(scratch) / 'harmless')[0])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=5, help="runs of each side")
    parser.add_argument("--gib", type=float, default=2.0, help="size of the root")
    parser.add_argument("--trees", nargs="*", metavar="NAME", help=f"{', '.join(trees.TREES)}; without a name, all")
    arguments = parser.parse_args()
    program = binary()
    if not program:
        raise SystemExit("no ingot: build it with `cargo dist`")
    if arguments.trees is not None:
        return judge_trees(arguments.trees)

    with tempfile.TemporaryDirectory(prefix="seal-bench.", dir=REPOSITORY / "target") as scratch:
        whole, alone = Path(scratch) / "whole", Path(scratch) / "application"
        whole.mkdir()
        debian(whole)
        size = int(subprocess.run(["du", "-sb", whole], check=True, capture_output=True, text=True).stdout.split()[0])
        application(alone, int(arguments.gib * (1 << 30)) - size)
        subprocess.run(["cp", "--archive", "--reflink=auto", f"{alone}/.", str(whole)], check=True)

        one = ["grep", "-rEI", *[part for pattern in PATTERNS for part in ("-e", pattern)], "."]
        many = "find . -xdev -type f -print0 | xargs -0 -n 500 -P 2 " + " ".join(
            ["grep", "-EI", *(f"-e '{pattern}'" for pattern in (p.replace("'", "'\\''") for p in PATTERNS))]
        )
        sides = {
            "ingot seal": lambda root: [str(program), "seal", "--root", str(root)],
            "grep": lambda _: one,
            "grep -P2": lambda _: ["sh", "-c", many],
        }
        for title, root in (("the whole root", whole), ("the application alone", alone)):
            seconds = {name: [] for name in sides}
            memory = dict.fromkeys(sides, 0.0)
            timed(one, root)
            for turn in range(arguments.n):
                for name, command in sides.items():
                    took, peak = timed(command(root), root)
                    seconds[name].append(took)
                    memory[name] = max(memory[name], peak)
                    print(f"{turn + 1}: {title}: {name}: {took:.2f} s", file=sys.stderr)
            print(f"{title}, {arguments.n} runs of each, median (least–most)\n")
            print("| | s | times ingot's | peak memory, MB |\n|---|---|---|---|")
            base = statistics.median(seconds["ingot seal"])
            for name, values in seconds.items():
                middle = statistics.median(values)
                spread = f"{middle:.2f} ({min(values):.2f}–{max(values):.2f})"
                print(f"| {name} | {spread} | {middle / base:.1f} | {memory[name]:.0f} |")
            print()
        shutil.rmtree(alone)


if __name__ == "__main__":
    main()
