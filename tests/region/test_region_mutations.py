"""The region's own tests fail where a rule of it is broken: each mutation breaks one, and a test has to notice.

A region that drops requests, calls everything healthy, or never gives up would let any tool pass.
"""

import pytest
from harness.region.balancing.targets import Targets
from harness.region.delays import Pace
from harness.region.instances.scripted import Scripted
from harness.region.small import IMPATIENT
from harness.region.stacks.signals import Waiting
from harness.region.stacks.stack import Stack
from test_region_stacks import (
    a_bad_release_ends_as_before,
    a_stack_is_complete_with_the_last_signal,
    an_update_can_be_cancelled,
)
from test_region_targets import a_target_is_initial_until_its_threshold, requests_in_flight_end


def nothing_is_drained(patch: pytest.MonkeyPatch) -> None:
    """What a deregistered target has in hand is cut at once."""

    def drain(self, target) -> None:
        self.engine.network.balancer.cut(target.name)
        with self.engine.lock:
            target.drained = True
            self.engine.changed()

    patch.setattr(Targets, "drain", drain)


def targets_are_healthy_at_once(patch: pytest.MonkeyPatch) -> None:
    """Before anybody has asked the instance."""
    register = Targets.register

    def registered(self, id: str, port: int | None = None) -> None:
        register(self, id, port)
        self.targets[id].becomes("healthy")

    patch.setattr(Targets, "register", registered)


def signals_come_before_health(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scripted, "wait_until_healthy", lambda self: True)


def cancel_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stack, "cancel", lambda self: None)


def a_batch_is_launched_for_ever(patch: pytest.MonkeyPatch) -> None:
    """However many fail, the update goes on, and the group launches another one."""
    patch.setattr(Waiting, "hopeless", property(lambda self: False))
    patch.setattr(Waiting, "received", property(lambda self: self.count("SUCCESS")))


# What notices, and what it says.
MUTATIONS = {
    nothing_is_drained: (requests_in_flight_end, "502"),
    targets_are_healthy_at_once: (a_target_is_initial_until_its_threshold, "'healthy'"),
    # A check each second, so that the two that are needed take longer than the signal.
    signals_come_before_health: (lambda: a_stack_is_complete_with_the_last_signal(Pace(5, 30)), "'initial'"),
    cancel_is_ignored: (an_update_can_be_cancelled, "'UPDATE_COMPLETE' == 'UPDATE_ROLLBACK_COMPLETE'"),
    a_batch_is_launched_for_ever: (
        lambda: a_bad_release_ends_as_before({}, IMPATIENT),
        "'UPDATE_COMPLETE' == 'UPDATE_ROLLBACK_COMPLETE'",
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_region_with_a_broken_rule_is_noticed(monkeypatch, mutation):
    notices, says = MUTATIONS[mutation]
    mutation(monkeypatch)
    with pytest.raises(AssertionError, match=says):
        notices()
