"""Lifecycle hooks: an instance that is launched or terminated waits until its action is completed, or out of time.

From "How lifecycle hooks work in Auto Scaling groups":
<https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html>, and of the calls
<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CompleteLifecycleAction.html>,
<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RecordLifecycleActionHeartbeat.html>.
"""

import time
import uuid
from dataclasses import dataclass, field

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"

# A wait lasts 48 hours or 100 times the heartbeat timeout at most, whichever is smaller (`GlobalTimeout`).
# Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html#lifecycle-hook-considerations>
LONGEST, MOST_BEATS = 172_800, 100


@dataclass
class Hook:
    name: str
    group: str
    transition: str
    timeout: int = 3600
    default: str = "ABANDON"

    def describe(self) -> dict:
        return {
            "LifecycleHookName": self.name,
            "AutoScalingGroupName": self.group,
            "LifecycleTransition": self.transition,
            "HeartbeatTimeout": self.timeout,
            "GlobalTimeout": min(LONGEST, MOST_BEATS * self.timeout),
            "DefaultResult": self.default,
        }


@dataclass
class Action:
    """One instance that waits for one hook."""

    hook: Hook
    instance: str
    patience: float
    token: str = field(default_factory=lambda: str(uuid.uuid4()))
    begun: float = field(default_factory=time.monotonic)
    beats: list[float] = field(default_factory=list)
    result: str | None = None
    out_of_time: bool = False

    def expire(self) -> None:
        """Once its time is over, the hook's default result holds."""
        since = (self.beats or [self.begun])[-1]
        timeout = self.hook.timeout / self.patience
        longest = min(LONGEST, MOST_BEATS * self.hook.timeout) / self.patience
        if self.result is None and (time.monotonic() > since + timeout or time.monotonic() > self.begun + longest):
            self.result, self.out_of_time = self.hook.default, True

    @property
    def waits(self) -> bool:
        self.expire()
        return self.result is None

    def beat(self) -> None:
        self.beats.append(time.monotonic())


def wait(engine, actions: list[Action]) -> Action | None:
    """Waits, with the lock held, until all are done or one is abandoned: that one. The others end with it.

    "If the instance is launching, … abandon indicates that your custom actions were unsuccessful, and that Amazon EC2 Auto
    Scaling can terminate the instance. If the instance is terminating, both abandon and continue allow the instance to
    terminate. However, abandon stops any remaining actions, such as other lifecycle hooks, and continue allows any other
    lifecycle hooks to complete."
    Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/adding-lifecycle-hooks.html>
    """

    def abandoned() -> Action | None:
        for action in actions:
            action.expire()
        return next((action for action in actions if action.result == "ABANDON"), None)

    engine.until(lambda: abandoned() or all(action.result for action in actions))
    failed = abandoned()
    for action in actions:
        action.result = action.result or "ABANDON"
    return failed
