"""Stacks of the templates in fleet/templates, on a moto in this process.

moto's CloudFormation makes most of their resources. Of the types in `NOT_IN_MOTO` it keeps the properties, with every
function resolved, and makes nothing. It ignores creation and update policies, lifecycle hooks and metadata options:
what those amount to is held by the rules in `harness.templates`.
"""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import boto3
import pytest
from moto import mock_aws
from moto.cloudformation import parsing
from moto.elbv2.models import ELBv2Backend, FakeLoadBalancer, FakeTargetGroup
from moto.iam.models import IAMBackend
from moto.rds.models import DBInstance
from moto.sqs.models import Queue

from ..templates import TEMPLATES, template
from .proxy import REGION
from .unknown_to_moto import known

ACCOUNT = "123456789012"
RELEASE, DOCUMENT = "0" * 64, "1" * 64

MASTER_SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-0a1b-AbCdEf"

NOT_IN_MOTO = {
    "AWS::AutoScaling::ScalingPolicy",
    "AWS::AutoScaling::WarmPool",
    "AWS::CloudWatch::Alarm",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::ElastiCache::ReplicationGroup",
    "AWS::ElastiCache::SubnetGroup",
    "AWS::IAM::RolePolicy",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::Secret",
}

# What CloudFormation offers of a resource and moto does not.
ATTRIBUTES: dict[type, dict[str, Callable]] = {
    FakeTargetGroup: {"TargetGroupFullName": lambda group: group.arn.rpartition(":")[2]},
    FakeLoadBalancer: {
        "LoadBalancerFullName": lambda balancer: balancer.arn.partition(":loadbalancer/")[2],
        "CanonicalHostedZoneID": lambda balancer: "Z215JYRZR1TBD5",
    },
    DBInstance: {"MasterUserSecret.SecretArn": lambda database: MASTER_SECRET},
}


class Environments:
    """An account with a network, in which stacks are made."""

    def __init__(self, made: dict[str, dict]):
        self.made = made
        self.cloudformation = boto3.client("cloudformation")
        subnets = boto3.client("ec2").describe_subnets()["Subnets"][:2]
        self.network = {"Vpc": subnets[0]["VpcId"], "Subnets": ",".join(one["SubnetId"] for one in subnets)}

    def parameters(self, name: str, **given: str) -> dict[str, str]:
        """All of them, as CloudFormation has them: as texts."""
        usual = {
            "Application": "shop",
            "Environment": "prod",
            "Edge": "main",
            "Release": "v42",
            "ReleaseSha256": RELEASE,
            "Document": DOCUMENT,
            "Image": "ami-12c6146b",
            "ReleasesBucket": "shop-releases",
            "EvidenceBucket": "shop-evidence",
            "Vpc": self.network["Vpc"],
            "Subnets": self.network["Subnets"],
        }
        declared = template(name)["Parameters"]
        defaults = {key: str(one["Default"]) for key, one in declared.items() if "Default" in one}
        return defaults | {key: value for key, value in usual.items() if key in declared} | given

    def create(self, name: str, stack: str = "shop-prod", **given: str) -> None:
        self.cloudformation.create_stack(StackName=stack, **self.call(name, given))

    def update(self, name: str, stack: str = "shop-prod", **given: str) -> None:
        self.cloudformation.update_stack(StackName=stack, **self.call(name, given))

    def call(self, name: str, given: dict[str, str]) -> dict:
        parameters = self.parameters(name, **given)
        return {
            "TemplateBody": (TEMPLATES / f"{name}.yaml").read_text(),
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Tags": [{"Key": "ingot:application", "Value": "shop"}],
        }

    def delete(self, stack: str = "shop-prod") -> None:
        self.cloudformation.delete_stack(StackName=stack)

    def status(self, stack: str = "shop-prod") -> str:
        return self.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]

    def resources(self, stack: str = "shop-prod") -> dict[str, str]:
        """Physical names by logical ones. Of what has a condition that does not hold, moto has a row without names."""
        found = self.cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
        named = [one for one in found if "LogicalResourceId" in one]
        return {one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in named}

    def outputs(self, stack: str = "shop-prod") -> dict[str, str]:
        outputs = self.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
        return {one["OutputKey"]: one["OutputValue"] for one in outputs}

    def launches(self, stack: str = "shop-prod") -> dict:
        """The launch template's newest version."""
        (launch,) = boto3.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=self.resources(stack)["Launch"], Versions=["$Latest"]
        )["LaunchTemplateVersions"]
        return launch["LaunchTemplateData"]

    def user_data(self, stack: str = "shop-prod") -> str:
        return base64.b64decode(self.launches(stack)["UserData"]).decode()

    def group(self) -> dict:
        (group,) = boto3.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        return group


@contextmanager
def environments() -> Iterator[Environments]:
    with pytest.MonkeyPatch.context() as patch, mock_aws(), known(*NOT_IN_MOTO) as made:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        for model, attributes in ATTRIBUTES.items():
            offer(patch, model, attributes)
        keep_attributes_whole(patch)
        name_fifo_queues(patch)
        detach_policies(patch)
        keep_weights(patch)
        yield Environments(made)


def offer(patch: pytest.MonkeyPatch, model: type, attributes: dict[str, Callable]) -> None:
    former, offers = getattr(model, "get_cfn_attribute", None), getattr(model, "has_cfn_attr")

    def get_cfn_attribute(self, name: str):
        return attributes[name](self) if name in attributes else former(self, name)

    patch.setattr(model, "get_cfn_attribute", get_cfn_attribute, raising=False)
    patch.setattr(model, "has_cfn_attr", classmethod(lambda _, name: name in attributes or offers(name)))


def keep_attributes_whole(patch: pytest.MonkeyPatch) -> None:
    """moto takes `Database.Endpoint.Address` apart at each dot, and asks for the attribute `Endpoint`."""
    former = parsing.clean_json

    def clean_json(value, resources):
        if isinstance(value, dict) and len(value.get("Fn::GetAtt", [])) > 2:
            name, *attribute = value["Fn::GetAtt"]
            value = {"Fn::GetAtt": [name, ".".join(attribute)]}
        return former(value, resources)

    patch.setattr(parsing, "clean_json", clean_json)


def name_fifo_queues(patch: pytest.MonkeyPatch) -> None:
    """CloudFormation ends the names that it gives FIFO queues with `.fifo`; moto refuses its own."""
    former = Queue.create_from_cloudformation_json

    def create(resource_name: str, cloudformation_json: dict, *place, **rest):
        ending = ".fifo" if cloudformation_json["Properties"].get("FifoQueue") else ""
        return former(resource_name + ending, cloudformation_json, *place, **rest)

    patch.setattr(Queue, "create_from_cloudformation_json", create)


def keep_weights(patch: pytest.MonkeyPatch) -> None:
    """A listener of a template with weights fails in moto, which looks for `TargetGroupArn` alone."""

    def actions(self, properties: dict) -> list[dict]:
        return [dict(action) for action in properties["DefaultActions"]]

    patch.setattr(ELBv2Backend, "convert_and_validate_properties", actions)


def detach_policies(patch: pytest.MonkeyPatch) -> None:
    """CloudFormation deletes a managed policy before the role that it names, and detaches it; moto deletes none."""
    former = IAMBackend.delete_role

    def delete_role(self, role_name: str) -> None:
        self.get_role(role_name).managed_policies.clear()
        former(self, role_name)

    patch.setattr(IAMBackend, "delete_role", delete_role)
