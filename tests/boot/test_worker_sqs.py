"""`ingot worker` on SQS's bad days: answers that are lost or late, messages that come twice, batches that are done by half,
throttling, a queue that is purged or gone, rights and credentials that are missing, a stop in the middle of a long poll."""

import signal
import time

import pytest
from harness.agent import DONE, PATIENCE, document, until
from harness.aws.sqs import Sqs
from harness.host.consumer import Consumer

CALLER = {"AWS_ACCESS_KEY_ID": "AKIACALLER", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_REGION": "eu-central-1", "HOME": "/nonexistent"}


class Worker:
    def __init__(self, agent, sqs: Sqs, consumer: Consumer, name: str = "jobs"):
        self.agent, self.sqs, self.consumer, self.name = agent, sqs, consumer, name
        self.url = sqs.make(name, dead="dead" + ".fifo" * name.endswith(".fifo"), after=100)
        self.running = None

    def send(self, *bodies: str, groups: int = 1) -> None:
        self.sqs.send(self.url, *bodies, groups=groups)

    def begin(self, *, as_instance: bool = False, env: dict | None = None, **fields) -> None:
        worker = {"queue": self.name, "to": f"http://127.0.0.1:{self.consumer.port}", **fields}
        path = self.agent.write("/boot.yaml", document(workers={"jobs": worker}))
        command = ["worker", "jobs", "--user-data", str(path), "--root", str(self.agent.root)]
        if as_instance:
            assert self.agent.run("dry-run", str(path), "--out", str(self.agent.root)).code == DONE
            command = ["worker", "jobs", "--root", str(self.agent.root)]
        self.running = self.agent.start(*command, env=env or {**({} if as_instance else CALLER), **self.sqs.env})

    def is_empty(self) -> bool:
        return self.sqs.counts(self.name)["left"] == 0

    def finish(self) -> None:
        until("all messages", self.is_empty, self.running)

    def stop(self) -> float:
        begun = time.monotonic()
        self.running.process.send_signal(signal.SIGTERM)
        assert self.running.wait().code == DONE
        return time.monotonic() - begun

    def status(self) -> dict:
        return self.agent.run("status", "worker", "jobs", "--json", "--root", str(self.agent.root)).json

    def end(self) -> None:
        if self.running and self.running.process.poll() is None:
            self.running.kill()
            self.running.wait()


@pytest.fixture
def made(agent, sqs, consumer):
    workers = []

    def make(name: str = "jobs") -> Worker:
        workers.append(Worker(agent, sqs, consumer, name))
        return workers[-1]

    yield make
    for worker in workers:
        worker.end()


def bodies(count: int) -> list[str]:
    return [f"{n:04}" for n in range(count)]


def test_a_deletion_whose_answer_is_lost_is_made_again(made, sqs, consumer):
    worker = made()
    worker.send(*bodies(30))
    sqs.fault("lost", operation="DeleteMessageBatch", times=2)
    worker.begin()
    worker.finish()
    assert sorted(consumer.bodies()) == bodies(30) and len(sqs.calls("DeleteMessageBatch")) >= 4


@pytest.mark.parametrize("name", ["jobs", "jobs.fifo"])
def test_a_reception_whose_answer_is_lost_loses_no_message(made, sqs, consumer, name):
    worker = made(name)
    worker.send(*bodies(12), groups=12)
    sqs.fault("lost", operation="ReceiveMessage", times=3)
    worker.begin(concurrency=10)
    if name == "jobs":
        # They are hidden from everybody, and nothing but time brings them back.
        until("the others", lambda: consumer.bodies() or len(sqs.calls("ReceiveMessage")) > 3, worker.running)
        time.sleep(1)
        sqs.advance(300)
    worker.finish()
    assert sorted(consumer.bodies()) == bodies(12)
    if name != "jobs":
        lost = [call["asked"]["ReceiveRequestAttemptId"] for call in sqs.calls("ReceiveMessage")][:3]
        assert len(set(lost)) < 3, "the same attempt, so that they came at once"


def test_what_comes_twice_at_the_same_time_is_handled_once(made, sqs, consumer):
    worker = made()
    consumer.answer = lambda asked: time.sleep(1) or (200, {})
    worker.send(*bodies(10))
    sqs.fault("duplicate", operation="ReceiveMessage", times=2)
    worker.begin(concurrency=30)
    worker.finish()
    assert sorted(consumer.bodies()) == bodies(10)
    assert max(count for _, count in sqs.state("jobs")["deleted"]) > 1, "by its newest receipt"


def test_what_arrives_later_than_it_was_hidden_is_handled_all_the_same(made, sqs, consumer):
    worker = made()
    worker.send(*bodies(3))
    sqs.fault("late", operation="ReceiveMessage", seconds=12, times=1)
    worker.begin(visibility="10s", concurrency=3)
    worker.finish()
    assert set(consumer.bodies()) == set(bodies(3))


def test_of_a_batch_that_is_done_by_half_the_rest_is_done_again(made, sqs, consumer):
    worker = made()
    worker.send(*bodies(40))
    sqs.fault("partial", operation="DeleteMessageBatch", places=[0, 3, 9], times=2)
    sqs.fault("partial", operation="DeleteMessageBatch", places=[1], code="RequestThrottled", sender_fault=True, times=2)
    sqs.fault("partial", operation="ChangeMessageVisibilityBatch", places=[0], times=2)
    consumer.answer = lambda asked: (500 if asked.count == 1 and asked.text > "0029" else 200, {})
    worker.begin(retry={"delay": "1s"})
    worker.finish()
    assert len(consumer.bodies()) == 50 and set(consumer.bodies()) == set(bodies(40))


def test_throttling_is_heeded(made, sqs, consumer):
    worker = made()
    worker.send(*bodies(100))
    for operation in ("ReceiveMessage", "DeleteMessageBatch"):
        sqs.fault("throttled", operation=operation, times=4)
    worker.begin()
    worker.finish()
    refused = [call for call in sqs.calls() if call["fault"] == "error"]
    assert sorted(consumer.bodies()) == bodies(100) and len(refused) == 8
    receptions = [call["time"] for call in refused if call["operation"] == "ReceiveMessage"]
    assert receptions[-1] - receptions[0] > 2, "it leaves SQS alone for longer each time"


def test_a_purge_is_no_mishap(made, sqs, consumer):
    worker = made()
    consumer.answer = lambda asked: time.sleep(1) or (200, {})
    worker.send(*bodies(50))
    worker.begin(concurrency=10)
    until("ten", lambda: len(consumer.requests) >= 10, worker.running)
    sqs.call("PurgeQueue", QueueUrl=worker.url)
    time.sleep(2)
    assert worker.status()["status"] == "working"
    worker.send("after")
    until("the one after", lambda: "after" in consumer.bodies() and worker.is_empty(), worker.running)


def test_a_queue_that_is_gone_is_waited_for(made, sqs, consumer):
    worker = made()
    worker.begin()
    worker.send("before")
    worker.finish()
    sqs.call("DeleteQueue", QueueUrl=worker.url)
    assert worker.running.wait_for_line("The specified queue does not exist")
    assert worker.running.wait_for_line("hint: create jobs")
    until("the pause", lambda: worker.status()["status"] == "paused", worker.running)
    sqs.advance(60)
    sqs.make("jobs")
    worker.send("after")
    worker.finish()
    assert consumer.bodies() == ["before", "after"]


def test_what_is_denied_is_told_with_the_right_that_is_missing(made, sqs, consumer):
    worker = made()
    # A worker that may not at its start ends.
    worker.begin(concurrency=5)
    until("it", lambda: sqs.calls("ReceiveMessage"), worker.running)
    sqs.fault("denied", operation="ChangeMessageVisibilityBatch")
    consumer.answer = lambda asked: (500, {}) if asked.count == 1 else (200, {})
    worker.send(*bodies(30))
    assert worker.running.wait_for_line("allow sqs:ChangeMessageVisibility on jobs")
    time.sleep(1)
    assert len(set(consumer.bodies())) <= 15, "what cannot be given back takes its place"
    sqs.recover()
    worker.finish()


def test_a_clock_that_is_wrong_signs_with_the_time_of_aws(made, sqs, consumer):
    worker = made()
    worker.send("a")
    sqs.set(ahead=-5 * 86_400)
    worker.begin()
    worker.finish()
    assert consumer.bodies() == ["a"], "and is not taken to be older than its retention"


def test_messages_of_a_megabyte_come_ten_at_a_time(made, sqs, consumer):
    worker = made()
    for n in range(10):
        sqs.send(worker.url, f"{n}" + '"\n' * 500_000)
    worker.begin()
    worker.finish()
    assert {len(asked.body) for asked in consumer.requests} == {1_000_001}


def test_a_stop_waits_for_its_long_poll_and_gives_back_what_it_brings(made, sqs):
    """SQS does not notice that nobody waits: the message was hidden for five minutes."""
    worker = made()
    sqs.fault("deaf", operation="ReceiveMessage")
    worker.begin()
    until("a poll", lambda: sqs.calls("ReceiveMessage"), worker.running)
    worker.running.process.send_signal(signal.SIGTERM)
    time.sleep(2.5)
    worker.send("late")
    assert worker.running.wait(PATIENCE).code == DONE
    assert sqs.left("jobs") == {"late": 0}


def test_an_idle_worker_stops_with_its_long_poll(made, sqs):
    worker = made()
    worker.begin()
    until("a poll", lambda: sqs.calls("ReceiveMessage"), worker.running)
    time.sleep(1)
    assert worker.stop() < 13


def test_credentials_that_aws_refuses_are_fetched_anew(made, sqs, consumer, imds):
    """The role was replaced: its name and its credentials were kept for ever."""
    worker = made()
    worker.send("before")
    worker.begin(as_instance=True)
    worker.finish()
    sqs.set(expired=["ASIAIOSFODNN7EXAMPLE"])
    imds.configure(role="another", key_id="ASIANEXTEXAMPLE")
    keys = lambda: [call["key_id"] for call in sqs.calls("ReceiveMessage")]  # noqa: E731
    until("new credentials", lambda: "ASIANEXTEXAMPLE" in keys(), worker.running)
    worker.send("after")
    worker.finish()
    assert consumer.bodies() == ["before", "after"] and 1 < keys().count("ASIAIOSFODNN7EXAMPLE") < 5


def test_a_queue_is_called_where_its_url_says(made, sqs, consumer):
    worker = made()
    worker.send("a")
    worker.begin(env={**CALLER, "AWS_ENDPOINT_URL": ""}, queue=f"http://127.0.0.1:{sqs.port}/123456789012/jobs")
    worker.finish()
    assert consumer.bodies() == ["a"]
