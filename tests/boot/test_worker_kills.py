"""kill -9 of a worker, of its application, and of both, at random moments while messages flow: none is lost, few come twice.

A kill of the worker may repeat what was in hand and the ten at most whose deletion waited; of a FIFO queue, or where only the
application is killed, what was in hand. The queue's clock goes forward instead of a wait for hidden messages.
"""

import json
import random
import signal

import pytest
from harness.agent import document, until
from harness.aws.sqs import Sqs
from harness.chance import seed
from harness.host.handler import Handler

CALLER = {"AWS_ACCESS_KEY_ID": "AKIACALLER", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_REGION": "eu-central-1", "HOME": "/nonexistent"}
ROOM, VISIBILITY = 10, 300


class Flow:
    """A queue with messages, a worker and its application."""

    def __init__(self, agent, sqs: Sqs, handler: Handler, *, fifo: bool, messages: int):
        self.agent, self.sqs, self.handler = agent, sqs, handler
        self.name = "jobs.fifo" if fifo else "jobs"
        self.bodies = [f"{n:05}" for n in range(messages)]
        self.groups = 2 * ROOM
        sqs.send(sqs.make(self.name, dead="dead" + ".fifo" * fifo, after=1000), *self.bodies, groups=self.groups)
        worker = {"queue": self.name, "to": f"http://127.0.0.1:{handler.port}", "concurrency": ROOM, "visibility": f"{VISIBILITY}s"}
        self.document = agent.write("/boot.yaml", document(workers={"jobs": worker}))
        self.worker = None
        # How many messages may come twice.
        self.repeated = 0
        self.of_worker, self.of_application = ROOM + 10 * (not fifo), ROOM

    def begin(self) -> None:
        command = ["worker", "jobs", "--user-data", str(self.document), "--root", str(self.agent.root)]
        self.worker = self.agent.start(*command, env={**CALLER, **self.sqs.env})

    def kill(self, whom: str) -> None:
        if whom != "application":
            self.worker.kill()
        if whom != "worker":
            self.handler.kill()
            self.handler.begin()
        self.repeated += self.of_application if whom == "application" else self.of_worker
        if whom != "application":
            self.worker.wait()
            self.sqs.advance(VISIBILITY)
            self.begin()

    def came(self) -> int:
        return self.handler.path.read_bytes().count(b"came")

    def is_empty(self) -> bool:
        return self.sqs.counts(self.name)["left"] == 0


@pytest.fixture(scope="module")
def queues():
    with Sqs() as queues:
        yield queues


@pytest.fixture
def sqs(queues):
    queues.reset()
    return queues


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
@pytest.mark.parametrize(("messages", "kills"), [(1000, 20), pytest.param(10_000, 200, marks=pytest.mark.slow)])
def test_a_kill_loses_nothing_and_repeats_what_was_in_hand(agent, sqs, tmp_path, fifo, messages, kills):
    chance = random.Random(seed())
    with Handler(tmp_path, takes=0.1) as handler:
        flow = Flow(agent, sqs, handler, fifo=fifo, messages=messages)
        flow.begin()
        try:
            for _ in range(kills):
                goal = flow.came() + chance.randrange(messages // kills)
                until("messages", lambda goal=goal: flow.came() >= goal, flow.worker)
                flow.kill(chance.choice(["worker", "application", "both"]))
            assert flow.came() < messages + flow.repeated and not flow.is_empty(), "the kills were to come while messages flow"
            until("all", flow.is_empty, flow.worker)
            flow.worker.process.send_signal(signal.SIGTERM)
            assert flow.worker.wait().code == 0
        finally:
            if flow.worker.process.poll() is None:
                flow.worker.kill()
                flow.worker.wait()
        came, done = handler.bodies(), handler.bodies("done")
        assert set(done) == set(flow.bodies), "each was handled"
        assert len(sqs.state(flow.name)["deleted"]) == messages and sqs.left("dead" + ".fifo" * fifo) == {}
        assert len(came) - messages <= flow.repeated, (len(came), flow.repeated)
        print(json.dumps({"kills": kills, "twice": len(came) - messages, "allowed": flow.repeated}))
        if fifo:
            for group in range(flow.groups):
                of_group = [body for body in came if int(body) % flow.groups == group]
                in_order = [body for at, body in enumerate(of_group) if at == 0 or of_group[at - 1] != body]
                assert in_order == flow.bodies[group :: flow.groups], group
