"""`ingot-fleet` on an environment of the region with three releases: v1, v2, and `bad`, which does not boot.

The fixtures `region` and `operator` of tests/region have it ready.
"""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable

import pytest

from harness import fleet as fleets
from harness.agent import DONE

from . import fleet

STILL_UNDER_WAY = 4
CTRL_C = "Ctrl-C"

# Verbs that ask first: a test has no terminal.
ASKING = ("deploy", "rollback", "scale", "set")

FLEET = """\
version: 1
application: shop
releases: s3://shop-releases/
environments:
  prod:
    tier: web
    image: ssm:/golden/shop
    network: {{ vpc: {vpc}, subnets: [{subnets}] }}
    document: web.yaml
    instances: {{ types: [m7i.large], min: 2, max: 6 }}
    deployment: {{ policy: {policy}, batch: 1 }}
"""


class Operator(fleets.Fleet):
    """`ingot-fleet` beside the fleet.yaml of one environment, with three releases."""

    def __init__(self, directory, region, policy: str = "rolling", document: str = "#ingot\nversion: 1\n"):
        super().__init__(directory, region)
        self.region = region
        fleet.account(region, fleet.RELEASES, fleet.EVIDENCE)
        region.client("ssm").put_parameter(Name="/golden/shop", Type="String", Value="ami-12c6146b")
        self.write("web.yaml", document)
        self.describe(policy)
        for release in ("v1", "v2", "bad"):
            self.release(release, {"VERSION": release.encode()})

    def start(self, *args, **env: str):
        agreed = ["--yes"] if args[0] in ASKING and "--yes" not in args else []
        return super().start(*args, *agreed, **env)

    def release(self, name: str, files: dict[str, bytes]) -> None:
        for path, content in files.items():
            self.write(f"{name}/{path}", content, 0o755)
        done = self("release", name, "--name", name)
        assert done.code == DONE, done

    def describe(self, policy: str) -> None:
        subnets = self.region.client("ec2").describe_subnets()["Subnets"][:2]
        names = ", ".join(one["SubnetId"] for one in subnets)
        self.write("fleet.yaml", FLEET.format(vpc=subnets[0]["VpcId"], subnets=names, policy=policy))

    def states(self) -> list[str]:
        """The states of the deployments, the first one first."""
        prefix = "shop/environments/prod/deployments/"
        # Beside the records is whether the environment is frozen.
        keys = sorted(key for key in self.keys() if key.startswith(prefix) and key.removeprefix(prefix)[0].isdigit())
        return [json.loads(self.read(key))["state"] for key in keys]


def needs_binary() -> None:
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")


class Unasked(Operator):
    """One that agrees to nothing on the command line."""

    start = fleets.Fleet.start

    def at_a_terminal(self, answer: str, *args, meanwhile: Callable[[], None] = lambda: None) -> tuple[int, str]:
        """The exit code, and what was said. `meanwhile` happens while the question is open."""
        ours, theirs = pty.openpty()
        command = [str(fleets.binary()), *args]
        process = subprocess.Popen(
            command, cwd=self.directory, env={**self.env, "TERM": "xterm"}, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs
        )
        os.close(theirs)
        said = b""
        while True:
            try:
                said += os.read(ours, 4096)
            except OSError:
                break
            if b"[y/N]" in said and answer:
                meanwhile()
                process.send_signal(signal.SIGINT) if answer == CTRL_C else os.write(ours, f"{answer}\n".encode())
                answer = ""
        os.close(ours)
        return process.wait(fleets.PATIENCE), said.decode()
