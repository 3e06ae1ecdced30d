"""`ingot worker` over moto's SQS: what it posts, what becomes of a message, how it stops, and what a kill costs."""

import json
import random
import signal
import time

import pytest
from harness.agent import DONE, FAILED, USAGE, Agent, comes, document, until
from harness.host.consumer import Consumer

CALLER = {"AWS_ACCESS_KEY_ID": "AKIACALLER", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_REGION": "eu-central-1", "HOME": "/nonexistent"}
NAME = "jobs"


class Worker:
    """A worker that runs in the foreground from a document."""

    def __init__(self, agent: Agent, aws, consumer: Consumer, *, fifo: bool = False, redrive: bool = True):
        self.agent, self.aws, self.consumer = agent, aws, consumer
        self.sqs = aws.client("sqs")
        self.name = "shop-jobs.fifo" if fifo else "shop-jobs"
        attributes = {"FifoQueue": "true"} if fifo else {}
        if redrive:
            dead = self.sqs.create_queue(QueueName="dead" + (".fifo" if fifo else ""), Attributes=dict(attributes))["QueueUrl"]
            self.dead = dead
            arn = self.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "5"})
        self.url = self.sqs.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]
        self.running = None

    def send(self, body: str, attributes: dict | None = None, **more) -> None:
        said = {name: {"DataType": kind, "StringValue": value} for name, (kind, value) in (attributes or {}).items()}
        if self.name.endswith(".fifo"):
            more = {"MessageGroupId": "one", "MessageDeduplicationId": body, **more}
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body, MessageAttributes=said, **more)

    def send_many(self, count: int) -> None:
        for begin in range(0, count, 10):
            entries = [{"Id": str(n), "MessageBody": f"{n:04}"} for n in range(begin, min(begin + 10, count))]
            if self.name.endswith(".fifo"):
                entries = [{**e, "MessageGroupId": "one", "MessageDeduplicationId": e["MessageBody"]} for e in entries]
            self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def begin(self, **fields) -> None:
        worker = {"queue": self.name, "to": f"http://127.0.0.1:{self.consumer.port}", **fields}
        path = self.agent.write("/boot.yaml", document(workers={NAME: worker}))
        root = ["--root", str(self.agent.root)]
        self.running = self.agent.start("worker", NAME, "--user-data", str(path), *root, env=CALLER)

    def stop(self):
        self.running.process.send_signal(signal.SIGTERM)
        return self.running.wait()

    def kill(self) -> None:
        self.running.kill()
        self.running.wait()

    def depth(self) -> tuple[int, int]:
        """How many messages are visible, and how many are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def is_empty(self) -> bool:
        return self.depth() == (0, 0)

    def status(self) -> tuple[int, dict]:
        result = self.agent.run("status", "worker", NAME, "--json", "--root", str(self.agent.root))
        return result.code, result.json


@pytest.fixture
def made(agent, aws, consumer):
    """Makes workers, and ends them."""
    workers = []

    def make(**more) -> Worker:
        workers.append(Worker(agent, aws, consumer, **more))
        return workers[-1]

    yield make
    for worker in workers:
        if worker.running and worker.running.process.poll() is None:
            worker.kill()


def test_a_message_arrives_with_every_header_and_byte(made, consumer):
    worker = made()
    worker.send('{"é": "\\u0000"}\r\n', {"color": ("String", "red"), "size": ("Number", "7")})
    worker.begin(path="/jobs", mime_type="application/x-shop")
    until("the message", lambda: consumer.requests, worker.running)
    [asked] = consumer.requests
    assert asked.body == '{"é": "\\u0000"}\r\n'.encode() and asked.path == "/jobs" and asked.peer == "127.0.0.1"
    headers = asked.headers
    fixed = {
        "host": "localhost",
        "content-type": "application/x-shop",
        "x-aws-sqsd-queue": "shop-jobs",
        "x-aws-sqsd-path": "/jobs",
        "x-aws-sqsd-receive-count": "1",
        "x-aws-sqsd-attr-color": "red",
        "x-aws-sqsd-attr-size": "7",
    }
    assert {name: headers.get(name) for name in fixed} == fixed
    assert headers["user-agent"].startswith("aws-sqsd/")
    for name in ("first-received-at", "sent-at"):
        time.strptime(headers[f"x-aws-sqsd-{name}"], "%Y-%m-%dT%H:%M:%SZ")
    assert headers["x-aws-sqsd-msgid"] and headers["x-aws-sqsd-sender-id"] and headers["x-ingot-deadline"]
    until("its deletion", worker.is_empty, worker.running)
    assert worker.stop().code == DONE


def test_a_periodic_message_goes_to_its_own_path_without_a_body(made, consumer):
    worker = made()
    periodic = {"path": "/tasks/nightly", "task_name": "nightly", "scheduled_time": "2026-11-30 00:47:00 UTC"}
    worker.send("elasticbeanstalk scheduled job", {f"beanstalk.sqsd.{name}": ("String", value) for name, value in periodic.items()})
    worker.begin(path="/jobs")
    until("the message", lambda: consumer.requests, worker.running)
    [asked] = consumer.requests
    assert (asked.path, asked.body) == ("/tasks/nightly", b"")
    assert asked.headers["x-aws-sqsd-taskname"] == "nightly"
    assert asked.headers["x-aws-sqsd-scheduled-at"] == "2026-11-30T00:47:00Z"
    assert not [name for name in asked.headers if name.startswith("x-aws-sqsd-attr-")]


def test_anything_but_200_comes_again_until_the_queue_has_enough(made, consumer):
    worker = made()
    worker.send("never")
    consumer.answer = lambda asked: (204, {})
    worker.begin(retry={"delay": "1s"})
    dead = lambda: worker.sqs.receive_message(QueueUrl=worker.dead).get("Messages")  # noqa: E731
    until("the dead letter", dead, worker.running)
    assert [asked.headers["x-aws-sqsd-receive-count"] for asked in consumer.requests] == ["1", "2", "3", "4", "5"]
    pauses = [after.at - before.at for before, after in zip(consumer.requests, consumer.requests[1:])]
    assert all(0.9 < pause < 3 for pause in pauses), pauses
    code, status = worker.status()
    assert code == DONE and status["worker"]["failed"] == {"204": 5} and "204" in status["worker"]["last_error"]["what"]


def test_who_asks_for_time_gets_it(made, consumer):
    worker = made()
    worker.send("later")
    consumer.answer = lambda asked: (503, {"Retry-After": "3"}) if asked.count == 1 else (200, {})
    worker.begin(retry={"delay": "1s"})
    until("both", lambda: len(consumer.requests) == 2, worker.running)
    first, second = consumer.requests
    assert 2.8 < second.at - first.at < 5


def test_a_queue_without_dead_letters_is_told_at_the_start(made):
    worker = made(redrive=False)
    worker.begin()
    assert worker.running.wait_for_line("shop-jobs has no redrive policy")


def test_visibility_is_extended_while_the_application_works(made, consumer):
    worker = made()
    worker.send("long")
    consumer.answer = lambda asked: time.sleep(24) or (200, {})
    worker.begin(visibility="10s")
    until("the request", lambda: consumer.requests, worker.running)
    until("its deletion", worker.is_empty, worker.running)
    assert len(consumer.requests) == 1 and worker.aws.count("ChangeMessageVisibilityBatch") >= 3


def test_sigterm_finishes_what_is_in_hand_and_gives_the_rest_back(made, consumer):
    worker = made()
    worker.send_many(20)
    consumer.answer = lambda asked: time.sleep(3 if asked.text < "0003" else 600) or (200, {})
    worker.begin(concurrency=5, drain="5s")
    until("five", lambda: len(consumer.requests) == 5, worker.running)
    begun = time.monotonic()
    assert worker.stop().code == DONE
    assert 4.5 < time.monotonic() - begun < 8
    handled = 0 if not consumer.requests else len([asked for asked in consumer.requests if asked.text < "0003"])
    assert worker.depth() == (20 - handled, 0), "visible at once"


def test_while_the_application_is_gone_nothing_is_taken(made, consumer):
    worker = made()
    worker.begin()
    worker.send("before")
    until("one", lambda: worker.is_empty() and consumer.bodies() == ["before"], worker.running)
    consumer.end()
    worker.send("meanwhile")
    waiting = lambda: (worker.status()[1]["worker"] or {}).get("waiting")  # noqa: E731
    until("the pause", lambda: waiting() == "connection refused", worker.running)
    code, status = worker.status()
    assert (code, status["status"]) == (2, "paused")
    assert worker.depth()[0] == 1
    consumer.begin()
    until("the other", lambda: worker.is_empty() and consumer.bodies() == ["before", "meanwhile"], worker.running)
    until("the end of the pause", lambda: worker.status()[0] == DONE, worker.running)


def test_an_application_that_dies_over_a_message_gives_it_back_at_once(made, consumer):
    worker = made()
    worker.send("deadly")
    consumer.answer = lambda asked: None if asked.count < 4 else (200, {})
    worker.begin(retry={"delay": "4s"})
    until("its end", worker.is_empty, worker.running)
    assert consumer.bodies() == ["deadly"] * 4
    first, second, third, fourth = (asked.at for asked in consumer.requests)
    assert second - first < 3, "at once, after a rest of half a second"
    assert 3.9 < third - second < 12 and 3.9 < fourth - third < 12, "it was alone with what may be its end"


def test_a_fifo_queue_keeps_its_order(made, consumer):
    worker = made(fifo=True)
    worker.send_many(30)
    consumer.answer = lambda asked: (500 if asked.text == "0007" and asked.count < 3 else 200, {})
    worker.begin(retry={"delay": "1s"})
    until("all", worker.is_empty, worker.running)
    order = list(dict.fromkeys(consumer.bodies()))
    assert order == [f"{n:04}" for n in range(30)] and len(consumer.bodies()) == 32 and consumer.most == 1


@pytest.mark.parametrize("fifo", [False, True])
def test_a_kill_loses_nothing_and_repeats_little(made, consumer, fifo):
    worker, chance = made(fifo=fifo), random.Random(17)
    worker.send_many(200 if not fifo else 60)
    consumer.answer = lambda asked: time.sleep(chance.random() / 20) or (200, {})
    kills, room = 4, 8
    for kill in range(kills):
        before = len(consumer.requests)
        worker.begin(concurrency=room, visibility="10s")
        assert comes(lambda before=before: len(consumer.requests) > before + 10 * (not fifo), worker.running)
        time.sleep(chance.random() / 3)
        worker.kill()
    worker.begin(concurrency=room, visibility="10s")
    until("all", worker.is_empty, worker.running)
    bodies = consumer.bodies()
    assert len(set(bodies)) == (200 if not fifo else 60)
    assert len(bodies) - len(set(bodies)) <= kills * (1 if fifo else room + 10), len(bodies)
    if fifo:
        assert list(dict.fromkeys(bodies)) == sorted(set(bodies))


def test_what_sqs_refuses_is_told_and_tried_again(made, consumer, aws):
    worker = made()
    worker.send_many(5)
    denied = {"type": "com.amazonaws.sqs#AccessDeniedException", "message": "no identity-based policy allows it"}
    aws.fault("error", operation="ReceiveMessage", times=2, type="RequestThrottled", message="Rate exceeded")
    aws.fault("error", operation="ReceiveMessage", times=1, **denied)
    # The first is the one at the start, by which it learns that it has the right.
    aws.fault("reset", operation="DeleteMessageBatch", times=2)
    worker.begin()
    assert worker.running.wait_for_line("allow sqs:ReceiveMessage on shop-jobs")
    until("all", worker.is_empty, worker.running)
    assert len(consumer.bodies()) == 5


def test_a_clock_that_is_wrong_is_no_obstacle(made, consumer, aws):
    worker = made()
    worker.send("a")
    aws.ahead(3600)
    worker.begin()
    until("it", lambda: consumer.bodies() == ["a"], worker.running)


def test_a_queue_that_is_not_there_ends_the_start_with_a_reason(made, consumer):
    worker = made()
    worker.begin(queue="arn:aws:sqs:eu-west-1:123456789012:nowhere")
    result = worker.running.wait()
    assert result.code == FAILED and "GetQueueUrl arn:aws:sqs:eu-west-1:123456789012:nowhere" in result.stderr
    assert "hint: create" in result.stderr


@pytest.mark.parametrize("action", ["DeleteMessage", "ChangeMessageVisibility"])
def test_a_role_that_may_not_settle_messages_takes_none(made, consumer, aws, action):
    """Each would be handled, and would come back after twelve hours."""
    worker = made()
    worker.send("a")
    denied = {"type": "com.amazonaws.sqs#AccessDeniedException", "message": "no identity-based policy allows it"}
    aws.fault("error", operation=f"{action}Batch", times=50, **denied)
    worker.begin()
    result = worker.running.wait()
    assert result.code == FAILED and f"allow sqs:{action} on shop-jobs" in result.stderr
    assert consumer.requests == [] and worker.depth() == (1, 0)


def test_a_second_one_of_the_same_name_is_refused(made, consumer):
    """They would tell their status in the same file."""
    worker = made()
    worker.begin()
    until("its status", lambda: worker.status()[0] == DONE, worker.running)
    first = worker.running
    worker.begin()
    result = worker.running.wait()
    worker.running = first
    assert result.code == USAGE and f"worker `jobs` is already running, as process {first.process.pid}" in result.stderr
    assert "hint: stop it first" in result.stderr
    assert worker.status()[0] == DONE and worker.stop().code == DONE


def test_it_runs_with_what_a_boot_writes_by_the_role_of_the_instance(agent, aws, consumer):
    """A dry run writes it here, where there is no systemd."""
    worker = Worker(agent, aws, consumer)
    worker.send("a")
    settings = {"queue": "shop-{{values.env}}", "to": f"http://localhost:{consumer.port}"}
    text = agent.write("/boot.yaml", document(values={"env": "jobs"}, workers={NAME: settings}))
    assert agent.run("dry-run", str(text), "--out", str(agent.root)).code == DONE
    path = f"/run/ingot/workers/{NAME}.json"
    assert agent.mode(path) == "0644" and json.loads(agent.read(path))["queue"] == "shop-jobs"
    running = agent.start("worker", NAME, "--root", str(agent.root))
    try:
        until("it", lambda: consumer.bodies() == ["a"], running)
        [key] = {call["key_id"] for call in aws.calls("ReceiveMessage")}
        assert key == "ASIAIOSFODNN7EXAMPLE", "the role's"
    finally:
        running.process.send_signal(signal.SIGTERM)
        assert running.wait().code == DONE


def test_counts_go_to_cloudwatch(made, consumer, aws):
    worker = made()
    worker.send("a")
    worker.begin(metrics=True)
    until("the minute", lambda: aws.count("PutMetricData") or worker.running.lines, worker.running, timeout=150)
    found = aws.client("cloudwatch").list_metrics(Namespace="ingot/Worker")["Metrics"]
    names = {metric["MetricName"] for metric in found}
    assert {"Handled", "Failed", "InHand", "Health"} <= names, (names, worker.running.lines)
    assert {"Name": "Queue", "Value": "shop-jobs"} in found[0]["Dimensions"]


def test_a_worker_that_the_document_does_not_have_is_told(agent, aws):
    result = agent.run("worker", "other", "--root", str(agent.root))
    assert result.code == USAGE and "the worker `other` is not found" in result.stderr
    path = agent.write("/boot.yaml", document(workers={}))
    result = agent.run("worker", "other", "--user-data", str(path), env=CALLER)
    assert result.code == USAGE and "the document has no workers.other" in result.stderr
    result = agent.run("status", "worker", "other", "--root", str(agent.root))
    assert result.code == 4 and result.stdout == "not running\n"
