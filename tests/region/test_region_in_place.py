"""`ingot-fleet deploy` by the policy in_place: the instances stay, and all of them end on one release. Scripted instances, and
containers for what becomes of requests; all times are those of a stand-in."""

import os

import pytest
from harness.agent import DONE, FAILED
from harness.host.container import unavailable
from harness.region import Region, fleet
from harness.region.delays import Pace
from harness.region.in_place import Boot, on, standing, tags
from harness.region.instances.container import containers
from harness.region.network import Bridge
from harness.region.operated import Operator as Operators
from harness.region.operated import BOOTED, STACK, load
from harness.region.small import FAST
from harness.region.verbs import needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

STARTS_NOT = "applications.shop: it ended with exit code 5"
KINDS = {
    "bad": Boot("fails", STARTS_NOT),
    "cut": Boot("is cut off"),
    "slow": Boot(seconds=3),
}
PROD = {"instances": {"min": 3, "max": 6}, "deployment": {"policy": "in_place", "batch": 1}}
DEPLOY = ("deploy", "prod", "--yes", "--release")


class Operator(Operators):
    """An environment of three instances that run v1."""

    def __init__(self, directory, region, **differs):
        super().__init__(directory, region, document=BOOTED, prod={**PROD, **differs})
        for release in ("v1", "v2", *KINDS):
            self.release(release)
        created = self("create", "prod", "--release", "v1")
        assert created.code == DONE, (created, region.told())
        self.launched = [instance.id for instance in region.instances()]

    @property
    def stay(self) -> bool:
        return [instance.id for instance in self.region.instances()] == self.launched


@pytest.fixture
def launch():
    needs_binary()
    return standing(**KINDS)


@pytest.fixture
def region(launch):
    with Region(launch, pace=FAST) as region:
        yield region


@pytest.fixture
def operator(tmp_path, region):
    return Operator(tmp_path, region)


def parameters(region) -> dict[str, str]:
    (stack,) = region.client("cloudformation").describe_stacks(StackName=STACK.format("prod"))["Stacks"]
    return {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}


def test_a_good_release_reaches_the_instances_that_are_there(region, operator, launch):
    done = operator(*DEPLOY, "v2")
    assert done.code == DONE, (done, region.told())
    assert (on(region), operator.stay, operator.states()) == (["v2"] * 3, True, ["good", "good"])
    assert tags(region) == [("2", "v2")] * 3
    assert [release for _, release in launch.reached] == ["v2"] * 3, "once each, one after the other"
    assert parameters(region)["Release"] == "v2"
    # Whoever is launched from here on runs it, too.
    operator("scale", "prod", "4")
    region.in_service(4)
    assert on(region) == ["v2"] * 4
    print(f"stand-in: in place, 3 instances, 0.2 s each: {done.seconds:.1f} s")


def test_a_bad_release_ends_as_before(region, operator, launch):
    assert operator(*DEPLOY, "v2").code == DONE
    failed = operator(*DEPLOY, "bad")
    assert failed.code == FAILED, (failed, region.told())
    assert (on(region), operator.stay, operator.states()[-1]) == (["v2"] * 3, True, "failed")
    assert tags(region) == [("2", "v2")] * 3
    assert f": {STARTS_NOT} (s3://" in failed.stderr and "prod runs v2 (deployment 2)" in failed.stderr, failed
    assert [release for _, release in launch.reached].count("bad") == 1, "the others were never sent it"


def test_a_boot_that_is_cut_off_is_done_again(region, operator):
    done = operator(*DEPLOY, "cut")
    assert done.code == DONE and on(region) == ["cut"] * 3, (done, region.told())


def test_instances_that_are_launched_meanwhile_are_brought_along(region, operator):
    process = operator.start(*DEPLOY, "slow")
    region.poll(lambda: "slow" in on(region), "the first one")
    name = {"AutoScalingGroupName": region.group().name}
    region.client("autoscaling").set_desired_capacity(**name, DesiredCapacity=5)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == DONE, (stdout, stderr, region.told())
    assert on(region) == ["slow"] * 5 and tags(region) == [("2", "slow")] * 5


def test_instances_that_a_refresh_launches_meanwhile_are_brought_along(region, operator):
    process = operator.start(*DEPLOY, "slow")
    region.poll(lambda: "slow" in on(region), "the first one")
    region.client("autoscaling").start_instance_refresh(AutoScalingGroupName=region.group().name)
    refresh = region.group().refreshes[0]
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == DONE, (stdout, stderr, region.told())
    region.wait(lambda: not refresh.active, "the end of the refresh")
    region.in_service(3)
    assert refresh.status == "Successful" and on(region) == ["slow"] * 3, region.told()


def mixed(region) -> bool:
    return len(set(on(region))) > 1


@pytest.mark.parametrize("other", [False, True], ids=["run again", "another operator"])
@pytest.mark.parametrize(("release", "code"), [("v2", DONE), ("bad", FAILED)])
def test_killed_it_goes_on_or_back(region, operator, release, code, other):
    is_there = {"v2": lambda: mixed(region), "bad": lambda: ("2", "v1") in tags(region)}[release]
    operator.killed(*DEPLOY, release, when=is_there)
    assert operator.states() == ["good", "under_way"]
    if other:
        # Whatever else is asked for, the deployment that is under way ends first.
        again = operator(*DEPLOY, "slow")
        assert again.code == FAILED and "deployment 2 of prod" in again.stdout, again
    else:
        assert operator(*DEPLOY, release).code == code
    expected = "v2" if release == "v2" else "v1"
    assert on(region) == [expected] * 3 and operator.stay, region.told()
    assert operator.states()[1] == ("good" if release == "v2" else "failed")


def test_abort_takes_back_what_a_killed_one_has_reached(region, operator):
    operator.killed(*DEPLOY, "v2", when=lambda: mixed(region))
    aborted = operator("abort", "prod")
    assert aborted.code == DONE, (aborted, region.told())
    assert (on(region), operator.stay, operator.states()) == (["v1"] * 3, True, ["good", "undone"])
    assert tags(region) == [("1", "v1")] * 3 and parameters(region)["Release"] == "v1"
    assert operator(*DEPLOY, "v2").code == DONE and on(region) == ["v2"] * 3


def test_abort_stops_the_one_that_goes_on(region, operator):
    process = operator.start(*DEPLOY, "slow")
    region.poll(lambda: "slow" in on(region), "the first one")
    aborted = operator("abort", "prod")
    stdout, stderr = process.communicate(timeout=60)
    assert aborted.code == DONE and process.returncode == FAILED, (aborted, stderr, region.told())
    assert (on(region), operator.states()) == (["v1"] * 3, ["good", "undone"])


def test_rollback_is_in_place_as_well(region, operator):
    assert operator(*DEPLOY, "v2").code == DONE
    back = operator("rollback", "prod", "--yes")
    assert back.code == DONE and on(region) == ["v1"] * 3 and operator.stay, (back, region.told())


def test_a_command_that_is_denied_changes_nothing(region, operator, launch):
    region.fault("denied", "ssm", operation="SendCommand")
    denied = operator(*DEPLOY, "v2")
    region.recover()
    assert denied.code == FAILED and "cannot send ingot-boot to i-" in denied.stderr, denied
    assert "allow ssm:SendCommand on " in denied.stderr, denied
    assert (on(region), launch.reached, operator.states()) == (["v1"] * 3, [], ["good", "failed"])
    assert tags(region) == [("1", "v1")] * 3


def test_an_instance_without_an_agent_ends_it(region, operator, launch):
    region.engine.unmanaged = {operator.launched[-1]}
    without = operator(*DEPLOY, "v2")
    assert without.code == FAILED, (without, region.told())
    assert f"Systems Manager cannot reach {operator.launched[-1]}" in without.stderr, without
    assert "aws ssm describe-instance-information" in without.stderr, without
    assert (on(region), operator.states()) == (["v1"] * 3, ["good", "failed"])
    assert tags(region) == [("1", "v1")] * 3


def test_what_instances_that_stay_would_not_get_is_refused(region, operator):
    other = operator("deploy", "prod", "--yes", "--release", "v2", "--image", "ami-00000000000000001")
    assert other.code == 78 or "there is no image" in other.stderr, other
    refused = operator("set", "prod", "COLOR=red", "--yes")
    assert refused.code == 78 and "other parameters change: Document" in refused.stderr, refused
    assert "hint: deploy this once with another policy, such as `--policy rolling_with_batch`" in refused.stderr
    assert operator.states() == ["good"]
    assert operator("set", "prod", "COLOR=red", "--yes", "--policy", "rolling_with_batch").code == DONE
    assert not operator.stay


def test_plan_says_how(region, operator):
    planned = operator("plan", "prod", "--release", "v2")
    assert planned.code == DONE, planned
    assert "in_place: 1 instance at a time, 3 batches for 3" in planned.stdout, planned
    assert "in the meantime, at least 3 of 3 serve, and at most 3 run" in planned.stdout, planned
    assert "boot in place" in planned.stdout, planned


def test_an_application_that_stops_first_is_refused(tmp_path, region):
    document = BOOTED.replace("user: shop,", "user: shop, overlap: false,")
    operator = Operators(tmp_path, region, document=document, prod=PROD)
    checked = operator("check")
    assert checked.code == 78 and "`in_place` would lose requests: because of `overlap`, the previous release" in checked.stdout, checked


@pytest.mark.slow
def test_no_request_is_lost(tmp_path, ingot):
    """Containers that ingot boots: a good release, and one that ends as soon as it is started."""
    needs_binary()
    if why := unavailable():
        pytest.skip(why)
    with Region(containers(fleet.image), Bridge(), pace=Pace(schedule=20)) as region:
        operator = Operators(tmp_path, region, document=BOOTED, prod=PROD)
        for release in ("v1", "v2"):
            operator.release(release, fleet.good(release))
        operator.release("broken", fleet.bad())
        created = operator("create", "prod", "--release", "v1")
        assert created.code == DONE, (created, region.told())
        before = region.instances()
        with load(region, "prod", tmp_path, longest=2) as told:
            done = operator(*DEPLOY, "v2")
            failed = operator(*DEPLOY, "broken")
        assert done.code == DONE and failed.code == FAILED, (done, failed, region.told())
        assert "applications.shop" in failed.stderr and "no database here" in failed.stderr, failed
        assert region.instances() == before and tags(region) == [("2", "v2")] * 3
        assert told["lost"] == 0 and set(told["generations"]) == {"v1", "v2"}, (told["losses"][:10], region.told())
        print(f"stand-in: in place, 3 containers: {done.seconds:.1f} s, {told['sent']} requests, {told['lost']} lost")
