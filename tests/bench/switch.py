#!/usr/bin/env python3
"""From a new release being named to its first answer, under load, beside `systemctl restart` of the same process.

    .venv/bin/python tests/bench/switch.py [-n SWITCHES] [--json] [--longest SECONDS]

In a container with systemd and nginx. Both releases are unpacked already: each switch goes back to a kept one, with
`ready:`. Time is from exec of `ingot boot` to the first answer of the new release to a client that connects anew all the
time; and from exec of `systemctl restart` to the first answer on the process's own port. Both are measured without load.
ingot's own part is the difference of the two medians. The switches are made once more under the load of
`harness/host/load.py`, which counts a request without a complete and correct answer as lost; every fourth of those is to a
release that does not serve, each in its own way. Prints a Markdown table.
"""

import argparse
import contextlib
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import binary  # noqa: E402
from harness.host import container  # noqa: E402
from harness.host.bad import AMONG_SWITCHES, BAD, mixed  # noqa: E402
from harness.host.deployed import LISTEN, Deployed, release_of, shop  # noqa: E402

# Runs inside: what it waits for is seen within a millisecond. Arguments: port, what the answer has to contain, command.
FIRST_ANSWER = r"""
import socket, subprocess, sys, time
port, wanted, command = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3:]
begun = time.monotonic()
running = subprocess.Popen(command, stdin=sys.stdin, stdout=subprocess.DEVNULL)
# Until a restart has returned, the process before may be the one that answers.
if command[0] == "systemctl":
    running.wait()
while True:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
    except OSError:
        answer = b""
    if wanted in answer:
        break
    if running.poll():
        sys.exit(running.returncode)
    time.sleep(0.001)
print(1000 * (time.monotonic() - begun))
sys.exit(running.wait())
"""


def first_answer(machine: Deployed, port: int, wanted: str, *command: str, stdin: str = "") -> float:
    return float(machine.must("python3", "-S", "-c", FIRST_ANSWER, str(port), wanted, *command, stdin=stdin, env=machine.env))


def switches(machine: Deployed, number: int) -> list[float]:
    """The milliseconds of each; release 1 serves before the first."""
    taken = []
    for turn in range(number):
        release = 2 - turn % 2
        text = shop(f"shop-{release}")
        taken.append(first_answer(machine, LISTEN, f" gen={release}\n", "ingot", "boot", "--user-data", "-", stdin=text))
        print(f"switch {turn + 1}: {taken[-1]:.0f} ms", file=sys.stderr)
    return taken


def mixed_switches(machine: Deployed, number: int) -> list[float]:
    """The same, of the releases that serve: among them are some that do not, which have to leave everything as it was."""
    taken, current = [], "1"
    for turn, release in enumerate(mixed(number)):
        if bad := BAD.get(release):
            # What it prints is for a person.
            with contextlib.redirect_stdout(sys.stderr):
                machine.fail(shop(release, ready={"http": "/health", "timeout": "60s", **bad.ready}), bad.address)
        else:
            current = release.removeprefix("shop-")
            command = ("ingot", "boot", "--user-data", "-")
            taken.append(first_answer(machine, LISTEN, f" gen={current}\n", *command, stdin=shop(release)))
        assert machine.generation() == current, release
        print(f"switch {turn + 1} under load: {release}", file=sys.stderr)
    return taken


def restarts(machine: Deployed, number: int) -> list[float]:
    # One that has just stopped may still be listed.
    unit, pid = next((unit, pid) for unit, pid in machine.pids().items() if ".web-" in unit and pid != "0")
    variables = machine.must("cat", f"/proc/{pid}/environ").split("\0")
    port = next(int(variable.removeprefix("PORT=")) for variable in variables if variable.startswith("PORT="))
    taken = [first_answer(machine, port, " gen=", "systemctl", "restart", f"{unit}.service") for _ in range(1 + number)]
    # The first reads the program from the disk.
    return taken[1:]


def shown(values: list[float]) -> str:
    """Median, and least to most."""
    low, middle, high = (f"{value:.0f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}–{high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=50, help="switches, and restarts")
    parser.add_argument("--json", action="store_true", help="print one object in place of the table")
    parser.add_argument("--longest", type=float, default=2, help="seconds that the slowest requests of the load take")
    arguments = parser.parse_args()
    if why := container.unavailable():
        raise SystemExit(why)
    if not binary():
        raise SystemExit("no ingot: build it with `cargo dist`")
    with Deployed() as machine:
        machine.begin()
        machine.env = {"AWS_ENDPOINT_URL": machine.aws_url}
        # Both are unpacked, and the first serves.
        for release in (1, 2, 1):
            machine.upload(f"shop-{release}", release_of(release))
            result = machine.deploy(shop(f"shop-{release}"))
            assert result.code == 0, result
        cold = restarts(machine, arguments.n)
        quiet = switches(machine, arguments.n + arguments.n % 2)
        for bad in AMONG_SWITCHES:
            machine.upload(bad, BAD[bad].release)
        machine.begin_load(arguments.longest)
        loaded = mixed_switches(machine, arguments.n)
        load = machine.end_load()
    own = statistics.median(quiet) - statistics.median(cold)

    if arguments.json:
        milliseconds = {"switch": quiet, "switch_under_load": loaded, "restart": cold, "own": own}
        print(json.dumps({"switches": arguments.n, "bad": arguments.n - len(loaded), "requests": load["sent"], "lost": load["lost"], "milliseconds": milliseconds}))
        return
    print(f"{binary()}; median (least–most)\n")
    columns = ["switches under load", "of them to bad releases", "requests", "lost", "first answer under load, ms", "without load, ms", "systemctl restart, ms"]
    values = [str(arguments.n), str(arguments.n - len(loaded)), str(load["sent"]), str(load["lost"]), shown(loaded), shown(quiet), shown(cold)]
    print("|", " | ".join([*columns, "ingot's own, ms"]), "|")
    print("|---" * (len(columns) + 1) + "|")
    print("|", " | ".join([*values, f"{own:.0f}"]), "|")


if __name__ == "__main__":
    main()
