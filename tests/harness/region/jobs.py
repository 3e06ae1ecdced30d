"""What workers do: jobs that are sent as messages to a queue, and what each has come to, as the application of
tests/documents/fleet posts it.

    with Results(region) as results:
        sent = Sent(region, "shop-jobs", results)
        sent.send(30, seconds=1)
        sent.all_done()
"""

import http.server
import json
import threading

from harness import wire


class Results:
    """What jobs have done."""

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

        class Server(http.server.ThreadingHTTPServer):
            # Many jobs end at the same moment.
            request_queue_size = 256

        self.server = Server(("", 0), Handler, bind_and_activate=False)
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


class Sent:
    """The messages that a worker environment, a stack, was sent."""

    def __init__(self, region, stack: str, results: Results):
        self.region, self.results, self.count = region, results, 0
        self.sqs = region.client("sqs")
        (found,) = region.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}
        self.queue, self.dead = outputs["Queue"], outputs["DeadLetters"]

    def send(self, count: int, seconds: float) -> None:
        for _ in range(count):
            self.count += 1
            body = json.dumps({"id": self.count, "seconds": seconds})
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    def left(self, url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def all_done(self) -> None:
        """Each message was handled, once: one that was handled when its visibility was over would have come a second time."""
        self.region.poll(lambda: self.left(self.queue) == 0, "an empty queue")
        assert self.results.ids() == list(range(1, self.count + 1)), self.region.told()
        assert self.left(self.dead) == 0
