"""`ingot-fleet plan` on an environment of the region, with scripted instances: what a deployment would change, and that
looking changes nothing. All times are those of a stand-in."""

import os
import time
from datetime import timedelta

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, USAGE
from harness.region import Region
from harness.region.delays import Delays
from harness.region.instances.scripted import Outcome
from harness.region.small import FAST, boots
from harness.region.verbs import STILL_UNDER_WAY, Operator, needs_binary
from harness.templates import TEMPLATES

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

DATABASE = "    database: { class: db.t4g.micro }\n"
POLICIES = ["all_at_once", "rolling", "rolling_with_batch", "immutable"]


@pytest.fixture
def operator(tmp_path, region):
    return Operator(tmp_path, region)


def edit(operator: Operator, old: str, new: str) -> None:
    at = operator.directory / "fleet.yaml"
    text = at.read_text()
    assert old in text
    at.write_text(text.replace(old, new))


def created(operator: Operator, more: str = "") -> None:
    """`more`: further settings, from line 12 on."""
    edit(operator, "batch: 1 }\n", "batch: 1 }\n" + more)
    done = operator("create", "prod", "--release", "v1")
    assert done.code == DONE, (done, operator.region.told())


def there(operator: Operator) -> tuple:
    """All that a plan might change: the stack, what it has, its change sets, its group, the bucket."""
    stack = operator.region.stack("shop-prod")
    resources = {name: (one.physical, str(one.properties)) for name, one in stack.resources.items()}
    group = operator.region.group()
    sizes = (group.smallest, group.desired, group.largest)
    return stack.describe(), resources, len(stack.events), sizes, dict(stack.change_sets), operator.keys()


def planned(operator: Operator, *args: str, code: int = DONE, verb: tuple = ("plan", "prod")):
    """A plan after which everything is as before."""
    before = there(operator)
    result = operator(*verb, *args)
    assert result.code == code, result
    assert there(operator) == before
    assert not operator.region.stack("shop-prod").change_sets
    return result


def resources(result) -> dict[str, dict]:
    return {one["resource"]: one for one in result.json["resources"]}


def test_what_would_be_created_is_said_without_a_stack(operator, region):
    keys = operator.keys()
    nothing = operator("plan", "prod")
    assert nothing.code == USAGE and "no release of prod is in force" in nothing.stderr, nothing
    shown = operator("plan", "prod", "--release", "v1")
    assert shown.code == DONE and shown.stdout.startswith("prod would be created, with v1\n"), shown
    assert "instances: 2\n" in shown.stdout and "at least 1m, if nothing is slower than usual:" in shown.stdout, shown
    assert "  1m launch and boot (assumed: none seen yet)\n" in shown.stdout, shown
    result = operator("plan", "prod", "--release", "v1", "--json")
    assert result.code == DONE, result
    assert (result.json["version"], result.json["state"], result.json["stack"]) == (1, "creates", "shop-prod")
    found = resources(result)
    assert found["Group"]["type"] == "AWS::AutoScaling::AutoScalingGroup"
    assert {"Balancer", "Http", "Role"} <= set(found) and not {"Address", "Database", "Https"} & set(found), found
    assert result.json["parameters"]["Release"] == "v1" and result.json["rollout"]["instances"] == 2
    # Neither a stack in REVIEW_IN_PROGRESS nor a document is left.
    assert [stack.name for stack in region.engine.stacks] == ["ingot-account"] and operator.keys() == keys
    assert operator("create", "prod", "--release", "v1").code == DONE
    made = set(region.stack("shop-prod").resources)
    assert made == set(found), "what was said is what was made"


def test_a_new_release_is_planned_and_takes_as_long_as_is_said(tmp_path):
    needs_binary()
    # One is as fast as the other.
    with Region(boots(80, v1=Outcome(boot=2), v2=Outcome(boot=2)), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        created(operator)
        first = planned(operator, "--release", "v2", "--json").json
        assert first["launches"]["launches"] == 2 and first["launches"]["until_signal"], first
        assert origins(first) == ["from the queries of this plan", "2 launches seen", "assumed: none seen yet"], "of an update, nothing was seen yet"
        assert operator("deploy", "prod", "--release", "v2").code == DONE

        shown = planned(operator, "--release", "v1")
        lines = shown.stdout.splitlines()
        assert lines[0] == "deployment 3 of prod", shown
        assert ["release", "v2", "->", "v1"] in [line.split() for line in lines], shown
        assert "rolling: 1 instance at a time, 2 batches for 2" in lines, shown
        assert "in the meantime, at least 1 of 2 serve, and at most 2 run" in lines, shown
        assert any(line.startswith("deployment 2 took ") for line in lines), shown
        assert any(line.startswith("  2 x ") and line.endswith(" launch and boot (4 launches seen)") for line in lines), shown

        result = planned(operator, "--release", "v1", "--json")
        said = result.json
        assert (said["version"], said["state"], said["deployment"]) == (1, "changes", 3), result
        changed = {one["what"]: (one["from"], one["to"]) for one in said["differences"]}
        assert changed == {"release": ("v2", "v1")}, result
        assert said["settings"] == [] and said["kept"] == [], result
        found = {name: one["effect"] for name, one in resources(result).items()}
        assert found == {"Launch": "change", "Group": "change"}, result
        assert {key: said["rollout"][key] for key in ("policy", "instances", "batch", "batches")} == {
            "policy": "rolling",
            "instances": 2,
            "batch": 1,
            "batches": 2,
        }
        assert origins(said) == ["from the queries of this plan", "4 launches seen", "1 pause seen", "1 deployment seen"], result
        least = said["at_least"]
        assert least["seconds"] >= least["fastest"] >= 4 and least["not_counted"] == [], result

        begun = time.monotonic()
        assert operator("deploy", "prod", "--release", "v1").code == DONE
        took = time.monotonic() - begun
        print(f"stand-in: {took:.1f} s, {least['seconds']} s at the least by the plan")
        assert abs(took - least["seconds"]) < 3, result
        assert region.stack("shop-prod").shown()["Deployment"] == str(said["deployment"])


def origins(said: dict) -> list[str]:
    """Where the parts of "at the least" are from."""
    return [part["from"] for part in said["at_least"]["parts"]]


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_says_what_becomes_of_the_group(operator, policy):
    created(operator)
    result = planned(operator, "--release", "v2", "--policy", policy, "--json")
    assert resources(result)["Group"]["effect"] == ("replace" if policy == "immutable" else "change"), result
    rollout = result.json["rollout"]
    expected = {
        "all_at_once": (2, 1, 0, 2),
        "rolling": (1, 2, 1, 2),
        "rolling_with_batch": (1, 2, 2, 3),
        "immutable": (2, 1, 2, 4),
    }
    assert tuple(rollout[key] for key in ("batch", "batches", "in_service", "most")) == expected[policy], result
    changed = {one["what"]: (one["from"], one["to"]) for one in result.json["differences"]}
    assert changed.get("policy") == (None if policy == "rolling" else ("rolling", policy)), result


def test_nothing_to_change_is_said(operator, region):
    created(operator)
    calls = len(region.calls)
    result = planned(operator)
    assert result.stdout == "prod already runs v1: nothing to change\n", result
    assert planned(operator, "--json").json["state"] == "unchanged"
    assert "CreateChangeSet" not in [call["operation"] for call in region.calls[calls:]]


def test_a_setting_is_told_by_its_name_its_values_and_its_line(operator):
    created(operator)
    edit(operator, "max: 6 }", "max: 8, scale_on: { cpu_percent: 70 } }")
    edit(operator, "document: web.yaml\n", "document: web.yaml\n    alarms: { error_percent: 9 }\n")
    shown = planned(operator)
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["instances.max", "MaxSize", "6", "->", "8", "fleet.yaml:11"] in rows, shown
    assert ["alarms.error_percent", "ErrorPercent", "5", "->", "9", "fleet.yaml:10"] in rows, shown
    assert ["change", "Errors"] in [row[:2] for row in rows], shown
    result = planned(operator, "--json")
    settings = {one["setting"]: one for one in result.json["settings"]}
    assert settings["instances.max"] == {
        "setting": "instances.max",
        "parameter": "MaxSize",
        "from": "6",
        "to": "8",
        "line": "fleet.yaml:11",
    }
    assert result.json["differences"] == [] and {"Group", "Launch", "Errors"} <= set(resources(result)), result
    # `deploy` asks, too, and goes on: no data is concerned.
    deployed = operator("deploy", "prod", "--release", "v1")
    assert deployed.code == DONE and "asking CloudFormation whether the update would delete data" in deployed.stderr, deployed
    assert not operator.region.stack("shop-prod").change_sets


def test_a_change_set_of_several_pages_is_read_whole(operator, region):
    created(operator)
    more = "    cache: { node: cache.t4g.small }\n    secrets: [prod/shop, /prod/shop]\n"
    more += '    schedule: [{ cron: "0 22 * * *", min: 1 }, { cron: "0 6 * * *", min: 2 }]\n'
    more += "    alarms: { email: ann@example.com, runbook: https://example.com/runbook }\n"
    edit(operator, "batch: 1 }\n", "batch: 1 }\n" + DATABASE + more)
    result = planned(operator, "--json")
    found = resources(result)
    assert len(found) > 20, found
    added = {name for name, one in found.items() if one["effect"] == "add"}
    assert {"Database", "Cache", "Subscription", "SecondScheduled", "SecretRights"} <= added, found


def refused(operator: Operator, code: int, *said: str) -> None:
    """By `plan` and by `deploy`, which makes no record."""
    states = operator.states()
    for verb, more in ((("plan", "prod"), ()), (("deploy", "prod"), ("--release", "v2"))):
        result = planned(operator, *more, code=code, verb=verb)
        for text in ("would delete data", "hint: ", *said):
            assert text in result.stderr, result
    assert operator.states() == states
    shown = operator("plan", "prod", "--json")
    assert shown.code == code and shown.json["state"] == "refused", shown
    assert all(text in shown.json["refusal"] for text in said[:1]), shown


def test_a_database_is_kept_whatever_fleet_yaml_says(operator, region):
    created(operator, DATABASE)
    identifier = region.stack("shop-prod").resources["Database"].physical
    # Another engine counts at creation only.
    edit(operator, DATABASE, "    database: { class: db.t4g.micro, engine: mysql, name: orders }\n")
    result = planned(operator)
    assert result.stdout == "prod already runs v1: nothing to change\n", result
    shown = planned(operator, "--release", "v2")
    assert "note: `database.engine` stays postgres: it takes effect only at creation, although fleet.yaml:12 says mysql" in shown.stdout
    kept = planned(operator, "--release", "v2", "--json").json["kept"]
    assert [(one["setting"], one["stays"], one["says"]) for one in kept] == [
        ("database.engine", "postgres", "mysql"),
        ("database.name", "app", "orders"),
    ]
    # Without it, it would be removed.
    edit(operator, "    database: { class: db.t4g.micro, engine: mysql, name: orders }\n", "")
    refused(
        operator,
        BAD_DOCUMENT,
        f"the database {identifier} (Database) would be removed",
        "fleet.yaml:5: `database.class` was db.t4g.micro and is now nothing",
    )
    # Another class is a change in place.
    edit(operator, "batch: 1 }\n", "batch: 1 }\n    database: { class: db.t4g.small, multi_az: true }\n")
    found = resources(planned(operator, "--json"))
    assert found["Database"]["effect"] == "may_replace", "of the standby, CloudFormation says so"
    assert operator("deploy", "prod", "--release", "v1").code == DONE
    assert region.stack("shop-prod").resources["Database"].physical == identifier


def test_a_database_of_another_template_is_not_replaced(operator, region):
    created(operator, DATABASE)
    client = region.client("cloudformation")
    (stack,) = client.describe_stacks(StackName="shop-prod")["Stacks"]
    text = (TEMPLATES / "web.yaml").read_text()
    assert "      Engine: !Ref DatabaseEngine\n" in text
    client.update_stack(
        StackName="shop-prod",
        TemplateBody=text.replace("      Engine: !Ref DatabaseEngine\n", "      Engine: mysql\n"),
        Parameters=[{"ParameterKey": one["ParameterKey"], "UsePreviousValue": True} for one in stack["Parameters"]],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    assert region.settled("shop-prod") == "UPDATE_COMPLETE"
    states = operator.states()
    for verb in ("plan", "deploy"):
        result = planned(operator, "--release", "v2", code=FAILED, verb=(verb, "prod"))
        assert "(Database) may be replaced, because of its Engine: no setting has changed" in result.stderr, result
        assert "the version of ingot-fleet that deployed it last" in result.stderr, result
    assert operator.states() == states


def test_the_address_of_a_single_instance_is_data(operator):
    edit(operator, "    tier: web\n", "    tier: web\n    mode: single_instance\n")
    edit(operator, ", min: 2, max: 6 }", " }")
    edit(operator, "{ policy: rolling, batch: 1 }", "{ policy: rolling_with_batch }")
    done = operator("create", "prod", "--release", "v1")
    assert done.code == DONE, (done, operator.region.told())
    rollout = planned(operator, "--release", "v2", "--json").json["rollout"]
    assert (rollout["batches"], rollout["in_service"], rollout["most"]) == (1, 1, 2), rollout
    edit(operator, "mode: single_instance", "mode: highly_available")
    states = operator.states()
    result = planned(operator, "--release", "v2", code=BAD_DOCUMENT)
    assert "(Address) would be removed: fleet.yaml:7: `mode` was single_instance" in result.stderr, result
    assert operator("deploy", "prod", "--release", "v2").code == BAD_DOCUMENT and operator.states() == states


def test_rights_that_are_missing_are_named(operator, region):
    created(operator)
    for action in ("CreateChangeSet", "DescribeChangeSet"):
        region.fault("denied", "cloudformation", operation=action)
        result = planned(operator, "--release", "v2", code=FAILED)
        assert f"allow cloudformation:{action}" in result.stderr and "Deployer" in result.stderr, result
        region.recover()
    # Without these, there is a plan all the same.
    region.fault("denied", "autoscaling", operation="DescribeScalingActivities")
    result = planned(operator, "--release", "v2")
    assert "it is unknown how long launches take" in result.stderr, result
    assert "launch and boot (assumed: none seen yet)" in result.stdout, result
    region.recover()
    # A change set that CloudFormation refuses says why.
    edit(operator, "max: 6 }", "max: 2 }")
    full = planned(operator, "--release", "v2", "--policy", "rolling_with_batch", code=FAILED)
    assert "rolling_with_batch needs a MaxSize of at least" in full.stderr, full


def test_what_is_left_over_is_in_nobodys_way(operator, region):
    created(operator)
    region.fault("denied", "cloudformation", operation="DeleteChangeSet")
    result = operator("plan", "prod", "--release", "v2")
    assert result.code == DONE and "warning: cannot delete a change set of the stack shop-prod" in result.stderr, result
    region.recover()
    stack = region.stack("shop-prod")
    (left,) = stack.change_sets
    assert left.startswith("ingot-plan-")
    # It may be that of another operator, who plans at the moment.
    assert operator("plan", "prod", "--release", "v2").code == DONE and list(stack.change_sets) == [left]
    deployed = operator("deploy", "prod", "--release", "v2")
    assert deployed.code == DONE, deployed
    stack.change_sets[left]["said"]["CreationTime"] -= timedelta(hours=2)
    stack.change_sets["of-somebody"] = {"said": {**stack.change_sets[left]["said"], "ChangeSetName": "of-somebody"}}
    assert operator("plan", "prod", "--release", "v1").code == DONE
    assert list(stack.change_sets) == ["of-somebody"]


def test_a_plan_that_is_killed_blocks_nothing(tmp_path):
    needs_binary()
    with Region(boots(80), pace=FAST, delays=Delays(api=(0.3, 0.4))) as region:
        operator = Operator(tmp_path, region)
        created(operator)
        stack = region.stack("shop-prod")
        operator.killed("plan", "prod", "--release", "v2", when=lambda: stack.change_sets)
        assert len(stack.change_sets) == 1
        shown = operator("plan", "prod", "--release", "v2")
        assert shown.code == DONE and len(stack.change_sets) == 1, shown
        edit(operator, "max: 6 }", "max: 8 }")
        assert operator("deploy", "prod", "--release", "v2").code == DONE


def test_a_plan_waits_for_nobody(tmp_path):
    needs_binary()
    with Region(boots(80, v2=Outcome(boot=8)), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        created(operator)
        assert operator("deploy", "prod", "--release", "v2", "--timeout", "1s").code == STILL_UNDER_WAY
        result = operator("plan", "prod", "--release", "v1")
        assert result.code == STILL_UNDER_WAY and "deployment 2 of prod (v2) is under way" in result.stderr, result
        assert region.settled("shop-prod") == "UPDATE_COMPLETE"
        assert operator("deploy", "prod", "--release", "v2").code == DONE
        stack = region.stack("shop-prod")
        for status, code, said in [
            ("UPDATE_IN_PROGRESS", STILL_UNDER_WAY, "because of another operation"),
            ("UPDATE_ROLLBACK_FAILED", FAILED, "continue-update-rollback"),
            ("REVIEW_IN_PROGRESS", FAILED, "ingot-fleet terminate prod"),
        ]:
            stack.status = status
            result = operator("plan", "prod", "--release", "v1")
            assert result.code == code and said in result.stderr, result
        stack.status = "UPDATE_ROLLBACK_COMPLETE"
        assert operator("plan", "prod", "--release", "v1").code == DONE
