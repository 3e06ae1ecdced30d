"""What waits for an instance, and moto does not know: stacks that are signalled, and lifecycle actions.

Stacks, groups and hooks are moto's; here is only what becomes of a signal. From the API References of CloudFormation
(SignalResource) and of Auto Scaling (CompleteLifecycleAction, RecordLifecycleActionHeartbeat, SetInstanceHealth, which is
only written down), with the wordings that users have posted:

    SignalResource      ValidationError for a stack or resource that is not there, and for one that is complete
    a wait condition    its URL is one of S3, signed for a request without a Content-Type: any other is refused
    the two of actions  ValidationError where no action waits: never begun, completed, or out of time. A hook waits for
                        its heartbeat timeout from its beginning or its last heartbeat, and then abandons
"""

import json
import time

from moto.autoscaling.models import autoscaling_backends
from moto.cloudformation.models import cloudformation_backends

from harness import wire


class Signals:
    def __init__(self, account: str, region: str):
        self.place = account, region
        self.forget()

    def forget(self) -> None:
        self.received: list[dict] = []
        self.waited: list[dict] = []
        self.unhealthy: list[dict] = []
        self.complete: set[str] = set()
        self.actions: dict[tuple[str, str, str], dict] = {}

    def make(self, kind: str, wanted: dict) -> str:
        match kind:
            case "lifecycle-action":
                key = (wanted["group"], wanted["hook"], wanted["instance"])
                self.actions[key] = {"result": None, "beats": [time.monotonic()]}
            case "complete-stack":
                self.complete.add(wanted["stack"])
        return ""

    def state(self) -> dict:
        actions = [
            {"group": group, "hook": hook, "instance": instance, "result": self.result(key), "beats": len(action["beats"]) - 1}
            for key, action in self.actions.items()
            for group, hook, instance in [key]
        ]
        return {"signals": self.received, "waited": self.waited, "actions": actions, "unhealthy": self.unhealthy}

    def answer(self, form: dict[str, str]) -> str | tuple[str, str]:
        """The answer's inner XML, or an error: its code and message."""
        try:
            match form["Action"]:
                case "SignalResource":
                    self.signal(form)
                case "CompleteLifecycleAction":
                    self.action(form)["result"] = form["LifecycleActionResult"]
                case "SetInstanceHealth":
                    self.unhealthy.append({name: form[name] for name in ("InstanceId", "HealthStatus", "ShouldRespectGracePeriod")})
                case "RecordLifecycleActionHeartbeat":
                    self.action(form)["beats"].append(time.monotonic())
        except ValueError as error:
            return "ValidationError", str(error)
        return f"<{form['Action']}Result/>"

    def signal(self, form: dict[str, str]) -> None:
        account, region = self.place
        name, resource = form["StackName"], form["LogicalResourceId"]
        stacks = cloudformation_backends[account][region].stacks.values()
        stack = next((stack for stack in stacks if name in (stack.name, stack.stack_id)), None)
        if stack is None:
            raise ValueError(f"Stack {name} does not exist")
        if resource not in stack.template_dict["Resources"]:
            raise ValueError(f"Resource {resource} does not exist for stack {name}")
        if name in self.complete:
            raise ValueError(f"Stack {stack.stack_id} is in CREATE_COMPLETE state and cannot be signaled")
        self.received.append({name: form[name] for name in ("StackName", "LogicalResourceId", "UniqueId", "Status")})

    def wait(self, request: wire.Request) -> wire.Response:
        if "content-type" in request.headers or "authorization" in request.headers:
            return wire.Response(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>", {}, "application/xml")
        self.waited.append(json.loads(request.body))
        return wire.Response()

    def action(self, form: dict[str, str]) -> dict:
        """The action that waits."""
        key = (form["AutoScalingGroupName"], form["LifecycleHookName"], form["InstanceId"])
        self.hook(*key[:2])
        if key not in self.actions or self.result(key):
            raise ValueError(f"No active Lifecycle Action found with instance ID {key[2]}")
        return self.actions[key]

    def result(self, key: tuple[str, str, str]) -> str | None:
        action = self.actions[key]
        timeout = int(self.hook(*key[:2]).heartbeat_timeout)
        if not action["result"] and time.monotonic() > action["beats"][-1] + timeout:
            action["result"] = "ABANDON, out of time"
        return action["result"]

    def hook(self, group: str, name: str):
        account, region = self.place
        backend = autoscaling_backends[account][region]
        if group not in backend.autoscaling_groups:
            raise ValueError(f"AutoScalingGroup name not found - {group}")
        hooks = backend.describe_lifecycle_hooks(group, [name])
        if not hooks:
            raise ValueError(f"Lifecycle hook {name} not found for AutoScalingGroup {group}")
        return hooks[0]
