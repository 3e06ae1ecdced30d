"""What listeners say, told to the balancer: moto's load balancers, listeners and rules become routes.

Actions are forward with weights and stickiness, redirect and fixed responses; conditions are host names, paths, headers and
addresses of clients; rules count in the order of their priority. Sources:
<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html>,
<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html>. A group with weight and
without targets answers 503. How long a cookie is valid is shortened by the region's pace, as a deregistration delay is. Not
here: TLS (a listener with HTTPS is not opened, but its targets are checked), stickiness by a cookie of the application, authentication.
"""

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

from ..engine import LOOK
from .targets import targets_of


class Balancer:
    """All load balancers of the region: one process, so that no request waits for moto."""

    def __init__(self, prefix: list[str]):
        """`prefix`: what has a program run where clients and instances are."""
        command = [*prefix, sys.executable, "-S", str(Path(__file__).with_name("balancer.py"))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.asking = threading.Lock()
        self.told: dict | None = None
        self.in_use: set[str] = set()
        self.engine = None

    def serve(self, engine) -> None:
        self.engine = engine
        engine.start(self.run)

    def run(self) -> None:
        while not self.engine.over:
            self.push()
            with self.engine.lock:
                self.engine.until(lambda: False, LOOK)

    def push(self) -> None:
        """Has the balancer route as things are now."""
        with self.engine.lock:
            routes = self.routes()
        with self.asking:
            if routes != self.told:
                self.ask_process({"routes": routes})
                self.told = routes

    def busy(self, target: str) -> int:
        """How many requests and WebSockets a target has."""
        return self.ask({"busy": target})

    def cut(self, target: str) -> None:
        """Closes what is open to a target."""
        self.ask({"cut": target})

    def counts(self) -> dict[str, dict[str, int]]:
        """By address, what CloudWatch counts of requests, since the beginning."""
        return self.ask({"counts": True}) or {}

    def ask(self, question: dict):
        with self.asking:
            return self.ask_process(question)

    def ask_process(self, question: dict):
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            if self.engine and self.engine.over:
                return 0
            raise

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        # What was not read any more is lost.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()

    # Routes.

    def routes(self) -> dict[str, list]:
        """By listening address: rules in their order, each its conditions and its action."""
        engine, found, used = self.engine, {}, set()
        for balancer in engine.elb.load_balancers.values():
            address = engine.network.balancer_address(balancer.arn)
            for listener in balancer.listeners.values():
                rules = [self.rule(rule, used) for rule in sorted(listener.rules.values(), key=priority)]
                if listener.protocol == "HTTP":
                    found[f"{address}:{listener.port}"] = rules
        self.in_use = used
        return found

    def rule(self, rule, used: set[str]) -> dict:
        actions = [getattr(action, "data", action) for action in rule.actions]
        conditions = [condition for condition in (rule.conditions or [])]
        return {"if": conditions, "then": self.action(actions[-1] if actions else {}, used)}

    def action(self, action: dict, used: set[str]) -> dict:
        if action.get("Type") != "forward":
            return {key: action[key] for key in ("RedirectConfig", "FixedResponseConfig") if key in action}
        groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or [
            {"TargetGroupArn": action.get("TargetGroupArn")}
        ]
        forward = []
        for group in groups:
            arn, weight = group["TargetGroupArn"], int(group.get("Weight", 1))
            if arn in self.engine.elb.target_groups:
                used.add(arn)
                targets = targets_of(self.engine, arn)
                one = {"group": arn, "weight": weight, "targets": targets.routable(), "sticky": targets.stickiness}
                forward.append(one)
        sticky = (action.get("ForwardConfig") or {}).get("TargetGroupStickinessConfig") or {}
        enabled = str(sticky.get("Enabled")).lower() == "true"
        seconds = float(sticky["DurationSeconds"]) / self.engine.pace.patience if enabled else None
        return {"forward": forward, "sticky": seconds}


def priority(rule) -> float:
    """The default rule comes last."""
    return float("inf") if rule.is_default else float(rule.priority)
