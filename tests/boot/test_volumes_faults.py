"""Volumes while EC2 refuses, fails and forgets, and ingot is killed: never two, never attached twice."""

from contextlib import ExitStack

import pytest
from harness.agent import Agent, until
from harness.aws.imds import DEFAULTS, Imds
from harness.aws.restore import TAGS, attaches, data, fails, made, one_volume, own

# What EC2 refuses.


@pytest.mark.parametrize(
    "operation, kind, words",
    [
        ("DescribeVolumes", "denied", ["ec2:DescribeVolumes"]),
        ("DescribeSnapshots", "denied", ["ec2:DescribeSnapshots"]),
        ("CreateVolume", "denied", ["ec2:CreateVolume"]),
        ("AttachVolume", "denied", ["ec2:AttachVolume"]),
        ("CreateVolume", "expired", ["timedatectl"]),
        ("CreateVolume", "volume-limit", ["50 TiB", "delete unused volumes"]),
        ("AttachVolume", "attachment-limit", ["27 volume attachments", "instance type that supports more"]),
    ],
)
def test_a_refusal_is_said_at_once_and_the_next_boot_goes_on(instance, aws, operation, kind, words):
    aws.fault(kind, operation=operation)
    said = fails(instance, data())
    assert all(word in said for word in words), said
    assert aws.count(operation) == 1, "there is no point in asking again"
    aws.forget()
    attaches(instance, data())
    one_volume(aws)


# Faults that pass, and the details of each. Every one is met by the same boot, but for those that need a person.
FAULTS = {
    "status": {"status": 500},
    "delay": {"seconds": 0.3},
    "hang": {"seconds": 0.2},
    "reset": {},
    "truncate": {},
    "trickle": {"bytes_per_second": 20_000},
    "malformed": {},
    "throttled": {},
    "internal": {},
    "unavailable": {"headers": {"Retry-After": "0"}},
}


@pytest.mark.parametrize("operation", ["DescribeSnapshots", "CreateVolume", "AttachVolume"])
def test_every_fault_is_met_and_one_volume_is_made(instance, aws, tmp_path, operation):
    for kind, details in FAULTS.items():
        aws.reset()
        aws.instance()
        aws.snapshot(TAGS, size_gib=2)
        aws.fault(kind, operation=operation, times=1, **details)
        survives(instance, aws, tmp_path / kind)
        if operation == "DescribeSnapshots" and kind not in ("delay", "trickle"):
            assert aws.count(operation) == 2, kind


@pytest.mark.parametrize("number", range(5))
def test_a_fault_at_any_look_at_the_volumes_is_met(instance, aws, tmp_path, number):
    for kind in ("reset", "malformed"):
        aws.reset()
        aws.instance()
        aws.snapshot(TAGS, size_gib=2)
        aws.fault(kind, operation="DescribeVolumes", after=number, times=1)
        survives(instance, aws, tmp_path / kind)


def survives(instance, aws, directory):
    directory.mkdir()
    agent = Agent(directory, instance.env)
    attaches(agent, data())
    one_volume(aws)


def test_throttled_for_a_while_it_gets_there(instance, aws):
    for operation in ("CreateVolume", "AttachVolume"):
        aws.fault("throttled", operation=operation, times=2)
    attaches(instance, data())
    one_volume(aws)


def test_no_capacity_may_pass(instance, aws):
    aws.fault("no-capacity", operation="CreateVolume", times=2)
    attaches(instance, data())
    one_volume(aws)


# Killed on the way.

CALLS = 8


@pytest.mark.parametrize("number", range(CALLS))
@pytest.mark.parametrize("done", [True, False], ids=["after it was done", "before it was done"])
def test_killed_at_any_call_it_goes_on_with_the_same_volume(instance, aws, number, done):
    """And does so where a newer snapshot has appeared meanwhile."""
    if done:
        aws.fault("hang", after=number, times=1)
    else:
        aws.fault("status", status=503, after=number)
    running = instance.start_boot(data())
    # The log has a call before it is carried out, and its status afterwards.
    until(f"call {number}", lambda: aws.count() > number and "status" in aws.calls()[number], running)
    running.kill()
    running.wait()
    before = [call["operation"] for call in aws.calls()][: number + 1]
    made = before.count("CreateVolume")
    calls = aws.calls("CreateVolume")
    aws.snapshot(TAGS, size_gib=2, started="2026-11-29T03:00:00Z")
    aws.forget()
    attaches(instance, data())
    volume = one_volume(aws)
    if made:
        assert volume["SnapshotId"] == instance.snapshot, "a client token is for one request"
        again = [call["form"] for call in aws.calls("CreateVolume")]
        assert again in ([], [calls[0]["form"]])


def test_a_volume_that_is_not_shown_yet_is_not_made_again(instance, aws):
    aws.ec2(unseen=1)
    aws.fault("hang", operation="CreateVolume", times=1)
    running = instance.start_boot(data())
    until("the volume", lambda: any("status" in call for call in aws.calls("CreateVolume")), running)
    running.kill()
    running.wait()
    aws.snapshot(TAGS, size_gib=2, started="2026-11-29T03:00:00Z")
    attaches(instance, data())
    assert one_volume(aws)["SnapshotId"] == instance.snapshot
    assert [call["status"] for call in aws.calls("CreateVolume")[1:]] == [200]


def test_a_document_that_changed_meanwhile_takes_what_was_made(instance, aws):
    aws.fault("hang", operation="CreateVolume", times=1)
    running = instance.start_boot(data())
    until("the volume", lambda: made(aws), running)
    running.kill()
    running.wait()
    attaches(instance, data(size_gib=8))
    assert one_volume(aws)["Size"] == 4


# A fleet.


def test_ten_instances_want_three_volumes(ingot, aws, tmp_path_factory):
    """Each volume goes to one of them, and the other seven restore one of their own."""
    aws.snapshot(TAGS, size_gib=2)
    kept = {aws.volume(TAGS, size_gib=4) for _ in range(3)}
    ids = [f"i-{number:017x}" for number in range(10)]
    with ExitStack() as stack:
        agents = []
        for id in ids:
            aws.instance(id)
            imds = stack.enter_context(Imds(instance={**DEFAULTS["instance"], "id": id}))
            agents.append(Agent(tmp_path_factory.mktemp("machine"), {**imds.env, **aws.env}))
        aws.latency(0.05)
        running = [agent.start_boot(data()) for agent in agents]
        until("ten attachments", lambda: all(len(aws.attached(id)) == 2 for id in ids))
        for one in running:
            one.kill()
            one.wait()
    volumes = [own(aws, id)[1]["VolumeId"] for id in ids]
    assert len(set(volumes)) == 10 and kept < set(volumes)
    assert {volume["VolumeId"] for volume in made(aws)} == set(volumes) - kept
    assert len({call["form"]["ClientToken"] for call in aws.calls("CreateVolume")}) == 7 == aws.count("CreateVolume")
    assert len(aws.events()) == 10
