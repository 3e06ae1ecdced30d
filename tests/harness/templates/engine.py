"""What CloudFormation and Auto Scaling do with the group, and what cfn-lint lets pass of it."""

import json
import re

from . import Chosen, depends_on, resources, runbook, several, texts

# What would work against an update is suspended; what the update itself needs is not.
SUSPENDED = {"HealthCheck", "ReplaceUnhealthy", "AZRebalance", "AlarmNotification", "ScheduledActions", "InstanceRefresh"}

# The longest PauseTime of CloudFormation is an hour, and cfn-lint does not know.
TAKEN = ["PT15M", "PT59M", "PT1H"]
REFUSED = ["PT0M", "PT60M", "PT90M", "PT2H", "15"]

SIZES = {"Capacity": "6", "BatchSize": "2", "MinInService": "4", "MinSize": "2", "MaxSize": "9"}

# Policy and mode, and of a rolling update: how many stay in service, and how many are replaced at a time.
ROLLING = {
    ("rolling", "highly_available"): ("4", "2"),
    ("rolling_with_batch", "highly_available"): ("6", "2"),
    ("all_at_once", "highly_available"): (0, 100),
    ("rolling", "single_instance"): (0, "2"),
    ("rolling_with_batch", "single_instance"): ("6", "2"),
    ("all_at_once", "single_instance"): (0, 100),
}
MODES = ("highly_available", "single_instance")

REFRESHES = ("Refreshes", "Refresher")
EXPRESSIONS = {
    "": True,
    "cron(0 3 ? * TUE *)": True,
    "cron(0/30 3 1 * ? 2027)": True,
    "rate(7 days)": True,
    "weekly": False,
    "0 3 * * *": False,
    "at(2026-12-01T03:00:00)": False,
    'cron(0 3 ? * TUE *)"': False,
}

HOOKS = [
    ("ready", "autoscaling:EC2_INSTANCE_LAUNCHING", "ABANDON"),
    ("leaving", "autoscaling:EC2_INSTANCE_TERMINATING", "CONTINUE"),
]


def update_policy(template: dict, policy: str, mode: str) -> dict:
    return Chosen(template, Policy=policy, Mode=mode, **SIZES).resource("Group")["UpdatePolicy"]


def each_policy_has_its_update(template: dict) -> list[str]:
    """One of a rolling and a replacing update, or none: CloudFormation refuses both at once."""
    wrong = []
    for mode in MODES:
        for policy in template["Parameters"]["Policy"]["AllowedValues"]:
            found = update_policy(template, policy, mode)
            expected = {"AutoScalingScheduledAction"}
            expected |= {"AutoScalingRollingUpdate"} if (policy, mode) in ROLLING else set()
            expected |= {"AutoScalingReplacingUpdate"} if policy == "immutable" else set()
            if set(found) != expected:
                wrong.append(f"{policy} of {mode} is {sorted(found)}")
            if found["AutoScalingScheduledAction"] != {"IgnoreUnmodifiedGroupSizeProperties": True}:
                wrong.append(f"{policy} of {mode} sets sizes back")
            if policy == "immutable" and found.get("AutoScalingReplacingUpdate") != {"WillReplace": True}:
                wrong.append(f"{policy} of {mode} replaces nothing")
    return wrong


def rolling_updates_wait_for_signals(template: dict) -> list[str]:
    wrong = []
    for (policy, mode), sizes in ROLLING.items():
        rolling = update_policy(template, policy, mode).get("AutoScalingRollingUpdate", {})
        found = (rolling.get("MinInstancesInService"), rolling.get("MaxBatchSize"))
        if found != sizes:
            wrong.append(f"{policy} of {mode} keeps and replaces {found}, expected {sizes}")
        if rolling.get("WaitOnResourceSignals") is not True or rolling.get("MinSuccessfulInstancesPercent") != 100:
            wrong.append(f"{policy} of {mode} does not wait for each signal")
        if set(rolling.get("SuspendProcesses", [])) != SUSPENDED:
            wrong.append(f"{policy} of {mode} suspends {rolling.get('SuspendProcesses')}")
        if rolling.get("PauseTime") != Chosen(template).parameters["PauseTime"]:
            wrong.append(f"{policy} of {mode} has another PauseTime")
    return wrong


def batches_are_at_most_a_hundred(template: dict) -> list[str]:
    """The maximum of MaxBatchSize, which cfn-lint does not know.

    <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html#cfn-attributes-updatepolicy-rollingupdate-maxbatchsize>
    """
    wrong = []
    for policy, mode in ROLLING:
        size = update_policy(template, policy, mode)["AutoScalingRollingUpdate"]["MaxBatchSize"]
        most = size if isinstance(size, int) else int(template["Parameters"]["BatchSize"]["MaxValue"])
        if most > 100:
            wrong.append(f"{policy} of {mode} replaces {most} at a time")
    return wrong


def pauses_are_within_an_hour(template: dict) -> list[str]:
    pattern = template["Parameters"]["PauseTime"]["AllowedPattern"]
    wrong = [f"PauseTime {text} is refused" for text in TAKEN if not re.fullmatch(pattern, text)]
    return wrong + [f"PauseTime {text} is taken" for text in REFUSED if re.fullmatch(pattern, text)]


def defaults_leave_room(template: dict) -> list[str]:
    """A rolling update that keeps as many in service as there may be never begins, and cfn-lint lets it pass."""
    usual = {name: int(Chosen(template).parameters[name]) for name in SIZES}
    wrong = [] if usual["MinInService"] < usual["MaxSize"] else ["MinInService is not below MaxSize"]
    if not usual["MinSize"] <= usual["Capacity"] <= usual["MaxSize"]:
        wrong.append("Capacity is not between MinSize and MaxSize")
    if not usual["MinInService"] + usual["BatchSize"] <= max(usual["Capacity"], 1):
        wrong.append("MinInService and BatchSize are more than Capacity")
    single = Chosen(template, Mode="single_instance", Capacity="1").resource("Group")["Properties"]
    if (single["MinSize"], single["MaxSize"]) != (1, 2):
        wrong.append("a single instance has no room for its successor")
    maintenance = single["InstanceMaintenancePolicy"]
    if maintenance != {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 110}:
        wrong.append(f"maintenance within {maintenance}")
    return wrong


def creation_waits_for_every_instance(template: dict) -> list[str]:
    """Without a condition: AWS does not say that creation policies take any."""
    wanted = {
        "ResourceSignal": {"Count": {"Ref": "Capacity"}, "Timeout": {"Ref": "PauseTime"}},
        "AutoScalingCreationPolicy": {"MinSuccessfulInstancesPercent": 100},
    }
    found = template["Resources"]["Group"].get("CreationPolicy")
    return [] if found == wanted else [f"creation waits for {found}"]


def a_policy_is_set_by_an_update_of_its_own(template: dict) -> list[str]:
    """A rollback follows the update policy of before the update: it is set by one that replaces no instance."""
    group = template["Resources"]["Group"]
    changes = depends_on(template, group["Properties"])
    replaces = depends_on(template, template["Resources"]["Launch"])
    for name in ("LaunchTemplate", "MixedInstancesPolicy", "VPCZoneIdentifier"):
        replaces |= depends_on(template, group["Properties"].get(name))
    sets = depends_on(template, [group.get("UpdatePolicy"), group.get("CreationPolicy")])
    wrong = [f"an update of {name} alone changes nothing" for name in sorted(sets - changes)]
    both = (sets | {"Capacity"}) & (replaces - {"Mode"})
    wrong += [f"an update of {name} replaces instances" for name in sorted(both)]
    tags = [tag for tag in group["Properties"]["Tags"] if "Policy" in depends_on(template, tag)]
    return wrong + [f"instances carry {tag['Key']} of other updates" for tag in tags if tag["PropagateAtLaunch"]]


def a_warm_pool_has_its_size(template: dict) -> list[str]:
    """Without a maximum of the same size, Auto Scaling fills the pool up to the maximum of the group."""
    pool = template["Resources"]["Pool"]["Properties"]
    found = (pool.get("MinSize"), pool.get("MaxGroupPreparedCapacity"))
    return [] if found == ({"Ref": "WarmPool"},) * 2 else [f"the pool has {found}"]


def work_in_hand_has_time(template: dict) -> list[str]:
    """A drain is not over before the load balancer is, or the longest message, and the hook waits that long."""
    given = {"Deregistration": "600"} if "Deregistration" in template["Parameters"] else {"Grace": "600"}
    wrong = []
    for mode in MODES:
        chosen = Chosen(template, Mode=mode, **given)
        pieces = chosen.resource("Launch")["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]["Fn::Join"][1]
        text = "".join(several(piece["Fn::Sub"])[0] if isinstance(piece, dict) else piece for piece in pieces)
        for name, value in chosen.parameters.items():
            text = text.replace(f"${{{name}}}", value)
        found = re.search(r"leave: \{.*\bgrace: (?:([0-9]+)m)?([0-9]+)s", text)
        if not found or 60 * int(found.group(1) or 0) + int(found.group(2)) < 600:
            wrong.append(f"work in hand is cut short in {mode}")
    waits = int(Chosen(template).parameters["LeavingTimeout"])
    longest = int(template["Parameters"].get("Grace", {"Default": 0})["Default"])
    hook = template["Resources"]["Group"]["Properties"]["LifecycleHookSpecificationList"][1]
    if hook["HeartbeatTimeout"] != {"Ref": "LeavingTimeout"} or 100 * waits < longest:
        wrong.append(f"the hook waits 100 times {waits} s at most")
    return wrong


def capacity_is_that_of_the_moment(template: dict) -> list[str]:
    wrong = []
    for policy in template["Parameters"]["Policy"]["AllowedValues"]:
        found = Chosen(template, Policy=policy, **SIZES).resource("Group")["Properties"].get("DesiredCapacity")
        if found != (None if policy == "in_place" else "6"):
            wrong.append(f"{policy} asks for {found}")
    return wrong


def hooks_have_their_names(template: dict) -> list[str]:
    hooks = template["Resources"]["Group"]["Properties"].get("LifecycleHookSpecificationList", [])
    found = [(hook["LifecycleHookName"], hook["LifecycleTransition"], hook["DefaultResult"]) for hook in hooks]
    return [] if found == HOOKS else [f"hooks are {found}"]


def versions_are_numbers(template: dict) -> list[str]:
    """`$Latest` makes an update change nothing, and a group that scales out launch what nobody has deployed."""
    wrong = []
    for kind in ({}, {"OnDemandPercent": "50"}, {"SecondInstanceType": "m7i.large"}):
        group = Chosen(template, **kind).resource("Group")["Properties"]
        launch = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification")
        if bool(kind) != ("MixedInstancesPolicy" in group) or bool(kind) == ("LaunchTemplate" in group):
            wrong.append(f"{kind} has both or none")
        version = (launch or group.get("LaunchTemplate", {})).get("Version")
        if version != {"Fn::GetAtt": ["Launch", "LatestVersionNumber"]}:
            wrong.append(f"the group launches {version}")
    return wrong


def first_boots_find_everything(template: dict) -> list[str]:
    """A group that is made before the rights of its instances has boots that fail, now and then."""
    before = texts(template["Resources"]["Group"].get("Metadata"))
    needed = resources(
        template,
        "AWS::IAM::RolePolicy",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
    )
    wrong = [f"{name} may come after the group" for name in needed if f'{{"Ref": "{name}"}}' not in before]
    listeners = resources(template, "AWS::ElasticLoadBalancingV2::Listener")
    serve = [name for name, one in listeners.items() if "forward" in texts(one["Properties"]["DefaultActions"])]
    return wrong + [f"{name} may come after the group" for name in serve if f'{{"Ref": "{name}"}}' not in before]


def tags_say_what_runs(template: dict) -> list[str]:
    tags = {tag["Key"]: tag["PropagateAtLaunch"] for tag in template["Resources"]["Group"]["Properties"]["Tags"]}
    wanted = {f"ingot:{name}": True for name in ("application", "environment", "release", "deployment")}
    return [] if wanted.items() <= tags.items() else [f"instances carry {sorted(tags)}"]


def instances_are_replaced_on_a_schedule(template: dict) -> list[str]:
    """As the group replaces any instance, so without preferences, and only if it is asked for.

    <https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html>
    """
    wrong = [f"{name} is there without Refresh" for name in REFRESHES if Chosen(template).is_there(name)]
    chosen = Chosen(template, Refresh="rate(7 days)")
    wrong += [f"there is no {name}" for name in REFRESHES if not chosen.is_there(name)]
    found = chosen.resource("Refreshes")["Properties"]
    if found["ScheduleExpression"] != "rate(7 days)":
        wrong.append(f"instances are replaced at {found['ScheduleExpression']}")
    target = found["Target"]
    called = {"Fn::Sub": "arn:${AWS::Partition}:scheduler:::aws-sdk:autoscaling:startInstanceRefresh"}
    if (target["Arn"], target["RoleArn"]) != (called, {"Fn::GetAtt": ["Refresher", "Arn"]}):
        wrong.append(f"the schedule calls {target['Arn']} as {target['RoleArn']}")
    if json.loads(target["Input"]["Fn::Sub"]) != {"AutoScalingGroupName": "${Group}"}:
        wrong.append(f"the schedule says {target['Input']}")
    pattern = template["Parameters"]["Refresh"]["AllowedPattern"]
    wrong += [f"Refresh {text!r}" for text, fits in EXPRESSIONS.items() if bool(re.fullmatch(pattern, text)) != fits]
    return wrong


def alarms_lead_to_the_runbook(template: dict) -> list[str]:
    """Each alarm that tells somebody has an entry there."""
    anchors = runbook.entries("Alarms")
    wrong = []
    for name, alarm in resources(template, "AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        if "TreatMissingData" not in properties:
            wrong.append(f"{name} does not say what missing data means")
        if properties["AlarmActions"] != [{"Ref": "Topic"}]:
            continue
        linked = re.search(r"\$\{Runbook\}#([a-z-]+)", texts(properties["AlarmDescription"]))
        if not linked or linked.group(1) not in anchors:
            wrong.append(f"{name} has no entry in docs/runbook.md")
        if properties.get("OKActions") != [{"Ref": "Topic"}]:
            wrong.append(f"{name} does not tell when it is over")
    return wrong


def the_dashboard_is_json(template: dict) -> list[str]:
    body = Chosen(template).resource("Dashboard")["Properties"]["DashboardBody"]["Fn::Sub"]
    text, pieces = body if isinstance(body, list) else (body, {})
    for name, piece in pieces.items():
        text = text.replace(f"${{{name}}}", piece["Fn::Sub"] if isinstance(piece, dict) else piece)
    try:
        json.loads(text)
    except ValueError as error:
        return [f"the dashboard is not JSON: {error}"]
    return []


def new_instances_have_had_their_health_checks(template: dict) -> list[str]:
    """Auto Scaling counts an instance after its warmup, and then ends the one that it replaces."""
    targets = template["Resources"].get("Targets", {}).get("Properties")
    if targets is None:
        return []
    checked = targets["HealthCheckIntervalSeconds"] * targets["HealthyThresholdCount"]
    warmup = template["Resources"]["Group"]["Properties"]["DefaultInstanceWarmup"]
    return [] if warmup >= checked else [f"an instance counts after {warmup} s, and may be healthy after {checked} s only"]


RULES = [
    each_policy_has_its_update,
    rolling_updates_wait_for_signals,
    batches_are_at_most_a_hundred,
    pauses_are_within_an_hour,
    defaults_leave_room,
    creation_waits_for_every_instance,
    a_policy_is_set_by_an_update_of_its_own,
    a_warm_pool_has_its_size,
    work_in_hand_has_time,
    capacity_is_that_of_the_moment,
    hooks_have_their_names,
    new_instances_have_had_their_health_checks,
    versions_are_numbers,
    first_boots_find_everything,
    tags_say_what_runs,
    instances_are_replaced_on_a_schedule,
    alarms_lead_to_the_runbook,
    the_dashboard_is_json,
]
