"""The region's Run Command, elastic IP addresses, and answers that are late, stale or lost."""

import json
import time

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from harness.host.systemd import Done
from harness.region import Region, scripted
from harness.region.delays import Delays
from harness.region.small import FAST, Shop, fast

DOCUMENT = {
    "schemaVersion": "2.2",
    "parameters": {"Release": {"type": "String", "allowedPattern": "^[a-z0-9.]+$"}},
    "mainSteps": [
        {"action": "aws:runShellScript", "name": "boot", "inputs": {"runCommand": ["echo booting '{{ Release }}'"]}}
    ],
}


def runs(instance, command: tuple[str, ...]) -> Done:
    """A shell that knows the scripts of these tests."""
    script = command[-1]
    return {
        "echo hello\necho no >&2\nexit 3": Done(3, "hello\n", "no\n"),
        "echo booting 'v2'": Done(0, "booting v2\n", ""),
        "long": Done(0, "x" * 30_000, ""),
    }[script]


def commanded() -> Region:
    return Region(scripted(runs=runs), pace=FAST)


def made(region, capacity: int = 1) -> list:
    Shop(region, creation=False).create(Release="v1", Capacity=str(capacity))
    return region.in_service(capacity)


def invocation(region, command: str, instance) -> dict:
    """Its end."""

    def ended() -> dict | None:
        found = region.client("ssm").get_command_invocation(CommandId=command, InstanceId=instance.id)
        return found if found["Status"] not in ("Pending", "InProgress") else None

    return region.poll(ended, "the end of the command")


def test_a_command_runs_in_the_instances_that_it_is_sent_to():
    with commanded() as region:
        first, second = made(region, 2)
        ssm = region.client("ssm")
        script = {"commands": ["echo hello", "echo no >&2", "exit 3"]}
        sent = ssm.send_command(InstanceIds=[first.id], DocumentName="AWS-RunShellScript", Parameters=script)["Command"]
        said = invocation(region, sent["CommandId"], first)
        assert (said["Status"], said["ResponseCode"]) == ("Failed", 3)
        assert (said["StandardOutputContent"], said["StandardErrorContent"]) == ("hello\n", "no\n")
        assert (len(first.ran), len(second.ran)) == (1, 0)
        (listed,) = ssm.list_command_invocations(CommandId=sent["CommandId"], Details=True)["CommandInvocations"]
        assert (listed["InstanceId"], listed["Status"]) == (first.id, "Failed")
        sent = ssm.send_command(
            InstanceIds=[first.id], DocumentName="AWS-RunShellScript", Parameters={"commands": ["long"]}
        )
        assert len(invocation(region, sent["Command"]["CommandId"], first)["StandardOutputContent"]) == 24_000


def test_a_document_checks_its_parameters():
    with commanded() as region:
        made(region, 2)
        ssm = region.client("ssm")
        ssm.create_document(
            Name="ingot-boot", Content=json.dumps(DOCUMENT), DocumentType="Command", DocumentFormat="JSON"
        )
        tagged = [{"Key": "tag:aws:autoscaling:groupName", "Values": [region.group().name]}]
        with pytest.raises(ClientError, match="does not match the allowed pattern"):
            ssm.send_command(Targets=tagged, DocumentName="ingot-boot", Parameters={"Release": ["$(reboot)"]})
        sent = ssm.send_command(Targets=tagged, DocumentName="ingot-boot", Parameters={"Release": ["v2"]})["Command"]
        for instance in region.instances():
            assert invocation(region, sent["CommandId"], instance)["StandardOutputContent"] == "booting v2\n"
        (whole,) = ssm.list_commands(CommandId=sent["CommandId"])["Commands"]
        assert (whole["Status"], whole["TargetCount"], whole["CompletedCount"]) == ("Success", 2, 2)


def test_an_instance_that_is_gone_is_refused():
    with fast() as region:
        (instance,) = made(region)
        region.group().suspended.add("HealthCheck")
        assert len(region.client("ssm").describe_instance_information()["InstanceInformationList"]) == 1
        instance.kill()
        assert region.client("ssm").describe_instance_information()["InstanceInformationList"] == []
        with pytest.raises(ClientError, match="not in a valid state"):
            region.client("ssm").send_command(
                InstanceIds=[instance.id], DocumentName="AWS-RunShellScript", Parameters={"commands": ["true"]}
            )


def test_an_address_is_one_instances():
    with fast() as region:
        first, second = made(region, 2)
        ec2 = region.client("ec2")
        address = ec2.allocate_address(Domain="vpc")
        ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=first.id)
        assert ec2.describe_addresses()["Addresses"][0]["InstanceId"] == first.id
        interface = ec2.describe_instances(InstanceIds=[second.id])["Reservations"][0]["Instances"][0][
            "NetworkInterfaces"
        ][0]
        ec2.associate_address(
            AllocationId=address["AllocationId"],
            NetworkInterfaceId=interface["NetworkInterfaceId"],
            AllowReassociation=True,
        )
        assert ec2.describe_addresses()["Addresses"][0]["NetworkInterfaceId"] == second.spec.interface


# Delays.


def test_answers_may_be_late():
    with fast(delays=Delays(api=(0.3, 0.4))) as region:
        begun = time.monotonic()
        region.client("cloudformation").describe_stacks()
        assert time.monotonic() - begun >= 0.3


def test_calls_may_be_refused():
    with fast() as region:
        region.fault("throttled", "cloudformation", operation="DescribeStacks", times=1)
        with pytest.raises(ClientError, match="Rate exceeded"):
            region.client("cloudformation").describe_stacks()
        assert region.client("cloudformation").describe_stacks()["Stacks"] == []
        region.fault("denied", "autoscaling", operation="DescribeAutoScalingGroups")
        with pytest.raises(ClientError, match="not authorized to perform: autoscaling:DescribeAutoScalingGroups"):
            region.client("autoscaling").describe_auto_scaling_groups()
        region.recover()
        assert region.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_a_lost_answer_belongs_to_a_call_that_was_carried_out():
    with fast(delays=Delays(lost=1)) as region:
        with pytest.raises(HTTPClientError):
            region.client("s3").create_bucket(
                Bucket="shop", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
            )
        region.engine.delays.lost = 0
        assert [one["Name"] for one in region.client("s3").list_buckets()["Buckets"]] == ["shop"]
        assert [call["operation"] for call in region.calls][-1] == "GetObject"


def test_a_describe_may_be_stale_for_a_while():
    with fast(delays=Delays(stale=1)) as region:
        client = region.client("autoscaling")
        assert client.describe_auto_scaling_groups()["AutoScalingGroups"] == []
        Shop(region, creation=False).create(Release="v1", Capacity="1")
        assert client.describe_auto_scaling_groups()["AutoScalingGroups"] == []
        region.engine.sleep(Delays.OLDEST)
        assert len(client.describe_auto_scaling_groups()["AutoScalingGroups"]) == 1


def test_an_update_gets_through_whatever_becomes_of_answers():
    with fast() as region:
        shop = Shop(region)
        shop.create(Release="v1")
        delays = region.engine.delays
        delays.api, delays.launch, delays.stale = (0, 0.1), (0.2, 0.8), 0.2
        shop.update(wait=False, Release="v2")
        delays.lost = 0.2
        assert region.settled("shop") == "UPDATE_COMPLETE"
        assert shop.releases() == ["v2", "v2"]


def test_an_instance_without_a_group():
    with fast() as region:
        instance = region.launch('values:\n  release: "v1"\n', {"app": "shop"})
        instance.ready()
        found = region.client("ec2").describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
        assert (found["PrivateIpAddress"], found["Tags"]) == (instance.address, [{"Key": "app", "Value": "shop"}])
        assert instance.run_command("true").code == 0
        instance.terminate()
        assert not instance.alive()


def test_the_same_seed_draws_the_same():
    first, second = (Delays.as_aws(7) for _ in range(2))
    drawn = [[one.seconds(one.launch) for _ in range(5)] for one in (first, second)]
    assert drawn[0] == drawn[1] and all(1 <= seconds <= 8 for seconds in drawn[0])
