#!/usr/bin/env python3
"""How long it takes to build ingot: from nothing, and after a change of one file.

    tests/bench/build.py [--only NAME]…

All builds have a target directory of their own, which is removed at the end; those from nothing download nothing. Prints a
Markdown table. Takes most of half an hour on two cores.
"""

import argparse
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# A step, which little depends on, and a word that every file uses.
LEAF, ROOT = REPOSITORY / "agent/src/steps/signal/target.rs", REPOSITORY / "agent/src/address.rs"

# What is built, by which command, and after the change of which file. Each needs those above it.
BUILDS = {
    "check, clean": (["check"], None),
    "check, a leaf changed": (["check"], LEAF),
    "check, a root changed": (["check"], ROOT),
    "build, clean": (["build"], None),
    "build, a leaf changed": (["build"], LEAF),
    "build, a root changed": (["build"], ROOT),
    "tests, after the build": (["test", "--no-run"], None),
    "tests, a leaf changed": (["test", "--no-run"], LEAF),
    "dist, clean": (["dist"], None),
    "dist, a leaf changed": (["dist"], LEAF),
}


def build(arguments: list[str], target: Path, changed: Path | None) -> float:
    if changed:
        # A newer time is a change to cargo; the file stays as it is.
        os.utime(changed)
    begun = time.monotonic()
    subprocess.run(
        ["cargo", *arguments, "--offline", "--quiet"], cwd=REPOSITORY, env={**os.environ, "CARGO_TARGET_DIR": str(target)}, check=True
    )
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=BUILDS, metavar="NAME", help="; ".join(BUILDS))
    arguments = parser.parse_args()
    version = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["cargo", "fetch", "--locked", "--quiet"], cwd=REPOSITORY, check=True)
    with tempfile.TemporaryDirectory(prefix="ingot-build.") as target:
        rows = [
            (name, build(command, Path(target), changed))
            for name, (command, changed) in BUILDS.items()
            if not arguments.only or name in arguments.only
        ]
    print(f"{version}, {platform.machine()}, {os.cpu_count()} cores\n\n|  | s |\n|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
