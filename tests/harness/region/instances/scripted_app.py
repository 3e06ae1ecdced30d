"""What a scripted instance serves: `harness.host.echo` at an address, which may get sick.

    python3 scripted_app.py ADDRESS PORT GENERATION [SICK_AFTER]

From so many seconds on, /health answers 500; everything else goes on. It ends with its stdin, so that it does not
outlive a test.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "host"))
address, port, os.environ["GENERATION"], sick_after = sys.argv[1:]
import echo  # noqa: E402

BEGUN = time.monotonic()


class Seen:
    """A reader that shows the head of each request before it is answered."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def readuntil(self, separator: bytes) -> bytes:
        while True:
            head = await self.reader.readuntil(separator)
            sick = sick_after and time.monotonic() >= BEGUN + float(sick_after)
            if not (sick and head.split()[1] == b"/health"):
                return head
            self.writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
            if b"connection: close" in head.lower():
                self.writer.close()
                raise ConnectionError

    def __getattr__(self, name: str):
        return getattr(self.reader, name)


async def main() -> None:
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: sys.stdin.read(1) or os._exit(0))
    server = await asyncio.start_server(lambda r, w: echo.serve(Seen(r, w), w), address, int(port), backlog=512)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
