"""Every policy of the fleet's templates on the region's engines, with scripted instances."""

import json
import os

import pytest
import yaml
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
    # A minute here: a boot that fails tells so at once.
    shop = fleet.Environment(region, name, "version: 1\n", PauseTime="PT30M", **given)
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


SINGLE = {"Mode": "single_instance", "Capacity": "1"}
DATA = {"DatabaseClass": "db.t4g.micro", "CacheNode": "cache.t4g.small"}


@pytest.mark.parametrize("data", [{}, DATA], ids=["plain", "with data"])
@pytest.mark.parametrize("mode", [{}, SINGLE], ids=["several", "single"])
@pytest.mark.parametrize("name", ["web", "worker"])
def test_environments_come_change_and_go(name, mode, data):
    with Region(boots(80), pace=FAST) as region:
        shop = deployed(region, name, **mode, **data)
        count = 2 if (name, mode) == ("web", {}) else 1
        (values,) = {yaml_of(instance.spec.user_data, "values") for instance in region.instances()}
        assert ("database" in json.loads(values), "cache" in json.loads(values)) == (bool(data), bool(data))
        # A single instance gets its successor first, too.
        assert shop.deploy("v2", Policy="rolling_with_batch") == "UPDATE_COMPLETE", region.told()
        region.in_service(count)
        assert releases(region) == ["v2"] * count
        shop.cloudformation.delete_stack(StackName=shop.stack)
        assert region.settled(shop.stack) == "DELETE_COMPLETE", region.told()
        assert region.engine.groups == {}
        assert left(region) == (bool(data), 0, 2 if name == "worker" else 0)


def yaml_of(user_data: bytes, key: str) -> str:
    return json.dumps(yaml.safe_load(user_data)[key], sort_keys=True)


def left(region) -> tuple[int, int, int]:
    """What is there of snapshots, databases and queues."""
    rds = region.client("rds")
    snapshots = len(rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"])
    databases = len(rds.describe_db_instances()["DBInstances"])
    return snapshots, databases, len(region.client("sqs").list_queues().get("QueueUrls", []))


def test_a_database_may_be_restored_and_changed():
    with Region(boots(80), pace=FAST) as region:
        rds = region.client("rds")
        golden = {"Engine": "mysql", "DBInstanceClass": "db.t4g.micro", "AllocatedStorage": 20, "MasterUsername": "shop"}
        rds.create_db_instance(DBInstanceIdentifier="golden", **golden)
        rds.create_db_snapshot(DBInstanceIdentifier="golden", DBSnapshotIdentifier="shop-golden")
        rds.delete_db_instance(DBInstanceIdentifier="golden", SkipFinalSnapshot=True)
        given = {"DatabaseClass": "db.t4g.micro", "DatabaseSnapshot": "shop-golden", "DatabaseEngine": "mysql"}
        shop = deployed(region, **SINGLE, **given)
        (instance,), before = region.instances(), shop.output("Database")
        secret = region.client("secretsmanager").get_secret_value(SecretId=shop.output("DatabaseSecret"))
        assert json.loads(secret["SecretString"])["username"] == "shop"
        assert shop.deploy("v1", DatabaseClass="db.t4g.small", Deployment="1") == "UPDATE_COMPLETE", region.told()
        (database,) = rds.describe_db_instances()["DBInstances"]
        assert (database["DBInstanceIdentifier"], database["DBInstanceClass"]) == (before, "db.t4g.small")
        assert region.in_service(1) == [instance]


def test_an_environment_that_does_not_come_up_leaves_nothing():
    """Queues are kept, but not those that the failed creation has made."""
    with Region(boots(80, bad="abandons"), pace=FAST) as region:
        jobs = fleet.Environment(region, "worker", "version: 1\n", PauseTime="PT30M")
        jobs.release("bad", {"VERSION": b"bad"})
        assert jobs.create("bad") == "ROLLBACK_COMPLETE", region.told()
        assert left(region) == (0, 0, 0)
