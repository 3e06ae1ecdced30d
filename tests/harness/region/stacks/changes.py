"""Change sets: what an update would do.

<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeChangeSet.html>. Compared are properties,
with a name in place of each resource and its attributes; what refers to a changed resource's attribute changes with it
("dynamic"), and what refers to a resource itself does if another one may take its place. Whether a property's change takes another resource is what its schema says, for resources that hold data.
"""

import json
import re
import uuid

from harness.aws.proxy import ACCOUNT, REGION

from ..engine import now
from .operations import REPLACES_INSTANCES, declared
from .replacing import replaces
from .resources import GROUP
from .template import Template

# createOnlyProperties and conditionalCreateOnlyProperties of the resources' schemas, as far as templates use them.
# Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html>
RECREATED = {
    "AWS::EC2::EIP": {"NetworkBorderGroup": "Always"},
    "AWS::ElastiCache::ReplicationGroup": {
        "AtRestEncryptionEnabled": "Always",
        "AuthToken": "Conditionally",
        "CacheSubnetGroupName": "Always",
    },
    "AWS::RDS::DBInstance": {
        "BackupRetentionPeriod": "Conditionally",
        "DBName": "Always",
        "DBSnapshotIdentifier": "Conditionally",
        "DBSubnetGroupName": "Always",
        "Engine": "Conditionally",
        "MasterUsername": "Always",
        "MultiAZ": "Conditionally",
        "StorageEncrypted": "Always",
    },
    "AWS::S3::Bucket": {"BucketName": "Always"},
    "AWS::SQS::Queue": {"FifoQueue": "Always", "QueueName": "Always"},
}

NOTHING = "The submitted information didn't contain changes. Submit different information to create a change set."


def make(stack, given: dict, template: Template, text: str, parameters: dict) -> dict:
    kind = given.get("ChangeSetType", "UPDATE")
    changes = compare(stack, template)
    name = given["ChangeSetName"]
    made = {
        "ChangeSetId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:changeSet/{name}/{uuid.uuid4()}",
        "ChangeSetName": name,
        "StackId": stack.id,
        "StackName": stack.name,
        "CreationTime": now(),
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value} for key, value in template.parameters.texts.items()
        ],
        "ExecutionStatus": "AVAILABLE" if changes else "UNAVAILABLE",
        "Status": "CREATE_COMPLETE" if changes else "FAILED",
        "Changes": changes,
        "IncludeNestedStacks": False,
        "Tags": given.get("Tags", []),
    }
    if not changes:
        made["StatusReason"] = NOTHING
    stack.change_sets[name] = {"said": made, "kind": kind, "text": text, "parameters": parameters, "given": given}
    return made


def compare(stack, template: Template) -> list[dict]:
    """Both sides with names in place of attributes, so that only what somebody changed differs."""
    before = stack.template
    there, wanted = (before.order() if before and stack.resources else []), template.order()
    stand_in = lambda name, attribute: f"{name}.{attribute}" if attribute else f"{name}@"  # noqa: E731
    # What stands for values that are not what they were.
    found, changed = [], set()
    for name in wanted:
        new = evaluated(template, name, stand_in)
        if name not in there:
            found.append(change(stack, "Add", name, new))
            continue
        old = evaluated(before, name, stand_in)
        keys = [key for key in {*old.properties, *new.properties} if old.properties.get(key) != new.properties.get(key)]
        dynamic = [
            key
            for key, value in new.properties.items()
            if any(re.search(rf"\b{re.escape(one)}", json.dumps(value, default=str)) for one in changed)
        ]
        if keys or dynamic:
            one = change(stack, "Modify", name, new, keys, [key for key in dynamic if key not in keys])
            changed |= {f"{name}."} | ({f"{name}@"} if one["ResourceChange"]["Replacement"] != "False" else set())
            found.append(one)
    found += [change(stack, "Remove", name, evaluated(before, name, stand_in)) for name in there if name not in wanted]
    return found


def evaluated(template: Template, name: str, stand_in):
    former, template.resource = template.resource, stand_in
    try:
        return declared(template, name)
    finally:
        template.resource = former


def change(stack, action: str, name: str, resource, keys: list[str] = (), dynamic: list[str] = ()) -> dict:
    there = stack.resources.get(name)
    said = {"Action": action, "LogicalResourceId": name, "ResourceType": resource.type, "Scope": [], "Details": []}
    if there:
        said["PhysicalResourceId"] = there.physical
    if action == "Modify":
        renewed = resource.type == GROUP and any(key in REPLACES_INSTANCES for key in (*keys, *dynamic))
        whole = renewed and replaces(resource.policies.get("UpdatePolicy", {}))
        details = [detail(resource.type, key, "Static") for key in keys]
        details += [detail(resource.type, key, "Dynamic") for key in dynamic]
        said["Replacement"] = "True" if whole else replacement(details)
        said["Scope"] = ["Properties"]
        said["Details"] = details
    return {"Type": "Resource", "ResourceChange": said}


def replacement(details: list[dict]) -> str:
    """That of the change with the most impact; one that is not certain is conditional.

    Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceChange.html>
    """
    recreated = [(one["Target"]["RequiresRecreation"], one["Evaluation"]) for one in details]
    if ("Always", "Static") in recreated:
        return "True"
    return "Conditional" if any(recreation != "Never" for recreation, _ in recreated) else "False"


def detail(kind: str, key: str, evaluation: str) -> dict:
    source = "DirectModification" if evaluation == "Static" else "ResourceAttribute"
    recreation = RECREATED.get(kind, {}).get(key, "Never")
    target = {"Attribute": "Properties", "Name": key, "RequiresRecreation": recreation}
    return {"Target": target, "Evaluation": evaluation, "ChangeSource": source}
