"""The other environments of the fleet's templates in the region: a single instance with its address, and workers."""

import subprocess
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

WORKER = """\
#ingot
version: 1
bundles:
  app: { s3: "{{values.releases}}/{{values.release}}.tar.zst", sha256: "{{values.release_sha256}}", into: /opt/shop, owner: shop }
applications:
  shop: { bundle: bundles.app, user: shop, proxy: { listen: 80 }, ready: { http: /health, timeout: 60s } }
workers:
  jobs: { queue: "{{values.queue}}", to: applications.shop, path: /jobs, concurrency: 4 }
drains:
  leave: { grace: 20s }
"""


@pytest.fixture
def region(ingot):
    if why := unavailable():
        pytest.skip(why)
    with Region(containers(fleet.image), Bridge(), pace=PACE) as region:
        yield region


def test_a_single_instance_has_its_address(region):
    shop = fleet.Environment(region, "web", fleet.WEB, Mode="single_instance", Capacity="1", PauseTime="PT3M")
    shop.release("v1", fleet.good("v1"))
    assert shop.create("v1") == "CREATE_COMPLETE", region.told()
    (instance,) = region.instances()
    (address,) = region.client("ec2").describe_addresses()["Addresses"]
    assert address["NetworkInterfaceId"] == instance.spec.interface
    curl = ["curl", "-sS", "--max-time", "10", f"http://{address['PublicIp']}/"]
    done = subprocess.run([*region.network.prefix, *curl], capture_output=True, text=True)
    assert done.stdout.endswith("gen=v1\n"), (done, region.told())


def test_workers_handle_every_message(region):
    """Also those that come while the instance is replaced."""
    jobs = fleet.Environment(region, "worker", WORKER, PauseTime="PT3M", MessagesPerInstance="0")
    for release in ("v1", "v2"):
        jobs.release(release, fleet.good(release))
    assert jobs.create("v1") == "CREATE_COMPLETE", region.told()
    sqs, queue = region.client("sqs"), jobs.output("Queue")
    for number in range(20):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    assert jobs.deploy("v2", Policy="rolling_with_batch") == "UPDATE_COMPLETE", region.told()
    for number in range(20):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def left(url: str) -> int:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    region.poll(lambda: left(queue) == 0, "an empty queue")
    assert left(jobs.output("DeadLetters")) == 0
    assert len(region.in_service(1)) == 1


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
