"""Load balancers as a program of its own: HTTP/1.1 and WebSockets, by the routes that it is told on stdin.

    {"routes": {"ADDRESS:PORT": [{"if": [CONDITION…], "then": ACTION}…]}}    replaces all
    {"busy": "ADDRESS:PORT"}                                                 how many requests a target has
    {"cut": "ADDRESS:PORT"}                                                  closes what is open to it
    {"counts": true}                                                         by address, what CloudWatch counts

ACTION is what a redirect or a fixed response is configured with, or

    {"forward": [{"group": NAME, "weight": 1, "targets": ["ADDRESS:PORT"…], "sticky": SECONDS}…], "sticky": SECONDS}

The first rule that fits counts. Each line is answered by one of JSON. What it imitates of an Application Load Balancer:
<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html> (503 without a
target; 502 for one that refuses the connection, ends it with a request on it, or has not answered by the end of its
deregistration delay; 504 for one that takes too long) and
<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/introduction.html> (round robin). Nothing is tried
again. Connections to targets are kept for the idle timeout, so a target that ends its own earlier may fail a request:
<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#connection-idle-timeout>.
What is counted (a request counts once a target is chosen for it; 5xx of targets and of the balancer apart):
<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>.

Stickiness is by cookies of the load balancer, AWSALBTG for the target group of an action and AWSALB for the target within a
group: a client that brings one is led to what it names as long as it is valid, whatever the weights are; a target that is
not there any more is replaced by another one:
<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html>,
<https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html>. Not documented, and so here: a
cookie is valid from the answer that set it and is not renewed; a group without targets answers 503, also to who has its
cookie (as users tell). Cookies are not encrypted here, and answers to WebSockets set none.
"""

import asyncio
import collections
import fnmatch
import ipaddress
import itertools
import json
import random
import sys
import time
from urllib.parse import quote, unquote

# Seconds: the connection timeout, and the default of the idle timeout.
CONNECT, IDLE = 10, 60

# Cookies.
OF_GROUP, OF_TARGET = "AWSALBTG", "AWSALB"

# Metrics.
REQUESTS, OF_TARGETS, OWN = "RequestCount", "HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"


class Refused(Exception):
    """A target does not answer: the balancer does, with this status."""

    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


class Failed(Exception):
    """A target has answered with a status of 5xx, which was passed on."""


class Backend:
    """One target."""

    def __init__(self, name: str):
        self.name = name
        self.host, _, port = name.rpartition(":")
        self.port = int(port)
        self.busy = 0
        self.idle: list = []
        self.open: set = set()

    async def connect(self):
        """A connection that was kept, or a new one."""
        now = asyncio.get_running_loop().time()
        while self.idle:
            reader, writer, since = self.idle.pop()
            if now - since < IDLE and not reader.at_eof() and not writer.is_closing():
                return reader, writer
            self.close(writer)
        reader, writer = await asyncio.wait_for(asyncio.open_connection(self.host, self.port), CONNECT)
        self.open.add(writer)
        return reader, writer

    def keep(self, reader, writer) -> None:
        self.idle.append((reader, writer, asyncio.get_running_loop().time()))

    def close(self, writer) -> None:
        self.open.discard(writer)
        writer.close()

    def cut(self) -> None:
        for writer in list(self.open):
            writer.transport.abort()
        self.open.clear()
        self.idle.clear()


class Balancers:
    def __init__(self):
        self.routes: dict[str, list] = {}
        self.servers: dict = {}
        self.backends: dict[str, Backend] = {}
        self.turn = itertools.count()
        # By address, since the beginning.
        self.counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)

    async def told(self, line: str):
        message = json.loads(line)
        if "busy" in message:
            return self.backend(message["busy"]).busy
        if "cut" in message:
            return self.backend(message["cut"]).cut()
        if "counts" in message:
            return self.counts
        self.routes = message["routes"]
        for name in self.servers.keys() - self.routes.keys():
            self.servers.pop(name).close()
        for name in self.routes.keys() - self.servers.keys():
            host, _, port = name.rpartition(":")
            self.servers[name] = await asyncio.start_server(
                lambda reader, writer, name=name: self.client(name, reader, writer), host, int(port), backlog=1024
            )
        return None

    def backend(self, name: str) -> Backend:
        return self.backends.setdefault(name, Backend(name))

    # Requests.

    async def client(self, name: str, reader, writer) -> None:
        try:
            while (head := await read_head(reader)) and await self.request(name, head, reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, ValueError, IndexError):
            pass
        finally:
            writer.close()

    async def request(self, name: str, head, reader, writer) -> bool:
        """Answers one request. Whether another may follow on this connection."""
        lines, headers = head
        body = await read_body(reader, headers)
        keep = headers.get("connection", "").lower() != "close" and not lines[0].endswith("1.0")
        action = self.choose(name, lines[0], headers, writer.get_extra_info("peername")[0])
        if "forward" not in action:
            writer.write(plain(action, headers, keep))
            return keep
        (target, cookies), counts = self.target(action, headers), self.counts[name.rpartition(":")[0]]
        if target is None:
            writer.write(refusal(503, keep))
            counts[OWN] += 1
            return keep
        counts[REQUESTS] += 1
        target.busy += 1
        try:
            return await self.pass_on(target, (lines, headers, body, cookies), (reader, writer), keep)
        except Refused as why:
            writer.write(refusal(why.status, keep))
            counts[OWN] += 1
            return keep
        except Failed:
            counts[OF_TARGETS] += 1
            return keep
        finally:
            target.busy -= 1

    async def pass_on(self, target, asked, client, keep: bool) -> bool:
        """Has a target answer."""
        try:
            reader, writer = await target.connect()
        # A connection that takes too long is one of Python's OSErrors, too.
        except OSError as error:
            raise Refused(504 if isinstance(error, TimeoutError) else 502) from error
        try:
            if asked[1].get("upgrade", "").lower() == "websocket":
                return await tunnel(asked[0], client, (reader, writer))
            return await self.forward(target, asked, (reader, writer), client[1], keep)
        finally:
            if writer not in [kept for _, kept, _ in target.idle]:
                target.close(writer)

    async def forward(self, target, asked, connection, client, keep: bool) -> bool:
        lines, headers, body, cookies = asked
        reader, writer = connection
        try:
            passed = [
                line
                for line in lines
                if not line.lower().startswith(("connection:", "transfer-encoding:", "content-length:"))
            ]
            if body or "content-length" in headers or "transfer-encoding" in headers:
                passed.append(f"Content-Length: {len(body)}")
            writer.write(joined(passed) + body)
            answer, said = await asyncio.wait_for(read_head(reader), IDLE) or fail()
            empty = lines[0].startswith("HEAD ") or answer[0].split()[1] in ("204", "304")
            content = b"" if empty else await asyncio.wait_for(read_body(reader, said, until_end=True), IDLE)
        except asyncio.TimeoutError as error:
            raise Refused(504) from error
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise Refused(502) from error
        lasting = "content-length" in said or "transfer-encoding" in said or empty
        if lasting and said.get("connection", "").lower() != "close":
            target.keep(reader, writer)
        kept = [
            line
            for line in answer
            if not line.lower().startswith(("connection:", "keep-alive:", "transfer-encoding:", "content-length:"))
        ]
        length = said.get("content-length", "0") if empty else str(len(content))
        client.write(
            joined([*kept, *cookies, f"Content-Length: {length}", f"Connection: {'keep-alive' if keep else 'close'}"])
            + content
        )
        await client.drain()
        if answer[0].split()[1].startswith("5"):
            raise Failed
        return keep

    # Rules.

    def choose(self, name: str, line: str, headers: dict, client: str) -> dict:
        for rule in self.routes.get(name, []):
            if all(holds(condition, line, headers, client) for condition in rule["if"]):
                return rule["then"]
        return {"forward": []}

    def target(self, action: dict, headers: dict) -> tuple[Backend | None, list[str]]:
        """By cookie, or by weight among groups and one after the other within a group; and the cookies that are set."""
        groups, brought, cookies = action["forward"], cookies_of(headers), []
        group = next((one for one in groups if action.get("sticky") and one["group"] == brought.get(OF_GROUP)), None)
        if group is None:
            weights = [one["weight"] for one in groups]
            if not sum(weights):
                return None, []
            (group,) = random.choices(groups, weights)
            cookies += cookie(OF_GROUP, group["group"], action.get("sticky"))
        members = group["targets"]
        if not members:
            return None, []
        member = brought.get(OF_TARGET) if group["sticky"] else None
        if member not in members:
            member = members[next(self.turn) % len(members)]
            cookies += cookie(OF_TARGET, member, group["sticky"])
        return self.backend(member), cookies


def cookie(name: str, value: str, seconds: float | None) -> list[str]:
    """The line that sets it, if there is stickiness."""
    return [f"Set-Cookie: {name}={quote(value, safe='')}~{time.time() + seconds:.3f}; Path=/"] if seconds else []


def cookies_of(headers: dict) -> dict[str, str]:
    """The load balancer's own that are valid."""
    found = {}
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name in (OF_GROUP, OF_TARGET):
            what, _, until = value.partition("~")
            if time.time() < float(until):
                found[name] = unquote(what)
    return found


def holds(condition: dict, line: str, headers: dict, client: str) -> bool:
    field = condition.get("Field")
    if field == "source-ip":
        ranges = condition["SourceIpConfig"]["Values"]
        return any(ipaddress.ip_address(client) in ipaddress.ip_network(one, strict=False) for one in ranges)
    if field == "host-header":
        return matches(headers.get("host", "").partition(":")[0], condition.get("HostHeaderConfig", condition))
    if field == "path-pattern":
        return matches(line.split()[1].partition("?")[0], condition.get("PathPatternConfig", condition))
    if field == "http-header":
        config = condition["HttpHeaderConfig"]
        return matches(headers.get(config["HttpHeaderName"].lower(), ""), config)
    return False


def matches(text: str, config: dict) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in config.get("Values", []))


def plain(action: dict, headers: dict, keep: bool) -> bytes:
    """The answer of a redirect or a fixed response."""
    if fixed := action.get("FixedResponseConfig"):
        text = fixed.get("MessageBody", "").encode()
        return answered(int(fixed["StatusCode"]), keep, text)
    redirect = action.get("RedirectConfig", {})
    host = redirect.get("Host", "#{host}").replace("#{host}", headers.get("host", "").partition(":")[0])
    where = f"{redirect.get('Protocol', 'HTTP').lower()}://{host}:{redirect.get('Port', '80')}/"
    return answered(int(redirect.get("StatusCode", "HTTP_302").removeprefix("HTTP_")), keep, b"", f"Location: {where}")


def answered(status: int, keep: bool, text: bytes, *more: str) -> bytes:
    connection = f"Connection: {'keep-alive' if keep else 'close'}"
    return (
        joined([f"HTTP/1.1 {status} {status}", "Server: awselb/2.0", f"Content-Length: {len(text)}", connection, *more])
        + text
    )


def refusal(status: int, keep: bool) -> bytes:
    return answered(status, keep, b"")


def joined(lines: list[str]) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def fail():
    raise ValueError("no answer")


async def tunnel(lines: list[str], client, target) -> bool:
    """A WebSocket: all that either side writes, until one ends it."""
    target[1].write(joined(lines))

    async def pipe(reader, writer) -> None:
        try:
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            if writer.can_write_eof() and not writer.is_closing():
                writer.write_eof()

    await asyncio.gather(pipe(client[0], target[1]), pipe(target[0], client[1]))
    return False


async def read_head(reader):
    """Lines, and headers by names in lower case; None at the end of the connection."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    lines = raw[:-4].decode("latin-1").split("\r\n")
    return lines, {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
    }


async def read_body(reader, headers: dict, until_end: bool = False) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
        return body
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read() if until_end else b""


async def main() -> None:
    balancers = Balancers()
    told = asyncio.StreamReader(limit=1 << 22)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    while line := await told.readline():
        print(json.dumps(await balancers.told(line.decode())), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
