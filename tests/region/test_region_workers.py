"""Worker environments by `ingot-fleet`, in containers that ingot boots: deployments and scaling while messages are handled.

Messages take longer than the queue hides them, so that one whose visibility nobody extends is handled a second time. All times
are those of a stand-in.
"""

import os
import threading
from contextlib import contextmanager

import pytest
from harness import fleet as fleets
from harness.agent import DONE, FAILED
from harness.host.container import unavailable
from harness.region import Region, fleet
from harness.region.delays import Pace
from harness.region.instances.container import containers
from harness.region.jobs import Results, Sent
from harness.region.network import Bridge
from harness.region.operated import Operator, runs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")

# Health checks every half second; all else as on AWS.
PACE = Pace(schedule=20)

# Seconds that a message is hidden, and that some take.
VISIBILITY, LONG = 20, 25.0

DOCUMENT = (fleet.EXAMPLE / "jobs.yaml").read_text().replace("visibility: 5m", f"visibility: {VISIBILITY}s").replace("metrics: true", "metrics: false")
assert f"visibility: {VISIBILITY}s" in DOCUMENT

# A release that ends as soon as it is started.
BROKEN = {"bin/shop-jobs": b"#!/bin/sh\necho no database here; exit 5\n"}


@pytest.fixture
def region(ingot):
    if why := unavailable():
        pytest.skip(why)
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")
    with Region(containers(fleet.image), Bridge(), pace=PACE) as region:
        region.client("secretsmanager").create_secret(Name="jobs/shop/session", SecretString="a key of sessions")
        yield region


@contextmanager
def environment(region, directory, policy: str, count: int):
    """`jobs` of so many instances with v1, by its operator, and the messages that it is sent."""
    with Results(region) as results:
        settings = {
            "tier": "worker",
            "secrets": ["jobs/shop/*"],
            "queue": {"visibility": f"{VISIBILITY}s"},
            "instances": {"min": 1, "max": 4},
            "deployment": {"policy": policy, "batch": 1},
        }
        operator = Operator(directory, region, document=DOCUMENT, jobs=settings)
        for version in ("v1", "v2"):
            operator.release(version, fleet.example(version, RESULTS=results.url))
        operator.release("broken", fleet.example("broken") | BROKEN)
        created = operator("create", "jobs", "--release", "v1")
        assert created.code == DONE, (created, region.told())
        if count > 1:
            scaled(operator, count)
        yield operator, Sent(region, "shop-jobs", results)


def scaled(operator: Operator, count: int) -> None:
    result = operator("scale", "jobs", count, "--yes")
    assert result.code == DONE, result
    operator.region.in_service(count)


@contextmanager
def busy(sent: Sent):
    """Messages while the block goes on: some are handled whenever anything happens, short ones and long ones."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(1):
            sent.send(3, seconds=1)
            sent.send(1, seconds=LONG)

    sent.send(10, seconds=LONG)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


@pytest.mark.parametrize(
    "policy", ["rolling", *(pytest.param(policy, marks=pytest.mark.slow) for policy in ("all_at_once", "rolling_with_batch", "immutable"))]
)
def test_a_deployment_loses_no_message(region, tmp_path, policy):
    """A bad release, and a good one."""
    with environment(region, tmp_path, policy, 2) as (operator, sent):
        with busy(sent):
            failed = operator("deploy", "jobs", "--release", "broken", "--yes")
        assert failed.code == FAILED and "no database here" in failed.stderr, (failed, region.told())
        region.in_service(2)
        assert runs(region, "jobs") == ["v1", "v1"]
        with busy(sent):
            deployed = operator("deploy", "jobs", "--release", "v2", "--yes")
        assert deployed.code == DONE, (deployed, region.told())
        region.in_service(2)
        assert runs(region, "jobs") == ["v2", "v2"]
        sent.all_done()
        by = {version: sent.results.ids(version) for version in ("v1", "v2", "broken")}
        assert by["v1"] and by["v2"] and not by["broken"], (by, deployed, region.told())
        print(f"stand-in: {policy}: {sent.count} messages, each handled once; {deployed.seconds:.1f} s until the command had ended")


def test_scaling_loses_no_message(region, tmp_path):
    with environment(region, tmp_path, "rolling", 1) as (operator, sent):
        for count in (3, 1):
            with busy(sent):
                scaled(operator, count)
        sent.all_done()
