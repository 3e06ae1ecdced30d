"""Volumes by EC2's calls, up to the wait for a disk that never comes here: which calls, how many, whatever goes wrong."""

import json
import time
from contextlib import ExitStack

import pytest
from harness.agent import FAILED, Agent, document
from harness.aws import INSTANCE, ZONE
from harness.imds import DEFAULTS, Imds

TAGS = {"app": "shop", "role": "data"}
RESTORED = {"from": {"snapshot": {"newest_with_tags": TAGS}}, "reuse": {"with_tags": TAGS}, "size_gib": 4}
OTHER = "i-0fedcba9876543210"


def data(**fields):
    return document(volumes={"data": {**RESTORED, **fields}})


def from_(source, **fields):
    return document(volumes={"data": {"from": source, "timeout": "2s", **fields}})


@pytest.fixture
def machine(ingot, tmp_path, metadata, aws):
    """An instance that EC2 knows, and a snapshot to restore."""
    agent = Agent(tmp_path, {**metadata.env, **aws.env})
    aws.instance()
    agent.snapshot = aws.snapshot(TAGS, size_gib=2, started="2026-11-20T03:00:00Z")
    return agent


def report(agent):
    path = agent.root / "run/ingot/report.json"
    return json.loads(path.read_bytes()) if path.exists() else {"pid": None, "steps": []}


def waits_for_disk(agent, running):
    found = report(agent)
    waiting = [step["waiting"] or "" for step in found["steps"]]
    return found["pid"] == running.process.pid and any(reason.startswith("for the disk of") for reason in waiting)


def until(what, condition, running=None, timeout=20):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, (what, running and running.lines)
        assert running is None or running.process.poll() is None, (what, running.wait())
        time.sleep(0.01)


def attaches(agent, text):
    """Boots until a disk is waited for; then the power fails."""
    running = agent.start_boot(text)
    until("the wait for a disk", lambda: waits_for_disk(agent, running), running)
    running.kill()
    return running.wait()


def fails(agent, text, step="volumes.data"):
    """Boots, and fails. Why."""
    result = agent.boot(text)
    assert result.code == FAILED, result
    said = result.failure(step)
    assert "hint: None" not in said, said
    return said


def own(aws, instance=INSTANCE):
    """The one volume that is attached to an instance, but for its root."""
    [(device, volume)] = [(d, v) for d, v in aws.attached(instance).items() if d != "/dev/xvda"]
    return device, aws.volumes(volume)[0]


def one_volume(aws):
    """Nothing was made twice, nor attached twice: the volume."""
    [volume] = aws.volumes(**TAGS)
    [attachment] = volume["Attachments"]
    assert (attachment["InstanceId"], volume["Tags"]["ingot:address"]) == (INSTANCE, "volumes.data")
    forms = {json.dumps(call["form"], sort_keys=True) for call in aws.calls("CreateVolume")}
    assert len(forms) <= 1, "what is asked for again is asked for in the same words"
    attached = [call for call in aws.calls("AttachVolume") if call.get("status") == 200 and not call["fault"]]
    assert len(attached) <= 1
    assert [event["event"] for event in aws.events()] == ["attach"]
    return volume


# The calls.


def test_a_restore_makes_these_calls_and_no_other(machine, aws):
    attaches(machine, data())
    asked = [(call["operation"], call["form"].get("Filter.1.Name") or call["form"].get("VolumeId.1")) for call in aws.calls()]
    volume = own(aws)[1]["VolumeId"]
    assert asked[:8] == [
        ("DescribeVolumes", "tag:ingot:address"),  # what an earlier boot made
        ("DescribeVolumes", "tag:app"),  # what can be reused
        ("DescribeSnapshots", "tag:app"),
        ("CreateVolume", None),
        ("DescribeVolumes", volume),  # until it is available
        ("DescribeVolumes", volume),  # what is to be done now
        ("DescribeVolumes", "attachment.instance-id"),  # device names that are taken
        ("AttachVolume", None),
    ]
    # From then on, once in a while, whether it still attaches.
    assert set(asked[8:]) <= {("DescribeVolumes", volume)} and len(asked) <= 9
    assert all(call["signed"] and call["form"]["Version"] == "2016-11-15" for call in aws.calls())


def test_each_field_is_where_ec2_wants_it(machine, aws):
    text = data(
        type="gp3", iops=4000, throughput_mib_s=250, initialization_rate_mib_s=200, encrypted=True,
        kms_key="alias/shop", tags={"team": "web & more"},
    )  # fmt: skip
    attaches(machine, text)
    [made] = aws.calls("CreateVolume")
    form = made["form"]
    tags = {
        form[f"TagSpecification.1.Tag.{number}.Key"]: form[f"TagSpecification.1.Tag.{number}.Value"]
        for number in range(1, 7)
    }
    own_tags = {"ingot:instance": INSTANCE, "ingot:address": "volumes.data", "ingot:from": machine.snapshot}
    assert tags == {**TAGS, **own_tags, "team": "web & more"}
    token = form["ClientToken"]
    assert token.startswith("ingot-") and len(token) <= 64
    assert {name: value for name, value in form.items() if not name.startswith("TagSpecification.1.Tag")} == {
        "Action": "CreateVolume",
        "Version": "2016-11-15",
        "AvailabilityZone": ZONE,
        "ClientToken": token,
        "SnapshotId": machine.snapshot,
        "Size": "4",
        "VolumeType": "gp3",
        "Iops": "4000",
        "Throughput": "250",
        "VolumeInitializationRate": "200",
        "Encrypted": "true",
        "KmsKeyId": "alias/shop",
        "TagSpecification.1.ResourceType": "volume",
    }
    [attached] = aws.calls("AttachVolume")
    volume = own(aws)[1]["VolumeId"]
    assert {name: attached["form"][name] for name in ("VolumeId", "InstanceId", "Device")} == {
        "VolumeId": volume,
        "InstanceId": INSTANCE,
        "Device": "/dev/sdf",
    }


def test_what_is_not_said_is_not_asked_for(machine, aws):
    attaches(machine, document(volumes={"data": {"from": {"blank": {}}, "size_gib": 1}}))
    [made] = aws.calls("CreateVolume")
    named = {name for name in made["form"] if not name.startswith("TagSpecification")}
    assert named == {"Action", "Version", "AvailabilityZone", "ClientToken", "Size"}
    assert aws.count("DescribeSnapshots") == 0


def test_the_endpoint_of_ec2_may_be_another(machine, aws):
    machine.env.update(AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_ENDPOINT_URL_EC2=aws.url)
    attaches(machine, data())
    one_volume(aws)


def test_device_names_that_are_taken_are_not_asked_for(machine, aws):
    aws.volume(attached_as="/dev/xvdf")
    aws.volume(attached_as="/dev/sdg")
    attaches(machine, data())
    assert aws.calls("AttachVolume")[0]["form"]["Device"] == "/dev/sdh"


def test_two_volumes_of_one_document_never_want_the_same(machine, aws):
    kept = aws.volume(TAGS, size_gib=4)
    volumes = {name: RESTORED for name in ("a", "b", "c")}
    running = machine.start_boot(document(volumes=volumes))
    until("three attachments", lambda: len(aws.attached()) == 4, running)
    running.kill()
    running.wait()
    attached = aws.attached()
    assert sorted(attached) == ["/dev/sdf", "/dev/sdg", "/dev/sdh", "/dev/xvda"]
    assert kept in attached.values() and aws.count("CreateVolume") == 2


# Which snapshot.


def test_the_newest_completed_snapshot_among_all_pages_is_restored(machine, aws):
    for day in range(1, 14):
        aws.snapshot(TAGS, size_gib=2, started=f"2026-11-{day:02}T03:00:00Z")
    newest = aws.snapshot(TAGS, size_gib=2, started="2026-11-20T03:00:01Z")
    aws.snapshot(TAGS, size_gib=2, started="2026-10-01T03:00:00Z")
    aws.snapshot(TAGS, size_gib=2, started="2026-11-21T03:00:00Z", state="pending")
    aws.snapshot(TAGS, size_gib=2, started="2026-11-22T03:00:00Z", state="error")
    aws.snapshot(TAGS, size_gib=2, started="2026-11-23T03:00:00Z", owner="210987654321")
    aws.snapshot({"app": "shop"}, size_gib=2, started="2026-11-24T03:00:00Z")
    aws.ec2(page=5)
    attaches(machine, data())
    assert own(aws)[1]["SnapshotId"] == newest
    assert aws.count("DescribeSnapshots") == 4
    tokens = [call["form"].get("NextToken") for call in aws.calls("DescribeSnapshots")]
    assert tokens[0] is None and len(set(tokens)) == 4


def test_a_snapshot_of_another_account_is_one_that_was_asked_for(machine, aws):
    theirs = aws.snapshot(TAGS, size_gib=2, started="2026-01-01T03:00:00Z", owner="210987654321")
    source = {"snapshot": {"newest_with_tags": TAGS, "owner": "210987654321"}}
    attaches(machine, document(volumes={"data": {"from": source}}))
    assert own(aws)[1]["SnapshotId"] == theirs


@pytest.mark.parametrize(
    "source, fields, message",
    [
        ({"snapshot": {"newest_with_tags": {"app": "none"}}}, {}, "there is no completed snapshot with app=none"),
        ({"snapshot": {"newest_with_tags": {"app": "PENDING"}}}, {}, "1 with these tags are not completed"),
        ({"snapshot": "snap-0123456789abcdef0"}, {}, "snap-0123456789abcdef0"),
        ({"snapshot": {"newest_with_tags": TAGS}}, {"size_gib": 1}, "is of 2 GiB, and the volume is to have 1"),
        ({"snapshot": "PENDING"}, {}, "is pending, not completed"),
        ({"snapshot": "ERROR"}, {}, "is error, not completed"),
    ],
)
def test_a_snapshot_that_will_not_do_is_named(machine, aws, source, fields, message):
    states = {"PENDING": aws.snapshot({"app": "PENDING"}, state="pending"), "ERROR": aws.snapshot({"app": "x"}, state="error")}
    if isinstance(source["snapshot"], str):
        source = {"snapshot": states.get(source["snapshot"], source["snapshot"])}
    said = fails(machine, from_(source, **fields))
    assert message in said, said
    assert aws.count("CreateVolume") == 0


def test_a_snapshot_that_is_completed_in_time_is_restored(machine, aws):
    pending = aws.snapshot({"app": "late"}, state="pending", id="snap-00000000000000abc")
    running = machine.start_boot(from_({"snapshot": pending}, timeout="30s"))
    assert running.wait_for_line("is pending, not completed; trying again"), running.lines
    aws.snapshot({"app": "late"}, state="completed", id=pending)
    until("the wait for a disk", lambda: waits_for_disk(machine, running), running)
    running.kill()
    running.wait()
    assert own(aws)[1]["SnapshotId"] == pending


# Which volume.


def test_an_available_volume_is_attached_and_none_is_made(machine, aws):
    aws.volume({"app": "shop"}, size_gib=4)
    aws.volume(TAGS, size_gib=3)
    aws.volume(TAGS, size_gib=4, zone="eu-central-1b")
    aws.volume(TAGS, size_gib=4, state="error")
    aws.volume(TAGS, size_gib=4, multi_attach=True)
    aws.instance(OTHER)
    aws.volume(TAGS, size_gib=4, attached_as="/dev/sdf", instance=OTHER)
    kept = aws.volume(TAGS, size_gib=5)
    attaches(machine, data())
    assert own(aws)[1]["VolumeId"] == kept
    assert aws.count("CreateVolume") == aws.count("DescribeSnapshots") == 0


@pytest.mark.parametrize(
    "volume, message",
    [
        ({"zone": "eu-central-1b"}, ["is in eu-central-1b, and this instance in eu-central-1a", "launch the instance in"]),
        ({"attached_as": "/dev/sdf", "instance": OTHER}, [f"is attached to {OTHER}", f"detach it from {OTHER}"]),
        ({"state": "error"}, ["could not make it"]),
        ({"state": "deleting"}, ["is deleting"]),
    ],
)
def test_a_volume_that_will_not_do_is_left_alone(machine, aws, volume, message):
    aws.instance(OTHER)
    id = aws.volume({"role": "mine"}, **volume)
    before = aws.volumes(id)
    for source in (id, {"with_tags": {"role": "mine"}}):
        said = fails(machine, from_({"volume": source}))
        assert id in said and all(part in said for part in message[: 2 if source == id else 1]), said
    assert aws.volumes(id) == before
    assert {call["operation"] for call in aws.calls()} == {"DescribeVolumes"}


def test_of_several_volumes_with_the_tags_none_is_chosen(machine, aws):
    ids = [aws.volume({"role": "mine"}) for _ in range(2)]
    said = fails(machine, from_({"volume": {"with_tags": {"role": "mine"}}}))
    assert "several volumes with role=mine" in said and all(id in said for id in ids), said


def test_a_volume_that_is_not_there_is_named(machine):
    assert "vol-0123456789abcdef0 is not there" in fails(machine, from_({"volume": "vol-0123456789abcdef0"}))


@pytest.mark.parametrize("by", ["id", "tags"])
def test_a_volume_that_is_attached_already_is_waited_for(machine, aws, by):
    id = aws.volume({"role": "mine"}, attached_as="/dev/sdk")
    aws.volume({"role": "mine"}, zone="eu-central-1b")
    source = id if by == "id" else {"with_tags": {"role": "mine"}}
    said = fails(machine, from_({"volume": source}, timeout="1s"))
    assert f"for the disk of {id} (attach" in said and "dmesg" in said, said
    assert aws.count("AttachVolume") == 0 and own(aws)[0] == "/dev/sdk"


def test_a_disk_that_does_not_come_is_waited_for_no_longer_than_said(machine, aws):
    result = machine.boot(data(timeout="2s"))
    said = result.failure("volumes.data")
    volume = one_volume(aws)
    assert f"for the disk of {volume['VolumeId']} (attached, says EC2)" in said and 2 <= result.seconds < 4, result
    assert aws.count("DescribeVolumes") <= 8, "EC2 is not asked all the time"


def test_states_that_take_their_time_are_waited_for(machine, aws):
    aws.ec2(creating=0.8, attaching=0.5, unseen=0.5)
    attaches(machine, data())
    one_volume(aws)
    assert aws.count("CreateVolume") == 1


# What EC2 refuses.


@pytest.mark.parametrize(
    "operation, kind, words",
    [
        ("DescribeVolumes", "denied", ["ec2:DescribeVolumes"]),
        ("DescribeSnapshots", "denied", ["ec2:DescribeSnapshots"]),
        ("CreateVolume", "denied", ["ec2:CreateVolume"]),
        ("AttachVolume", "denied", ["ec2:AttachVolume"]),
        ("CreateVolume", "expired", ["timedatectl"]),
        ("CreateVolume", "volume-limit", ["50 TiB", "delete volumes that nobody needs"]),
        ("AttachVolume", "attachment-limit", ["27 volume attachments", "instance type that takes more"]),
    ],
)
def test_a_refusal_is_said_at_once_and_the_next_boot_goes_on(machine, aws, operation, kind, words):
    aws.fault(kind, operation=operation)
    said = fails(machine, data())
    assert all(word in said for word in words), said
    assert aws.count(operation) == 1, "there is no point in asking again"
    aws.forget()
    attaches(machine, data())
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
def test_every_fault_is_met_and_one_volume_is_made(machine, aws, tmp_path, operation):
    for kind, details in FAULTS.items():
        aws.reset()
        aws.instance()
        aws.snapshot(TAGS, size_gib=2)
        aws.fault(kind, operation=operation, times=1, **details)
        survives(machine, aws, tmp_path / kind)
        if operation == "DescribeSnapshots" and kind not in ("delay", "trickle"):
            assert aws.count(operation) == 2, kind


@pytest.mark.parametrize("number", range(5))
def test_a_fault_at_any_look_at_the_volumes_is_met(machine, aws, tmp_path, number):
    for kind in ("reset", "malformed"):
        aws.reset()
        aws.instance()
        aws.snapshot(TAGS, size_gib=2)
        aws.fault(kind, operation="DescribeVolumes", after=number, times=1)
        survives(machine, aws, tmp_path / kind)


def survives(machine, aws, directory):
    directory.mkdir()
    agent = Agent(directory, machine.env)
    attaches(agent, data())
    assert len(aws.volumes(**TAGS)) == 1
    one_volume(aws)


def test_throttled_for_a_while_it_gets_there(machine, aws):
    for operation in ("CreateVolume", "AttachVolume"):
        aws.fault("throttled", operation=operation, times=2)
    attaches(machine, data())
    one_volume(aws)


def test_no_capacity_may_pass(machine, aws):
    aws.fault("no-capacity", operation="CreateVolume", times=2)
    attaches(machine, data())
    one_volume(aws)


# Killed on the way.

CALLS = 8


@pytest.mark.parametrize("number", range(CALLS))
@pytest.mark.parametrize("done", [True, False], ids=["after it was done", "before it was done"])
def test_killed_at_any_call_it_goes_on_with_the_same_volume(machine, aws, number, done):
    """And does so where a newer snapshot has appeared meanwhile."""
    if done:
        aws.fault("hang", after=number, times=1)
    else:
        aws.fault("status", status=503, after=number)
    running = machine.start_boot(data())
    until(f"call {number}", lambda: aws.count() > number, running)
    if done:
        # The log has a call before it is carried out.
        time.sleep(0.05)
    running.kill()
    running.wait()
    before = [call["operation"] for call in aws.calls()][: number + 1]
    made = before.count("CreateVolume")
    calls = aws.calls("CreateVolume")
    aws.snapshot(TAGS, size_gib=2, started="2026-11-29T03:00:00Z")
    aws.forget()
    attaches(machine, data())
    volume = one_volume(aws)
    if made:
        assert volume["SnapshotId"] == machine.snapshot, "a client token is for one request"
        again = [call["form"] for call in aws.calls("CreateVolume")]
        assert again in ([], [calls[0]["form"]])


def test_a_volume_that_is_not_shown_yet_is_not_made_again(machine, aws):
    aws.ec2(unseen=1)
    aws.fault("hang", operation="CreateVolume", times=1)
    running = machine.start_boot(data())
    until("the volume", lambda: aws.volumes(**TAGS) or aws.count("CreateVolume"), running)
    time.sleep(0.05)
    running.kill()
    running.wait()
    aws.snapshot(TAGS, size_gib=2, started="2026-11-29T03:00:00Z")
    attaches(machine, data())
    assert one_volume(aws)["SnapshotId"] == machine.snapshot
    assert [call["status"] for call in aws.calls("CreateVolume")[1:]] == [200]


def test_a_document_that_changed_meanwhile_takes_what_was_made(machine, aws):
    aws.fault("hang", operation="CreateVolume", times=1)
    running = machine.start_boot(data())
    until("the volume", lambda: aws.volumes(**TAGS), running)
    running.kill()
    running.wait()
    attaches(machine, data(size_gib=8))
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
        until("ten attachments", lambda: all(len(aws.attached(id)) == 2 for id in ids), timeout=30)
        for one in running:
            one.kill()
            one.wait()
    volumes = [own(aws, id)[1]["VolumeId"] for id in ids]
    assert len(set(volumes)) == 10 and kept < set(volumes)
    made = set(volumes) - kept
    assert {volume["VolumeId"] for volume in aws.volumes(**TAGS)} == made | kept
    assert len({call["form"]["ClientToken"] for call in aws.calls("CreateVolume")}) == 7 == aws.count("CreateVolume")
    assert len(aws.events()) == 10
