"""What a stack does: creation, update, deletion, and the way back from each.

<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html>,
<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-continueupdaterollback.html>.
Resources come one after the other; CloudFormation does those that do not need each other at the same time.
Each runs in a thread of its own and holds the lock, except where it waits.
"""

from collections.abc import Callable

from ..engine import now
from . import events
from .replacing import replace, replaces
from .resources import GROUP, Resource
from .rolling import Rolling, obsolete_of
from .signals import Breached, Cancelled, ResourceFailed, Waiting
from .stack import Stack
from .template import Template

# Changes of a group that its UpdatePolicy is for. Source:
# <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html>
REPLACES_INSTANCES = ("LaunchTemplate", "MixedInstancesPolicy", "VPCZoneIdentifier", "LaunchConfigurationName")
SIZES = ("MinSize", "MaxSize", "DesiredCapacity")


def begin(stack: Stack, operation: Callable, *given) -> None:
    """Starts an operation, with the lock held; it goes on beside."""

    def run() -> None:
        with stack.engine.lock:
            operation(stack, *given)

    stack.engine.start(run)


# Creation.


def create(stack: Stack, template: Template, on_failure: str) -> None:
    template.resource = lambda name, attribute: stack.resources[name].attribute(attribute)
    for name in template.order():
        resource = declared(template, name)
        stack.resources[name] = resource
        try:
            make(stack, resource)
        except ResourceFailed as why:
            stack.tell(resource, "CREATE_FAILED", str(why))
            return creation_failed(stack, f"The following resource(s) failed to create: [{name}]. ", on_failure)
        except Breached as why:
            stack.tell(resource, "CREATE_FAILED", events.CANCELLED_CREATION)
            return creation_failed(stack, events.BREACHED.format(arns=why) + " ", on_failure)
    try:
        stack.monitor()
    except Breached as why:
        return creation_failed(stack, events.BREACHED.format(arns=why) + " ", on_failure)
    stack.outputs = outputs(template)
    stack.tell(None, "CREATE_COMPLETE")
    return None


def declared(template: Template, name: str) -> Resource:
    """A resource with its properties and policies, every function carried out."""
    found = template.content["Resources"][name]
    resource = Resource(name, found["Type"], template.value(found.get("Properties", {})))
    resource.policies = {
        key: template.value(found[key]) for key in ("CreationPolicy", "UpdatePolicy", "DeletionPolicy") if key in found
    }
    return resource


def make(stack: Stack, resource: Resource) -> None:
    stack.tell(resource, "CREATE_IN_PROGRESS")
    try:
        resource.make(stack.engine, stack)
    except Exception as error:
        if isinstance(error, ResourceFailed):
            raise
        raise ResourceFailed(f"Resource handler returned message: {error!r}") from error
    stack.tell(resource, "CREATE_IN_PROGRESS", events.INITIATED)
    if wanted := resource.policies.get("CreationPolicy", {}).get("ResourceSignal"):
        number = int(wanted.get("Count", 1))
        percent = (
            resource.policies["CreationPolicy"]
            .get("AutoScalingCreationPolicy", {})
            .get("MinSuccessfulInstancesPercent", 100)
        )
        waiting = Waiting(stack, resource, number, int(percent))
        try:
            if number:
                waiting.wait(number, wanted.get("Timeout", "PT5M"))
        finally:
            waiting.end()
    stack.tell(resource, "CREATE_COMPLETE")


def creation_failed(stack: Stack, reason: str, on_failure: str) -> None:
    stack.watches = False
    if on_failure == "DO_NOTHING":
        return stack.tell(None, "CREATE_FAILED", reason)
    if on_failure == "DELETE":
        stack.tell(None, "DELETE_IN_PROGRESS", reason + "Delete requested by user.")
        return delete(stack, created=True)
    stack.tell(None, "ROLLBACK_IN_PROGRESS", reason + "Rollback requested by user.")
    return undo_creation(stack)


def undo_creation(stack: Stack) -> None:
    remove(stack, reversed(list(stack.resources)), created=True)
    stack.tell(None, "ROLLBACK_COMPLETE")


# Update.


def update(stack: Stack, template: Template, before: list[Resource]) -> None:
    """`before`: copies of the resources as they were."""
    template.resource = lambda name, attribute: stack.resources[name].attribute(attribute)
    stack.former = {resource.logical: resource for resource in before}
    left: list[Resource] = []
    try:
        for name in template.order():
            stack.check()
            left += apply(stack, declared(template, name))
        name = ""
        stack.monitor()
    except ResourceFailed as why:
        stack.tell(stack.resources[name], "UPDATE_FAILED", str(why))
        reason = f"The following resource(s) failed to update: [{name}]. "
        if stack.disables_rollback:
            # It stays as it is, until RollbackStack.
            return stack.tell(None, "UPDATE_FAILED", reason)
        stack.tell(None, "UPDATE_ROLLBACK_IN_PROGRESS", reason)
        return roll_back(stack)
    except (Cancelled, Breached) as why:
        if name in stack.resources:
            stack.tell(stack.resources[name], "UPDATE_FAILED", events.CANCELLED_UPDATE)
        reason = events.BREACHED.format(arns=why) if isinstance(why, Breached) else "User Initiated"
        stack.tell(None, "UPDATE_ROLLBACK_IN_PROGRESS", reason)
        return roll_back(stack)
    stack.template, stack.outputs = template, outputs(template)
    gone = [name for name in stack.resources if name not in template.order()]
    stack.tell(None, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
    for resource in left:
        remove_one(stack, resource)
    remove(stack, reversed(gone))
    return stack.tell(None, "UPDATE_COMPLETE")


def apply(stack: Stack, wanted: Resource) -> list[Resource]:
    """Makes a resource what is wanted. What is left to be removed once the update has succeeded."""
    resource = stack.resources.get(wanted.logical)
    if resource is None:
        stack.resources[wanted.logical] = wanted
        make(stack, wanted)
        return []
    if resource.type == GROUP:
        return update_group(stack, resource, wanted)
    if resource.properties != wanted.properties:
        stack.tell(resource, "UPDATE_IN_PROGRESS")
        resource.change(stack, wanted.properties)
        stack.tell(resource, "UPDATE_COMPLETE")
    resource.policies = wanted.policies
    return []


def update_group(stack: Stack, resource: Resource, wanted: Resource, back: bool = False) -> list[Resource]:
    policy = wanted.policies.get("UpdatePolicy", {})
    changed = [
        key
        for key in {*resource.properties, *wanted.properties}
        if resource.properties.get(key) != wanted.properties.get(key)
    ]
    renewed = any(key in changed for key in REPLACES_INSTANCES)
    if renewed and replaces(policy):
        return [replace(stack, resource, wanted, make)]
    if changed:
        stack.tell(resource, "UPDATE_IN_PROGRESS")
        change_group(stack, resource, wanted, policy, back)
    resource.policies = wanted.policies
    rolling = policy.get("AutoScalingRollingUpdate")
    # Also where the group has instances that do not match, whatever else the update changes.
    if rolling and (renewed or obsolete_of(resource.model)):
        if not changed:
            stack.tell(resource, "UPDATE_IN_PROGRESS")
        Rolling(stack, resource, rolling).run()
        changed = changed or ["instances"]
    if changed:
        stack.tell(resource, "UPDATE_COMPLETE")
    return []


def change_group(stack: Stack, resource: Resource, wanted: Resource, policy: dict, back: bool) -> None:
    """IgnoreUnmodifiedGroupSizeProperties: sizes that the template leaves as they are stay what they are now. On the
    way back of a rolling update, a desired capacity that the template has is set again (users' logs, see `rolling`)."""
    before, resource.properties = resource.properties, wanted.properties
    given = resource.of_group(stack)
    ignores = policy.get("AutoScalingScheduledAction", {}).get("IgnoreUnmodifiedGroupSizeProperties")
    if str(ignores).lower() == "true":
        own = ("DesiredCapacity",) if back else ()
        given = {key: one for key, one in given.items() if key not in SIZES or before.get(key) != one or key in own}
    resource.model.update({"TargetGroupARNs": [], **given})


# The way back.


def roll_back(stack: Stack) -> None:
    stack.cancelled, stack.watches, former = False, False, stack.former
    for name in [name for name in stack.resources if name in former]:
        try:
            restore(stack, name, former[name])
        except ResourceFailed as why:
            stack.tell(stack.resources[name], "UPDATE_FAILED", str(why))
            return stack.tell(None, "UPDATE_ROLLBACK_FAILED", f"The following resource(s) failed to update: [{name}]. ")
    stack.tell(None, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
    for resource in stack.replacements:
        remove_one(stack, resource)
    stack.replacements = []
    remove(stack, [name for name in stack.resources if name not in former], created=True)
    return stack.tell(None, "UPDATE_ROLLBACK_COMPLETE")


def restore(stack: Stack, name: str, former: Resource) -> None:
    """Another update, back to the properties of before: a group rolls by its policy of before."""
    resource = stack.resources[name]
    if resource.model is not former.model and former.type == GROUP:
        stack.replacements.append(resource)
        stack.resources[name] = former
        return stack.tell(former, "UPDATE_COMPLETE")
    if former.type == GROUP and (resource.properties != former.properties or obsolete_of(resource.model)):
        wanted = Resource(name, GROUP, former.properties)
        wanted.policies = {
            **former.policies,
            "UpdatePolicy": without_replacing(former.policies.get("UpdatePolicy", {})),
        }
        update_group(stack, resource, wanted, back=True)
        resource.policies = former.policies
        return None
    if resource.properties != former.properties:
        stack.tell(resource, "UPDATE_IN_PROGRESS")
        resource.change(stack, former.properties)
        stack.tell(resource, "UPDATE_COMPLETE")
    return None


def without_replacing(policy: dict) -> dict:
    return {key: one for key, one in policy.items() if key != "AutoScalingReplacingUpdate"}


# Deletion.


def delete(stack: Stack, created: bool = False) -> None:
    remove(stack, reversed(list(stack.resources)), created)
    stack.deleted = now()
    stack.tell(None, "DELETE_COMPLETE")


def remove(stack: Stack, names, created: bool = False) -> None:
    """`created`: whether the operation that made them is rolled back."""
    for name in list(names):
        remove_one(stack, stack.resources[name], created)
        del stack.resources[name]


def remove_one(stack: Stack, resource: Resource, created: bool = False) -> None:
    """<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html>:
    "RetainExceptOnCreate behaves like Retain for stack operations, except for the stack operation that initially created
    the resource. If the stack operation that created the resource is rolled back, CloudFormation deletes the resource."
    Of what may leave a snapshot, databases do here."""
    policy = resource.policies.get("DeletionPolicy", "Delete")
    if policy == "Retain" or (policy == "RetainExceptOnCreate" and not created):
        return stack.tell(resource, "DELETE_SKIPPED")
    stack.tell(resource, "DELETE_IN_PROGRESS")
    if policy == "Snapshot" and hasattr(resource.model, "snapshot"):
        resource.model.snapshot()
    resource.remove(stack.engine)
    return stack.tell(resource, "DELETE_COMPLETE")


def outputs(template: Template) -> list[dict]:
    found = []
    for name, output in template.content.get("Outputs", {}).items():
        if "Condition" in output and not template.condition(output["Condition"]):
            continue
        one = {
            "OutputKey": name,
            "OutputValue": str(template.value(output["Value"])),
            "Description": output.get("Description", ""),
        }
        if "Export" in output:
            one["ExportName"] = template.value(output["Export"]["Name"])
        found.append(one)
    return found
