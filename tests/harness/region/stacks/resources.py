"""The resources of a stack: made, changed and removed by moto's models; groups by ours.

A type that moto does not know only keeps its properties. Which change replaces a resource is moto's to say, but for
groups.
"""

import copy
import uuid
from collections.abc import Callable

from moto.cloudformation import parsing
from moto.ec2.models.core import TaggedEC2Resource
from moto.elbv2.models import FakeLoadBalancer, FakeTargetGroup

from harness.aws.proxy import ACCOUNT, REGION

from ..group import Group
from .alarms import ALARM, StackAlarm
from .data import DATABASE, SECRET, StackDatabase, StackSecret

GROUP = "AWS::AutoScaling::AutoScalingGroup"
HANDLE = "AWS::CloudFormation::WaitConditionHandle"

# What CloudFormation offers of a resource and moto does not.
ATTRIBUTES: dict[type, dict[str, Callable]] = {
    FakeTargetGroup: {"TargetGroupFullName": lambda group: group.arn.rpartition(":")[2]},
    FakeLoadBalancer: {
        "LoadBalancerFullName": lambda balancer: balancer.arn.partition(":loadbalancer/")[2],
        "CanonicalHostedZoneID": lambda balancer: "Z215JYRZR1TBD5",
    },
}

# Properties whose change replaces a resource although moto would change it.
REPLACING = {"AWS::ElasticLoadBalancingV2::ListenerRule": {"ListenerArn"}}

# Types that the region makes itself, from a name and properties.
OWN = {ALARM: StackAlarm, DATABASE: StackDatabase, SECRET: StackSecret}


class Kept:
    """A resource of a type that moto does not know."""

    def __init__(self, name: str):
        self.physical_resource_id = name

    def get_cfn_attribute(self, name: str) -> str:
        return f"{self.physical_resource_id}.{name}"


class Resource:
    def __init__(self, logical: str, type: str, properties: dict):
        self.logical, self.type, self.properties = logical, type, properties
        self.model = None
        self.status, self.policies = "", {}

    @property
    def physical(self) -> str:
        if self.model is None:
            return ""
        if isinstance(self.model, Group):
            return self.model.name
        # A few of moto's models have none.
        known = getattr(self.model, "physical_resource_id", None) or getattr(self.model, "name", None)
        return str(known or self.logical)

    def attribute(self, name: str | None):
        if name is None:
            return self.physical
        for kind, attributes in ATTRIBUTES.items():
            if isinstance(self.model, kind) and name in attributes:
                return attributes[name](self.model)
        return self.model.get_cfn_attribute(name)

    @property
    def known(self):
        return parsing.get_model_map().get(self.type)

    def named(self, stack: str) -> str:
        """The name that a template gives it, or CloudFormation."""
        property = parsing.resource_name_property_from_type(self.type) if self.known else None
        if property and property in self.properties:
            return self.properties[property]
        name = parsing.generate_resource_name(self.type, stack, self.logical)
        return (
            f"{name}.fifo"
            if self.type == "AWS::SQS::Queue" and self.properties.get("FifoQueue") in (True, "true")
            else name
        )

    def make(self, engine, stack) -> None:
        name = self.named(stack.name)
        if self.type == GROUP:
            given = self.of_group(stack)
            self.model = Group(engine, given.get("AutoScalingGroupName", name), given)
        elif self.type == "AWS::AutoScaling::LifecycleHook":
            engine.groups[self.properties["AutoScalingGroupName"]].put_hook(
                {"LifecycleHookName": name, **self.properties}
            )
            self.model = Kept(self.properties.get("LifecycleHookName", name))
        elif self.type in OWN:
            self.model = OWN[self.type](name, self.properties)
        elif self.known is None or self.type == HANDLE:
            self.model = Kept(name)
        else:
            more = {"LogicalId": self.logical, "StackId": stack.id, "ResourceType": self.type}
            self.model = self.known.create_from_cloudformation_json(name, self.json(), ACCOUNT, REGION, **more)
            self.tag(stack)
            self.set_attributes()

    def set_attributes(self) -> None:
        """moto forgets those of a target group in a template."""
        if isinstance(self.model, FakeTargetGroup):
            given = self.properties.get("TargetGroupAttributes", [])
            self.model.attributes.update({one["Key"]: str(one["Value"]) for one in given})

    def tag(self, stack) -> None:
        if isinstance(self.model, TaggedEC2Resource):
            self.model.add_tags({**stack.tags, **stack.own_tags(self.logical)})

    def json(self) -> dict:
        """For moto, which changes what it is given."""
        return {"Type": self.type, "Properties": copy.deepcopy(self.properties)}

    def of_group(self, stack) -> dict:
        """Tags of the stack are the group's, and its instances'.

        Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-resource-tags.html>
        """
        tags = {**stack.tags, **stack.own_tags(self.logical)}
        every = [{"Key": key, "Value": value, "PropagateAtLaunch": True} for key, value in tags.items()]
        return {**self.properties, "Tags": [*self.properties.get("Tags", []), *every]}

    def change(self, stack, properties: dict) -> None:
        """Everything but groups. What replaces another is made before that one is removed, which CloudFormation does at the
        end of the update."""
        former, self.properties = self.properties, properties
        if any(former.get(name) != properties.get(name) for name in REPLACING.get(self.type, ())):
            old = self.physical
            self.make(None, stack)
            return self.known.delete_from_cloudformation_json(old, {"Properties": former}, ACCOUNT, REGION)
        if hasattr(self.model, "put"):
            return self.model.put(properties)
        if self.type in OWN or isinstance(self.model, Kept) or self.known is None:
            return
        update = self.known.update_from_cloudformation_json
        if hasattr(update, "__isabstractmethod__"):
            return self.set_attributes()
        self.model = update(
            original_resource=self.model,
            new_resource_name=self.named(stack.name),
            cloudformation_json=self.json(),
            account_id=ACCOUNT,
            region_name=REGION,
        )
        self.set_attributes()

    def remove(self, engine) -> None:
        if isinstance(self.model, Group):
            group = self.model
            group.delete()
            engine.until(lambda: group.name not in engine.groups)
        elif self.model is not None and not isinstance(self.model, Kept):
            if hasattr(self.model, "delete"):
                self.model.delete(ACCOUNT, REGION)
            elif not hasattr(self.known.delete_from_cloudformation_json, "__isabstractmethod__"):
                self.known.delete_from_cloudformation_json(self.physical, self.json(), ACCOUNT, REGION)
        self.model = None


def new_stack_id(name: str) -> str:
    return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/{uuid.uuid4()}"
