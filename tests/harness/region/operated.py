"""Environments of the region as their operator has them, by `ingot-fleet`; and the load of their users.

    operator = Operator(tmp_path, region, prod={"instances": {"min": 3, "max": 6}})
    operator.release("v1", fleet.good("v1"))
    assert operator("create", "prod", "--release", "v1").code == DONE
    with load(region, "prod", tmp_path) as told:
        assert operator("deploy", "prod", "--release", "v2", "--yes").code == DONE
    assert told["lost"] == 0

The load is that of harness/host/load.py: GET and POST on connections that are kept, pauses of up to 20 ms and of up to 5 s,
requests that take as long as any may, a WebSocket. A request that was written and not answered in full is lost.
"""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime, timezone

import yaml

from harness import fleet as fleets
from harness.host import archives
from harness.host import load as program

from . import fleet
from .instances.scripted import Outcome, Scripted, release_of

STACK = "shop-{}"

# What an environment says, unless a test says otherwise.
USUAL = {
    "tier": "web",
    "image": "ssm:/golden/shop",
    "document": "web.yaml",
    "instances": {"types": ["m7i.large"], "min": 2, "max": 6},
    "deployment": {"policy": "rolling", "batch": 1},
}

# As an instance of the region's containers boots it; what leaves is the template's.
BOOTED = fleet.WEB.partition("drains:")[0]
PLAIN = "#ingot\nversion: 1\n"


def merged(below: dict, above: dict) -> dict:
    return {key: merged(below.get(key, {}), one) if isinstance(one, dict) else one for key, one in {**below, **above}.items()}


class Operator(fleets.Fleet):
    """`ingot-fleet` beside a fleet.yaml, with the account's stack; each environment is given what differs from USUAL."""

    # A deployment of containers, one after the other.
    patience = 900

    def __init__(self, directory, region, document: str = PLAIN, **environments: dict):
        super().__init__(directory, region)
        self.region = region
        fleet.account(region, fleet.RELEASES, fleet.EVIDENCE)
        region.client("ssm").put_parameter(Name="/golden/shop", Type="String", Value="ami-12c6146b")
        self.write("web.yaml", document)
        subnets = region.client("ec2").describe_subnets()["Subnets"][:2]
        network = {"vpc": subnets[0]["VpcId"], "subnets": [one["SubnetId"] for one in subnets]}
        told = {name: merged({**USUAL, "network": network}, differs) for name, differs in environments.items()}
        content = {"version": 1, "application": "shop", "releases": f"s3://{fleet.RELEASES}/", "environments": told}
        self.write("fleet.yaml", yaml.safe_dump(content, sort_keys=False))

    def build(self, name: str, files: dict[str, bytes] | None = None) -> str:
        """What a build leaves in a directory of that name."""
        for path, content in (files or {"VERSION": name.encode()}).items():
            self.write(f"{name}/{path}", content, 0o755)
        return name

    def release(self, name: str, files: dict[str, bytes] | None = None) -> None:
        done = self("release", self.build(name, files), "--name", name)
        assert done.code == 0, done

    def records(self, environment: str = "prod") -> list[dict]:
        """Those of its deployments, the first one first."""
        prefix = f"shop/environments/{environment}/deployments/"
        found = [json.loads(self.read(key)) for key in self.keys() if key.startswith(prefix)]
        return sorted(found, key=lambda record: record["number"])

    def in_force(self, environment: str = "prod") -> dict:
        """The newest good record."""
        return [record for record in self.records(environment) if record["state"] == "good"][-1]

    def states(self, environment: str = "prod") -> list[str]:
        return [record["state"] for record in self.records(environment)]


def runs(region, environment: str = "prod") -> list[str]:
    """The releases that the instances in service were launched with."""
    with region.engine.lock:
        groups = [one.model for one in region.stack(STACK.format(environment)).resources.values() if one.logical == "Group"]
        return sorted(release_of(member.instance.spec) for group in groups for member in group.members if member.in_service)


def address(region, environment: str = "prod") -> str:
    """That of the environment's load balancer."""
    with region.engine.lock:
        balancer = region.stack(STACK.format(environment)).resources["Balancer"].model
        return region.network.balancer_address(balancer.arn)


@contextmanager
def load(region, environment: str, directory, longest: float = 10, *more: str):
    """Load on an environment while the block goes on. What became of it is there once it is left: `sent`, `lost`, `losses`,
    and of each release `generations` and the time of the last request that it answered, `last`. `more` are further options of
    harness/host/load.py."""
    result, told = directory / "load.json", {}
    command = [*region.network.prefix, sys.executable, program.__file__, address(region, environment), "80", str(result)]
    client = subprocess.Popen([*command, f"--longest={longest}", "--websocket=/ws", *more])
    try:
        # Every kind of client has asked by then, but for those with long pauses.
        time.sleep(1.5)
        yield told
    finally:
        client.terminate()
        assert client.wait(program.PATIENCE + 20) == 0
    told.update(json.loads(result.read_text()))


class Witness(Scripted):
    """A scripted instance that says why its boot failed, as ingot does: it leaves evidence before it tells anybody."""

    reasons: dict[str, str] = {}

    def signal(self, status: str) -> None:
        if status == "FAILURE":
            self.leave_evidence(self.reasons.get(release_of(self.spec), "boot: it failed"))
        super().signal(status)

    def leave_evidence(self, reason: str) -> None:
        now = datetime.now(timezone.utc)
        application, environment = (self.spec.tags[f"ingot:{what}"] for what in ("application", "environment"))
        key = f"{application}/{environment}/{now:%Y/%m/%d/%H%M%S}Z-{self.id}-{'0' * 32}-serve.json.zst"
        content = {"version": 1, "moment": "failure", "written_at": f"{now:%Y-%m-%dT%H:%M:%SZ}", "reason": reason, "report": {}, "journal": {}}
        body = archives.packed(json.dumps(content).encode(), "tar.zst")
        self.region.client("s3").put_object(Bucket=fleet.EVIDENCE, Key=key, Body=body)


def witnesses(**kinds: tuple[Outcome, str]):
    """What `Region` launches: instances that boot by their release, `bad=(Outcome("abandons"), "services.shop: …")`. What
    is not named boots well."""

    def launch(region, spec):
        outcome, _ = kinds.get(release_of(spec), (Outcome(), ""))
        return Told(region, spec, outcome, 80)

    Told = type("Told", (Witness,), {"reasons": {release: reason for release, (_, reason) in kinds.items()}})
    return launch
