"""Periodic tasks of `ingot worker` over moto's S3 and SQS: each due time reaches the application through one message, whoever
sends it and whoever dies."""

import json
import random
import signal
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, Agent, document, until
from harness.host.consumer import Consumer

CALLER = {"AWS_ACCESS_KEY_ID": "AKIACALLER", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_REGION": "eu-central-1", "HOME": "/nonexistent"}
BELOW = "shop/claims/"
VALUES = {"application": "shop", "environment": "prod"}
ATTRIBUTES = ("path", "task_name", "scheduled_time")


def task(name: str = "a", schedule: str = "* * * * *", **more) -> dict:
    return {"name": name, "schedule": schedule, "path": f"/tasks/{name}", **more}


def minute(back: int = 0, step: int = 1) -> datetime:
    """The last full minute, or an earlier one."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return now - timedelta(minutes=now.minute % step) - timedelta(minutes=back)


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Fleet:
    """Workers of one queue, each with a machine of its own."""

    def __init__(self, ingot, directory, aws, consumer: Consumer, fifo: bool = False):
        self.ingot, self.directory, self.aws, self.consumer = ingot, directory, aws, consumer
        self.sqs, self.s3 = aws.client("sqs"), aws.client("s3")
        self.name = "jobs.fifo" if fifo else "jobs"
        self.url = self.sqs.create_queue(QueueName=self.name, Attributes={"FifoQueue": "true"} if fifo else {})["QueueUrl"]
        self.s3.create_bucket(Bucket="shop-releases", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.running = []
        self.count = 0

    def document(self, cron, claims: bool = True, **fields) -> str:
        worker = {"queue": self.name, "to": f"http://127.0.0.1:{self.consumer.port}", "visibility": "10s", "cron": cron, **fields}
        sections = {"claims": f"s3://shop-releases/{BELOW}", "values": VALUES} if claims else {}
        return document(workers={"jobs": worker}, **sections)

    def agent(self) -> Agent:
        self.count += 1
        directory = self.directory / f"i-{self.count}"
        directory.mkdir()
        return Agent(directory, dict(self.aws.env))

    def begin(self, text: str):
        agent = self.agent()
        path = agent.write("/boot.yaml", text)
        running = agent.start("worker", "jobs", "--user-data", str(path), "--root", str(agent.root), env=CALLER)
        running.agent = agent
        self.running.append(running)
        return running

    def end(self) -> None:
        for running in self.running:
            if running.process.poll() is None:
                running.kill()
                running.wait()

    def key(self, name: str, end: str) -> str:
        account = self.url.rsplit("/", 2)[1]
        return f"{BELOW}cron/shop/prod/{account}.{self.name}/{name}/{end}"

    def claimed(self, key: str) -> dict | None:
        try:
            return json.loads(self.s3.get_object(Bucket="shop-releases", Key=key)["Body"].read())
        except self.s3.exceptions.NoSuchKey:
            return None

    def claim(self, key: str, **content) -> None:
        self.s3.put_object(Bucket="shop-releases", Key=key, Body=json.dumps({"version": 1, **content}))

    def known(self, name: str, schedule: str, since: datetime, last: datetime) -> None:
        """A task that was there before."""
        moments = {"since": int(since.timestamp()), "until": int(last.timestamp())}
        self.claim(self.key(name, "task"), schedule=f"{schedule} UTC", **moments)

    def came(self) -> dict:
        """The IDs of messages by task and time."""
        came = defaultdict(list)
        for asked in list(self.consumer.requests):
            headers = asked.headers
            came[headers["x-aws-sqsd-taskname"], headers["x-aws-sqsd-scheduled-at"]].append(headers["x-aws-sqsd-msgid"])
        return came

    def status(self, running) -> dict:
        told = running.agent.run("status", "worker", "jobs", "--json", "--root", str(running.agent.root)).json["worker"]
        return told or {"tasks": [], "duplicates": 0, "handled": 0}

    def task(self, running, name: str = "a") -> dict:
        """What it says of a task; nothing as long as it says nothing."""
        known = [task for task in self.status(running)["tasks"] if task["name"] == name]
        return known[0] if known else {"next": None, "sent": 0, "missed": 0, "trouble": None}


@pytest.fixture
def make(ingot, tmp_path, aws, consumer):
    fleets = []

    def make(**more) -> Fleet:
        fleets.append(Fleet(ingot, tmp_path, aws, consumer, **more))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.end()


def test_what_is_due_is_posted_as_elastic_beanstalk_posts_it(make, consumer):
    fleet = make()
    last = minute(2)
    fleet.known("a", "* * * * *", last, last)
    running = fleet.begin(fleet.document([task()]))
    until("both minutes", lambda: len(consumer.requests) >= 2, running)
    asked = min(consumer.requests, key=lambda asked: asked.headers["x-aws-sqsd-scheduled-at"])
    assert (asked.path, asked.body) == ("/tasks/a", b"")
    assert asked.headers["x-aws-sqsd-taskname"] == "a"
    assert asked.headers["x-aws-sqsd-scheduled-at"] == iso(last + timedelta(minutes=1))
    assert asked.headers["x-aws-sqsd-sender-id"]
    assert not [name for name in asked.headers if name.startswith("x-aws-sqsd-attr-")]
    key = fleet.key("a", iso(last + timedelta(minutes=1)))
    until("the claim", lambda: (fleet.claimed(key) or {}).get("state") == "posted", running)
    until("it is noted", lambda: fleet.task(running)["sent"] >= 2, running)
    [told] = fleet.status(running)["tasks"]
    assert told["name"] == "a" and told["missed"] == 0 and told["next"] > iso(last), told


def test_the_message_is_that_of_elastic_beanstalk(make, consumer):
    """Another program can take it from the queue."""
    fleet = make()
    last = minute(3)
    fleet.known("a", "* * * * *", last, last)
    consumer.end()
    running = fleet.begin(fleet.document([task()]))
    found = []

    def receive():
        asked = fleet.sqs.receive_message(QueueUrl=fleet.url, MessageAttributeNames=["All"], MaxNumberOfMessages=10)
        found.extend(asked.get("Messages", []))
        return found

    until("a message", receive, running)
    message = found[0]
    assert message["Body"] == "elasticbeanstalk scheduled job"
    said = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert said["beanstalk.sqsd.path"] == "/tasks/a" and said["beanstalk.sqsd.task_name"] == "a"
    datetime.strptime(said["beanstalk.sqsd.scheduled_time"], "%Y-%m-%d %H:%M:%S UTC")
    assert {value["DataType"] for value in message["MessageAttributes"].values()} == {"String"}


def test_missed_times_are_caught_up_as_far_as_the_task_says_and_the_rest_is_told(make, consumer):
    fleet = make()
    last = minute(120, step=10)
    for name in ("a", "b"):
        fleet.known(name, "*/10 * * * *", last, last)
    cron = [task("a", "*/10 * * * *", catch_up="65m"), task("b", "*/10 * * * *")]
    running = fleet.begin(fleet.document(cron))
    expected = {iso(minute(back, step=10)) for back in range(0, 60, 10)}
    until("the hour", lambda: expected <= {at for name, at in fleet.came() if name == "a"}, running)
    until("it is told", lambda: fleet.task(running)["missed"], running)
    a, b = fleet.status(running)["tasks"]
    assert 5 <= a["missed"] <= 7 and b["missed"] >= 11, (a, b)
    assert all(len(ids) == 1 for ids in fleet.came().values())
    running.kill()
    assert "missed, and not sent" in running.wait().stderr
    # Another that begins now neither sends them again nor tells of them.
    again = fleet.begin(fleet.document(cron))
    until("it works", lambda: fleet.task(again)["next"], again)
    time.sleep(2)
    # What was not yet deleted when it was killed may come once more.
    assert all(len(set(ids)) == 1 for ids in fleet.came().values())
    assert [task["missed"] for task in fleet.status(again)["tasks"]] == [0, 0]


def test_a_new_task_catches_nothing_up(make, consumer):
    fleet = make()
    running = fleet.begin(fleet.document([task("a", "*/2 * * * *", catch_up="7d")]))
    until("it is known", lambda: fleet.claimed(fleet.key("a", "task")), running)
    time.sleep(2)
    assert all(at >= iso(minute()) for _, at in fleet.came())
    known = fleet.claimed(fleet.key("a", "task"))
    assert known["schedule"] == "*/2 * * * * UTC" and known["since"] > time.time() - 60


@pytest.mark.parametrize("state", ["claimed", "sent", "posted"])
def test_a_claim_is_taken_over_once_it_is_stale_and_what_was_sent_is_not_sent_again(make, aws, consumer, state):
    fleet = make()
    # Far from the next full hour, so that nothing else comes due.
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    schedule = "0 * * * *"
    fleet.known("a", schedule, last - timedelta(hours=3), last - timedelta(minutes=30))
    fleet.claim(fleet.key("a", iso(last)), state=state, holder="i-dead", mark="theirs")
    running = fleet.begin(fleet.document([task("a", schedule, catch_up="1d")]))
    until("it looks", lambda: [call for call in aws.calls("GetObject") if iso(last)[:13] in json.dumps(call)] or None, running)
    time.sleep(1)
    assert fleet.came() == {}
    aws.ahead(31)
    if state == "claimed":
        until("it is sent", lambda: fleet.came().get(("a", iso(last))), running)
    else:
        time.sleep(5)
        assert fleet.came() == {} and fleet.task(running)["sent"] == 0


def test_of_two_messages_for_one_time_one_is_posted(make, consumer):
    fleet = make()
    running = fleet.begin(fleet.document([task("a", "0 0 1 1 *")]))
    said = {"path": "/tasks/a", "task_name": "a", "scheduled_time": "2026-01-01 00:00:00 UTC"}
    attributes = {f"beanstalk.sqsd.{name}": {"DataType": "String", "StringValue": value} for name, value in said.items()}
    consumer.answer = lambda asked: (500 if len(consumer.requests) < 3 else 200, {})
    for _ in range(4):
        fleet.sqs.send_message(QueueUrl=fleet.url, MessageBody="elasticbeanstalk scheduled job", MessageAttributes=attributes)
    until("all are gone", lambda: fleet.status(running)["duplicates"] == 3 and fleet.status(running)["handled"] == 1, running)
    [ids] = fleet.came().values()
    assert len(ids) == 3 and len(set(ids)) == 1, "the same one again, until it is answered with 200"
    # Of a task that nobody here knows, each is posted.
    attributes["beanstalk.sqsd.task_name"]["StringValue"] = "other"
    for _ in range(2):
        fleet.sqs.send_message(QueueUrl=fleet.url, MessageBody="elasticbeanstalk scheduled job", MessageAttributes=attributes)
    until("both", lambda: len(fleet.came()["other", "2026-01-01T00:00:00Z"]) == 2, running)


@pytest.mark.slow
def test_a_fleet_that_is_killed_again_and_again_misses_nothing(make, consumer):
    """Twenty tasks a minute, three minutes, and workers that die where it hurts: shortly after each full minute."""
    fleet = make()
    cron = [task(f"t{n}", catch_up="1h") for n in range(20)]
    text = fleet.document(cron)
    fleet_size, chance = 3, random.Random(17)
    workers = [fleet.begin(text) for _ in range(fleet_size)]
    until("all are known", lambda: all(fleet.claimed(fleet.key(f"t{n}", "task")) for n in range(20)), workers[0])
    first = minute() + timedelta(minutes=1)
    for number in range(3):
        due = first + timedelta(minutes=number)
        time.sleep(max(0, due.timestamp() - time.time()))
        for _ in range(4):
            time.sleep(chance.uniform(0.02, 0.4))
            place = chance.randrange(fleet_size)
            workers[place].kill()
            workers[place].wait()
            workers[place] = fleet.begin(text)
    expected = {(f"t{n}", iso(first + timedelta(minutes=number))) for n in range(20) for number in range(3)}
    until("everything", lambda: expected <= fleet.came().keys())
    time.sleep(45)
    assert all(len(set(ids)) == 1 for ids in fleet.came().values()), fleet.came()


def test_fifo_queues_need_no_claims(make, consumer):
    fleet = make(fifo=True)
    # moto knows a message again as long as nobody has deleted it; SQS does for five minutes.
    consumer.end()
    expected = {(name, iso(minute(back))) for name in "ab" for back in range(3)}
    workers = [fleet.begin(fleet.document([task("a"), task("b")], claims=False)) for _ in range(3)]
    sent = lambda running: all(fleet.task(running, name)["sent"] >= 3 for name in "ab")  # noqa: E731
    until("each has sent what was due", lambda: all(map(sent, workers)), workers[0])
    consumer.begin()
    until("it comes", lambda: expected <= fleet.came().keys(), workers[0])
    time.sleep(3)
    assert all(len(set(fleet.came()[due])) == 1 for due in expected), fleet.came()
    assert not fleet.aws.calls("PutObject")


def test_times_are_those_of_the_zone(make, consumer):
    fleet = make()
    agent = fleet.agent()
    zone = agent.root / "usr/share/zoneinfo/Asia"
    zone.mkdir(parents=True)
    # Always 5:45 ahead of UTC.
    half = b"TZif2" + bytes(31) + b"\0\0\0\x01\0\0\0\x06" + (20700).to_bytes(4, "big") + b"\0\0+0545\0"
    (zone / "Kathmandu").write_bytes(half + half + b"\n<+0545>-5:45\n")
    cron = [task("a", "0 0 * * *", time_zone="Asia/Kathmandu"), task("b", "0 0 * * *", time_zone="Europe/Nowhere")]
    path = agent.write("/boot.yaml", fleet.document(cron[:1]))
    running = agent.start("worker", "jobs", "--user-data", str(path), "--root", str(agent.root), env=CALLER)
    running.agent = agent
    fleet.running.append(running)
    until("it is known", lambda: fleet.task(running)["next"], running)
    assert fleet.task(running)["next"].endswith("T18:15:00Z")
    running.kill()
    running.wait()
    path = agent.write("/boot.yaml", fleet.document(cron))
    result = agent.run("worker", "jobs", "--user-data", str(path), "--root", str(agent.root), env=CALLER)
    assert result.code == FAILED and "no time zone Europe/Nowhere" in result.stderr and "tzdata" in result.stderr, result


def test_claims_that_are_denied_are_told_and_nothing_is_posted_unclaimed(make, aws, consumer):
    fleet = make()
    last = minute(1)
    fleet.known("a", "* * * * *", last, last)
    aws.fault("denied", operation="PutObject")
    # One that is there already.
    said = {"path": "/tasks/a", "task_name": "a", "scheduled_time": last.strftime("%Y-%m-%d %H:%M:%S UTC")}
    attributes = {f"beanstalk.sqsd.{name}": {"DataType": "String", "StringValue": text} for name, text in said.items()}
    fleet.sqs.send_message(QueueUrl=fleet.url, MessageBody="x", MessageAttributes=attributes)
    running = fleet.begin(fleet.document([task()]))
    until("it is told", lambda: fleet.task(running)["trouble"], running)
    assert "allow s3:PutObject" in fleet.task(running)["trouble"]
    until("it went back", lambda: "its claim failed" in ((fleet.status(running).get("last_error") or {}).get("what") or ""), running)
    assert fleet.came() == {}
    aws.recover()
    until("it is sent", fleet.came, running)


def test_by_hand_it_tells_that_tasks_of_a_release_are_not_there(make, consumer):
    fleet = make()
    worker = {"queue": fleet.name, "to": f"http://127.0.0.1:{consumer.port}", "cron": "bundles.app"}
    bundles = {"app": {"s3": "s3://shop-releases/shop-1.tar.gz", "into": "/opt/shop"}}
    running = fleet.begin(document(claims=f"s3://shop-releases/{BELOW}", values=VALUES, bundles=bundles, workers={"jobs": worker}))
    assert running.wait_for_line("no periodic tasks are sent: `cron` only uses tasks of a release")


def test_check_refuses_cron_without_claims(make):
    fleet = make()
    agent = fleet.agent()
    result = agent.run("check", str(agent.write("/boot.yaml", fleet.document([task()], claims=False))))
    assert result.code == BAD_DOCUMENT and "says `cron`, but the document has no `claims:`" in result.stdout, result


def test_it_stops_with_its_long_poll_also_with_tasks(make):
    fleet = make()
    running = fleet.begin(fleet.document([task()]))
    until("it works", lambda: fleet.task(running)["next"], running)
    running.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert running.wait().code == DONE and time.monotonic() - began < 12
