"""The region's endpoint: HTTP in front of moto and the engine, with the delays and faults of `harness.aws.proxy`.

Calls may be late, stale or lost, as `Delays` draws it. A lost one is carried out, and its connection ends without an
answer. Its log (`calls`) has each call with its operation.
"""

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from harness import wire
from harness.aws import proxy

from .delays import Delays

# Answers that may show what was true a moment ago.
MAY_BE_STALE = ("Describe", "List", "Get")


class Api(proxy.Moto):
    """moto, with the region's engine in it: several threads, one at a time."""

    # The harness's own EC2 and RDS are of tests without a region.
    ec2 = None

    def __init__(self, lock):
        super().__init__()
        self.lock = lock
        self.thread = ThreadPoolExecutor(16)

    def forget(self) -> None:
        pass

    def configure(self, rules: dict) -> None:
        pass

    def call(self, request: wire.Request) -> wire.Response:
        with self.lock:
            return super().call(request)


class Front(proxy.Front):
    def __init__(self, api: Api, delays: Delays):
        super().__init__(api)
        self.delays = delays
        self.answers: dict[tuple, tuple[float, wire.Response]] = {}

    async def answer(self, request: wire.Request, call: proxy.Call, fault: dict, writer) -> wire.Response:
        await asyncio.sleep(self.delays.seconds(self.delays.api))
        if stale := self.stale(request, call):
            return stale
        if call.operation in (*proxy.SIGNALS, proxy.TARGETS) and not fault and "authorization" in request.headers:
            response = await self.moto.answer(request)
        else:
            response = await super().answer(request, call, fault, writer)
        self.remember(request, call, response)
        if self.delays.happens(self.delays.lost):
            wire.reset(writer)
        return response

    def stale(self, request: wire.Request, call: proxy.Call) -> wire.Response | None:
        at, response = self.answers.get((call.operation, request.body), (0, None))
        young = time.monotonic() - at < self.delays.OLDEST
        return response if young and self.delays.happens(self.delays.stale) else None

    def remember(self, request: wire.Request, call: proxy.Call, response: wire.Response) -> None:
        if self.delays.stale and call.operation.startswith(MAY_BE_STALE) and not call.of_s3 and response.status == 200:
            self.answers[call.operation, request.body] = time.monotonic(), response


class Endpoint:
    """The front on these listeners (bound sockets), in a thread of its own."""

    def __init__(self, lock, delays: Delays, listeners: list):
        self.front = Front(Api(lock), delays)
        self.listeners = listeners
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self) -> "Endpoint":
        self.serving = threading.Event()
        self.thread.start()
        assert self.serving.wait(30), "the endpoint did not start"
        return self

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        servers = [self.loop.run_until_complete(wire.serve(one, self.front.handle)) for one in self.listeners]
        self.serving.set()
        self.loop.run_forever()
        for server in servers:
            server.close()
        # Streams complain of connections that end with the loop.
        self.loop.set_exception_handler(lambda *_: None)
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    def __exit__(self, *_) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        for listener in self.listeners:
            with contextlib.suppress(OSError):
                listener.close()
        self.front.moto.thread.shutdown(wait=False)
