"""An application in a process of its own, which can be killed: it writes down when each message came and was done.

    with Handler(directory, takes=0.1) as handler:
        …
        handler.kill()
        handler.begin()
        assert {note.body for note in handler.notes("done")} == …

Run as a program it is that application. It answers 200 after 0 to `takes` seconds. What it has written outlives it.
"""

import argparse
import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from harness import wire  # noqa: E402


@dataclass(frozen=True)
class Note:
    what: str
    # By the monotonic clock.
    at: float
    body: str


class Handler:
    def __init__(self, directory: Path, *, takes: float = 0):
        self.path, self.takes = directory / "notes", takes
        self.path.touch()
        listener = wire.bound()
        self.port = listener.getsockname()[1]
        listener.close()
        self.process = None

    def __enter__(self) -> "Handler":
        self.begin()
        return self

    def __exit__(self, *_) -> None:
        self.kill()

    def begin(self) -> None:
        command = [sys.executable, __file__, "--port", str(self.port), "--notes", str(self.path), "--takes", str(self.takes)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def notes(self, what: str = "came") -> list[Note]:
        lines = [line.split(" ", 2) for line in self.path.read_text().splitlines()]
        return [Note(kind, float(at), body) for kind, at, body in lines if kind == what]

    def bodies(self, what: str = "came") -> list[str]:
        return [note.body for note in self.notes(what)]


async def serve(arguments) -> None:
    notes = os.open(arguments.notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: str, at: float, body: str) -> None:
        os.write(notes, f"{what} {at:.6f} {body[:80]}\n".encode())

    async def handle(request: wire.Request, writer) -> bool:
        body = request.body.decode()
        note("came", request.at, body)
        if arguments.takes:
            await asyncio.sleep(random.uniform(0, arguments.takes))
        note("done", time.monotonic(), body)
        await wire.send(writer, wire.Response(), {}, False)
        return request.headers.get("connection") != "close"

    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=512)
    server = await wire.serve(listener, handle)
    print("ready", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="an application that writes down what it was given")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--notes", required=True)
    parser.add_argument("--takes", type=float, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
