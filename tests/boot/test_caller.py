"""Whose credentials `ingot dry-run --live` signs with, beside those that botocore chooses in the same place."""

import json
import os
import re
import subprocess
import sys

import pytest
from harness.agent import DONE, FAILED, PATIENCE, Agent

DOCUMENT = "#ingot\nversion: 1\nsecrets: { token: { parameter: /prod/token } }\nfiles: { /etc/f: { content: '{{secrets.token}}' } }\n"

# What stands in for the AWS CLI prints. It writes down how it was called.
CLI_KEY = "ASIACLI"

BOTOCORE = """
import json
from botocore.session import Session
found = Session().get_credentials()
keys = found and found.method in ("env", "shared-credentials-file", "config-file") and found.get_frozen_credentials()
print(json.dumps([found.method if found else None, keys and [keys.access_key, keys.token]]))
"""


def keys(name: str, token: str | None = None, kind: str = "session") -> str:
    more = f"aws_{kind}_token = {token}\n" if token else ""
    return f"aws_access_key_id = {name}\naws_secret_access_key = s3cr3t/{name}+=\n{more}"


def env(name: str, **more: str) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": "s3cr3t", **more}


WORK = "[default]\n" + keys("DEFAULT") + "\n[work]\n" + keys("WORK", "T1")
ROLE = "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = work\n"
SSO = (
    "[profile sso]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = dev\n"
    "[sso-session corp]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\n"
)

# The environment, the credentials file, the config file.
SETUPS = {
    "environment": (env("ENV"), None, None),
    "environment with a token": (env("ENV", AWS_SESSION_TOKEN="T2"), None, None),
    "environment with the older token": (env("ENV", AWS_SESSION_TOKEN="T2", AWS_SECURITY_TOKEN="T3"), None, None),
    "environment beside a profile": (env("ENV", AWS_PROFILE="work"), WORK, None),
    "environment beside a role": (env("ENV", AWS_PROFILE="role"), WORK, ROLE),
    "default": ({}, WORK, None),
    "default of the config file alone": ({}, None, "[default]\nregion = eu-central-1\n" + keys("CONFIG")),
    "both files": ({}, WORK, "[default]\n" + keys("CONFIG", "T4")),
    "profile with a token": ({"AWS_PROFILE": "work"}, WORK, None),
    "both names of a profile": ({"AWS_PROFILE": "default", "AWS_DEFAULT_PROFILE": "work"}, WORK, None),
    "profile of the config file alone": ({"AWS_PROFILE": "own"}, None, "[profile own]\n" + keys("OWN", "T5", "security")),
    "quoted profile": ({"AWS_PROFILE": "my own"}, None, '[profile "my own"]\n' + keys("QUOTED")),
    "comments and indentation": (
        {"AWS_PROFILE": "odd"},
        "# mine\n[odd]   ; really\n  aws_access_key_id : ODD\n\n  ; the other\n  AWS_Secret_Access_Key = a=b#c;d\n",
        "[profile odd]\ns3 =\n  max_concurrent_requests = 20\n  addressing_style = path\nregion = eu-central-1\n",
    ),
    "two sections of one profile": ({}, None, "[profile default]\n" + keys("FIRST") + "[default]\n" + keys("LAST")),
    "role": ({"AWS_PROFILE": "role"}, WORK, ROLE),
    "role that has keys": ({"AWS_PROFILE": "role"}, "[role]\n" + keys("ROLE"), ROLE.replace("= work", "= role")),
    "sso": ({"AWS_PROFILE": "sso"}, WORK, SSO),
    "sso that has keys": ({"AWS_PROFILE": "sso"}, "[sso]\n" + keys("SSOKEYS"), SSO),
    "process": ({"AWS_PROFILE": "tool"}, WORK, "[profile tool]\ncredential_process = /bin/echo {PROCESS}\n"),
    "process beside keys in the credentials file": (
        {"AWS_PROFILE": "tool"},
        "[tool]\n" + keys("TOOL"),
        "[profile tool]\ncredential_process = /bin/echo {PROCESS}\n",
    ),
    "process beside keys in the config file": (
        {"AWS_PROFILE": "tool"},
        None,
        "[profile tool]\ncredential_process = /bin/echo {PROCESS}\n" + keys("TOOL"),
    ),
    "web identity": ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/x"}, WORK, None),
    "container": ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/x"}, None, None),
    "container beside keys": ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/x"}, WORK, None),
}
PROCESS = json.dumps(json.dumps({"Version": 1, "AccessKeyId": "PROCESSED", "SecretAccessKey": "s"}))


class Desk(Agent):
    """A dev box with these files, where `aws` is on PATH."""

    def __init__(self, directory, aws, variables, credentials, config):
        super().__init__(directory)
        (directory / ".aws").mkdir()
        for name, text in (("credentials", credentials), ("config", config)):
            if text is not None:
                (directory / ".aws" / name).write_text(text.replace("{PROCESS}", PROCESS))
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.called = directory / "called"
        self.document = directory / "boot.yaml"
        self.document.write_text(DOCUMENT)
        self.env |= {"HOME": str(directory), "AWS_REGION": "eu-central-1", "MINE": "kept", **variables}
        self.env["PATH"] = f"{self.bin}:{os.environ['PATH']}"
        self.endpoint = aws.env

    def cli(self, script: str) -> None:
        (self.bin / "aws").write_text(f"#!/bin/sh\necho \"$*|$AWS_PROFILE|$AWS_DEFAULT_PROFILE|$MINE\" > {self.called}\n{script}\n")
        (self.bin / "aws").chmod(0o755)

    def exports(self, key_id: str) -> None:
        found = {"Version": 1, "AccessKeyId": key_id, "SecretAccessKey": "exported-secret", "SessionToken": "T9"}
        self.cli(f"echo 'a word of warning' >&2\ncat <<'X'\n{json.dumps(found, indent=2)}\nX")

    def live(self):
        return self.run("dry-run", "--live", str(self.document), env=self.endpoint)

    def botocore(self) -> tuple[str | None, list | None]:
        """The method by which botocore finds credentials here, and these if they are keys."""
        env = {**self.env, "AWS_EC2_METADATA_DISABLED": "true"}
        done = subprocess.run([sys.executable, "-c", BOTOCORE], env=env, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            return re.sub(r"[\w.]*\.", "", done.stderr.splitlines()[-1].partition(":")[0]), None
        return json.loads(done.stdout)


@pytest.mark.parametrize("setup", SETUPS)
def test_the_key_that_signs_is_the_one_that_botocore_chooses(ingot, tmp_path, aws, setup):
    aws.parameter("/prod/token", "t0ken-value", "SecureString")
    desk = Desk(tmp_path, aws, *SETUPS[setup])
    desk.exports(CLI_KEY)
    method, chosen = desk.botocore()
    result = desk.live()
    assert result.code == DONE, (method, result)
    (call,) = aws.calls("GetParameters")
    if chosen:
        assert [call["key_id"], call["token"]] == chosen, method
        assert not desk.called.exists()
    else:
        # What botocore would have to ask somebody else for, or could not get here.
        assert method not in (None, "env", "shared-credentials-file", "config-file"), method
        assert (call["key_id"], call["token"]) == (CLI_KEY, "T9"), method
        profile = desk.env.get("AWS_DEFAULT_PROFILE") or desk.env.get("AWS_PROFILE") or ""
        assert desk.called.read_text().strip() == f"configure export-credentials --format process|{profile}||kept"
    assert desk.leaks(result, ["s3cr3t", "exported-secret", "t0ken-value"]) == []


def test_what_the_aws_cli_says_is_shown_when_it_fails(ingot, tmp_path, aws):
    desk = Desk(tmp_path, aws, {"AWS_PROFILE": "sso"}, WORK, SSO)
    desk.cli("echo 'Error loading SSO Token: Token for corp does not exist' >&2; exit 255")
    result = desk.live()
    assert result.code == FAILED and "Token for corp does not exist" in result.stderr, result
    assert 'eval "$(aws configure export-credentials --profile sso --format env)"' in result.stderr, result
    desk.cli("echo '{\"AccessKeyId\": \"leaked-id\", \"Nothing\": \"leaked-value\"}'")
    result = desk.live()
    assert result.code == FAILED and "is not the JSON of credentials" in result.stderr, result
    assert desk.leaks(result, ["leaked-value"]) == [] and aws.count() == 0


def test_without_an_aws_cli_the_command_is_said(ingot, tmp_path, aws):
    desk = Desk(tmp_path, aws, {"AWS_PROFILE": "role"}, WORK, ROLE)
    desk.env["PATH"] = str(desk.bin)
    result = desk.live()
    assert result.code == FAILED and "`aws` is not on PATH" in result.stderr and "role_arn" in result.stderr, result
    assert 'eval "$(aws configure export-credentials --profile role --format env)"' in result.stderr, result


def test_the_files_are_where_the_variables_say(ingot, tmp_path, aws):
    aws.parameter("/prod/token", "t0ken-value", "SecureString")
    moved = {"AWS_SHARED_CREDENTIALS_FILE": "~/moved/keys", "AWS_CONFIG_FILE": str(tmp_path / "moved/config")}
    desk = Desk(tmp_path, aws, {**moved, "AWS_PROFILE": "far", "AWS_REGION": ""}, WORK, "[default]\n" + keys("WRONG"))
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved/keys").write_text("[far]\n" + keys("FAR"))
    (tmp_path / "moved/config").write_text("[profile far]\nregion = eu-central-1\n")
    assert desk.botocore() == ["shared-credentials-file", ["FAR", None]]
    result = desk.live()
    assert result.code == DONE and aws.calls("GetParameters")[0]["key_id"] == "FAR", result
