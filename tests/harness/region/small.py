"""The smallest environment that has everything: balancer, target group, launch template, group. For tests of the
region.

shop = Shop(region)
shop.create(Release="v1")
shop.update(Release="v2")
"""

import json

from .delays import Pace
from .instances.scripted import Outcome, release_of, scripted
from .region import Region

# Health checks every 0.1 s; a PauseTime or a heartbeat timeout of 5 minutes is over after 10 s.
FAST = Pace(schedule=50, patience=30)
# The same is over after 3 s.
IMPATIENT = Pace(schedule=50, patience=100)

ROLLING = {
    "MinInstancesInService": 1,
    "MaxBatchSize": 1,
    "WaitOnResourceSignals": True,
    "PauseTime": "PT5M",
    "MinSuccessfulInstancesPercent": 100,
    "SuspendProcesses": [
        "HealthCheck",
        "ReplaceUnhealthy",
        "AZRebalance",
        "AlarmNotification",
        "ScheduledActions",
        "InstanceRefresh",
    ],
}
REPLACING = {"AutoScalingReplacingUpdate": {"WillReplace": True}}

TARGETS = {
    "Port": 8080,
    "Protocol": "HTTP",
    "VpcId": {"Ref": "Vpc"},
    "HealthCheckPath": "/health",
    "HealthCheckIntervalSeconds": 5,
    "HealthCheckTimeoutSeconds": 2,
    "HealthyThresholdCount": 2,
    "UnhealthyThresholdCount": 2,
    "TargetGroupAttributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "20"}],
}


def template(policy: dict, creation: bool, group: dict) -> dict:
    user_data = {"Fn::Base64": {"Fn::Sub": '#ingot\nversion: 1\nvalues:\n  release: "${Release}"\n'}}
    version = {"LaunchTemplateId": {"Ref": "Launch"}, "Version": {"Fn::GetAtt": ["Launch", "LatestVersionNumber"]}}
    hooks = [
        {
            "LifecycleHookName": "ready",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
            "HeartbeatTimeout": 300,
        },
        {
            "LifecycleHookName": "leaving",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
            "HeartbeatTimeout": 120,
            "DefaultResult": "CONTINUE",
        },
    ]
    whole = {
        "VPCZoneIdentifier": {"Ref": "Subnets"},
        "MinSize": 1,
        "MaxSize": 4,
        "DesiredCapacity": {"Ref": "Capacity"},
        "LaunchTemplate": version,
        "TargetGroupARNs": [{"Ref": "Targets"}],
        "HealthCheckType": "ELB",
        "HealthCheckGracePeriod": 60,
        "LifecycleHookSpecificationList": hooks,
        **group,
    }
    made = {
        "Type": "AWS::AutoScaling::AutoScalingGroup",
        "DependsOn": "Http",
        "UpdatePolicy": policy,
        "Properties": whole,
    }
    if creation:
        made["CreationPolicy"] = {"ResourceSignal": {"Count": {"Ref": "Capacity"}, "Timeout": "PT5M"}}
    forward = [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}]
    listener = {"LoadBalancerArn": {"Ref": "Balancer"}, "Port": 8080, "Protocol": "HTTP", "DefaultActions": forward}
    return {
        "Parameters": {
            "Release": {"Type": "String"},
            "Capacity": {"Type": "Number", "Default": 2},
            "Vpc": {"Type": "AWS::EC2::VPC::Id"},
            "Subnets": {"Type": "List<AWS::EC2::Subnet::Id>"},
        },
        "Resources": {
            "Balancer": {
                "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
                "Properties": {"Subnets": {"Ref": "Subnets"}},
            },
            "Targets": {"Type": "AWS::ElasticLoadBalancingV2::TargetGroup", "Properties": TARGETS},
            "Http": {"Type": "AWS::ElasticLoadBalancingV2::Listener", "Properties": listener},
            "Launch": {
                "Type": "AWS::EC2::LaunchTemplate",
                "Properties": {
                    "LaunchTemplateData": {
                        "ImageId": "ami-12c6146b",
                        "InstanceType": "m7g.large",
                        "UserData": user_data,
                    }
                },
            },
            "Group": made,
        },
        "Outputs": {"Group": {"Value": {"Ref": "Group"}}, "Targets": {"Value": {"Ref": "Targets"}}},
    }


def boots(port: int = 8080, **kinds: str | Outcome):
    """Instances that boot by their release: `boots(bad="abandons")`. What is not named boots well."""
    outcomes = {release: Outcome(kind) if isinstance(kind, str) else kind for release, kind in kinds.items()}
    return scripted(lambda spec: outcomes.get(release_of(spec), Outcome()), port)


def releases(region: Region) -> list[str]:
    """What the instances in service run."""
    with region.engine.lock:
        return sorted(release_of(instance.spec) for instance in region.instances())


def fast(pace: Pace = FAST, delays=None, **kinds: str | Outcome) -> Region:
    """A region of such instances, of which everything comes fast."""
    return Region(boots(**kinds), pace=pace, delays=delays)


class Shop:
    """A stack `shop` in a region."""

    def __init__(
        self, region, *, rolling: dict | None = None, policy: dict | None = None, creation: bool = True, **group
    ):
        """`rolling` changes the rolling update's settings, `policy` takes the place of the whole; `group` adds
        properties."""
        chosen = policy or {"AutoScalingRollingUpdate": {**ROLLING, **(rolling or {})}}
        self.region, self.template = region, template(chosen, creation, group)
        self.cloudformation = region.client("cloudformation")
        subnets = region.client("ec2").describe_subnets()["Subnets"][:2]
        self.network = {"Vpc": subnets[0]["VpcId"], "Subnets": ",".join(one["SubnetId"] for one in subnets)}
        self.given: dict[str, str] = {}

    def call(self, given: dict[str, str]) -> dict:
        self.given |= given
        parameters = {**self.network, **self.given}
        pairs = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        return {"StackName": "shop", "TemplateBody": json.dumps(self.template), "Parameters": pairs}

    def create(self, wait: bool = True, more: dict | None = None, **given: str) -> str:
        self.cloudformation.create_stack(**self.call(given), **(more or {}))
        return self.region.settled("shop") if wait else ""

    def update(self, wait: bool = True, **given: str) -> str:
        self.cloudformation.update_stack(**self.call(given))
        return self.region.settled("shop") if wait else ""

    def reasons(self, logical: str = "Group") -> list[str]:
        """What events say of a resource, in order."""
        events = (
            self.cloudformation.get_paginator("describe_stack_events").paginate(StackName="shop").build_full_result()
        )
        found = [
            one.get("ResourceStatusReason", "")
            for one in reversed(events["StackEvents"])
            if one["LogicalResourceId"] == logical
        ]
        return [reason for reason in found if reason]

    def statuses(self) -> list[str]:
        """The statuses that the stack had, in order."""
        return [event.status for event in self.region.stack("shop").events if event.logical == "shop"]

    def health(self) -> list[str]:
        arn = self.output("Targets")
        found = self.region.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return sorted(one["TargetHealth"]["State"] for one in found)

    def output(self, name: str) -> str:
        outputs = self.cloudformation.describe_stacks(StackName="shop")["Stacks"][0]["Outputs"]
        return next(one["OutputValue"] for one in outputs if one["OutputKey"] == name)

    def releases(self) -> list[str]:
        return releases(self.region)
