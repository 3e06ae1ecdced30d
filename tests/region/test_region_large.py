"""A large environment in the region, and AWS on a bad day."""

import time

import pytest
from harness.agent import PATIENCE
from harness.host.container import unavailable
from harness.region import Region, fleet
from harness.region.delays import Delays, Pace
from harness.region.instances.container import containers
from harness.region.network import Bridge

# Health checks every half second.
PACE = Pace(schedule=20)


@pytest.fixture
def region(ingot):
    if why := unavailable():
        pytest.skip(why)
    with Region(containers(fleet.image), Bridge(), pace=PACE) as region:
        yield region


@pytest.mark.slow
def test_eight_instances_and_answers_as_bad_as_aws_has_them(region):
    """Late, stale and lost answers, and slow launches: everything takes longer, and ends the same."""
    sizes = {"Capacity": "8", "MinSize": "2", "MaxSize": "8", "BatchSize": "4", "MinInService": "4"}
    shop = fleet.Environment(region, "web", fleet.WEB, Deregistration="5", PauseTime="PT5M", **sizes)
    for release in ("v1", "v2"):
        shop.release(release, fleet.good(release))
    begun = time.monotonic()
    assert shop.create("v1") == "CREATE_COMPLETE", region.told()
    print(f"stand-in: eight instances were in service and healthy after {time.monotonic() - begun:.1f} s")
    shop.cloudformation.update_stack(**shop.call("v2", {"Policy": "rolling"}))
    delays, bad = region.engine.delays, Delays.as_aws(seed=7)
    delays.api, delays.launch, delays.stale, delays.lost = bad.api, bad.launch, bad.stale, bad.lost
    assert region.settled(shop.stack, 2 * PATIENCE) == "UPDATE_COMPLETE", region.told()
    region.in_service(8)
