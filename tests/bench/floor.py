#!/usr/bin/env python3
"""ingot beside the least that its exchanges can take (`floor.rs`), at several latencies of IMDS and AWS.

    .venv/bin/python tests/bench/floor.py [-n REPETITIONS]

Both talk to the same stand-ins in turns: the token, then user data, identity and role at once, the credentials, then 20
secrets and 10 parameters at once. ingot also parses the document, checks the plan, signs, and writes its report; it has one
file to write, in /run, which waits for no disk. Prints a Markdown table: medians of wall time from exec to exit, and ingot's as a multiple of the floor's.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import binary  # noqa: E402
from harness.aws.account import Aws  # noqa: E402
from harness.aws.imds import Imds  # noqa: E402

SECRETS, PARAMETERS = 20, 10
LATENCIES = (0, 1, 5, 20)


def document() -> str:
    secrets = [f"  s{i}: {{ secrets_manager: bench/s{i} }}" for i in range(SECRETS)]
    parameters = [f"  p{i}: {{ parameter: /bench/p{i} }}" for i in range(PARAMETERS)]
    content = "".join(f"s{i}={{{{secrets.s{i}}}}}\\n" for i in range(SECRETS))
    return "\n".join(["#ingot", "version: 1", "secrets:", *secrets, *parameters, f'files: {{ /run/bench: {{ content: "{content}" }} }}', ""])


def compiled(directory: str) -> str:
    program = f"{directory}/floor"
    subprocess.run(["rustc", "--edition=2024", "-O", "-o", program, Path(__file__).with_name("floor.rs")], check=True)
    return program


def timed(command: list[str], env: dict[str, str]) -> float:
    begun = time.monotonic()
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True)
    took = time.monotonic() - begun
    if done.returncode != 0:
        raise SystemExit(f"{command[0]}: exit code {done.returncode}\n{done.stderr.decode()}")
    return 1000 * took


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=20, help="runs of each side at each latency")
    arguments = parser.parse_args()
    program = binary()
    if program is None:
        raise SystemExit("no ingot: build it with `cargo dist`")
    with Imds(user_data=document()) as imds, Aws() as aws, tempfile.TemporaryDirectory() as directory:
        for i in range(SECRETS):
            aws.secret(f"bench/s{i}", f"secret-value-{i}")
        for i in range(PARAMETERS):
            aws.parameter(f"/bench/p{i}", f"parameter-value-{i}", "SecureString")
        floor = compiled(directory)
        env = {"PATH": "/usr/bin:/bin", **imds.env, **aws.env}
        ends = [urlsplit(url).netloc for url in (imds.env["AWS_EC2_METADATA_SERVICE_ENDPOINT"], aws.env["AWS_ENDPOINT_URL"])]
        print("| latency of each exchange | floor, ms | ingot, ms | ingot ÷ floor |\n|---|---|---|---|")
        for latency in LATENCIES:
            imds.configure(latency=latency / 1000)
            aws.latency(latency / 1000)
            sides: dict[str, list[float]] = {"floor": [], "ingot": []}
            for turn in range(arguments.n + 2):
                with tempfile.TemporaryDirectory(prefix="floor.") as root:
                    took = {
                        "floor": timed([floor, *ends, str(SECRETS), str(PARAMETERS), f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"], env),
                        "ingot": timed([str(program), "boot", "--root", root], env),
                    }
                # The first turns fill caches.
                if turn >= 2:
                    [sides[side].append(ms) for side, ms in took.items()]
            ratio = statistics.median(sides["ingot"]) / statistics.median(sides["floor"])
            print(f"| {latency} ms | {spread(sides['floor'])} | {spread(sides['ingot'])} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
