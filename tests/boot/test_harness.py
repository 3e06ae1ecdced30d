"""The stand-ins behave as what they stand for: a test that passes against a lenient one proves nothing."""

import http.client

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config
from harness.aws.account import REGION
from harness.host import container
from harness.host.container import Machine


def ask(imds, method, path, **headers):
    connection = http.client.HTTPConnection(imds.host, imds.port, timeout=60)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response.status, response.read()


def token(imds):
    return ask(imds, "PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60")[1].decode()


def test_imds_gives_nothing_without_a_token(imds):
    imds.configure(user_data=b"secret")
    assert ask(imds, "GET", "/latest/user-data")[0] == 401
    assert ask(imds, "GET", "/latest/user-data", X_aws_ec2_metadata_token="made-up")[0] == 401
    assert ask(imds, "GET", "/latest/user-data", X_aws_ec2_metadata_token=token(imds)) == (200, b"secret")


@pytest.mark.parametrize("ttl", ["", "0", "21601", "-1", "a"])
def test_imds_refuses_a_token_of_no_proper_life(imds, ttl):
    assert ask(imds, "PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds=ttl)[0] == 400


def test_imds_refuses_what_came_through_a_proxy(imds):
    headers = {"X_aws_ec2_metadata_token_ttl_seconds": "60", "X_Forwarded_For": "10.0.0.1"}
    assert ask(imds, "PUT", "/latest/api/token", **headers)[0] == 403


def test_imds_faults_come_in_order_and_end(imds):
    fault = {"path": "/latest/meta-data/instance-id", "kind": "status", "status": 503, "times": 2}
    imds.configure(faults=[fault])
    mine = token(imds)
    answers = [ask(imds, "GET", fault["path"], X_aws_ec2_metadata_token=mine)[0] for _ in range(3)]
    assert answers == [503, 503, 200]
    assert [entry["status"] for entry in imds.requests("GET")] == answers


def client(aws, service):
    keys = {"aws_access_key_id": "A", "aws_secret_access_key": "B", "aws_session_token": "C"}
    return boto3.client(
        service, region_name=REGION, endpoint_url=aws.url, config=Config(retries={"max_attempts": 0}), **keys
    )


def test_aws_counts_and_limits_as_aws_does(aws):
    ssm = client(aws, "ssm")
    with pytest.raises(botocore.exceptions.ClientError, match="ValidationException"):
        ssm.get_parameters(Names=[f"/p{i}" for i in range(11)])
    aws.tree("/flags", {f"f{i:02}": "on" for i in range(25)})
    aws.fault("empty-page", operation="GetParametersByPath", times=1)
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/flags")
    assert [len(page["Parameters"]) for page in pages] == [0, 10, 10, 5]
    assert aws.count("GetParametersByPath") == 4


def test_aws_denies_what_it_is_told_to(aws):
    aws.secret("db", "hunter2")
    aws.secret("other", "x")
    aws.fault("denied", operation="BatchGetSecretValue", times=1)
    manager = client(aws, "secretsmanager")
    with pytest.raises(botocore.exceptions.ClientError, match="perform: secretsmanager:BatchGetSecretValue"):
        manager.batch_get_secret_value(SecretIdList=["db"])
    aws.fault("batch-errors", errors={"db": ["AccessDeniedException", "no"]})
    answer = manager.batch_get_secret_value(SecretIdList=["db", "other"])
    assert [secret["Name"] for secret in answer["SecretValues"]] == ["other"]
    assert answer["Errors"] == [{"SecretId": "db", "ErrorCode": "AccessDeniedException", "Message": "no"}]


@pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")
def test_a_machine_boots_and_reaches_imds_and_aws():
    with Machine(user_data=b"hello") as machine:
        machine.boot()
        ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60"
        token = machine.run("curl", "-sf", "-X", "PUT", "-H", ttl, "http://169.254.169.254/latest/api/token").stdout
        header = f"X-aws-ec2-metadata-token: {token}"
        assert machine.run("curl", "-sf", "-H", header, "http://169.254.169.254/latest/user-data").stdout == "hello"
        aws = f"http://127.0.0.1:{container.AWS_PORT}/"
        assert "MissingAuthentication" in machine.run("curl", "-s", aws).stdout
