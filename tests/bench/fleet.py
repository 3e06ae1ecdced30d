#!/usr/bin/env python3
"""A thousand instances that boot at once in one account, against AWS's published quotas: how long they take, and how often
they ask.

    tests/bench/fleet.py

It is a simulation, in the time of a test and not of a clock: `agent/src/laws/fleet.rs`, which holds its limits too. Prints
Markdown tables.
"""

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    command = ["cargo", "test", "--quiet", "--package", "ingot", "--lib", "laws::fleet", "--", "--nocapture", "--test-threads=1"]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    told = [line for line in done.stdout.splitlines() if not line or line.startswith("|") or " instances, " in line]
    print("\n".join(told).strip())
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
