"""An application that is given messages: it keeps what it was asked, and answers as a test says.

    with Consumer() as consumer:
        consumer.answer = lambda request: (500, {}) if request.count < 3 else (200, {})
        …
        assert consumer.bodies() == ["1", "1", "1"]

An answer may be a function that gets the request and returns status and headers, after any time. `None` closes the
connection without one.
"""

import http.server
import threading
import time
from collections import Counter
from dataclasses import dataclass

from harness import wire


@dataclass
class Asked:
    at: float
    path: str
    headers: dict[str, str]
    body: bytes
    peer: str
    # How often this body came, this time included.
    count: int
    ended: float | None = None

    @property
    def text(self) -> str:
        return self.body.decode()


class Consumer:
    def __init__(self, port: int = 0):
        self.requests: list[Asked] = []
        self.lock = threading.Lock()
        self.counts: Counter = Counter()
        self.running = self.most = 0
        self.answer = lambda _: (200, {})
        self.port = port
        self.server = None

    def __enter__(self) -> "Consumer":
        self.begin()
        return self

    def __exit__(self, *_) -> None:
        self.end()

    def begin(self) -> None:
        consumer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                consumer.handle(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        if not self.port:
            listener = wire.bound()
            self.port = listener.getsockname()[1]
            listener.close()
        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def end(self) -> None:
        """From here on connections are refused."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def handle(self, handler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        with self.lock:
            self.counts[body] += 1
            headers = {name.lower(): value for name, value in handler.headers.items()}
            asked = Asked(time.monotonic(), handler.path, headers, body, handler.client_address[0], self.counts[body])
            self.requests.append(asked)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            answered = self.answer(asked)
        finally:
            with self.lock:
                self.running -= 1
        handler.close_connection = True
        if answered is None:
            return
        status, more = answered
        try:
            handler.send_response(status)
            for name, value in more.items():
                handler.send_header(name, value)
            if status != 204:
                handler.send_header("Content-Length", "0")
            handler.end_headers()
            asked.ended = time.monotonic()
        except OSError:
            pass

    def bodies(self) -> list[str]:
        with self.lock:
            return [asked.text for asked in self.requests]
