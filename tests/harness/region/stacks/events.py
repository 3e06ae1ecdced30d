"""The events of a stack, in CloudFormation's words.

Texts of stacks:
<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-monitor-stack.html>,
<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html>. Of rolling updates, from logs of
users:
<https://github.com/guardian/testing-asg-rolling-update>, <https://github.com/awslabs/amazon-eks-ami/issues/66>,
<https://github.com/buildkite/elastic-ci-stack-for-aws/issues/130>, <https://github.com/guardian/security-hq/pull/1261>.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from ..engine import now

ROLLING = (
    "Rolling update initiated. Terminating {obsolete} obsolete instance(s) in batches of {batch}, while keeping at least "
    "{least} instance(s) in service."
)
ROLLING_WAITS = (
    " Waiting on resource signals with a timeout of {pause} when new instances are added to the autoscaling group."
)
LARGER = "Temporarily setting autoscaling group MinSize and DesiredCapacity to {size}."
ADDED = "New instance(s) added to autoscaling group - Waiting on {count} resource signal(s) with a timeout of {pause}."
TERMINATING = "Terminating instance(s) [{ids}]; replacing with {count} new instance(s)."
TERMINATED = "Successfully terminated instance(s) [{ids}] (Progress {percent}%)."
SIGNALLED = "Received {status} signal with UniqueId {id}"
NOT_RECEIVED = "Failed to receive {count} resource signal(s) for the current batch.  Each resource signal timeout is counted as a FAILURE."
NOT_SATISFIED = "Received {count} {status} signal(s) out of {total}.  Unable to satisfy {percent}% MinSuccessfulInstancesPercent requirement"
TOO_FEW = "MinInstancesInService must be less than the autoscaling group's MaxSize"
INITIATED = "Resource creation Initiated"
REPLACED = "Requested update requires the creation of a new physical resource; hence creating one."
CANCELLED_CREATION = "Resource creation cancelled"
CANCELLED_UPDATE = "Resource update cancelled"
# Not documented.
BREACHED = "Rollback triggers breached: [{arns}]"


@dataclass
class Event:
    stack: object
    logical: str
    physical: str
    type: str
    status: str
    reason: str
    token: str
    at: datetime = field(default_factory=now)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    operation: tuple[str, str] = ("", "")

    def of_operation(self) -> dict:
        """As DescribeEvents has it.

        <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_OperationEvent.html>
        """
        said = {key: one for key, one in self.describe().items() if key != "StackName"}
        kind = (
            "STACK_EVENT"
            if self.logical == self.stack.name
            else "PROVISIONING_ERROR"
            if self.failed
            else "PROGRESS_EVENT"
        )
        return said | {"OperationId": self.operation[0], "OperationType": self.operation[1], "EventType": kind}

    @property
    def failed(self) -> bool:
        return self.status.endswith("_FAILED")

    def describe(self) -> dict:
        said = {
            "StackId": self.stack.id,
            "StackName": self.stack.name,
            "EventId": self.id,
            "LogicalResourceId": self.logical,
            "PhysicalResourceId": self.physical,
            "ResourceType": self.type,
            "Timestamp": self.at,
            "ResourceStatus": self.status,
            "ResourceStatusReason": self.reason,
            "ClientRequestToken": self.token,
        }
        return {key: value for key, value in said.items() if value}
