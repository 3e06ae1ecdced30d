"""What a boot asks of IMDS and AWS, exactly: each exchange is a time that a fleet waits for, and a share of its quotas."""

import pytest
from harness.agent import DONE, document

PASSWORD = "hunter2-correct-horse"
TOKEN, USER_DATA = "IMDS api/token", "IMDS user-data"
IDENTITY = "IMDS dynamic/instance-identity/document"
ROLE = "IMDS meta-data/iam/security-credentials/"
CREDENTIALS = f"{ROLE}shop"
ALWAYS = [TOKEN, USER_DATA, IDENTITY]

# By what a document has: what is asked in its first boot, and in every one after it.
EXCHANGES = {
    "nothing": ({}, [*ALWAYS, ROLE, CREDENTIALS]),
    "files": ({"files": {f"/etc/{n}": {"content": "{{instance.id}}\n"} for n in range(20)}}, [*ALWAYS, ROLE, CREDENTIALS]),
    "a tag": ({"files": {"/etc/a": {"content": "{{instance.tags.role}}\n"}}}, [*ALWAYS, ROLE, CREDENTIALS, "IMDS meta-data/tags/instance/role"]),
    "a secret": ({"secrets": {"a": {"secrets_manager": "s0"}}}, [*ALWAYS, ROLE, CREDENTIALS, "GetSecretValue"]),
    "20 secrets": (
        {"secrets": {f"s{n}": {"secrets_manager": f"s{n}"} for n in range(20)}},
        [*ALWAYS, ROLE, CREDENTIALS, "BatchGetSecretValue"],
    ),
    "41 secrets": (
        {"secrets": {f"s{n}": {"secrets_manager": f"s{n}"} for n in range(41)}},
        [*ALWAYS, ROLE, CREDENTIALS, "BatchGetSecretValue", "BatchGetSecretValue", "GetSecretValue"],
    ),
    "the same secret twice": (
        {"secrets": {"a": {"secrets_manager": "s0"}, "b": {"secrets_manager": "s0"}}},
        [*ALWAYS, ROLE, CREDENTIALS, "GetSecretValue"],
    ),
    "20 parameters and a tree": (
        {"secrets": {**{f"p{n}": {"parameter": f"/p/p{n}"} for n in range(20)}, "t": {"parameters_under": "/t"}}},
        [*ALWAYS, ROLE, CREDENTIALS, "GetParameters", "GetParameters", "GetParametersByPath"],
    ),
}


@pytest.mark.parametrize("what", EXCHANGES)
def test_no_boot_asks_for_more(agent, aws, imds, what):
    for n in range(41):
        aws.secret(f"s{n}", PASSWORD)
    for n in range(20):
        aws.parameter(f"/p/p{n}", "a value")
    aws.tree("/t", {"a": "1", "b": "2"})
    sections, expected = EXCHANGES[what]
    imds.configure(tags={"role": "web"}, user_data=document(**sections))
    for boot in ("first", "second"):
        imds.forget()
        aws.forget()
        result = agent.boot(None)
        assert result.code == DONE, result
        assert sorted(exchange["what"] for exchange in result.report["exchanges"]) == sorted(expected), boot
        # The report says what there was.
        assert len(imds.requests()) + aws.count() == len(expected), boot
