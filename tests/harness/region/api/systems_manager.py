"""Calls of Systems Manager that are about commands; parameters and documents are moto's.

<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html>
"""

from moto.ssm.responses import SimpleSystemManagerResponse

from ..commands import Command
from ..refusal import refusal_of

RESPONSE = SimpleSystemManagerResponse
MOST_INSTANCES = 50
TOO_MANY = (
    "1 validation error detected: Value at 'instanceIds' failed to satisfy constraint: Member must have length less than or "
    f"equal to {MOST_INSTANCES}"
)


Refused = refusal_of("ssm")


def refused(_code: str, message: str):
    """What is wrong with the parameters of a command."""
    return Refused("InvalidParameters", message)


def corrections(engine) -> list[tuple]:
    return []


def targets(engine, given) -> list[str]:
    if ids := given.get("InstanceIds"):
        if len(ids) > MOST_INSTANCES:
            raise Refused("ValidationException", TOO_MANY)
        if missing := [id for id in ids if id not in engine.instances or not engine.instances[id].alive() or id in engine.unmanaged]:
            raise Refused(
                "InvalidInstanceId", f"Instances [[{', '.join(missing)}]] not in a valid state for account 123456789012"
            )
        return ids
    found = [one for one in engine.instances.values() if one.alive() and one.id not in engine.unmanaged]
    for target in given.get("Targets", []):
        key, values = target["Key"], target["Values"]
        if key.lower() == "instanceids":
            found = [one for one in found if one.id in values]
        elif key.startswith("tag:"):
            found = [one for one in found if one.spec.tags.get(key.removeprefix("tag:")) in values]
    return [one.id for one in found]


def send(engine, given):
    return {"Command": Command(engine, given, targets(engine, given)).describe()}


def list_commands(engine, given):
    wanted = given.get("CommandId")
    return {"Commands": [one.describe() for one in engine.commands.values() if wanted in (None, one.id)]}


def list_invocations(engine, given):
    wanted, instance = given.get("CommandId"), given.get("InstanceId")
    found = [one for command in engine.commands.values() if wanted in (None, command.id) for one in command.invocations]
    return {"CommandInvocations": [one.describe() for one in found if instance in (None, one.instance)]}


def get_invocation(engine, given):
    command = engine.commands.get(given["CommandId"])
    for one in command.invocations if command else []:
        if one.instance == given["InstanceId"]:
            return one.detail()
    raise Refused("InvocationDoesNotExist", "")


def describe_instances(engine, given):
    """The instances whose agent is there."""
    wanted = [value for one in given.get("Filters", []) if one["Key"] == "InstanceIds" for value in one["Values"]]
    found = [one for one in engine.instances.values() if one.alive() and one.id not in engine.unmanaged and (not wanted or one.id in wanted)]
    said = [
        {"InstanceId": one.id, "PingStatus": "Online", "PlatformType": "Linux", "IPAddress": one.address}
        for one in found
    ]
    return {"InstanceInformationList": said}


CALLS = {
    "SendCommand": send,
    "ListCommands": list_commands,
    "ListCommandInvocations": list_invocations,
    "GetCommandInvocation": get_invocation,
    "DescribeInstanceInformation": describe_instances,
}
