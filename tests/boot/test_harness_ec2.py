"""The EC2 stand-in refuses, waits and repeats itself as EC2 does."""

import time

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config
from harness.agent import until
from harness.aws.account import INSTANCE, REGION, ZONE


@pytest.fixture
def ec2(aws):
    """A client of the program under test's kind, and an instance."""
    aws.instance()
    keys = {"aws_access_key_id": "A", "aws_secret_access_key": "B", "aws_session_token": "C"}
    config = Config(retries={"max_attempts": 0})
    return boto3.client("ec2", region_name=REGION, endpoint_url=aws.url, config=config, **keys)


def refused(code, message=""):
    return pytest.raises(botocore.exceptions.ClientError, match=rf"\({code}\).*{message}")


def state(ec2, volume):
    """A volume's state and its attachment's."""
    [found] = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    return (found["State"], *(attachment["State"] for attachment in found["Attachments"]))


def wait_for(ec2, volume, *wanted):
    end = time.monotonic() + 60
    while state(ec2, volume) != wanted:
        assert time.monotonic() < end, state(ec2, volume)
        time.sleep(0.02)


def attach(ec2, volume, device="/dev/sdf"):
    return ec2.attach_volume(VolumeId=volume, InstanceId=INSTANCE, Device=device)


def test_the_instance_has_the_id_it_was_given(aws, ec2):
    [root] = aws.attached().values()
    filters = [{"Name": "attachment.instance-id", "Values": [INSTANCE]}]
    [volume] = ec2.describe_volumes(Filters=filters)["Volumes"]
    assert (volume["VolumeId"], volume["AvailabilityZone"], volume["State"]) == (root, ZONE, "in-use")
    assert volume["Attachments"][0]["DeleteOnTermination"] is True


def test_a_volume_is_created_and_attached_in_its_time(aws, ec2):
    aws.ec2(creating=0.3, attaching=0.3, detaching=0.3)
    snapshot = aws.snapshot({"app": "shop"}, size_gib=2)
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "app", "Value": "shop"}, {"Key": "role", "Value": "data"}]}]
    made = ec2.create_volume(
        SnapshotId=snapshot,
        AvailabilityZone=ZONE,
        VolumeType="gp3",
        ClientToken="one",
        VolumeInitializationRate=200,
        TagSpecifications=tags,
    )
    volume = made["VolumeId"]
    assert (made["State"], made["Size"], made["SnapshotId"]) == ("creating", 2, snapshot)
    with refused("IncorrectState", "is not 'available'"):
        attach(ec2, volume)
    wait_for(ec2, volume, "available")
    assert attach(ec2, volume)["State"] == "attaching"
    assert state(ec2, volume) == ("in-use", "attaching")
    wait_for(ec2, volume, "in-use", "attached")
    assert aws.attached()["/dev/sdf"] == volume
    assert [found["Tags"] for found in aws.volumes(app="shop")] == [{"app": "shop", "role": "data"}]

    assert ec2.detach_volume(VolumeId=volume, InstanceId=INSTANCE)["State"] == "detaching"
    assert state(ec2, volume) == ("in-use", "detaching")
    wait_for(ec2, volume, "available")
    told = [(event["event"], event["volume"], event["device"], event["snapshot"]) for event in aws.events()]
    assert told == [("attach", volume, "/dev/sdf", snapshot), ("detach", volume, "/dev/sdf", snapshot)]


def test_a_client_token_makes_one_volume(aws, ec2):
    request = {"Size": 1, "AvailabilityZone": ZONE, "ClientToken": "one"}
    first = ec2.create_volume(**request)["VolumeId"]
    assert ec2.create_volume(**request)["VolumeId"] == first
    with refused("IdempotentParameterMismatch"):
        ec2.create_volume(**{**request, "Size": 2})
    assert ec2.create_volume(**{**request, "ClientToken": "two"})["VolumeId"] != first
    aws.reset()
    aws.instance()
    assert ec2.create_volume(**request)["VolumeId"] != first


@pytest.mark.parametrize(
    "wrong, code",
    [
        ({"SnapshotId": "snap-0123456789abcdef0"}, "InvalidSnapshot.NotFound"),
        ({"SnapshotId": "PENDING"}, "IncorrectState"),
        ({"SnapshotId": "SNAPSHOT", "Size": 1}, "InvalidParameterValue"),
        ({"SnapshotId": "SNAPSHOT", "VolumeInitializationRate": 301}, "InvalidParameterValue"),
        ({"Size": 1, "VolumeInitializationRate": 200}, "InvalidParameterCombination"),
        ({}, "MissingParameter"),
        ({"Size": 1, "AvailabilityZone": "eu-central-9a"}, "InvalidZone.NotFound"),
    ],
)
def test_a_volume_that_cannot_be_is_refused(aws, ec2, wrong, code):
    known = {"SNAPSHOT": aws.snapshot(size_gib=2), "PENDING": aws.snapshot(state="pending")}
    request = {"AvailabilityZone": ZONE, **wrong}
    if "SnapshotId" in request:
        request["SnapshotId"] = known.get(request["SnapshotId"], request["SnapshotId"])
    with refused(code):
        ec2.create_volume(**request)


def test_an_attachment_that_cannot_be_is_refused(aws, ec2):
    volume = aws.volume()
    with refused("InvalidVolume.NotFound", "does not exist"):
        attach(ec2, "vol-0123456789abcdef0")
    with refused("InvalidInstanceID.NotFound"):
        ec2.attach_volume(VolumeId=volume, InstanceId="i-0fffffffffffffff0", Device="/dev/sdf")
    with refused("InvalidVolume.ZoneMismatch"):
        attach(ec2, aws.volume(zone="eu-central-1b"))
    with refused("InvalidParameterValue", "not a valid EBS device name"):
        attach(ec2, volume, "/dev/nvme1n1")
    attach(ec2, volume)
    with refused("VolumeInUse", "already attached"):
        attach(ec2, volume, "/dev/sdg")
    with refused("InvalidParameterValue", "already in use"):
        attach(ec2, aws.volume())
    with refused("IncorrectState", "'available' state"):
        ec2.detach_volume(VolumeId=aws.volume())
    with refused("IncorrectState"):
        attach(ec2, aws.volume(state="error"), "/dev/sdh")


def test_a_stuck_attachment_stays_until_it_is_detached(aws, ec2):
    aws.ec2(stuck=["/dev/sdf"])
    volume = aws.volume()
    attach(ec2, volume)
    time.sleep(0.1)
    assert state(ec2, volume) == ("in-use", "attaching")
    assert aws.events() == []
    ec2.detach_volume(VolumeId=volume)
    wait_for(ec2, volume, "available")
    attach(ec2, volume, "/dev/sdg")
    wait_for(ec2, volume, "in-use", "attached")
    assert [event["event"] for event in aws.events(after=1)] == ["attach"]


def test_delete_on_termination_is_false_until_it_is_changed(aws, ec2):
    volume = aws.volume(attached_as="/dev/sdf")

    def deleted():
        return ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"][0]["DeleteOnTermination"]

    assert deleted() is False
    mapping = {"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}
    ec2.modify_instance_attribute(InstanceId=INSTANCE, BlockDeviceMappings=[mapping])
    assert deleted() is True
    with refused("InvalidInstanceAttributeValue", "No device is currently mapped"):
        ec2.modify_instance_attribute(InstanceId=INSTANCE, BlockDeviceMappings=[{**mapping, "DeviceName": "/dev/sdg"}])


def test_lists_have_owners_filters_and_pages(aws, ec2):
    mine = [aws.snapshot({"app": "shop", "role": "data"}, started=f"2026-11-{day:02}T03:00:00Z") for day in range(1, 8)]
    aws.snapshot({"app": "shop"}, owner="210987654321")
    aws.snapshot({"app": "other"})
    filters = [{"Name": "tag:app", "Values": ["shop"]}, {"Name": "tag:role", "Values": ["data"]}]
    aws.ec2(page=3)
    pages = list(ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=filters))
    assert [len(page["Snapshots"]) for page in pages] == [3, 3, 1]
    found = [snapshot for page in pages for snapshot in page["Snapshots"]]
    assert [snapshot["SnapshotId"] for snapshot in found] == mine
    assert found[0]["StartTime"].isoformat() == "2026-11-01T03:00:00+00:00"
    assert (found[0]["State"], found[0]["VolumeSize"], found[0]["Encrypted"]) == ("completed", 1, False)
    with refused("InvalidSnapshot.NotFound"):
        ec2.describe_snapshots(SnapshotIds=[mine[0], "snap-0123456789abcdef0"])
    with refused("InvalidParameterCombination"):
        ec2.describe_snapshots(SnapshotIds=mine[:1], MaxResults=5)
    with refused("InvalidParameterValue"):
        ec2.describe_volumes(MaxResults=4)


def test_a_new_volume_may_not_be_seen_yet(aws, ec2):
    aws.ec2(unseen=3)
    volume = ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]
    with refused("InvalidVolume.NotFound"):
        ec2.describe_volumes(VolumeIds=[volume])
    until("the volume", lambda: volume in [found["VolumeId"] for found in ec2.describe_volumes()["Volumes"]])
    assert state(ec2, volume) == ("available",)


@pytest.mark.parametrize(
    "kind, operation, code",
    [
        ("denied", "AttachVolume", "UnauthorizedOperation"),
        ("attachment-limit", "AttachVolume", "AttachmentLimitExceeded"),
        ("volume-limit", "CreateVolume", "VolumeLimitExceeded"),
        ("throttled", "DescribeVolumes", "RequestLimitExceeded"),
    ],
)
def test_ec2_fails_as_it_is_told_to(aws, ec2, kind, operation, code):
    volume = aws.volume()
    calls = {
        "AttachVolume": lambda: attach(ec2, volume),
        "CreateVolume": lambda: ec2.create_volume(Size=1, AvailabilityZone=ZONE),
        "DescribeVolumes": lambda: ec2.describe_volumes(),
    }
    aws.fault(kind, operation=operation, times=1)
    with refused(code):
        calls[operation]()
    calls[operation]()
    [failed, done] = aws.calls(operation)
    assert (failed["form"]["Action"], failed["signed"], done["status"]) == (operation, True, 200)


def test_a_volume_has_the_id_it_is_given(aws, ec2):
    volume = aws.volume({"app": "shop"}, id="vol-0123456789abcdef0", attached_as="/dev/sdf")
    assert volume == "vol-0123456789abcdef0"
    wait_for(ec2, volume, "in-use", "attached")
    ec2.create_tags(Resources=[volume], Tags=[{"Key": "app", "Value": "till"}])
    assert aws.volumes(volume)[0]["Tags"] == {"app": "till"}
