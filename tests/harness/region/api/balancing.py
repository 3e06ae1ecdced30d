"""Calls of Elastic Load Balancing that are about targets; the others are moto's.

<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Operations.html>
"""

from moto.elbv2.models import ELBv2Backend
from moto.elbv2.responses import ELBV2Response

from ..balancing.targets import targets_of
from ..refusal import refusal_of

RESPONSE = ELBV2Response
refused = refusal_of("elbv2")


def corrections(engine) -> list[tuple]:
    """A listener of a template with weights fails in moto, which looks for `TargetGroupArn` alone."""

    def actions(self, properties: dict) -> list[dict]:
        return [dict(action) for action in properties["DefaultActions"]]

    return [(ELBv2Backend, "convert_and_validate_properties", actions)]


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
