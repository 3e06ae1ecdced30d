"""One instance of a group, from the decision to launch it to its end.

The states and their order: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html> and
<https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html>:

- Pending, Pending:Wait, Pending:Proceed, InService. An instance is registered with the load balancer before it is in
  service: at the hook's CONTINUE.
- Terminating: it is deregistered from the load balancer first, and its connections drain. Then Terminating:Wait,
  Terminating:Proceed, Terminated.
- What the instance reads in IMDS (`target-lifecycle-state`):
  <https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html>
"""

import time

from ..instances.launched import LaunchFailed
from . import activities
from .activities import Activity
from .hooks import LAUNCHING, TERMINATING, Action, wait

# Of an instance that ends while its hook waits: as users have posted it, AWS's pages do not have it.
DIED = (
    "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: "
    "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
)


class Member:
    def __init__(self, group, launch: dict, why: str):
        """`launch`: the launch template's ID, name and version, and what the version says."""
        self.group, self.engine, self.used = group, group.engine, launch
        self.state, self.health, self.protected = "Pending", "Healthy", group.protects_new
        self.id, self.zone, self.instance = None, None, None
        self.born, self.since = time.monotonic(), None
        self.leaving = False
        self.actions: list[Action] = []
        # Why it is unhealthy.
        self.complaint: str | None = None
        self.activity = group.tell(Activity.launching(group.name, why))

    def __repr__(self) -> str:
        return f"{self.id} {self.state} {self.used['Version']}"

    @property
    def counts(self) -> bool:
        """Whether it is part of the group's capacity."""
        return not self.leaving and self.health == "Healthy" and "Standby" not in self.state

    @property
    def in_service(self) -> bool:
        return self.state == "InService" and not self.leaving

    # Its beginning.

    def live(self) -> None:
        engine = self.engine
        engine.sleep(engine.delays.seconds(engine.delays.launch))
        try:
            with engine.lock:
                spec = self.group.specify(self)
                self.id, self.zone = spec.id, spec.zone
                self.activity.description += f": {spec.id}"
                self.begin_hooks(LAUNCHING, "Pending:Wait")
            self.instance = engine.launch(spec)
        except LaunchFailed as why:
            with engine.lock:
                engine.ec2.terminate_instances([self.id])
                self.activity.fail(f"{why}. Launching EC2 instance failed.")
                self.group.launch_failed()
                self.gone()
            return
        if self.too_late():
            return self.instance.kill()
        with engine.lock:
            if self.leaving or not self.pass_launch_hooks():
                self.give_up()
                return
            self.enter()

    def too_late(self) -> bool:
        """Whether the region has ended meanwhile, and does not know this instance any more."""
        with self.engine.lock:
            if not self.engine.over:
                self.engine.instances[self.id] = self.instance
            return self.engine.over

    def begin_hooks(self, transition: str, state: str) -> None:
        hooks = [hook for hook in self.group.hooks.values() if hook.transition == transition]
        self.actions = [Action(hook, self.id, self.engine.pace.patience) for hook in hooks]
        if self.actions:
            self.state = state
        self.engine.changed()

    def pass_launch_hooks(self) -> bool:
        """Waits for the launch hooks. Whether the instance may go into service."""
        if failed := wait(self.engine, self.actions):
            result = "ABANDON" if not self.instance_died() else None
            text = activities.ABANDONED.format(token=failed.token, result=result) if result else DIED
            self.activity.cancel(text)
            return False
        self.state = "Pending:Proceed" if self.actions else self.state
        return True

    def instance_died(self) -> bool:
        return self.instance is not None and not self.instance.alive()

    def give_up(self) -> None:
        """An instance that never was in service: no load balancer and no termination hook knows it."""
        if self.activity.ended is None:
            self.activity.cancel("Instance launch was cancelled")
        self.leaving, self.state = True, "Terminating"
        self.engine.changed()
        self.engine.start(self.end)

    def enter(self) -> None:
        if "AddToLoadBalancer" not in self.group.suspended:
            for targets in self.group.targets():
                targets.register(self.id)
        self.state, self.since = "InService", time.monotonic()
        self.instance.lifecycle("InService")
        self.activity.succeed()
        self.engine.changed()

    # Its end.

    def leave(self, why: str) -> None:
        """Has it terminated. Returns at once."""
        if self.leaving:
            return
        self.leaving = True
        launched = self.since is not None
        self.engine.changed()
        if not launched:
            # `live` sees to it, once it gets to know.
            for action in self.actions:
                action.result = action.result or "ABANDON"
            return
        self.state = "Terminating"
        self.activity = self.group.tell(Activity.terminating(self.group.name, self.id, why))
        self.engine.start(self.depart)

    def depart(self) -> None:
        self.leave_target_groups()
        with self.engine.lock:
            self.begin_hooks(TERMINATING, "Terminating:Wait")
            # Nobody is left to complete the action of a dead instance. What the group does about it is not documented.
            if self.instance.alive():
                self.instance.lifecycle("Terminated")
                wait(self.engine, self.actions)
            self.state = "Terminating:Proceed"
        self.end()

    def leave_target_groups(self) -> None:
        with self.engine.lock:
            left = [targets for targets in self.group.targets() if targets.has(self.id)]
            if left:
                self.activity.goes("WaitingForELBConnectionDraining", 50)
            for targets in left:
                targets.deregister(self.id)
        for targets in left:
            targets.wait_until_drained(self.id)

    def end(self) -> None:
        if self.instance:
            self.instance.terminate()
        with self.engine.lock:
            self.engine.ec2.terminate_instances([self.id])
            if self.activity.ended is None:
                self.activity.succeed()
            self.gone()

    def gone(self) -> None:
        self.leaving, self.state = True, "Terminated"
        self.group.members = [one for one in self.group.members if one is not self]
        self.engine.changed()

    # Standby: deregistered from load balancers, and not checked.
    # <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html>

    def enter_standby(self) -> None:
        self.state = "EnteringStandby"

        def go() -> None:
            self.leave_target_groups()
            with self.engine.lock:
                self.state = "Standby"
                self.instance.lifecycle("Standby")
                self.activity.succeed()
                self.engine.changed()

        self.engine.start(go)

    # Health.

    def checked(self, grace_is_over: bool) -> None:
        """Finds out whether it is unhealthy, and why.

        Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/health-checks-overview.html>: an instance that is
        not running any more is seen even within the grace period.
        """
        if self.instance_died():
            for action in self.actions:
                action.result = action.result or "ABANDON"
            if self.in_service:
                self.complain(activities.OF_EC2)
        elif self.in_service and grace_is_over and self.group.health_check == "ELB":
            if any(targets.state(self.id) == "unhealthy" for targets in self.group.targets()):
                self.complain(activities.OF_ELB)

    def complain(self, why: str) -> None:
        if self.health == "Healthy":
            self.health, self.complaint = "Unhealthy", why
            self.engine.changed()

    def describe(self) -> dict:
        said = {key: str(self.used[key]) for key in ("LaunchTemplateId", "LaunchTemplateName", "Version")}
        return {
            "InstanceId": self.id,
            "InstanceType": self.used["Data"].get("InstanceType", "m7g.large"),
            "AvailabilityZone": self.zone,
            "LifecycleState": self.state,
            "HealthStatus": self.health,
            "LaunchTemplate": said,
            "ProtectedFromScaleIn": self.protected,
        }
