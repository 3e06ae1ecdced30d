"""What roles may do: the instances' role what one list says and nothing else, the others nothing that is not named."""

import re

from . import resources, several, statements

# AWS takes no resource for these, and what an instance says of itself by Systems Manager is about itself alone.
WITHOUT_RESOURCE = re.compile(
    r"(autoscaling|ec2|elasticloadbalancing|rds):Describe\w*\*?|cloudwatch:(DescribeAlarms|GetMetricData)"
    r"|cloudformation:(GetTemplateSummary|ListStacks|ValidateTemplate)|iam:GetAccountSummary|secretsmanager:GetRandomPassword"
    r"|servicequotas:Get(AWSDefault)?ServiceQuota|sns:(GetSubscriptionAttributes|Unsubscribe)|ssm:(GetCommandInvocation|List\w+)"
)
# With these, a name is not needed: they only look.
LOOKS = re.compile(r"[a-z0-9-]+:(Describe|List)\*")
ACTION = re.compile(r"[a-z0-9-]+:[A-Z]\w+")

RELEASES = "s3:::${ReleasesBucket}/${ReleasesPrefix}${Application}/releases/*"
ENVIRONMENT = "s3:::${ReleasesBucket}/${ReleasesPrefix}${Application}/environments/${Environment}"
DOCUMENTS, CLAIMS = f"{ENVIRONMENT}/documents/*.yaml", f"{ENVIRONMENT}/claims/*"
GROUP = "autoscaling:${AWS::Region}:${AWS::AccountId}:autoScalingGroup:*:autoScalingGroupName/${AWS::StackName}-Group-*"
OWN_GROUP = GROUP.removesuffix("${AWS::StackName}-Group-*") + "${Group}"
BY_SCHEDULES = [
    {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "scheduler.amazonaws.com"},
        "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }
]
BELOW_CLAIMS = {"Fn::Sub": "${ReleasesPrefix}${Application}/environments/${Environment}/claims/*"}
TAGGED = {
    "aws:ResourceTag/ingot:application": {"Ref": "Application"},
    "aws:ResourceTag/ingot:environment": {"Ref": "Environment"},
}
ANY = {"*": [{}]}

# Of the instances' role: what may be done, to what, under which conditions. There is one list for both tiers, and
# docs/reference/iam.md says what each is for.
OF_INSTANCES: dict[str, dict[str, list[dict]]] = {
    "s3:GetObject": {RELEASES: [{}], DOCUMENTS: [{}], CLAIMS: [{}]},
    "s3:PutObject": {
        CLAIMS: [{"Null": {"s3:if-none-match": "false"}}, {"Null": {"s3:if-match": "false"}}],
        "s3:::${EvidenceBucket}/${Application}/${Environment}/*": [{}],
    },
    "s3:ListBucket": {"s3:::${ReleasesBucket}": [{"StringLike": {"s3:prefix": BELOW_CLAIMS}}]},
    "cloudformation:SignalResource": {"AWS::StackId": [{}]},
    "autoscaling:CompleteLifecycleAction": {GROUP: [{}]},
    "autoscaling:RecordLifecycleActionHeartbeat": {GROUP: [{}]},
    "autoscaling:SetInstanceHealth": {GROUP: [{}]},
    "autoscaling:DescribeLifecycleHooks": ANY,
    "elasticloadbalancing:DescribeTargetHealth": ANY,
    "ssm:UpdateInstanceInformation": ANY,
    "ssmmessages:CreateControlChannel": ANY,
    "ssmmessages:CreateDataChannel": ANY,
    "ssmmessages:OpenControlChannel": ANY,
    "ssmmessages:OpenDataChannel": ANY,
    "secretsmanager:GetSecretValue": {
        "SecretArns": [{}],
        "Database.MasterUserSecret.SecretArn": [{}],
        "CacheToken": [{}],
    },
    "secretsmanager:BatchGetSecretValue": ANY,
    "ssm:GetParameters": {"ParameterArns": [{}]},
    "ssm:GetParametersByPath": {"ParameterArns": [{}]},
    "kms:Decrypt": {"KeyArns": [{}]},
    "kms:GenerateDataKey": {"KeyArns": [{}]},
    "rds:DescribeDBInstances": {"rds:${AWS::Region}:${AWS::AccountId}:db:${Database}": [{}]},
    "ec2:DescribeAddresses": ANY,
    "ec2:AssociateAddress": {
        "ec2:${AWS::Region}:${AWS::AccountId}:elastic-ip/${Address.AllocationId}": [{}],
        "ec2:${AWS::Region}:${AWS::AccountId}:network-interface/*": [{"StringEquals": TAGGED}],
    },
    "sqs:ChangeMessageVisibility": {"Queue.Arn": [{}]},
    "sqs:DeleteMessage": {"Queue.Arn": [{}]},
    "sqs:GetQueueAttributes": {"Queue.Arn": [{}]},
    "sqs:GetQueueUrl": {"Queue.Arn": [{}]},
    "sqs:ReceiveMessage": {"Queue.Arn": [{}]},
    "sqs:SendMessage": {"Queue.Arn": [{}]},
    "cloudwatch:PutMetricData": {"*": [{"StringEquals": {"cloudwatch:namespace": "ingot/Worker"}}]},
}


def allowed(template: dict):
    """Each statement that allows something, with where it is. The boundary allows nothing by itself."""
    for name, resource in resources(
        template, "AWS::IAM::Role", "AWS::IAM::RolePolicy", "AWS::IAM::ManagedPolicy"
    ).items():
        if name == "Boundary":
            continue
        for statement in statements(resource):
            if statement["Effect"] == "Allow":
                yield f"{name}.{statement.get('Sid', several(statement['Action'])[0])}", statement


def said(resource) -> str:
    """A resource as the lists here name it: without `arn:PARTITION:`, or by what it refers to."""
    if isinstance(resource, str):
        return resource
    ((function, value),) = resource.items()
    if function == "Fn::Sub":
        return value.removeprefix("arn:${AWS::Partition}:") if isinstance(value, str) else str(value)
    return {"Ref": lambda: value, "Fn::GetAtt": lambda: ".".join(value)}.get(function, lambda: str(resource))()


def instances_may_do_what_the_list_says(template: dict) -> list[str]:
    return [
        f"{where} allows {action} on {said(resource)} with {statement.get('Condition', {})}"
        for where, statement in allowed(template)
        if not where.startswith("Refresher.")
        for action in several(statement["Action"])
        for resource in several(statement["Resource"])
        if statement.get("Condition", {}) not in OF_INSTANCES.get(action, {}).get(said(resource), [])
    ]


def the_schedule_refreshes_its_group(template: dict) -> list[str]:
    """And can do nothing else; its role is for schedules of this account."""
    role = template["Resources"]["Refresher"]
    found = [(one["Effect"], one["Action"], said(one["Resource"])) for one in statements(role)]
    wrong = [] if found == [("Allow", "autoscaling:StartInstanceRefresh", OWN_GROUP)] else [f"schedules may {found}"]
    assumed = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    return wrong if assumed == BY_SCHEDULES else [*wrong, f"the role of schedules is assumed by {assumed}"]


def actions_are_named(template: dict) -> list[str]:
    return [
        f"{where} allows {action}"
        for where, statement in allowed(template)
        for action in several(statement["Action"])
        if not ACTION.fullmatch(action) and not LOOKS.fullmatch(action)
    ]


def resources_are_named(template: dict) -> list[str]:
    wrong = []
    for where, statement in allowed(template):
        for resource in several(statement["Resource"]):
            unnamed = [one for one in several(statement["Action"]) if not WITHOUT_RESOURCE.fullmatch(one)]
            if said(resource) == "*":
                wrong += [f"{where} allows {action} on everything" for action in unnamed]
            elif isinstance(resource, str) or "Fn::Join" in resource:
                wrong.append(f"{where} names {resource} without its partition, region and account")
    return wrong


def no_role_has_a_managed_policy(template: dict) -> list[str]:
    roles = resources(template, "AWS::IAM::Role")
    return [f"{name} has managed policies" for name, role in roles.items() if "ManagedPolicyArns" in role["Properties"]]


def roles_are_bounded(template: dict) -> list[str]:
    boundary = {"Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundary"}, {"Ref": "AWS::NoValue"}]}
    wrong = []
    for name, resource in resources(template, "AWS::IAM::Role", "AWS::IAM::InstanceProfile").items():
        if resource["Properties"].get("Path") != "/ingot/":
            wrong.append(f"{name} is not in /ingot/")
        if resource["Type"] == "AWS::IAM::Role" and resource["Properties"].get("PermissionsBoundary") != boundary:
            wrong.append(f"{name} has no boundary")
    return wrong


RULES = [
    instances_may_do_what_the_list_says,
    the_schedule_refreshes_its_group,
    no_role_has_a_managed_policy,
    roles_are_bounded,
]

# Of every template.
NAMED = [actions_are_named, resources_are_named]
