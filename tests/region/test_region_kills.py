"""`ingot-fleet deploy` killed at 20 moments: whether or not it is run again, an environment ends up in the same way. For each
policy, and for workers.

One moment is right after the start: when CloudFormation has just begun to replace instances. The others are calls of AWS, spread
over all that an undisturbed deployment makes: it is killed as soon as so many have come. CloudFormation goes on alone; what it
needs a second order for is made up for by the run that follows, or undone by `abort`.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable

import pytest
from harness import fleet as fleets
from harness.agent import DONE, FAILED
from harness.region import Outcome, Region
from harness.region.delays import Pace
from harness.region.operated import Operator, runs, witnesses

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")]

WORKERS = {"tier": "worker", "queue": {"visibility": "5m"}}
ENVIRONMENTS = {policy: {"deployment": {"policy": policy}} for policy in ("all_at_once", "rolling", "rolling_with_batch", "immutable")}
ENVIRONMENTS["rolling of workers"] = {**WORKERS, "deployment": {"policy": "rolling"}}
MOMENTS = 20
PACE = Pace(schedule=50, patience=30)
CAUSE = "applications.shop: it ended with exit code 5"


@pytest.fixture
def region():
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")
    with Region(witnesses(bad=(Outcome("abandons"), CAUSE)), pace=PACE) as region:
        yield region


class Killed(Operator):
    """An environment of two instances, and calls that are counted."""

    def __init__(self, directory, region, settings: dict):
        super().__init__(directory, region, prod=settings)
        for release in ("v1", "good", "bad"):
            self.release(release)
        created = self("create", "prod", "--release", "v1")
        assert created.code == DONE, (created, region.told())

    @property
    def calls(self) -> int:
        own = self.env["AWS_ACCESS_KEY_ID"]
        return sum(call["key_id"] == own for call in self.region.calls)

    def deploy(self, release: str):
        return self("deploy", "prod", "--release", release, "--yes")

    def back(self) -> None:
        """v1 runs again."""
        if runs(self.region) != ["v1", "v1"]:
            assert self.deploy("v1").code == DONE
        self.region.in_service(2)

    def whole(self, release: str) -> int:
        """How many calls an undisturbed deployment makes until it knows its end."""
        before = self.calls
        self.deploy(release)
        made = self.calls - before
        self.back()
        return made

    def has_made(self, calls: int) -> Callable[[], bool]:
        """Whether so many more calls have come."""
        before = self.calls
        return lambda: self.calls - before >= calls

    def has_begun(self, number: int) -> Callable[[], bool]:
        """Whether CloudFormation has the order that replaces instances."""
        return lambda: self.region.stack("shop-prod").token.startswith(f"ingot-{number}-release")

    def kill(self, release: str, when: Callable[[], bool], what: str) -> bool:
        """Kills a deployment as soon as that holds. Whether it had not ended by itself."""
        process = self.start("deploy", "prod", "--release", release, "--yes")
        self.region.poll(lambda: when() or process.poll() is not None, what)
        killed = process.poll() is None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.communicate()
        return killed

    def rest(self) -> None:
        """Waits until CloudFormation and the group do nothing any more, with nobody looking after them."""
        # A call that was on its way when its caller was killed arrives.
        time.sleep(0.5)
        self.region.settled("shop-prod")
        self.region.in_service(2)


@pytest.mark.parametrize("again", [True, False], ids=["run again", "left alone"])
@pytest.mark.parametrize("release", ["good", "bad"])
@pytest.mark.parametrize("settings", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_the_end_is_the_same(tmp_path, region, settings, release, again):
    operator = Killed(tmp_path, region, settings)
    # All instances run the one release or the other, and what was begun is not lost.
    wanted = {"good": (["good", "good"], "good", DONE), "bad": (["v1", "v1"], "failed", FAILED)}[release]
    total, killed = operator.whole(release), 0
    for moment in range(MOMENTS):
        number = len(operator.states())
        if moment == 0:
            what = f"the start of deployment {number + 1}"
            is_killed = operator.kill(release, operator.has_begun(number + 1), what)
            assert is_killed, region.told()
        else:
            calls = 1 + total * (moment - 1) // (MOMENTS - 1)
            what = f"call {calls} of {total}"
            is_killed = operator.kill(release, operator.has_made(calls), what)
        killed += is_killed
        seen = operator.states()[number:]
        told = f"killed at {what}: {seen}\n"
        if again:
            result = operator.deploy(release)
            operator.rest()
            assert (runs(region), operator.states()[-1], result.code) == wanted, (told, result, region.told())
        else:
            left_alone(operator, number, release, told)
        # One that had ended is not taken up again.
        assert len(operator.states()) <= number + 1 + (seen == ["failed"]), told
        operator.back()
    # The last moments may come after the end.
    assert killed >= MOMENTS - 4, f"only {killed} of {MOMENTS} were killed"


def left_alone(operator: Operator, number: int, release: str, told: str) -> None:
    """Nobody runs it again. The fleet is never mixed, and `abort` writes down how it is."""
    region = operator.region
    operator.rest()
    ends = runs(region)
    assert ends in ((["v1", "v1"], ["good", "good"]) if release == "good" else (["v1", "v1"],)), (told, region.told())
    aborted = operator("abort", "prod")
    operator.rest()
    assert runs(region) == ends, (told, aborted, region.told())
    began = len(operator.states()) > number
    # It was too late for one that is good.
    expected = {"good": "good", "v1": "undone"}[ends[0]] if release == "good" else None
    if began and expected:
        assert operator.states()[-1] == expected, (told, aborted)
    if began and release == "bad":
        assert operator.states()[-1] in ("undone", "failed"), (told, aborted)
    assert "under_way" not in operator.states(), (told, aborted)
