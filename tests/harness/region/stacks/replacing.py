"""AutoScalingReplacingUpdate: another group beside the old one, all or nothing.

<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html#cfn-attributes-updatepolicy-replacingupdate>:
"During replacement, CloudFormation retains the old group until it finishes creating the new one. If the update fails,
CloudFormation can roll back to the old Auto Scaling group and delete the new Auto Scaling group." Whether it succeeded
is the CreationPolicy's to say.
"""

from collections.abc import Callable

from . import events


def replaces(policy: dict) -> bool:
    """It takes precedence over a rolling update."""
    return str(policy.get("AutoScalingReplacingUpdate", {}).get("WillReplace", "false")).lower() == "true"


def replace(stack, old, wanted, make: Callable):
    """Makes the new group in place of the old one, which is returned: it is to be removed."""
    stack.tell(old, "UPDATE_IN_PROGRESS", events.REPLACED)
    stack.resources[wanted.logical] = wanted
    wanted.properties.pop("AutoScalingGroupName", None)
    make(stack, wanted)
    stack.tell(wanted, "UPDATE_COMPLETE")
    return old
