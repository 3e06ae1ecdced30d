#!/usr/bin/env python3
"""A first boot with 20 secrets, 10 parameters and 20 files: ingot beside shell scripts that use the AWS CLI.

    .venv/bin/python tests/bench/first_boot.py [-n REPETITIONS] [--latency SECONDS]

All sides talk to the same IMDS and the same AWS, in turns, and have to leave the same bytes. Time is from exec to exit,
when all files are in place. Time in which at least one request was being answered is the servers'; the rest is the
program's own. Prints a Markdown table.

Two scripts, because the first is what is found in user data and the second is the best the AWS CLI can do:

- *one call a value*: `get-secret-value` and `get-parameter` for each
- *batched*: one `batch-get-secret-value` and one `get-parameters`
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import REPOSITORY, binary, peak_memory  # noqa: E402
from harness.aws.account import Aws  # noqa: E402
from harness.aws.imds import Imds  # noqa: E402

SECRETS, PARAMETERS, FILES = 20, 10, 20
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

SCRIPT_HEAD = r"""#!/bin/bash
set -euo pipefail
umask 077
imds=$AWS_EC2_METADATA_SERVICE_ENDPOINT
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$imds/latest/api/token")
get() { curl -sf -H "X-aws-ec2-metadata-token: $token" "$imds/latest/meta-data/$1"; }
id=$(get instance-id)
AWS_DEFAULT_REGION=$(get placement/region)
export AWS_DEFAULT_REGION
declare -A value
"""

ONE_BY_ONE = r"""
for i in $(seq 0 $((SECRETS - 1))); do
  value[s$i]=$(aws secretsmanager get-secret-value --secret-id "bench/s$i" --query SecretString --output text)
done
for i in $(seq 0 $((PARAMETERS - 1))); do
  value[p$i]=$(aws ssm get-parameter --with-decryption --name "/bench/p$i" --query Parameter.Value --output text)
done
"""

BATCHED = r"""
while read -r name text; do value[${name#bench/}]=$text; done < <(
  aws secretsmanager batch-get-secret-value --secret-id-list $(seq -f bench/s%g 0 $((SECRETS - 1))) \
    --query 'SecretValues[].[Name,SecretString]' --output text)
while read -r name text; do value[${name#/bench/}]=$text; done < <(
  aws ssm get-parameters --with-decryption --names $(seq -f /bench/p%g 0 $((PARAMETERS - 1))) \
    --query 'Parameters[].[Name,Value]' --output text)
"""

SCRIPT_TAIL = r"""
mkdir -p "$ROOT/etc/bench"
for i in $(seq 0 $((FILES - 1))); do
  cat >"$ROOT/etc/bench/f$i" <<END
instance = $id
secret = ${value[s$((i % SECRETS))]}
parameter = ${value[p$((i % PARAMETERS))]}
END
done
"""


def document() -> str:
    lines = ["#ingot", "version: 1", "secrets:"]
    lines += [f"  s{i}: {{ secrets_manager: bench/s{i} }}" for i in range(SECRETS)]
    lines += [f"  p{i}: {{ parameter: /bench/p{i} }}" for i in range(PARAMETERS)]
    lines += ["files:"]
    for i in range(FILES):
        lines += [f"  /etc/bench/f{i}:", "    content: |", "      instance = {{instance.id}}"]
        lines += [
            f"      secret = {{{{secrets.s{i % SECRETS}}}}}",
            f"      parameter = {{{{secrets.p{i % PARAMETERS}}}}}",
        ]
    return "\n".join(lines) + "\n"


def aws_cli() -> Path:
    """The directory of the `aws` of a venv of its own, in .cache/."""
    venv = REPOSITORY / ".cache/bench-venv"
    made = venv / ".made-from"
    if not made.exists() or made.read_text() != REQUIREMENTS.read_text():
        print("installing the AWS CLI", file=sys.stderr)
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", "--requirement", REQUIREMENTS], check=True)
        made.write_text(REQUIREMENTS.read_text())
    return venv / "bin"


def covered(spans: list[tuple[float, float]]) -> float:
    """The seconds in which at least one span lies."""
    total, end = 0.0, 0.0
    for begin, finish in sorted(spans):
        total += max(0.0, finish - max(begin, end))
        end = max(end, finish)
    return total


class Side:
    """One way to do it, and what it took each time."""

    def __init__(self, name: str, command: list[str], env: dict[str, str]):
        self.name, self.command, self.env = name, command, env
        self.total: list[float] = []
        self.servers: list[float] = []
        self.calls = 0
        self.memory = 0
        self.left: dict[str, bytes] = {}

    def run(self, imds: Imds, aws: Aws, *, memory: bool = False) -> None:
        imds.forget()
        aws.put("/harness/forget", {})
        aws.latency(aws.added)
        with tempfile.TemporaryDirectory(prefix="first-boot.") as root:
            command = [part.replace("@ROOT@", root) for part in self.command]
            env = {**self.env, "ROOT": root}
            if memory:
                self.memory = peak_memory(command, env)
            else:
                begun = time.monotonic()
                done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True)
                self.total.append(time.monotonic() - begun)
                if done.returncode != 0:
                    raise SystemExit(f"{self.name}: exit code {done.returncode}\n{done.stderr.decode()}")
                calls = [*aws.calls(), *imds.requests()]
                self.calls = len(calls)
                self.servers.append(covered([(call["time"], call["time"] + call["seconds"]) for call in calls]))
            self.left = {path.name: path.read_bytes() for path in sorted(Path(root, "etc/bench").iterdir())}

    @property
    def own(self) -> list[float]:
        return [total - servers for total, servers in zip(self.total, self.servers, strict=True)]


def shown(seconds: list[float]) -> str:
    """Median, and least to most."""
    low, middle, high = (f"{1000 * value:.1f}" for value in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle} ({low}–{high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=10, help="runs of each side (the slow script: a third of it)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to each call of AWS")
    arguments = parser.parse_args()
    cli = aws_cli()
    with Imds(user_data=document()) as imds, Aws() as aws, tempfile.TemporaryDirectory() as scripts:
        aws.added = arguments.latency
        for i in range(SECRETS):
            aws.secret(f"bench/s{i}", f"secret-value-{i}")
        for i in range(PARAMETERS):
            aws.parameter(f"/bench/p{i}", f"parameter-value-{i}", "SecureString")
        env = {"PATH": os.environ["PATH"], "HOME": scripts, "LANG": "C.UTF-8", **imds.env, **aws.env}
        sizes = {"SECRETS": str(SECRETS), "PARAMETERS": str(PARAMETERS), "FILES": str(FILES)}
        with_cli = {**env, **sizes, "PATH": f"{cli}:{env['PATH']}"}
        sides = []
        if program := binary():
            sides.append(Side("ingot", [str(program), "boot", "--root", "@ROOT@"], env))
        else:
            print("no ingot: build it with `cargo dist`", file=sys.stderr)
        for name, middle in (("AWS CLI, batched", BATCHED), ("AWS CLI, one call a value", ONE_BY_ONE)):
            script = Path(scripts, name.replace(" ", "-"))
            script.write_text(SCRIPT_HEAD + middle + SCRIPT_TAIL)
            sides.append(Side(name, ["/bin/bash", str(script)], with_cli))

        for side in sides:
            # Also the warm-up: files cached, Python's bytecode written.
            side.run(imds, aws, memory=True)
        for turn in range(arguments.n):
            for side in sides:
                if "one call" not in side.name or turn % 3 == 0:
                    side.run(imds, aws)
        for side in sides:
            if side.left != sides[0].left or len(side.left) != FILES:
                raise SystemExit(f"{side.name} left other files than {sides[0].name}")

    print(f"{SECRETS} secrets, {PARAMETERS} parameters, {FILES} files; median (least–most)\n")
    columns = ["", "runs", "from exec to exit, ms", "of that servers', ms", "own, ms", "own, times ingot's", "calls"]
    print("|", " | ".join([*columns, "peak memory, MB"]), "|")
    print("|---" * 8 + "|")
    base = statistics.median(sides[0].own)
    for side in sides:
        ratio = statistics.median(side.own) / base
        cells = [side.name, len(side.total), shown(side.total), shown(side.servers), shown(side.own)]
        print("|", " | ".join(map(str, [*cells, f"{ratio:.0f}", side.calls, f"{side.memory / 1024:.1f}"])), "|")


if __name__ == "__main__":
    main()
