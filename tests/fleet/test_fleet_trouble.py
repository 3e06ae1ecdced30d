"""What an operator is told when AWS does not do what it should: message, way out, exit code; and nothing is half done."""

import pytest
from harness.agent import DONE, FAILED, UNREACHABLE, USAGE
from harness.fleet import BUCKET, Fleet

BAD_FLEET = 78


@pytest.fixture
def app(fleet):
    fleet.write("app/Procfile", "web: x\n")
    return fleet


def release(fleet, **env):
    return fleet("release", "app", "--name", "v1", **env)


@pytest.mark.parametrize(
    "fault, code, says",
    [
        ({"kind": "denied", "operation": "PutObject"}, FAILED, "allow s3:PutObject on arn:aws:s3:::shop-releases/shop/releases/v1.tar.zst"),
        ({"kind": "denied", "operation": "GetObject"}, FAILED, "s3:ListBucket"),
        ({"kind": "throttled", "operation": "PutObject"}, UNREACHABLE, "SlowDown"),
        ({"kind": "internal", "operation": "GetObject"}, UNREACHABLE, "InternalError"),
        ({"kind": "unavailable", "operation": "PutObject"}, UNREACHABLE, "ServiceUnavailable"),
        ({"kind": "reset", "operation": "GetObject"}, UNREACHABLE, "AWS sent no response"),
        ({"kind": "error", "type": "ExpiredToken", "message": "The provided token has expired.", "status": 400}, FAILED, "aws sso login"),
        ({"kind": "error", "type": "InvalidAccessKeyId", "message": "No such key.", "status": 403}, FAILED, "not valid"),
        ({"kind": "elsewhere", "operation": "GetObject"}, FAILED, "in another region"),
        (
            {"kind": "elsewhere", "operation": "GetObject", "headers": {"x-amz-bucket-region": "us-east-1"}},
            FAILED,
            "its bucket is in us-east-1, but calls go to eu-central-1",
        ),
    ],
)
def test_each_has_its_message_and_its_way_out(app, fault, code, says):
    app.aws.fault(**fault)
    result = release(app)
    assert result.code == code and says in result.stderr and "hint: " in result.stderr and result.stdout == "", result
    assert app.keys() == []
    app.aws.recover()
    assert release(app).code == DONE


@pytest.mark.parametrize("kind, times", [("throttled", 2), ("internal", 2), ("conflict", 2)])
def test_what_passes_is_waited_for(app, kind, times):
    app.aws.fault(kind, operation="PutObject", times=times)
    result = release(app)
    assert result.code == DONE, result


def test_no_bucket(tmp_path, aws):
    fleet = Fleet(tmp_path, aws, f"s3://{BUCKET}-other/")
    fleet.write("app/Procfile", "web: x\n")
    result = release(fleet)
    assert result.code == BAD_FLEET and "NoSuchBucket" in result.stderr and "correct `releases:` in fleet.yaml" in result.stderr, result
    assert fleet("releases").code == BAD_FLEET


def test_no_region_and_no_credentials(app):
    del app.env["AWS_REGION"]
    result = release(app)
    assert result.code == USAGE and "no region is configured" in result.stderr and "AWS_REGION" in result.stderr, result
    app.env["AWS_REGION"] = "eu-central-1"
    del app.env["AWS_ACCESS_KEY_ID"]
    result = release(app)
    assert result.code == FAILED and "credentials" in result.stderr and "aws sso login" in result.stderr, result
    result = release(app, AWS_PROFILE="nobody")
    assert result.code == FAILED and "aws sso login" in result.stderr, result
    assert app.aws.count() == 0


def test_nobody_answers(app):
    result = release(app, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert result.code == UNREACHABLE and "AWS sent no response" in result.stderr, result


@pytest.mark.parametrize("verb", [("release", "app", "--name", "v1"), ("releases",), ("releases", "prune", "--yes"), ("config", "prod"), ("render", "prod")])
@pytest.mark.parametrize(
    "right, wrong, says",
    [
        ("releases: s3://shop-releases/\n", "", "fleet.yaml:1:1: `releases` is missing"),
        ("application: shop", "application: Shop", "fleet.yaml:2:14: `Shop` is not a name"),
        ("s3://shop-releases/", "shop-releases", "fleet.yaml:3:11: `shop-releases` is not an S3 location"),
        ("s3://shop-releases/", "s3://shop-releases", "fleet.yaml:3:11: `s3://shop-releases` does not end with a slash"),
        ("version: 1", "version: [", "fleet.yaml:"),
        ("releases:", "release:", "fleet.yaml:3:1: unknown key `release`"),
        ("    tier: web", "    teir: web", "fleet.yaml:6:5: unknown key `teir`"),
        ("    document", "    min: 1\n    document", "fleet.yaml:9:5: unknown key `min`"),
    ],
)
def test_a_wrong_fleet_yaml_is_told_by_every_verb(app, verb, right, wrong, says):
    content = (app.directory / "fleet.yaml").read_text()
    assert right in content
    app.write("fleet.yaml", content.replace(right, wrong, 1))
    result = app(*verb)
    assert result.code == BAD_FLEET and says in result.stderr and "hint: " in result.stderr and result.stdout == "", result
    assert app.aws.count() == 0


def test_a_prefix_is_kept(tmp_path, aws):
    fleet = Fleet(tmp_path, aws, f"s3://{BUCKET}/deep/down/").bucket()
    fleet.write("app/Procfile", "web: x\n")
    assert release(fleet).code == DONE
    assert fleet.keys() == ["deep/down/shop/releases/v1.json", "deep/down/shop/releases/v1.tar.zst"]


def test_profiles_as_the_aws_cli_knows_them(app):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        del app.env[name]
    program = app.write("credentials", '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "AKIAPROGRAM", "SecretAccessKey": "secret"}\'\n', 0o755)
    app.write(
        "home/.aws/config",
        f"[profile program]\nregion = eu-central-1\ncredential_process = {program}\n"
        "[profile corp]\nregion = eu-central-1\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = deployer\n"
        "[sso-session corp]\nsso_region = eu-central-1\nsso_start_url = https://corp.awsapps.com/start\n",
    )
    assert release(app, AWS_PROFILE="program").code == DONE
    assert {call["key_id"] for call in app.aws.calls()} == {"AKIAPROGRAM"}
    # Nobody has logged in.
    result = release(app, AWS_PROFILE="corp")
    assert result.code == FAILED and "the credentials cannot be loaded" in result.stderr and "aws sso login" in result.stderr, result
