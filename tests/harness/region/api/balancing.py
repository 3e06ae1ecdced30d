"""Calls of Elastic Load Balancing that are about targets; the others are moto's.

<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Operations.html>
"""

from moto.elbv2.exceptions import DuplicateListenerError
from moto.elbv2.models import ELBv2Backend, FakeAction, FakeListener, FakeListenerRule, FakeTargetGroup, elbv2_backends
from moto.elbv2.responses import ELBV2Response

from ..balancing.targets import targets_of
from ..refusal import refusal_of

RESPONSE = ELBV2Response
refused = refusal_of("elbv2")


def corrections(engine) -> list[tuple]:
    create = ELBv2Backend.create_listener

    def actions(self, properties: dict) -> list[dict]:
        """A listener of a template with weights fails in moto, which looks for `TargetGroupArn` alone."""
        return [dict(action) for action in properties["DefaultActions"]]

    def create_listener(self, load_balancer_arn, protocol, port, ssl_policy, certificate, actions, *given, **named):
        """moto looks for the port among ARNs, and so refuses nothing. The call is idempotent: with the settings of the
        listener that has the port, it succeeds.
        <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateListener.html>"""
        there = self.load_balancers[load_balancer_arn].listeners.values()
        for one in [one for one in there if str(one.port) == str(port)]:
            settings = (one.protocol, one.ssl_policy, one.certificate, [action.data for action in one.default_actions])
            if settings != ((protocol or "").upper(), ssl_policy, certificate, [FakeAction(one).data for one in actions]):
                raise DuplicateListenerError()
            return one
        return create(self, load_balancer_arn, protocol, port, ssl_policy, certificate, actions, *given, **named)

    return [
        (ELBv2Backend, "convert_and_validate_properties", actions),
        (ELBv2Backend, "create_listener", create_listener),
        (FakeListener, DELETE, deleting(ELBv2Backend.delete_listener)),
        (FakeListenerRule, DELETE, deleting(ELBv2Backend.delete_rule)),
        (FakeTargetGroup, DELETE, deleting(ELBv2Backend.delete_target_group)),
    ]


# What moto's CloudFormation calls, if it can delete a resource of this type.
DELETE = "delete_from_cloudformation_json"


def deleting(delete) -> classmethod:
    def method(cls, physical: str, json: dict, account: str, region: str) -> None:
        delete(elbv2_backends[account][region], physical)

    return classmethod(method)


def group_of(engine, given: dict):
    try:
        return targets_of(engine, given["TargetGroupArn"])
    except KeyError as error:
        raise refused("TargetGroupNotFound", f"Target groups '{given['TargetGroupArn']}' not found") from error


def register(engine, given):
    for target in given["Targets"]:
        if target["Id"] not in engine.instances:
            raise refused(
                "InvalidTarget",
                f"The following targets are not in a running state and cannot be registered: '{target['Id']}'",
            )
        group_of(engine, given).register(target["Id"], target.get("Port"))


def deregister(engine, given):
    for target in given["Targets"]:
        group_of(engine, given).deregister(target["Id"])


def describe(engine, given):
    return {"TargetHealthDescriptions": group_of(engine, given).describe(given.get("Targets") or [])}


CALLS = {"RegisterTargets": register, "DeregisterTargets": deregister, "DescribeTargetHealth": describe}
