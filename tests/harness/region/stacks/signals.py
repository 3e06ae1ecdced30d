"""Signals that a group's creation or rolling update waits for.

<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_SignalResource.html>: "CloudFormation doesn't
proceed with a stack creation or update until resources receive the required number of signals or the timeout period is
exceeded". Each signal needs a unique ID of its own. A FAILURE fails the creation or update at once, as soon as too few
can succeed.
<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-creationpolicy.html>,
<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html>.
"""

import re

from . import events

DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


class ResourceFailed(Exception):
    """A resource cannot be made or changed; says why in CloudFormation's words."""


class Cancelled(Exception):
    """Somebody called CancelUpdateStack."""


def seconds(duration: str) -> int:
    """Of an ISO 8601 duration, such as PT15M."""
    found = DURATION.fullmatch(duration)
    if not found:
        raise ValueError(f"Invalid duration: {duration}")
    days, hours, minutes, rest = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


class Breached(Exception):
    """A rollback trigger went into ALARM; names it."""


class Waiting:
    """What one resource has received, of how many, and how many per cent of these have to be SUCCESS."""

    def __init__(self, stack, resource, total: int, percent: int):
        self.stack, self.resource, self.total, self.percent = stack, resource, total, percent
        self.statuses: dict[str, str] = {}
        self.timeouts = 0
        # Members of the group whose signals do not count.
        self.ignored: list = []
        stack.waiting[resource.logical] = self

    def take(self, id: str, status: str) -> None:
        if id not in self.statuses and all(member.id != id for member in self.ignored):
            self.statuses[id] = status
            self.stack.tell(self.resource, self.state, events.SIGNALLED.format(status=status, id=id))

    @property
    def state(self) -> str:
        return "CREATE_IN_PROGRESS" if self.resource.status.startswith("CREATE") else "UPDATE_IN_PROGRESS"

    def count(self, status: str) -> int:
        return list(self.statuses.values()).count(status)

    @property
    def hopeless(self) -> bool:
        failed = self.count("FAILURE") + self.timeouts
        return 100 * (self.total - failed) < self.percent * self.total

    def wait(self, number: int, pause: str) -> None:
        """Waits for so many more signals. One that does not come is a failure."""
        engine = self.stack.engine
        due = len(self.statuses) + self.timeouts + number
        patience = seconds(pause) / engine.pace.patience
        engine.until(lambda: self.received >= due or self.hopeless or self.stack.interrupted, patience)
        self.stack.check()
        if not self.hopeless and (missing := due - self.received) > 0 and not engine.over:
            self.timeouts += missing
            self.stack.tell(self.resource, self.state, events.NOT_RECEIVED.format(count=missing))
        self.judge()

    @property
    def received(self) -> int:
        return len(self.statuses) + self.timeouts

    def judge(self) -> None:
        if self.hopeless:
            status = "FAILURE" if self.count("FAILURE") else "SUCCESS"
            said = {"count": self.count(status), "status": status, "total": self.total, "percent": self.percent}
            raise ResourceFailed(events.NOT_SATISFIED.format(**said))

    def end(self) -> None:
        self.stack.waiting.pop(self.resource.logical, None)
