"""Signals as CloudFormation and Auto Scaling get them: in the end, at once on a failure, again until they took them."""

import signal

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, document, until, waits_for
from harness.aws.account import INSTANCE
from harness.aws.waiting import GROUP, HOOK, RESOURCE, SIGNALS, STACK, TAGS, waits_for_instance
from harness.tls import Tls

GOOD = {"a": {"run": ["/bin/true"]}}
BAD = {"a": {"run": ["/bin/sh", "-c", "echo no good; exit 3"]}}


@pytest.fixture
def waited_for(agent, aws, imds, monkeypatch):
    """ingot on an instance for which a stack and a group wait. What still runs when the test is over is ended."""
    waits_for_instance(aws, imds)
    started, start = [], agent.start
    monkeypatch.setattr(agent, "start", lambda *args, **more: started.append(start(*args, **more)) or started[-1])
    yield agent
    for running in started:
        if running.process.poll() is None:
            running.kill()
            running.process.wait()


def boot(agent, **sections):
    return agent.boot(document(signals=SIGNALS, **sections))


def test_a_good_end_is_told_once(waited_for, aws):
    result = boot(waited_for, commands=GOOD)
    assert result.code == DONE, result
    told = {"StackName": STACK, "LogicalResourceId": RESOURCE, "UniqueId": INSTANCE, "Status": "SUCCESS"}
    assert aws.told()["signals"] == [told] and aws.results() == ["CONTINUE"]
    assert all(call["signed"] for call in aws.calls())
    assert aws.count() == 2, "nothing is asked that the tags say"
    again = boot(waited_for, commands=GOOD)
    assert set(again.outcomes().values()) == {"unchanged"}, again
    assert aws.count() == 2


def test_a_failure_is_told_with_its_reason_in_the_report(waited_for, aws):
    result = boot(waited_for, commands=BAD, services={})
    assert result.code == FAILED, result
    assert aws.statuses() == ["FAILURE"] and aws.results() == ["ABANDON"]
    [line] = result.step("signals.stack")["changes"]
    assert line.startswith(f"signal FAILURE to stack {STACK}, resource {RESOURCE}: commands.a: /bin/sh exited with 3"), line
    assert "no good" in line


def test_a_failure_is_told_while_others_still_run(waited_for, aws):
    commands = {**BAD, "slow": {"run": ["/bin/sleep", "300"]}}
    running = waited_for.start_boot(document(signals=SIGNALS, commands=commands))
    until("both signals", lambda: aws.statuses() == ["FAILURE"] and aws.results() == ["ABANDON"], running)
    assert running.process.poll() is None
    running.process.send_signal(signal.SIGTERM)
    assert running.wait().code == FAILED


def test_what_was_told_of_a_failure_is_taken_back(waited_for, aws):
    boot(waited_for, commands=BAD)
    result = boot(waited_for, commands=GOOD)
    assert result.code == DONE, result
    assert aws.statuses() == ["FAILURE", "SUCCESS"]
    # The group has ended what it abandoned: there is no action any more, and that is no failure.
    assert aws.results() == ["ABANDON"]


def test_a_stack_that_is_complete_is_no_failure(waited_for, aws):
    aws.complete_stack(STACK)
    result = boot(waited_for, commands=GOOD)
    assert result.code == DONE and "cannot be signaled" in result.stderr, result
    assert aws.count("SignalResource") == 1
    boot(waited_for, commands=GOOD)
    assert aws.count("SignalResource") == 1


def test_a_stack_that_is_not_there_is_one(waited_for, aws, imds):
    imds.configure(tags={**TAGS, "aws:cloudformation:stack-name": "gone"})
    result = boot(waited_for, commands=GOOD)
    assert result.code == FAILED, result
    assert "Stack gone does not exist" in result.failure("signals.stack")
    assert aws.results() == ["CONTINUE"]


@pytest.mark.parametrize("fault", ["throttled", "unavailable", "internal", "reset", "truncate"])
def test_it_is_sent_until_it_is_taken(waited_for, aws, fault):
    for operation in ("SignalResource", "CompleteLifecycleAction"):
        aws.fault(fault, operation=operation, times=2)
    result = boot(waited_for, commands=GOOD)
    assert result.code == DONE, result
    # With an answer that is cut off, the call took effect: the same signal twice counts as one.
    assert set(aws.statuses()) == {"SUCCESS"} and aws.results() == ["CONTINUE"]
    assert aws.count("SignalResource") == 3


@pytest.mark.parametrize("operation", ["SignalResource", "CompleteLifecycleAction"])
def test_killed_before_it_is_on_record_it_is_sent_again(waited_for, aws, operation):
    # AWS takes it, and the answer comes too late.
    aws.fault("trickle", operation=operation, bytes_per_second=1, times=1)
    running = waited_for.start_boot(document(signals=SIGNALS, commands=GOOD))
    until("the call", lambda: aws.count(operation) == 1, running)
    until("its effect", lambda: aws.statuses() == ["SUCCESS"] and aws.results() == ["CONTINUE"], running)
    running.kill()
    running.wait()
    result = boot(waited_for, commands=GOOD)
    assert result.code == DONE, result
    assert aws.count(operation) == 2 and aws.results() == ["CONTINUE"] and set(aws.statuses()) == {"SUCCESS"}
    assert set(boot(waited_for, commands=GOOD).outcomes().values()) == {"unchanged"}


def test_a_signal_that_may_not_be_sent_says_what_to_allow(waited_for, aws):
    aws.fault("denied", operation="SignalResource")
    result = boot(waited_for, commands=GOOD)
    assert result.code == FAILED, result
    assert "allow cloudformation:SignalResource on" in result.failure("signals.stack")


def test_the_deadline_is_told_and_a_sigterm_is_not(waited_for, aws):
    text = document(signals=SIGNALS, commands={"slow": {"run": ["/bin/sleep", "300"]}})
    running = waited_for.start_boot(text)
    assert running.wait_for_line("commands.slow: run"), running.lines
    running.process.send_signal(signal.SIGTERM)
    assert running.wait().code == FAILED and aws.count() == 0
    result = waited_for.boot(text, "--deadline", "5s")
    assert result.code == FAILED, result
    assert aws.statuses() == ["FAILURE"] and aws.results() == ["ABANDON"]
    assert "the boot's deadline of 5s passed, while waiting for /bin/sleep" in result.step("signals.stack")["changes"][0]


def test_a_hook_waits_for_as_long_as_a_boot_goes_on(agent, aws, imds, tmp_path):
    imds.configure(tags=TAGS, lifecycle="InService")
    aws.group(GROUP, {HOOK: 30})
    over = tmp_path / "over"
    running = agent.start_boot(document(signals={"hook": SIGNALS["hook"]}, commands={"slow": {"run": waits_for(over)}}))
    until("two heartbeats", lambda: aws.told()["actions"][0]["beats"] >= 2, running)
    over.touch()
    result = running.wait()
    assert result.code == DONE, result
    [action] = aws.told()["actions"]
    assert action["result"] == "CONTINUE", action
    assert aws.count("DescribeLifecycleHooks") == 1


def test_whom_it_goes_to_is_asked_where_metadata_shows_no_tags(agent, aws, imds):
    imds.configure(tags=None)
    waits_for_instance(aws)
    aws.instance()
    aws.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=GROUP, MaxSize=1)
    aws.client("autoscaling").attach_instances(InstanceIds=[INSTANCE], AutoScalingGroupName=GROUP)
    tags = [{"Key": key, "Value": value} for key, value in {"Name": "web-1"}.items()]
    aws.client("ec2").create_tags(Resources=[INSTANCE], Tags=tags)
    signals = {
        "stack": {"cloudformation": {"stack": STACK, "resource": RESOURCE}},
        "hook": {"lifecycle_hook": {}},
        "tags": {"cloudformation": {}, "required": False},
    }
    result = agent.boot(document(signals=signals))
    assert result.code == DONE, result
    assert aws.statuses() == ["SUCCESS"] and aws.results() == ["CONTINUE"]
    assert aws.count("DescribeAutoScalingInstances") == aws.count("DescribeLifecycleHooks") == 1
    assert "this instance has no tag aws:cloudformation:stack-name" in result.failure("signals.tags")
    assert aws.count("DescribeTags") == 1


def test_a_wait_condition_is_told_why_and_its_url_is_nowhere(agent, aws, tmp_path):
    tls = Tls(tmp_path, aws.port)
    url = f"https://127.0.0.1:{tls.port}/wait-condition?Expires=1&Signature=hunter2-of-the-url"
    signals = {"wait": {"cloudformation": {"wait_condition_url": url}}}
    agent.env["AWS_CA_BUNDLE"] = str(tls.certificate)
    aws.fault("status", operation="PUT /wait-condition", status=503, times=1)
    try:
        results = [agent.boot(document(signals=signals, commands=commands)) for commands in (BAD, GOOD)]
    finally:
        tls.close()
    assert [result.code for result in results] == [FAILED, DONE], results
    failed, done = aws.told()["waited"]
    assert (failed["Status"], failed["UniqueId"]) == ("FAILURE", INSTANCE)
    assert failed["Reason"].startswith("commands.a: /bin/sh exited with 3") and "no good" in failed["Reason"]
    assert done["Status"] == "SUCCESS"
    assert [agent.leaks(result, ["hunter2-of-the-url"]) for result in results] == [[], []]


def test_a_document_with_a_mistake_is_told(waited_for, aws, imds):
    imds.configure(user_data=document(signals=SIGNALS, files={"/etc/a": {"contents": "x"}}))
    result = waited_for.boot()
    assert result.code == BAD_DOCUMENT, result
    assert aws.statuses() == ["FAILURE"] and aws.results() == ["ABANDON"]
    assert "unknown key `contents`" in result.step("signals.stack")["changes"][0]
    # Once it is right, the same instance says so.
    imds.configure(user_data=document(signals=SIGNALS))
    assert waited_for.boot().code == DONE
    assert aws.statuses() == ["FAILURE", "SUCCESS"]


def test_user_data_that_is_broken_is_told_by_the_layers_of_the_image(waited_for, aws, imds):
    waited_for.write("/etc/ingot/boot.d/10.yaml", document(signals=SIGNALS))
    imds.configure(user_data="#ingot\nversion: 1\nfiles: {{{\n")
    assert waited_for.boot().code == BAD_DOCUMENT
    assert aws.statuses() == ["FAILURE"] and aws.results() == ["ABANDON"]


def test_without_a_hook_or_a_phase_nobody_asks_for_the_target_state(agent, imds):
    imds.configure(user_data=document(files={"/etc/a": {"content": "{{instance.id}}"}}), lifecycle="Warmed:Stopped")
    assert agent.boot().code == DONE
    assert not any("autoscaling" in entry["path"] for entry in imds.requests())


WARM = {
    "commands": {"unpack": {"run": ["/bin/true"]}, "serve": {"run": ["/bin/true"], "phase": "serve"}},
    "files": {"/etc/a": {"content": "{{instance.id}}"}},
    "signals": SIGNALS,
}


def test_a_warm_pool_is_left_in_the_same_process(waited_for, aws, imds):
    imds.configure(lifecycle="Warmed:Running")
    running = waited_for.start_boot(document(**WARM))
    assert running.wait_for_line("done in .*phase warm"), running.lines
    status = waited_for.run("status", "--wait", "--root", str(waited_for.root), "--json")
    report = status.json["report"]
    assert status.json["status"] == "done" and report["phase"] == "warm", status
    assert {step["address"] for step in report["steps"]} == {"commands.unpack", "files./etc/a", "signals.hook"}
    assert aws.statuses() == [] and aws.results() == ["CONTINUE"]
    assert running.process.poll() is None

    aws.lifecycle_action(GROUP, HOOK)
    imds.configure(lifecycle="InService")
    result = running.wait()
    assert result.code == DONE and result.report["phase"] == "serve", result
    assert result.outcomes() == {
        "commands.serve": "changed",
        "commands.unpack": "unchanged",
        "files./etc/a": "unchanged",
        "signals.hook": "changed",
        "signals.stack": "changed",
    }
    assert aws.statuses() == ["SUCCESS"] and aws.results() == ["CONTINUE"]


def test_a_stopped_pool_is_left_by_a_boot_of_its_own(waited_for, aws, imds):
    imds.configure(lifecycle="Warmed:Stopped")
    running = waited_for.start_boot(document(**WARM))
    assert running.wait_for_line("done in .*phase warm"), running.lines
    running.process.send_signal(signal.SIGTERM)
    result = running.wait()
    assert result.code == DONE and result.report["outcome"] == "done", result
    aws.lifecycle_action(GROUP, HOOK)
    imds.configure(lifecycle="InService")
    result = waited_for.boot(document(**WARM))
    assert result.code == DONE and result.outcomes()["commands.serve"] == "changed", result
    assert aws.statuses() == ["SUCCESS"] and aws.results() == ["CONTINUE"]


def test_what_fails_before_the_pool_is_abandoned_and_ends(waited_for, aws, imds):
    imds.configure(lifecycle="Warmed:Stopped")
    result = waited_for.boot(document(**{**WARM, "commands": BAD}))
    assert result.code == FAILED and result.report["phase"] == "warm", result
    assert aws.statuses() == [] and aws.results() == ["ABANDON"]


def test_a_group_that_has_not_said_yet_what_it_wants_is_waited_for(waited_for, imds):
    imds.configure(lifecycle=None)
    running = waited_for.start_boot(document(**WARM))
    until("the question", lambda: any("target-lifecycle-state" in entry["path"] for entry in imds.requests()), running)
    imds.configure(lifecycle="Warmed:Stopped")
    assert running.wait_for_line("done in .*phase warm"), running.lines
    running.process.send_signal(signal.SIGINT)
    assert running.wait().code == DONE
