"""Run Command of Systems Manager: commands run in the instances.

<https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command.html>; statuses
<https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html>; the first 24,000 characters of
stdout and 8,000 of stderr are returned:
<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html>. Documents are moto's:
of their steps `aws:runShellScript` is carried out, with `{{ parameter }}` filled in after AllowedPattern has been
checked.
"""

import json
import re
import uuid

import yaml
from moto.ssm import ssm_backends

from harness.aws.proxy import ACCOUNT, REGION
from harness.host.systemd import NotInTime

from .engine import now

SHELL = "AWS-RunShellScript"
MOST_OUTPUT, MOST_ERRORS = 24_000, 8_000
REFERENCE = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")


class Invocation:
    """A command on one instance."""

    def __init__(self, command: "Command", instance: str):
        self.command, self.instance = command, instance
        self.status, self.details, self.code = "Pending", "Pending", -1
        self.output = self.errors = ""
        self.begun = now()

    def run(self) -> None:
        engine = self.command.engine
        with engine.lock:
            target = engine.instances.get(self.instance)
            self.goes("InProgress")
        if target is None or not target.alive():
            # Nobody answers: the command stays undelivered until its time is over.
            engine.sleep(self.command.timeout / engine.pace.patience)
            with engine.lock:
                return self.goes("TimedOut", "Delivery Timed Out")
        try:
            done = target.run_command("sh", "-c", self.command.script, timeout=self.command.execution_timeout)
        except (NotInTime, TimeoutError):
            with engine.lock:
                return self.goes("TimedOut", "Execution Timed Out")
        with engine.lock:
            self.output, self.errors, self.code = done.stdout[:MOST_OUTPUT], done.stderr[:MOST_ERRORS], done.code
            return self.goes("Success" if done.code == 0 else "Failed")

    def goes(self, status: str, details: str | None = None) -> None:
        self.status, self.details = status, details or status
        self.command.engine.changed()

    @property
    def ended(self) -> bool:
        return self.status not in ("Pending", "InProgress")

    def describe(self) -> dict:
        """Of ListCommandInvocations."""
        return {
            "CommandId": self.command.id,
            "InstanceId": self.instance,
            "DocumentName": self.command.document,
            "Comment": self.command.comment,
            "RequestedDateTime": self.begun,
            "Status": self.status,
            "StatusDetails": self.details,
            "CommandPlugins": [
                {
                    "Name": "aws:runShellScript",
                    "Status": self.status,
                    "ResponseCode": self.code,
                    "Output": self.output[:2500],
                }
            ],
        }

    def detail(self) -> dict:
        """Of GetCommandInvocation."""
        return {
            "CommandId": self.command.id,
            "InstanceId": self.instance,
            "DocumentName": self.command.document,
            "PluginName": "aws:runShellScript",
            "ResponseCode": self.code,
            "Status": self.status,
            "StatusDetails": self.details,
            "StandardOutputContent": self.output,
            "StandardErrorContent": self.errors,
        }


class Command:
    def __init__(self, engine, given: dict, instances: list[str]):
        self.engine, self.id = engine, str(uuid.uuid4())
        self.document, self.parameters = given["DocumentName"], given.get("Parameters", {})
        self.timeout = int(given.get("TimeoutSeconds", 3600))
        self.script = script(self.document, self.parameters)
        self.execution_timeout = int((self.parameters.get("executionTimeout") or ["3600"])[0])
        self.begun, self.comment, self.targets = now(), given.get("Comment", ""), given.get("Targets", [])
        self.invocations = [Invocation(self, instance) for instance in instances]
        engine.commands[self.id] = self
        for invocation in self.invocations:
            engine.start(invocation.run)

    def describe(self) -> dict:
        ended = [one for one in self.invocations if one.ended]
        failed = [one for one in ended if one.status != "Success"]
        over = len(ended) == len(self.invocations)
        status = "InProgress" if not over else failed[0].status if failed else "Success"
        return {
            "CommandId": self.id,
            "DocumentName": self.document,
            "Comment": self.comment,
            "Parameters": self.parameters,
            "InstanceIds": [one.instance for one in self.invocations],
            "Targets": self.targets,
            "RequestedDateTime": self.begun,
            "Status": status,
            "StatusDetails": status,
            "TargetCount": len(self.invocations),
            "CompletedCount": len(ended),
            "ErrorCount": len(failed),
        }


def script(document: str, parameters: dict[str, list[str]]) -> str:
    if document in (SHELL, f"arn:aws:ssm:{REGION}::document/{SHELL}"):
        return "\n".join(parameters["commands"])
    content = yaml.safe_load(ssm_backends[ACCOUNT][REGION].get_document(document, "$LATEST", None, "JSON")["Content"])
    given = checked(content.get("parameters", {}), parameters)
    lines: list[str] = []
    for step in content["mainSteps"]:
        if step["action"] == "aws:runShellScript":
            run = step["inputs"]["runCommand"]
            lines += run if isinstance(run, list) else [run]
    return REFERENCE.sub(lambda found: given.get(found[1], found[0]), "\n".join(lines))


def checked(declared: dict, parameters: dict[str, list[str]]) -> dict[str, str]:
    """The parameters as texts. ValueError names one that the document does not allow."""
    if unknown := parameters.keys() - declared.keys():
        raise ValueError(f"Parameters [{', '.join(sorted(unknown))}] are not defined in the document")
    found = {}
    for name, one in declared.items():
        if name not in parameters and "default" not in one:
            raise ValueError(f"Parameter {name} is missing")
        values = parameters.get(name, one.get("default"))
        values = values if isinstance(values, list) else [values]
        for value in values:
            if "allowedPattern" in one and not re.search(one["allowedPattern"], str(value)):
                raise ValueError(
                    f"Parameter {name} with value [{value}] does not match the allowed pattern {one['allowedPattern']}"
                )
            if "allowedValues" in one and value not in one["allowedValues"]:
                raise ValueError(
                    f"Parameter {name} with value [{value}] is not one of {json.dumps(one['allowedValues'])}"
                )
        found[name] = values[0] if one.get("type") == "String" else json.dumps(values)
    return found
