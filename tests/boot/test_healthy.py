"""A success is told once the load balancer finds the instance healthy: no request is lost when the old group goes."""

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, document, until
from harness.aws.account import INSTANCE
from harness.aws.balancer import Balancer, application
from harness.aws.waiting import SIGNALS, TAGS, waits_for_instance

GROUP = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef"
ELSEWHERE = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/api/0123456789abcdef"


def waiting_for(*groups: str, **more) -> dict:
    return {**SIGNALS, "stack": {"cloudformation": {}, "targets": list(groups), **more}}


@pytest.fixture
def behind(agent, aws, imds):
    """ingot on an instance for which a stack and a hook wait, and a target group that does not know it yet."""
    waits_for_instance(aws, imds)
    aws.target_group(GROUP)
    return agent


@pytest.mark.parametrize("signals, loses", [(SIGNALS, True), (waiting_for(GROUP), False)], ids=["without", "with"])
def test_the_old_group_goes_at_the_last_success(behind, aws, signals, loses):
    old, new = application(), application()
    try:
        with Balancer(aws, GROUP, old.server_port, new.server_port) as balancer:
            result = behind.boot(document(signals=signals))
            assert result.code == DONE, result
            balancer.settle()
    finally:
        old.shutdown()
        new.shutdown()
    assert aws.statuses() == ["SUCCESS"] and aws.results() == ["CONTINUE"]
    assert balancer.sent > 50 and (balancer.lost > 0) == loses, (balancer.sent, balancer.lost)


def test_it_shows_what_it_waits_for_and_asks_for_this_instance(behind, aws):
    aws.target(GROUP, "initial", "Elb.RegistrationInProgress")
    running = behind.start_boot(document(signals=waiting_for(GROUP)))
    until("a second look", lambda: aws.count("DescribeTargetHealth") > 1, running)
    status = behind.run("status", "--root", str(behind.root))
    assert "web is initial (Elb.RegistrationInProgress)" in status.stdout, status
    assert aws.statuses() == [] and aws.results() == ["CONTINUE"]
    aws.target(GROUP, "healthy")
    assert running.wait().code == DONE
    assert aws.statuses() == ["SUCCESS"]
    form = aws.calls("DescribeTargetHealth")[0]["form"]
    assert form["TargetGroupArn"] == GROUP and not any(name.startswith("Targets") for name in form), form


def test_a_group_of_another_region_is_asked_there(behind, aws):
    aws.target_group(ELSEWHERE)
    aws.target(ELSEWHERE, "healthy")
    result = behind.boot(document(signals=waiting_for(ELSEWHERE)))
    assert result.code == DONE, result
    assert [call["region"] for call in aws.calls("DescribeTargetHealth")] == ["eu-west-1"]


def test_one_that_stays_unhealthy_is_told_as_a_failure_with_its_reason(behind, aws):
    aws.target(GROUP, "unhealthy", "Target.ResponseCodeMismatch", "Health checks failed with these codes: [502]")
    result = behind.boot(document(signals=waiting_for(GROUP, timeout="4s")))
    assert result.code == FAILED and aws.statuses() == ["FAILURE"], result
    failure = result.failure("signals.stack")
    assert "web is unhealthy (Target.ResponseCodeMismatch: Health checks failed with these codes: [502])" in failure
    assert "compare the health check of the target group" in failure


def test_its_evidence_is_there_before_the_failure_is_told(behind, aws):
    aws.client("s3").create_bucket(Bucket="shop-evidence", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    aws.target(GROUP, "unhealthy", "Target.Timeout")
    evidence = {"evidence": {"s3": "s3://shop-evidence/shop/prod/"}}
    result = behind.boot(document(signals={**waiting_for(GROUP, timeout="4s"), **evidence}))
    assert result.code == FAILED and aws.statuses() == ["FAILURE"] and aws.results() == ["CONTINUE"], result
    told = [call["operation"] for call in sorted(aws.calls(), key=lambda call: call["time"])]
    told = [operation for operation in told if operation in ("PutObject", "SignalResource", "CompleteLifecycleAction")]
    assert told == ["CompleteLifecycleAction", "PutObject", "SignalResource", "PutObject"], told


def test_targets_that_come_to_no_arn_are_told_as_a_failure(behind, aws, imds):
    imds.configure(tags={**TAGS, "group": "web"})
    result = behind.boot(document(signals=waiting_for("{{instance.tags.group}}")))
    assert result.code == FAILED and aws.statuses() == ["FAILURE"] and aws.results() == ["CONTINUE"], result
    assert "`web` is not the ARN of a target group" in result.failure("signals.stack")


def test_a_failure_asks_no_load_balancer(behind, aws):
    result = behind.boot(document(signals=waiting_for(GROUP), commands={"a": {"run": ["/bin/false"]}}))
    assert result.code == FAILED and aws.statuses() == ["FAILURE"], result
    assert aws.count("DescribeTargetHealth") == 0


def test_a_denied_look_is_final(behind, aws):
    aws.fault("denied", operation="DescribeTargetHealth")
    result = behind.boot(document(signals=waiting_for(GROUP)))
    assert result.code == FAILED and aws.count("DescribeTargetHealth") == 1, result
    assert "allow elasticloadbalancing:DescribeTargetHealth on *" in result.failure("signals.stack")


def test_a_group_that_is_not_there_is_final(behind, aws):
    result = behind.boot(document(signals=waiting_for(ELSEWHERE)))
    assert result.code == FAILED and aws.count("DescribeTargetHealth") == 1, result
    assert "create the target group, or correct its ARN" in result.failure("signals.stack")


@pytest.mark.parametrize("fault", ["throttled", "unavailable", "internal", "reset", "truncate", "malformed"])
def test_a_look_is_made_again(behind, aws, fault):
    aws.target(GROUP, "healthy")
    aws.fault(fault, operation="DescribeTargetHealth", times=2)
    result = behind.boot(document(signals=waiting_for(GROUP)))
    assert result.code == DONE and aws.statuses() == ["SUCCESS"], result
    assert aws.count("DescribeTargetHealth") == 3


def test_killed_while_it_waits_it_waits_again(behind, aws):
    running = behind.start_boot(document(signals=waiting_for(GROUP)))
    until("a look", lambda: aws.count("DescribeTargetHealth") > 0, running)
    running.kill()
    running.wait()
    aws.target(GROUP, "healthy")
    assert behind.boot(document(signals=waiting_for(GROUP))).code == DONE
    assert aws.statuses() == ["SUCCESS"] and aws.results() == ["CONTINUE"]


@pytest.mark.parametrize("operation", ["CompleteLifecycleAction", "DescribeTargetHealth", "SignalResource"])
@pytest.mark.parametrize("fault", ["hang", "trickle"], ids=["not-carried-out", "carried-out"])
def test_killed_at_any_exchange_the_next_boot_tells(behind, aws, operation, fault):
    aws.target(GROUP, "healthy")
    aws.fault(fault, operation=operation, times=1, **({"bytes_per_second": 1} if fault == "trickle" else {}))
    running = behind.start_boot(document(signals=waiting_for(GROUP)))
    until("the call", lambda: aws.count(operation) > 0, running)
    running.kill()
    running.wait()
    result = behind.boot(document(signals=waiting_for(GROUP)))
    assert result.code == DONE and set(aws.statuses()) == {"SUCCESS"} and set(aws.results()) == {"CONTINUE"}, result


def test_what_is_not_an_arn_is_a_mistake(behind):
    result = behind.boot(document(signals=waiting_for("web")))
    assert result.code == BAD_DOCUMENT and "`web` is not the ARN of a target group" in result.stderr, result
