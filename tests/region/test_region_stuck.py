"""Every verb on a stack in every status: what it says, and whether the way out that it names leads on when it is followed.
Scripted instances; all times are those of a stand-in.

The status of a sound stack is set; its resources stay as they are. Deleting, rolling back and going on are the region's."""

import os
import re

import botocore.session
import pytest
from harness.agent import DONE, FAILED, USAGE
from harness.region import Region
from harness.region.small import FAST, boots, releases
from test_region_verbs import STILL_UNDER_WAY, Operator, needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

STACK = "shop-prod"

# Those that only look, and those with which no way begins.
LOOKING = ("status", "events", "logs", "list")

STATUSES = botocore.session.get_session().get_service_model("cloudformation").shape_for("StackStatus").enum
SOUND = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "DELETE_COMPLETE"}
BUSY = {status for status in STATUSES if status.endswith("_IN_PROGRESS")} - {"REVIEW_IN_PROGRESS"}
# AWS documents no way on from it.
HOPELESS = "IMPORT_ROLLBACK_FAILED"
STUCK = sorted(set(STATUSES) - SOUND - BUSY)

DEPLOYING = [
    ("plan", "prod", "--release", "v2"),
    ("create", "prod", "--release", "v2"),
    ("deploy", "prod", "--release", "v2"),
    ("set", "prod", "COLOR=red"),
    ("rollback", "prod"),
]
OTHERS = [("status", "prod"), ("status",), ("list",), ("events", "prod"), ("logs", "prod"), ("abort", "prod"), ("freeze", "prod"), ("scale", "prod", "3")]


@pytest.fixture
def operator(tmp_path):
    """Two good deployments, so that there is one to go back to."""
    needs_binary()
    with Region(boots(80), pace=FAST) as region:
        operator = Operator(tmp_path, region, "all_at_once")
        assert operator("create", "prod", "--release", "v1").code == DONE
        assert operator("deploy", "prod", "--release", "bad").code == DONE
        yield operator


def put(operator, status: str) -> None:
    """Somebody's operation has ended so, or goes on."""
    with operator.region.engine.lock:
        stack = operator.region.stack(STACK)
        stack.token = "somebody-else"
        stack.tell(None, status)


def ways(said: str) -> list[str]:
    """The commands of the last hint, in order, but for those that only look."""
    commands = re.findall(r"`((?:aws|ingot-fleet) [^`]+)`", said.rpartition("hint: ")[2])
    return [one for one in commands if one.split()[1] not in LOOKING]


def follow(operator, said: str, depth: int = 0) -> None:
    """Types what a message says."""
    commands = ways(said)
    assert commands and depth < 4, said
    for command in commands:
        if command.startswith("aws cloudformation "):
            call(operator.region, command)
            continue
        done = operator(*command.replace("RELEASE", "v2").split()[1:], "--yes" if " terminate " in command else "--json")
        if done.code != DONE:
            follow(operator, done.stderr, depth + 1)


def call(region, command: str) -> None:
    """A command of the AWS CLI."""
    _, _, operation, *given = command.split()
    parameters, names = {}, iter(given)
    for name in names:
        words = name.removeprefix("--").removeprefix("no-").split("-")
        key = "".join(word.capitalize() for word in words)
        parameters[key] = False if name.startswith("--no-") else next(names)
    getattr(region.client("cloudformation"), operation.replace("-", "_"))(**parameters)
    region.wait(lambda: region.stack(STACK).status not in BUSY, f"the end of `{command}`")


@pytest.mark.parametrize("status", STUCK)
def test_what_needs_a_hand_is_told_by_every_verb_and_nothing_begins(operator, status):
    put(operator, status)
    before, text = operator.states(), (operator.directory / "fleet.yaml").read_text()
    for command in DEPLOYING:
        told = operator(*command)
        assert told.code == FAILED and f"the stack {STACK} cannot be updated: " in told.stderr and "hint: " in told.stderr, told
        assert ways(told.stderr) or status == HOPELESS, told
    assert operator.states() == before and (operator.directory / "fleet.yaml").read_text() == text
    for command in OTHERS:
        told = operator(*command)
        assert told.code == DONE, told
    shown = operator("status", "prod").stdout
    assert f"the stack {STACK} is in {status}: " in shown and (ways(shown) or status == HOPELESS), shown


@pytest.mark.parametrize("is_protected", [False, True], ids=["", "protected"])
@pytest.mark.parametrize("status", [one for one in STUCK if one != HOPELESS])
def test_the_way_out_leads_to_a_deployment(operator, status, is_protected):
    put(operator, status)
    operator.region.stack(STACK).protected = is_protected
    for _ in range(6):
        told = operator("deploy", "prod", "--release", "v2")
        if told.code == DONE:
            break
        follow(operator, told.stderr)
    operator.region.in_service(2)
    assert told.code == DONE and releases(operator.region) == ["v2", "v2"], told


@pytest.mark.parametrize("status", ["DELETE_FAILED", "UPDATE_ROLLBACK_FAILED"])
def test_the_way_out_needs_no_fleet_yaml(operator, status):
    (operator.directory / "fleet.yaml").unlink()
    put(operator, status)
    told = operator("rollback", "prod", "--application", "shop")
    assert told.code == FAILED and "`ingot-fleet events prod --application shop`" in told.stderr, told
    assert ways(operator("status", "prod", "--application", "shop").stdout) == ways(told.stderr), told
    follow(operator, told.stderr)
    if status == "DELETE_FAILED":
        assert operator("status", "--application", "shop").code == USAGE, "it is gone"
    else:
        assert operator("rollback", "prod", "--application", "shop").code == DONE
        assert releases(operator.region) == ["v1", "v1"]


@pytest.mark.parametrize("status", sorted(BUSY))
def test_the_operation_of_somebody_else_is_waited_for(operator, status):
    put(operator, status)
    before = operator.states()
    planned = operator("plan", "prod", "--release", "v2")
    assert planned.code == STILL_UNDER_WAY and f"is in {status}, because of another operation" in planned.stderr, planned
    scaled = operator("scale", "prod", "3")
    assert scaled.code == FAILED and f"while its stack is in {status}" in scaled.stderr and "hint: " in scaled.stderr, scaled
    assert f"the stack {STACK} is in {status}" in operator("status", "prod").stdout
    nothing = operator("abort", "prod")
    assert nothing.code == DONE and "nothing to abort" in nothing.stderr, nothing
    if status.startswith("UPDATE_"):
        kept = operator("terminate", "prod", "--yes")
        assert kept.code == FAILED and f"cannot delete shop-prod while it is in {status}" in kept.stderr and "hint: " in kept.stderr, kept
    assert operator.states() == before

    begun = operator("deploy", "prod", "--release", "v2", "--timeout", "1s")
    assert begun.code == STILL_UNDER_WAY and "does not replace instances yet" in begun.stderr, begun
    rolled = operator("rollback", "prod")
    assert rolled.code == FAILED and "ingot-fleet abort prod" in rolled.stderr, rolled
    follow(operator, rolled.stderr)
    assert operator.states() == [*before, "undone"]
    put(operator, "UPDATE_COMPLETE")
    assert operator("deploy", "prod", "--release", "v2").code == DONE


@pytest.mark.parametrize("status", ["UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED"])
def test_what_was_under_way_goes_on_once_the_stack_is_sound(operator, status):
    """A deployment that was interrupted between its two updates, and somebody's hand in the stack after it."""
    put(operator, "IMPORT_IN_PROGRESS")
    assert operator("deploy", "prod", "--release", "v2", "--timeout", "1s").code == STILL_UNDER_WAY
    put(operator, status)
    for command in (("rollback", "prod"), ("abort", "prod"), ("deploy", "prod", "--release", "v2"), ("deploy", "prod", "--release", "v1")):
        told = operator(*command)
        assert told.code == FAILED and f"the stack {STACK} cannot be updated: " in told.stderr and ways(told.stderr), told
    follow(operator, told.stderr)
    done = operator("deploy", "prod", "--release", "v2")
    assert done.code == DONE and "following it" in done.stderr, done
    assert operator.states()[-1] == "good"
