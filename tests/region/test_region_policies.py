"""Every policy of the fleet's templates on the region's engines, with scripted instances."""

import os

import pytest
from harness.region import Region, fleet
from harness.region.small import FAST, boots, releases

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

WAYS = {
    "all_at_once": {"MinInService": "0"},
    "rolling": {"BatchSize": "1", "MinInService": "1"},
    "rolling_with_batch": {"BatchSize": "1", "MinInService": "1"},
    "immutable": {},
}


def deployed(region: Region, name: str = "web", **given: str) -> fleet.Environment:
    shop = fleet.Environment(region, name, "version: 1\n", PauseTime="PT5M", **given)
    for release in ("v1", "v2", "bad"):
        shop.release(release, {"VERSION": release.encode()})
    assert shop.create("v1") == "CREATE_COMPLETE", region.told()
    return shop


@pytest.mark.parametrize("policy", WAYS)
def test_a_release_is_deployed_and_a_bad_one_ends_as_before(policy):
    with Region(boots(80, bad="abandons"), pace=FAST) as region:
        shop = deployed(region)
        assert shop.deploy("v2", Policy=policy, **WAYS[policy]) == "UPDATE_COMPLETE", region.told()
        region.in_service(2)
        assert releases(region) == ["v2", "v2"]
        assert shop.deploy("bad", Policy=policy, **WAYS[policy]) == "UPDATE_ROLLBACK_COMPLETE", region.told()
        region.in_service(2)
        assert releases(region) == ["v2", "v2"]
        assert (region.group().smallest, region.group().largest, region.group().desired) == (2, 4, 2)


def test_alarms_are_there_and_in_the_state_that_a_test_sets():
    with Region(boots(80), pace=FAST) as region:
        shop = deployed(region)
        cloudwatch = region.client("cloudwatch")
        alarms = {one["AlarmName"]: one["StateValue"] for one in cloudwatch.describe_alarms()["MetricAlarms"]}
        assert alarms == {f"shop-prod-{name}": "OK" for name in ("5xx", "unhealthy", "launches")}
        cloudwatch.set_alarm_state(AlarmName="shop-prod-5xx", StateValue="ALARM", StateReason="test")
        assert shop.deploy("v2", ErrorPercent="6", **WAYS["rolling"]) == "UPDATE_COMPLETE"
        (alarm,) = cloudwatch.describe_alarms(AlarmNames=["shop-prod-5xx"])["MetricAlarms"]
        assert (alarm["StateValue"], alarm["Threshold"]) == ("ALARM", 6)


def test_in_place_replaces_nobody():
    with Region(boots(80), pace=FAST) as region:
        shop = deployed(region)
        before = region.instances()
        assert shop.deploy("v2", Policy="in_place") == "UPDATE_COMPLETE"
        assert region.instances() == before
        # Who is launched from here on runs the new release.
        before[0].kill()
        region.wait(lambda: releases(region) == ["v1", "v2"], "another instance")


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_single_instance_gets_its_successor_first(name):
    with Region(boots(80), pace=FAST) as region:
        shop = deployed(region, name, Mode="single_instance", Capacity="1")
        assert shop.deploy("v2", Policy="rolling_with_batch") == "UPDATE_COMPLETE", region.told()
        region.in_service(1)
        assert releases(region) == ["v2"]
        shop.cloudformation.delete_stack(StackName=shop.stack)
        assert region.settled(shop.stack) == "DELETE_COMPLETE", region.told()
        assert region.engine.groups == {}
