#!/usr/bin/env python3
"""A root of 2 GB searched for secrets: by `ingot seal`, and by grep for a handful of patterns.

    .venv/bin/python tests/bench/seal.py [-n REPETITIONS] [--gib SIZE]

The root is Debian's (the one the tests boot, where it has been made) and an application in /opt: programs of random
bytes, node modules, Python, configuration and logs, the same each time, and one secret that both must find. Both sides
read from the page cache, which a first run of grep has filled as far as there is room, and take turns.

grep knows seven patterns, ingot 250; grep reads all there is, ingot leaves alone what a package brought, so beside the
time of the whole there is that of the application alone. Prints a Markdown table.

- *grep*: `grep -rEI`, one process
- *grep -P2*: the same, a process for each half of the files
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import REPOSITORY, binary  # noqa: E402

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
WORDS = (
    "export function const return this value key index token props state render import from default async await "
    "self def class None True raise yield with open path name config request response headers access api client "
    "auth user password secret session cookie http https buffer stream error message handler event callback"
).split()


def secret() -> str:
    """Put together here, so that no scanner takes this file for a leak."""
    return "gh" + "p_" + "".join(random.Random(5).choices("ABCDEFabcdef0123456789", k=36))


def source(random_: random.Random, size: int) -> bytes:
    """Text that looks like a program, with the words that rules go by."""
    lines, written = [], 0
    while written < size:
        words = random_.choices(WORDS, k=random_.randint(2, 11))
        mark = random_.choice((" = ", "(", ": ", ".", ", "))
        lines.append("  " * random_.randint(0, 4) + mark.join(words[:2]) + " " + " ".join(words[2:]) + ";")
        written += len(lines[-1]) + 1
    return "\n".join(lines).encode()


def application(root: Path, size: int) -> None:
    """Half of it programs and data, a quarter modules, the rest logs and large text."""
    random_ = random.Random(7)
    texts = [source(random_, random_.randint(1 << 10, 60 << 10)) for _ in range(400)]
    written = 0

    def write(name: str, content: bytes) -> None:
        nonlocal written
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written += len(content)

    number = 0
    while written < size // 4:
        write(f"opt/shop/node_modules/m{number % 500:03}/lib/f{number}.js", random_.choice(texts))
        number += 1
    while written < size // 2:
        write(f"var/log/shop/{number}.log", b"\n".join(random_.choices(texts, k=600)))
        number += 1
    while written < size:
        content = b"\x7fELF\0" + random_.randbytes(24 << 20) + b"\n".join(random_.choices(texts, k=200))
        write(f"opt/shop/bin/program{number}", content)
        number += 1
    write(PLANTED, texts[0] + f"\nREMOTE = '{secret()}'\n".encode())


def debian(root: Path) -> None:
    """Debian's files, where a test has fetched them."""
    made = next((path for path in (REPOSITORY / ".cache/debian").glob("*") if path.is_dir()), None)
    if made is None:
        raise SystemExit("no Debian root: run `pytest tests/test_systemd.py` once")
    subprocess.run(["cp", "--archive", "--reflink=auto", f"{made}/.", str(root)], check=True)


def timed(command: list[str], root: Path) -> tuple[float, float]:
    """Seconds, and the peak of memory in MB."""
    start = time.monotonic()
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        said = process.stdout.read().decode(errors="replace")
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    seconds = time.monotonic() - start
    if PLANTED not in said:
        raise SystemExit(f"{command[0]}: {PLANTED} was not found\n{said[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=5, help="runs of each side")
    parser.add_argument("--gib", type=float, default=2.0, help="size of the root")
    arguments = parser.parse_args()
    program = binary()
    if not program:
        raise SystemExit("no ingot: build it with `cargo dist`")

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
