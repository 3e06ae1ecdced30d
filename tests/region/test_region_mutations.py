"""The region's own tests fail where a rule of it is broken: each mutation breaks one, and a test has to notice.

A region that drops requests, calls everything healthy, or never gives up would let any tool pass.
"""

import pytest
from harness.region.balancing.targets import Targets
from harness.region.small import IMPATIENT
from harness.region.stacks.signals import Waiting
from harness.region.stacks.stack import Stack
from test_region_stacks import a_bad_release_ends_as_before, an_update_can_be_cancelled
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
    """So that a signal comes before anybody has asked the instance."""
    register = Targets.register

    def registered(self, id: str, port: int | None = None) -> None:
        register(self, id, port)
        self.targets[id].becomes("healthy")

    patch.setattr(Targets, "register", registered)


def cancel_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stack, "cancel", lambda self: None)


def a_batch_is_launched_for_ever(patch: pytest.MonkeyPatch) -> None:
    """However many fail, the update waits for more, and the group goes on launching."""
    patch.setattr(Waiting, "hopeless", property(lambda self: False))
    patch.setattr(Waiting, "received", property(lambda self: self.count("SUCCESS")))


MUTATIONS = {
    nothing_is_drained: requests_in_flight_end,
    targets_are_healthy_at_once: a_target_is_initial_until_its_threshold,
    cancel_is_ignored: an_update_can_be_cancelled,
    a_batch_is_launched_for_ever: lambda: a_bad_release_ends_as_before({}, IMPATIENT),
}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_region_with_a_broken_rule_is_noticed(monkeypatch, mutation):
    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        MUTATIONS[mutation]()
