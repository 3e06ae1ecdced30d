"""Each mutation of an environment's template breaks the rule that is there for it."""

import pytest
from harness.templates import engine, protection, rights, template
from harness.templates.change import drop, put

ROLE = ("Resources", "Role", "Properties")
BOOT = (*ROLE, "Policies", 0, "PolicyDocument", "Statement")
GROUPS = "arn:${AWS::Partition}:autoscaling:${AWS::Region}:${AWS::AccountId}:autoScalingGroup:*:autoScalingGroupName/"
LAUNCH = ("Resources", "Launch", "Properties", "LaunchTemplateData")
USER_DATA = (*LAUNCH, "UserData", "Fn::Base64", "Fn::Join", 1)
GROUP = ("Resources", "Group")
ROLLING = (*GROUP, "UpdatePolicy", "AutoScalingRollingUpdate", "Fn::If", 1)
REFRESHES = ("Resources", "Refreshes", "Properties")
REFRESHER = ("Resources", "Refresher", "Properties")
DATABASE_DOOR = ("Resources", "DatabaseSecurityGroup", "Properties", "SecurityGroupIngress", 0)
ANYWHERE = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}

# Of web.yaml: what is changed, and the rule that finds it.
WEB = {
    "a wildcard as the resource": (put("*", *BOOT, 0, "Resource"), rights.instances_may_do_what_the_list_says),
    "a wildcard in an action": (put("s3:*", *BOOT, 0, "Action"), rights.instances_may_do_what_the_list_says),
    "secrets of the whole account": (
        put("*", "Resources", "SecretRights", "Properties", "PolicyDocument", "Statement", 0, "Resource"),
        rights.instances_may_do_what_the_list_says,
    ),
    "hooks of every group": (
        put({"Fn::Sub": "arn:${AWS::Partition}:autoscaling:${AWS::Region}:*:autoScalingGroup:*"}, *BOOT, 6, "Resource"),
        rights.instances_may_do_what_the_list_says,
    ),
    "the address of every interface": (
        drop("Resources", "AddressRights", "Properties", "PolicyDocument", "Statement", 2, "Condition"),
        rights.instances_may_do_what_the_list_says,
    ),
    "evidence of other environments": (
        put({"Fn::Sub": "arn:${AWS::Partition}:s3:::${EvidenceBucket}/${Application}/*"}, *BOOT, 4, "Resource"),
        rights.instances_may_do_what_the_list_says,
    ),
    "evidence that is read": (
        put(["s3:GetObject", "s3:PutObject"], *BOOT, 4, "Action"),
        rights.instances_may_do_what_the_list_says,
    ),
    "releases that are written": (
        put(["s3:GetObject", "s3:PutObject"], *BOOT, 0, "Action"),
        rights.instances_may_do_what_the_list_says,
    ),
    "claims that are overwritten": (
        drop(*BOOT, 1, "Condition"),
        rights.instances_may_do_what_the_list_says,
    ),
    "everything, as plain text": (
        put("arn:aws:s3:::*/*", *BOOT, 0, "Resource"),
        rights.instances_may_do_what_the_list_says,
    ),
    "everything, put together": (
        put({"Fn::Join": ["", ["arn:aws:s3:::", "*"]]}, *BOOT, 0, "Resource"),
        rights.instances_may_do_what_the_list_says,
    ),
    "documents of all environments": (
        put(
            {"Fn::Sub": "arn:${AWS::Partition}:s3:::${ReleasesBucket}/${ReleasesPrefix}${Application}/*"},
            *BOOT,
            0,
            "Resource",
            0,
        ),
        rights.instances_may_do_what_the_list_says,
    ),
    "groups of other environments": (
        put(
            {"Fn::Sub": GROUPS + "${AWS::StackName}-*"},
            *BOOT,
            6,
            "Resource",
        ),
        rights.instances_may_do_what_the_list_says,
    ),
    "claims of everybody": (
        drop(*BOOT, 3, "Condition"),
        rights.instances_may_do_what_the_list_says,
    ),
    "a managed policy": (
        put(["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"], *ROLE, "ManagedPolicyArns"),
        rights.no_role_has_a_managed_policy,
    ),
    "a role without its boundary": (drop(*ROLE, "PermissionsBoundary"), rights.roles_are_bounded),
    "a role outside of /ingot/": (drop(*ROLE, "Path"), rights.roles_are_bounded),
    "a schedule that refreshes every group": (
        put({"Fn::Sub": GROUPS + "*"}, *REFRESHER, "Policies", 0, "PolicyDocument", "Statement", 0, "Resource"),
        rights.the_schedule_refreshes_its_group,
    ),
    "a schedule that may scale": (
        put("autoscaling:SetDesiredCapacity", *REFRESHER, "Policies", 0, "PolicyDocument", "Statement", 0, "Action"),
        rights.the_schedule_refreshes_its_group,
    ),
    "schedules of other accounts": (
        drop(*REFRESHER, "AssumeRolePolicyDocument", "Statement", 0, "Condition"),
        rights.the_schedule_refreshes_its_group,
    ),
    "a database that goes with the stack": (
        drop("Resources", "Database", "DeletionPolicy"),
        protection.data_stays,
    ),
    "a database that goes when it is replaced": (
        put("Delete", "Resources", "Database", "UpdateReplacePolicy"),
        protection.data_stays,
    ),
    "a cache that goes with the stack": (drop("Resources", "Cache", "DeletionPolicy"), protection.data_stays),
    "a cache that another size replaces": (
        put({"Ref": "CacheReplicas"}, "Resources", "Cache", "Properties", "Port"),
        protection.people_are_told_what_replaces_data,
    ),
    "a cache without TLS": (
        put(False, "Resources", "Cache", "Properties", "TransitEncryptionEnabled"),
        protection.data_is_encrypted_and_private,
    ),
    "a database in the open": (
        put(True, "Resources", "Database", "Properties", "PubliclyAccessible"),
        protection.data_is_encrypted_and_private,
    ),
    "IMDSv1": (put("optional", *LAUNCH, "MetadataOptions", "HttpTokens"), protection.metadata_is_closed_to_others),
    "two hops": (
        put(2, *LAUNCH, "MetadataOptions", "HttpPutResponseHopLimit"),
        protection.metadata_is_closed_to_others,
    ),
    "two hops unless said": (
        put(2, "Parameters", "MetadataHops", "Default"),
        protection.metadata_is_closed_to_others,
    ),
    "no tags in metadata": (
        drop(*LAUNCH, "MetadataOptions", "InstanceMetadataTags"),
        protection.metadata_is_closed_to_others,
    ),
    "a plain volume": (
        put(False, *LAUNCH, "BlockDeviceMappings", 0, "Ebs", "Encrypted"),
        protection.volumes_are_encrypted,
    ),
    "a secret in user data": (
        put({"Fn::Base64": "{{resolve:secretsmanager:x}}"}, *LAUNCH, "UserData"),
        protection.user_data_has_no_secret,
    ),
    "a door for everybody": (
        put([ANYWHERE], "Resources", "InstanceSecurityGroup", "Properties", "SecurityGroupIngress"),
        protection.only_clients_come_from_outside,
    ),
    "a database for the network": (
        put({"Ref": "ClientCidr"}, *DATABASE_DOOR, "CidrIp"),
        protection.only_clients_come_from_outside,
    ),
    "instances that reach everything": (
        drop("Resources", "InstanceSecurityGroup", "Properties", "SecurityGroupEgress"),
        protection.instances_reach_what_they_need,
    ),
    "in_place that replaces": (
        put({"Fn::Equals": ["1", "2"]}, "Conditions", "InPlace"),
        engine.each_policy_has_its_update,
    ),
    "immutable that rolls too": (
        put({"Fn::Not": [{"Condition": "InPlace"}]}, "Conditions", "Rolls"),
        engine.each_policy_has_its_update,
    ),
    "sizes that are set back": (
        drop(*GROUP, "UpdatePolicy", "AutoScalingScheduledAction", "IgnoreUnmodifiedGroupSizeProperties"),
        engine.each_policy_has_its_update,
    ),
    "no signals": (drop(*ROLLING, "WaitOnResourceSignals"), engine.rolling_updates_wait_for_signals),
    "half of the signals": (
        put(50, *ROLLING, "MinSuccessfulInstancesPercent"),
        engine.rolling_updates_wait_for_signals,
    ),
    "Launch suspended": (
        put(["HealthCheck", "Launch"], *ROLLING, "SuspendProcesses"),
        engine.rolling_updates_wait_for_signals,
    ),
    "a refresh in the middle of an update": (
        put(["HealthCheck", "ReplaceUnhealthy", "AZRebalance", "AlarmNotification", "ScheduledActions"], *ROLLING, "SuspendProcesses"),
        engine.rolling_updates_wait_for_signals,
    ),
    "rolling that keeps nothing": (
        put(0, *ROLLING, "MinInstancesInService"),
        engine.rolling_updates_wait_for_signals,
    ),
    "a batch of 1000": (
        put(1000, "Parameters", "BatchSize", "MaxValue"),
        engine.batches_are_at_most_a_hundred,
    ),
    "all of 1000 at once": (
        put({"Fn::If": ["AllAtOnce", 1000, {"Ref": "BatchSize"}]}, *ROLLING, "MaxBatchSize"),
        engine.batches_are_at_most_a_hundred,
    ),
    "a pause of 90 minutes": (
        put("PT[0-9]+[MH]", "Parameters", "PauseTime", "AllowedPattern"),
        engine.pauses_are_within_an_hour,
    ),
    "nothing to be replaced": (put(4, "Parameters", "MinInService", "Default"), engine.defaults_leave_room),
    "a creation that waits for nobody": (drop(*GROUP, "CreationPolicy"), engine.creation_waits_for_every_instance),
    "a fixed capacity": (
        put({"Ref": "Capacity"}, *GROUP, "Properties", "DesiredCapacity"),
        engine.capacity_is_that_of_the_moment,
    ),
    "a hook that goes on without the instance": (
        put("CONTINUE", *GROUP, "Properties", "LifecycleHookSpecificationList", 0, "DefaultResult"),
        engine.hooks_have_their_names,
    ),
    "whatever version is the latest": (
        put("$Latest", *GROUP, "Properties", "LaunchTemplate", "Fn::If", 2, "Version"),
        engine.versions_are_numbers,
    ),
    "a warmup that ends before the checks": (
        put(10, *GROUP, "Properties", "DefaultInstanceWarmup"),
        engine.new_instances_have_had_their_health_checks,
    ),
    "rights that come late": (drop(*GROUP, "Metadata", "After", 0), engine.first_boots_find_everything),
    "a listener that comes late": (drop(*GROUP, "Metadata", "After", 6), engine.first_boots_find_everything),
    "a group that does not wait": (drop(*GROUP, "Metadata"), engine.first_boots_find_everything),
    "a policy that no update sets": (
        drop(*GROUP, "Properties", "Tags", 5),
        engine.a_policy_is_set_by_an_update_of_its_own,
    ),
    "a pause that no update sets": (
        put({"Fn::Sub": "${Policy} ${BatchSize} ${MinInService}"}, *GROUP, "Properties", "Tags", 5, "Value"),
        engine.a_policy_is_set_by_an_update_of_its_own,
    ),
    "a policy that replaces instances": (
        put({"Fn::Sub": "${Image} ${Policy}"}, *LAUNCH, "ImageId"),
        engine.a_policy_is_set_by_an_update_of_its_own,
    ),
    "instances with the policy of another update": (
        put(True, *GROUP, "Properties", "Tags", 5, "PropagateAtLaunch"),
        engine.a_policy_is_set_by_an_update_of_its_own,
    ),
    "a pool up to the maximum": (
        drop("Resources", "Pool", "Properties", "MaxGroupPreparedCapacity"),
        engine.a_warm_pool_has_its_size,
    ),
    "a drain of two minutes": (
        put({"Fn::Sub": "drains:\n  leave: { lifecycle_hook: { name: leaving } }"}, *USER_DATA, 4),
        engine.work_in_hand_has_time,
    ),
    "a hook of two minutes": (
        put(120, *GROUP, "Properties", "LifecycleHookSpecificationList", 1, "HeartbeatTimeout"),
        engine.work_in_hand_has_time,
    ),
    "instances that do not say their release": (
        drop(*GROUP, "Properties", "Tags", 3),
        engine.tags_say_what_runs,
    ),
    "a refresh that nobody asked for": (drop("Resources", "Refreshes", "Condition"), engine.instances_are_replaced_on_a_schedule),
    "a refresh that ends instances first": (
        put({"Fn::Sub": '{"AutoScalingGroupName":"${Group}","Preferences":{"MinHealthyPercentage":0}}'}, *REFRESHES, "Target", "Input"),
        engine.instances_are_replaced_on_a_schedule,
    ),
    "a refresh of some hour": (put("rate(1 hour)", *REFRESHES, "ScheduleExpression"), engine.instances_are_replaced_on_a_schedule),
    "an alarm without an entry": (
        put({"Fn::Sub": "Errors. ${Runbook}#nothing"}, "Resources", "Errors", "Properties", "AlarmDescription"),
        engine.alarms_lead_to_the_runbook,
    ),
    "a dashboard that CloudWatch refuses": (
        put({"Fn::Sub": '{ "widgets": [ }'}, "Resources", "Dashboard", "Properties", "DashboardBody"),
        engine.the_dashboard_is_json,
    ),
}

# Of worker.yaml, what web.yaml does not have.
WORKER = {
    "messages that go with the stack": (drop("Resources", "Queue", "DeletionPolicy"), protection.data_stays),
    "every queue of the account": (
        put("*", "Resources", "QueueRights", "Properties", "PolicyDocument", "Statement", 0, "Resource"),
        rights.instances_may_do_what_the_list_says,
    ),
    "every metric of the account": (
        drop("Resources", "QueueRights", "Properties", "PolicyDocument", "Statement", 1, "Condition"),
        rights.instances_may_do_what_the_list_says,
    ),
    "a queue without encryption": (
        put(False, "Resources", "Queue", "Properties", "SqsManagedSseEnabled"),
        protection.data_is_encrypted_and_private,
    ),
    "messages that are cut short": (
        put({"Fn::Sub": "leave: { lifecycle_hook: { name: leaving }, grace: 60s }"}, *USER_DATA, 3),
        engine.work_in_hand_has_time,
    ),
    "an alarm that tells nobody what to do": (
        put("Old messages", "Resources", "QueueAge", "Properties", "AlarmDescription"),
        engine.alarms_lead_to_the_runbook,
    ),
}

CASES = [
    pytest.param(name, mutate, rule, id=f"{name}: {what}")
    for name, mutations in (("web", WEB), ("worker", WORKER))
    for what, (mutate, rule) in mutations.items()
]


@pytest.mark.parametrize(("name", "mutate", "rule"), CASES)
def test_a_mutation_is_found(name, mutate, rule):
    tree = template(name)
    assert rule(tree) == []
    mutate(tree)
    assert rule(tree)


def test_every_rule_has_a_mutation():
    rules = {*rights.RULES, *protection.RULES, *engine.RULES}
    assert {rule.__name__ for rule in rules} == {case.values[2].__name__ for case in CASES}
