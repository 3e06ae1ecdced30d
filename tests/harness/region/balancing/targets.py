"""Target groups: real HTTP health checks, and draining.

moto keeps the groups and their settings; here is how targets come, are seen, and go.

- initial, healthy, unhealthy, draining, unused; reasons and descriptions in AWS's words:
  <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>
- How often and how long is checked, what counts, and fail-open:
  <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>. That page says
  that one good check is enough for a new target; here the healthy threshold holds for it too, which is the slower of
  both.
- Deregistration delay: requests in flight may end; without any "Elastic Load Balancing immediately completes the
  deregistration process", yet "the status of the target is displayed as draining until the deregistration delay timeout
  expires":
  <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#deregistration-delay>
"""

import re
import time

from harness import wire

from ..engine import LOOK

DESCRIPTIONS = {
    "Elb.RegistrationInProgress": "Target registration is in progress",
    "Elb.InitialHealthChecking": "Initial health checks in progress",
    "Target.NotRegistered": "Target is not registered to the target group",
    "Target.NotInUse": "Target group is not configured to receive traffic from the load balancer",
    "Target.DeregistrationInProgress": "Target deregistration is in progress",
    "Target.Timeout": "Request timed out",
    "Target.FailedHealthChecks": "Health checks failed",
}


class Target:
    def __init__(self, id: str, address: str, port: int):
        self.id, self.address, self.port = id, address, port
        self.state, self.reason, self.code = "initial", "Elb.RegistrationInProgress", ""
        # Good checks in a row; bad ones below 0.
        self.row = 0
        self.drained = False

    @property
    def name(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def registered(self) -> bool:
        return self.state not in ("draining", "unused")

    def becomes(self, state: str, reason: str = "", code: str = "") -> None:
        self.state, self.reason, self.code = state, reason, code

    def describe(self) -> dict:
        health = {"State": self.state}
        if self.reason:
            said = f"Health checks failed with these codes: [{self.code}]" if self.code else DESCRIPTIONS[self.reason]
            health |= {"Reason": self.reason, "Description": said}
        target = {"Id": self.id, "Port": self.port}
        return {"Target": target, "HealthCheckPort": str(self.port), "TargetHealth": health}


class Targets:
    """The targets of one group."""

    def __init__(self, engine, settings):
        """`settings`: moto's target group."""
        self.engine, self.settings = engine, settings
        self.targets: dict[str, Target] = {}

    @property
    def delay(self) -> float:
        return float(self.settings.attributes["deregistration_delay.timeout_seconds"]) / self.engine.pace.patience

    @property
    def stickiness(self) -> float | None:
        """How long a client stays with its target."""
        given = self.settings.attributes
        enabled = given["stickiness.enabled"] == "true" and given["stickiness.type"] == "lb_cookie"
        return float(given["stickiness.lb_cookie.duration_seconds"]) / self.engine.pace.patience if enabled else None

    @property
    def used(self) -> bool:
        """Whether a listener leads here."""
        return self.settings.arn in self.engine.network.balancer.in_use

    def has(self, id: str) -> bool:
        return id in self.targets and self.targets[id].registered

    def state(self, id: str) -> str:
        return self.targets[id].state if id in self.targets else "unused"

    def register(self, id: str, port: int | None = None) -> None:
        if self.has(id):
            return
        address = self.engine.ec2.get_instance(id).private_ip
        target = self.targets[id] = Target(id, address, int(port or self.settings.port))
        self.engine.changed()
        self.engine.start(lambda: self.check(target))

    def deregister(self, id: str) -> None:
        target = self.targets.get(id)
        if target and target.registered:
            target.becomes("draining", "Target.DeregistrationInProgress")
            self.engine.changed()
            self.engine.start(lambda: self.drain(target))

    def wait_until_drained(self, id: str) -> None:
        with self.engine.lock:
            target = self.targets.get(id)
            self.engine.until(lambda: target is None or target.drained)

    # Health.

    def check(self, target: Target) -> None:
        while not self.engine.over and target.registered:
            with self.engine.lock:
                used = self.used
                if not used:
                    target.becomes("unused", "Target.NotInUse")
            if used:
                good, reason, code = self.probe(target)
                with self.engine.lock:
                    if target.registered:
                        self.judge(target, good, reason, code)
            else:
                self.wait_for_use(target)
                continue
            self.engine.sleep(float(self.settings.health_check_interval_seconds) / self.engine.pace.schedule)

    def wait_for_use(self, target: Target) -> None:
        with self.engine.lock:
            self.engine.until(lambda: self.used or target.drained)
            if not target.drained:
                target.becomes("initial", "Elb.InitialHealthChecking")

    def probe(self, target: Target) -> tuple[bool, str, str]:
        """One health check: whether it was good, and if not, why."""
        timeout = float(self.settings.health_check_timeout_seconds)
        path = self.settings.health_check_path or "/"
        try:
            with wire.connected(target.address, target.port, self.engine.network.netns, timeout) as connection:
                head = f"GET {path} HTTP/1.1\r\nHost: {target.name}\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\r\n"
                connection.settimeout(timeout)
                connection.sendall(head.encode())
                line = connection.makefile("rb").readline()
        except TimeoutError:
            return False, "Target.Timeout", ""
        except OSError:
            return False, "Target.FailedHealthChecks", ""
        found = re.match(rb"HTTP/1\.[01] (\d{3})", line)
        if found is None:
            return False, "Target.FailedHealthChecks", ""
        code = found[1].decode()
        return self.matches(code), "Target.ResponseCodeMismatch", code

    def matches(self, code: str) -> bool:
        """`200`, `200,202`, `200-299`."""
        for part in self.settings.matcher["HttpCode"].split(","):
            first, _, last = part.partition("-")
            if int(first) <= int(code) <= int(last or first):
                return True
        return False

    def judge(self, target: Target, good: bool, reason: str, code: str) -> None:
        target.row = max(target.row, 0) + 1 if good else min(target.row, 0) - 1
        if good and (target.state == "healthy" or target.row >= int(self.settings.healthy_threshold_count)):
            target.becomes("healthy")
        elif not good and (target.state == "unhealthy" or -target.row >= int(self.settings.unhealthy_threshold_count)):
            target.becomes("unhealthy", reason, code)
        elif target.state == "initial":
            target.becomes("initial", "Elb.InitialHealthChecking")
        self.engine.changed()

    # The end.

    def drain(self, target: Target) -> None:
        balancer = self.engine.network.balancer
        begun = time.monotonic()
        balancer.push()
        while balancer.busy(target.name) and time.monotonic() < begun + self.delay and not self.engine.over:
            time.sleep(LOOK)
        balancer.cut(target.name)
        with self.engine.lock:
            target.drained = True
            self.engine.changed()
            self.engine.until(lambda: False, begun + self.delay - time.monotonic())
            if self.targets.get(target.id) is target:
                target.becomes("unused", "Target.NotRegistered")
                del self.targets[target.id]
            self.engine.changed()

    # What others see.

    def routable(self) -> list[str]:
        """Who gets requests. "If a target group contains only unhealthy registered targets, the load balancer routes
        requests to all those targets, regardless of their health status": fail-open."""
        registered = [target for target in self.targets.values() if target.registered]
        healthy = [target for target in registered if target.state == "healthy"]
        unhealthy = [target for target in registered if target.state == "unhealthy"]
        return [target.name for target in healthy or unhealthy]

    def describe(self, asked: list[dict]) -> list[dict]:
        """DescribeTargetHealth: all, or those that are asked for, registered or not."""
        if not asked:
            return [target.describe() for target in self.targets.values()]
        return [self.described(one["Id"], int(one.get("Port") or self.settings.port)) for one in asked]

    def described(self, id: str, port: int) -> dict:
        if id in self.targets:
            return self.targets[id].describe()
        target = Target(id, "", port)
        target.becomes("unused", "Target.NotRegistered")
        return target.describe()


def targets_of(engine, arn: str) -> Targets:
    """Those of one of moto's target groups."""
    if arn not in engine.elb.target_groups:
        raise KeyError(arn)
    if arn not in engine.target_groups:
        engine.target_groups[arn] = Targets(engine, engine.elb.target_groups[arn])
    return engine.target_groups[arn]
