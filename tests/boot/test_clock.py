"""The clock of the machine: AWS's may be another, and it may jump while a boot runs."""

import pytest
from harness.agent import DONE, FAILED, document
from harness.aws.restore import attaches, data, one_volume

YEAR = 365 * 86_400

SECRETS = document(
    secrets={
        **{f"s{number}": {"secrets_manager": f"s{number}"} for number in range(3)},
        "token": {"parameter": "/prod/token"},
        "flags": {"parameters_under": "/prod/flags"},
    },
    files={"/etc/app": {"content": "{{secrets.s0}} {{secrets.s2}} {{secrets.token}} {{secrets.flags.a}}"}},
)


@pytest.fixture
def fill(aws):
    for number in range(3):
        aws.secret(f"s{number}", f"value-{number}")
    aws.parameter("/prod/token", "token")
    aws.tree("/prod/flags", {"a": "on"})


@pytest.mark.parametrize("ahead, said", [(3 * YEAR, "1095 days behind"), (-3 * YEAR, "1095 days ahead of"), (7_200, "2 hours behind")])
def test_a_clock_that_is_wrong_costs_one_more_exchange(agent, aws, imds, fill, ahead, said):
    aws.ahead(ahead)
    imds.configure(ahead=ahead)
    result = agent.boot(SECRETS)
    assert result.code == DONE, result
    assert agent.read("/etc/app") == "value-0 value-2 token on"
    # The three kinds of call begin together, before any has been refused.
    calls = [(call["operation"], call["status"]) for call in aws.calls()]
    for operation in ("BatchGetSecretValue", "GetParameters", "GetParametersByPath"):
        assert [status for name, status in calls if name == operation] in ([400, 200], [200]), calls
    assert calls[0][1] == 400 and len(calls) <= 6
    [warning] = result.report["warnings"]
    assert warning == f"this machine's clock is {said} AWS's: requests are signed with AWS's time"
    assert warning in result.stderr
    # As on a day when it is right: the time of credentials is counted from IMDS's clock.
    assert len(imds.requests("GET", "/latest/meta-data/iam/security-credentials/shop")) == 1
    assert "retry" not in result.stderr


def test_a_clock_that_is_nearly_right_costs_nothing(agent, aws, fill):
    aws.ahead(200)
    result = agent.boot(SECRETS)
    assert result.code == DONE, result
    assert aws.count() == 3 and result.report["warnings"] == []


@pytest.mark.parametrize("ahead", [3 * YEAR, -3 * YEAR])
def test_what_was_learnt_of_the_clock_serves_every_later_call(instance, aws, ahead):
    aws.ahead(ahead)
    attaches(instance, data())
    one_volume(aws)
    refused = [call["operation"] for call in aws.calls() if call["status"] >= 400]
    assert refused == ["DescribeVolumes"], "one for the first call, and none for the others"


def test_a_refusal_that_the_clock_does_not_explain_is_final(agent, aws, fill):
    aws.fault("error", operation="GetParameters", type="InvalidSignatureException", message="The request signature …")
    result = agent.boot(SECRETS)
    assert result.code == FAILED, result
    assert aws.count("GetParameters") == 1
    assert "timedatectl" in result.failure("secrets.token")


def test_a_refusal_that_names_another_time_for_ever_is_tried_once_more(agent, aws, fill):
    date = "Mon, 23 Nov 2020 02:30:00 GMT"
    aws.fault("error", operation="GetParameters", type="InvalidSignatureException", headers={"Date": date})
    result = agent.boot(SECRETS)
    assert result.code == FAILED, result
    assert aws.count("GetParameters") == 2
    assert "timedatectl" in result.failure("secrets.token")
