"""Secrets and parameters, from AWS's wire to a file, on good days and on bad ones."""

import base64
import json
import textwrap

import pytest
from harness.agent import DONE, FAILED, UNREACHABLE

PASSWORD = "hunter2-correct-horse"

# Long enough for every retry that a test provokes, short enough for one that never ends.
SOON = ("--deadline", "10s")


def document(secrets: dict[str, str], files: dict[str, str]) -> str:
    """A document of `secrets`, each in YAML's flow style, and of files below /etc/app/."""
    lines = ["#ingot", "version: 1", "secrets:"]
    lines += [f"  {name}: {source}" for name, source in secrets.items()]
    lines += ["files:"]
    for name, content in files.items():
        lines += [f"  /etc/app/{name}:", "    content: |", textwrap.indent(content.rstrip("\n"), " " * 6)]
    return "\n".join(lines) + "\n"


def test_every_kind_of_secret_reaches_its_file(agent, aws):
    aws.secret("prod/db", {"user": "shop", "password": PASSWORD, "port": 5432})
    aws.secret("prod/plain", "a plain one")
    aws.secret("prod/binary", b"\x00\xff\x10")
    aws.parameter("/prod/token", "t0ken-value", "SecureString")
    aws.parameter("/prod/hosts", "a.example,b.example", "StringList")
    aws.tree("/prod/flags", {**{f"f{i:02}": f"v{i}" for i in range(24)}, "deep/er": "down"}, "SecureString")
    sources = {
        "db": "{ secrets_manager: prod/db }",
        "plain": "{ secrets_manager: prod/plain }",
        "binary": "{ secrets_manager: prod/binary }",
        "token": "{ parameter: /prod/token }",
        "hosts": "{ parameter: /prod/hosts }",
        "flags": "{ parameters_under: /prod/flags/ }",
    }
    lines = [
        "{{secrets.db.user}}:{{secrets.db.password}}:{{secrets.db.port}}",
        "{{secrets.plain}}",
        "{{secrets.binary}}",
        "{{secrets.token}}",
        '{{join secrets.hosts " "}}',
        "{{secrets.flags.f00}} {{secrets.flags.f23}} {{secrets.flags.deep.er}}",
    ]
    result = agent.boot(document(sources, {"all": "\n".join(lines)}))
    assert result.code == DONE, result
    assert agent.read("/etc/app/all").splitlines() == [
        f"shop:{PASSWORD}:5432",
        "a plain one",
        base64.b64encode(b"\x00\xff\x10").decode(),
        "t0ken-value",
        "a.example b.example",
        "v0 v23 down",
    ]
    assert agent.mode("/etc/app/all") == "0600"
    assert agent.leaks(result, [PASSWORD, "t0ken-value", "a plain one"]) == []


def test_secrets_are_asked_for_in_batches_and_once(agent, aws):
    for i in range(23):
        aws.secret(f"s{i:02}", f"value-{i}")
        aws.parameter(f"/p{i:02}", f"other-{i}")
    sources = {f"s{i}": f"{{ secrets_manager: s{i:02} }}" for i in range(23)}
    sources |= {f"p{i}": f"{{ parameter: /p{i:02} }}" for i in range(23)}
    sources |= {"again": "{ secrets_manager: s00 }", "more": "{ parameter: /p00 }"}
    content = " ".join(f"{{{{secrets.{name}}}}}" for name in sources)
    result = agent.boot(document(sources, {f"f{i}": content for i in range(10)}))
    assert result.code == DONE, result
    assert agent.read("/etc/app/f9").split()[22] == "value-22"
    assert aws.count("BatchGetSecretValue") == 2
    assert aws.count("GetSecretValue") == 0
    assert aws.count("GetParameters") == 3
    assert all(call["signed"] and call["token"] == "harness-session-token" for call in aws.calls())


def test_a_tree_is_read_to_its_last_page(agent, aws):
    aws.tree("/prod/flags", {f"f{i:02}": "on" for i in range(25)})
    aws.fault("empty-page", operation="GetParametersByPath", times=1)
    result = agent.boot(document({"flags": "{ parameters_under: /prod/flags }"}, {"f": "{{secrets.flags.f24}}"}))
    assert result.code == DONE, result
    assert agent.read("/etc/app/f") == "on\n"
    assert aws.count("GetParametersByPath") == 4


def test_a_pinned_version_is_the_one_that_was_asked_for(agent, aws):
    first = aws.secret("rotated", "old")
    aws.secret("rotated", "new")
    sources = {
        "now": "{ secrets_manager: rotated }",
        "before": "{ secrets_manager: rotated, version_stage: AWSPREVIOUS }",
        "exact": f"{{ secrets_manager: rotated, version_id: {first} }}",
    }
    result = agent.boot(document(sources, {"f": "{{secrets.now}} {{secrets.before}} {{secrets.exact}}"}))
    assert result.code == DONE, result
    assert agent.read("/etc/app/f") == "new old old\n"


def test_without_the_batch_action_secrets_are_read_one_by_one(agent, aws):
    for i in range(3):
        aws.secret(f"s{i}", f"value-{i}")
    aws.fault("denied", operation="BatchGetSecretValue")
    sources = {f"s{i}": f"{{ secrets_manager: s{i} }}" for i in range(3)}
    result = agent.boot(document(sources, {"f": "{{secrets.s0}} {{secrets.s1}} {{secrets.s2}}"}))
    assert result.code == DONE, result
    assert agent.read("/etc/app/f") == "value-0 value-1 value-2\n"
    assert aws.count("GetSecretValue") == 3
    assert aws.count("BatchGetSecretValue") == 1


DB = {"db": "{ secrets_manager: prod/db }"}
TOKEN = {"token": "{ parameter: /prod/token }"}


@pytest.mark.parametrize("kind", ["throttled", "internal", "unavailable", "reset", "truncate", "malformed"])
@pytest.mark.parametrize("operation", ["GetSecretValue", "GetParameters", "GetParametersByPath"])
def test_what_passes_is_waited_out(agent, aws, kind, operation):
    aws.secret("prod/db", {"password": PASSWORD})
    aws.parameter("/prod/token", PASSWORD)
    aws.fault(kind, operation=operation, times=2)
    sources = {
        "GetSecretValue": "{ secrets_manager: prod/db }",
        "GetParameters": "{ parameter: /prod/token }",
        "GetParametersByPath": "{ parameters_under: /prod }",
    }
    result = agent.boot(document({"s": sources[operation]}, {"f": "here"}), "--deadline", "60s")
    assert result.code == DONE, result
    assert aws.count(operation) == 3


@pytest.mark.parametrize("kind", ["throttled", "internal", "unavailable", "reset", "truncate", "malformed"])
def test_what_passes_of_a_batch_is_waited_out(agent, aws, kind):
    aws.secret("prod/a", "1")
    aws.secret("prod/b", "2")
    aws.fault(kind, operation="BatchGetSecretValue", times=1)
    sources = {"a": "{ secrets_manager: prod/a }", "b": "{ secrets_manager: prod/b }"}
    result = agent.boot(document(sources, {"f": "{{secrets.a}}{{secrets.b}}"}), "--deadline", "60s")
    assert result.code == DONE, result
    assert agent.read("/etc/app/f") == "12\n"


def test_a_hanging_call_is_given_up_and_made_again(agent, aws):
    aws.secret("prod/db", {"password": PASSWORD})
    aws.fault("hang", operation="GetSecretValue", times=1)
    result = agent.boot(document(DB, {"f": "{{secrets.db.password}}"}), "--deadline", "60s")
    assert result.code == DONE, result
    assert aws.count("GetSecretValue") == 2


def failed(agent, result, *words: str) -> None:
    """The run failed, and says what a person needs to know, without giving anything away."""
    assert result.code == FAILED, result
    said = " ".join((result.stderr + str(result.report)).split())
    missing = [word for word in words if word not in said]
    assert not missing, (missing, result)
    assert agent.leaks(result, [PASSWORD]) == []


def test_a_missing_secret_is_named(agent, aws):
    aws.secret("prod/there", "x")
    sources = {**DB, "there": "{ secrets_manager: prod/there }"}
    result = agent.boot(document(sources, {"f": "{{secrets.db.password}}", "g": "{{secrets.there}}"}), *SOON)
    failed(agent, result, "prod/db", "create prod/db")
    assert agent.read("/etc/app/g") == "x\n", "a failure skips only what depends on it"
    assert result.outcomes()["files./etc/app/f"] == "skipped"


def test_a_missing_parameter_is_named(agent, aws):
    result = agent.boot(document(TOKEN, {"f": "{{secrets.token}}"}), *SOON)
    failed(agent, result, "/prod/token", "create /prod/token")


def test_an_empty_tree_is_a_failure(agent):
    result = agent.boot(document({"flags": "{ parameters_under: /none }"}, {"f": "x"}), *SOON)
    failed(agent, result, "/none")


def test_a_denied_secret_names_action_and_resource(agent, aws):
    aws.secret("prod/db", {"password": PASSWORD})
    aws.fault("denied", operation="GetSecretValue")
    result = agent.boot(document(DB, {"f": "{{secrets.db.password}}"}), *SOON)
    failed(agent, result, "secretsmanager:GetSecretValue", "prod/db")
    assert aws.count("GetSecretValue") == 1, "a denied call is not retried"


def test_a_denied_parameter_names_action_and_resource(agent, aws):
    aws.fault("denied", operation="GetParameters")
    result = agent.boot(document(TOKEN, {"f": "{{secrets.token}}"}), *SOON)
    failed(agent, result, "ssm:GetParameters", "/prod/token")


def test_one_denied_secret_of_a_batch_does_not_take_the_others(agent, aws):
    aws.secret("prod/db", {"password": PASSWORD})
    aws.secret("prod/there", "x")
    aws.fault("batch-errors", errors={"prod/db": ["AccessDeniedException", "not authorized"]})
    sources = {**DB, "there": "{ secrets_manager: prod/there }"}
    result = agent.boot(document(sources, {"f": "{{secrets.db.password}}", "g": "{{secrets.there}}"}), *SOON)
    failed(agent, result, "prod/db")
    assert agent.read("/etc/app/g") == "x\n"


def test_a_key_that_may_not_be_used_is_told_from_a_secret_that_may_not_be_read(agent, aws):
    aws.secret("prod/db", {"password": PASSWORD})
    aws.fault("kms-denied", operation="GetSecretValue")
    failed(agent, agent.boot(document(DB, {"f": "{{secrets.db.password}}"}), *SOON), "kms:Decrypt", "prod/db")


def test_expired_credentials_are_said_to_be_expired(agent, aws):
    aws.secret("prod/db", {"password": PASSWORD})
    aws.fault("expired")
    result = agent.boot(document(DB, {"f": "{{secrets.db.password}}"}), *SOON)
    failed(agent, result, "clock")


def test_aws_that_never_answers_is_its_own_exit_code(agent):
    # A port that refuses: bound by nobody.
    result = agent.boot(document(DB, {"f": "x"}), "--deadline", "3s", env={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert result.code == UNREACHABLE, result
    assert result.seconds < 60


def test_endless_throttling_ends_with_the_deadline(agent, aws):
    aws.fault("throttled")
    result = agent.boot(document(TOKEN, {"f": "x"}), "--deadline", "3s")
    assert result.code in (FAILED, UNREACHABLE), result
    assert result.seconds < 60
    assert 2 <= aws.count("GetParameters") < 100


def test_a_missing_field_of_a_secret_is_an_error_and_shows_no_other(agent, aws):
    aws.secret("prod/db", {"password": PASSWORD})
    result = agent.boot(document(DB, {"f": "{{secrets.db.passwrd}}"}), *SOON)
    failed(agent, result, "passwrd")
    assert not agent.path("/etc/app/f").exists()


def test_a_secret_may_not_be_readable_by_others(agent, aws):
    aws.secret("prod/db", {"password": PASSWORD})
    text = document(DB, {"f": "{{secrets.db.password}}"}) + '    mode: "0644"\n'
    result = agent.boot(text, *SOON)
    assert result.code == 78, result
    assert aws.count() == 0, "found before anything is asked for"
    assert "0644" in result.stderr


def test_credentials_for_services_are_for_root_alone(agent, aws):
    aws.secret("prod/db", {"password": PASSWORD})
    result = agent.boot(document(DB, {"f": "x"}) + 'credentials:\n  db-password: "{{secrets.db.password}}"\n')
    assert result.code == DONE, result
    assert agent.read("/run/credstore/db-password") == PASSWORD
    assert agent.mode("/run/credstore/db-password") in ("0600", "0400")
    assert agent.mode("/run/credstore") == "0700"
    assert agent.leaks(result, [PASSWORD]) == []


def test_a_command_may_use_a_secret_and_print_it_and_it_is_not_in_the_log(agent, aws, tmp_path):
    aws.secret("prod/db", {"password": PASSWORD})
    out = tmp_path / "out"
    text = document(DB, {"f": "x"}) + (
        "commands:\n  use:\n"
        f'    run: [/bin/sh, -c, \'echo "the password is $P"; printf %s "$P" > {out}; echo "$P" >&2\']\n'
        '    environment: { P: "{{secrets.db.password}}" }\n'
    )
    result = agent.boot(text)
    assert result.code == DONE, result
    assert out.read_text() == PASSWORD
    assert agent.leaks(result, [PASSWORD]) == []
    assert "the password is" in result.stderr


def test_a_role_that_cannot_be_assumed_is_named_and_is_no_route_that_is_missing(agent, aws, imds):
    aws.secret("prod/db", {"password": PASSWORD})
    said = "EC2 cannot assume the role shop.  Please see documentation at https://docs.aws.amazon.com/IAM/latest/UserGuide/."
    body = json.dumps({"Code": "AssumeRoleUnauthorizedAccess", "Message": said})
    rule = {"path": "/latest/meta-data/iam/security-credentials/shop", "kind": "status", "status": 200, "body": body}
    imds.configure(faults=[rule])
    result = agent.boot(document(DB, {"f": "{{secrets.db.password}}"}), "--deadline", "3s")
    failed(agent, result, "EC2 cannot assume the role shop (AssumeRoleUnauthorizedAccess): Please see documentation")
    failed(agent, result, "allow sts:AssumeRole for ec2.amazonaws.com in the trust policy of the role shop")
    # Right after a role was made, the next try may succeed.
    assert "trying again" in result.stderr


def test_a_file_that_does_not_parse_is_shown_where_it_does_not_and_without_secrets(agent, aws):
    aws.secret("prod/db", {"password": f'{PASSWORD}"', "pin": "4711"})
    lines = ["{", '  "user": "shop",', '  "password": "{{secrets.db.password}}", "pin": {{secrets.db.pin}}', "}"]
    files = {"a.json": "\n".join(lines), "b.toml": 'a = 1\nb = {{secrets.db.pin}} {{secrets.db.password}}', "c.env": "A='{{instance.id}}"}
    result = agent.boot(document(DB, files), *SOON)
    failed(agent, result)
    assert agent.leaks(result, [PASSWORD, "4711"]) == []
    for name, said in {
        "a.json": '/etc/app/a.json:3:38 is not JSON: the line `"password": "[redacted]", "pin": [redacted]` does not parse',
        "b.toml": "/etc/app/b.toml:2:",
        "c.env": "/etc/app/c.env:1 is not an environment file: the line `A='i-0abc123def4567890` opens a quote that never ends",
    }.items():
        assert said in result.failure(f"files./etc/app/{name}"), (said, result.failure(f"files./etc/app/{name}"))
    assert "b = [redacted] [redacted]" in result.failure("files./etc/app/b.toml")


ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-a1b2c3"
REFUSED = "User: arn:aws:sts::123456789012:assumed-role/shop/i-0 is not authorized to perform: secretsmanager:GetSecretValue on resource: "


@pytest.mark.parametrize(
    "name, code, message, hint",
    [
        (
            ARN,
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.",
            f"restore it with `aws secretsmanager restore-secret --secret-id {ARN} --region eu-west-1`",
        ),
        (
            ARN,
            "AccessDeniedException",
            f"{REFUSED}{ARN} with an explicit deny in a resource-based policy",
            f"from the explicit deny of secretsmanager:GetSecretValue on {ARN} in the policy of the resource itself",
        ),
        (ARN, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.", f"create {ARN} in eu-west-1"),
        ("prod/db", "ResourceNotFoundException", "Secrets Manager can't find the specified secret.", "its ARN if it is in another region"),
    ],
)
def test_what_aws_says_of_a_secret_decides_what_to_do(agent, aws, name, code, message, hint):
    aws.fault("error", operation="GetSecretValue", type=code, message=message)
    result = agent.boot(document({"db": f"{{ secrets_manager: {name} }}"}, {"f": "{{secrets.db.password}}"}), *SOON)
    failed(agent, result, message, hint)
    assert aws.count("GetSecretValue") == 1, "it is not retried"
