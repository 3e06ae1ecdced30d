"""A load balancer with health checks and draining: ``python3 balancing.py PORT STATE TARGET…``, each target ``NAME=HOST:PORT``.

What it imitates of an Application Load Balancer, and where its user guide says so: a request goes to a healthy target, in turns,
over connections that are kept alive; none is sent a second time. A target is healthy, or unhealthy, once so many checks in a
row say so ("Target group health checks"). One that is deregistered gets no new request; it is `draining` until the delay is
over and `unused` after that, and what it has not answered by then is cut off ("Deregistration delay"). A file
``STATE.deregister`` that holds its name deregisters a target. STATE has the state of each target, as JSON.

Standard library only, so that it also runs in a container's bare Python.
"""

import argparse
import asyncio
import collections
import itertools
import json
import os
from pathlib import Path

# Seconds. Health checks are those of a small interval; the other two are ALB's, a tenth of them.
INTERVAL, TIMEOUT, THRESHOLD = 1.0, 0.8, 2
DELAY, IDLE = 15.0, 6.0


class Target:
    def __init__(self, name: str, at: str):
        self.name, (self.host, self.port) = name, at.split(":")
        self.state, self.row = "initial", 0
        self.idle: list = []
        self.in_flight: set[asyncio.Task] = set()
        self.counts = collections.Counter()

    async def connect(self):
        """A kept connection, unless the target has closed it or it was idle for too long."""
        now = asyncio.get_running_loop().time()
        while self.idle:
            reader, writer, since = self.idle.pop()
            if now - since < IDLE and not reader.at_eof():
                return reader, writer
            writer.close()
        self.counts["connections"] += 1
        return await asyncio.open_connection(self.host, int(self.port))

    def keep(self, reader, writer) -> None:
        self.idle.append((reader, writer, asyncio.get_running_loop().time()))

    def tidy(self) -> None:
        now = asyncio.get_running_loop().time()
        for kept in [kept for kept in self.idle if now - kept[2] >= IDLE]:
            self.idle.remove(kept)
            kept[1].close()

    async def check(self, path: str) -> None:
        good = False
        try:
            good = await asyncio.wait_for(self.probe(path), TIMEOUT)
        except (OSError, ValueError, IndexError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            pass
        wanted = "healthy" if good else "unhealthy"
        self.row = self.row + 1 if self.state != wanted else 0
        if self.row >= THRESHOLD and self.state in ("initial", "healthy", "unhealthy"):
            self.state, self.row = wanted, 0

    async def probe(self, path: str) -> bool:
        reader, writer = await asyncio.open_connection(self.host, int(self.port))
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: ELB-HealthChecker/2.0\r\nConnection: close\r\n\r\n".encode())
            return (await reader.readline()).split()[1] == b"200"
        finally:
            writer.close()


class Balancer:
    def __init__(self, targets: list[Target], state: Path, path: str):
        self.targets, self.state, self.path = targets, state, path
        self.turns = itertools.count()

    def choose(self) -> Target | None:
        # Where none is healthy, all are taken.
        able = [target for target in self.targets if target.state == "healthy"]
        able = able or [target for target in self.targets if target.state == "unhealthy"]
        return able[next(self.turns) % len(able)] if able else None

    async def serve(self, reader, writer) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(length(head))
                target = self.choose()
                answer = await self.forward(target, head, body) if target else b""
                writer.write(answer or b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                if not answer or b"connection: close" in head.lower():
                    return
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def forward(self, target: Target, head: bytes, body: bytes) -> bytes:
        """The answer; nothing where there is none."""
        target.counts["requests"] += 1
        task = asyncio.ensure_future(self.exchange(target, without_close(head) + body))
        target.in_flight.add(task)
        try:
            return await task
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError) as why:
            target.counts[f"lost: {why!r}"] += 1
            return b""
        finally:
            target.in_flight.discard(task)

    async def exchange(self, target: Target, request: bytes) -> bytes:
        reader, writer = await target.connect()
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(length(head))
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in head.lower() or target.state not in ("healthy", "unhealthy"):
            writer.close()
        else:
            target.keep(reader, writer)
        return without_close(head) + body

    async def watch(self) -> None:
        """Health checks, and what was deregistered."""
        asked = self.state.with_suffix(".deregister")
        while True:
            await asyncio.gather(*(target.check(self.path) for target in self.targets if target.state not in ("draining", "unused")))
            for target in self.targets:
                target.tidy()
                if asked.exists() and asked.read_text().strip() == target.name and target.state not in ("draining", "unused"):
                    target.state = "draining"
                    asyncio.ensure_future(self.drain(target))
            self.write()
            await asyncio.sleep(INTERVAL)

    async def drain(self, target: Target) -> None:
        await asyncio.sleep(DELAY)
        target.state = "unused"
        for task in list(target.in_flight):
            task.cancel()
        for _, writer, _ in target.idle:
            writer.close()
        target.idle.clear()

    def write(self) -> None:
        states = {target.name: {"state": target.state, **target.counts} for target in self.targets}
        staged = self.state.with_suffix(".new")
        staged.write_text(json.dumps(states))
        os.replace(staged, self.state)


def length(head: bytes) -> int:
    lines = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lines[0].split(b":")[1]) if lines else 0


def without_close(head: bytes) -> bytes:
    """A client's connection is its own affair."""
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:"))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("state", type=Path)
    parser.add_argument("target", nargs="+")
    parser.add_argument("--path", default="/health")
    asked = parser.parse_args()
    balancer = Balancer([Target(*target.split("=")) for target in asked.target], asked.state, asked.path)
    server = await asyncio.start_server(balancer.serve, "127.0.0.1", asked.port, limit=1 << 20)
    async with server:
        await balancer.watch()


if __name__ == "__main__":
    asyncio.run(main())
