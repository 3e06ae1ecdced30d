"""What operators do at bad moments: Ctrl-C at a question, verbs while another one's deployment goes on, AWS that refuses the
last call. Scripted instances; all times are those of a stand-in."""

import os
import signal

import pytest
from harness.agent import DONE, FAILED
from harness.region import Region
from harness.region.instances.scripted import Outcome
from harness.region.small import FAST, boots
from harness.region.verbs import CTRL_C, STILL_UNDER_WAY, Operator, Unasked, needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

SCALED = {"version": 1, "environment": "prod", "instances": 3, "before": 2}


def test_a_question_that_is_not_answered_leaves_fleet_yaml_as_it_is(tmp_path, region):
    operator = Unasked(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE
    before = (tmp_path / "fleet.yaml").read_text()
    code, said = operator.at_a_terminal(CTRL_C, "set", "prod", "LEVEL=debug")
    assert code == -signal.SIGINT and "with other values of Document" in said, said
    assert (tmp_path / "fleet.yaml").read_text() == before and "\x1b[?25l" not in said, "the cursor is hidden for good"
    code, said = operator.at_a_terminal("n", "set", "prod", "LEVEL=debug")
    assert code == FAILED and "nothing was changed" in said and "restored the previous text" not in said, said
    code, said = operator.at_a_terminal("yes", "set", "prod", "LEVEL=debug")
    assert code == DONE and "LEVEL: debug" in (tmp_path / "fleet.yaml").read_text(), said


def test_set_writes_down_how_the_one_before_has_ended(region, operator):
    operator.killed("deploy", "prod", "--release", "v2", when=lambda: region.stack("shop-prod").token.startswith("ingot-2-release"))
    during = operator("set", "prod", "LEVEL=debug")
    assert during.code == FAILED or operator.states() == ["good"] * 3, during
    if during.code == FAILED:
        assert "`ingot-fleet deploy prod --release v2`" in during.stderr, during
    assert region.settled("shop-prod") == "UPDATE_COMPLETE"
    done = operator("set", "prod", "LEVEL=debug")
    assert done.code == DONE and operator.states() == ["good"] * 3, done


def test_a_rollback_that_cannot_suspend_again_is_told_all_the_same(region, operator):
    assert operator("deploy", "prod", "--release", "v2").code == DONE
    assert operator("freeze", "prod").code == DONE
    region.fault("denied", "autoscaling", operation="SuspendProcesses")
    # The group is another one then, of which nothing is suspended.
    back = operator("rollback", "prod", "--policy", "immutable", "--json")
    assert back.code == DONE and back.json["state"] == "good" and "warning: cannot " in back.stderr, back


def test_nothing_is_scaled_while_a_deployment_would_take_it_back(tmp_path):
    needs_binary()
    with Region(boots(80, v2=Outcome(boot=3)), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        assert operator("create", "prod", "--release", "v1").code == DONE
        assert operator("deploy", "prod", "--release", "v2", "--no-wait").code == STILL_UNDER_WAY
        busy = operator("scale", "prod", "3")
        assert busy.code == FAILED and "cannot scale prod while its stack is in UPDATE_IN_PROGRESS" in busy.stderr, busy
        assert operator("deploy", "prod", "--release", "v2").code == DONE
        assert operator("scale", "prod", "3", "--json").json == {**SCALED, "state": "scaled"}
        region.in_service(3)
        assert operator("scale", "prod", "3", "--json").json == {**SCALED, "state": "unchanged", "before": 3}


def test_each_answer_is_one_json_document(region, operator):
    nothing = operator("abort", "prod", "--json")
    assert nothing.code == DONE and nothing.json == {"version": 1, "environment": "prod", "state": "unchanged"}, nothing
    gone = operator("terminate", "prod", "--yes", "--json").json
    assert gone["state"] == "deleted" and gone["stack"] == "shop-prod" and "the queue " in gone["stay"][0], gone
    again = operator("terminate", "prod", "--yes", "--json").json
    assert again["state"] == "unchanged" and again["stay"] == [], again
