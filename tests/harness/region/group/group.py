"""A group: keeps as many instances as it is asked for, launched from its launch template.

- Launches and terminates until capacity is what is desired; counts neither those that leave nor those in standby.
  <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html>
- Replaces unhealthy instances; with a maintenance policy of at least 100 % it launches first, and a new instance counts
  once it has been in service for DefaultInstanceWarmup.
  <https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-maintenance-policy-overview-and-considerations.html>
  <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-default-instance-warmup.html>
- Chooses whom to terminate: old launch templates first, then the oldest instance.
  <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-termination-policies.html>
- Leaves out what is suspended.
  <https://docs.aws.amazon.com/autoscaling/ec2/userguide/understand-how-suspending-processes-affects-scaling.html>

Not here: warm pools, scaling by metrics or schedule, several instance types, balance between zones.
"""

import time
import uuid

from ..balancing.targets import targets_of
from ..engine import LOOK, now, stamp
from ..instances.launched import specify
from . import activities
from .activities import Activity
from .hooks import Hook
from .member import Member

PROCESSES = (
    "Launch Terminate AddToLoadBalancer AlarmNotification AZRebalance HealthCheck InstanceRefresh ReplaceUnhealthy "
    "ScheduledActions"
).split()

# Seconds until a launch is tried again.
BACKOFF = 30


class Group:
    def __init__(self, engine, name: str, given: dict):
        self.engine, self.name = engine, name
        self.arn = (
            f"arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:{uuid.uuid4()}:autoScalingGroupName/{name}"
        )
        self.created = now()
        self.smallest = self.largest = self.desired = 0
        self.members: list[Member] = []
        self.activities: list[Activity] = []
        self.hooks: dict[str, Hook] = {}
        self.suspended: set[str] = set()
        self.refreshes: list = []
        # Of a refresh: the launch template that it launches from, and how many instances it has beyond capacity.
        self.refreshing: dict | None = None
        self.surplus = 0
        self.tags: list[dict] = []
        self.target_groups: list[str] = []
        self.launch: dict = {}
        self.mixed: dict | None = None
        self.subnets, self.health_check, self.grace, self.warmup = "", "EC2", 0, 0
        self.protects_new, self.maintenance, self.deleting = False, {}, False
        # When the next launch is tried after one that failed, by the monotonic clock.
        self.launches_from = 0.0
        # Sentences that come before the cause of the next activities.
        self.reason = ""
        self.update(given)
        self.reason = f"At {stamp(now())} a user request created an AutoScalingGroup changing the desired capacity from 0 to {self.desired}.  "
        engine.groups[name] = self
        engine.start(self.run)

    def update(self, given: dict) -> None:
        """Takes what CreateAutoScalingGroup and UpdateAutoScalingGroup, or a template, give."""
        self.smallest = int(given.get("MinSize", self.smallest))
        self.largest = int(given.get("MaxSize", self.largest))
        wanted = int(given.get("DesiredCapacity", self.desired))
        self.set_desired(min(max(wanted, self.smallest), self.largest) if "DesiredCapacity" not in given else wanted)
        if mixed := given.get("MixedInstancesPolicy"):
            self.mixed, self.launch = mixed, mixed["LaunchTemplate"]["LaunchTemplateSpecification"]
        if launch := given.get("LaunchTemplate"):
            self.mixed, self.launch = None, launch
        subnets = given.get("VPCZoneIdentifier", self.subnets)
        self.subnets = ",".join(subnets) if isinstance(subnets, list) else subnets
        self.health_check = given.get("HealthCheckType", self.health_check)
        self.grace = int(given.get("HealthCheckGracePeriod", self.grace))
        self.warmup = int(given.get("DefaultInstanceWarmup", self.warmup))
        self.protects_new = str(given.get("NewInstancesProtectedFromScaleIn", self.protects_new)).lower() == "true"
        self.maintenance = given.get("InstanceMaintenancePolicy", self.maintenance)
        if "Tags" in given:
            self.tags = given["Tags"]
        if "TargetGroupARNs" in given:
            self.target_groups = list(given["TargetGroupARNs"] or [])
        for hook in given.get("LifecycleHookSpecificationList", []):
            self.put_hook(hook)
        self.engine.changed()

    def put_hook(self, given: dict) -> None:
        name = given["LifecycleHookName"]
        known = self.hooks.get(name) or Hook(name, self.name, given["LifecycleTransition"])
        known.timeout = int(given.get("HeartbeatTimeout", known.timeout))
        known.default = given.get("DefaultResult", known.default)
        self.hooks[name] = known

    def set_desired(self, wanted: int) -> None:
        if not self.smallest <= wanted <= self.largest:
            bound = "below min value" if wanted < self.smallest else "above max value"
            size = self.smallest if wanted < self.smallest else self.largest
            raise ValueError(f"New SetDesiredCapacity value {wanted} is {bound} {size} for the AutoScalingGroup.")
        if wanted != self.desired:
            self.reason = (
                f"At {stamp(now())} a user request update of AutoScalingGroup constraints to min: {self.smallest}, max: "
                f"{self.largest}, desired: {wanted} changing the desired capacity from {self.desired} to {wanted}.  "
            )
        self.desired = wanted
        self.engine.changed()

    # What it does.

    def run(self) -> None:
        while not self.engine.over and not (self.deleting and not self.members):
            with self.engine.lock:
                self.look()
                self.engine.until(lambda: False, LOOK)
        with self.engine.lock:
            if not self.engine.over:
                del self.engine.groups[self.name]
            self.engine.changed()

    def look(self) -> None:
        if "HealthCheck" not in self.suspended:
            self.check_health()
        if "ReplaceUnhealthy" not in self.suspended:
            self.replace_unhealthy()
        capacity = [member for member in self.members if member.counts or self.keeps(member)]
        missing = self.desired + self.surplus - len(capacity)
        if missing > 0 and "Launch" not in self.suspended and time.monotonic() >= self.launches_from:
            unhealthy = any(member.health != "Healthy" for member in self.members)
            # Beyond the desired capacity, only a refresh launches.
            why = activities.REPLACED if unhealthy else activities.REFRESHED if self.surplus else self.difference()
            for _ in range(self.room(missing)):
                self.add(why)
        if missing < 0 and "Terminate" not in self.suspended:
            for member in self.superfluous(capacity)[:-missing]:
                before = self.desired - missing
                member.leave(self.cause(activities.TOO_MANY.format(before=before, after=self.desired)))
        self.reason = ""

    def add(self, why: str) -> Member:
        member = Member(self, self.resolve(), self.cause(why))
        self.members.append(member)
        self.engine.start(member.live)
        return member

    def cause(self, why: str) -> str:
        """What changed the desired capacity is said before."""
        return f"{self.reason}At {stamp(now())} {why}" if why != activities.REPLACED else f"At {stamp(now())} {why}"

    def launch_failed(self) -> None:
        """EC2 refused a launch: another is tried later. How much later is not documented."""
        self.launches_from = time.monotonic() + BACKOFF / self.engine.pace.schedule

    def difference(self) -> str:
        count = len([member for member in self.members if member.counts])
        return activities.DIFFERENCE.format(before=count, after=self.desired)

    def check_health(self) -> None:
        over = time.monotonic() - self.grace / self.engine.pace.schedule
        for member in self.members:
            member.checked(grace_is_over=member.since is not None and member.since < over)

    def replace_unhealthy(self) -> None:
        for member in self.members:
            if member.health == "Healthy" or member.leaving or not member.in_service:
                continue
            if not self.launches_first(member) or self.is_replaced():
                member.leave(member.complaint)

    def keeps(self, member: Member) -> bool:
        """Whether it is unhealthy and not to be replaced: it is neither terminated, nor is another one launched.

        <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html>
        """
        is_here = not member.leaving and "Standby" not in member.state
        return "ReplaceUnhealthy" in self.suspended and member.health != "Healthy" and is_here

    def launches_first(self, member: Member) -> bool:
        """An instance that is not there any more is not waited for."""
        return int(self.maintenance.get("MinHealthyPercentage", -1)) >= 100 and member.instance.alive()

    def is_replaced(self) -> bool:
        return len([member for member in self.members if member.counts and self.is_warm(member)]) >= self.desired

    def is_warm(self, member: Member) -> bool:
        """With our templates, a target is no longer initial by then. Here it may be, as times are shortened and checks late."""
        over = time.monotonic() - self.warmup / self.engine.pace.schedule
        initial = any(targets.state(member.id) == "initial" for targets in self.targets())
        return member.in_service and member.since <= over and not initial

    def room(self, missing: int) -> int:
        """How many may be launched beside those that are unhealthy and kept: the maintenance policy's upper bound."""
        kept = [one for one in self.members if one.health != "Healthy" and one.in_service and self.launches_first(one)]
        if not kept:
            return missing
        most = max(self.desired + 1, self.desired * int(self.maintenance.get("MaxHealthyPercentage", 110)) // 100)
        return max(0, min(missing, most - len([one for one in self.members if not one.leaving])))

    def superfluous(self, capacity: list[Member]) -> list[Member]:
        current = str(self.resolve()["Version"]) if self.launch else ""
        free = [member for member in capacity if not member.protected]
        return sorted(free, key=lambda member: (str(member.used["Version"]) == current, member.born))

    def tell(self, activity: Activity) -> Activity:
        self.activities.insert(0, activity)
        return activity

    # What others ask of it.

    def terminate(self, member: Member, decrement: bool, why: str | None = None) -> Activity:
        """TerminateInstanceInAutoScalingGroup."""
        text = why or activities.ON_REQUEST
        if decrement:
            if self.desired - 1 < self.smallest:
                raise ValueError(
                    f"Currently, desiredSize equals minSize ({self.smallest}). Terminating instance without replacement will "
                    "violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower "
                    "group's min size."
                )
            text = activities.ON_REQUEST_SHRINKING.format(before=self.desired, after=self.desired - 1)
            self.desired -= 1
        member.leave(text)
        return member.activity

    def delete(self, force: bool = False) -> None:
        """Hooks of termination do not apply to a deletion by force.

        <https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html#lifecycle-hooks-availability>
        """
        self.smallest = self.largest = self.desired = 0
        self.deleting = True
        if force:
            self.hooks.clear()
        for member in list(self.members):
            member.leave(activities.ON_REQUEST)
        self.engine.changed()

    def member(self, id: str) -> Member:
        for member in self.members:
            if member.id == id:
                return member
        raise ValueError(f"Instance Id not found - No managed instance found for instance ID: {id}")

    def targets(self) -> list:
        return [targets_of(self.engine, arn) for arn in self.target_groups]

    def resolve(self) -> dict:
        """The launch template of now, its version as a number."""
        launch = self.refreshing or self.launch
        template = self.template(launch)
        version = template.get_version(launch.get("Version", "$Default"))
        return {
            "LaunchTemplateId": template.id,
            "LaunchTemplateName": template.name,
            "Version": str(version.number),
            "Data": version.data,
        }

    def template(self, launch: dict):
        if "LaunchTemplateId" in launch:
            return self.engine.ec2.get_launch_template(launch["LaunchTemplateId"])
        return self.engine.ec2.get_launch_template_by_name(launch["LaunchTemplateName"])

    def specify(self, member: Member):
        propagated = {
            tag["Key"]: tag["Value"] for tag in self.tags if str(tag.get("PropagateAtLaunch")).lower() == "true"
        }
        version = {
            "aws:ec2launchtemplate:id": member.used["LaunchTemplateId"],
            "aws:ec2launchtemplate:version": member.used["Version"],
        }
        tags = {**propagated, **version, "aws:autoscaling:groupName": self.name}
        subnets = [one for one in self.subnets.split(",") if one]
        subnet = subnets[len(self.activities) % len(subnets)] if subnets else None
        return specify(self.engine, member.used["Data"], tags, subnet)
