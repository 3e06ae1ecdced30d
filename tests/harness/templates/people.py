"""What people and pipelines may do: with their application only, and without seeing what is secret."""

from . import several, statements, texts
from .rights import ACTION, said

OWN = "${!aws:PrincipalTag/ingot-application}"
OWN_VALUE = "${aws:PrincipalTag/ingot-application}"

# What is everybody's: the statement, and what it is on.
SHARED = {
    ("Deployer", "GiveCloudFormationItsRole"): ["ServiceRole.Arn"],
    ("Deployer", "DirectInstances"): [
        "ssm:${AWS::Region}:${AWS::AccountId}:document/${BootCommand}",
        "ssm:${AWS::Region}:${AWS::AccountId}:document/${LogsCommand}",
    ],
    ("Deployer", "LookAtCommands"): ["*"],
    ("Reader", "Look"): ["*"],
    ("Reader", "LookAtTheAccount"): ["AWS::StackId"],
    ("Reader", "LookAtGoldenImages"): ["ssm:${AWS::Region}:${AWS::AccountId}:parameter/golden/*"],
    ("Reader", "LookAtCertificates"): ["acm:${AWS::Region}:${AWS::AccountId}:certificate/*"],
    ("Reader", "LookAtCaches"): ["elasticache:${AWS::Region}:${AWS::AccountId}:cluster:*"],
}

# These show user data, or what is secret by its nature.
SHOW_SECRETS = {
    "autoscaling:DescribeLaunchConfigurations",
    "ec2:DescribeInstanceAttribute",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:GetLaunchTemplateData",
    "secretsmanager:GetSecretValue",
}

# What shows parameters of stacks, or output of commands, is no look that is everybody's.
NOT_ANYBODYS = ("cloudformation:Describe", "ssm:", "sqs:")


def of_people(template: dict):
    for name in ("Deployer", "Reader", "BreakGlass"):
        for statement in statements(template["Resources"][name]):
            yield name, statement


def stays_with_its_application(statement: dict, resource) -> bool:
    """By the name of what it is on, or by tags or a prefix that are asked for, not only if they are there."""
    asked = {kind: one for kind, one in statement.get("Condition", {}).items() if kind != "Null"}
    return OWN in said(resource) or OWN_VALUE in texts(asked)


def people_stay_with_their_application(template: dict) -> list[str]:
    wrong = []
    for name, statement in of_people(template):
        if name == "BreakGlass":
            continue
        shared = SHARED.get((name, statement["Sid"]), [])
        wrong += [
            f"{name}.{statement['Sid']} reaches {said(resource)}"
            for resource in several(statement["Resource"])
            if said(resource) not in shared and not stays_with_its_application(statement, resource)
        ]
    return wrong


def people_find_the_buckets(template: dict) -> list[str]:
    """`ingot-fleet` reads the outputs of this stack."""
    found = [
        statement
        for name, statement in of_people(template)
        if name == "Reader"
        and "cloudformation:DescribeStacks" in several(statement["Action"])
        and statement["Resource"] == {"Ref": "AWS::StackId"}
    ]
    return [] if found else ["readers cannot look at the account's stack"]


def what_is_updated_is_tagged(template: dict) -> list[str]:
    """A name is not enough for what changes something: `shop-*` is also the stacks of an application `shop-admin`."""
    changing = ("UpdateEnvironments", "DirectUpdates", "Scale", "MarkWhatRuns")
    return [
        f"{statement['Sid']} changes what is another application's"
        for name, statement in of_people(template)
        if statement["Sid"] in changing
        and statement.get("Condition", {}).get("StringEquals", {}).get("aws:ResourceTag/ingot:application") != OWN_VALUE
    ]


def people_see_no_secrets(template: dict) -> list[str]:
    wrong = []
    for name, statement in of_people(template):
        for action in several(statement["Action"]):
            if not ACTION.fullmatch(action) or action in SHOW_SECRETS:
                wrong.append(f"{name}.{statement['Sid']} shows user data or secrets: {action}")
            if (name, statement["Sid"]) == ("Reader", "Look") and action.startswith(NOT_ANYBODYS):
                wrong.append(f"Reader.Look shows what is another application's: {action}")
    return wrong


def deployers_send_two_documents_to_their_own(template: dict) -> list[str]:
    documents = SHARED[("Deployer", "DirectInstances")]
    wrong = []
    for statement in statements(template["Resources"]["Deployer"]):
        if "ssm:SendCommand" not in several(statement["Action"]):
            continue
        tags = statement.get("Condition", {}).get("StringEquals", {}).get("ssm:resourceTag/ingot:application")
        for resource in several(statement["Resource"]):
            if ":document/" in said(resource) and said(resource) not in documents:
                wrong.append(f"deployers send {said(resource)}")
            if said(resource) not in documents and tags != OWN_VALUE:
                wrong.append("deployers send commands to others")
    return wrong


def stacks_are_made_with_the_service_role(template: dict) -> list[str]:
    """And from the templates that are named, if any are: who chooses one has the rights of the role."""
    makes = {"cloudformation:CreateStack", "cloudformation:UpdateStack", "cloudformation:CreateChangeSet"}
    role = {"Fn::GetAtt": ["ServiceRole", "Arn"]}
    urls = {"cloudformation:TemplateUrl": {"Ref": "TemplateUrls"}}
    named = {"Fn::If": ["HasTemplateUrls", urls, {"Ref": "AWS::NoValue"}]}
    wrong = []
    for statement in statements(template["Resources"]["Deployer"]):
        made = sorted(makes & set(several(statement["Action"])))
        condition = statement.get("Condition", {})
        if made and condition.get("StringEquals", {}).get("cloudformation:RoleArn") != role:
            wrong.append(f"{made} with the rights of the caller")
        if made and condition.get("StringLike") != named:
            wrong.append(f"{made} from any template")
    return wrong


def glass_is_broken_with_mfa(template: dict) -> list[str]:
    return [
        f"{statement['Sid']} without MFA"
        for statement in statements(template["Resources"]["BreakGlass"])
        if statement["Sid"] != "OwnShells"
        and statement.get("Condition", {}).get("Bool") != {"aws:MultiFactorAuthPresent": "true"}
    ]


RULES = [
    people_find_the_buckets,
    people_stay_with_their_application,
    what_is_updated_is_tagged,
    people_see_no_secrets,
    deployers_send_two_documents_to_their_own,
    stacks_are_made_with_the_service_role,
    glass_is_broken_with_mfa,
]
