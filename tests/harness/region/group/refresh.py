"""Instance refreshes.

<https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html>,
<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StartInstanceRefresh.html>,
<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RefreshPreferences.html>:

- MinHealthyPercentage of the desired capacity, rounded up, stays in service; MaxHealthyPercentage bounds all of them.
  Where both leave no room, one is launched first if MaxHealthyPercentage was given, and terminated first if not. What
  the preferences do not give is that of the group's maintenance policy.
- Nothing is replaced while the process InstanceRefresh is suspended:
  <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html>
  Whether one may then be started is not documented. Here it may, and begins afterwards, with the instances of then.
- A new instance counts once it is in service and healthy in its target groups.
- On success the group takes the desired configuration; a failed refresh leaves what it has replaced, unless
  AutoRollback.
- One that makes no progress for an hour fails:
  <https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-instance-refresh.html>
  That what is being launched then is terminated is ours: AWS does not say.

Not here: instance warm-up, standby and protected instances, alarms.
"""

import math
import time
import uuid

from ..refusal import refusal_of
from ..engine import now
from . import activities

# Seconds without progress, until a refresh fails.
PATIENCE = 3600

refused = refusal_of("autoscaling")

ACTIVE = ("Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress")


class Refresh:
    def __init__(self, group, given: dict):
        self.group, self.engine, self.id = group, group.engine, str(uuid.uuid4())
        self.preferences, self.desired = given.get("Preferences") or {}, given.get("DesiredConfiguration")
        self.status, self.reason = "Pending", ""
        self.begun, self.ended = now(), None
        self.cancelled = self.rolls_back = False
        self.total = self.done = 0

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def suspended(self) -> bool:
        return "InstanceRefresh" in self.group.suspended

    def percent(self, name: str, usual: int) -> int:
        return int(self.preferences.get(name, self.group.maintenance.get(name, usual)))

    def describe(self) -> dict:
        said = {
            "InstanceRefreshId": self.id,
            "AutoScalingGroupName": self.group.name,
            "Status": self.status,
            "StatusReason": self.reason,
            "StartTime": self.begun,
            "EndTime": self.ended,
            "PercentageComplete": 100 * self.done // self.total if self.total else 0,
            "InstancesToUpdate": self.total - self.done,
            "Preferences": self.preferences,
            "DesiredConfiguration": self.desired,
            "Strategy": "Rolling",
        }
        return {key: one for key, one in said.items() if one not in (None, "")}

    # What it does, with the lock held.

    def run(self) -> None:
        with self.engine.lock:
            self.status = "InProgress"
            self.group.refreshing = (self.desired or {}).get("LaunchTemplate")
            good = self.wait_to_begin() and self.replace_all(self.to_replace())
            if self.cancelled:
                return self.end("Cancelled")
            if good and not self.rolls_back:
                return self.succeed()
            if not (self.rolls_back or self.chosen("AutoRollback")):
                for one in self.group.members:
                    if one.since is None:
                        one.leave(activities.OF_REFRESH)
                return self.end("Failed")
            self.status, self.rolls_back = "RollbackInProgress", False
            self.group.refreshing = None
            return self.end("RollbackSuccessful" if self.replace_all(self.obsolete()) else "RollbackFailed")

    def chosen(self, name: str) -> bool:
        return str(self.preferences.get(name, "false")).lower() == "true"

    def succeed(self) -> None:
        if bake := int(self.preferences.get("BakeTime", 0)):
            self.status = "Baking"
            self.engine.until(lambda: self.cancelled, bake / self.engine.pace.patience)
        if self.group.refreshing:
            self.group.launch = self.group.refreshing
        self.end("Cancelled" if self.cancelled else "Successful")

    def end(self, status: str) -> None:
        self.group.refreshing, self.group.surplus = None, 0
        self.status, self.ended = status, now()
        self.engine.changed()

    def to_replace(self) -> list:
        """Matching instances are skipped only if it is asked for."""
        return (
            self.obsolete() if self.chosen("SkipMatching") else [one for one in self.group.members if not one.leaving]
        )

    def obsolete(self) -> list:
        current = self.group.resolve()
        names = ("LaunchTemplateId", "Version")
        return [
            one
            for one in self.group.members
            if not one.leaving and any(one.used[name] != current[name] for name in names)
        ]

    def wait_to_begin(self) -> bool:
        over = lambda: self.cancelled or self.rolls_back or not self.suspended  # noqa: E731
        return bool(self.engine.until(over, PATIENCE / self.engine.pace.patience))

    def replace_all(self, old: list) -> bool:
        """Whether all were replaced."""
        group, capacity = self.group, self.group.desired
        least = math.ceil(capacity * self.percent("MinHealthyPercentage", 90) / 100)
        most = max(capacity, capacity * self.percent("MaxHealthyPercentage", 100) // 100)
        if least >= capacity == most:
            given = "MaxHealthyPercentage" in {**self.group.maintenance, **self.preferences}
            least, most = (least, most + 1) if given else (least - 1, most)
        self.total, self.done = len(old), 0
        points = [int(point) for point in self.preferences.get("CheckpointPercentages") or []]
        moved = time.monotonic()
        while old and not (self.cancelled or self.rolls_back or self.engine.over):
            gone = [] if self.suspended else self.next_of(old, least)
            old = [one for one in old if one not in gone]
            if not self.suspended:
                group.surplus = min(len(old), most - capacity)
            if gone:
                moved = time.monotonic()
                self.done = self.total - len(old)
                points = self.stop_at(points)
            elif time.monotonic() > moved + PATIENCE / self.engine.pace.patience:
                return False
            self.engine.until(lambda: False, 0.05)
        return not old and self.wait_for_new()

    def next_of(self, old: list, least: int) -> list:
        """Those that may go now: has them terminated."""
        ready = [one for one in self.group.members if one.in_service and self.healthy(one)]
        spare = len(ready) - least
        gone = [one for one in old if one.leaving or not one.in_service]
        gone += [one for one in old if one not in gone][: max(0, spare)]
        for one in gone:
            one.leave(activities.OF_REFRESH)
        if not gone:
            self.complain()
        return gone

    def complain(self) -> None:
        """The wording is from users' posts."""
        for one in self.group.members:
            if one.in_service and not self.healthy(one):
                self.reason = f"Waiting for remaining instances to be available. For example: {one.id} is unhealthy in Elastic Load Balancing."

    def healthy(self, member) -> bool:
        return all(targets.state(member.id) in ("healthy", "unused") for targets in self.group.targets())

    def wait_for_new(self) -> bool:
        group, patience = self.group, PATIENCE / self.engine.pace.patience
        full = lambda: len([one for one in group.members if one.in_service and self.healthy(one)]) >= group.desired  # noqa: E731
        return bool(self.engine.until(lambda: self.cancelled or self.rolls_back or full(), patience)) and full()

    def stop_at(self, points: list[int]) -> list[int]:
        if points and 100 * self.done >= points[0] * self.total:
            delay = int(self.preferences.get("CheckpointDelay", 3600))
            self.engine.until(lambda: self.cancelled or self.rolls_back, delay / self.engine.pace.patience)
            return points[1:]
        return points


def start(group, given: dict) -> Refresh:
    if any(one.active for one in group.refreshes):
        raise refused(
            "InstanceRefreshInProgress",
            "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
        )
    refresh = Refresh(group, given)
    group.refreshes.insert(0, refresh)
    group.engine.start(refresh.run)
    return refresh


def active(group) -> Refresh:
    for one in group.refreshes:
        if one.active:
            return one
    raise refused(
        "ActiveInstanceRefreshNotFound",
        "No in progress or pending Instance Refresh found for Auto Scaling group " + group.name,
    )


def cancel(group) -> Refresh:
    """It stops; what it has replaced stays replaced."""
    refresh = active(group)
    refresh.status, refresh.cancelled = "Cancelling", True
    group.engine.changed()
    return refresh


def roll_back(group) -> Refresh:
    """Not one without a desired configuration, or by `$Latest` or `$Default`; the wording of the refusal is ours.

    <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RollbackInstanceRefresh.html>
    """
    refresh = active(group)
    wanted = (refresh.desired or {}).get("LaunchTemplate", {})
    if not wanted or wanted.get("Version") in ("$Latest", "$Default"):
        raise refused("IrreversibleInstanceRefresh", "The instance refresh has no configuration to go back from.")
    refresh.rolls_back = True
    group.engine.changed()
    return refresh
