"""A stack: its state, its events, and what a client may ask of it.

Statuses: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html>. What it does is in
`operations`.

Rollback triggers: <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_RollbackConfiguration.html>:
alarms are watched during a creation or an update, and for MonitoringTimeInMinutes "after the stack creation or update
operation deploys all necessary resources", before old resources are removed. If one goes into ALARM, or is not there, "the
entire stack operation" is rolled back. They stay those of the stack until an update says others. That one counts which is
in ALARM already, and the words of the event, are not documented; composite alarms are not here.
"""

import uuid

from moto.cloudwatch.models import cloudwatch_backends
from moto.ssm import ssm_backends

from harness.aws.proxy import ACCOUNT, REGION

from ..engine import now
from .events import Event
from .resources import Resource, new_stack_id
from .signals import Breached, Cancelled, Waiting, seconds
from .template import Parameters, Template, load

STACK = "AWS::CloudFormation::Stack"


class Stack:
    def __init__(self, engine, name: str):
        self.engine, self.name, self.id = engine, name, new_stack_id(name)
        self.created, self.updated, self.deleted = now(), None, None
        self.status, self.reason, self.token = "REVIEW_IN_PROGRESS", "", ""
        self.resources: dict[str, Resource] = {}
        self.events: list[Event] = []
        self.waiting: dict[str, Waiting] = {}
        self.outputs: list[dict] = []
        self.tags: dict[str, str] = {}
        self.given: dict[str, str] = {}
        self.text, self.template = "", None
        self.role, self.protected, self.policy, self.disables_rollback = None, False, "", False
        self.notified: list[str] = []
        self.cancelled = False
        # Of the rollback configuration: ARNs of alarms, and minutes. They are not watched on the way back.
        self.triggers: list[str] = []
        self.monitored, self.watches = 0, False
        # ID and type of what it does.
        self.operation = ("", "")
        # Of an update that is rolled back: the resources of before, and groups that took the place of others.
        self.former: dict[str, Resource] = {}
        self.replacements: list[Resource] = []
        self.change_sets: dict[str, dict] = {}
        engine.stacks.append(self)

    # Templates.

    def evaluate(self, text: str, given: dict[str, str]) -> Template:
        """A template as it would be here and now; ValueError says what is wrong with it."""
        content = load(text)
        if not isinstance(content, dict) or not content.get("Resources"):
            raise ValueError("Template format error: At least one Resources member must be defined.")
        parameters = Parameters(content.get("Parameters", {}), given, self.of_ssm)
        return Template(content, parameters, self.pseudo(), self.exported)

    def pseudo(self) -> dict:
        return {
            "AWS::StackName": self.name,
            "AWS::StackId": self.id,
            "AWS::Region": self.id.split(":")[3],
            "AWS::AccountId": self.id.split(":")[4],
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NotificationARNs": self.notified,
        }

    def of_ssm(self, name: str) -> str:
        found = ssm_backends[ACCOUNT][REGION].get_parameters([name])
        if name not in found:
            raise ValueError(f"Unable to fetch parameters [{name}] from parameter store for this account.")
        return found[name].value

    def exported(self, name: str) -> str:
        for stack in self.engine.stacks:
            for output in stack.outputs:
                if output.get("ExportName") == name:
                    return output["OutputValue"]
        raise ValueError(f"No export named {name} found.")

    def own_tags(self, logical: str) -> dict[str, str]:
        """<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-resource-tags.html>"""
        names = {"stack-name": self.name, "stack-id": self.id, "logical-id": logical}
        return {f"aws:cloudformation:{name}": value for name, value in names.items()}

    # What it tells.

    def tell(self, resource: Resource | None, status: str, reason: str = "") -> None:
        """An event of a resource, or of the stack itself."""
        if resource is None:
            self.status, self.reason = status, reason
            about = (self.name, self.id, STACK)
        else:
            resource.status = status
            about = (resource.logical, resource.physical, resource.type)
        self.events.append(Event(self, *about, status, reason, self.token, operation=self.operation))
        self.engine.changed()

    def begin(self, kind: str, status: str) -> None:
        """An operation of this type begins."""
        self.operation = str(uuid.uuid4()), kind
        self.cancelled, self.watches = False, kind in ("CREATE_STACK", "UPDATE_STACK")
        self.tell(None, status, "User Initiated")

    def describe(self) -> dict:
        said = {
            "StackId": self.id,
            "StackName": self.name,
            "Description": self.template.content.get("Description") if self.template else None,
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in self.shown().items()],
            "CreationTime": self.created,
            "LastUpdatedTime": self.updated,
            "DeletionTime": self.deleted,
            "StackStatus": self.status,
            "StackStatusReason": self.reason,
            "DisableRollback": self.disables_rollback,
            "NotificationARNs": self.notified,
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Outputs": self.outputs,
            "RoleARN": self.role,
            "RollbackConfiguration": self.rollback_configuration(),
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
            "EnableTerminationProtection": self.protected,
        }
        return {key: value for key, value in said.items() if value not in (None, "", {})}

    def rollback_configuration(self) -> dict:
        triggers = [{"Arn": arn, "Type": "AWS::CloudWatch::Alarm"} for arn in self.triggers]
        return {"RollbackTriggers": triggers, "MonitoringTimeInMinutes": self.monitored} if triggers or self.monitored else {}

    def shown(self) -> dict[str, str]:
        return self.template.parameters.texts if self.template else {}

    def describe_resource(self, resource: Resource) -> dict:
        return {
            "StackId": self.id,
            "StackName": self.name,
            "LogicalResourceId": resource.logical,
            "PhysicalResourceId": resource.physical,
            "ResourceType": resource.type,
            "ResourceStatus": resource.status,
            "Timestamp": self.updated or self.created,
            "LastUpdatedTimestamp": self.updated or self.created,
        }

    @property
    def settled(self) -> bool:
        return not self.status.endswith("_IN_PROGRESS")

    # What it is asked.

    def signal(self, logical: str, id: str, status: str) -> None:
        """The wordings are those that users have posted."""
        resource = self.resources.get(logical)
        if resource is None:
            raise ValueError(f"Resource {logical} does not exist for stack {self.name}")
        if self.settled:
            raise ValueError(f"Stack {self.id} is in {self.status} state and cannot be signaled")
        if logical not in self.waiting:
            raise ValueError(f"Resource {logical} is in {resource.status} state and cannot be signaled")
        self.waiting[logical].take(id, status)

    def cancel(self) -> None:
        """ "You can cancel only stacks that are in the UPDATE_IN_PROGRESS state."
        <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CancelUpdateStack.html>"""
        if self.status != "UPDATE_IN_PROGRESS":
            raise ValueError("CancelUpdateStack cannot be called from current stack status")
        self.cancelled = True
        self.engine.changed()

    # What ends an operation before it is done.

    @property
    def interrupted(self) -> bool:
        return self.cancelled or bool(self.breached())

    def check(self) -> None:
        if self.cancelled:
            raise Cancelled
        if breached := self.breached():
            raise Breached(", ".join(breached))

    def breached(self) -> list[str]:
        """The rollback triggers that are in ALARM, or not there."""
        alarms = cloudwatch_backends[ACCOUNT][REGION].alarms
        states = {arn: alarms.get(arn.rpartition(":alarm:")[2]) for arn in self.triggers if self.watches}
        return [arn for arn, alarm in states.items() if alarm is None or alarm.state_value == "ALARM"]

    def pause(self, duration: str) -> None:
        self.engine.until(lambda: self.interrupted, seconds(duration) / self.engine.pace.patience)
        self.check()

    def monitor(self) -> None:
        """Watches for the monitoring time, once everything is deployed."""
        self.engine.until(lambda: self.interrupted, 60 * self.monitored / self.engine.pace.schedule)
        self.check()
