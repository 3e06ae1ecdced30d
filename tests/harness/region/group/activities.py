"""Scaling activities, in AWS's words.

Texts: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-verify-scaling-activity.html> (launches and their
causes),
<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html> (failed launches),
<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-healthchecks.html> (health checks),
<https://docs.aws.amazon.com/autoscaling/ec2/userguide/tutorial-lifecycle-hook-instance-metadata.html> (abandoned).
Those pages do not have the causes of a replacement, a user's health check and a refresh: these are from users' posts.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from ..engine import now, stamp

ABANDONED = (
    "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token {token} was abandoned: "
    "Lifecycle Action Completed with {result} Result"
)

# Why an instance was launched or taken out of service, after "At TIME ".
DIFFERENCE = (
    "an instance was started in response to a difference between desired and actual capacity, increasing the capacity from "
    "{before} to {after}."
)
REPLACED = "an instance was launched in response to an unhealthy instance needing to be replaced."
REFRESHED = "an instance was launched in response to an instance refresh."
TOO_MANY = (
    "an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the "
    "capacity from {before} to {after}."
)
ON_REQUEST = "an instance was taken out of service in response to a user request."
ON_REQUEST_SHRINKING = "an instance was taken out of service in response to a user request, shrinking the capacity from {before} to {after}."
OF_EC2 = "an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped."
OF_ELB = "an instance was taken out of service in response to an ELB system health check failure."
OF_USER = "an instance was taken out of service in response to a user health-check."
OF_REFRESH = "an instance was taken out of service in response to an instance refresh."


@dataclass
class Activity:
    group: str
    description: str
    cause: str
    status: str = "InProgress"
    message: str = ""
    progress: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    begun: datetime = field(default_factory=now)
    ended: datetime | None = None

    @classmethod
    def launching(cls, group: str, why: str) -> "Activity":
        """`why`: whole sentences."""
        return cls(group, "Launching a new EC2 instance", why, "PreInService")

    @classmethod
    def terminating(cls, group: str, instance: str, why: str) -> "Activity":
        return cls(
            group, f"Terminating EC2 instance: {instance}", why if why.startswith("At ") else f"At {stamp(now())} {why}"
        )

    def goes(self, status: str, progress: int) -> None:
        self.status, self.progress = status, progress

    def succeed(self) -> None:
        self.end("Successful")

    def fail(self, message: str) -> None:
        self.description += f".  Status Reason: {message}"
        self.message = message
        self.end("Failed")

    def cancel(self, message: str) -> None:
        self.fail(message)
        self.status = "Cancelled"

    def end(self, status: str) -> None:
        self.status, self.progress, self.ended = status, 100, now()

    def describe(self) -> dict:
        said = {
            "ActivityId": self.id,
            "AutoScalingGroupName": self.group,
            "Description": self.description,
            "Cause": self.cause,
            "StartTime": self.begun,
            "EndTime": self.ended,
            "StatusCode": self.status,
            "StatusMessage": self.message,
            "Progress": self.progress,
            "Details": "{}",
        }
        return {key: value for key, value in said.items() if value not in (None, "")}
