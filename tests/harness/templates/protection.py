"""What protects data and instances: what stays when a stack goes, what is encrypted, who reaches what."""

import re

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from . import ROOT, depends_on, resources, several

# The type of what holds data, and what becomes of it.
KEPT = {
    "AWS::RDS::DBInstance": ("Snapshot", "Snapshot"),
    "AWS::ElastiCache::ReplicationGroup": ("Snapshot", "Snapshot"),
    "AWS::S3::Bucket": ("RetainExceptOnCreate", "Retain"),
    "AWS::SQS::Queue": ("RetainExceptOnCreate", "Retain"),
}

# Only counts failures: docs/runbook.md.
NO_DATA = {"FailedLaunches"}

# What is found by its name, so that another one is an outage.
FOUND = ("AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::ElasticLoadBalancingV2::TargetGroup")

# What the registry's schema says of the engines of Aurora alone.
NOT_HERE = {("AWS::RDS::DBInstance", "MultiAZ")}

# Where people are told which parameters to leave alone.
TOLD = ("docs/fleet/templates.md", "docs/fleet/account.md")

ENCRYPTED = {
    "AWS::RDS::DBInstance": {
        "StorageEncrypted": {"Fn::If": ["IsRestored", {"Ref": "AWS::NoValue"}, True]},
        "PubliclyAccessible": False,
        "ManageMasterUserPassword": True,
    },
    "AWS::ElastiCache::ReplicationGroup": {
        "AtRestEncryptionEnabled": True,
        "TransitEncryptionEnabled": True,
        "TransitEncryptionMode": "required",
    },
    "AWS::SQS::Queue": {"SqsManagedSseEnabled": True},
}

METADATA = {
    "HttpEndpoint": "enabled",
    "HttpTokens": "required",
    "HttpPutResponseHopLimit": {"Ref": "MetadataHops"},
    "InstanceMetadataTags": "enabled",
}


def data_stays(template: dict) -> list[str]:
    wrong = []
    for name, resource in resources(template, *KEPT).items():
        if name in NO_DATA:
            continue
        found = (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
        if found != KEPT[resource["Type"]]:
            wrong.append(f"{name} has {found}, expected {KEPT[resource['Type']]}")
    return wrong


def fixed_at_creation(kind: str) -> set[str]:
    """The properties of a type that an update cannot change without another resource in its place."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-central-1", kind).schema
    paths = [*schema.get("createOnlyProperties", []), *schema.get("conditionalCreateOnlyProperties", [])]
    return {path.split("/")[2] for path in paths}


def people_are_told_what_replaces_data(template: dict) -> list[str]:
    pages = "\n".join((ROOT / path).read_text() for path in TOLD)
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"(?s)Do not change (.*?)(?:\.|:)\s", pages))))
    wrong = []
    for name, resource in resources(template, *KEPT, *FOUND).items():
        for key in sorted(fixed_at_creation(resource["Type"]) & resource["Properties"].keys()):
            if (resource["Type"], key) not in NOT_HERE:
                deciding = depends_on(template, resource["Properties"][key])
                wrong += [f"{one} replaces {name}, and nobody is told" for one in sorted(deciding - told)]
    return wrong


def data_is_encrypted_and_private(template: dict) -> list[str]:
    return [
        f"{name} has {key}: {resource['Properties'].get(key)}"
        for name, resource in resources(template, *ENCRYPTED).items()
        for key, wanted in ENCRYPTED[resource["Type"]].items()
        if resource["Properties"].get(key) != wanted
    ]


def metadata_is_closed_to_others(template: dict) -> list[str]:
    wrong = []
    for name, resource in resources(template, "AWS::EC2::LaunchTemplate").items():
        if resource["Properties"]["LaunchTemplateData"].get("MetadataOptions") != METADATA:
            wrong.append(f"{name} opens the metadata service")
    hops = template["Parameters"]["MetadataHops"]
    if (hops["Default"], hops["AllowedValues"]) != (1, [1, 2]):
        wrong.append("MetadataHops is not 1")
    return wrong


def volumes_are_encrypted(template: dict) -> list[str]:
    return [
        f"{name} has a volume that is not encrypted"
        for name, resource in resources(template, "AWS::EC2::LaunchTemplate").items()
        for mapping in resource["Properties"]["LaunchTemplateData"]["BlockDeviceMappings"]
        if mapping["Ebs"].get("Encrypted") is not True
    ]


def user_data_has_no_secret(template: dict) -> list[str]:
    """User data can be read by everybody who may describe launch templates."""
    text = str(template["Resources"]["Launch"]["Properties"]["LaunchTemplateData"]["UserData"])
    return ["user data resolves a secret"] if "resolve:" in text else []


def only_clients_come_from_outside(template: dict) -> list[str]:
    """Addresses that come in are ClientCidr, and on 80 and 443 only; all else is a group of the stack."""
    wrong = []
    for name, resource in resources(template, "AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress").items():
        properties = resource["Properties"]
        is_rule = resource["Type"].endswith("Ingress")
        for rule in [properties] if is_rule else properties.get("SecurityGroupIngress", []):
            if any(key.startswith("CidrIp") for key in rule):
                if rule.get("CidrIp") != {"Ref": "ClientCidr"} or rule["FromPort"] not in (80, 443):
                    wrong.append(f"{name} lets {rule} in")
            elif "SourceSecurityGroupId" not in rule:
                wrong.append(f"{name} lets {rule} in")
            if rule["FromPort"] != rule["ToPort"]:
                wrong.append(f"{name} opens several ports")
    return wrong


def instances_reach_what_they_need(template: dict) -> list[str]:
    rules = template["Resources"]["InstanceSecurityGroup"]["Properties"].get("SecurityGroupEgress")
    found = [(rule["FromPort"], rule["ToPort"]) for rule in several(rules or [])]
    return [] if found == [(443, 443)] else [f"instances reach {found or 'everything'}"]


RULES = [
    data_stays,
    people_are_told_what_replaces_data,
    data_is_encrypted_and_private,
    metadata_is_closed_to_others,
    volumes_are_encrypted,
    user_data_has_no_secret,
    only_clients_come_from_outside,
    instances_reach_what_they_need,
]
