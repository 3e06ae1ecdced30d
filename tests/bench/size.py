#!/usr/bin/env python3
"""What the static binary is made of, by crate.

    tests/bench/size.py [--least KB]

Builds it once more as `cargo dist` does, with its symbols (in `target/symbols`: the build in place stays), and adds up the
functions and the constants of each crate. A generic function counts for the crate that defines it; what has no symbol,
such as most string constants, is in the rows of the sections. Prints a Markdown table.
"""

import argparse
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = REPOSITORY / "target/symbols"
BINARY = TARGET / "x86_64-unknown-linux-gnu/dist/ingot"

# The first name of a path that is no type of the language: `<ingot::cli::Cli as clap::Parser>::parse` is of ingot.
CRATE = re.compile(r"(?:^|[<&\s(\[])(?:(?:dyn|mut|const|as|impl|for) )*([a-z_][a-z0-9_]*)(?:\[[0-9a-f]+\])?::")


def crate(symbol: str) -> str:
    """The crate of a demangled name; C's functions have none."""
    found = CRATE.search(symbol)
    return found[1] if found else "C (glibc, ring, zstd)"


def output(*command: str) -> str:
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--least", type=float, default=10, help="leave out crates with less than so many kB")
    arguments = parser.parse_args()
    unstripped = {"CARGO_TARGET_DIR": str(TARGET), "CARGO_PROFILE_DIST_STRIP": "none"}
    subprocess.run(["cargo", "dist", "--quiet"], cwd=REPOSITORY, env={**os.environ, **unstripped}, check=True)

    sizes: Counter[str] = Counter()
    counted: set[str] = set()
    for line in output("nm", "--demangle=rust", "--print-size", "--defined-only", str(BINARY)).splitlines():
        match line.split(" ", 3):
            # Functions that were folded into one have one address.
            case [address, size, kind, name] if kind in "tTrRdDwWvV" and address not in counted:
                counted.add(address)
                sizes[crate(name)] += int(size, 16)
    print("| crate | kB |\n|---|---|")
    for name, size in sizes.most_common():
        if size >= 1000 * arguments.least:
            print(f"| {name} | {size / 1000:.0f} |")
    print(f"| all with a name | {sum(sizes.values()) / 1000:.0f} |\n\n| section | kB |\n|---|---|")
    for line in output("size", "--format=sysv", str(BINARY)).splitlines():
        match line.split():
            case [name, size, address] if name.startswith(".") and address != "0" and int(size) >= 1000 * arguments.least:
                print(f"| {name} | {int(size) / 1000:.0f} |")


if __name__ == "__main__":
    main()
