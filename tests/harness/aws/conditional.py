"""An S3 on loopback that writes on conditions, for hundreds of clients at once, each of which can be cut off.

with ConditionalStore(Random(7), trouble=0.02) as s3:
    door = s3.door()                          # one client's way to it
    run(env=door.env)
    door.cut = "silent"
    assert [write.content["holder"] for write in s3.writes["bucket/key"]] == ["i-1"]

It is a stand-in, in this process. What of S3 it imitates:

- PutObject with `If-None-Match: *` or `If-Match`: 412 PreconditionFailed if there is an object, or another one; 404 NoSuchKey
  if there is none to match; 409 ConditionalRequestConflict on a bad day.
  <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
- Who reads after a write finds what was written.
  <https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel>
- GetObject and HeadObject with `ETag`, the MD5 of the content in quotation marks, and `Last-Modified`, in whole seconds of the
  clock that `Date` is of. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>,
  <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>
- 403 AccessDenied for who does not sign, and errors in XML.
  <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

Every bucket is there, and is addressed by path. Signatures are not verified; versions, ranges, lists and deletion are not there.
"""

import asyncio
import hashlib
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from random import Random
from urllib.parse import unquote
from xml.sax.saxutils import escape

from harness import wire

# How a client is cut off: nothing is heard of it any more; the first write is carried out, at once or late, and nobody
# hears of that; or each request ends in a RST.
CUTS = ("silent", "unheard", "late", "reset")

# What happens on a bad day: refusals, by their status, and an answer that is lost.
REFUSALS = {"SlowDown": 503, "InternalError": 500, "ConditionalRequestConflict": 409}
LOST = "lost"


@dataclass
class Write:
    """A write that was carried out."""

    # By the clock of this machine that goes on while it is suspended, and by that of the store.
    at: float
    modified: int
    body: bytes

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body).hexdigest()}"'

    @property
    def content(self) -> dict:
        return json.loads(self.body)


@dataclass
class Door:
    """One client's way to the store."""

    port: int
    # One of `CUTS`, and how many seconds late a late write is.
    cut: str | None = None
    late: float = 0
    was_written_unheard: bool = False
    was_in_trouble: bool = False
    server: asyncio.Server | None = None

    @property
    def env(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.port}"}


class ConditionalStore:
    def __init__(self, draw: Random, trouble: float = 0):
        """`trouble`: which share of requests goes wrong on a bad day."""
        self.draw, self.trouble = draw, trouble
        # Every write of each object, by `BUCKET/KEY`.
        self.writes: dict[str, list[Write]] = defaultdict(list)
        # How many seconds the clock of a bucket is ahead of this machine's.
        self.ahead: dict[str, float] = {}
        self.requests = 0

    def __enter__(self) -> "ConditionalStore":
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.do(self.end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def door(self) -> Door:
        listener = wire.bound()
        door = Door(listener.getsockname()[1])
        door.server = self.do(wire.serve(listener, partial(self.handle, door)))
        return door

    def close(self, door: Door) -> None:
        """From here on nobody is there."""
        self.loop.call_soon_threadsafe(door.server.close)

    async def handle(self, door: Door, request: wire.Request, writer) -> bool:
        self.requests += 1
        if door.cut:
            return await self.cut_off(door, request, writer)
        match self.goes_wrong(door, request):
            case None:
                response = self.answer(request)
            case "lost":
                self.answer(request)
                wire.reset(writer)
                return False
            case code:
                response = self.refusal(REFUSALS[code], code, "On another day it would have been done.")
        bucket = request.path.split("/")[1]
        response.headers["Date"] = formatdate(self.now(bucket), usegmt=True)
        return await wire.send(writer, response, {}, request.method == "HEAD")

    async def cut_off(self, door: Door, request: wire.Request, writer) -> bool:
        if door.cut == "reset":
            wire.reset(writer)
            return False
        if door.cut in ("unheard", "late") and request.method == "PUT" and not door.was_written_unheard:
            door.was_written_unheard = True
            await asyncio.sleep(door.late if door.cut == "late" else 0)
            self.answer(request)
        await asyncio.sleep(3600)
        return False

    def goes_wrong(self, door: Door, request: wire.Request) -> str | None:
        """Never twice in a row for one client: nobody loses a claim by it."""
        door.was_in_trouble = not door.was_in_trouble and self.draw.random() < self.trouble
        if not door.was_in_trouble:
            return None
        return self.draw.choice([LOST, *(code for code in REFUSALS if request.method == "PUT" or REFUSALS[code] != 409)])

    def now(self, bucket: str) -> int:
        return int(time.time() + self.ahead.get(bucket, 0))

    def answer(self, request: wire.Request) -> wire.Response:
        name = unquote(request.path).lstrip("/")
        if "authorization" not in request.headers:
            return self.refusal(403, "AccessDenied", "Access Denied")
        written = self.writes[name][-1] if name in self.writes else None
        match request.method:
            case "GET" | "HEAD" if written is None:
                return self.missing()
            case "GET" | "HEAD":
                headers = {"ETag": written.etag, "Last-Modified": formatdate(written.modified, usegmt=True)}
                return wire.Response(200, written.body, headers, "application/json")
            case "PUT":
                return self.put(name, written, request)
            case method:
                return self.refusal(501, "NotImplemented", f"{method} is not here.")

    def put(self, name: str, written: Write | None, request: wire.Request) -> wire.Response:
        if match := request.headers.get("if-match"):
            if written is None:
                return self.missing()
            fails = match != written.etag
        else:
            fails = request.headers.get("if-none-match") == "*" and written is not None
        if fails:
            return self.refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        new = Write(time.clock_gettime(time.CLOCK_BOOTTIME), self.now(name.split("/")[0]), request.body)
        self.writes[name].append(new)
        return wire.Response(200, b"", {"ETag": new.etag})

    def missing(self) -> wire.Response:
        return self.refusal(404, "NoSuchKey", "The specified key does not exist.")

    def refusal(self, status: int, code: str, message: str) -> wire.Response:
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
        return wire.Response(status, body.encode(), {}, "application/xml")
