"""Alarms that the region evaluates, rollback triggers of CloudFormation, and releases that get sick after a minute, deployed by
`ingot-fleet`.

A minute of AWS is 1.2 s here: health checks, alarms and `bake` are shortened by the same pace. All times are those of a
stand-in.
"""

import os
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import fleet as fleets
from harness.agent import DONE, FAILED
from harness.region import Outcome, Region, fleet
from harness.region.delays import Pace
from harness.region.metrics import computed
from harness.region.operated import Operator, address, load, runs, witnesses
from harness.region.small import Shop, boots, fast

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

POLICIES = ["rolling", "immutable", *(pytest.param(policy, marks=pytest.mark.slow) for policy in ("all_at_once", "rolling_with_batch"))]
# Requests of 10 s are one of 1 s.
TENTH, LONGEST = Pace(schedule=50, patience=10), 1.0
MINUTE = 60 / TENTH.schedule


def state(region, alarm: str) -> str:
    (found,) = region.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    return found["StateValue"]


# The region.


def test_metric_math_knows_what_is_missing():
    said = "IF(FILL(requests, 0) + FILL(own, 0) > 0, 100 * FILL(own, 0) / (FILL(requests, 0) + FILL(own, 0)), 0)"
    for requests, own, percent in [(90, 10, 10), (None, 3, 100), (4, None, 0), (None, None, 0)]:
        assert computed(said, {"requests": requests, "own": own}) == percent
    assert computed("requests / 2", {"requests": None}) is None
    with pytest.raises(ValueError):
        computed("SUM(METRICS())", {})


def test_errors_of_a_balancer_raise_its_alarm_until_they_are_over():
    with Region(boots(80), pace=TENTH, alarms=True) as region:
        shop = fleet.Environment(region, "web", "version: 1\n", PauseTime="PT30M")
        shop.release("v1", {"VERSION": b"v1"})
        assert shop.create("v1") == "CREATE_COMPLETE", region.told()
        time.sleep(4 * MINUTE)
        assert (state(region, "shop-prod-5xx"), state(region, "shop-prod-unhealthy")) == ("OK", "OK")
        name = {"AutoScalingGroupName": region.group().name}
        region.client("autoscaling").suspend_processes(**name, ScalingProcesses=["Launch"])
        for instance in region.instances():
            instance.kill()

        def fails() -> bool:
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://{address(region)}/", timeout=5)
            return state(region, "shop-prod-5xx") == "ALARM"

        begun = time.monotonic()
        region.poll(fails, "the alarm")
        assert time.monotonic() - begun > MINUTE, "two data points of three"
        region.client("autoscaling").resume_processes(**name, ScalingProcesses=["Launch"])
        region.in_service(2)
        region.poll(lambda: state(region, "shop-prod-5xx") == "OK", "the end of the alarm")


def watched(region, minutes: int, *alarms: str) -> dict:
    arn = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:{}"
    triggers = [{"Arn": arn.format(alarm), "Type": "AWS::CloudWatch::Alarm"} for alarm in alarms]
    return {"RollbackConfiguration": {"RollbackTriggers": triggers, "MonitoringTimeInMinutes": minutes}}


@pytest.mark.parametrize("when", ["meanwhile", "afterwards", "not there"])
def test_a_rollback_trigger_takes_an_update_back(when):
    with fast(v2=Outcome(boot=1)) as region:
        shop = Shop(region)
        assert shop.create(Release="v1") == "CREATE_COMPLETE"
        cloudwatch = region.client("cloudwatch")
        if when != "not there":
            sizes = {"EvaluationPeriods": 1, "Period": 60, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}
            cloudwatch.put_metric_alarm(AlarmName="theirs", Namespace="n", MetricName="m", Statistic="Sum", **sizes)
            cloudwatch.set_alarm_state(AlarmName="theirs", StateValue="OK", StateReason="test")
        region.client("cloudformation").update_stack(**shop.call({"Release": "v2"}), **watched(region, 60, "theirs"))
        if when != "not there":
            count = 1 if when == "meanwhile" else 2
            region.wait(lambda: shop.releases().count("v2") == count, f"{count} of the new release")
            assert region.stack("shop").status == "UPDATE_IN_PROGRESS"
            cloudwatch.set_alarm_state(AlarmName="theirs", StateValue="ALARM", StateReason="test")
        assert region.settled("shop") == "UPDATE_ROLLBACK_COMPLETE", region.told()
        assert shop.releases() == ["v1", "v1"]
        reasons = [event.reason for event in region.stack("shop").events if event.status == "UPDATE_ROLLBACK_IN_PROGRESS"]
        assert reasons[0].startswith("Rollback triggers breached: [arn:") and ":alarm:theirs]" in reasons[0], reasons


def test_monitoring_takes_its_time_and_stays_that_of_the_stack():
    with fast() as region:
        shop = Shop(region)
        assert shop.create(Release="v1") == "CREATE_COMPLETE"
        shop.cloudformation.update_stack(**shop.call({"Release": "v2"}), **watched(region, 2))
        region.wait(lambda: region.stack("shop").resources["Group"].status == "UPDATE_COMPLETE", "the new release")
        begun = time.monotonic()
        assert region.settled("shop") == "UPDATE_COMPLETE" and time.monotonic() - begun > 1.8 * MINUTE
        (said,) = shop.cloudformation.describe_stacks(StackName="shop")["Stacks"]
        assert said["RollbackConfiguration"] == {"RollbackTriggers": [], "MonitoringTimeInMinutes": 2}, said
        shop.update(wait=False, Release="v3")
        region.wait(lambda: shop.releases() == ["v3", "v3"], "the third release")
        assert shop.cloudformation.cancel_update_stack(StackName="shop"), "while it is monitored"
        assert region.settled("shop") == "UPDATE_ROLLBACK_COMPLETE" and shop.releases() == ["v2", "v2"]


# The verbs.

# It boots for a minute, and its health checks fail two and a half minutes after its start, which is more than a minute
# after it was found healthy. The group replaces it, by the next one that gets sick.
SICK = Outcome(boot=MINUTE, sick_after=2.5 * MINUTE)
ALARM = "shop-prod-unhealthy"


@pytest.fixture
def region():
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")
    with Region(witnesses(sick=(SICK, "")), pace=TENTH, alarms=True) as region:
        yield region


def created(region, directory, policy: str, bake: str) -> Operator:
    deployment = {"policy": policy, "alarms": [ALARM], "bake": bake}
    operator = Operator(directory, region, prod={"instances": {"min": 2, "max": 4}, "deployment": deployment})
    for release in ("v1", "v2", "sick"):
        operator.release(release)
    result = operator("create", "prod", "--release", "v1")
    assert result.code == DONE, (result, region.told())
    return operator


@pytest.mark.parametrize("policy", POLICIES)
def test_a_release_that_gets_sick_ends_as_before(tmp_path, region, policy):
    """The templates' own alarm has CloudFormation go back, while it is deployed or baked."""
    operator = created(region, tmp_path, policy, "30m")
    with load(region, "prod", tmp_path, LONGEST) as told:
        result = operator("deploy", "prod", "--release", "sick", "--yes")
        time.sleep(LONGEST)
    print(f"stand-in: {policy}, sick after a while: {told['sent']} requests, {told['lost']} lost, {result.seconds:.1f} s")
    assert result.code == FAILED, (result, region.told())
    assert f"deployment 2 of prod is failed: the alarm {ALARM} went into ALARM" in result.stderr, (result, region.told())
    assert "prod runs v1 (deployment 1)" in result.stderr, result
    region.in_service(2)
    assert runs(region) == ["v1", "v1"] and operator.states() == ["good", "failed"]
    assert {"v1", "sick"} <= told["generations"].keys() and told["sent"] > 300
    # All instances at once is an outage, on purpose.
    assert told["lost"] == 0 or policy == "all_at_once", (told["losses"][:10], region.told())
    # As long as the alarm is raised, nothing is deployed; then everything is as it was.
    region.poll(lambda: state(region, ALARM) == "OK", "the end of the alarm")
    assert operator("deploy", "prod", "--release", "v2", "--yes").code == DONE
    assert runs(region) == ["v2", "v2"]


@pytest.mark.parametrize("policy", ["rolling", "immutable"])
def test_a_good_release_is_baked_and_stays(tmp_path, region, policy):
    operator = created(region, tmp_path, policy, "6m")
    with ThreadPoolExecutor(1) as beside:
        deployed = beside.submit(operator, "deploy", "prod", "--release", "v2", "--yes")
        stack = region.stack("shop-prod")
        region.wait(lambda: runs(region).count("v2") == 2 and stack.resources["Group"].status == "UPDATE_COMPLETE", "the new release")
        begun, groups = time.monotonic(), len(region.engine.groups)
        result = deployed.result()
    assert result.code == DONE and time.monotonic() - begun > 5 * MINUTE, (result, region.told())
    # The former group stays until then.
    assert groups == (2 if policy == "immutable" else 1)
    assert operator.states() == ["good", "good"] and runs(region) == ["v2", "v2"]
