"""A server on loopback that speaks HTTP wrongly on purpose, in every way of `MODES`.

    with Hostile({"/latest/user-data": b"#ingot…"}, "/latest/user-data", "endless body") as server:
        agent.boot(None, "--deadline", "6s", env={"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url})
        assert server.requests["/latest/user-data"] > 0

`answers` are what it says where it behaves: bytes by path, or by the action of AWS. It misbehaves where `at` is asked for.
Reads of IMDS have to carry the token that is the answer for `TOKEN`. A mode is called with the connection and the body of
the right answer, and says whether the connection goes on; `PACE` bounds what an endless one sends, so that the machine is
not the one that suffers.
"""

import gzip
import socket
import struct
import threading
import time
from collections import Counter
from urllib.parse import parse_qsl

GOES_ON = True
TOKEN = "/latest/api/token"
# Bytes in a second that an endless answer has at most, and the seconds after which even it ends.
PACE, FOR = 64 << 20, 60


class Connection:
    def __init__(self, raw: socket.socket, over: threading.Event):
        self.raw, self.over = raw, over
        self.asked: dict[str, str] = {}  # the headers of the request that is answered
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        self.raw.sendall(data)

    def answer(self, body: bytes, *headers: str, status: str = "200 OK", length: str | None = None) -> bool:
        self.send(head(status, *headers, f"Content-Length: {len(body) if length is None else length}") + body)
        return GOES_ON

    def hold(self, seconds: float = FOR) -> bool:
        """Says nothing until the other side has gone, or the test."""
        end = time.monotonic() + seconds
        self.raw.settimeout(0.2)
        while time.monotonic() < end and not self.over.is_set():
            try:
                if not self.raw.recv(1 << 16):
                    break
            except TimeoutError:
                pass
        self.raw.settimeout(None)
        return not GOES_ON

    def endless(self, piece: bytes, every: float | None = None) -> bool:
        """The same again and again, as fast as `PACE` allows or once `every` so many seconds."""
        end = time.monotonic() + FOR
        while time.monotonic() < end and not self.over.wait(len(piece) / PACE if every is None else every):
            self.send(piece)
        return not GOES_ON

    def reset(self) -> bool:
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return not GOES_ON


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Server: EC2ws", *headers, "", ""]).encode("latin-1", "surrogateescape")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = "Transfer-Encoding: chunked"
LARGE = b"#" * (1 << 16)


def after(prefix: bytes, then=lambda c: not GOES_ON):
    """These bytes, and then silence, an end, or more."""

    def mode(c: Connection, body: bytes) -> bool:
        c.send(prefix)
        return then(c)

    return mode


def with_body(make):
    """The bytes that `make(body)` gives, and the end of the connection."""

    def mode(c: Connection, body: bytes) -> bool:
        c.send(make(body))
        return not GOES_ON

    return mode


def status(line: str, *headers: str, body: bytes = b""):
    return lambda c, _: c.answer(body, *headers, status=line)


def body(content: bytes, *headers: str):
    return lambda c, _: c.answer(content, *headers)


def headers(*lines: str):
    return lambda c, right: c.answer(right, *lines)


def length(text: str, then=lambda c: not GOES_ON):
    def mode(c: Connection, right: bytes) -> bool:
        c.answer(right, length=text)
        return then(c)

    return mode


def dripped(every: float, step: int = 1):
    def mode(c: Connection, right: bytes) -> bool:
        whole = head("200 OK", f"Content-Length: {len(right)}") + right
        for start in range(0, len(whole), step):
            if c.over.wait(every):
                return not GOES_ON
            c.send(whole[start : start + step])
        return GOES_ON

    return mode


hold, reset, close = Connection.hold, Connection.reset, lambda c: not GOES_ON

# What passes for an answer, and what it says is whole: a boot ends well.
HARMLESS = {
    "a few bytes at a time": lambda c, b: dripped(0.001, (len(b) + 100) // 100)(c, b),
    "a drip that ends in time": lambda c, b: dripped(0.2, (len(b) + 100) // 10)(c, b),
    "HTTP/1.0 without a length": with_body(lambda b: b"HTTP/1.0 200 OK\r\n\r\n" + b),
    "bare line feeds": with_body(lambda b: b"HTTP/1.1 200 OK\nContent-Length: %d\n\n%s" % (len(b), b)),
    "no reason": with_body(lambda b: b"HTTP/1.1 200\r\nContent-Length: %d\r\n\r\n%s" % (len(b), b)),
    "chunks of one byte": with_body(lambda b: head("200 OK", CHUNKED) + b"".join(chunk(b"%c" % one) for one in b) + b"0\r\n\r\n"),
    "trailers": with_body(lambda b: head("200 OK", CHUNKED) + chunk(b) + b"0\r\nX-Evil: 1\r\nContent-Length: 3\r\n\r\n"),
    "closed after each answer": with_body(lambda b: head("200 OK", f"Content-Length: {len(b)}") + b),
    "Connection: close, and stays": lambda c, b: c.answer(b, "Connection: close") and c.hold(2),
    "a few 100 Continue first": lambda c, b: c.send(head("100 Continue") * 3) or c.answer(b),
    "103 first": lambda c, b: c.send(head("103 Early Hints", "Link: </x>")) or c.answer(b),
    "a header of Latin-1": headers("X-Evil: ä", "X-Raw: \xff\xfe"),
    "fifty headers": headers(*(f"X-{i}: {'v' * 100}" for i in range(50))),
    "a Date of nonsense": headers("Date: yesterday"),
    "a Date of long ago": headers("Date: Thu, 01 Jan 1970 00:00:00 GMT"),
    "a Date of long after": headers("Date: Fri, 31 Dec 9999 23:59:59 GMT"),
    "Set-Cookie, HSTS, Alt-Svc": headers("Set-Cookie: a=b", "Strict-Transport-Security: max-age=1", 'Alt-Svc: h2=":1"'),
    "the type of a picture": headers("Content-Type: image/png"),
    "two answers for one": lambda c, b: c.answer(b) and c.answer(b"#ingot\nversion: 1\ncommands: { evil: { run: ['false'] } }\n"),
}

# What is no answer at all, and does not become one: IMDS, or AWS, is out of reach.
SILENT = {
    "silence": lambda c, _: c.hold(),
    "closed at once": lambda c, _: close(c),
    "reset at once": lambda c, _: c.reset(),
    "half a status line, silence": after(b"HTTP/1.", hold),
    "half a status line, closed": after(b"HTTP/1.1 2"),
    "half of the headers, reset": after(b"HTTP/1.1 200 OK\r\nContent-Le", reset),
    "a status line in drips": dripped(2),
    "headers without an end": lambda c, _: c.send(b"HTTP/1.1 200 OK\r\n") or c.endless(b"X-Evil: 1\r\n" * 4096),
    "headers without an end, in drips": lambda c, _: c.send(b"HTTP/1.1 200 OK\r\n") or c.endless(b"X-Evil: 1\r\n", 0.3),
    "a header without an end": lambda c, _: c.send(b"HTTP/1.1 200 OK\r\nX-Evil: ") or c.endless(LARGE),
    "a thousand headers": headers(*(f"X-{i}: v" for i in range(1000))),
    "a body in drips": lambda c, b: c.send(head("200 OK", f"Content-Length: {len(b)}")) or c.endless(b[:1], 1.5),
    "a body without an end, in drips": lambda c, b: c.send(head("200 OK", CHUNKED)) or c.endless(chunk(b), 0.3),
    "a length of more, closed": lambda c, b: length(str(len(b) + 1))(c, b),
    "a length of more, silence": lambda c, b: length(str(len(b) + 1), hold)(c, b),
    "a length of more, reset": lambda c, b: length(str(len(b) + 1), reset)(c, b),
    "a length of 2^63-1": length(str((1 << 63) - 1)),
    "a length of 2^64": length(str(1 << 64), hold),
    "a length that is a word": length("many", hold),
    "a length below zero": length("-1", hold),
    "a length in hexadecimal": length("0x10", hold),
    "two lengths that differ": lambda c, b: c.answer(b, "Content-Length: 3") and c.hold(),
    "a chunk of 2^64": after(head("200 OK", CHUNKED) + b"10000000000000000\r\nabc", hold),
    "a chunk of no number": after(head("200 OK", CHUNKED) + b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk below zero": after(head("200 OK", CHUNKED) + b"-5\r\nabc\r\n0\r\n\r\n"),
    "no last chunk": with_body(lambda b: head("200 OK", CHUNKED) + chunk(b)),
    "no last chunk, silence": lambda c, b: c.send(head("200 OK", CHUNKED) + chunk(b)) or c.hold(),
    "a chunk extension without an end": lambda c, _: c.send(head("200 OK", CHUNKED) + b"5;") or c.endless(LARGE),
    "trailers without an end": lambda c, b: c.send(head("200 OK", CHUNKED) + chunk(b) + b"0\r\n") or c.endless(b"X-E: 1\r\n" * 4096),
    "100 Continue without an end": lambda c, _: c.endless(head("100 Continue") * 64, 0.002),
    "103 without an end": lambda c, _: c.endless(head("103 Early Hints", "Link: </x>") * 64, 0.002),
    "a body and no head": with_body(lambda b: b),
    "HTTP/2": after(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0\0\x05\0\xff\xff\xff", hold),
    "HTTP/9.9": after(b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "TLS": after(b"\x15\x03\x01\0\x02\x02\x28"),
    "SSH": after(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", hold),
    "zeros": after(bytes(1 << 16)),
    "noise": after(bytes(range(128, 256)) * 512),
    "noise without an end": lambda c, _: c.endless(bytes(range(128, 256)) * 512),
    "status 99": status("99 Low"),
    "status 1000": status("1000 High"),
    "a status that is a word": status("OK"),
    "a status below zero": status("-1 OK"),
    "a NUL in a header": headers("X-Evil: a\0b"),
    "the name of a header in Latin-1": headers("X-Gr\xfc\xdfe: v"),
    "a header without a name": headers(": v"),
    "a header without a colon": headers("evil"),
    "a folded header": headers("X-Evil: a", " b"),
    "429": status("429 Too Many Requests"),
    "500": status("500 Internal Server Error"),
    "502 of a proxy": status("502 Bad Gateway", "Content-Type: text/html", body=b"<html>Bad Gateway</html>"),
    "503, and never later": status("503 Service Unavailable", f"Retry-After: {10**18}"),
    "503, and later below zero": status("503 Service Unavailable", "Retry-After: -5"),
    "503, and later in words": status("503 Service Unavailable", "Retry-After: soon"),
    "504 with a body without an end": lambda c, _: c.send(head("504 Gateway Timeout", CHUNKED)) or c.endless(chunk(b"x"), 0.2),
    "599": status("599 Unknown"),
}

# An answer that is whole, and not this one.
WRONG_STATUS = [
    *("201 Created", "202 Accepted", "203 Non-Authoritative Information", "204 No Content", "205 Reset Content"),
    *("206 Partial Content", "226 IM Used", "300 Multiple Choices", "303 See Other", "304 Not Modified", "305 Use Proxy"),
    *("400 Bad Request", "401 Unauthorized", "402 Payment Required", "403 Forbidden", "405 Method Not Allowed"),
    *("407 Proxy Authentication Required", "408 Request Timeout", "410 Gone", "414 URI Too Long", "418 I'm a teapot"),
    *("431 Request Header Fields Too Large", "451 Unavailable For Legal Reasons", "499 Client Closed Request"),
]
REDIRECTS = ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
REFUSED = {
    **{line.lower(): status(line) for line in WRONG_STATUS},
    "101": after(head("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"), hold),
    "206 of another part": lambda c, b: c.answer(b[3:], "Content-Range: bytes 3-9/1000", status="206 Partial Content"),
    **{f"{line[:3]} to itself": status(line, "Location: /latest/user-data") for line in REDIRECTS},
    "302 to file:///": status("302 Found", "Location: file:///etc/shadow"),
    "302 without a place": status("302 Found"),
    "401 with a challenge": status("401 Unauthorized", 'WWW-Authenticate: Basic realm="evil"'),
}

# A body that is not what was asked for.
GARBAGE = {
    "empty": body(b""),
    "a blank": body(b" \n"),
    "a length of nothing": length("0", close),
    "a length of less": length("5", close),
    "both length and chunks": lambda c, b: c.send(head("200 OK", CHUNKED, "Content-Length: 3") + chunk(b"\0") + b"0\r\n\r\n"),
    "noise of 16 KiB": body(bytes(range(128, 256)) * 128),
    "zeros of 16 KiB": body(bytes(16384)),
    "a login page": body(b"<!DOCTYPE html><html><body>Please log in</body></html>", "Content-Type: text/html"),
    "null": body(b"null"),
    "an empty object": body(b"{}"),
    "an empty list": body(b"[]"),
    "a number": body(b"12345678901234567890123"),
    "a hundred thousand brackets": body(b"[" * 100_000),
    "a hundred thousand braces": body(b'{"a":' * 100_000),
    "UTF-16": lambda c, b: c.answer(b.decode().encode("utf-16")),
    "half of it, gzip by header": lambda c, b: c.answer(gzip.compress(b)[:20], "Content-Encoding: gzip"),
    "2 MiB": body(b"#" * (2 << 20)),
    "100 MiB": body(b"#" * (100 << 20)),
    "a body without an end": lambda c, _: c.send(head("200 OK")) or c.endless(LARGE),
    "chunks without an end": lambda c, _: c.send(head("200 OK", CHUNKED)) or c.endless(chunk(LARGE)),
}

KINDS = {"harmless": HARMLESS, "silent": SILENT, "refused": REFUSED, "garbage": GARBAGE}
MODES = {name: (kind, mode) for kind, modes in KINDS.items() for name, mode in modes.items()}


class Hostile:
    def __init__(self, answers: dict[str, bytes], at: str, mode):
        """`mode`: a name of `MODES`, or a function like one of them."""
        self.answers, self.at = answers, at
        self.mode = MODES[mode][1] if isinstance(mode, str) else mode
        self.requests: Counter[str] = Counter()
        self.over = threading.Event()
        self.open: set[socket.socket] = set()

    def __enter__(self) -> "Hostile":
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = "http://127.0.0.1:{}".format(self.listener.getsockname()[1])
        threading.Thread(target=self.listen, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for raw in list(self.open):
            raw.close()

    def listen(self) -> None:
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            self.open.add(raw)
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw: socket.socket) -> None:
        try:
            connection = Connection(raw, self.over)
            reader = raw.makefile("rb")
            while self.one(connection, reader):
                pass
        except (OSError, ValueError):
            pass
        finally:
            self.open.discard(raw)
            raw.close()

    def one(self, connection: Connection, reader) -> bool:
        """One request and its answer; whether there may be another."""
        first = reader.readline().decode("latin-1").split()
        if len(first) != 3:
            return False
        fields = dict(line.split(": ", 1) for line in iter(lambda: reader.readline().decode("latin-1").strip(), ""))
        fields = {name.lower(): value for name, value in fields.items()}
        form = dict(parse_qsl(reader.read(int(fields.get("content-length", 0))).decode("latin-1")))
        key = fields.get("x-amz-target", "").rpartition(".")[2] or form.get("Action") or first[1].partition("?")[0]
        self.requests[key] += 1
        right = self.answers.get(key)
        connection.asked = fields
        if key == self.at and first[0] != "HEAD":
            return self.mode(connection, right)
        token = fields.get("x-aws-ec2-metadata-token", "")
        if token and token.encode() != self.answers[TOKEN]:
            return connection.answer(b"", status="401 Unauthorized")
        if right is None:
            return connection.answer(b"", status="404 Not Found")
        return connection.answer(b"", length=str(len(right))) if first[0] == "HEAD" else connection.answer(right)
