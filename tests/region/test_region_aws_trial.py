"""`tests/aws/fleet/deployments.py` in the region, so that whoever runs it on AWS finds a program that runs."""

import json
import os
import subprocess
import sys

import pytest
from harness import fleet as fleets
from harness.agent import REPOSITORY
from harness.aws.proxy import REGION
from harness.region import Outcome, Region, fleet
from harness.region.delays import Pace
from harness.region.operated import witnesses

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")]

SCRIPT = REPOSITORY / "tests" / "aws" / "fleet" / "deployments.py"
BAD = (Outcome("abandons"), "applications.shop: it ended with exit code 5")
# The first load balancer of a region on loopback is the only one.
PACE = Pace(schedule=20, patience=2)


def test_it_runs_to_its_end_and_leaves_nothing(tmp_path):
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")
    with Region(witnesses(**{"trial-bad": BAD}), pace=PACE) as region:
        fleet.account(region, fleet.RELEASES, fleet.EVIDENCE)
        region.client("ssm").put_parameter(Name="/golden/shop", Type="String", Value="ami-12c6146b")
        subnets = region.client("ec2").describe_subnets()["Subnets"][:2]
        network = ["--vpc", subnets[0]["VpcId"], "--subnets", *(one["SubnetId"] for one in subnets), "--clients", "0.0.0.0/0"]
        own = ["--releases", f"s3://{fleet.RELEASES}/", "--image", "ssm:/golden/shop", "--instances", "2", "--policies", "rolling"]
        at = ["--at", f"{region.network.first}.255.1"]
        env = {**os.environ, **region.env, "AWS_DEFAULT_REGION": REGION, "INGOT_FLEET": str(fleets.binary())}
        done = subprocess.run([sys.executable, SCRIPT, *network, *own, *at, "--yes"], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{region.told()}"
        report = json.loads((tmp_path / "report.json").read_text())["deployments"]
        assert [(one["release"], one["exit_code"], one["lost"]) for one in report] == [("trial-b", 0, 0), ("trial-bad", 1, 0)]
        assert region.instances() == [] and region.stack("ingot-trial-trial").status == "DELETE_COMPLETE"
