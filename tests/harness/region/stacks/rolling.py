"""AutoScalingRollingUpdate: a batch at a time, each waited for by its signals.

<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html#cfn-attributes-updatepolicy-rollingupdate>.
The steps and their order are those that users have logged:

- room for new instances is made first where MinInstancesInService and MaxBatchSize need it ("Temporarily setting …"),
  within MaxSize; it stays in DesiredCapacity after a failure, unless the template has one:
  <https://github.com/guardian/testing-asg-rolling-update/tree/main/observations>
- a batch is terminated while its replacements are launched, and nobody waits for the end of terminating lifecycle
  hooks:
  <https://github.com/awslabs/amazon-eks-ami/issues/66>
- an instance beyond the desired capacity, which was launched because an unhealthy one is to be replaced, is terminated and not
  replaced: not documented, but Auto Scaling would launch none for it
- the update fails with the first FAILURE, or signal that does not come, that makes MinSuccessfulInstancesPercent
  impossible: nobody has written that it does not wait for the others of the batch
"""

from ..group import Group
from . import events
from .signals import ResourceFailed, Waiting


class Rolling:
    def __init__(self, stack, resource, policy: dict):
        self.stack, self.resource, self.group = stack, resource, resource.model
        self.least = int(policy.get("MinInstancesInService", 0))
        self.batch = int(policy.get("MaxBatchSize", 1))
        self.percent = int(policy.get("MinSuccessfulInstancesPercent", 100))
        self.signals = str(policy.get("WaitOnResourceSignals", "false")).lower() == "true"
        # The defaults.
        self.pause = policy.get("PauseTime", "PT5M" if self.signals else "PT0S")
        self.suspends = set(policy.get("SuspendProcesses", []))
        self.launched = 0

    def run(self) -> None:
        group = self.group
        obsolete = obsolete_of(group)
        if not obsolete:
            return
        if self.least >= group.largest:
            raise ResourceFailed(events.TOO_FEW)
        sizes, own = (group.smallest, group.desired), self.suspends - group.suspended
        group.suspended |= own
        try:
            self.roll(obsolete, wanted=group.desired)
            group.smallest, group.desired = sizes
        finally:
            group.smallest = sizes[0]
            group.suspended -= own
            self.waiting.end()
            self.stack.engine.changed()

    def roll(self, obsolete: list, wanted: int) -> None:
        current = [member for member in self.group.members if not member.leaving and member not in obsolete]
        self.needed = max(0, wanted - len(current))
        self.waiting = Waiting(self.stack, self.resource, self.needed, self.percent)
        # Of instances that are to go, some may still tell of their boot; that they are not counted is not documented.
        # One that is just being launched has no ID yet.
        self.waiting.ignored = [member for member in self.group.members if member not in current]
        said = events.ROLLING.format(obsolete=len(obsolete), batch=self.batch, least=self.least)
        self.tell(said + (events.ROLLING_WAITS.format(pause=self.pause) if self.signals else ""))
        self.make_room(wanted, len(current) + len(obsolete), len(obsolete))
        total = len(obsolete)
        while obsolete:
            victims = self.choose(obsolete)
            obsolete = [member for member in obsolete if member not in victims and not member.leaving]
            self.replace(victims, done=total - len(obsolete), total=total)

    def make_room(self, wanted: int, have: int, obsolete: int) -> None:
        size = min(max(wanted, self.least + min(self.batch, obsolete)), self.group.largest)
        if (size, size) != (self.group.smallest, self.group.desired):
            self.tell(events.LARGER.format(size=size))
            self.group.smallest = self.group.desired = size
            self.stack.engine.changed()
        self.added(min(size - have, self.needed))

    def choose(self, obsolete: list) -> list:
        """The next batch: no more than leaves enough in service. One that is not in service does not count."""
        in_service = len([member for member in self.group.members if member.in_service])
        room = max(in_service - self.least, 0)
        chosen = []
        for member in sorted(obsolete, key=lambda member: (member.in_service, member.born)):
            if len(chosen) < self.batch and (not member.in_service or room > 0):
                room -= member.in_service
                chosen.append(member)
        # Where MaxSize leaves no room, one at least.
        return chosen or obsolete[:1]

    def replace(self, victims: list, done: int, total: int) -> None:
        surplus = min(len(victims), max(0, len([one for one in self.group.members if not one.leaving]) - self.group.desired))
        count = min(len(victims) - surplus, self.needed - self.launched)
        ids = ",".join(member.id or "" for member in victims)
        self.tell(events.TERMINATING.format(ids=ids, count=count))
        for number, member in enumerate(victims):
            if number >= count + surplus:
                self.group.smallest = self.group.desired = self.group.desired - 1
            if not member.leaving:
                self.group.terminate(member, decrement=False)
        self.tell(events.TERMINATED.format(ids=ids, percent=round(100 * done / total)))
        self.added(count)

    def added(self, count: int) -> None:
        """Waits for new instances: for their signals, or as long as is said."""
        if count <= 0:
            return
        self.launched += count
        if self.signals:
            self.tell(events.ADDED.format(count=count, pause=self.pause))
            self.waiting.wait(count, self.pause)
        else:
            self.stack.pause(self.pause)

    def tell(self, reason: str) -> None:
        self.stack.tell(self.resource, "UPDATE_IN_PROGRESS", reason)


def obsolete_of(group: Group) -> list:
    """Instances of another launch template, or of another version of it, than the group's."""
    current = group.resolve()
    names = ("LaunchTemplateId", "Version")
    return [one for one in group.members if not one.leaving and any(one.used[name] != current[name] for name in names)]
