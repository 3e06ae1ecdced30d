"""HTTP load that notices one lost request: ``python3 load.py HOST PORT RESULT [--websocket PATH]``.

Runs until SIGTERM (or for ``--duration`` seconds), lets every request in flight finish, and writes RESULT as JSON. A
request counts as sent with its first byte, and as lost unless its answer is complete and correct: nothing is retried.
Only the standard library is used, so that it also runs in a container's bare Python.

The application has to answer ``id=<X-Id> len=<bytes of the body> crc=<crc32 of the body> gen=<any word>``, after as
many seconds as ``X-Wait`` says, and to echo the text frames of a WebSocket: ``echo.py`` does.
"""

import argparse
import asyncio
import base64
import collections
import dataclasses
import hashlib
import json
import os
import random
import signal
import ssl
import struct
import time
import zlib

# Seconds until an answer that does not come counts as lost: longer than any that was asked for.
PATIENCE = 40.0
# The key's suffix of RFC 6455, section 1.3.
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of client; ``pause`` is the longest time between its requests, in seconds."""

    connections: int
    pause: float
    post: bool = False
    keep_alive: bool = True
    # Whether the application is asked to take as long as anything may.
    long: bool = False
    # Whether there is a pause between the two halves of the body.
    slow_body: bool = False
    # Whether each connection is a browser of its own, which brings the cookies back that it was given.
    session: bool = False


# About 1,000 requests a second: in every 10 ms a few are made, and the machine has time for what is tested.
KINDS = {
    "get": Kind(4, 0.02),
    "get-tight": Kind(1, 0.005),
    "get-new-connection": Kind(4, 0.08, keep_alive=False),
    "get-idle": Kind(6, 5.0),
    "get-long": Kind(3, 0.1, long=True),
    "post": Kind(4, 0.02, post=True),
    "post-idle": Kind(6, 5.0, post=True),
    "post-slow": Kind(4, 0.1, post=True, slow_body=True),
    "post-long": Kind(3, 0.1, post=True, long=True),
}
# With --sessions, besides those.
SESSIONS = {"session": Kind(8, 0.05, session=True), "session-long": Kind(2, 0.1, session=True, long=True)}


class Lost(Exception):
    """A request without a complete and correct answer."""


class Load:
    def __init__(self, host, port, longest, tls=None, websocket=None, sessions=False):
        self.host, self.port, self.longest, self.tls, self.websocket = host, port, longest, tls, websocket
        self.kinds = {**KINDS, **(SESSIONS if sessions else {})}
        self.stopping = asyncio.Event()
        self.counts = collections.defaultdict(collections.Counter)
        self.slowest = collections.defaultdict(float)
        self.generations = collections.Counter()
        # When the last request was made that a generation answered.
        self.last = {}
        self.losses = []
        self.last_lost = None

    async def run(self):
        clients = [self.client(name, kind, n) for name, kind in self.kinds.items() for n in range(kind.connections)]
        if self.websocket:
            clients.append(self.talk())
        await asyncio.gather(*clients)

    def result(self):
        total = sum(self.counts.values(), collections.Counter())
        return {
            "sent": total["sent"],
            "lost": total["lost"],
            "kinds": self.counts,
            "slowest": {kind: round(seconds, 3) for kind, seconds in self.slowest.items()},
            "generations": self.generations,
            "last": self.last,
            "losses": self.losses[:200],
            "last_lost": self.last_lost,
        }

    async def connect(self):
        return await asyncio.open_connection(self.host, self.port, ssl=self.tls)

    async def idle(self, seconds):
        """Waits, but not beyond the end of the test."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except asyncio.TimeoutError:
            pass

    async def client(self, name, kind, number):
        count, connection, request = self.counts[name], None, 0
        session = Session() if kind.session else None
        while not self.stopping.is_set():
            await self.idle(random.uniform(0, kind.pause))
            if self.stopping.is_set():
                break
            # What the server closed while nothing was asked loses nothing.
            if connection and connection[0].at_eof():
                connection[1].close()
                connection, count["closed while idle"] = None, count["closed while idle"] + 1
            request += 1
            count["sent"] += 1
            began = time.monotonic()
            fresh = connection is None
            try:
                connection = connection or await self.connect()
                close = await asyncio.wait_for(self.ask(f"{name}-{number}-{request}", kind, *connection, session), PATIENCE)
            except (Lost, OSError, ValueError, asyncio.IncompleteReadError, asyncio.TimeoutError) as why:
                self.lose(name, f"{'new' if fresh else 'kept-alive'} connection: {why!r}")
                close = True
            else:
                self.slowest[name] = max(self.slowest[name], time.monotonic() - began)
                if session:
                    count["moved"] = count["moved"] + session.moves()
            if close and connection:
                connection[1].close()
                connection = None
        if connection:
            connection[1].close()

    async def ask(self, request, kind, reader, writer, session=None):
        """One request; true if the connection ends with it."""
        asked = time.time()
        body = os.urandom(random.choice((10, 700, 9000, 70_000))) if kind.post else b""
        head = [f"{'POST' if kind.post else 'GET'} /x HTTP/1.1", f"Host: {self.host}", f"X-Id: {request}"]
        head += [f"X-Wait: {self.longest}"] if kind.long else []
        head += ["Content-Type: application/octet-stream", f"Content-Length: {len(body)}"] if kind.post else []
        head += [] if kind.keep_alive else ["Connection: close"]
        head += [f"Cookie: {'; '.join(session.cookies.values())}"] if session and session.cookies else []
        half = len(body) // 2 if kind.slow_body else len(body)
        writer.write("\r\n".join([*head, "", ""]).encode() + body[:half])
        await writer.drain()
        if kind.slow_body:
            await asyncio.sleep(random.uniform(0.1, 0.3) * self.longest)
            writer.write(body[half:])
        status, headers, answer = await read_answer(reader)
        if status != 200:
            raise Lost(f"status {status}")
        wanted, _, generation = answer.partition(b" gen=")
        if wanted != f"id={request} len={len(body)} crc={zlib.crc32(body)}".encode():
            raise Lost(f"another answer: {answer[:100]!r}")
        name = generation.strip().decode()
        if session:
            session.answered(name, headers.get("set-cookie", ""))
        self.generations[name] += 1
        self.last[name] = max(self.last.get(name, 0), asked)
        return headers.get("connection", "").lower() == "close" or not kind.keep_alive

    async def talk(self):
        """Sessions of a WebSocket, one after the other: every message is echoed, and each session ends in order."""
        while not self.stopping.is_set():
            self.counts["websocket"]["sent"] += 1
            try:
                reader, writer = await self.connect()
                await asyncio.wait_for(self.session(reader, writer), PATIENCE)
                writer.close()
            except (Lost, OSError, ValueError, asyncio.IncompleteReadError, asyncio.TimeoutError) as why:
                self.lose("websocket", repr(why))
            await self.idle(0.05)

    async def session(self, reader, writer):
        key = base64.b64encode(os.urandom(16))
        head = f"GET {self.websocket} HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(head.encode() + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n")
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        accept = b"sec-websocket-accept: " + base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()).lower()
        if b" 101 " not in lines[0] or accept not in [line.lower() for line in lines]:
            raise Lost(f"no WebSocket: {lines[0]!r}")
        end = time.monotonic() + random.uniform(0.2, 0.8) * self.longest
        while time.monotonic() < end and not self.stopping.is_set():
            text = os.urandom(8).hex().encode()
            self.counts["websocket"]["messages"] += 1
            writer.write(frame(1, text))
            if await read_frame(reader) != (1, text):
                raise Lost("another echo")
            await self.idle(random.uniform(0, 0.1))
        writer.write(frame(8, struct.pack("!H", 1000)))
        if (await read_frame(reader))[0] != 8:
            raise Lost("the end of the session is not confirmed")

    def lose(self, name, why):
        self.counts[name]["lost"] += 1
        self.last_lost = time.time()
        self.losses.append({"at": self.last_lost, "kind": name, "why": why})


class Session:
    """A browser: its cookies, and which generation answered."""

    def __init__(self):
        self.cookies, self.generations = {}, []

    def answered(self, generation, set_cookie):
        self.generations = [*self.generations[-1:], generation]
        for line in filter(None, set_cookie.split("\n")):
            pair = line.partition(";")[0].strip()
            self.cookies[pair.partition("=")[0]] = pair

    def moves(self):
        """1 if the last answer was of another generation than the one before."""
        return len(set(self.generations)) - 1 if self.generations else 0


async def read_answer(reader):
    """Status, headers by lower-case name, and body, which ends by its length, by chunks, or with the connection. Cookies are
    one header, a line each."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line)]
    headers = {**dict(pairs), "set-cookie": "\n".join(value for name, value in pairs if name == "set-cookie")}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read(-1)
    return int(head[0].split()[1]), headers, body


def frame(opcode, payload):
    """A client's frame: final, masked, under 126 bytes (RFC 6455, section 5.2)."""
    mask = os.urandom(4)
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


async def read_frame(reader):
    first, length = await reader.readexactly(2)
    return first & 0x0F, await reader.readexactly(length & 0x7F)


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("result")
    parser.add_argument("--longest", type=float, default=10, help="seconds that the slowest requests take")
    parser.add_argument("--duration", type=float, help="seconds; until SIGTERM without it")
    parser.add_argument("--websocket", metavar="PATH")
    parser.add_argument("--sessions", action="store_true", help="also clients that bring back cookies")
    parser.add_argument("--tls", action="store_true", help="https, whatever the certificate")
    asked = parser.parse_args()
    load = Load(
        asked.host,
        asked.port,
        asked.longest,
        ssl._create_unverified_context() if asked.tls else None,
        asked.websocket,
        asked.sessions,
    )
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, load.stopping.set)
    if asked.duration:
        loop.call_later(asked.duration, load.stopping.set)
    await load.run()
    with open(asked.result, "w") as result:
        json.dump(load.result(), result, indent=1)


if __name__ == "__main__":
    asyncio.run(main())
