"""The pipeline's script from end to end: `fleet/pipeline/deploy.sh` with `ingot-fleet`, two environments of the region with
scripted instances, and a smoke test that asks their load balancers."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import fleet as fleets
from harness.agent import DONE, FAILED, REPOSITORY, USAGE
from harness.region import Outcome, Region
from harness.region.actions import action, allowed
from harness.region.operated import Operator, address, runs, witnesses
from harness.region.small import FAST

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

SCRIPT = REPOSITORY / "fleet" / "pipeline" / "deploy.sh"
STILL_UNDER_WAY = 4
ENVIRONMENTS = ("staging", "prod")

# Every answer has to be of the release that was deployed; `sour` is one that production does not stand.
SMOKE = """\
#!/bin/bash
set -euo pipefail
addresses=({addresses})
[ "$1" = staging ] && address=${{addresses[0]}} || address=${{addresses[1]}}
for _ in 1 2 3 4; do
  curl --fail --silent --show-error --max-time 5 "http://$address/" | grep --quiet "gen=$RELEASE$"
done
echo "$1 $RELEASE" >>smoked
if [ "$1 $RELEASE" = "prod sour" ]; then echo "prod does not take it" >&2; exit 1; fi
if [ "$1 $RELEASE" = "staging endless" ]; then sleep 1000; fi
"""

KINDS = {
    "bad": (Outcome("abandons"), "applications.shop: it ended with exit code 5"),
    "slow": (Outcome(boot=4), ""),
}


@dataclass
class Ran:
    code: int
    stderr: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.stderr}"

    @property
    def last(self) -> str:
        return self.stderr.splitlines()[-1]


class Pipeline:
    """A checkout of the application's repository, and a runner."""

    def __init__(self, operator: Operator):
        self.operator, self.region, self.directory = operator, operator.region, operator.directory
        programs = self.directory / "bin"
        programs.mkdir()
        (programs / "ingot-fleet").symlink_to(fleets.binary())
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = {**operator.env, "PATH": path, "SMOKE": str(self.directory / "smoke.sh")}
        addresses = " ".join(address(self.region, environment) for environment in ENVIRONMENTS)
        operator.write("smoke.sh", SMOKE.format(addresses=addresses), 0o755)

    def __call__(self, release: str, *environments: str, **env: str) -> Ran:
        command = [str(SCRIPT), self.operator.build(release), *(environments or ENVIRONMENTS)]
        given = {**self.env, "RELEASE": release, **env}
        done = subprocess.run(command, cwd=self.directory, env=given, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        return Ran(done.returncode, done.stdout + done.stderr)

    def runs(self) -> list[str]:
        """What the two environments run, staging first."""
        return [release for environment in ENVIRONMENTS for release in sorted(set(runs(self.region, environment)))]

    def smoked(self) -> list[str]:
        return (self.directory / "smoked").read_text().splitlines()


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """Both environments run v1. Each test goes on from where the one before has left them."""
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")
    with Region(witnesses(**KINDS), pace=FAST) as region:
        single = {"instances": {"min": 1, "max": 3}, "deployment": {"policy": "rolling_with_batch"}}
        operator = Operator(tmp_path_factory.mktemp("pipeline"), region, **{name: single for name in ENVIRONMENTS})
        operator.release("v1")
        for environment in ENVIRONMENTS:
            created = operator("create", environment, "--release", "v1")
            assert created.code == DONE, (created, region.told())
        yield Pipeline(operator)


def test_a_good_release_goes_through_both(pipeline):
    ran = pipeline("v2")
    assert ran.code == DONE and ran.last == "==> v2 runs in: staging prod", ran
    assert pipeline.runs() == ["v2", "v2"] and pipeline.smoked() == ["staging v2", "prod v2"]


def test_run_again_it_has_nothing_to_do_but_to_test(pipeline):
    ran = pipeline("v2")
    assert ran.code == DONE and ran.stderr.count("nothing to change") == 2, ran
    assert pipeline.smoked()[-2:] == ["staging v2", "prod v2"]
    assert pipeline.operator.states("prod") == ["good", "good"]


def test_a_bad_one_stops_at_staging(pipeline):
    ran = pipeline("bad")
    assert ran.code == FAILED and ran.last == "error: bad was not deployed to staging", ran
    assert "applications.shop: it ended with exit code 5" in ran.stderr, ran
    assert pipeline.runs() == ["v2", "v2"]
    assert pipeline.operator.states("staging")[-1] == "failed" and len(pipeline.operator.states("prod")) == 2


def test_one_that_fails_its_smoke_test_in_prod_is_rolled_back(pipeline):
    ran = pipeline("sour")
    assert ran.code == FAILED and "prod does not take it" in ran.stderr, ran
    assert ran.last == "error: the smoke test of prod failed with sour: prod runs v2 again", ran
    assert pipeline.runs() == ["sour", "v2"]
    assert pipeline.operator.states("prod") == ["good", "good", "good", "good"]


def test_what_was_there_before_is_not_rolled_back(pipeline):
    """Staging runs it, and nobody knows for how long."""
    ran = pipeline("sour", "staging", SMOKE="false")
    assert ran.code == FAILED and "which staging had run before: nothing was rolled back" in ran.last, ran
    assert pipeline.runs() == ["sour", "v2"]


def test_what_was_guarded_alone_is_not_rolled_back(pipeline):
    """The stack's guards have changed, and no instance was replaced."""
    fleet = pipeline.directory / "fleet.yaml"
    plain = fleet.read_text()
    fleet.write_text(plain.replace("staging:\n", "staging:\n    protect: true\n"))
    ran = pipeline("sour", "staging", SMOKE="false")
    fleet.write_text(plain)
    assert ran.code == FAILED and "which staging had run before: nothing was rolled back" in ran.last, ran
    assert pipeline("sour", "staging").code == DONE


def test_a_smoke_test_that_does_not_end_has_failed(pipeline):
    ran = pipeline("endless", SMOKE_TIMEOUT="2")
    assert ran.code == FAILED and ran.last == "error: the smoke test of staging failed with endless: staging runs sour again", ran
    assert pipeline.runs() == ["sour", "v2"]


def test_what_somebody_has_deployed_meanwhile_stays(pipeline):
    """The smoke test is whoever comes between."""
    pipeline.operator.release("hotfix")
    between = f"""#!/bin/sh
ingot-fleet deploy "$1" --release hotfix --yes
exit 1
"""
    pipeline.operator.write("between.sh", between, 0o755)
    ran = pipeline("v3", "staging", SMOKE=str(pipeline.directory / "between.sh"))
    assert ran.code == FAILED and "has followed: nothing was rolled back" in ran.last, ran
    assert pipeline.runs() == ["hotfix", "v2"]


def test_one_that_takes_long_goes_on_and_is_followed_by_the_next_run(pipeline):
    ran = pipeline("slow", "staging", TIMEOUT="1s")
    assert ran.code == STILL_UNDER_WAY and "staging still deploys slow" in ran.last, ran
    again = pipeline("slow", "staging")
    assert again.code == DONE and "following it" in again.stderr, again
    assert pipeline.runs() == ["slow", "v2"]


def test_what_is_missing_is_said(pipeline):
    for environments, env, code, said in [
        ((), {"SMOKE": ""}, 1, "SMOKE: is not set"),
        (("nowhere",), {}, USAGE, "v2 was not deployed to nowhere"),
    ]:
        ran = pipeline("v2", *environments, **env)
        assert ran.code == code and said in ran.stderr, ran
    usage = subprocess.run([SCRIPT, "build"], env=pipeline.env, capture_output=True, text=True)
    assert usage.returncode == USAGE and usage.stderr == "deploy.sh DIR|ARCHIVE ENV…\n", usage


def test_the_policies_of_a_pipeline_allow_what_it_calls(pipeline):
    own = pipeline.env["AWS_ACCESS_KEY_ID"]
    needed = {action(call) for call in pipeline.region.calls if call["key_id"] == own} - {None}
    assert {"cloudformation:UpdateStack", "s3:PutObject", "autoscaling:DescribeAutoScalingGroups"} <= needed
    assert needed - allowed("Deployer", "Reader") == set()
