"""`ingot-fleet` on an environment of the region, with scripted instances. All times are those of a stand-in."""

import os
import re

import pytest
from harness import fleet as fleets
from harness.agent import BAD_DOCUMENT, DONE, FAILED, USAGE
from harness.host.container import unavailable
from harness.region import Region, fleet
from harness.region.delays import Pace
from harness.region.instances.container import containers
from harness.region.instances.scripted import Outcome
from harness.region.network import Bridge
from harness.region.small import FAST, boots, releases
from harness.region.verbs import STILL_UNDER_WAY, Operator, needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")


@pytest.mark.parametrize("policy", ["all_at_once", "rolling", "rolling_with_batch", "immutable"])
def test_an_environment_is_created_deployed_and_goes_back(tmp_path, region, policy):
    operator = Operator(tmp_path, region, policy)
    created = operator("create", "prod", "--release", "v1")
    assert created.code == DONE and "deployment 1 of prod (v1) is good" in created.stdout, created
    assert releases(region) == ["v1", "v1"]

    deployed = operator("deploy", "prod", "--release", "v2", "--json")
    assert deployed.code == DONE and deployed.json["state"] == "good" and deployed.json["number"] == 2, deployed
    region.in_service(2)
    assert releases(region) == ["v2", "v2"]

    failed = operator("deploy", "prod", "--release", "bad")
    assert failed.code == FAILED, failed
    assert "deployment 3 of prod is failed" in failed.stderr and "reported that its boot failed" in failed.stderr, failed
    assert "prod runs v2 (deployment 2)" in failed.stderr, failed
    region.in_service(2)
    assert releases(region) == ["v2", "v2"]

    back = operator("rollback", "prod")
    assert back.code == DONE and "deployment 4 of prod (v1) is good" in back.stdout, back
    region.in_service(2)
    assert releases(region) == ["v1", "v1"]
    assert operator.states() == ["good", "good", "failed", "good"]


def test_nothing_to_change_is_success(tmp_path, region):
    operator = Operator(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE
    again = operator("deploy", "prod", "--release", "v1")
    assert again.code == DONE and "prod already runs v1: nothing to change" in again.stderr, again
    assert operator.states() == ["good"]
    twice = operator("create", "prod", "--release", "v1")
    assert twice.code == USAGE and "ingot-fleet deploy prod" in twice.stderr, twice


def test_a_setting_that_is_gone_is_a_change_and_max_is_not_below_what_runs(tmp_path, region):
    operator = Operator(tmp_path, region)
    plain = (tmp_path / "fleet.yaml").read_text()
    operator.write("fleet.yaml", plain.replace("max: 6 }", "max: 6, scale_on: { cpu_percent: 80 } }"))
    assert operator("create", "prod", "--release", "v1").code == DONE
    operator.write("fleet.yaml", plain)
    assert "nothing to change" not in operator("deploy", "prod", "--release", "v1").stderr
    assert operator.states() == ["good", "good"]
    assert operator("scale", "prod", "4").code == DONE
    region.in_service(4)
    operator.write("fleet.yaml", plain.replace("max: 6 }", "max: 3 }"))
    result = operator("deploy", "prod", "--release", "v2")
    assert result.code == BAD_DOCUMENT and "prod has 4 instances, more than its `max` of 3" in result.stderr, result
    assert "ingot-fleet scale prod 3" in result.stderr and operator.states() == ["good", "good"]


def test_an_image_that_nothing_can_be_launched_from_is_refused(tmp_path, region):
    operator = Operator(tmp_path, region)
    image = region.client("ec2").register_image(Name="golden-arm64")["ImageId"]
    # moto's RegisterImage passes over `Architecture`.
    region.engine.ec2.amis[image].architecture = "arm64"
    other = operator("create", "prod", "--release", "v1", "--image", image)
    assert other.code == BAD_DOCUMENT, other
    assert f"the image {image} is for arm64, and `instances.types` are x86_64" in other.stderr, other
    region.engine.ec2.amis[image].state = "pending"
    early = operator("create", "prod", "--release", "v1", "--image", image)
    assert early.code == BAD_DOCUMENT and f"the image {image} is pending" in early.stderr, early
    gone = operator("create", "prod", "--release", "v1", "--image", "ami-0123456789abcdef0")
    assert gone.code == BAD_DOCUMENT and "there is no image ami-0123456789abcdef0 in " in gone.stderr, gone
    region.fault("denied", "ec2", operation="DescribeImages")
    denied = operator("create", "prod", "--release", "v1")
    assert denied.code == FAILED and "allow ec2:DescribeImages" in denied.stderr, denied
    region.recover()
    assert operator.states() == [] and "has not been created yet" in operator("status", "prod").stdout

    region.fault("throttled", "ec2", operation="DescribeImages", times=2)
    assert operator("create", "prod", "--release", "v1").code == DONE


def test_a_network_that_an_environment_cannot_be_in_is_refused(tmp_path, region):
    operator = Operator(tmp_path, region)
    ec2 = region.client("ec2")
    plain = (tmp_path / "fleet.yaml").read_text()
    vpc, (one, other) = re.search("vpc: (vpc-[0-9a-f]+)", plain)[1], re.findall("subnet-[0-9a-f]+", plain)
    elsewhere = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    zone = ec2.describe_subnets(SubnetIds=[one])["Subnets"][0]["AvailabilityZone"]
    twin = ec2.create_subnet(VpcId=vpc, CidrBlock="172.31.128.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
    certificate = "arn:aws:acm:us-east-1:123456789012:certificate/1"
    for wrong, said in (
        (plain.replace(vpc, elsewhere), f"is a subnet of {vpc}, but `network.vpc` of prod is {elsewhere}"),
        (plain.replace(other, "subnet-0123456789abcdef0"), "`network:` names a subnet that is not in"),
        (plain.replace(other, twin), f"all subnets in `network.subnets` of prod are in {zone}"),
        (plain.replace(other, f"{other}, {twin}"), f"are both in {zone}, but a load balancer takes only one subnet of each zone"),
        (f"{plain}    load_balancer: {{ certificate: '{certificate}' }}\n", "the certificate of prod is in us-east-1"),
    ):
        operator.write("fleet.yaml", wrong)
        refused = operator("create", "prod", "--release", "v1")
        assert refused.code == BAD_DOCUMENT and said in refused.stderr and "fleet.yaml" in refused.stderr, refused
    assert operator.states() == [] and not [key for key in operator.keys() if "/documents/" in key]


def test_going_back_says_what_to_do_if_the_image_is_gone(tmp_path, region):
    operator = Operator(tmp_path, region)
    image = region.client("ec2").register_image(Name="golden")["ImageId"]
    region.engine.ec2.amis[image].architecture = "x86_64"
    assert operator("create", "prod", "--release", "v1", "--image", image).code == DONE
    assert operator("deploy", "prod", "--release", "v2").code == DONE
    region.fault("denied", "ec2", operation="DescribeImages")
    back = operator("rollback", "prod")
    assert back.code == DONE and "note: cannot look up the image" in back.stderr, back
    region.recover()
    assert operator("deploy", "prod", "--release", "v2").code == DONE
    del region.engine.ec2.amis[image]
    gone = operator("rollback", "prod")
    assert gone.code == BAD_DOCUMENT and f"there is no image {image}" in gone.stderr, gone
    assert "ingot-fleet deploy prod --release v1 --image AMI" in gone.stderr, gone


def test_what_runs_is_told(tmp_path, region):
    operator = Operator(tmp_path, region)
    before = operator("status", "prod")
    assert before.code == DONE and before.stdout == "prod has not been created yet\n", before
    assert operator("create", "prod", "--release", "v1").code == DONE
    status = operator("status", "prod", "--json")
    assert status.json["in_force"]["goal"]["release"]["name"] == "v1", status
    assert [one["target"]["state"] for one in status.json["instances"]] == ["healthy", "healthy"], status
    shown = operator("status", "prod").stdout.splitlines()
    assert shown[0].startswith("prod runs v1 since "), shown
    assert shown[1].startswith("Ok (green)") and shown[2].split()[0] == "INSTANCE" and len(shown) == 5, shown


def test_an_environment_is_deleted(tmp_path, region):
    operator = Operator(tmp_path, region)
    nothing = operator("terminate", "prod", "--yes")
    assert nothing.code == DONE and "nothing to delete" in nothing.stderr, nothing
    assert operator("create", "prod", "--release", "v1").code == DONE
    asked = operator("terminate", "prod")
    assert asked.code == USAGE and "would delete shop-prod" in asked.stderr and "--yes" in asked.stderr, asked
    gone = operator("terminate", "prod", "--yes")
    assert gone.code == DONE and "deleted shop-prod" in gone.stderr, gone
    assert region.instances() == []
    anew = operator("create", "prod", "--release", "v2")
    assert anew.code == DONE and "deployment 2 of prod (v2) is good" in anew.stdout, anew


def test_a_creation_that_fails_has_a_way_out(tmp_path, region):
    operator = Operator(tmp_path, region)
    failed = operator("create", "prod", "--release", "bad")
    assert failed.code == FAILED and "deployment 1 of prod is failed" in failed.stderr, failed
    assert "prod does not serve" in failed.stderr, failed
    again = operator("create", "prod", "--release", "v1")
    assert again.code == FAILED and "ingot-fleet terminate prod" in again.stderr, again
    assert operator("terminate", "prod", "--yes").code == DONE
    assert operator("create", "prod", "--release", "v1").code == DONE


def test_killed_in_the_middle_it_goes_on(tmp_path, region):
    operator = Operator(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE
    operator.killed("deploy", "prod", "--release", "v2", when=lambda: region.stack("shop-prod").status == "UPDATE_IN_PROGRESS")
    again = operator("deploy", "prod", "--release", "v2")
    assert again.code == DONE and "following it" in again.stderr, again
    region.in_service(2)
    assert releases(region) == ["v2", "v2"] and operator.states() == ["good", "good"]


def test_a_second_operator_follows_the_first(tmp_path, region):
    operator = Operator(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE
    first = operator.start("deploy", "prod", "--release", "bad")
    region.poll(lambda: operator.states() == ["good", "under_way"], "the record of the first")
    second = operator("deploy", "prod", "--release", "v2")
    first.communicate(timeout=fleets.PATIENCE)
    assert first.returncode == FAILED and second.code == FAILED, second
    assert "deployment 2 of prod (bad) is under way" in second.stderr, second
    assert operator.states() == ["good", "failed"]
    assert operator("deploy", "prod", "--release", "v2").code == DONE


def test_the_time_is_over_before_the_deployment(tmp_path):
    needs_binary()
    with Region(boots(80, v2=Outcome(boot=8)), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        assert operator("create", "prod", "--release", "v1").code == DONE
        result = operator("deploy", "prod", "--release", "v2", "--timeout", "1s")
        assert result.code == STILL_UNDER_WAY and "continues" in result.stderr, result
        assert "deployment 2 of prod (v2) is under way" in operator("status", "prod").stdout
        assert region.settled("shop-prod") == "UPDATE_COMPLETE"
        assert operator("deploy", "prod", "--release", "v2").code == DONE
        assert operator.states() == ["good", "good"]


def test_it_is_aborted(tmp_path):
    needs_binary()
    with Region(boots(80, bad="silent"), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        nothing = operator("abort", "prod")
        assert nothing.code == DONE and "nothing to abort" in nothing.stderr, nothing
        assert operator("create", "prod", "--release", "v1").code == DONE
        first = operator.start("deploy", "prod", "--release", "bad")
        region.poll(lambda: region.stack("shop-prod").token.startswith("ingot-2-release"), "the second update")
        aborted = operator("abort", "prod")
        assert aborted.code == DONE and "deployment 2 of prod (bad) is undone" in aborted.stdout, aborted
        first.communicate(timeout=fleets.PATIENCE)
        assert first.returncode == FAILED
        assert releases(region) == ["v1", "v1"] and operator.states() == ["good", "undone"]


@pytest.mark.parametrize(
    ("status", "said"),
    [("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"), ("UPDATE_FAILED", "rollback-stack"), ("DELETE_FAILED", "terminate prod")],
)
def test_a_stack_that_needs_a_hand_is_told_of(tmp_path, region, status, said):
    operator = Operator(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE
    region.stack("shop-prod").status = status
    for command in (("deploy", "prod", "--release", "v2"), ("create", "prod", "--release", "v2"), ("status", "prod")):
        result = operator(*command)
        assert said in result.stderr + result.stdout, result
    region.stack("shop-prod").status = "UPDATE_ROLLBACK_COMPLETE"
    assert operator("deploy", "prod", "--release", "v2").code == DONE


def test_what_is_not_there_is_named(tmp_path, region):
    operator = Operator(tmp_path, region)
    for command, said in [
        (("deploy", "prod", "--release", "v1"), "prod has not been created yet"),
        (("create", "prod", "--release", "v9"), "there is no release v9"),
        (("create", "stage", "--release", "v1"), "there is no environment `stage`"),
        (("rollback", "prod"), "nothing to roll back to"),
    ]:
        result = operator(*command)
        assert result.code == USAGE and said in result.stderr and "hint: " in result.stderr, result
    operator.describe("traffic_splitting")
    assert operator("create", "prod", "--release", "v1").code == DONE
    result = operator("deploy", "prod", "--release", "v2")
    assert result.code == USAGE and "does not support the policy traffic_splitting yet" in result.stderr, result
    region.client("ssm").delete_parameter(Name="/golden/shop")
    result = operator("deploy", "prod", "--release", "v2", "--policy", "rolling")
    assert result.code == 78 and "there is no SSM parameter /golden/shop" in result.stderr, result
    assert operator.states() == ["good"], "nothing more was begun"



def test_the_cause_is_what_the_instance_has_left(tmp_path, ingot):
    """Containers that ingot boots: the evidence of one whose release ends at once."""
    needs_binary()
    if why := unavailable():
        pytest.skip(why)
    with Region(containers(fleet.image), Bridge(), pace=Pace(schedule=20)) as region:
        operator = Operator(tmp_path, region, document=fleet.WEB.partition("drains:")[0])
        operator.release("good", fleet.good("good"))
        operator.release("broken", fleet.bad())
        created = operator("create", "prod", "--release", "good")
        assert created.code == DONE, (created, region.told())
        failed = operator("deploy", "prod", "--release", "broken")
        assert failed.code == FAILED, (failed, region.told())
        cause = next(line for line in failed.stderr.splitlines() if line.startswith("deployment 2 of prod is failed"))
        assert ": i-" in cause and "applications.shop" in cause and f"(s3://{fleet.EVIDENCE}/shop/prod/" in cause, failed
        assert "no database here" in cause, failed
        assert "prod runs good (deployment 1)" in failed.stderr, failed
