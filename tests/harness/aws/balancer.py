"""A load balancer in front of an old and a new instance, and the engines that it works with: a stand-in.

    with Balancer(aws, old=…, new=…) as balancer:      # ports of servers
        agent.boot(…)                                  # the new instance, which a hook and a stack wait for
        balancer.settle()
        assert balancer.lost == 0

What it imitates, and where that is written: a target is registered once the launch hook is completed with CONTINUE (Auto
Scaling's user guide, "Lifecycle hook availability"); it is `initial`, and gets no request, until so many health checks in a
row were good (ELB's user guide, "Target health status"); the old group goes away at the last SUCCESS (CloudFormation's
AutoScalingReplacingUpdate); without a healthy target the answer is 503. A request that was sent and not answered by 200 is
lost; the client never sends one again.
"""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.agent import PATIENCE



INTERVAL, THRESHOLD, CLIENTS = 0.1, 8, 4


class Application(BaseHTTPRequestHandler):
    """Answers with 200."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_) -> None:
        pass


def application() -> ThreadingHTTPServer:
    """A server on a port of its own, until it is shut down."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Balancer:
    def __init__(self, aws, group: str, old: int, new: int):
        self.aws, self.group = aws, group
        self.targets = {"old": old}
        self.new, self.good = new, 0
        self.sent = self.lost = 0
        self.over = threading.Event()
        self.counting = threading.Lock()

    def __enter__(self) -> "Balancer":
        self.aws.target_group(self.group)
        self.threads = [threading.Thread(target=self.engine)]
        self.threads += [threading.Thread(target=self.client) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def client(self) -> None:
        while not self.over.is_set():
            served = any(answers(port) for port in list(self.targets.values())[:1])
            with self.counting:
                self.sent += 1
                self.lost += not served
            time.sleep(0.005)

    def engine(self) -> None:
        """Auto Scaling, the health checks, and CloudFormation, again and again."""
        while not self.over.is_set():
            told = self.aws.told()
            if any(action["result"] == "CONTINUE" for action in told["actions"]) and self.good < THRESHOLD:
                self.good = self.good + 1 if answers(self.new) else 0
                state = ("healthy", "") if self.good == THRESHOLD else ("initial", "Elb.RegistrationInProgress")
                self.aws.target(self.group, *state)
                if state[0] == "healthy":
                    self.targets = {**self.targets, "new": self.new}
            if any(signal["Status"] == "SUCCESS" for signal in told["signals"]):
                self.targets = {name: port for name, port in self.targets.items() if name != "old"}
            time.sleep(INTERVAL)

    def settle(self) -> None:
        """Waits until only the new instance serves, and a little more."""
        end = time.monotonic() + PATIENCE
        while list(self.targets) != ["new"] and time.monotonic() < end:
            time.sleep(INTERVAL)
        assert list(self.targets) == ["new"], self.targets
        sent = self.sent
        while self.sent < sent + 50:
            time.sleep(INTERVAL)
