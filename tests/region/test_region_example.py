"""The example application in the region: tests/documents/fleet, a web environment with database and cache, and workers.

All times are those of a stand-in.
"""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from harness import wire
from harness.host import databases, load
from harness.host.container import unavailable
from harness.region import Region, fleet
from harness.region.api.rds import PASSWORD
from harness.region.delays import Pace
from harness.region.instances.container import containers
from harness.region.jobs import Results, Sent
from harness.region.network import Bridge
from harness.region.times import replaced

# Health checks every half second.
PACE = Pace(schedule=20)

DATA = {"DatabaseClass": "db.t4g.micro", "CacheNode": "cache.t4g.small"}
SINGLE = {"Mode": "single_instance", "Capacity": "1"}


@pytest.fixture
def region(ingot):
    if why := unavailable():
        pytest.skip(why)
    with Region(containers(fleet.image), Bridge(), pace=PACE) as region:
        region.client("secretsmanager").create_secret(Name="prod/shop/session", SecretString="a key of sessions")
        yield region


@pytest.fixture
def database(region):
    """A PostgreSQL, where RDS says that every database is."""
    if why := databases.missing():
        pytest.skip(why)
    address = f"{region.network.first}.254.1"
    region.network.have(address)
    with databases.Postgres() as server:
        server.encrypt_and_start()
        server.user("app", PASSWORD, database="app")
        end = wire.relayed(wire.bound(address, 5432, region.network.netns), server.port)
        region.network.database = address
        yield server
        end()


def environment(region, name: str, document: str, releases: dict, **given: str) -> fleet.Environment:
    shop = fleet.Environment(region, name, (fleet.EXAMPLE / document).read_text(), PauseTime="PT3M", **given)
    for release, files in releases.items():
        shop.release(release, files)
    assert shop.create("v1") == "CREATE_COMPLETE", region.told()
    return shop


# The web tier.


def migrations(server) -> list[str]:
    connection = server.connect(database="app")
    found = [version for (version,) in connection.run("SELECT version FROM migrations ORDER BY at")]
    connection.close()
    return found


def test_a_single_instance_serves_the_example(region, database, tmp_path):
    """With a database that is migrated once for each release, a cache, and an address that stays."""
    releases = {version: fleet.example(version) for version in ("v1", "v2")}
    shop = environment(region, "web", "web.yaml", releases, **SINGLE, **DATA)
    (address,) = region.client("ec2").describe_addresses()["Addresses"]
    address = address["PublicIp"]
    with requests(region, address, tmp_path) as told:
        time.sleep(2)
    assert (told["lost"], set(told["generations"])) == (0, {"v1"}), (told["losses"][:10], region.told())
    assert shop.deploy("v2", Policy="rolling_with_batch") == "UPDATE_COMPLETE", region.told()
    assert migrations(database) == ["v1", "v2"]
    (killed,) = region.instances()
    with replaced(region, killed, 1, "a killed instance, until its successor has the address"):
        killed.kill()
        region.poll(lambda: killed not in region.instances(), "that it is noticed")
        region.poll(lambda: region.instances() and "gen=v2" in get(region, address), "an answer at the address")
    assert migrations(database) == ["v1", "v2"]
    assert "shop v2 with log level info" in region.instances()[0].journal("-t", "shop.web")


@contextmanager
def requests(region, address: str, directory):
    """Load on an address. What became of it, once the block is left."""
    result, told = directory / "load.json", {}
    command = [*region.network.prefix, sys.executable, load.__file__, address, "80", str(result)]
    client = subprocess.Popen([*command, "--longest=2", "--websocket=/ws"])
    try:
        yield told
    finally:
        client.terminate()
        assert client.wait(60) == 0
    told.update(json.loads(result.read_text()))


def get(region, address: str) -> str:
    curl = ["curl", "-sS", "--max-time", "5", f"http://{address}/"]
    return subprocess.run([*region.network.prefix, *curl], capture_output=True, text=True).stdout


# Workers.


def jobs_of(region, results: Results, **given: str) -> tuple[fleet.Environment, Sent]:
    """A worker environment, and the messages that it was sent."""
    releases = {version: fleet.example(version, RESULTS=results.url) for version in ("v1", "v2")}
    shop = environment(region, "worker", "jobs.yaml", releases, **given)
    return shop, Sent(region, shop.stack, results)


def test_workers_that_come_and_go_lose_no_message(region):
    """Scaling out and in and an update while messages are in hand, and an instance that dies."""
    with Results(region) as results:
        shop, jobs = jobs_of(region, results)
        name = {"AutoScalingGroupName": region.group().name}
        for count in (3, 1):
            jobs.send(30, seconds=1)
            region.client("autoscaling").set_desired_capacity(**name, DesiredCapacity=count)
            # Those that leave are still at work.
            region.wait(lambda count=count: len(region.instances()) == count, f"{count} in service")
        jobs.send(30, seconds=1)
        assert shop.deploy("v2", Policy="rolling_with_batch") == "UPDATE_COMPLETE", region.told()
        # Whoever leaves hears of it within 5 s, and takes messages until then.
        region.in_service(1)
        jobs.send(5, seconds=0)
        jobs.all_done()
        assert results.ids("v1") and results.ids("v2")
        (killed,) = region.instances()
        with replaced(region, killed, 1, "a killed worker, until another one has handled a message"):
            killed.kill()
            jobs.send(1, seconds=0)
            region.poll(lambda: len(results.done) == jobs.count, "the last message")
        jobs.all_done()


def test_a_single_worker_has_a_successor(region):
    with Results(region) as results:
        _, jobs = jobs_of(region, results, **SINGLE)
        jobs.send(5, seconds=0)
        jobs.all_done()
        (killed,) = region.instances()
        with replaced(region, killed, 1, "a killed single worker, until another one has handled a message"):
            killed.kill()
            jobs.send(1, seconds=0)
            region.poll(lambda: len(results.done) == jobs.count, "the last message")
        jobs.all_done()
