"""Volumes by EC2's calls, up to the wait for a disk that never comes here: which calls, how many, and of what."""

import pytest
from harness.agent import document, until
from harness.aws.account import INSTANCE, ZONE
from harness.aws.restore import OTHER, RESTORED, TAGS, attaches, data, fails, from_, one_volume, own, waits_for_disk

# The calls.


def test_a_restore_makes_these_calls_and_no_other(instance, aws):
    attaches(instance, data())
    forms = [call["form"] for call in aws.calls()]
    asked = [(form["Action"], form.get("Filter.1.Name") or form.get("VolumeId.1")) for form in forms]
    volume = own(aws)[1]["VolumeId"]
    assert asked[:7] == [
        ("DescribeVolumes", "tag:ingot:address"),  # what an earlier boot made
        ("DescribeVolumes", "tag:app"),  # what can be reused
        ("DescribeSnapshots", "tag:app"),
        ("CreateVolume", None),
        ("DescribeVolumes", volume),  # until it is available
        ("DescribeVolumes", "attachment.instance-id"),  # device names that are taken
        ("AttachVolume", None),
    ]
    # From then on, once in a while, whether it still attaches.
    assert set(asked[7:]) <= {("DescribeVolumes", volume)} and len(asked) <= 8
    assert all(call["signed"] and call["form"]["Version"] == "2016-11-15" for call in aws.calls())


def test_each_field_is_where_ec2_wants_it(instance, aws):
    text = data(
        size_gib=8, type="gp3", iops=4000, throughput_mib_s=250, initialization_rate_mib_s=200, encrypted=True,
        kms_key="alias/shop", tags={"team": "web & more"},
    )  # fmt: skip
    attaches(instance, text)
    [made] = aws.calls("CreateVolume")
    form = made["form"]
    tags = {
        form[f"TagSpecification.1.Tag.{number}.Key"]: form[f"TagSpecification.1.Tag.{number}.Value"]
        for number in range(1, 5)
    }
    own_tags = {"ingot:instance": INSTANCE, "ingot:address": "volumes.data", "ingot:from": instance.snapshot}
    # Not those by which others find it to be reused: it gets them when it is attached.
    assert tags == {**own_tags, "team": "web & more"}
    token = form["ClientToken"]
    assert token.startswith("ingot-") and len(token) <= 64
    assert {name: value for name, value in form.items() if not name.startswith("TagSpecification.1.Tag")} == {
        "Action": "CreateVolume",
        "Version": "2016-11-15",
        "AvailabilityZone": ZONE,
        "ClientToken": token,
        "SnapshotId": instance.snapshot,
        "Size": "8",
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


def test_what_is_not_said_is_not_asked_for(instance, aws):
    attaches(instance, document(volumes={"data": {"from": {"blank": {}}, "size_gib": 1}}))
    [made] = aws.calls("CreateVolume")
    named = {name for name in made["form"] if not name.startswith("TagSpecification")}
    assert named == {"Action", "Version", "AvailabilityZone", "ClientToken", "Size"}
    assert aws.count("DescribeSnapshots") == 0


def test_the_endpoint_of_ec2_may_be_another(instance, aws):
    instance.env.update(AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_ENDPOINT_URL_EC2=aws.url)
    attaches(instance, data())
    one_volume(aws)


def test_device_names_that_are_taken_are_not_asked_for(instance, aws):
    aws.volume(attached_as="/dev/xvdf")
    aws.volume(attached_as="/dev/sdg")
    attaches(instance, data())
    assert aws.calls("AttachVolume")[0]["form"]["Device"] == "/dev/sdh"


def test_two_volumes_of_one_document_never_want_the_same(instance, aws):
    kept = aws.volume(TAGS, size_gib=4)
    volumes = {name: RESTORED for name in ("a", "b", "c")}
    running = instance.start_boot(document(volumes=volumes))
    until("three attachments", lambda: len(aws.attached()) == 4, running)
    running.kill()
    running.wait()
    attached = aws.attached()
    assert sorted(attached) == ["/dev/sdf", "/dev/sdg", "/dev/sdh", "/dev/xvda"]
    assert kept in attached.values() and aws.count("CreateVolume") == 2


# Which snapshot.


def test_the_newest_completed_snapshot_among_all_pages_is_restored(instance, aws):
    for day in range(1, 14):
        aws.snapshot(TAGS, size_gib=2, started=f"2026-11-{day:02}T03:00:00Z")
    newest = aws.snapshot(TAGS, size_gib=2, started="2026-11-20T03:00:01Z")
    aws.snapshot(TAGS, size_gib=2, started="2026-10-01T03:00:00Z")
    aws.snapshot(TAGS, size_gib=2, started="2026-11-21T03:00:00Z", state="pending")
    aws.snapshot(TAGS, size_gib=2, started="2026-11-22T03:00:00Z", state="error")
    aws.snapshot(TAGS, size_gib=2, started="2026-11-23T03:00:00Z", owner="210987654321")
    aws.snapshot({"app": "shop"}, size_gib=2, started="2026-11-24T03:00:00Z")
    aws.ec2(page=5)
    attaches(instance, data())
    assert own(aws)[1]["SnapshotId"] == newest
    assert aws.count("DescribeSnapshots") == 4
    tokens = [call["form"].get("NextToken") for call in aws.calls("DescribeSnapshots")]
    assert tokens[0] is None and len(set(tokens)) == 4


def test_a_snapshot_of_another_account_is_one_that_was_asked_for(instance, aws):
    theirs = aws.snapshot(TAGS, size_gib=2, started="2026-01-01T03:00:00Z", owner="210987654321")
    source = {"snapshot": {"newest_with_tags": TAGS, "owner": "210987654321"}}
    attaches(instance, document(volumes={"data": {"from": source}}))
    assert own(aws)[1]["SnapshotId"] == theirs


@pytest.mark.parametrize(
    "source, fields, message",
    [
        ({"snapshot": {"newest_with_tags": {"app": "none"}}}, {}, "no completed snapshot with app=none"),
        ({"snapshot": {"newest_with_tags": {"app": "PENDING"}}}, {}, "1 with these tags are not completed"),
        ({"snapshot": "snap-0123456789abcdef0"}, {}, "snap-0123456789abcdef0"),
        ({"snapshot": {"newest_with_tags": TAGS}}, {"size_gib": 1}, "is 2 GiB, more than the 1 GiB asked for"),
        ({"snapshot": "PENDING"}, {}, "is pending, not completed"),
        ({"snapshot": "ERROR"}, {}, "is error, not completed"),
    ],
)
def test_a_snapshot_that_will_not_do_is_named(instance, aws, source, fields, message):
    states = {state: aws.snapshot({"app": state}, state=state.lower()) for state in ("PENDING", "ERROR")}
    if isinstance(source["snapshot"], str):
        source = {"snapshot": states.get(source["snapshot"], source["snapshot"])}
    said = fails(instance, from_(source, **fields))
    assert message in said, said
    assert aws.count("CreateVolume") == 0


def test_a_snapshot_that_is_completed_in_time_is_restored(instance, aws):
    pending = aws.snapshot({"app": "late"}, state="pending", id="snap-00000000000000abc")
    running = instance.start_boot(from_({"snapshot": pending}, timeout="30s"))
    assert running.wait_for_line("is pending, not completed; trying again"), running.lines
    aws.snapshot({"app": "late"}, state="completed", id=pending)
    until("the wait for a disk", lambda: waits_for_disk(instance, running), running)
    running.kill()
    running.wait()
    assert own(aws)[1]["SnapshotId"] == pending


# Which volume.


def test_an_available_volume_is_attached_and_none_is_made(instance, aws):
    aws.volume({"app": "shop"}, size_gib=4)
    aws.volume(TAGS, size_gib=3)
    aws.volume(TAGS, size_gib=4, zone="eu-central-1b")
    aws.volume(TAGS, size_gib=4, state="error")
    aws.volume(TAGS, size_gib=4, multi_attach=True)
    aws.instance(OTHER)
    aws.volume(TAGS, size_gib=4, attached_as="/dev/sdf", instance=OTHER)
    kept = aws.volume(TAGS, size_gib=5)
    attaches(instance, data())
    assert own(aws)[1]["VolumeId"] == kept
    assert aws.count("CreateVolume") == aws.count("DescribeSnapshots") == 0


@pytest.mark.parametrize(
    "volume, message",
    [
        ({"zone": "eu-central-1b"}, [f"is in eu-central-1b, but this instance is in {ZONE}", "launch the instance in"]),
        ({"attached_as": "/dev/sdf", "instance": OTHER}, [f"is attached to {OTHER}", f"detach it from {OTHER}"]),
        ({"state": "error"}, ["could not create it"]),
        ({"state": "deleting"}, ["is deleting"]),
    ],
)
def test_a_volume_that_will_not_do_is_left_alone(instance, aws, volume, message):
    aws.instance(OTHER)
    id = aws.volume({"role": "mine"}, **volume)
    before = aws.volumes(id)
    for source in (id, {"with_tags": {"role": "mine"}}):
        said = fails(instance, from_({"volume": source}))
        assert id in said and all(part in said for part in message[: 2 if source == id else 1]), said
    assert aws.volumes(id) == before
    assert {call["operation"] for call in aws.calls()} == {"DescribeVolumes"}


def test_of_several_volumes_with_the_tags_none_is_chosen(instance, aws):
    ids = [aws.volume({"role": "mine"}) for _ in range(2)]
    said = fails(instance, from_({"volume": {"with_tags": {"role": "mine"}}}))
    assert "several volumes with role=mine" in said and all(id in said for id in ids), said


def test_a_volume_that_is_not_there_is_named(instance):
    assert "vol-0123456789abcdef0 is not there" in fails(instance, from_({"volume": "vol-0123456789abcdef0"}))


@pytest.mark.parametrize("by", ["id", "tags"])
def test_a_volume_that_is_attached_already_is_waited_for(instance, aws, by):
    id = aws.volume({"role": "mine"}, attached_as="/dev/sdk")
    aws.volume({"role": "mine"}, zone="eu-central-1b")
    source = id if by == "id" else {"with_tags": {"role": "mine"}}
    said = fails(instance, from_({"volume": source}, timeout="3s"))
    assert f"for the disk of {id} (EC2 reports it as attach" in said and "dmesg" in said, said
    assert aws.count("AttachVolume") == 0 and own(aws)[0] == "/dev/sdk"


def test_a_disk_that_does_not_come_is_waited_for_no_longer_than_said(instance, aws):
    result = instance.boot(data(timeout="2s"))
    said = result.failure("volumes.data")
    volume = one_volume(aws)
    assert f"for the disk of {volume['VolumeId']} (EC2 reports it as attached)" in said and 2 <= result.seconds < 60, result
    assert aws.count("DescribeVolumes") <= 8, "EC2 is not asked all the time"


def test_states_that_take_their_time_are_waited_for(instance, aws):
    aws.ec2(creating=0.8, attaching=0.5, unseen=0.5)
    attaches(instance, data())
    one_volume(aws)
    assert aws.count("CreateVolume") == 1
