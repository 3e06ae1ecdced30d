"""What holds for the role of CloudFormation and for the boundary: nobody gets more rights than they were given."""

import json
import re
from fnmatch import fnmatchcase as fnmatch

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from . import resources, several, statements, template as read, texts
from .rights import said

BOUNDARY = {"StringEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}}

# Roles and what they may do are made by these, so each needs the boundary; what would take it away is not allowed.
BOUNDED = {"iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"}
ESCAPES = re.compile(
    r"iam:(Attach\w+|Create(Policy\w*|User|AccessKey|LoginProfile)|DeleteRolePermissionsBoundary|Set\w+"
    r"|Update\w+|PutUser\w+|PutGroup\w+|AddUserToGroup)|sts:\w+"
)

TAKEN_AWAY = {
    "autoscaling:DeleteAutoScalingGroup": ":autoScalingGroup:",
    "autoscaling:UpdateAutoScalingGroup": ":autoScalingGroup:",
    "elasticache:DeleteReplicationGroup": ":replicationgroup:",
    "rds:DeleteDBInstance": ":db:",
    "rds:ModifyDBInstance": ":db:",
}

# What the boundary allows on named things only.
KEPT_APART = re.compile(r"s3:\w+|secretsmanager:GetSecretValue|ssm:GetParameters(ByPath)?")

HANDLERS = ("create", "read", "update", "delete")
# Calls of handlers for properties that no template has, by what they are for.
NOT_CALLED = {
    "notifications of groups": ["autoscaling:*NotificationConfiguration"],
    "traffic sources of groups": ["autoscaling:*TrafficSources"],
    "load balancers of the former kind": ["autoscaling:*LoadBalancers"],
    "refreshes of CloudFormation": ["autoscaling:StartInstanceRefresh", "autoscaling:CancelInstanceRefresh"],
    "managed fleets, VPC Lattice": ["managed-fleets:*", "vpc-lattice:*"],
    "images by SSM parameters, requirements of instances": ["ssm:Get[*]", "ec2:Get[*]"],
    "changed descriptions": ["ec2:UpdateSecurityGroupRuleDescriptions*"],
    "addresses of others, addresses by the template": ["ec2:AcceptAddressTransfer", "ec2:*ssociateAddress"],
    "shards of caches": ["elasticache:ModifyReplicationGroupShardConfiguration", "elasticache:*CacheCluster"],
    "logs and keys of caches": ["firehose:*", "logs:*", "s3:*", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"],
    "users of Cognito": ["cognito-idp:*"],
    "capacity, pools and kinds of addresses of load balancers": [
        "elasticloadbalancing:ModifyCapacityReservation",
        "elasticloadbalancing:ModifyIpPools",
        "elasticloadbalancing:SetIpAddressType",
    ],
    "attributes of listeners, targets by hand": [
        "elasticloadbalancing:ModifyListenerAttributes",
        "elasticloadbalancing:*egisterTargets",
    ],
    "changes of roles, which the service role must not make": [
        "iam:*tachRolePolicy",
        "iam:DeleteRolePermissionsBoundary",
        "iam:Update*",
    ],
    "roles, replicas and clones of databases": [
        "iam:ListRoles",
        "rds:*RoleToDBInstance",
        "rds:*RoleFromDBInstance",
        "rds:CreateDBInstanceReadReplica",
        "rds:PromoteReadReplica",
        "rds:RestoreDBInstanceToPointInTime",
        "rds:*AutomatedBackupsReplication",
    ],
    "attributes of subscriptions, data protection": ["sns:SetSubscriptionAttributes", "sns:*DataProtectionPolicy"],
    "secrets in several regions": ["secretsmanager:*Region*"],
}

# IAM counts without white space: a role's own policies together, a managed policy.
LARGEST_ROLE, LARGEST_POLICY = 10_240, 6_144

NAMES = {
    "AWS::Partition": "aws-us-gov",
    "AWS::Region": "ap-southeast-1",
    "AWS::AccountId": "123456789012",
    "AWS::URLSuffix": "amazonaws.com",
    "Releases.Arn": f"arn:aws:s3:::{'r' * 63}",
    "Evidence.Arn": f"arn:aws:s3:::{'e' * 63}",
}

# What an argument of the document for Run Command may be.
ARGUMENTS = {
    "launched": True,
    f"v42@sha256:{'0' * 64}": True,
    f"2026.11.30-1+g0a1b2c_3@sha256:{'f' * 64}": True,
    "v42": False,
    f"v42@sha256:{'0' * 63}": False,
    f"v42@sha256:{'F' * 64}": False,
    f"@sha256:{'0' * 64}": False,
    f"-x@sha256:{'0' * 64}": False,
    f"v42'; reboot; '@sha256:{'0' * 64}": False,
    f"v42@sha256:{'0' * 64}\nreboot": False,
    f"$(reboot)@sha256:{'0' * 64}": False,
    f"a/../b@sha256:{'0' * 64}": False,
    "launched; reboot": False,
    "": False,
}


UNITS = {
    "*": True,
    "shop.service": True,
    "ingot-watch@shop.timer": True,
    "shop.web-1.service": True,
    "a" * 100: True,
    "a" * 101: False,
    "--file=/etc/shadow": False,
    "-u": False,
    "a b": False,
    "a'; reboot; '": False,
    "$(reboot)": False,
    "a\nreboot": False,
    "": False,
}
LINES = {"1": True, "50": True, "9999": True, "0": False, "10000": False, "1 -f": False, "1;reboot": False, "all": False, "": False}

# The documents of Run Command: what their arguments may be, and what they run.
COMMANDS: dict[str, tuple[dict[str, dict[str, bool]], list[str]]] = {
    "BootCommand": ({"release": ARGUMENTS}, ["exec ingot boot --release '{{ release }}' --json"]),
    "LogsCommand": (
        {"unit": UNITS, "lines": LINES},
        [
            "ingot status 2>&1 | head -c 3000",
            "echo; echo '--- journal'",
            "journalctl --boot --quiet --no-pager --no-hostname --output short-iso --unit '{{ unit }}' --lines '{{ lines }}'"
            " | tail -c 20000",
        ],
    ),
}


def service_role(template: dict) -> list[dict]:
    return statements(template["Resources"]["ServiceRole"]) + statements(template["Resources"]["ServiceRights"])


def nobody_else_is_the_service_role(template: dict) -> list[str]:
    """CloudFormation is not known to send `aws:SourceAccount`, so there is no condition.."""
    assumed = template["Resources"]["ServiceRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    wanted = [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "cloudformation.amazonaws.com"}}]
    return [] if assumed == wanted else [f"the service role is assumed by {assumed}"]


def roles_are_made_with_the_boundary(template: dict) -> list[str]:
    wrong = []
    for statement in service_role(template):
        actions = set(several(statement["Action"]))
        if actions & BOUNDED and statement.get("Condition") != BOUNDARY:
            wrong.append(f"{sorted(actions & BOUNDED)} without the boundary")
        wrong += [f"the service role may {action}" for action in actions if ESCAPES.fullmatch(action)]
        for resource in several(statement["Resource"]):
            own = (":role/ingot/*", ":role/ingot/*-Refresher-*", ":instance-profile/ingot/*", ":role/aws-service-role/*")
            if any(action.startswith("iam:") for action in actions) and not resource["Fn::Sub"].endswith(own):
                wrong.append(f"the service role reaches {resource['Fn::Sub']}")
    for name in ("ServiceRole", "ServiceRights", "Boundary", "Deployer", "Reader", "BreakGlass"):
        if template["Resources"][name]["Properties"]["Path"] != "/ingot-account/":
            wrong.append(f"{name} can be changed by the service role")
    return wrong


def roles_are_passed_to_one_service(template: dict) -> list[str]:
    return [
        f"{name} passes a role to any service"
        for name, resource in resources(template, "AWS::IAM::Role", "AWS::IAM::ManagedPolicy").items()
        for statement in statements(resource)
        if "iam:PassRole" in several(statement["Action"])
        and "iam:PassedToService" not in statement.get("Condition", {}).get("StringEquals", {})
    ]


def only_environments_are_taken_away(template: dict) -> list[str]:
    """What is deleted is tagged; what is made has no tags yet, and is not refused for want of them."""
    wrong = []
    for statement in service_role(template):
        tagged = statement.get("Condition") == {"StringLike": {"aws:ResourceTag/ingot:application": "*"}}
        for action in several(statement["Action"]):
            for resource in several(statement["Resource"]):
                taken = TAKEN_AWAY.get(action)
                if taken and taken in texts(resource) and not tagged:
                    wrong.append(f"{action} of what is not tagged")
            if ":Create" in action and action != "autoscaling:CreateOrUpdateTags" and tagged:
                wrong.append(f"{action} is refused")
    return wrong


def the_boundary_is_wide_enough_and_no_wider(template: dict) -> list[str]:
    found = {one.get("Sid"): one for one in statements(template["Resources"]["Boundary"])}
    deny = found.pop("NoRights", {})
    wrong = [] if deny.get("Effect") == "Deny" and "iam:*" in deny["Action"] else ["the boundary does not deny iam:*"]
    del found["Further"]
    known = {action for statement in found.values() for action in several(statement["Action"])}
    wrong += [f"the boundary allows {one}" for one in known if re.match(r"iam:|sts:|\*|\w+:\*", one)]
    for sid, statement in found.items():
        kept = {action for action in several(statement["Action"]) if KEPT_APART.fullmatch(action)}
        if kept and any(said(one) == "*" for one in several(statement["Resource"])):
            wrong.append(f"{sid} allows {sorted(kept)} on everything")
    for name in ("web", "worker"):
        environment = read(name)
        for role in resources(environment, "AWS::IAM::Role", "AWS::IAM::RolePolicy").values():
            needed = {action for statement in statements(role) for action in several(statement["Action"])}
            looks = {one for one in needed if "rds:Describe*" in known and one.startswith("rds:Describe")}
            wrong += [f"{name}.yaml needs {action}" for action in sorted(needed - known - looks)]
    return wrong


def cloudformation_may_make_what_the_templates_have(template: dict) -> list[str]:
    """What the handlers of the registry call, but for properties that no template has."""
    may = {action for statement in service_role(template) for action in several(statement["Action"])}
    settled = [*may, *(pattern for patterns in NOT_CALLED.values() for pattern in patterns)]
    kinds = {one["Type"] for name in ("web", "worker") for one in read(name)["Resources"].values()}
    wrong = []
    for kind in sorted(kinds):
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-central-1", kind).schema.get("handlers", {})
        due = {action for name in HANDLERS for action in handlers.get(name, {}).get("permissions", [])}
        wrong += [f"{kind} needs {one}" for one in sorted(due) if not any(fnmatch(one, known) for known in settled)]
    return wrong


def commands_take_checked_arguments(template: dict) -> list[str]:
    wrong = []
    for name, (arguments, script) in COMMANDS.items():
        content = template["Resources"][name]["Properties"]["Content"]
        for argument, texts in arguments.items():
            pattern = content["parameters"][argument]["allowedPattern"]
            found = [text for text, fits in texts.items() if bool(re.search(pattern, text)) != fits]
            wrong += [f"{name}: the argument {argument} {text!r}" for text in found]
        wrong += [f"{name}: another argument" for _ in content["parameters"].keys() - arguments.keys()]
        if (ran := content["mainSteps"][0]["inputs"]["runCommand"]) != script or len(content["mainSteps"]) > 1:
            wrong.append(f"{name} runs {ran}")
    return wrong


def policies_fit_into_iam(template: dict) -> list[str]:
    def size(document: dict) -> int:
        return len(json.dumps(written(document), separators=(",", ":")))

    role = sum(size(one["PolicyDocument"]) for one in template["Resources"]["ServiceRole"]["Properties"]["Policies"])
    wrong = [f"the service role has {role} characters"] if role > LARGEST_ROLE else []
    for name, policy in resources(template, "AWS::IAM::ManagedPolicy").items():
        if (found := size(policy["Properties"]["PolicyDocument"])) > LARGEST_POLICY:
            wrong.append(f"{name} has {found} characters")
    return wrong


def written(value):
    """As IAM gets it, with long names."""
    if isinstance(value, list):
        return [written(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Sub" in value:
        text = value["Fn::Sub"]
        for name, put_in in NAMES.items():
            text = text.replace(f"${{{name}}}", put_in)
        return text.replace("${!", "${")
    if "Fn::If" in value:
        return written(value["Fn::If"][1])
    if "Ref" in value or "Fn::GetAtt" in value:
        return "arn:aws:iam::123456789012:role/ingot-account/ingot-account-ServiceRole-0A1B2C3D4E5F"
    return {key: written(one) for key, one in value.items()}


RULES = [
    nobody_else_is_the_service_role,
    roles_are_made_with_the_boundary,
    roles_are_passed_to_one_service,
    only_environments_are_taken_away,
    the_boundary_is_wide_enough_and_no_wider,
    cloudformation_may_make_what_the_templates_have,
    commands_take_checked_arguments,
    policies_fit_into_iam,
]
