"""Calls of CloudFormation. <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Operations.html>

The wordings of refusals are those that users have posted.
"""

import copy

from moto.cloudformation.responses import CloudFormationResponse
from moto.s3.models import s3_backends
from moto.s3.utils import bucket_and_name_from_url

from harness.aws.proxy import ACCOUNT

from ..engine import now
from ..stacks import changes, operations
from ..stacks.stack import Stack
from ..refusal import refusal_of

RESPONSE = CloudFormationResponse
refused = refusal_of("cloudformation")


def corrections(engine) -> list[tuple]:
    return []


def find(engine, name: str) -> Stack | None:
    """By name, which only a stack that is there has, or by ID."""
    for stack in reversed(engine.stacks):
        if name == stack.id or (name == stack.name and stack.status != "DELETE_COMPLETE"):
            return stack
    return None


def stack_of(engine, given: dict) -> Stack:
    if stack := find(engine, given["StackName"]):
        return stack
    raise ValueError(f"Stack with id {given['StackName']} does not exist")


# Templates and parameters.

TOO_LARGE = (
    "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or "
    "equal to 51200"
)


def text_of(engine, given: dict, stack: Stack | None = None) -> str:
    if body := given.get("TemplateBody"):
        if len(body.encode()) > 51_200:
            raise ValueError(TOO_LARGE)
        return body
    if url := given.get("TemplateURL"):
        bucket, key = bucket_and_name_from_url(url)
        return s3_backends[ACCOUNT]["aws"].get_object(bucket, key).value.decode()
    if stack and stack.text and str(given.get("UsePreviousTemplate")).lower() == "true":
        return stack.text
    raise ValueError("Either Template URL or Template Body must be specified.")


def parameters_of(given: dict, stack: Stack | None = None) -> dict[str, str]:
    found = {}
    for one in given.get("Parameters") or []:
        name = one["ParameterKey"]
        if str(one.get("UsePreviousValue")).lower() == "true":
            if not stack or name not in stack.shown():
                why = "Cannot specify usePreviousValue as true for a parameter key not in the previous template"
                raise ValueError(f"Invalid input for parameter key {name}. {why}")
            found[name] = stack.shown()[name]
        else:
            found[name] = one.get("ParameterValue", "")
    return found


def take(stack: Stack, given: dict) -> None:
    """What a creation or an update says of the stack itself."""
    if "Tags" in given:
        stack.tags = {tag["Key"]: tag["Value"] for tag in given["Tags"]}
    stack.token = given.get("ClientRequestToken", "")
    stack.role = given.get("RoleARN", stack.role)
    stack.notified = given.get("NotificationARNs", stack.notified)
    stack.policy = given.get("StackPolicyBody", stack.policy)
    stack.disables_rollback = str(given.get("DisableRollback", "false")).lower() == "true"
    if watched := given.get("RollbackConfiguration"):
        stack.triggers = [one["Arn"] for one in watched.get("RollbackTriggers") or []]
        stack.monitored = int(watched.get("MonitoringTimeInMinutes") or 0)


# Creation, update, deletion.


def create(engine, given):
    name = given["StackName"]
    if there := find(engine, name):
        raise refused("AlreadyExistsException", f"Stack [{there.name}] already exists")
    stack = Stack(engine, name)
    try:
        begin_creation(stack, given, text_of(engine, given), parameters_of(given))
    except ValueError:
        engine.stacks.remove(stack)
        raise
    return {"StackId": stack.id}


def begin_creation(stack: Stack, given: dict, text: str, parameters: dict) -> None:
    template = stack.evaluate(text, parameters)
    template.order()
    take(stack, given)
    stack.protected = str(given.get("EnableTerminationProtection", "false")).lower() == "true"
    stack.text, stack.given, stack.template = text, parameters, template
    on_failure = given.get("OnFailure") or (
        "DO_NOTHING" if stack.disables_rollback else given.get("OnStackFailure", "ROLLBACK")
    )
    stack.begin("CREATE_STACK", "CREATE_IN_PROGRESS")
    operations.begin(stack, operations.create, template, on_failure)


CAN_BE_UPDATED = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")


def update(engine, given):
    stack = stack_of(engine, given)
    begin_update(stack, given, text_of(engine, given, stack), parameters_of(given, stack))
    return {"StackId": stack.id}


def begin_update(stack: Stack, given: dict, text: str, parameters: dict) -> None:
    if stack.status not in CAN_BE_UPDATED:
        raise ValueError(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")
    template = stack.evaluate(text, parameters)
    tags = {tag["Key"]: tag["Value"] for tag in given["Tags"]} if "Tags" in given else stack.tags
    same = template.content == stack.template.content and template.parameters.texts == stack.template.parameters.texts
    if same and tags == stack.tags:
        raise ValueError("No updates are to be performed.")
    template.order()
    take(stack, given)
    stack.text, former = text, stack.text
    before = [copy.copy(resource) for resource in stack.resources.values()]
    stack.updated = now()
    stack.begin("UPDATE_STACK", "UPDATE_IN_PROGRESS")

    def run(stack: Stack) -> None:
        operations.update(stack, template, before)
        if stack.status != "UPDATE_COMPLETE":
            stack.text = former

    operations.begin(stack, run)


def delete(engine, given):
    stack = find(engine, given["StackName"])
    if stack is None or stack.status == "DELETE_COMPLETE":
        return
    if stack.protected:
        raise ValueError(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
    if stack.status in ("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS"):
        raise ValueError(f"Stack [{stack.id}] cannot be deleted while in status {stack.status}")
    stack.token = given.get("ClientRequestToken", "")
    stack.begin("DELETE_STACK", "DELETE_IN_PROGRESS")
    operations.begin(stack, operations.delete)


def cancel(engine, given):
    stack_of(engine, given).cancel()


def continue_rollback(engine, given):
    stack = stack_of(engine, given)
    if stack.status != "UPDATE_ROLLBACK_FAILED":
        raise ValueError(f"Stack:{stack.id} is in {stack.status} state and can not continue rolling back.")
    stack.begin("CONTINUE_ROLLBACK", "UPDATE_ROLLBACK_IN_PROGRESS")
    operations.begin(stack, operations.roll_back)


def roll_back(engine, given):
    """<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_RollbackStack.html>"""
    stack = stack_of(engine, given)
    if stack.status == "CREATE_FAILED":
        stack.begin("ROLLBACK", "ROLLBACK_IN_PROGRESS")
        operations.begin(stack, operations.undo_creation)
    elif stack.status == "UPDATE_FAILED":
        stack.begin("ROLLBACK", "UPDATE_ROLLBACK_IN_PROGRESS")
        operations.begin(stack, operations.roll_back)
    else:
        raise ValueError(f"Stack {stack.id} is in {stack.status} state and cannot be rolled back.")
    return {"StackId": stack.id}


def signal(engine, given):
    stack = find(engine, given["StackName"])
    if stack is None:
        raise ValueError(f"Stack {given['StackName']} does not exist")
    stack.signal(given["LogicalResourceId"], given["UniqueId"], given["Status"])


def protect(engine, given):
    stack = stack_of(engine, given)
    stack.protected = str(given["EnableTerminationProtection"]).lower() == "true"
    return {"StackId": stack.id}


def set_policy(engine, given):
    stack_of(engine, given).policy = given.get("StackPolicyBody", "")


def get_policy(engine, given):
    return {"StackPolicyBody": stack_of(engine, given).policy}


# What there is.


def describe(engine, given):
    if "StackName" in given:
        return {"Stacks": [stack_of(engine, given).describe()]}
    return {"Stacks": [stack.describe() for stack in engine.stacks if stack.status != "DELETE_COMPLETE"]}


def list_stacks(engine, given):
    wanted = given.get("StackStatusFilter")
    found = [stack for stack in engine.stacks if not wanted or stack.status in wanted]
    said = [{**stack.describe(), "TemplateDescription": stack.describe().get("Description", "")} for stack in found]
    return {"StackSummaries": said}


def describe_events(engine, given):
    """Newest first; 100 at a time, as AWS has it."""
    events = list(reversed(stack_of(engine, given).events))
    begin = int(given.get("NextToken") or 0)
    said = {"StackEvents": [event.describe() for event in events[begin : begin + 100]]}
    return said | ({"NextToken": str(begin + 100)} if len(events) > begin + 100 else {})


def describe_operation_events(engine, given):
    """DescribeEvents: newest first, of one operation, only those that failed, or all."""
    wanted, only_failed = (
        given.get("OperationId"),
        str((given.get("Filters") or {}).get("FailedEvents")).lower() == "true",
    )
    stacks = [stack_of(engine, given)] if "StackName" in given else engine.stacks
    events = [event for stack in stacks for event in reversed(stack.events)]
    events = [event for event in events if wanted in (None, event.operation[0]) and (event.failed or not only_failed)]
    return {"OperationEvents": [event.of_operation() for event in events[:100]]}


def describe_resources(engine, given):
    if "StackName" not in given:
        stack, wanted = resource_owner(engine, given["PhysicalResourceId"]), None
    else:
        stack, wanted = stack_of(engine, given), given.get("LogicalResourceId")
    found = [one for one in stack.resources.values() if wanted in (None, one.logical)]
    return {"StackResources": [stack.describe_resource(one) for one in found]}


def resource_owner(engine, physical: str) -> Stack:
    for stack in engine.stacks:
        if any(one.physical == physical for one in stack.resources.values()):
            return stack
    raise ValueError(f"Stack for {physical} does not exist")


def describe_resource(engine, given):
    stack, name = stack_of(engine, given), given["LogicalResourceId"]
    if name not in stack.resources:
        raise ValueError(f"Resource {name} does not exist for stack {stack.name}")
    return {"StackResourceDetail": stack.describe_resource(stack.resources[name])}


def list_resources(engine, given):
    stack = stack_of(engine, given)
    return {"StackResourceSummaries": [stack.describe_resource(one) for one in stack.resources.values()]}


def get_template(engine, given):
    return {"TemplateBody": stack_of(engine, given).text, "StagesAvailable": ["Original", "Processed"]}


# Change sets.


def create_change_set(engine, given):
    stack = find(engine, given["StackName"])
    if stack is None:
        if given.get("ChangeSetType") != "CREATE":
            raise ValueError(f"Stack [{given['StackName']}] does not exist")
        stack = Stack(engine, given["StackName"])
    elif given.get("ChangeSetType") != "CREATE" and stack.status not in CAN_BE_UPDATED:
        raise ValueError(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")
    text, parameters = text_of(engine, given, stack), parameters_of(given, stack)
    made = changes.make(stack, given, stack.evaluate(text, parameters), text, parameters)
    return {"Id": made["ChangeSetId"], "StackId": stack.id}


def change_set_of(engine, given) -> tuple[Stack, dict]:
    name = given["ChangeSetName"]
    for stack in engine.stacks:
        for key, one in stack.change_sets.items():
            if name == one["said"]["ChangeSetId"] or (name == key and given.get("StackName") in (stack.name, stack.id)):
                return stack, one
    raise refused("ChangeSetNotFound", f"ChangeSet [{name}] does not exist")


def list_change_sets(engine, given):
    """<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListChangeSets.html>"""
    keys = ("ChangeSetId", "ChangeSetName", "StackId", "StackName", "CreationTime", "ExecutionStatus", "Status")
    said = [one["said"] for one in stack_of(engine, given).change_sets.values()]
    return {"Summaries": [{key: one[key] for key in keys} for one in said]}


# One answer has 1 MB at the most, and shows the rest by a token; here it has so many changes.
OF_A_PAGE = 20


def describe_change_set(engine, given):
    said = change_set_of(engine, given)[1]["said"]
    begin = int(given.get("NextToken") or 0)
    page = {**said, "Changes": said["Changes"][begin : begin + OF_A_PAGE]}
    return page | ({"NextToken": str(begin + OF_A_PAGE)} if len(said["Changes"]) > begin + OF_A_PAGE else {})


def execute_change_set(engine, given):
    stack, one = change_set_of(engine, given)
    if one["said"]["ExecutionStatus"] != "AVAILABLE":
        said = one["said"]
        message = f"ChangeSet [{said['ChangeSetId']}] cannot be executed in its current status of [{said['Status']}]"
        raise refused("InvalidChangeSetStatus", message)
    wanted = {**one["given"], **given}
    if stack.resources:
        begin_update(stack, wanted, one["text"], one["parameters"])
    else:
        begin_creation(stack, wanted, one["text"], one["parameters"])
    stack.change_sets.clear()


def delete_change_set(engine, given):
    stack, one = change_set_of(engine, given)
    del stack.change_sets[one["said"]["ChangeSetName"]]


CALLS = {
    "CreateStack": create,
    "UpdateStack": update,
    "DeleteStack": delete,
    "CancelUpdateStack": cancel,
    "ContinueUpdateRollback": continue_rollback,
    "RollbackStack": roll_back,
    "SignalResource": signal,
    "UpdateTerminationProtection": protect,
    "SetStackPolicy": set_policy,
    "GetStackPolicy": get_policy,
    "DescribeStacks": describe,
    "ListStacks": list_stacks,
    "DescribeStackEvents": describe_events,
    "DescribeEvents": describe_operation_events,
    "DescribeStackResources": describe_resources,
    "DescribeStackResource": describe_resource,
    "ListStackResources": list_resources,
    "GetTemplate": get_template,
    "CreateChangeSet": create_change_set,
    "DescribeChangeSet": describe_change_set,
    "ExecuteChangeSet": execute_change_set,
    "DeleteChangeSet": delete_change_set,
    "ListChangeSets": list_change_sets,
}
