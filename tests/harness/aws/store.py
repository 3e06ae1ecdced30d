"""A store of objects on loopback: S3 by path, and a plain server; with ranges, with TLS, and with bad days.

with Store() as store:
    store.put("shop-releases/shop.tar.gz", content)
    store.fault = lambda request: {"cut": 1000} if request.number == 1 else None
    run(env=store.env)                                 # s3://shop-releases/shop.tar.gz
    assert store.requests[0].region == "eu-central-1"  # its signature has been checked

A fault is a dict: `cut` (close the connection after so many bytes of the body), `stall` (the same, but fall silent for so
many `seconds` first), `first` (send so many bytes of the body, and the rest once they were read), `status` with `body` and
`headers`, `whole` (take no notice of the range).
"""

import hashlib
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from harness.agent import until
from harness.tls import Authority

CHUNK = 1 << 18
ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}<RequestId>1</RequestId></Error>'


@dataclass
class Request:
    number: int
    method: str
    path: str
    headers: dict
    region: str | None = None
    signed: bool = False
    at: float = field(default_factory=time.monotonic)

    @property
    def range(self) -> tuple[int, int | None] | None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        return found and (int(found[1]), int(found[2]) if found[2] else None)


def unread(port: int, of: int) -> int:
    """How many bytes of a connection over IPv4 from `port` to `of` the process at its near end has not read yet."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if (int(local.split(":")[1], 16), int(remote.split(":")[1], 16)) == (port, of):
            return int(queues.split(":")[1], 16)
    return 0


def error(status: int, code: str, message: str = "", more: str = "", **headers: str) -> dict:
    """A refusal as S3 words it."""
    return {"status": status, "body": ERROR.format(code=code, message=message, more=more).encode(), "headers": headers}


class Store:
    def __init__(self, tls: Path | None = None, credentials: tuple[str, str, str] | None = None):
        """`tls`: a directory that gets `ca.pem`, to be trusted. `credentials`: those that signatures must be of."""
        self.tls, self.credentials = tls, credentials
        self.objects: dict[str, bytes | Path] = {}
        self.headers: dict[str, dict] = {}
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.fault = lambda request: None

    def put(self, name: str, content: bytes | Path, **headers: str) -> str:
        """Its digest."""
        self.objects[name] = content
        self.headers[name] = {key.replace("_", "-"): value for key, value in headers.items()}
        digest = hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()
        self.headers[name].setdefault("ETag", f'"{digest[:32]}"')
        return digest

    def __enter__(self) -> "Store":
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16

            def setup(self):
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                super().setup()

            def do_GET(self):
                store.answer(self)

            def do_HEAD(self):
                store.answer(self)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        if self.tls:
            authority = Authority()
            authority.write(self.tls / "ca.pem")
            self.server.socket = authority.context().wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        return {"AWS_CA_BUNDLE": str(self.tls / "ca.pem")} if self.tls else {"AWS_ENDPOINT_URL_S3": self.url}

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self.lock:
            request = Request(len(self.requests), handler.command, handler.path, headers)
            self.requests.append(request)
        if not self.tls:
            refusal = self.check(request)
        else:
            refusal = None
        fault = refusal or self.fault(request) or {}
        if "status" in fault:
            return self.send(handler, fault["status"], fault.get("body", b""), fault.get("headers", {}), {})
        name = handler.path.split("?")[0].lstrip("/")
        if name not in self.objects:
            fault = error(404, "NoSuchKey", "The specified key does not exist.")
            return self.send(handler, 404, fault["body"], {}, {})
        content, more = self.objects[name], dict(self.headers[name])
        length = len(content) if isinstance(content, bytes) else content.stat().st_size
        if "if-match" in headers and headers["if-match"] != more["ETag"]:
            return self.send(handler, 412, error(412, "PreconditionFailed")["body"], {}, {})
        if handler.command == "HEAD":
            return self.send(handler, 200, b"", more, {}, length=length)
        first, last = 0, length - 1
        if request.range and not fault.get("whole"):
            first, asked = request.range
            last = min(last, asked if asked is not None else last)
            if first > last:
                return self.send(handler, 416, b"", {"Content-Range": f"bytes */{length}"}, {})
            more["Content-Range"] = f"bytes {first}-{last}/{length}"
        self.send(handler, 206 if "Content-Range" in more else 200, (content, first, last), more, fault)

    def send(self, handler, status: int, body, headers: dict, fault: dict, length: int | None = None) -> None:
        content, first, last = body if isinstance(body, tuple) else (body, 0, len(body) - 1)
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(length if length is not None else last - first + 1))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        limit = fault.get("cut", fault.get("stall"))
        end = last + 1 if limit is None else min(last + 1, first + limit)
        file = None if isinstance(content, bytes) else content.open("rb")
        try:
            at = first
            while at < end:
                upto = min(at + (fault.get("first", CHUNK) if at == first else CHUNK), end)
                if file:
                    file.seek(at)
                handler.wfile.write(file.read(upto - at) if file else content[at:upto])
                if at == first and "first" in fault:
                    handler.wfile.flush()
                    until("the first bytes are read", lambda: unread(handler.client_address[1], self.port) == 0)
                at = upto
            handler.wfile.flush()
        except OSError:
            handler.close_connection = True
        finally:
            if file:
                file.close()
        if end < last + 1:
            time.sleep(fault.get("seconds", 0))
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)

    def check(self, request: Request) -> dict | None:
        """What S3 says of a signature."""
        header = request.headers.get("authorization", "")
        found = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request, SignedHeaders=(\S+), Signature=(\w+)", header)
        if not found:
            return error(403, "AccessDenied", "Access Denied")
        key, _, request.region, names, signature = found.groups()
        request.signed = True
        if not self.credentials:
            return None
        signed = {name: request.headers[name] for name in names.split(";")}
        assert signed["x-amz-content-sha256"] == hashlib.sha256(b"").hexdigest()
        auth = S3SigV4Auth(Credentials(*self.credentials), "s3", request.region)
        aws_request = AWSRequest(request.method, f"{self.url}{request.path}", headers=signed)
        aws_request.context["timestamp"] = request.headers["x-amz-date"]
        expected = auth.signature(auth.string_to_sign(aws_request, auth.canonical_request(aws_request)), aws_request)
        if (key, signature) != (self.credentials[0], expected):
            return error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        return None
