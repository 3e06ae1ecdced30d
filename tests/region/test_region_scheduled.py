"""Instances that a schedule of their environment replaces: `refresh:` of fleet.yaml, with scripted instances and all times
of AWS shortened. That the schedule is due is the test's to say. All times are those of a stand-in.
"""

import os
import time

import pytest
from harness.agent import DONE, FAILED
from harness.region import Outcome, Region
from harness.region.delays import Pace
from harness.region.group import refresh as refreshes
from harness.region.instances.scripted import release_of, scripted
from harness.region.operated import Operator, load, runs
from harness.region.schedules import due
from harness.region.small import FAST
from harness.region.verbs import needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

# 30 s of draining are 3 s, and requests of 10 s are one of 1 s.
TENTH = Pace(schedule=50, patience=10)
LONGEST = 1.0

TUESDAYS = "cron(0 3 ? * TUE *)"


@pytest.fixture(autouse=True)
def binary():
    needs_binary()


def created(directory, region, *releases: str) -> Operator:
    operator = Operator(directory, region, prod={"refresh": "weekly"})
    for release in ("v1", *releases):
        operator.release(release)
    result = operator("create", "prod", "--release", "v1")
    assert result.code == DONE, (result, region.told())
    region.in_service(2)
    return operator


def test_an_older_account_is_told_before_anything_begins(tmp_path):
    """Its service role may make no schedules."""
    with Region(scripted(lambda spec: Outcome(), 80), pace=FAST) as region:
        operator = Operator(tmp_path, region, prod={"refresh": "weekly"})
        operator.release("v1")
        account = region.stack("ingot-account")
        with region.engine.lock:
            outputs, account.outputs = account.outputs, [one for one in account.outputs if one["OutputKey"] != "Schedules"]
        refused = operator("create", "prod", "--release", "v1")
        assert refused.code == FAILED and "ingot-account does not allow schedules yet" in refused.stderr, refused
        assert operator.states() == [] and [stack.name for stack in region.engine.stacks] == ["ingot-account"]
        with region.engine.lock:
            account.outputs = outputs
        assert operator("create", "prod", "--release", "v1").code == DONE
        # What is there already needs no permission.
        with region.engine.lock:
            account.outputs = [one for one in account.outputs if one["OutputKey"] != "Schedules"]
        operator.release("v2")
        assert operator("deploy", "prod", "--release", "v2", "--yes").code == DONE


def members(region) -> set[str]:
    with region.engine.lock:
        return {one.id for one in region.group().members if one.in_service}


def ended(region) -> str:
    """The status of the newest refresh, once it has ended."""
    refresh = region.group().refreshes[0]
    region.wait(lambda: not refresh.active, "the end of the refresh")
    return refresh.status


def test_every_instance_is_replaced_and_no_request_is_lost(tmp_path):
    with Region(scripted(lambda spec: Outcome(), 80), pace=TENTH) as region:
        operator = created(tmp_path, region)
        schedule = region.stack("shop-prod").resources["Refreshes"]
        assert schedule.properties["ScheduleExpression"] == TUESDAYS
        before = members(region)
        with load(region, "prod", tmp_path, LONGEST) as told:
            due(region, "shop-prod")
            assert ended(region) == "Successful"
            region.in_service(2)
            time.sleep(LONGEST)
        assert not members(region) & before and runs(region) == ["v1", "v1"]
        assert told["lost"] == 0 and told["sent"] > 100, (told["losses"][:10], region.told())
        assert operator.states() == ["good"], "it is no deployment"
        said = operator("events", "prod").stdout
        assert "instance refresh: Successful" in said and "an instance refresh" in said, said


def test_instances_stay_if_their_successors_do_not_boot(tmp_path, monkeypatch):
    monkeypatch.setattr(refreshes, "PATIENCE", 100)
    broken: list[str] = []
    with Region(scripted(lambda spec: Outcome("abandons") if broken else Outcome(), 80), pace=TENTH) as region:
        operator = created(tmp_path, region)
        before = members(region)
        broken.append("a secret that is gone")
        with load(region, "prod", tmp_path, LONGEST) as told:
            due(region, "shop-prod")
            assert ended(region) == "Failed"
            time.sleep(LONGEST)
        assert members(region) == before and told["lost"] == 0, (told["losses"][:10], region.told())
        assert "instance refresh: Failed" in operator("events", "prod").stdout


def test_what_is_frozen_is_not_replaced(tmp_path):
    with Region(scripted(lambda spec: Outcome(), 80), pace=FAST) as region:
        operator = created(tmp_path, region)
        assert operator("freeze", "prod").code == DONE
        before = members(region)
        due(region, "shop-prod")
        time.sleep(2)
        assert members(region) == before and len(region.group().members) == 2
        assert operator("freeze", "prod", "--off").code == DONE
        assert ended(region) == "Successful"
        region.in_service(2)
        assert not members(region) & before


# What both a launch and a termination of a refresh are said to be for.
OF_REFRESH = "in response to an instance refresh"


def test_no_deployment_begins_during_a_refresh(tmp_path):
    """But a rollback does."""
    with Region(scripted(lambda spec: Outcome(boot=3), 80), pace=FAST) as region:
        operator = created(tmp_path, region, "v2", "v3")
        assert operator("deploy", "prod", "--release", "v2", "--yes").code == DONE
        due(region, "shop-prod")
        name = region.group().name
        way_out = f"`aws autoscaling cancel-instance-refresh --auto-scaling-group-name {name}`"
        refused = operator("deploy", "prod", "--release", "v3", "--yes")
        assert refused.code == FAILED and "cannot deploy to prod yet" in refused.stderr and way_out in refused.stderr, refused
        assert operator.states() == ["good", "good"]
        assert operator("plan", "prod", "--release", "v3").code == DONE
        back = operator("rollback", "prod", "--yes")
        assert back.code == DONE and operator.states() == ["good", "good", "good"], (back, region.told())
        # It goes on after the update.
        region.poll(lambda: not region.group().refreshes[0].active, "the end of the refresh")
        region.in_service(2)
        assert runs(region) == ["v1", "v1"], region.told()
        due(region, "shop-prod")
        region.client("autoscaling").cancel_instance_refresh(AutoScalingGroupName=name)
        assert ended(region) == "Cancelled"
        assert operator("deploy", "prod", "--release", "v3", "--yes").code == DONE
        region.in_service(2)
        assert runs(region) == ["v3", "v3"]


def test_an_update_goes_first(tmp_path):
    """An instance that a refresh launches would signal, too, and be taken for one of the batch."""
    with Region(scripted(lambda spec: Outcome(boot=2 if release_of(spec) == "v2" else 0.1), 80), pace=TENTH) as region:
        operator = created(tmp_path, region, "v2")
        with load(region, "prod", tmp_path, LONGEST) as told:
            deployment = operator.start("deploy", "prod", "--release", "v2", "--yes")
            region.wait(lambda: "InstanceRefresh" in region.group().suspended, "the rolling update")
            due(region, "shop-prod")
            _, said = deployment.communicate(timeout=operator.patience)
            assert deployment.returncode == DONE, (said, region.told())
            assert ended(region) == "Successful"
            region.in_service(2)
            time.sleep(LONGEST)
        assert runs(region) == ["v2", "v2"] and operator.states() == ["good", "good"]
        assert told["lost"] == 0, (told["losses"][:10], region.told())
        updated = max(one.at for one in region.stack("shop-prod").events if (one.logical, one.status) == ("Group", "UPDATE_COMPLETE"))
        refreshed = [one for one in region.group().activities if OF_REFRESH in one.cause]
        assert {one.description.split()[0] for one in refreshed} >= {"Launching", "Terminating"}, region.told()
        assert [one for one in refreshed if one.begun < updated] == [], region.told()


def test_the_schedule_is_that_of_the_group_and_ends_with_its_setting(tmp_path):
    with Region(scripted(lambda spec: Outcome(), 80), pace=FAST) as region:
        operator = created(tmp_path, region, "v2", "v3")
        former = region.group().name
        assert operator("deploy", "prod", "--release", "v2", "--policy", "immutable", "--yes").code == DONE
        region.in_service(2)
        assert region.group().name != former
        before = members(region)
        due(region, "shop-prod")
        assert ended(region) == "Successful" and not members(region) & before
        text = (tmp_path / "fleet.yaml").read_text()
        operator.write("fleet.yaml", text.replace("    refresh: weekly\n", ""))
        planned = operator("plan", "prod", "--release", "v3").stdout
        assert "refresh" in planned and TUESDAYS in planned, planned
        assert operator("deploy", "prod", "--release", "v3", "--yes").code == DONE
        assert not {"Refreshes", "Refresher"} & region.stack("shop-prod").resources.keys()
