"""Calls of Auto Scaling. <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Operations.html>"""

import time

from moto.autoscaling.responses import AutoScalingResponse

from ..balancing.targets import targets_of
from ..group import Group, activities, refresh
from ..group.activities import Activity
from ..group.group import PROCESSES
from ..refusal import refusal_of

RESPONSE = AutoScalingResponse
refused = refusal_of("autoscaling")


def corrections(engine) -> list[tuple]:
    return []


def group_of(engine, given: dict) -> Group:
    name = given["AutoScalingGroupName"]
    if name not in engine.groups:
        raise ValueError(f"AutoScalingGroup name not found - {name}")
    return engine.groups[name]


def member_of(engine, id: str):
    for group in engine.groups.values():
        for member in group.members:
            if member.id == id:
                return member
    raise ValueError(f"Instance Id not found - No managed instance found for instance ID: {id}")


def create(engine, given):
    name = given["AutoScalingGroupName"]
    if name in engine.groups:
        message = f"AutoScalingGroup by this name already exists - A group with the name {name} already exists"
        raise refused("AlreadyExists", message)
    Group(engine, name, given)


def update(engine, given):
    group_of(engine, given).update(given)


def delete(engine, given):
    group = group_of(engine, given)
    force = str(given.get("ForceDelete")).lower() == "true"
    if group.members and not force:
        message = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group."
        raise refused("ResourceInUse", message)
    group.delete(force)


def limits(engine, given):
    """What Service Quotas calls "Auto Scaling groups per region", and how many there are."""
    most = engine.quotas.get("L-CDE20ADC", 500)
    launch_configurations = {"MaxNumberOfLaunchConfigurations": 200, "NumberOfLaunchConfigurations": 0}
    return {"MaxNumberOfAutoScalingGroups": int(most), "NumberOfAutoScalingGroups": len(engine.groups), **launch_configurations}


def describe(engine, given):
    """Filters of tags' values (`tag:KEY`) are there, others are not."""
    names = given.get("AutoScalingGroupNames") or list(engine.groups)
    found = [engine.groups[name] for name in names if name in engine.groups]
    for one in given.get("Filters") or []:
        key = one["Name"].removeprefix("tag:")
        found = [group for group in found if any(tag["Key"] == key and tag["Value"] in one["Values"] for tag in group.tags)]
    return {"AutoScalingGroups": [described(group) for group in found]}


def described(group: Group) -> dict:
    said = {
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": group.arn,
        "MinSize": group.smallest,
        "MaxSize": group.largest,
        "DesiredCapacity": group.desired,
        "DefaultCooldown": 300,
        "AvailabilityZones": sorted({member.zone for member in group.members if member.zone}),
        "LoadBalancerNames": [],
        "TargetGroupARNs": group.target_groups,
        "HealthCheckType": group.health_check,
        "HealthCheckGracePeriod": group.grace,
        "Instances": [member.describe() for member in group.members if member.id],
        "CreatedTime": group.created,
        "SuspendedProcesses": [
            {"ProcessName": name, "SuspensionReason": "User suspended"} for name in sorted(group.suspended)
        ],
        "VPCZoneIdentifier": group.subnets,
        "Tags": [{"ResourceId": group.name, "ResourceType": "auto-scaling-group", **tag} for tag in group.tags],
        "TerminationPolicies": ["Default"],
        "NewInstancesProtectedFromScaleIn": group.protects_new,
    }
    if group.deleting:
        said["Status"] = "Delete in progress"
    said |= {"MixedInstancesPolicy": group.mixed} if group.mixed else {"LaunchTemplate": group.launch}
    return said


def describe_instances(engine, given):
    wanted = given.get("InstanceIds")
    found = [
        {**member.describe(), "AutoScalingGroupName": group.name, "HealthStatus": member.health.upper()}
        for group in engine.groups.values()
        for member in group.members
        if member.id and (not wanted or member.id in wanted)
    ]
    return {"AutoScalingInstances": found}


def describe_activities(engine, given):
    name = given.get("AutoScalingGroupName")
    groups = [group for group in engine.groups.values() if name in (None, group.name)]
    found = [activity for group in groups for activity in group.activities]
    if wanted := given.get("ActivityIds"):
        found = [activity for activity in found if activity.id in wanted]
    return {"Activities": [activity.describe() for activity in found[: int(given.get("MaxRecords", 100))]]}


def set_desired(engine, given):
    group_of(engine, given).set_desired(int(given["DesiredCapacity"]))


def terminate(engine, given):
    member = member_of(engine, given["InstanceId"])
    decrement = str(given["ShouldDecrementDesiredCapacity"]).lower() == "true"
    return {"Activity": member.group.terminate(member, decrement).describe()}


def set_health(engine, given):
    member = member_of(engine, given["InstanceId"])
    if given["HealthStatus"] == "Healthy":
        member.health, member.complaint = "Healthy", None
        return
    # By default the grace period is respected.
    # <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetInstanceHealth.html>
    respects = str(given.get("ShouldRespectGracePeriod", "true")).lower() == "true"
    grace = member.group.grace / engine.pace.schedule
    if not respects or (member.since is not None and time.monotonic() > member.since + grace):
        member.complain(activities.OF_USER)


def protect(engine, given):
    for id in given["InstanceIds"]:
        group_of(engine, given).member(id).protected = str(given["ProtectedFromScaleIn"]).lower() == "true"


def processes(given) -> set[str]:
    return set(given.get("ScalingProcesses") or PROCESSES)


def suspend(engine, given):
    group_of(engine, given).suspended |= processes(given)


def resume(engine, given):
    group_of(engine, given).suspended -= processes(given)
    engine.changed()


def put_hook(engine, given):
    group_of(engine, given).put_hook(given)


def delete_hook(engine, given):
    group_of(engine, given).hooks.pop(given["LifecycleHookName"], None)


def describe_hooks(engine, given):
    wanted = given.get("LifecycleHookNames")
    hooks = group_of(engine, given).hooks.values()
    return {"LifecycleHooks": [hook.describe() for hook in hooks if not wanted or hook.name in wanted]}


def action_of(engine, given):
    """The action that waits. Without any the call is refused."""
    group = group_of(engine, given)
    name, instance, token = given["LifecycleHookName"], given.get("InstanceId"), given.get("LifecycleActionToken")
    for member in group.members:
        for action in member.actions:
            if (
                action.hook.name == name
                and (action.token == token or (token is None and member.id == instance))
                and action.waits
            ):
                return action
    raise ValueError(
        f"No active Lifecycle Action found with {f'token {token}' if token else f'instance ID {instance}'}"
    )


def complete(engine, given):
    action_of(engine, given).result = given["LifecycleActionResult"]
    engine.changed()


def beat(engine, given):
    action_of(engine, given).beat()


def sizes(group: Group) -> str:
    return f"AutoScalingGroup {group.name} has min-size={group.smallest}, max-size={group.largest}, and desired-size={group.desired}."


def standby(engine, given):
    """EnterStandby: <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_EnterStandby.html>."""
    group, said = group_of(engine, given), []
    for id in given["InstanceIds"]:
        member = group.member(id)
        if not member.in_service:
            raise ValueError(f"The instance {id} is not in InService or is not in the correct state to enter standby.")
        if str(given["ShouldDecrementDesiredCapacity"]).lower() == "true":
            if group.desired - 1 < group.smallest:
                raise ValueError(
                    f"{sizes(group)} To place into standby 1 instance, please update the AutoScalingGroup sizes appropriately."
                )
            group.desired -= 1
        member.activity = group.tell(
            Activity(group.name, f"Moving EC2 instance to Standby: {id}", "At the request of a user")
        )
        member.enter_standby()
        said.append(member.activity.describe())
    return {"Activities": said}


def exit_standby(engine, given):
    group, said = group_of(engine, given), []
    for id in given["InstanceIds"]:
        member = group.member(id)
        if member.state != "Standby":
            raise ValueError(f"The instance {id} is not in Standby.")
        if group.desired + 1 > group.largest:
            raise ValueError(
                f"{sizes(group)} To move 1 instance out of standby, please update the AutoScalingGroup sizes appropriately."
            )
        group.desired += 1
        title = f"Moving EC2 instance out of Standby: {id}"
        member.activity = group.tell(Activity(group.name, title, "At the request of a user", "PreInService"))
        member.enter()
        said.append(member.activity.describe())
    return {"Activities": said}


def attach_targets(engine, given):
    group = group_of(engine, given)
    group.target_groups += [arn for arn in given["TargetGroupARNs"] if arn not in group.target_groups]
    for member in group.members:
        if member.in_service:
            for arn in given["TargetGroupARNs"]:
                targets_of(engine, arn).register(member.id)


def detach_targets(engine, given):
    group = group_of(engine, given)
    for arn in given["TargetGroupARNs"]:
        group.target_groups = [one for one in group.target_groups if one != arn]
        for member in group.members:
            targets_of(engine, arn).deregister(member.id)


def describe_targets(engine, given):
    arns = group_of(engine, given).target_groups
    return {"LoadBalancerTargetGroups": [{"LoadBalancerTargetGroupARN": arn, "State": "InService"} for arn in arns]}


def tag(engine, given):
    for tag in given["Tags"]:
        group = group_of(engine, {"AutoScalingGroupName": tag["ResourceId"]})
        own = {key: tag[key] for key in ("Key", "Value", "PropagateAtLaunch") if key in tag}
        group.tags = [one for one in group.tags if one["Key"] != tag["Key"]] + [own]


def start_refresh(engine, given):
    return {"InstanceRefreshId": refresh.start(group_of(engine, given), given).id}


def describe_refreshes(engine, given):
    wanted = given.get("InstanceRefreshIds")
    found = group_of(engine, given).refreshes
    return {"InstanceRefreshes": [one.describe() for one in found if not wanted or one.id in wanted]}


def cancel_refresh(engine, given):
    return {"InstanceRefreshId": refresh.cancel(group_of(engine, given)).id}


def roll_refresh_back(engine, given):
    return {"InstanceRefreshId": refresh.roll_back(group_of(engine, given)).id}


CALLS = {
    "CreateAutoScalingGroup": create,
    "UpdateAutoScalingGroup": update,
    "DeleteAutoScalingGroup": delete,
    "DescribeAccountLimits": limits,
    "DescribeAutoScalingGroups": describe,
    "DescribeAutoScalingInstances": describe_instances,
    "DescribeScalingActivities": describe_activities,
    "SetDesiredCapacity": set_desired,
    "TerminateInstanceInAutoScalingGroup": terminate,
    "SetInstanceHealth": set_health,
    "SetInstanceProtection": protect,
    "SuspendProcesses": suspend,
    "ResumeProcesses": resume,
    "PutLifecycleHook": put_hook,
    "DeleteLifecycleHook": delete_hook,
    "DescribeLifecycleHooks": describe_hooks,
    "CompleteLifecycleAction": complete,
    "RecordLifecycleActionHeartbeat": beat,
    "EnterStandby": standby,
    "ExitStandby": exit_standby,
    "AttachLoadBalancerTargetGroups": attach_targets,
    "DetachLoadBalancerTargetGroups": detach_targets,
    "DescribeLoadBalancerTargetGroups": describe_targets,
    "CreateOrUpdateTags": tag,
    "StartInstanceRefresh": start_refresh,
    "DescribeInstanceRefreshes": describe_refreshes,
    "CancelInstanceRefresh": cancel_refresh,
    "RollbackInstanceRefresh": roll_refresh_back,
}
