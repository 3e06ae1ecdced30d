"""bake.sh from end to end, on moto, as CodeBuild and GitHub Actions run it: what is due is baked, booted and published.

Packer is a stand-in that only registers an image, and the AWS CLI one that copies. git and the programs are real.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness.aws.proxy import REGION

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

PACKER = """#!{python}
import json, os, sys
import boto3
open(os.environ["CALLS"], "a").write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "build":
    assert json.loads(os.environ["PKR_VAR_tags"]) == {{"ingot:pipeline": "shop"}}
    ec2 = boto3.client("ec2")
    made = ec2.register_image(Name=os.urandom(4).hex(), RootDeviceName="/dev/xvda")["ImageId"]
    build = {{"packer_run_uuid": "1", "artifact_id": os.environ["AWS_REGION"] + ":" + made}}
    json.dump({{"builds": [build], "last_run_uuid": "1"}}, open("output/packer-manifest.json", "w"))
"""

AWS_CLI = """#!/bin/sh
# aws s3 cp --only-show-errors URI FILE
printf binary >"$5"
"""


@pytest.fixture
def checkout(aws, tmp_path):
    """A repository with packer/ and systemd/ in it, and an environment in which bake.sh finds all it needs."""
    repository, programs = tmp_path / "repository", tmp_path / "bin"
    repository.mkdir()
    programs.mkdir()
    for name in ("packer", "systemd"):
        shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in (("packer", PACKER.format(python=sys.executable)), ("aws", AWS_CLI)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    git = ["git", "-C", repository, "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "one"], check=True)
    ec2 = aws.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [subnet["VpcId"]]}])
    profile = f"trial-{os.urandom(4).hex()}"
    aws.client("iam").create_instance_profile(InstanceProfileName=profile)
    environment = os.environ | aws.env | {
        "PATH": f"{programs}:{BIN}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "BAKE": "always",
        "INGOT_URI": "s3://artifacts/ingot",
        "PKR_VAR_image_name": "shop",
        "PKR_VAR_os": "amazon-linux-2023",
        "PKR_VAR_architecture": "x86_64",
        "PKR_VAR_region": REGION,
        "PKR_VAR_ingot_sha256": hashlib.sha256(b"binary").hexdigest(),
        "TRIAL_INSTANCE_TYPE": "m5.large",
        "TRIAL_SUBNET": subnet["SubnetId"],
        "TRIAL_SECURITY_GROUP": groups["SecurityGroups"][0]["GroupId"],
        "TRIAL_INSTANCE_PROFILE": profile,
        "TRIAL_USER_DATA": "packer/pipeline/trial.yaml",
    }  # fmt: skip

    def run(**changes: str) -> subprocess.CompletedProcess:
        (tmp_path / "calls").write_text("")
        result = subprocess.run(
            [repository / "packer/pipeline/bake.sh"],
            env=environment | changes,
            capture_output=True,
            text=True,
            timeout=300,
        )
        result.packer = (tmp_path / "calls").read_text().splitlines()
        return result

    run.git = git
    run.repository = repository
    return run


def published(aws) -> list[str]:
    found = aws.client("ssm").get_parameter_history(Name="/golden/shop/x86_64")["Parameters"]
    return [version["Value"] for version in found]


def test_a_bake_is_published_once_and_again_when_something_changed(aws, checkout):
    first = checkout()
    assert first.returncode == 0, first.stderr
    assert first.packer == ["init packer", "build -color=false -timestamp-ui -only=amazon-ebs.golden packer"]
    assert len(published(aws)) == 1

    again = checkout(BAKE="if-due")
    assert (again.returncode, again.packer) == (0, []), again.stderr
    assert "nothing to bake" in again.stdout

    (checkout.repository / "README").write_text("elsewhere")
    subprocess.run([*checkout.git, "add", "."], check=True)
    subprocess.run([*checkout.git, "commit", "--quiet", "--message", "two"], check=True)
    assert checkout(BAKE="if-due").packer == []

    (checkout.repository / "systemd" / "ingot.target").write_text("changed")
    subprocess.run([*checkout.git, "commit", "--quiet", "--all", "--message", "three"], check=True)
    changed = checkout(BAKE="if-due")
    assert changed.returncode == 0, changed.stderr
    assert len(changed.packer) == 2
    assert len(published(aws)) == 2


def test_a_wrong_binary_is_not_baked(checkout):
    result = checkout(PKR_VAR_ingot_sha256="0" * 64)
    assert result.returncode != 0
    assert result.packer == []


def test_a_bake_that_does_not_serve_fails_and_publishes_nothing(aws, checkout):
    result = checkout(TRIAL_URL="http://127.0.0.1:9/health", TRIAL_TIMEOUT_S="6")
    assert result.returncode == 1
    assert "error: i-" in result.stderr and "hint: " in result.stderr
    with pytest.raises(aws.client("ssm").exceptions.ParameterNotFound):
        aws.client("ssm").get_parameter(Name="/golden/shop/x86_64")


@pytest.mark.parametrize("name", ["BAKE", "INGOT_URI", "PKR_VAR_ingot_sha256"])
def test_what_is_not_set_is_named(checkout, name):
    result = checkout(**{name: ""})
    assert result.returncode != 0
    assert f"{name}: is not set" in result.stderr
