"""How deployments end that do not go well, where other tests have web environments or one policy alone: workers, and calls that
AWS denies in the middle. Scripted instances; all times are those of a stand-in."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import fleet as fleets
from harness.agent import DONE, FAILED, UNREACHABLE
from harness.region import Outcome, Region
from harness.region.operated import Operator, runs, witnesses
from harness.region.small import FAST
from harness.region.verbs import STILL_UNDER_WAY

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

POLICIES = ["all_at_once", "rolling", "rolling_with_batch", "immutable"]
# One at every push.
SLOWLY = ["rolling", *(pytest.param(policy, marks=pytest.mark.slow) for policy in POLICIES if policy != "rolling")]

# Releases that fail to unpack, to start and to get ready.
KINDS = {
    "damaged": (Outcome("abandons"), "bundles.app: the archive is damaged"),
    "broken": (Outcome("abandons"), "applications.jobs: it ended with exit code 5"),
    "unready": (Outcome("abandons", boot=1), "applications.jobs: it was not ready after 60 s"),
}


@pytest.fixture
def region():
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")
    with Region(witnesses(**KINDS), pace=FAST) as region:
        yield region


def created(region, directory, policy: str, **settings) -> Operator:
    operator = Operator(directory, region, prod={**settings, "deployment": {"policy": policy} | settings.get("deployment", {})})
    for release in ("v1", "v2", *KINDS):
        operator.release(release)
    result = operator("create", "prod", "--release", "v1")
    assert result.code == DONE, (result, region.told())
    return operator


WORKERS = {"tier": "worker", "queue": {"visibility": "5m"}}


@pytest.mark.parametrize("policy", POLICIES)
def test_bad_releases_of_workers_end_as_before(tmp_path, region, policy):
    operator = created(region, tmp_path, policy, **WORKERS)
    for number, (release, (_, cause)) in enumerate(KINDS.items(), start=2):
        failed = operator("deploy", "prod", "--release", release, "--yes")
        assert failed.code == FAILED and f"deployment {number} of prod is failed" in failed.stderr, (failed, region.told())
        assert cause in failed.stderr and "prod runs v1 (deployment 1)" in failed.stderr, failed
        region.in_service(2)
        assert runs(region) == ["v1", "v1"]
    assert operator("deploy", "prod", "--release", "v2", "--yes").code == DONE
    region.in_service(2)
    assert runs(region) == ["v2", "v2"] and operator.states() == ["good", "failed", "failed", "failed", "good"]


@pytest.mark.parametrize("policy", POLICIES)
def test_workers_that_get_sick_end_as_before(tmp_path, region, policy):
    """No load balancer finds them unhealthy: an alarm of the environment does, while they are baked."""
    cloudwatch = region.client("cloudwatch")
    kind = {"ComparisonOperator": "GreaterThanThreshold", "Threshold": 1, "Statistic": "Sum"}
    cloudwatch.put_metric_alarm(AlarmName="lost", Namespace="jobs", MetricName="lost", EvaluationPeriods=1, Period=60, **kind)
    cloudwatch.set_alarm_state(AlarmName="lost", StateValue="OK", StateReason="none")
    operator = created(region, tmp_path, policy, **WORKERS, deployment={"alarms": ["lost"], "bake": "30m"})
    with ThreadPoolExecutor(1) as beside:
        deployed = beside.submit(operator, "deploy", "prod", "--release", "v2", "--yes")
        stack = region.stack("shop-prod")
        region.wait(lambda: runs(region) == ["v2", "v2"] and stack.resources["Group"].status == "UPDATE_COMPLETE", "the new release")
        cloudwatch.set_alarm_state(AlarmName="lost", StateValue="ALARM", StateReason="seven of them")
        failed = deployed.result()
    assert failed.code == FAILED and "deployment 2 of prod is failed: the alarm lost" in failed.stderr, (failed, region.told())
    region.in_service(2)
    assert runs(region) == ["v1", "v1"] and operator.states() == ["good", "failed"]


# What a deployment asks of AWS, in order.
OPERATIONS = [
    ("s3", "PutObject"),
    ("cloudformation", "UpdateStack"),
    ("cloudformation", "DescribeStacks"),
    ("cloudformation", "DescribeStackEvents"),
]


@pytest.mark.parametrize("policy", SLOWLY)
def test_what_aws_denies_leaves_nothing_half_done(tmp_path, region, policy):
    operator = created(region, tmp_path, policy)
    for service, operation in OPERATIONS:
        region.fault("denied", service, operation=operation)
        refused = operator("deploy", "prod", "--release", "v2", "--yes", "--timeout", "20s")
        assert refused.code in (FAILED, UNREACHABLE, STILL_UNDER_WAY) and operation in refused.stderr, (operation, refused)
        assert refused.code == STILL_UNDER_WAY or "hint: " in refused.stderr, (operation, refused)
        region.recover()
        region.settled("shop-prod")
        region.in_service(2)
        assert runs(region) in (["v1", "v1"], ["v2", "v2"]), (operation, refused, region.told())
        done = operator("deploy", "prod", "--release", "v2", "--yes")
        assert done.code == DONE and runs(region) == ["v2", "v2"], (operation, refused, done)
        back = operator("rollback", "prod", "--yes")
        region.in_service(2)
        assert back.code == DONE and runs(region) == ["v1", "v1"], (operation, back)
        assert "under_way" not in operator.states(), operation
