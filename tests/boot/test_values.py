"""Values and secrets arrive as they were written, from wherever they are."""

import json

from harness.agent import DONE, FAILED
from test_secrets import PASSWORD, SOON, document, failed

# As JSON text: Python would write these numbers in another way.
NUMBERS = '{"account": 12345678901234567890123, "version": 1.10, "limit": 1E5, "zero": -0, "port": 5432, "small": 1.5e-9}'


def test_numbers_keep_the_digits_they_were_written_with(agent, aws):
    aws.secret("prod/app", NUMBERS)
    names = ["account", "version", "limit", "zero", "port", "small"]
    lines = [f"{{{{secrets.app.{name}}}}} {{{{values.{name}}}}}" for name in names]
    written = {"account": "12345678901234567890123", "version": "1.20", "limit": "1e3", "zero": "0x10", "port": ".5", "small": "+1"}
    values = "values: { " + ", ".join(f"{name}: {text}" for name, text in written.items()) + " }\n"
    files = {"all": "\n".join(lines), "app.json": "{{json secrets.app}}", "values.json": "{{json values}}"}
    text = document({"app": "{ secrets_manager: prod/app }"}, files).replace("secrets:", values + "secrets:", 1)
    result = agent.boot(text)
    assert result.code == DONE, result
    secret = ["12345678901234567890123", "1.10", "1E5", "-0", "5432", "1.5e-9"]
    assert agent.read("/etc/app/all").splitlines() == [f"{a} {b}" for a, b in zip(secret, written.values(), strict=True)]
    assert agent.read("/etc/app/app.json") == NUMBERS.replace(" ", "") + "\n"
    assert json.loads(agent.read("/etc/app/values.json"), parse_int=str, parse_float=str) == {
        **written,
        "zero": "16",
        "port": "0.5",
        "small": "1",
    }


def test_a_number_is_redacted_as_it_was_written_and_as_it_is_written_again(agent, aws):
    aws.secret("prod/app", NUMBERS)
    text = document({"app": "{ secrets_manager: prod/app }"}, {"f": "x"}) + (
        "commands:\n  use:\n"
        "    run: [/bin/sh, -c, 'echo \"$*\" \"$((50000 * 2))\"', sh, \"{{secrets.app.account}} {{secrets.app.limit}}\","
        ' "{{yaml secrets.app.limit}}"]\n'
    )
    result = agent.boot(text)
    assert result.code == DONE, result
    # With the blank before it: a time in the report may hold the same digits, as in 6.521000000000001.
    leaks = [(text, agent.leaks(result, [text])) for text in ("12345678901234567890123", "1.0E+5", " 100000")]
    assert [leak for leak in leaks if leak[1]] == [], result.stderr
    # Three characters are too short to be a secret.
    assert "[redacted] 1E5 [redacted] [redacted]" in result.stderr


def test_a_parameter_offers_the_fields_of_its_object_when_asked(agent, aws):
    aws.parameter("/prod/mail", json.dumps({"user": "shop", "password": PASSWORD}), "SecureString")
    aws.secret("prod/db", {"password": PASSWORD})
    sources = {
        "mail": "{ parameter: /prod/mail, json: true }",
        "whole": "{ parameter: /prod/mail }",
        "db": "{ secrets_manager: prod/db, json: true }",
        "text": "{ secrets_manager: prod/db, json: false }",
    }
    lines = ["{{secrets.mail.user}}:{{secrets.mail.password}}", "{{secrets.whole}}", "{{secrets.db.password}}", "{{secrets.text}}"]
    result = agent.boot(document(sources, {"all": "\n".join(lines)}))
    assert result.code == DONE, result
    whole = json.dumps({"user": "shop", "password": PASSWORD})
    assert agent.read("/etc/app/all").splitlines() == [f"shop:{PASSWORD}", whole, PASSWORD, json.dumps({"password": PASSWORD})]
    assert agent.leaks(result, [PASSWORD]) == []


def test_what_is_not_an_object_is_refused_without_being_shown(agent, aws):
    aws.parameter("/prod/mail", PASSWORD, "SecureString")
    aws.secret("prod/db", json.dumps([PASSWORD]))
    for source, name in (("{ parameter: /prod/mail, json: true }", "/prod/mail"), ("{ secrets_manager: prod/db, json: true }", "prod/db")):
        result = agent.boot(document({"s": source}, {"f": "{{secrets.s.password}}"}), *SOON)
        failed(agent, result, f"{name} is not a JSON object", "remove `json: true`")


def test_a_field_of_a_text_says_what_to_do(agent, aws):
    aws.parameter("/prod/mail", json.dumps({"password": PASSWORD}), "SecureString")
    result = agent.boot(document({"mail": "{ parameter: /prod/mail }"}, {"f": "{{secrets.mail.password}}"}))
    assert result.code == 78 and "set `json: true`" in result.stderr, result
    assert aws.count() == 0, "found before anything is asked for"
    aws.secret("prod/plain", PASSWORD)
    result = agent.boot(document({"plain": "{ secrets_manager: prod/plain }"}, {"f": "{{secrets.plain.password}}"}), *SOON)
    failed(agent, result, "secrets.plain is plain text, not a JSON object")


def test_a_leaf_and_a_branch_of_one_name_are_refused_by_name(agent, aws):
    aws.tree("/prod/flags", {"a/x": PASSWORD, "a/x/b": PASSWORD, "c": "on"}, "SecureString")
    result = agent.boot(document({"flags": "{ parameters_under: /prod/flags/ }"}, {"f": "{{secrets.flags.c}}"}), *SOON)
    failed(agent, result, "/prod/flags/a/x is both a parameter and the path of /prod/flags/a/x/b")


def test_an_arn_is_asked_for_in_its_own_region(agent, aws):
    there, names = "us-east-1", [f"far{n}" for n in range(3)]
    client = aws.new_client("secretsmanager", there)
    arns = {name: client.create_secret(Name=name, SecretString=f"{name} {PASSWORD}")["ARN"] for name in names}
    assert all(f":{there}:" in arn for arn in arns.values())
    for n in range(3):
        aws.secret(f"near{n}", f"near{n}")
    sources = {name: f'{{ secrets_manager: "{arn}" }}' for name, arn in arns.items()}
    sources |= {f"near{n}": f"{{ secrets_manager: near{n} }}" for n in range(3)}
    content = "\n".join(f"{{{{secrets.{name}}}}}" for name in sources)
    result = agent.boot(document(sources, {"all": content}))
    assert result.code == DONE, result
    assert agent.read("/etc/app/all").splitlines() == [f"{name} {PASSWORD}" for name in names] + ["near0", "near1", "near2"]
    calls = sorted((call["region"], len(json.loads(call["body"])["SecretIdList"])) for call in aws.calls("BatchGetSecretValue"))
    assert calls == [("eu-central-1", 3), (there, 3)]
    assert aws.count("GetSecretValue") == 0


def test_a_parameter_by_arn_is_asked_for_in_its_own_region(agent, aws):
    arn = "arn:aws:ssm:us-east-1:210987654321:parameter/shared/token"
    sources = {"far": f'{{ parameter: "{arn}" }}', "near": "{ parameter: /near }"}
    aws.parameter("/near", "near")
    result = agent.boot(document(sources, {"f": "{{secrets.near}}", "g": "{{secrets.far}}"}), *SOON)
    assert result.code == FAILED, result
    assert sorted(call["region"] for call in aws.calls("GetParameters")) == ["eu-central-1", "us-east-1"]
    assert f"create {arn} in us-east-1" in " ".join(result.stderr.split()), result


def test_a_denied_arn_names_the_region_and_the_other_account(agent, aws):
    arn = "arn:aws:secretsmanager:us-east-1:210987654321:secret:db-a1b2c3"
    aws.fault("denied", operation="GetSecretValue")
    result = agent.boot(document({"db": f'{{ secrets_manager: "{arn}" }}'}, {"f": "{{secrets.db}}"}), *SOON)
    failed(agent, result, f"allow secretsmanager:GetSecretValue on {arn}", "if 210987654321 is another account")


def test_an_arn_that_cannot_be_right_is_found_before_anything_is_asked_for(agent, aws):
    for arn, said in (
        ("arn:aws:secretsmanager:cn-north-1:123456789012:secret:db", "cn-north-1 is in aws-cn"),
        ("arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-a1b2c3:password::", "end the ARN before `:password::`"),
        ("arn:aws:ssm:eu-central-1:123456789012:parameter/x", "give it as `parameter:`"),
    ):
        result = agent.boot(document({"db": f'{{ secrets_manager: "{arn}" }}'}, {"f": "x"}))
        assert result.code == 78 and said in result.stderr, result
    # Well-formed, and of another partition than this instance.
    arn = "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:db"
    result = agent.boot(document({"db": f'{{ secrets_manager: "{arn}" }}'}, {"f": "{{secrets.db}}"}), *SOON)
    failed(agent, result, "cn-north-1 belongs to the partition aws-cn, which does not accept credentials of aws")
    assert aws.count() == 0
