"""The fleet's templates in the region: instances are containers that ingot boots, behind a balancer that real requests
go through.

All times are those of a stand-in.
"""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from harness.host import load
from harness.host.container import unavailable
from harness.region import Region, fleet
from harness.region.delays import Pace
from harness.region.instances.container import containers
from harness.region.network import Bridge
from harness.region.times import replaced

# Health checks every half second.
PACE = Pace(schedule=20)


@pytest.fixture(scope="module")
def region(ingot):
    if why := unavailable():
        pytest.skip(why)
    with Region(containers(fleet.image), Bridge(), pace=PACE) as region:
        yield region


@pytest.fixture(scope="module")
def web(region):
    """An environment of two instances with release v1."""
    shop = fleet.Environment(region, "web", fleet.WEB, Deregistration="5", PauseTime="PT3M")
    for release in ("v1", "v2"):
        shop.release(release, fleet.good(release))
    shop.release("bad", fleet.bad())
    assert shop.create("v1") == "CREATE_COMPLETE", region.told()
    return shop


@contextmanager
def requests(region, directory):
    """Load on the balancer. What became of it, once the block is left."""
    result = directory / "load.json"
    told: dict = {}
    command = [*region.network.prefix, sys.executable, load.__file__, region.balancer(), "80", str(result)]
    client = subprocess.Popen([*command, "--longest=2", "--websocket=/ws"])
    try:
        time.sleep(1.5)
        yield told
    finally:
        client.terminate()
        assert client.wait(60) == 0
    told.update(json.loads(result.read_text()))


def releases(region) -> list[str]:
    """What the instances in service answer."""
    found = []
    for instance in region.instances():
        said = instance.run_command("curl", "-sS", "http://127.0.0.1/").stdout
        found.append(said.rpartition("gen=")[2].strip())
    return sorted(found)


def test_an_environment_comes_up_with_signals(region, web):
    told = [event.reason for event in region.stack(web.stack).events if event.logical == "Group"]
    signals = [reason for reason in told if reason.startswith("Received SUCCESS")]
    assert len(signals) == 2, region.told()
    assert releases(region) == ["v1", "v1"]
    for instance in region.instances():
        assert instance.run_command("hostname").stdout == f"ip-{instance.address.replace('.', '-')}\n"
        said = metadata(instance, "instance-id", "tags/instance/ingot:release", "autoscaling/target-lifecycle-state")
        assert said == [instance.id, "v1", "InService"]


def metadata(instance, *items: str) -> list[str]:
    """What an instance reads in its IMDS."""
    token = "curl -sS -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"
    read = 'curl -sS -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/'
    script = f"token=$({token}); " + " ".join(f"{read}{item}; echo;" for item in items)
    return instance.run_command("sh", "-c", script).stdout.split()


def test_an_update_loses_no_request(region, web, tmp_path):
    with requests(region, tmp_path) as told:
        assert web.deploy("v2", Policy="rolling_with_batch") == "UPDATE_COMPLETE", region.told()
        time.sleep(1)
    region.in_service(2)
    assert told["lost"] == 0, (told["losses"][:10], region.told())
    assert set(told["generations"]) == {"v1", "v2"} and told["sent"] > 300
    assert releases(region) == ["v2", "v2"]


def test_a_bad_release_ends_as_before(region, web, tmp_path):
    before = set(web.evidence())
    with requests(region, tmp_path) as told:
        assert web.deploy("bad", Policy="rolling_with_batch") == "UPDATE_ROLLBACK_COMPLETE", region.told()
        region.in_service(2)
    assert told["lost"] == 0, (told["losses"][:10], region.told())
    assert releases(region) == ["v2", "v2"]
    # Why is in S3, before the instance was gone.
    assert len(set(web.evidence()) - before) >= 1
    failed = [one.message for one in region.group().activities if one.status == "Cancelled"]
    assert any("Lifecycle Action Completed with ABANDON Result" in message for message in failed), failed


def test_a_release_is_deployed_in_place(region, web, tmp_path):
    """By the account's command, in the instances that are there; no request is lost."""
    fleet.account(region)
    before = region.instances()
    ssm = region.client("ssm")
    with requests(region, tmp_path) as told:
        for instance in before:
            release = {"release": [f"v1@sha256:{web.digests['v1']}"]}
            sent = ssm.send_command(InstanceIds=[instance.id], DocumentName="ingot-boot", Parameters=release)
            ended = invocation(region, sent["Command"]["CommandId"], instance)
            assert ended["Status"] == "Success", ended
    assert releases(region) == ["v1", "v1"]
    assert region.instances() == before
    assert told["lost"] == 0, (told["losses"][:10], region.told())


def invocation(region, command: str, instance) -> dict:
    """How a command ended."""

    def ended() -> dict | None:
        found = region.client("ssm").get_command_invocation(CommandId=command, InstanceId=instance.id)
        return found if found["Status"] not in ("Pending", "InProgress") else None

    return region.poll(ended, "the end of the command")


def test_scaling_out_and_in_loses_no_request(region, web, tmp_path):
    name = {"AutoScalingGroupName": region.group().name}
    with requests(region, tmp_path) as told:
        for count in (3, 2):
            region.client("autoscaling").set_desired_capacity(**name, DesiredCapacity=count)
            region.in_service(count)
            region.wait(lambda: len(region.group().targets()[0].routable()) == count, "healthy targets")
    assert told["lost"] == 0, (told["losses"][:10], region.told())


def test_a_killed_instance_is_replaced(region, web):
    killed = region.instances()[0]
    with replaced(region, killed, 2, "a killed instance, until its successor is healthy"):
        killed.kill()
        region.wait(lambda: killed not in region.instances(), "that it is noticed")
        region.in_service(2)
        region.wait(lambda: len(region.group().targets()[0].routable()) == 2, "two healthy targets")
    instances = region.in_service(2)
    sent = region.client("ssm").send_command(
        InstanceIds=[instances[1].id],
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": ["ingot status --wait"]},
    )
    ended = invocation(region, sent["Command"]["CommandId"], instances[1])
    assert (ended["Status"], "done in" in ended["StandardOutputContent"]) == ("Success", True), ended
