"""What an operator does with one environment beside `create` and `deploy`: questions, alarms, `freeze`, `set`, and verbs
without fleet.yaml. Scripted instances; all times are those of a stand-in."""

import os
import re
import time

import pytest
from harness import fleet as fleets
from harness.agent import BAD_DOCUMENT, DONE, FAILED, USAGE
from harness.region import Region
from harness.region.instances.scripted import Outcome, scripted
from harness.region.small import FAST, boots, releases
from harness.region.verbs import STILL_UNDER_WAY, Operator, Unasked, needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

SUSPENDED = {"AZRebalance", "AlarmNotification", "InstanceRefresh", "ReplaceUnhealthy", "ScheduledActions"}


def described(operator, former: str, new: str) -> None:
    """Changes fleet.yaml."""
    text = (operator.directory / "fleet.yaml").read_text()
    assert former in text
    operator.write("fleet.yaml", text.replace(former, new))


# Questions.


def test_what_replaces_or_ends_instances_asks_first(tmp_path, region):
    operator = Unasked(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE, "a creation replaces nothing"
    asked = operator("deploy", "prod", "--release", "v2")
    assert asked.code == USAGE and "would replace v1 with v2 in prod: 2 instances, with the policy rolling" in asked.stderr, asked
    assert "--yes" in asked.stderr and operator.states() == ["good"], asked
    code, said = operator.at_a_terminal("n", "deploy", "prod", "--release", "v2")
    assert code == FAILED and "replace v1 with v2 in prod" in said and "nothing was changed" in said, said
    code, said = operator.at_a_terminal("y", "deploy", "prod", "--release", "v2")
    assert code == DONE and operator.states() == ["good", "good"], said
    back = operator("rollback", "prod")
    assert back.code == USAGE and "would roll back prod from v2 to v1: 2 instances" in back.stderr, back
    assert operator("scale", "prod", "3").code == DONE, "nothing ends"
    fewer = operator("scale", "prod", "2")
    assert fewer.code == USAGE and "would scale prod from 3 instances to 2: 1 of them would be terminated" in fewer.stderr, fewer
    assert operator("scale", "prod", "2", "--yes").code == DONE
    # Nothing to change is nothing to ask about.
    assert operator("deploy", "prod", "--release", "v2").code == DONE


def test_the_end_of_protection_is_asked_for(tmp_path, region):
    operator = Unasked(tmp_path, region)
    plain = (tmp_path / "fleet.yaml").read_text()
    operator.write("fleet.yaml", plain + "    protect: true\n")
    assert operator("create", "prod", "--release", "v1").code == DONE
    operator.write("fleet.yaml", plain)
    for release, said in {"v1": "would end the protection of prod from deletion", "v2": ", and end its protection from deletion"}.items():
        asked = operator("deploy", "prod", "--release", release)
        assert asked.code == USAGE and said in asked.stderr and region.stack("shop-prod").protected, asked
    assert operator("deploy", "prod", "--release", "v1", "--yes").code == DONE and not region.stack("shop-prod").protected
    assert operator.states() == ["good"]


# Waiting.


def test_a_deployment_need_not_be_waited_for(tmp_path):
    needs_binary()
    with Region(boots(80, v2=Outcome(boot=3)), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        assert operator("create", "prod", "--release", "v1").code == DONE
        # The sizes are others now, so that it is two updates.
        assert operator("scale", "prod", "3").code == DONE
        region.in_service(3)
        begun = operator("deploy", "prod", "--release", "v2", "--no-wait", "--json")
        assert begun.code == STILL_UNDER_WAY and begun.json["state"] == "under_way", begun
        assert "deployment 2 of prod continues" in begun.stderr, begun
        assert region.stack("shop-prod").token.startswith("ingot-2-release")
        assert region.settled("shop-prod") == "UPDATE_COMPLETE" and releases(region) == ["v2", "v2", "v2"]
        # Its end is written down by whoever comes next.
        assert operator.states() == ["good", "under_way"]
        next_one = operator("deploy", "prod", "--release", "v1")
        assert next_one.code == DONE and "deployment 2 of prod (v2) is good" in next_one.stderr, next_one
        assert operator.states() == ["good", "good", "good"]


def test_no_wait_and_a_time_are_not_asked_for_together(operator):
    both = operator("deploy", "prod", "--release", "v2", "--no-wait", "--timeout", "1m")
    assert both.code == USAGE and operator.states() == ["good"], both


def test_a_deployment_that_is_taken_up_later_counts_the_instances_anew(region, operator):
    given = ("deploy", "prod", "--release", "v2", "--policy", "all_at_once")
    operator.killed(*given, when=lambda: region.stack("shop-prod").token.startswith("ingot-2-policy"))
    assert region.settled("shop-prod") == "UPDATE_COMPLETE"
    region.client("autoscaling").set_desired_capacity(AutoScalingGroupName=region.group().name, DesiredCapacity=4)
    region.in_service(4)
    done = operator(*given)
    assert done.code == DONE and "following it" in done.stderr, done
    region.in_service(4)
    assert releases(region) == ["v2"] * 4 and operator.states() == ["good", "good"]


# Alarms.


def test_alarms_are_looked_at_first(region, operator):
    cloudwatch = region.client("cloudwatch")
    described(operator, "batch: 1 }", "batch: 1, alarms: [orders] }")
    missing = operator("deploy", "prod", "--release", "v2")
    assert missing.code == BAD_DOCUMENT and "there is no alarm `orders` in eu-central-1" in missing.stderr, missing
    assert re.search(r"fleet\.yaml:\d+:\d+", missing.stderr), missing

    kind = {"ComparisonOperator": "GreaterThanThreshold", "Threshold": 5, "Statistic": "Sum"}
    cloudwatch.put_metric_alarm(AlarmName="orders", Namespace="shop", MetricName="lost", EvaluationPeriods=1, Period=60, **kind)
    cloudwatch.set_alarm_state(AlarmName="orders", StateValue="ALARM", StateReason="seven of them")
    raised = operator("deploy", "prod", "--release", "v2")
    assert raised.code == FAILED and "orders is in ALARM: seven of them" in raised.stderr, raised
    assert "--despite orders" in raised.stderr and operator.states() == ["good"], raised

    other = operator("deploy", "prod", "--release", "v2", "--despite", "order")
    assert other.code == USAGE and "did you mean `orders`?" in other.stderr, other
    assert operator("deploy", "prod", "--release", "v2", "--despite", "orders").code == DONE
    assert watched(region) == ""
    assert operator("rollback", "prod").code == DONE, "it looks at no alarms"

    cloudwatch.set_alarm_state(AlarmName="orders", StateValue="INSUFFICIENT_DATA", StateReason="no data")
    region.fault("denied", "monitoring", operation="DescribeAlarms")
    denied = operator("deploy", "prod", "--release", "v2")
    assert denied.code == FAILED and "allow cloudwatch:DescribeAlarms" in denied.stderr, denied
    region.recover()
    assert operator("deploy", "prod", "--release", "v2").code == DONE
    assert watched(region) == "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:orders"


def watched(region) -> str:
    """The alarm that the last update is watched by."""
    updates = [call["form"] for call in region.calls if call.get("operation") == "UpdateStack"]
    return updates[-1].get("RollbackConfiguration.RollbackTriggers.member.1.Arn", "")


# The brake.


@pytest.mark.parametrize("policy", ["rolling", "immutable"])
def test_what_is_frozen_stays_as_it_is(region, operator, policy):
    assert operator("deploy", "prod", "--release", "v2").code == DONE
    scaling = region.client("autoscaling")
    scaling.suspend_processes(AutoScalingGroupName=region.group().name, ScalingProcesses=["AZRebalance"])
    frozen = operator("freeze", "prod", "--json")
    assert frozen.code == DONE and frozen.json["frozen"] and "prod is frozen (since " in frozen.stderr, frozen
    assert region.group().suspended == SUSPENDED
    assert "prod is frozen (since " in operator("status", "prod").stdout.splitlines()[1]
    assert operator("status", "prod", "--json").json["frozen"]["is_frozen"]

    refused = operator("deploy", "prod", "--release", "v1")
    assert refused.code == FAILED and "cannot deploy to prod: prod is frozen (since " in refused.stderr, refused
    assert "freeze prod --off" in refused.stderr and operator.states() == ["good", "good"], refused
    lost = region.instances()[0]
    lost.kill()
    region.wait(lambda: any(one.health != "Healthy" for one in region.group().members), "the health check")
    time.sleep(1)
    members = [one.id for one in region.group().members]
    assert lost.id in members and len(members) == 2, "it is kept, to be looked at, and no other one is launched"

    back = operator("rollback", "prod", "--policy", policy)
    assert back.code == DONE and "and stays frozen" in back.stderr, (back, region.told())
    # Of a group that is new, all processes are suspended that were not suspended by others.
    assert region.group().suspended >= SUSPENDED - {"AZRebalance"}
    assert "were resumed" not in operator("status", "prod").stdout

    ended = operator("freeze", "prod", "--off")
    assert ended.code == DONE and region.group().suspended <= {"AZRebalance"}, ended
    region.in_service(2)
    assert "frozen" not in operator("status", "prod").stdout
    again = operator("freeze", "prod", "--off")
    assert again.code == DONE and "prod is not frozen: nothing to change" in again.stderr, again
    assert operator("deploy", "prod", "--release", "v2").code == DONE


def test_what_somebody_resumes_is_told(region, operator):
    assert operator("freeze", "prod").code == DONE
    scaling = region.client("autoscaling")
    scaling.resume_processes(AutoScalingGroupName=region.group().name, ScalingProcesses=["ReplaceUnhealthy"])
    assert "but these processes of its group were resumed: ReplaceUnhealthy" in operator("status", "prod").stdout
    assert operator("freeze", "prod").code == DONE and region.group().suspended == SUSPENDED


def test_a_deployment_is_aborted_and_not_frozen(tmp_path):
    needs_binary()
    with Region(boots(80, bad="silent"), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        before = operator("freeze", "prod")
        assert before.code == USAGE and "prod has not been created yet" in before.stderr, before
        assert operator("create", "prod", "--release", "v1").code == DONE
        first = operator.start("deploy", "prod", "--release", "bad")
        region.poll(lambda: region.stack("shop-prod").token.startswith("ingot-2-release"), "the second update")
        frozen = operator("freeze", "prod")
        assert frozen.code == FAILED and "ingot-fleet abort prod" in frozen.stderr, frozen
        back = operator("rollback", "prod")
        assert back.code == FAILED and "cannot roll back prod while another deployment is under way" in back.stderr, back
        gone = operator("terminate", "prod", "--yes")
        assert gone.code == FAILED and "cannot delete shop-prod while it is in UPDATE_IN_PROGRESS" in gone.stderr, gone
        for refused in (back, gone):
            assert "deployment 2 of prod (bad) is under way" in refused.stderr and "ingot-fleet abort prod" in refused.stderr, refused
        assert operator("abort", "prod").code == DONE
        first.communicate(timeout=fleets.PATIENCE)
        assert operator("freeze", "prod").code == DONE
        assert operator("terminate", "prod", "--yes").code == DONE
        assert operator("create", "prod", "--release", "v1").code == DONE, "an environment that is gone is not frozen"


# Properties.


def test_properties_are_set_in_fleet_yaml_and_in_what_runs(region, operator):
    file = operator.directory / "fleet.yaml"
    before = file.read_text()
    done = operator("set", "prod", "LEVEL=debug", "GREETING=hello world")
    assert done.code == DONE and "deployment 2 of prod (v1) is good" in done.stdout, done
    assert file.read_text() == before.rstrip("\n") + '\n    properties:\n      GREETING: "hello world"\n      LEVEL: debug\n'
    assert "LEVEL: debug" in document(operator) and 'GREETING: "hello world"' in document(operator)
    again = operator("set", "prod", "LEVEL=debug")
    assert again.code == DONE and "nothing to change" in again.stderr, again
    removed = operator("set", "prod", "LEVEL=", "GREETING=")
    assert removed.code == DONE and file.read_text() == before and "LEVEL" not in document(operator), removed
    assert operator.states() == ["good"] * 3


def document(operator) -> str:
    """The boot document in force."""
    status = operator("status", "prod", "--json").json
    return operator.read(status["in_force"]["goal"]["document"]["key"]).decode()


def test_fleet_yaml_is_as_before_where_properties_do_not_work(tmp_path):
    needs_binary()
    good: list[bytes] = []

    def outcome(spec) -> Outcome:
        """Another boot document than the first does not work."""
        digest = re.search(rb"documents/([0-9a-f]{64})", spec.user_data)[1]
        good.append(digest)
        return Outcome() if digest == good[0] else Outcome("abandons")

    with Region(scripted(outcome, 80), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        early = operator("set", "prod", "LEVEL=debug")
        assert early.code == USAGE and "no good deployment yet" in early.stderr, early
        assert operator("create", "prod", "--release", "v1").code == DONE
        before = (tmp_path / "fleet.yaml").read_text()
        failed = operator("set", "prod", "LEVEL=debug")
        assert failed.code == FAILED and "deployment 2 of prod is failed" in failed.stderr, failed
        assert "restored the previous text of " in failed.stderr and (tmp_path / "fleet.yaml").read_text() == before, failed
        region.in_service(2)
        for given, code, said in [
            (("prod", "LEVEL"), USAGE, "expected KEY=VALUE"),
            (("prod", "LOG-LEVEL=debug"), USAGE, "is not the name of an environment variable"),
            (("stage", "LEVEL=debug"), USAGE, "there is no environment `stage`"),
            (("prod", "DB_PASSWORD=hunter2"), USAGE, "store it in Secrets Manager"),
            (("prod", "GONE="), USAGE, "`prod` has no property `GONE`"),
        ]:
            result = operator("set", *given)
            assert result.code == code and said in result.stderr, result
        assert (tmp_path / "fleet.yaml").read_text() == before and operator.states() == ["good", "failed"]


# Without fleet.yaml.


def test_verbs_of_an_incident_need_no_fleet_yaml(region, operator):
    assert operator("deploy", "prod", "--release", "v2").code == DONE
    operator.directory = operator.directory / "elsewhere"
    operator.directory.mkdir()
    none = operator("status", "prod")
    assert none.code == USAGE and "cannot read fleet.yaml" in none.stderr, none
    of = ("prod", "--application", "shop")
    status = operator("status", *of)
    assert status.code == DONE and "prod runs v2 since " in status.stdout, status
    assert operator("events", *of).code == DONE
    assert operator("freeze", *of).code == DONE
    assert operator("freeze", *of, "--off").code == DONE
    assert operator("scale", *of, "4").code == DONE
    region.in_service(4)
    before = {name: value for name, value in parameters(region).items() if name not in CHANGING}
    back = operator("rollback", *of)
    assert back.code == DONE and "deployment 3 of prod (v1) is good" in back.stdout, back
    region.in_service(4)
    assert releases(region) == ["v1"] * 4
    assert {name: value for name, value in parameters(region).items() if name not in CHANGING} == before
    assert operator("abort", *of).code == DONE
    for wrong in (("prod", "--application", "shpo"), ("stage", "--application", "shop")):
        result = operator("status", *wrong)
        assert result.code == USAGE and "there is no environment" in result.stderr, result
    assert operator("terminate", *of, "--yes").code == DONE


CHANGING = {"Release", "ReleaseSha256", "Deployment", "Document", "Capacity", "MinInService"}


def parameters(region) -> dict[str, str]:
    (stack,) = region.client("cloudformation").describe_stacks(StackName="shop-prod")["Stacks"]
    return {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}


# What guards the stack.


def test_protection_and_stack_policy_follow_fleet_yaml(region, operator):
    plain = (operator.directory / "fleet.yaml").read_text()
    operator.write("fleet.yaml", plain + "    protect: true\n")
    done = operator("deploy", "prod", "--release", "v1", "--json")
    assert done.code == DONE and "prod is now protected from deletion" in done.stderr, done
    assert done.json["state"] == "guarded" and operator.states() == ["good"] and region.stack("shop-prod").protected
    again = operator("deploy", "prod", "--release", "v1")
    assert again.code == DONE and "nothing to change" in again.stderr, again
    kept = operator("terminate", "prod", "--yes")
    assert kept.code == FAILED and "protected" in kept.stderr, kept

    operator.write("fleet.yaml", plain)
    policy, region.stack("shop-prod").policy = region.stack("shop-prod").policy, ""
    done = operator("deploy", "prod", "--release", "v2")
    assert done.code == DONE and "is no longer protected from deletion" in done.stderr, done
    assert region.stack("shop-prod").policy == policy and not region.stack("shop-prod").protected
    assert operator.states() == ["good", "good"]


def test_who_may_not_delete_is_told_who_may(region, operator):
    region.fault("denied", "cloudformation", operation="DeleteStack")
    denied = operator("terminate", "prod", "--yes")
    assert denied.code == FAILED and "BreakGlass" in denied.stderr, denied


def test_credentials_that_are_over_for_a_moment_do_not_end_the_watch(region, operator):
    process = operator.start("deploy", "prod", "--release", "v2")
    region.poll(lambda: region.stack("shop-prod").token.startswith("ingot-2-release"), "the second update")
    region.fault("expired", "cloudformation", operation="DescribeStackEvents", times=2)
    stdout, stderr = process.communicate(timeout=fleets.PATIENCE)
    assert process.returncode == DONE and "deployment 2 of prod (v2) is good" in stdout, stderr
