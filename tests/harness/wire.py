"""HTTP/1.1 as the stand-ins speak it: whole requests in, whole responses out in one write, and faults on purpose.

asyncio sets TCP_NODELAY on every connection, and each response is one write: neither waits for a delayed ACK.
"""

import asyncio
import ctypes
import json
import os
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

CLONE_NEWNET = 0x40000000

REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip


@dataclass
class Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    peer: str
    at: float = field(default_factory=time.monotonic)


@dataclass
class Response:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "text/plain"
    # Of a body that is not sent: the answer to HEAD.
    length: int | None = None

    def encode(self, *, head: bool = False, claim: int | None = None) -> bytes:
        """The bytes of this response. `claim` is a Content-Length to claim instead of the true one."""
        length = len(self.body) if self.length is None else self.length
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Type: {self.content_type}", f"Content-Length: {length if claim is None else claim}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head else self.body)


class BadRequest(Exception):
    """Not HTTP as we understand it."""


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> Request | None:
    """The next request of a connection; `None` at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    at = time.monotonic()
    first, *rest = head.decode("latin-1").split("\r\n")
    try:
        method, target, _version = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in rest if line)}
    except ValueError as error:
        raise BadRequest(first) from error
    if headers.get("expect", "").lower() == "100-continue":
        # Who says so waits for a second.
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in headers.get("transfer-encoding", ""):
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, body, peer, at)


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with a RST, as a dying peer or a firewall does."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def is_gone(writer: asyncio.StreamWriter) -> bool:
    """Whether the other end of a connection has closed it, or has ended."""
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as peer:
        try:
            return peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


async def send(writer: asyncio.StreamWriter, response: Response, fault: dict, head: bool) -> bool:
    """Sends a response, harmed as `fault` says. Whether the connection may go on."""
    kind = fault.get("kind")
    if kind == "hang":
        await asyncio.sleep(fault.get("seconds", 3600))
        return False
    if kind == "reset":
        reset(writer)
        return False
    if kind == "truncate":
        # The length of the whole, half of the bytes, and the end of the connection.
        whole = len(response.body)
        response.body = response.body[: fault.get("bytes", whole // 2)]
        writer.write(response.encode(claim=max(whole, len(response.body) + 1)))
        await writer.drain()
        return False
    if kind == "trickle":
        content = response.encode(head=head)
        step = max(1, int(fault.get("bytes_per_second", 100) / 10))
        for start in range(0, len(content), step):
            writer.write(content[start : start + step])
            await writer.drain()
            await asyncio.sleep(0.1)
        return True
    writer.write(response.encode(head=head))
    await writer.drain()
    return True


class Faults:
    """Faults as a list of rules; the first rule that matches a request and is not used up applies.

    A rule is a dict: what it matches (each server says how), `after` (let so many matches pass), `times` (then apply
    so often; without it, always), and `kind` with its details:

        status    answer `status`, with `headers` and `body`
        delay     answer rightly after `seconds`
        hang      read the request and say nothing for `seconds` (an hour)
        reset     RST
        truncate  claim the whole length, send half of the body (or `bytes`), close
        trickle   `bytes_per_second`
    """

    def __init__(self, rules: list[dict], before: "Faults | None" = None):
        """`before`: the rules until now. A list that only grew goes on counting."""
        self.rules = rules
        self.seen = [0] * len(rules)
        if before and rules[: len(before.rules)] == before.rules:
            self.seen[: len(before.seen)] = before.seen

    def pick(self, matches) -> dict:
        for index, rule in enumerate(self.rules):
            if not matches(rule):
                continue
            self.seen[index] += 1
            first = rule.get("after", 0)
            if self.seen[index] <= first:
                continue
            if "times" in rule and self.seen[index] > first + rule["times"]:
                continue
            return rule
        return {}


class Log:
    """One JSON object a line, written at once: a reader sees every exchange that has ended."""

    def __init__(self, path: str | None):
        self.file = open(path, "a", buffering=1) if path else None

    def append(self, entry: dict) -> None:
        if self.file:
            self.file.write(json.dumps(entry) + "\n")


async def serve(listener: socket.socket, handle) -> asyncio.Server:
    """Serves HTTP on a bound socket. `handle(request, writer)` answers; false ends the connection."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[0]
        try:
            while request := await read_request(reader, writer, peer):
                if not await handle(request, writer):
                    break
        except BadRequest:
            writer.write(Response(400).encode())
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(connection, sock=listener, backlog=512)


def in_netns(netns: str | None, make) -> socket.socket:
    """The socket that `make()` makes, in this namespace.

    A socket belongs to the namespace it was made in, whoever holds it: servers stay outside, their ears are inside.
    """
    made: list[socket.socket | BaseException] = []

    def enter() -> None:
        try:
            if netns:
                with open(f"/run/netns/{netns}") as namespace:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), f"setns {netns}: {os.strerror(ctypes.get_errno())}")
            made.append(make())
        except OSError as error:
            made.append(error)

    # setns works on one thread only: this one is thrown away.
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]


def bound(
    address: str = "127.0.0.1", port: int = 0, netns: str | None = None, kind: int = socket.SOCK_STREAM
) -> socket.socket:
    """A bound socket that does not listen yet: who connects is refused. With `netns`, it lives in that namespace."""

    def make() -> socket.socket:
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        return listener

    return in_netns(netns, make)


def free_port() -> int:
    """A free port of loopback, for a server that binds it later. It is none of those that the kernel gives to connections
    (ip_local_port_range): one of them could have it by then."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first, 30_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def relayed(listener: socket.socket, port: int):
    """Leads whoever connects to a bound socket to a port of this machine's loopback. Returns what ends that."""
    listener.listen(128)

    def pipe(source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(1 << 16):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
            except OSError:
                return
            for ends in ((client, server), (server, client)):
                ends[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=pipe, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()

    def end() -> None:
        # A mere close does not wake who accepts.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    return end


def connected(address: str, port: int, netns: str, timeout: float) -> socket.socket:
    """A connection to somebody in a namespace."""
    return in_netns(netns, lambda: socket.create_connection((address, port), timeout))


def from_arguments(arguments) -> socket.socket:
    """The socket of a server program: `--fd`, made by the parent, or `--address` and `--port`."""
    if arguments.fd is not None:
        return socket.socket(fileno=arguments.fd)
    return bound(arguments.address, arguments.port)
