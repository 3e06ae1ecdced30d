"""Two operators of one environment, and what one of them finds that the other has left. Scripted instances; all times are
those of a stand-in."""

import os
import re

import pytest
from harness.agent import DONE, FAILED
from harness.region import Region
from harness.region.instances.scripted import Outcome, scripted
from harness.region.small import FAST, boots, releases
from harness.region.verbs import STILL_UNDER_WAY, Operator, Unasked, needs_binary
from test_region_operating import described, document, parameters

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")


def killed_between_updates(region, operator, *given) -> None:
    """A deployment whose first update is over."""
    operator.killed(*given, when=lambda: region.stack("shop-prod").token.startswith("ingot-2-policy"))
    assert region.settled("shop-prod") == "UPDATE_COMPLETE"


def test_whoever_goes_on_with_a_deployment_sets_what_it_began_with(region, operator):
    given = ("deploy", "prod", "--release", "v2", "--policy", "all_at_once")
    described(operator, "batch: 1 }", "batch: 1, bake: 1m }")
    killed_between_updates(region, operator, *given)
    described(operator, "max: 6", "max: 5")
    described(operator, ", bake: 1m }", " }")
    # The stand-in bakes fast.
    other = operator(*given)
    assert other.code == FAILED and "other settings than those of fleet.yaml" in other.stderr, other
    assert releases(region) == ["v2", "v2"] and parameters(region)["MaxSize"] == "6"
    updates = [call["form"] for call in region.calls if call.get("operation") == "UpdateStack"]
    assert updates[-1]["RollbackConfiguration.MonitoringTimeInMinutes"] == "1", "of the one who began"
    assert operator(*given).code == DONE
    assert parameters(region)["MaxSize"] == "5" and operator.states() == ["good"] * 3


def test_nothing_is_scaled_between_the_updates_of_a_deployment(region, operator):
    killed_between_updates(region, operator, "deploy", "prod", "--release", "v2", "--policy", "all_at_once")
    refused = operator("scale", "prod", "3")
    assert refused.code == FAILED and "cannot scale prod while deployment 2 of prod (v2) is under way" in refused.stderr, refused
    assert operator("abort", "prod").code == DONE
    assert operator("scale", "prod", "3").code == DONE


@pytest.mark.parametrize(
    ("command", "code"),
    [(("set", "prod", "LEVEL=debug"), FAILED), (("abort", "prod"), DONE), (("deploy", "prod", "--release", "v2"), FAILED)],
    ids=["set", "abort", "deploy"],
)
def test_whoever_sees_it_fail_takes_the_properties_back(tmp_path, command, code):
    needs_binary()
    good: list[bytes] = []

    def outcome(spec) -> Outcome:
        """Another boot document than the first does not work."""
        good.append(re.search(rb"documents/([0-9a-f]{64})\.yaml", spec.user_data)[1])
        return Outcome() if good[-1] == good[0] else Outcome("abandons")

    with Region(scripted(outcome, 80), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        assert operator("create", "prod", "--release", "v1").code == DONE
        file = tmp_path / "fleet.yaml"
        before = file.read_text()
        begun = operator("set", "prod", "LEVEL=debug", "--no-wait")
        assert begun.code == STILL_UNDER_WAY and "keeps the new properties" in begun.stderr, begun
        assert file.read_text() != before and region.settled("shop-prod") == "UPDATE_ROLLBACK_COMPLETE"
        seen = operator(*command)
        assert seen.code == code and "restored the previous text of " in seen.stderr, seen
        assert file.read_text() == before and operator.states() == ["good", "failed"]
        assert operator("deploy", "prod", "--release", "v2").code == DONE
        assert "LEVEL" not in document(operator)


def test_going_back_is_not_refused_for_what_fleet_yaml_says(region, operator):
    assert operator("deploy", "prod", "--release", "v2").code == DONE
    assert operator("scale", "prod", "4").code == DONE
    region.in_service(4)
    described(operator, "max: 6", "max: 3")
    described(operator, "policy: rolling", "policy: in_place")
    described(operator, "document: web.yaml", "document: gone.yaml")
    back = operator("rollback", "prod")
    assert back.code == DONE and "deployment 3 of prod (v1) is good" in back.stdout, back
    region.in_service(4)
    assert releases(region) == ["v1"] * 4 and parameters(region)["MaxSize"] == "6"


def test_a_freeze_is_not_ended_while_a_deployment_is_under_way(tmp_path):
    needs_binary()
    with Region(boots(80, v1=Outcome(boot=3)), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        assert operator("create", "prod", "--release", "v1").code == DONE
        assert operator("deploy", "prod", "--release", "v2").code == DONE
        assert operator("freeze", "prod").code == DONE
        back = operator("rollback", "prod", "--no-wait")
        assert back.code == STILL_UNDER_WAY and "note: prod is frozen (since " in back.stderr, back
        early = operator("freeze", "prod", "--off")
        assert early.code == FAILED and "prod stays frozen: deployment 3 of prod (v1) is under way" in early.stderr, early
        assert operator("status", "prod", "--json").json["frozen"]["is_frozen"]
        assert region.settled("shop-prod") == "UPDATE_COMPLETE"
        # Its end, which nobody has seen, is written down.
        ended = operator("freeze", "prod", "--off")
        assert ended.code == DONE and operator.states() == ["good"] * 3, ended
        assert not region.group().suspended


def test_an_answer_is_not_believed_if_the_question_is_out_of_date(tmp_path, region):
    operator = Unasked(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE

    def other() -> None:
        assert operator("deploy", "prod", "--release", "v2", "--yes").code == DONE

    code, said = operator.at_a_terminal("y", "deploy", "prod", "--release", "bad", meanwhile=other)
    assert code == FAILED and "nothing was started: prod has changed in the meantime: deployment 2 of prod (v2) is good" in said, said
    assert operator.states() == ["good", "good"] and releases(region) == ["v2", "v2"]

    def more() -> None:
        assert operator("scale", "prod", "4").code == DONE

    assert operator("scale", "prod", "3").code == DONE
    code, said = operator.at_a_terminal("y", "scale", "prod", "2", meanwhile=more)
    assert code == FAILED and "nothing was changed: prod now has 4 instances" in said, said
    region.in_service(4)

    def protects() -> None:
        region.stack("shop-prod").protected = True

    code, said = operator.at_a_terminal("y", "terminate", "prod", meanwhile=protects)
    assert code == FAILED and "prod is protected from deletion" in said, said
    region.in_service(4)


def test_properties_are_not_set_by_an_answer_that_is_out_of_date(tmp_path, region):
    operator = Unasked(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE
    before = (tmp_path / "fleet.yaml").read_text()

    def other() -> None:
        assert operator("deploy", "prod", "--release", "v2", "--yes").code == DONE

    code, said = operator.at_a_terminal("y", "set", "prod", "LEVEL=debug", meanwhile=other)
    assert code == FAILED and "prod has changed in the meantime" in said, said
    assert (tmp_path / "fleet.yaml").read_text() == before and operator.states() == ["good", "good"]


def test_a_plan_says_what_stands_in_the_way(region, operator):
    kind = {"ComparisonOperator": "GreaterThanThreshold", "Threshold": 5, "Statistic": "Sum"}
    cloudwatch = region.client("cloudwatch")
    cloudwatch.put_metric_alarm(AlarmName="orders", Namespace="shop", MetricName="lost", EvaluationPeriods=1, Period=60, **kind)
    cloudwatch.set_alarm_state(AlarmName="orders", StateValue="ALARM", StateReason="seven of them")
    described(operator, "batch: 1 }", "batch: 1, alarms: [orders] }")
    assert operator("freeze", "prod").code == DONE
    plan = operator("plan", "prod", "--release", "v2")
    assert plan.code == DONE and "deployment 2 of prod" in plan.stdout, plan
    assert "note: cannot deploy to prod: prod is frozen (since " in plan.stderr, plan
    assert "note: cannot deploy prod while an alarm is raised: orders is in ALARM: seven of them" in plan.stderr, plan
    assert operator("freeze", "prod", "--off").code == DONE
    despite = operator("deploy", "prod", "--release", "v2", "--despite", "orders")
    assert despite.code == DONE and "note: orders is in ALARM: seven of them; it is ignored because of --despite" in despite.stderr, despite
