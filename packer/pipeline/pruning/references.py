"""Reads who refers to the images, snapshots and launch template versions of one region.

Answers of AWS are searched as a whole, for IDs in any text and for launch templates in any structure: a field that AWS
adds later, or one that nobody thought of, can then only keep something.
"""

import base64
import binascii
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from .decide import Policy
from .facts import DATABASE_KINDS, Kind, UsageReport
from .inventory import Look, tags_of

IDS = re.compile(r"(?:ami|snap)-[0-9a-f]{8,17}")
WORDS = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
# A parameter that a launch resolves, at the version or label that may follow its name or ARN.
RESOLVED = re.compile(r"resolve:ssm:((?:arn:[^:]+:ssm:[^:]+:[0-9]+:parameter/)?[A-Za-z0-9/_.-]+(?::[A-Za-z0-9_.-]+)?)")

# DescribeImageReferences accepts 10 images, and checks 10000 versions of a launch template at most.
# Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImageReferences.html>
IMAGES_AT_ONCE = 10
DEPTH = "10000"
ALIVE = ["pending", "running", "stopping", "stopped"]
# GetParameters accepts 10 names.
PARAMETERS_AT_ONCE = 10
PREVIOUS = "previous"
REPORTS_AT_ONCE = 200


def batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    ordered = list(items)
    for first in range(0, len(ordered), size):
        yield ordered[first : first + size]


def texts(value: Any) -> Iterator[str]:
    """Every text in an answer of AWS."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner)
            if key == "UserData" and isinstance(inner, str):
                yield user_data(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)


def templates(value: Any) -> Iterator[tuple[str, str]]:
    """Every launch template in an answer of AWS: its ID or name, and its version."""
    if isinstance(value, dict):
        named = value.get("LaunchTemplateId") or value.get("LaunchTemplateName")
        if isinstance(named, str):
            yield named, str(value.get("Version") or "$Default")
        for inner in value.values():
            yield from templates(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from templates(inner)


def search(look: Look, by: str, value: Any) -> None:
    """Refers to everything that an answer names: IDs, database snapshots by name, launch template versions."""
    names: dict[str, list[str]] = {}
    for thing in look.facts.things:
        if thing.kind in DATABASE_KINDS:
            names.setdefault(thing.id, []).append(thing.key)
    for text in texts(value):
        for id in IDS.findall(text):
            look.facts.refer(id, by)
        for word in WORDS.findall(text) if names else ():
            # RDS names snapshots in lower case, and finds them in any.
            for key in names.get(word.lower(), ()):
                look.facts.refer(key, by)
    for named, version in templates(value):
        if id := look.template_ids.get(named):
            look.facts.refer(f"{id}:{number_of(look, id, version)}", by)


def number_of(look: Look, id: str, version: str) -> str:
    if version == "$Latest":
        return str(look.latest_versions[id])
    if version == "$Default":
        return str(look.default_versions[id])
    return version


def read_image_references(look: Look, policy: Policy) -> None:
    """What EC2 knows: instances, launch templates, parameters and recipes of Image Builder.

    This takes most of the calls, so EC2 is not asked about images that another source has found in use.
    """
    considered = (thing for thing in look.facts.things if policy.selects(thing.kind, thing.tags))
    images = [image.id for image in considered if image.kind is Kind.IMAGE and image.id not in look.facts.references]
    states = [{"OptionName": "state-name", "OptionValues": ALIVE}]
    depth = [{"OptionName": "version-depth", "OptionValues": [DEPTH]}]
    wanted = [
        {"ResourceType": "ec2:Instance", "ResourceTypeOptions": states},
        {"ResourceType": "ec2:LaunchTemplate", "ResourceTypeOptions": depth},
        {"ResourceType": "ssm:Parameter"},
        {"ResourceType": "imagebuilder:ImageRecipe"},
        {"ResourceType": "imagebuilder:ContainerRecipe"},
    ]
    for some in batches(images, IMAGES_AT_ONCE):
        for page in look.pages("ec2", "describe_image_references", ImageIds=some, ResourceTypes=wanted):
            for reference in page["ImageReferences"]:
                look.facts.refer(reference["ImageId"], reference["Arn"].partition(":")[2].split(":", 4)[-1])


def read_instances(look: Look) -> None:
    """Instances, and the launch template versions that they were launched from."""
    filters = [{"Name": "instance-state-name", "Values": ALIVE}]
    for page in look.pages("ec2", "describe_instances", Filters=filters, PaginationConfig={"PageSize": 1000}):
        for instance in (one for reservation in page["Reservations"] for one in reservation["Instances"]):
            tags, by = tags_of(instance), instance["InstanceId"]
            look.facts.refer(instance["ImageId"], by)
            template, version = tags.get("aws:ec2launchtemplate:id"), tags.get("aws:ec2launchtemplate:version")
            if template and version:
                look.facts.refer(f"{template}:{version}", by)


def read_groups(look: Look) -> None:
    """Auto Scaling groups with the overrides of mixed instances policies, and launch configurations."""
    for page in look.pages("autoscaling", "describe_auto_scaling_groups", PaginationConfig={"PageSize": 100}):
        for group in page["AutoScalingGroups"]:
            search(look, f"group {group['AutoScalingGroupName']}", group)
    for page in look.pages("autoscaling", "describe_launch_configurations", PaginationConfig={"PageSize": 100}):
        for configuration in page["LaunchConfigurations"]:
            search(look, f"launch configuration {configuration['LaunchConfigurationName']}", configuration)


def read_fleets(look: Look) -> None:
    """EC2 Fleets and Spot Fleets that may still launch."""
    ended = ("deleted", "deleted_terminating", "cancelled", "cancelled_terminating", "failed")
    for page in look.pages("ec2", "describe_fleets"):
        for fleet in page["Fleets"]:
            if fleet.get("FleetState") not in ended:
                search(look, f"fleet {fleet['FleetId']}", fleet)
    for page in look.pages("ec2", "describe_spot_fleet_requests"):
        for fleet in page["SpotFleetRequestConfigs"]:
            if fleet.get("SpotFleetRequestState") not in ended:
                search(look, f"Spot Fleet {fleet['SpotFleetRequestId']}", fleet)


def read_templates(look: Look) -> None:
    """The default and the latest version of each template, and what any version launches, its user data included."""
    for id, number in look.default_versions.items():
        look.facts.refer(f"{id}:{number}", "launches that name no version")
    for id, number in look.latest_versions.items():
        look.facts.refer(f"{id}:{number}", "launches of the latest version")
    for version, data in look.template_data.items():
        search(look, f"launch template {version}", data)


def user_data(encoded: str) -> str:
    """The text of user data, unpacked if it is gzip; empty if it is neither."""
    try:
        content = base64.b64decode(encoded)
        return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode(errors="replace")
    except (binascii.Error, zlib.error, OSError, EOFError):
        return ""


def read_stacks(look: Look) -> None:
    """Parameters of stacks, with the values that SSM parameters had."""
    for page in look.pages("cloudformation", "describe_stacks"):
        for stack in page["Stacks"]:
            tags = tags_of(stack)
            if "ingot:environment" in tags:
                look.stacks[tags.get("ingot:application", ""), tags["ingot:environment"]] = stack["StackName"]
            for parameter in stack.get("Parameters", []):
                by = f"parameter {parameter['ParameterKey']} of stack {stack['StackName']}"
                search(look, by, [parameter.get("ParameterValue"), parameter.get("ResolvedValue")])


def read_parameters(look: Look) -> None:
    """Parameters of the type aws:ec2:image, what their label `previous` names, and versions that templates pin."""
    filters = [{"Key": "DataType", "Option": "Equals", "Values": ["aws:ec2:image"]}]
    names: dict[str, str] = {}
    pages = look.pages("ssm", "describe_parameters", ParameterFilters=filters, PaginationConfig={"PageSize": 50})
    for page in pages:
        for parameter in page["Parameters"]:
            names |= {parameter["Name"]: "", f"{parameter['Name']}:{PREVIOUS}": ""}
    for version, data in look.template_data.items():
        for found in RESOLVED.findall(str(data.get("ImageId", ""))):
            # Public parameters of AWS name images of AWS, and the role need not read them.
            if not found.startswith("/aws/"):
                names[found] = f" of launch template {version}"
    for some in batches(names, PARAMETERS_AT_ONCE):
        for parameter in look.call("ssm", "get_parameters", Names=some)["Parameters"]:
            name = parameter["Name"] + parameter.get("Selector", "")
            search(look, f"parameter {name}{names.get(name, '')}", parameter["Value"])


def read_usage(look: Look, own_account: str, images: Iterable[str]) -> None:
    """Which other accounts use the images, as far as there are usage reports. The newest of each image counts."""
    newest: dict[str, str] = {}
    for some in batches(images, REPORTS_AT_ONCE):
        for page in look.pages("ec2", "describe_image_usage_reports", ImageIds=some):
            for report in page["ImageUsageReports"]:
                note_report(look, report, newest)
    known = [image for image, report in look.facts.reports.items() if report.state == "available"]
    for some in batches(known, REPORTS_AT_ONCE):
        reports = [newest[image] for image in some]
        for page in look.pages("ec2", "describe_image_usage_report_entries", ReportIds=reports):
            for entry in page["ImageUsageReportEntries"]:
                if entry["AccountId"] != own_account and entry.get("UsageCount", 1):
                    look.facts.refer(entry["ImageId"], f"account {entry['AccountId']} ({entry['ResourceType']})")


def note_report(look: Look, report: dict, newest: dict[str, str]) -> None:
    image, before = report["ImageId"], look.facts.reports.get(report["ImageId"])
    if before is None or report["CreationTime"] > before.created:
        look.facts.reports[image] = UsageReport(report["CreationTime"], report["State"], report.get("StateReason", ""))
        newest[image] = report["ReportId"]
