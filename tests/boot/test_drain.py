"""`ingot drain` over moto and the harness's IMDS: what it notices, whom it tells, and what a kill costs."""

import json
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from harness.agent import DONE, FAILED, USAGE, until
from harness.aws.account import INSTANCE

GROUP, HOOK, BUCKET = "web", "leaving", "shop-evidence"
TARGETS = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef"
RECORD = f"/var/lib/ingot/instances/{INSTANCE}/drains.leave.json"
SETTINGS = {
    "address": "drains.leave",
    "record": INSTANCE,
    "hook": {"name": HOOK, "group": None},
    "grace_ms": 20_000,
    "deregistration_ms": 1_000,
    "targets": [],
    "spot": True,
    "rebalance": False,
    "serving": [],
    "evidence": [],
}


class Drain:
    """A machine that is watched. It has no systemd, and so no units."""

    def __init__(self, agent, aws, imds):
        self.agent, self.aws, self.imds = agent, aws, imds
        imds.configure(tags={"aws:autoscaling:groupName": GROUP}, lifecycle="InService")
        aws.leaving(GROUP, HOOK)
        self.running = None
        self.root = ["--root", str(agent.root)]

    def begin(self, **settings) -> None:
        self.agent.write("/run/ingot/drain.json", json.dumps({**SETTINGS, **settings}))
        self.agent.write("/run/ingot/proxy/nginx.conf", "")
        self.running = self.agent.start("drain", *self.root)

    def terminate(self, waits: bool = True) -> None:
        if waits:
            self.aws.lifecycle_action(GROUP, HOOK)
        self.imds.configure(lifecycle="Terminated")

    def interrupt(self, seconds: int = 120) -> None:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        self.imds.configure(interruption=["terminate", at.strftime("%Y-%m-%dT%H:%M:%SZ")])

    def done(self) -> set[str]:
        path = self.agent.root / RECORD.lstrip("/")
        entries = json.loads(path.read_text())["entries"] if path.exists() else {}
        return {name for name, entry in entries.items() if name == "began" or entry["state"] == "done"}

    def is_hidden(self) -> bool:
        return (self.agent.root / "run/ingot/proxy/leaving").exists()

    def is_left(self):
        """Waits until it has nothing to do but to hold the lock, and ends it as systemd does."""
        assert self.running.wait_for_line("drained; no boot starts anything again until this machine stops")
        self.running.process.send_signal(signal.SIGTERM)
        return self.ends()

    def ends(self, code: int = DONE):
        result = self.running.wait()
        assert result.code == code, result
        return result


@pytest.fixture
def drain(agent, aws, imds):
    drain = Drain(agent, aws, imds)
    yield drain
    if drain.running and drain.running.process.poll() is None:
        drain.running.kill()
        drain.running.wait()


def test_it_watches_and_is_left_alone_by_all_other_states(drain, aws, imds):
    drain.begin()
    until("three looks", lambda: len(imds.requests(path="/latest/meta-data/autoscaling/target-lifecycle-state")) >= 3, drain.running)
    # One token for all of them, and AWS is not asked.
    assert len(imds.requests("PUT")) == 1 and aws.count() == 0
    drain.running.process.send_signal(signal.SIGTERM)
    assert drain.ends().seconds < 20
    assert drain.done() == set() and not drain.is_hidden()


def test_one_that_rests_hears_a_signal_at_once_and_a_sign_with_its_next_look(drain, aws, imds):
    """Between two looks its only thread sleeps in the kernel."""
    looks = lambda: len(imds.requests(path="/latest/meta-data/autoscaling/target-lifecycle-state"))  # noqa: E731
    drain.begin()
    until("nine looks", lambda: looks() >= 9, drain.running)
    time.sleep(1)
    began = time.monotonic()
    drain.running.process.send_signal(signal.SIGTERM)
    drain.ends()
    # Five seconds of that it looks for a systemd that would say that the machine shuts down.
    assert time.monotonic() - began < 8
    drain.begin()
    begun = looks()
    until("nine more", lambda: looks() >= begun + 9, drain.running)
    drain.terminate()
    drain.is_left()
    assert aws.results() == ["CONTINUE"]


def test_terminated_it_completes_the_hook_once_all_else_is_done(drain, aws):
    location = {"LocationConstraint": "eu-central-1"}
    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)
    drain.begin(evidence=[f"s3://{BUCKET}/prod/"])
    drain.terminate()
    drain.is_left()
    assert aws.results() == ["CONTINUE"] and drain.done() == {"began", "workers", "units", "evidence", "hook"}
    [found] = aws.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    assert found["Key"].startswith("prod/") and found["Key"].endswith("-drain.json.zst"), found
    packed = aws.client("s3").get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read()
    content = json.loads(subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout)
    assert (content["moment"], content["reason"], content["report"]) == ("drain", "Auto Scaling is terminating this instance", None)
    # Again, it has nothing to do.
    drain.running = drain.agent.start("drain", *drain.root)
    drain.is_left()
    assert aws.count("CompleteLifecycleAction") == 1


def test_heartbeats_keep_the_hook_while_it_lasts(drain, aws):
    aws.target_group(TARGETS)
    aws.target(TARGETS, "draining", "Target.DeregistrationInProgress")
    drain.begin(targets=[TARGETS], grace_ms=60_000)
    drain.terminate()
    until("a heartbeat", lambda: aws.told()["actions"][0]["beats"] >= 1, drain.running)
    assert drain.running.wait_for_line("waiting for the load balancer to deregister this instance: web is draining")
    assert aws.results() == [None]
    aws.target_group(TARGETS)
    aws.target(TARGETS, "unused", "Target.NotRegistered")
    drain.is_left()
    assert aws.results() == ["CONTINUE"]


def test_killed_it_goes_on_and_has_no_more_time_than_before(drain, aws):
    aws.target_group(TARGETS)
    aws.target(TARGETS, "draining")
    drain.begin(targets=[TARGETS])
    begun = time.monotonic()
    drain.terminate()
    for _ in range(3):
        until("its beginning", lambda: "workers" in drain.done(), drain.running)
        time.sleep(2)
        drain.running.kill()
        drain.running.wait()
        # What it had seen before is known, also where nobody can be asked any more.
        drain.imds.configure(lifecycle="InService")
        drain.running = drain.agent.start("drain", *drain.root)
    result = drain.is_left()
    assert 19 < time.monotonic() - begun < 40
    assert "still listed: web is draining" in result.stderr and aws.results() == ["CONTINUE"]
    assert aws.count("CompleteLifecycleAction") == 1


def test_an_interruption_hides_the_machine_and_its_group_hears_of_the_end_when_it_asks(drain, aws):
    drain.begin(grace_ms=5_000, serving=["services.shop.service"])
    drain.interrupt()
    until("the mark for the proxy", drain.is_hidden, drain.running)
    # Auto Scaling does not know of it yet.
    assert drain.running.wait_for_line("drained; watching for Auto Scaling to terminate this instance")
    drain.terminate()
    drain.is_left()
    assert aws.results() == ["CONTINUE"]


@pytest.mark.parametrize("fault", ["throttled", "unavailable", "reset"])
def test_it_is_completed_until_that_is_taken(drain, aws, fault):
    aws.fault(fault, operation="CompleteLifecycleAction", times=2)
    drain.begin()
    drain.terminate()
    drain.is_left()
    assert aws.results() == ["CONTINUE"] and aws.count("CompleteLifecycleAction") == 3


def test_a_hook_that_begins_to_wait_after_the_load_balancer_let_go_is_completed(drain, aws):
    drain.begin()
    drain.terminate(waits=False)
    assert drain.running.wait_for_line("waiting for lifecycle hook leaving of group web to wait for this instance")
    assert "hook" not in drain.done() and aws.results() == []
    aws.lifecycle_action(GROUP, HOOK)
    drain.is_left()
    assert aws.results() == ["CONTINUE"] and "hook" in drain.done()


def test_no_boot_begins_on_a_machine_that_is_terminated(drain, agent):
    drain.begin()
    drain.terminate()
    assert drain.running.wait_for_line("drained; no boot starts anything again until this machine stops")
    boot = agent.start_boot("#ingot\nversion: 1\nfiles:\n  /etc/motd: { content: hello }\n")
    assert boot.wait_for_line("waiting for it to end")
    assert not (agent.root / "etc/motd").exists()
    drain.running.kill()
    boot.wait()


@pytest.mark.parametrize("answer", ["<html>not found</html>", '{"action": "hibernate", "time": "2026-11-30T15:00:00Z"}'])
def test_what_is_not_a_notice_of_ec2_drains_nothing(drain, imds, answer):
    fault = {"kind": "status", "status": 200, "body": answer, "path": "/latest/meta-data/spot/instance-action"}
    imds.configure(faults=[fault])
    drain.begin()
    assert drain.running.wait_for_line("the instance metadata service has a notice that is ignored")
    drain.running.process.send_signal(signal.SIGTERM)
    drain.ends()
    assert drain.done() == set() and not drain.is_hidden()


def test_a_hook_that_may_not_be_completed_says_what_to_allow(drain, aws):
    aws.fault("denied", operation="CompleteLifecycleAction")
    drain.begin()
    drain.terminate()
    assert "allow autoscaling:CompleteLifecycleAction on" in drain.ends(FAILED).stderr
    assert drain.done() == {"began", "workers", "units"}


def test_metadata_that_comes_late_is_asked_again(drain, aws, imds):
    imds.configure(faults=[{"kind": "status", "status": 503, "path": "/latest/meta-data/autoscaling/*", "times": 30}])
    drain.begin()
    assert drain.running.wait_for_line("cannot tell whether this instance is about to end: the instance metadata service did not answer within 4s")
    drain.terminate()
    imds.configure(faults=[])
    assert drain.running.wait_for_line("the instance metadata service answers again")
    drain.is_left()
    assert aws.results() == ["CONTINUE"]


def test_one_by_hand_that_is_given_up_leaves_no_mark(drain, agent):
    agent.write("/run/ingot/drain.json", json.dumps({**SETTINGS, "serving": ["services.shop.service"], "deregistration_ms": 20_000}))
    agent.write("/run/ingot/proxy/nginx.conf", "")
    drain.running = agent.start("drain", "--now", *drain.root)
    until("the mark for the proxy", drain.is_hidden, drain.running)
    drain.running.process.send_signal(signal.SIGTERM)
    assert "the drain was canceled" in drain.ends(FAILED).stderr and not drain.is_hidden()


def test_by_hand_it_drains_at_once_and_says_what_it_waits_for(drain, aws):
    result = drain.agent.run("drain", "--now", *drain.root)
    assert result.code == USAGE and "run `ingot boot` with a document that has `drains:`" in result.stderr, result
    drain.agent.write("/run/ingot/drain.json", json.dumps({**SETTINGS, "serving": ["services.shop.service"]}))
    drain.agent.write("/run/ingot/proxy/nginx.conf", "")
    result = drain.agent.run("drain", "--now", *drain.root)
    assert result.code == DONE and "waiting for" in result.stderr and "requests are over" in result.stderr, result
    assert aws.results() == [] and drain.is_hidden() and "hook" not in drain.done()
    # What it could not do is done once Auto Scaling waits for it.
    drain.running = drain.agent.start("drain", *drain.root)
    drain.terminate()
    drain.is_left()
    assert aws.results() == ["CONTINUE"] and aws.count("CompleteLifecycleAction") == 2
