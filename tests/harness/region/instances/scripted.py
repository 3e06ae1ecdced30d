"""Instances whose boot is scripted: a process that serves, and a thread that tells AWS what ingot would tell it.

    Region(scripted(lambda spec: Outcome("abandons") if b"bad" in spec.user_data else Outcome()))

For tests of the engine's rules, in seconds. What it tells, and in which order, is what docs/guides/signals.md says of
ingot.
"""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError, HTTPClientError

from harness.host.systemd import Done

from .launched import LaunchFailed, Spec

PROGRAM = Path(__file__).with_name("scripted_app.py")


@dataclass(frozen=True)
class Outcome:
    """How a boot ends: `good`, `abandons` (ABANDON and FAILURE), `sick` (its health checks fail), `silent` (nobody is
    told anything), `dies`, `not launched`. `boot` is in seconds; a good one may get `sick_after` seconds after its
    start."""

    kind: str = "good"
    boot: float = 0.1
    sick_after: float | None = None
    # How long it takes to leave.
    leave: float = 0


def succeeds(instance: "Scripted", command: tuple[str, ...]) -> Done:
    return Done(0, "", "")


def scripted(outcome: Callable[[Spec], Outcome] = lambda spec: Outcome(), port: int = 8080, runs: Callable = succeeds):
    """What `Region` launches: instances that serve at `port`. `runs` is how a command ends: nothing is run, as that
    would be on this machine."""

    def launch(region, spec: Spec) -> "Scripted":
        chosen = outcome(spec)
        if chosen.kind == "not launched":
            raise LaunchFailed(
                "We currently do not have sufficient capacity in the Availability Zone you requested (eu-central-1a)"
            )
        return Scripted(region, spec, chosen, port, runs)

    return launch


def release_of(spec: Spec) -> str:
    """What `values.release` in its user data says."""
    found = re.search(rb'release: "?([\w.-]+)', spec.user_data)
    return found[1].decode() if found else "0"


class Scripted:
    def __init__(self, region, spec: Spec, outcome: Outcome, port: int = 8080, runs: Callable = succeeds):
        self.region, self.spec, self.outcome, self.runs = region, spec, outcome, runs
        self.id, self.address, self.port = spec.id, spec.address, port
        self.ended = threading.Event()
        self.process: subprocess.Popen | None = None
        self.ran: list[tuple[str, ...]] = []
        self.target_lifecycle_state = ""
        self.leaving = threading.Event()
        region.engine.start(self.boot)

    # What ingot does.

    def boot(self) -> None:
        self.ended.wait(self.outcome.boot)
        if self.ended.is_set() or self.outcome.kind == "silent":
            return
        if self.outcome.kind == "dies":
            return self.kill()
        if self.outcome.kind == "abandons":
            self.signal("FAILURE")
            self.complete("ABANDON", "LAUNCHING")
            return
        self.serve()
        self.complete("CONTINUE", "LAUNCHING")
        if self.wait_until_healthy():
            self.signal("SUCCESS")
        self.wait_to_leave()

    def serve(self) -> None:
        sick = 0 if self.outcome.kind == "sick" else self.outcome.sick_after
        words = [self.address, str(self.port), release_of(self.spec), "" if sick is None else str(sick)]
        self.process = subprocess.Popen(
            [sys.executable, "-S", str(PROGRAM), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.process.stdout.readline()
        if self.ended.is_set():
            self.end_process()

    def wait_until_healthy(self) -> bool:
        """`targets:` of a signal: every target group sees this instance as healthy."""
        group = self.region.group_of(self.id)
        while not self.ended.wait(0.1):
            if group and all(self.is_healthy(arn) for arn in group.target_groups):
                return True
        return False

    def is_healthy(self, arn: str) -> bool:
        try:
            found = self.region.client("elbv2").describe_target_health(TargetGroupArn=arn, Targets=[{"Id": self.id}])
        except HTTPClientError:
            return False
        return found["TargetHealthDescriptions"][0]["TargetHealth"]["State"] == "healthy"

    def wait_to_leave(self) -> None:
        while not self.leaving.wait(0.1):
            if self.ended.is_set():
                return
        self.ended.wait(self.outcome.leave)
        self.complete("CONTINUE", "TERMINATING")

    def signal(self, status: str) -> None:
        tags = self.spec.tags
        if "aws:cloudformation:stack-name" not in tags:
            return
        stack = {
            "StackName": tags["aws:cloudformation:stack-name"],
            "LogicalResourceId": tags["aws:cloudformation:logical-id"],
        }
        # One that nobody waits for is only noted.
        self.call("cloudformation", "signal_resource", **stack, UniqueId=self.id, Status=status)

    def complete(self, result: str, transition: str) -> None:
        group = self.region.group_of(self.id)
        hooks = [hook.name for hook in group.hooks.values() if hook.transition.endswith(transition)] if group else []
        for hook in hooks:
            names = {"AutoScalingGroupName": group.name, "LifecycleHookName": hook}
            while not self.ended.is_set():
                done = self.call(
                    "autoscaling",
                    "complete_lifecycle_action",
                    **names,
                    InstanceId=self.id,
                    LifecycleActionResult=result,
                )
                if done or transition == "LAUNCHING":
                    break
                self.ended.wait(0.1)

    def call(self, service: str, name: str, **given) -> bool:
        """Whether AWS took it. A call without an answer is made again."""
        while not self.ended.is_set():
            try:
                getattr(self.region.client(service), name)(**given)
                return True
            except HTTPClientError:
                continue
            except ClientError as error:
                if error.response["Error"]["Code"] != "ValidationError":
                    raise
                return False
        return False

    # What the region asks.

    def alive(self) -> bool:
        return not self.ended.is_set()

    def lifecycle(self, state: str) -> None:
        self.target_lifecycle_state = state
        if state == "Terminated":
            self.leaving.set()

    def terminate(self) -> None:
        self.kill()

    def kill(self) -> None:
        self.ended.set()
        self.end_process()

    def end_process(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()

    def ready(self, timeout: float = 30) -> None:
        end = time.monotonic() + timeout
        while self.process is None and time.monotonic() < end:
            time.sleep(0.02)

    def run_command(self, *command: str, timeout: float = 30) -> Done:
        """What was asked for is written down."""
        self.ran.append(command)
        return self.runs(self, command)
