"""`ingot-fleet edge` and `swap`: two environments behind one load balancer, tried, swapped and swapped back.

Instances are scripted, and all times of AWS shortened: those of a stand-in.
"""

import calendar
import os
import time

import pytest
from harness import fleet as fleets
from harness.agent import DONE, FAILED
from harness.region import Outcome, Region
from harness.region.delays import Pace
from harness.region.edged import EDGE, STACK, Edged
from harness.region.operated import load, runs, witnesses

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

DOCUMENT = 78

# 30 s of draining are 3 s, and requests of 10 s are one of 1 s.
TENTH = Pace(schedule=50, patience=10)


@pytest.fixture
def region():
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")
    with Region(witnesses(sick=(Outcome("sick"), "it is sick")), pace=TENTH) as region:
        yield region


@pytest.fixture
def operator(tmp_path, region):
    operator = Edged(tmp_path, region, count=1)
    operator.both("v1", "v2")
    return operator


def swapped(operator: Edged, *more: str) -> fleets.Result:
    return operator("swap", "main", "--yes", *more)


def test_a_swap_and_back_under_load_lose_nothing_and_sessions_stay(tmp_path, region):
    """Requests of 1 s, kept connections, a WebSocket; and browsers with cookies, which stay with their side."""
    operator = Edged(tmp_path, region, stickiness="1h")
    operator.both("v1", "v2")
    with load(region, EDGE, tmp_path, 1.0, "--sessions") as told:
        there = swapped(operator, "--check", f"{operator.url}/health")
        time.sleep(2)
        back = swapped(operator)
        time.sleep(1)
    assert (there.code, back.code) == (DONE, DONE), (there, back, region.told())
    print(f"stand-in: swap {there.seconds:.1f} s, back {back.seconds:.1f} s, {told['sent']} requests, {told['lost']} lost")
    assert told["lost"] == 0, (told["losses"][:10], region.told())
    assert told["generations"].keys() == {"v1", "v2"} and told["sent"] > 300
    kinds = told["kinds"]
    assert kinds["session"]["sent"] > 50 and kinds["websocket"]["messages"] > 10
    assert [kinds[kind].get("moved", 0) for kind in ("session", "session-long")] == [0, 0]
    assert operator.serving() == "a"
    assert [(one["to"], one["state"]) for one in operator.swaps()] == [("b", "good"), ("a", "good")]
    assert (runs(region, "blue"), runs(region, "green")) == (["v1"] * 2, ["v2"] * 2)
    # One update of the stack each.
    assert [call["operation"] for call in region.calls if call["operation"] == "UpdateStack"] == ["UpdateStack"] * 2


def test_without_stickiness_every_request_goes_to_the_other_side(operator, region, tmp_path):
    assert "gen=v1" in operator.get()
    with load(region, EDGE, tmp_path, 1.0, "--sessions") as told:
        assert swapped(operator).code == DONE
        at = time.time()
        time.sleep(2)
    assert told["lost"] == 0, told["losses"][:10]
    # Those that were on their way.
    assert told["last"]["v1"] < at + 0.5
    assert "gen=v2" in operator.get()


def test_the_idle_side_is_tried_by_its_header(operator):
    assert "gen=v2" in operator.get("/", "X-Ingot-Slot: b")
    assert "gen=v1" in operator.get("/", "X-Ingot-Slot: a") and "gen=v1" in operator.get()
    assert operator.get("/", "X-Ingot-Slot: name") == f"{STACK} 200"


def test_a_check_that_fails_changes_nothing(operator):
    before = operator.stack.status, len(operator.stack.events)
    silent = swapped(operator, "--check", f"{operator.url}:81/")
    assert silent.code == FAILED and "does not lead to the load balancer of shop-edge-main" in silent.stderr, silent
    assert "does not answer" in silent.stderr
    instance = operator.region.instances()[0]
    other = swapped(operator, "--check", f"http://{instance.address}/")
    assert other.code == FAILED and "does not lead to the load balancer" in other.stderr, other
    assert (operator.stack.status, len(operator.stack.events)) == before
    assert operator.swaps() == [] and operator.serving() == "a"


def test_a_slot_that_answers_badly_is_not_swapped_to(operator, region):
    """The edge answers, and the instances behind it do not."""
    (green,) = [one for one in region.instances() if "v2" in str(one.spec.user_data)]
    green.end_process()
    result = swapped(operator, "--check", f"{operator.url}/health")
    assert result.code == FAILED, result
    # As soon as the load balancer has noticed, no check is needed.
    said = ("fails its check", "has no healthy instance")
    assert any(words in result.stderr for words in said), result
    assert operator.serving() == "a" and operator.swaps() == []


def test_an_idle_slot_without_healthy_instances_is_refused(tmp_path, region):
    operator = Edged(tmp_path, region, count=1)
    operator.release("v1")
    operator.made("edge", "main", "--yes")
    operator.made("create", "blue", "--release", "v1")
    result = swapped(operator)
    assert result.code == FAILED and "slot b of the edge main has no healthy instance" in result.stderr, result
    assert "there is no environment in it" in result.stderr and operator.swaps() == []


def test_a_slot_whose_instances_are_replaced_is_not_swapped_to(operator, region):
    for status in ("UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"):
        with region.engine.lock:
            region.stack("shop-green").tell(None, status)
        result = swapped(operator)
        assert result.code == FAILED and f"the stack of green is in {status}" in result.stderr, result
        assert operator.serving() == "a" and operator.swaps() == []
    with region.engine.lock:
        region.stack("shop-green").tell(None, "UPDATE_COMPLETE")
    assert swapped(operator).code == DONE and operator.serving() == "b"


def test_of_two_operators_one_swaps_and_the_other_follows(operator, region):
    """One has begun, and waits for somebody who works on the stack; two others come, and none of them swaps back."""
    began = {"number": 1, "attempt": "ann-1", "to": "b", "by": "ann", "began": now(), "state": "under_way"}
    operator.put(f"shop/environments/{EDGE}/deployments/swap-1.json", {"schema": 1, "edge": "main", **began})
    with region.engine.lock:
        operator.stack.tell(None, "UPDATE_IN_PROGRESS")
    both = [operator.start("swap", "main", "--yes") for _ in range(2)]
    said = [said_until(process.stderr, "waiting for another operation: the stack") for process in both]
    assert all("swap 1 of the edge main (to slot b) is under way" in one for one in said), said
    with region.engine.lock:
        operator.stack.tell(None, "UPDATE_COMPLETE")
    ended = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [DONE, DONE], ended
    assert operator.serving() == "b"
    assert [(one["to"], one["state"]) for one in operator.swaps()] == [("b", "good")], ended


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def said_until(stream, words: str) -> str:
    said = ""
    while words not in said and (line := stream.readline()):
        said += line
    return said


def test_a_pipeline_that_runs_twice_swaps_once(operator):
    assert swapped(operator, "--to", "b").code == DONE
    again = swapped(operator, "--to", "b", "--json")
    assert again.code == DONE and again.json["state"] == "unchanged" and "nothing to change" in again.stderr, again
    assert operator.serving() == "b" and len(operator.swaps()) == 1


@pytest.mark.parametrize("moment", ["PutObject", "UpdateStack"])
def test_a_swap_whose_operator_was_killed_is_gone_on_with(operator, region, moment):
    """Right after its record is made, and right after its update is ordered."""
    before = len(region.calls)
    came = {
        "PutObject": lambda: bool(operator.swaps()),
        "UpdateStack": lambda: any(call["operation"] == "UpdateStack" for call in list(region.calls)[before:]),
    }
    operator.killed("swap", "main", "--yes", when=came[moment])
    again = swapped(operator, "--json")
    assert again.code == DONE, again
    # Who comes after the end of it swaps anew.
    swaps = operator.swaps()
    assert [one["state"] for one in swaps] == ["good"] * len(swaps)
    assert operator.serving() == swaps[-1]["to"] == ("b" if len(swaps) == 1 else "a")
    assert len(swaps) == 1, again


def test_a_swap_that_is_denied_changes_nothing(operator, region):
    region.fault("denied", "cloudformation", operation="UpdateStack")
    result = swapped(operator)
    assert result.code == FAILED and "allow cloudformation:UpdateStack" in result.stderr, result
    assert operator.serving() == "a" and [one["state"] for one in operator.swaps()] == ["failed"]
    region.recover()
    assert swapped(operator).code == DONE and operator.serving() == "b"


def test_an_edge_in_a_wrong_state_has_a_way_out(operator, region):
    for status, words in {
        "UPDATE_ROLLBACK_FAILED": "continue-update-rollback --stack-name shop-edge-main",
        "UPDATE_FAILED": "rollback-stack --stack-name shop-edge-main",
        "UPDATE_IN_PROGRESS": "run the same command again when that operation has finished",
        "DELETE_FAILED": "edge main --delete",
    }.items():
        with region.engine.lock:
            operator.stack.tell(None, status)
        for verb in ("swap", "edge"):
            result = operator(verb, "main", "--yes")
            assert result.code == FAILED and words in result.stderr and status in result.stderr, (status, result)
    with region.engine.lock:
        operator.stack.tell(None, "UPDATE_ROLLBACK_COMPLETE")
    assert swapped(operator).code == DONE and operator.serving() == "b"


# Nothing is emptied that clients use.


def test_the_slot_that_serves_is_not_terminated(operator, region):
    result = operator("terminate", "blue", "--yes")
    assert result.code == FAILED and "slot a of the edge main gets 100 % of the requests" in result.stderr, result
    assert "ingot-fleet swap main" in result.stderr
    assert swapped(operator).code == DONE
    assert operator("terminate", "green", "--yes").code == FAILED
    gone = operator("terminate", "blue", "--yes")
    assert gone.code == DONE and region.stack("shop-blue").status == "DELETE_COMPLETE", gone
    assert "gen=v2" in operator.get()
    # All of it.
    still = operator("edge", "main", "--delete", "--yes")
    assert still.code == FAILED and "it still has the environments green" in still.stderr, still
    assert operator("terminate", "green", "--yes", "--despite-traffic").code == DONE
    assert operator("edge", "main", "--delete", "--yes").code == DONE
    assert region.stack(STACK).status == "DELETE_COMPLETE"


def test_sessions_are_waited_for_before_a_slot_is_emptied_or_replaced(tmp_path, region):
    operator = Edged(tmp_path, region, count=1, stickiness="8s")
    operator.both("v1", "v2")
    assert swapped(operator).code == DONE
    (swap,) = operator.swaps()
    early = operator("deploy", "blue", "--release", "v2", "--yes")
    assert early.code == FAILED and "on slot a of the edge main until" in early.stderr, early
    result = operator("terminate", "blue", "--yes")
    assert result.code == DONE and "waiting until then" in result.stderr, result
    ended = calendar.timegm(time.strptime(swap["ended"], "%Y-%m-%dT%H:%M:%SZ"))
    with region.engine.lock:
        (begun,) = [one.at for one in region.stack("shop-blue").events if one.status == "DELETE_IN_PROGRESS" and one.logical == "shop-blue"]
    assert begun.timestamp() >= ended + 8


def test_a_slot_that_serves_again_when_sessions_were_waited_for_is_not_emptied(tmp_path, region):
    operator = Edged(tmp_path, region, count=1, stickiness="20s")
    operator.both("v1", "v2")
    assert swapped(operator).code == DONE
    waiting = operator.start("terminate", "blue", "--yes")
    said = said_until(waiting.stderr, "waiting until then")
    assert swapped(operator).code == DONE and operator.serving() == "a"
    _, rest = waiting.communicate(timeout=60)
    assert waiting.returncode == FAILED and "slot a of the edge main gets 100 % of the requests" in rest, (said, rest)
    assert "gen=v1" in operator.get()


def test_a_swap_back_that_failed_leaves_sessions_where_they_are(tmp_path, region):
    operator = Edged(tmp_path, region, count=1, stickiness="1h")
    operator.both("v1", "v2")
    assert swapped(operator).code == DONE
    region.fault("denied", "cloudformation", operation="UpdateStack")
    assert swapped(operator).code == FAILED
    region.recover()
    early = operator("deploy", "blue", "--release", "v2", "--yes")
    assert early.code == FAILED and "on slot a of the edge main until" in early.stderr, early


def test_a_slot_that_still_gets_requests_is_not_emptied(tmp_path, region):
    """Of CloudWatch, the numbers are the test's: a client whose cookie lives on."""
    operator = Edged(tmp_path, region, count=1, stickiness="8s")
    operator.both("v1", "v2")
    assert swapped(operator).code == DONE
    (swap,) = operator.swaps()
    long_ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 900))
    operator.put(f"shop/environments/{EDGE}/deployments/swap-1.json", {**swap, "began": long_ago, "ended": long_ago})
    label = operator.output("LabelA")
    balancer, _, targets = label.partition("/targetgroup/")
    dimensions = [{"Name": "LoadBalancer", "Value": balancer}, {"Name": "TargetGroup", "Value": f"targetgroup/{targets}"}]
    point = {"MetricName": "RequestCount", "Dimensions": dimensions, "Value": 7, "Timestamp": time.time() - 90}
    region.client("cloudwatch").put_metric_data(Namespace="AWS/ApplicationELB", MetricData=[point])
    result = operator("terminate", "blue", "--yes")
    assert result.code == FAILED and "slot a of the edge main got 7 requests in the last 5 minutes" in result.stderr, result
    region.fault("denied", "monitoring", operation="GetMetricData")
    denied = operator("terminate", "blue", "--yes")
    assert denied.code == FAILED and "allow cloudwatch:GetMetricData" in denied.stderr, denied
    region.recover()
    assert operator("terminate", "blue", "--yes", "--despite-traffic").code == DONE


# The edge itself.


def test_an_edge_is_what_fleet_yaml_says(operator, region):
    assert operator("edge", "main", "--json").json["state"] == "unchanged"
    assert swapped(operator).code == DONE
    operator.describe(stickiness="1h", load_balancer={"port": 8080, "health_check": "/health"})
    result = operator("edge", "main", "--yes", "--json")
    assert result.code == DONE and result.json["state"] == "updated", result
    assert "stickiness from 0 to 3600" in result.stderr
    assert "load_balancer.port takes effect only when an edge is created: it stays 80" in result.stderr
    given = operator.parameters()
    assert (given["Stickiness"], given["Port"]) == ("3600", "80")
    # The weights stay what the swap has made them.
    assert operator.serving() == "b"
    listed = operator("list", "--json").json
    assert listed["edges"] == [
        {
            "edge": "main",
            "in_file": True,
            "status": "UPDATE_COMPLETE",
            "a": {"environments": "blue", "percent": 0},
            "b": {"environments": "green", "percent": 100},
        }
    ]
    assert [one["environment"] for one in listed["environments"]] == ["blue", "green"]
    assert "slot b of the edge main: 100 % of the requests" in operator("status", "green").stdout


def test_an_environment_needs_its_edge_and_keeps_its_slot(tmp_path, region):
    operator = Edged(tmp_path, region, count=1)
    operator.release("v1")
    early = operator("create", "blue", "--release", "v1")
    assert early.code == FAILED and "run `ingot-fleet edge main`" in early.stderr, early
    assert operator.records("blue") == []
    operator.made("edge", "main", "--yes")
    operator.made("create", "blue", "--release", "v1")
    path = tmp_path / "fleet.yaml"
    path.write_text(path.read_text().replace("slot: a", "slot: x").replace("slot: b", "slot: a").replace("slot: x", "slot: b"))
    taken = operator("create", "green", "--release", "v1")
    assert taken.code == FAILED and "slot a of the edge main is taken by blue" in taken.stderr, taken
    moved = operator("deploy", "blue", "--release", "v1", "--yes")
    assert moved.code == DOCUMENT and "blue has the slot main-a of an edge, and cannot leave it" in moved.stderr, moved
    assert operator.states("blue") == ["good"]
