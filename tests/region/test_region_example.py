"""The example application in the region: tests/documents/fleet, a web environment with database and cache, and workers.

All times are those of a stand-in.
"""

import http.server
import json
import subprocess
import sys
import threading
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


class Results:
    """What jobs have done, as they post it."""

    def __init__(self, region):
        self.done: list[dict] = []
        done = self.done

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                done.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = wire.bound(f"{region.network.first}.0.1", 8099, region.network.netns)
        self.server.server_activate()
        self.url = f"http://{region.network.first}.0.1:8099/"

    def __enter__(self) -> "Results":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()

    def ids(self, version: str | None = None) -> list[int]:
        return sorted(one["id"] for one in self.done if version in (None, one["version"]))


class Jobs:
    """A worker environment, and the messages that it was sent."""

    def __init__(self, region, results: Results, **given: str):
        releases = {version: fleet.example(version, RESULTS=results.url) for version in ("v1", "v2")}
        self.region, self.results, self.sent = region, results, 0
        self.shop = environment(region, "worker", "jobs.yaml", releases, **given)
        self.sqs, self.queue = region.client("sqs"), self.shop.output("Queue")

    def send(self, count: int, seconds: float) -> None:
        for _ in range(count):
            self.sent += 1
            body = json.dumps({"id": self.sent, "seconds": seconds})
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    def left(self, url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def all_done(self) -> None:
        """Each message was handled, once."""
        self.region.poll(lambda: self.left(self.queue) == 0, "an empty queue")
        assert self.results.ids() == list(range(1, self.sent + 1)), self.region.told()
        assert self.left(self.shop.output("DeadLetters")) == 0


def test_workers_that_come_and_go_lose_no_message(region):
    """Scaling out and in and an update while messages are in hand, and an instance that dies."""
    with Results(region) as results:
        jobs = Jobs(region, results)
        name = {"AutoScalingGroupName": region.group().name}
        for count in (3, 1):
            jobs.send(30, seconds=1)
            region.client("autoscaling").set_desired_capacity(**name, DesiredCapacity=count)
            # Those that leave are still at work.
            region.wait(lambda count=count: len(region.instances()) == count, f"{count} in service")
        jobs.send(30, seconds=1)
        assert jobs.shop.deploy("v2", Policy="rolling_with_batch") == "UPDATE_COMPLETE", region.told()
        # Whoever leaves hears of it within 5 s, and takes messages until then.
        region.in_service(1)
        jobs.send(5, seconds=0)
        jobs.all_done()
        assert results.ids("v1") and results.ids("v2")
        (killed,) = region.instances()
        with replaced(region, killed, 1, "a killed worker, until another one has handled a message"):
            killed.kill()
            jobs.send(1, seconds=0)
            region.poll(lambda: len(results.done) == jobs.sent, "the last message")
        jobs.all_done()


def test_a_single_worker_has_a_successor(region):
    with Results(region) as results:
        jobs = Jobs(region, results, **SINGLE)
        jobs.send(5, seconds=0)
        jobs.all_done()
        (killed,) = region.instances()
        with replaced(region, killed, 1, "a killed single worker, until another one has handled a message"):
            killed.kill()
            jobs.send(1, seconds=0)
            region.poll(lambda: len(results.done) == jobs.sent, "the last message")
        jobs.all_done()
