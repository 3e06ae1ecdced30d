"""Deployments by `ingot-fleet` under load: how many requests are lost, and how an environment ends up.

At every push with scripted instances and all times of AWS shortened, requests of 10 s included. With `slow`, instances are
containers that ingot boots, and nothing waits for less than it does on AWS but health checks. All times are those of a stand-in.
"""

import os
import time

import pytest
from harness import fleet as fleets
from harness.agent import DONE, FAILED
from harness.host.container import unavailable
from harness.host.deployed import release_of
from harness.region import Outcome, Region, fleet
from harness.region.delays import Pace
from harness.region.instances.container import containers
from harness.region.network import Bridge
from harness.region.operated import BOOTED, Operator, load, runs, witnesses

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

POLICIES = ["all_at_once", "rolling", "rolling_with_batch", "immutable"]

# 30 s of draining are 3 s, and requests of 10 s are one of 1 s.
TENTH = Pace(schedule=50, patience=10)
SHORT = 1.0
# Health checks every half second; all else as on AWS.
PACE = Pace(schedule=20)
LONG = 10.0


@pytest.fixture(autouse=True)
def needs_binary():
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")


def environment(policy: str, count: int) -> dict:
    return {"instances": {"min": count, "max": 2 * count}, "deployment": {"policy": policy}}


def told_lost(what: str, told: dict, seconds: float) -> None:
    lost = f"{told['sent']} requests, {told['lost']} lost, {seconds:.1f} s until the command had ended"
    print(f"stand-in: {what}: {lost}")


def deployed(operator: Operator, directory, policy: str, longest: float) -> None:
    """v2 under load: no request is lost, and each instance runs it."""
    region, count = operator.region, len(runs(operator.region))
    with load(region, "prod", directory, longest) as told:
        result = operator("deploy", "prod", "--release", "v2", "--yes")
        time.sleep(longest)
    assert result.code == DONE, (result, region.told())
    region.in_service(count)
    assert runs(region) == ["v2"] * count
    told_lost(f"{policy}, a good release", told, result.seconds)
    assert {"v1", "v2"} <= told["generations"].keys() and told["sent"] > 300
    # All instances at once is an outage, on purpose.
    assert told["lost"] == 0 or policy == "all_at_once", (told["losses"][:10], region.told())


def refused(operator: Operator, directory, policy: str, longest: float, release: str, said: list[str]) -> None:
    """A bad release under load: no request is lost, everything is as before, and the cause is told."""
    region, before = operator.region, runs(operator.region)
    number, in_force = len(operator.states()), operator.in_force()["number"]
    with load(region, "prod", directory, longest) as told:
        result = operator("deploy", "prod", "--release", release, "--yes")
        time.sleep(longest)
    told_lost(f"{policy}, the release {release}", told, result.seconds)
    assert result.code == FAILED, (result, region.told())
    cause = next((line for line in result.stderr.splitlines() if f"deployment {number + 1} of prod is failed" in line), "")
    assert ": i-" in cause and [word for word in said if word not in cause] == [], (result, region.told())
    assert f"prod runs {before[0]} (deployment {in_force})" in result.stderr, result
    region.in_service(len(before))
    assert runs(region) == before and operator.states()[-1] == "failed"
    assert release not in told["generations"]
    assert told["lost"] == 0 or policy == "all_at_once", (told["losses"][:10], region.told())


# With scripted instances.

STARTS_NOT = "applications.shop: it ended with exit code 5"
GETS_NOT_READY = "applications.shop: /health answered 503 for 60 s"
KINDS = {
    "broken": (Outcome("abandons"), STARTS_NOT),
    # What ingot does once it has waited for `ready:` in vain.
    "unready": (Outcome("abandons", boot=2), GETS_NOT_READY),
}


@pytest.fixture
def scripted():
    with Region(witnesses(**KINDS), pace=TENTH) as region:
        yield region


def created(region, directory, policy: str, count: int) -> Operator:
    operator = Operator(directory, region, prod=environment(policy, count))
    for release in ("v1", "v2", *KINDS):
        operator.release(release)
    result = operator("create", "prod", "--release", "v1")
    assert result.code == DONE, (result, region.told())
    return operator


@pytest.mark.parametrize("policy", POLICIES)
def test_a_good_release_loses_no_request(tmp_path, scripted, policy):
    deployed(created(scripted, tmp_path, policy, 2), tmp_path, policy, SHORT)


QUICK = [("rolling", "unready"), ("rolling_with_batch", "broken")]
OTHERS = [(policy, release) for policy in POLICIES for release in KINDS if (policy, release) not in QUICK]


@pytest.mark.parametrize(("policy", "release"), [*QUICK, *(pytest.param(*one, marks=pytest.mark.slow) for one in OTHERS)])
def test_a_bad_release_ends_as_before_and_loses_no_request(tmp_path, scripted, policy, release):
    operator = created(scripted, tmp_path, policy, 2)
    refused(operator, tmp_path, policy, SHORT, release, [KINDS[release][1], f"(s3://{fleet.EVIDENCE}/shop/prod/"])


# With containers, and requests of 10 s.

DOCUMENT = BOOTED.replace("timeout: 60s } }", "timeout: 20s } }", 1)
assert "timeout: 20s" in DOCUMENT


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_releases_that_ingot_boots(tmp_path, ingot, policy):
    """A good one; then one that fails to unpack, one that fails to start, and one that never gets ready."""
    if why := unavailable():
        pytest.skip(why)
    with Region(containers(fleet.image), Bridge(), pace=PACE) as region:
        operator = Operator(tmp_path, region, document=DOCUMENT, prod=environment(policy, 3))
        for release in ("v1", "v2", "damaged"):
            operator.release(release, fleet.good(release))
        operator.release("broken", fleet.bad())
        operator.release("unready", release_of("unready", {"Procfile": "web: exec sleep 1000\n"}))
        operator.put("shop/releases/damaged.tar.zst", b"no archive at all")
        result = operator("create", "prod", "--release", "v1")
        assert result.code == DONE, (result, region.told())
        deployed(operator, tmp_path, policy, LONG)
        refused(operator, tmp_path, policy, LONG, "damaged", ["bundles.app"])
        refused(operator, tmp_path, policy, LONG, "broken", ["applications.shop", "no database here"])
        refused(operator, tmp_path, policy, LONG, "unready", ["applications.shop"])
