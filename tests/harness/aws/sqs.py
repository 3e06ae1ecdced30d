"""SQS on loopback: `sqs_server.py` in a process of its own, and words for what tests ask of it.

with Sqs() as sqs:
    url = sqs.make("jobs", dead="failed", after=5)
    sqs.send(url, "a", "b")
    sqs.fault("lost", operation="DeleteMessageBatch", times=1)
    run(env=sqs.env)
    sqs.advance(300)                                 # what a program that was killed had in hand shows again
    assert sqs.left("jobs") == {}

It is strict and fast, and can be scripted, where moto is none of the three; what it imitates is said in `sqs_queue.py`, and
what disturbs it in `sqs_server.py`.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from harness import wire
from harness.aws.sqs_queue import REGION

# AWS's own words, by what went wrong.
ERRORS = {
    "throttled": {"type": "RequestThrottled", "message": "The request was denied due to request throttling."},
    "denied": {
        "type": "AccessDenied",
        "message": "User: arn:aws:sts::123456789012:assumed-role/shop/i-0abc123def4567890 is not authorized to perform: "
        "sqs:{operation} on resource: arn:aws:sqs:eu-central-1:123456789012:jobs because no identity-based policy allows the "
        "sqs:{operation} action",
    },
    "gone": {"type": "QueueDoesNotExist", "message": "The specified queue does not exist."},
    "internal": {"type": "InternalError", "message": "We encountered an internal error. Please try again.", "status": 500},
    "unavailable": {"type": "ServiceUnavailable", "message": "Service Unavailable", "status": 503},
}


class Sqs:
    def __init__(self, *, plain: bool = False):
        """`plain`: no signature is checked, and no call kept."""
        self.plain = ["--plain"] if plain else []

    def __enter__(self) -> "Sqs":
        listener = wire.bound()
        self.port = listener.getsockname()[1]
        command = [sys.executable, str(Path(__file__).with_name("sqs_server.py")), "--fd", str(listener.fileno()), *self.plain]
        self.process = subprocess.Popen(command, pass_fds=[listener.fileno()], stdout=subprocess.PIPE, text=True)
        listener.close()
        self.direct = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"
        self.rules: dict = {"faults": []}
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    @property
    def env(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL_SQS": f"http://127.0.0.1:{self.port}"}

    def client(self, key: str = "AKIACALLER", secret: str = "s3cr3t", **more):
        """A boto3 client of the kind of the program under test: logged, checked and disturbed."""
        config = Config(retries={"max_attempts": 0})
        keys = {"aws_access_key_id": key, "aws_secret_access_key": secret}
        return boto3.client("sqs", region_name=REGION, endpoint_url=self.env["AWS_ENDPOINT_URL_SQS"], config=config, **keys, **more)

    def call(self, operation: str, **asked) -> dict:
        """A call past the front: neither signed, nor logged, nor disturbed."""
        return self.request("/", asked, method="POST", headers={"X-Amz-Target": f"AmazonSQS.{operation}"})

    def request(self, path: str, content: dict | None = None, *, method: str | None = None, headers: dict | None = None):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.direct + path, data, headers or {}, method=method or ("PUT" if data else "GET"))
        with urllib.request.urlopen(request) as reply:
            return json.loads(reply.read() or b"null")

    def make(self, name: str, *, dead: str | None = None, after: int = 5, **attributes: str) -> str:
        """A queue, with a dead-letter queue if it has a name. Its URL."""
        if name.endswith(".fifo"):
            attributes = {"FifoQueue": "true", **attributes}
        if dead:
            self.make(dead)
            policy = {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:123456789012:{dead}", "maxReceiveCount": str(after)}
            attributes["RedrivePolicy"] = json.dumps(policy)
        return self.call("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]

    def send(self, url: str, *bodies: str, groups: int = 1, said: dict[str, str] | None = None) -> None:
        """Messages of these bodies; those of a FIFO queue go to the groups in turn."""
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in (said or {}).items()}
        for begin in range(0, len(bodies), 10):
            entries = [
                {"Id": str(at), "MessageBody": body, "MessageAttributes": attributes} for at, body in enumerate(bodies[begin : begin + 10])
            ]
            if url.endswith(".fifo"):
                for at, entry in enumerate(entries, begin):
                    entry |= {"MessageGroupId": f"g{at % groups}", "MessageDeduplicationId": entry["MessageBody"]}
            self.call("SendMessageBatch", QueueUrl=url, Entries=entries)

    def fill(self, name: str, bodies: list[str]) -> None:
        """Messages that come all at once, to a standard queue."""
        self.request("/harness/fill", {"queue": name, "bodies": bodies})

    def state(self, name: str) -> dict:
        return self.request("/harness/state")[name]

    def left(self, name: str) -> dict[str, float]:
        """The bodies in a queue, and for how long each is hidden."""
        return self.state(name)["left"]

    def counts(self, name: str) -> dict:
        return self.request("/harness/counts")[name]

    def calls(self, operation: str | None = None) -> list[dict]:
        return [call for call in self.request("/harness/calls") if operation in (None, call["operation"])]

    def advance(self, seconds: float) -> None:
        """Sets the clock of the queues forward: what is hidden for no longer than that shows again."""
        self.request("/harness/advance", {"seconds": seconds})

    def fault(self, kind: str, **rule) -> None:
        """Adds a rule: a kind of `sqs_server.py`, or one of `ERRORS`."""
        if known := ERRORS.get(kind):
            action = rule.get("operation", "").removesuffix("Batch").lower()
            rule, kind = {**known, "message": known["message"].format(operation=action), **rule}, "error"
        self.rules["faults"].append({"kind": kind, **rule})
        self.request("/harness/rules", self.rules)

    def recover(self) -> None:
        """Takes all faults back."""
        self.set(faults=[])

    def set(self, **rules) -> None:
        """Sets `ahead`, `expired` or `in_flight`."""
        self.rules |= rules
        self.request("/harness/rules", self.rules)

    def reset(self) -> None:
        self.rules = {"faults": []}
        self.request("/harness/reset", {})
