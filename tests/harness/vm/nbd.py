"""Disks whose first reads are slow: volumes that were just made from a snapshot.

EBS fetches a block of such a volume from S3 when it is first touched, tens of milliseconds each, and any number at the
same time ("Initialize Amazon EBS volumes", EBS User Guide). So does this server of the NBD protocol: the first touch of
each 512 KiB takes `seconds`, all later ones take none, and touches of several blocks wait side by side. QEMU has up to
16 requests under way.

    with Nbd(directory / "nbd.sock") as server:
        disk = server.serve("vol-0123456789abcdef0", image, seconds=0.02)
        qemu("-blockdev", {"driver": "nbd", "server": {"type": "unix", "path": server.path}, "export": disk.name})
        assert disk.loaded() < 0.5

The protocol, as far as QEMU needs it: <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>.
"""

import asyncio
import os
import struct
import threading
from pathlib import Path

BLOCK = 512 << 10

NBDMAGIC, IHAVEOPT, REPLY_MAGIC = 0x4E42444D41474943, 0x49484156454F5054, 0x3E889045565A9
FIXED_NEWSTYLE_NO_ZEROES = 3
OPTION_ABORT, OPTION_GO = 2, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED, REPLY_UNKNOWN = 1, 3, 0x80000001, 0x80000006
HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM = 1, 4, 8, 32
READ, WRITE, DISCONNECT, FLUSH, TRIM = range(5)
REQUEST, REPLY = 0x25609513, 0x67446698
EINVAL = 22


class Disk:
    """One export: a file, and which of its blocks have been fetched. Holes are in no snapshot: they cost nothing."""

    def __init__(self, name: str, image: Path, seconds: float):
        self.name, self.seconds = name, seconds
        self.file = os.open(image, os.O_RDWR)
        self.size = os.fstat(self.file).st_size
        self.stored = stored(self.file, self.size)
        self.fetched: dict[int, asyncio.Task] = {}
        self.waiting = self.most_waiting = 0

    def loaded(self) -> float:
        """The part of what the snapshot holds that has been fetched."""
        return len(self.fetched) / len(self.stored)

    async def touch(self, offset: int, length: int) -> None:
        """Waits for the blocks of a range, each of which is fetched once."""
        wanted = self.stored.intersection(range(offset // BLOCK, (offset + length - 1) // BLOCK + 1))
        for number in wanted - self.fetched.keys():
            self.fetched[number] = asyncio.ensure_future(self.fetch())
        await asyncio.gather(*(self.fetched[number] for number in wanted))

    async def fetch(self) -> None:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        await asyncio.sleep(self.seconds)
        self.waiting -= 1


def stored(file: int, size: int) -> set[int]:
    """The blocks that are not holes."""
    found: set[int] = set()
    end = 0
    while end < size:
        try:
            begin = os.lseek(file, end, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole up to the end
            break
        end = os.lseek(file, begin, os.SEEK_HOLE)
        found.update(range(begin // BLOCK, (end - 1) // BLOCK + 1))
    return found


class Nbd:
    """A server on a unix socket, with its own thread."""

    def __init__(self, path: Path):
        self.path = str(path)
        self.disks: dict[str, Disk] = {}
        self.loop = asyncio.new_event_loop()
        self.listening = threading.Event()

    def __enter__(self) -> "Nbd":
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.listening.wait(10), "the NBD server did not start"
        return self

    def __exit__(self, *_) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        for disk in self.disks.values():
            os.close(disk.file)

    def run(self) -> None:
        self.loop.run_until_complete(asyncio.start_unix_server(self.connection, self.path))
        self.listening.set()
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def serve(self, name: str, image: Path, seconds: float) -> Disk:
        """Offers a file under a name. All of it is yet to be fetched."""
        return self.disks.setdefault(name, Disk(name, image, seconds))

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if disk := await self.negotiate(reader, writer):
                await self.transmit(disk, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def negotiate(self, reader, writer) -> Disk | None:
        writer.write(struct.pack(">QQH", NBDMAGIC, IHAVEOPT, FIXED_NEWSTYLE_NO_ZEROES))
        await reader.readexactly(4)
        while True:
            _magic, option, length = struct.unpack(">QII", await reader.readexactly(16))
            content = await reader.readexactly(length)

            def reply(kind: int, content: bytes = b"", option: int = option) -> None:
                writer.write(struct.pack(">QIII", REPLY_MAGIC, option, kind, len(content)) + content)

            if option == OPTION_ABORT:
                return None
            if option != OPTION_GO:
                reply(REPLY_UNSUPPORTED)
                continue
            (name_length,) = struct.unpack_from(">I", content)
            disk = self.disks.get(content[4 : 4 + name_length].decode())
            if not disk:
                reply(REPLY_UNKNOWN)
                continue
            reply(REPLY_INFO, struct.pack(">HQH", 0, disk.size, HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM))
            reply(REPLY_ACK)
            return disk

    async def transmit(self, disk: Disk, reader, writer) -> None:
        under_way: set[asyncio.Task] = set()
        while True:
            header = await reader.readexactly(28)
            _magic, _flags, command, cookie, offset, length = struct.unpack(">IHHQQI", header)
            content = await reader.readexactly(length) if command == WRITE else b""
            if command == DISCONNECT:
                return
            task = asyncio.ensure_future(self.answer(disk, writer, command, cookie, offset, length, content))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    async def answer(self, disk: Disk, writer, command, cookie, offset, length, content) -> None:
        error, answer = 0, b""
        if command == READ:
            await disk.touch(offset, length)
            answer = os.pread(disk.file, length, offset)
        elif command == WRITE:
            await disk.touch(offset, length)
            os.pwrite(disk.file, content, offset)
        elif command not in (FLUSH, TRIM):
            error = EINVAL
        writer.write(struct.pack(">IIQ", REPLY, error, cookie) + answer)
        await writer.drain()
