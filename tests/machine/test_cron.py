"""Periodic tasks on three machines with systemd that share a queue and a bucket, of which one dies."""

import contextlib
import json
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from harness.agent import document
from harness.host import container
from harness.host.deployed import BUCKET, LISTEN
from test_leader import Member

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

UNIT, TICKS = "ingot-worker@jobs.service", "/srv/gates/ticks"

# Writes down each message of a task: its due time, and its ID.
CONSUMER = f"""\
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        with open("{TICKS}", "a") as log:
            log.write(self.headers["x-aws-sqsd-scheduled-at"] + " " + self.headers["x-aws-sqsd-msgid"] + "\\n")
        self.answer()

    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

TEXT = document(
    claims=f"s3://{BUCKET}/shop/environments/prod/claims/",
    values={"application": "shop", "environment": "prod", "release": "v1", "release_sha256": "9f86d081"},
    bundles={"app": {"s3": f"s3://{BUCKET}/feeds.tar.gz", "into": "/opt/shop", "owner": "shop"}},
    applications={"shop": {"bundle": "bundles.app", "user": "shop", "proxy": {"listen": LISTEN}, "ready": {"http": "/"}}},
    workers={
        "jobs": {
            "queue": "shop-jobs",
            "to": "applications.shop",
            "visibility": "30s",
            "cron": [{"name": "tick", "schedule": "* * * * *", "path": "/tick"}],
        }
    },
)


@pytest.fixture
def fleet(ingot):
    with contextlib.ExitStack() as ends:
        members = [ends.enter_context(Member(1))]
        members += [ends.enter_context(Member(number, aws=members[0].aws)) for number in (2, 3)]
        for member in members:
            member.begin()
        members[0].aws.client("sqs").create_queue(QueueName="shop-jobs")
        members[0].upload("feeds", {"Procfile": b"web: exec python3 -S serve.py\n", "serve.py": CONSUMER.encode()})
        yield members


def ticks(member: Member) -> list[list[str]]:
    """Also of one that is off."""
    with contextlib.suppress(FileNotFoundError):
        return [line.split() for line in member.read(TICKS).splitlines()]
    return []


def came(fleet: list[Member]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for at, message in (tick for member in fleet for tick in ticks(member)):
        found[at].append(message)
    return found


def minute(after: int) -> str:
    """The due time so many minutes after the next."""
    return f"{datetime.now(UTC).replace(second=0) + timedelta(minutes=1 + after):%Y-%m-%dT%H:%M:%SZ}"


def test_what_came_due_while_one_machine_died_is_sent_once_by_those_that_begin(fleet):
    dead, *others = fleet
    dead.succeed(TEXT)
    s3 = dead.aws.client("s3")
    keys = lambda: [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []) if found["Key"].endswith("/tick/task")]  # noqa: E731
    [key] = dead.wait_for(keys, 30, dead.journal("-u", UNIT))
    dead.power_cut()
    times = [minute(-after) for after in (3, 2, 1)]
    second = lambda at: int(datetime.fromisoformat(at).timestamp())  # noqa: E731
    known = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    known |= {"since": second(times[0]) - 3600, "until": second(times[0]) - 60}
    s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(known))
    # The dead one has claimed the second of them, and not sent its message.
    claim = {"version": 1, "state": "claimed", "holder": dead.instance, "mark": "theirs"}
    s3.put_object(Bucket=BUCKET, Key=key.removesuffix("task") + times[1], Body=json.dumps(claim))
    claimed = time.monotonic()
    boots = [member.begin_deploy(TEXT) for member in others]
    told = lambda: "\n".join(member.journal("-u", UNIT) for member in others)  # noqa: E731
    others[0].wait_for(lambda: {times[0], times[2]} <= set(came(others)), 60, told())
    others[0].wait_for(lambda: times[1] in came(others), 60, told())
    assert time.monotonic() - claimed > 29, "it is not taken over before that"
    for member, boot in zip(others, boots, strict=True):
        member.wait_until(f"! systemctl is-active --quiet {boot}", 60)
    found = came(others)
    assert all(len(found[at]) == 1 for at in times), (found, told())


# Four due times take five minutes.
@pytest.mark.slow
def test_each_due_time_reaches_the_application_once_though_one_machine_dies(fleet):
    for member in fleet:
        member.succeed(TEXT)
    # All know of the task by then, and nothing is on its way.
    while datetime.now(UTC).second not in range(5, 30):
        time.sleep(1)
    times = [minute(after) for after in range(4)]
    fleet[0].wait_for(lambda: times[0] in came(fleet), 120, f"{times[0]}\n{fleet[0].journal('-u', UNIT)}")
    # Whoever has sent it dies in the second in which the next is due.
    sender = next(member for member in fleet if f"{times[0]} is sent" in member.journal("-u", UNIT))
    while datetime.now(UTC) < datetime.fromisoformat(times[1]):
        time.sleep(0.005)
    sender.power_cut()
    others = [member for member in fleet if member is not sender]
    told = lambda: "\n".join(member.journal("-u", UNIT) for member in others)  # noqa: E731
    others[0].wait_for(lambda: set(times) <= set(came(fleet)), 300, f"{times}\n{came(fleet)}\n{told()}")
    # Nothing comes again: what a machine had in hand is visible by then.
    time.sleep(35)
    found = came(fleet)
    assert all(len(set(found[at])) == 1 for at in times), (found, told())
    # Only what the dead one had in hand may come twice: it had not said that it was done.
    assert all(len(found[at]) == 1 for at in times if at != times[1]), (found, told())
