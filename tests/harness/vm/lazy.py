"""A volume that was just made from a snapshot, as a file: for a loop device, or for QEMU.

    with LazyVolume(directory / "volume", image, Ebs(fetch=0.03)) as volume:
        device = must("losetup", "--find", "--show", "--direct-io=on", volume.path)

`nbd` has QEMU wait for the blocks of a snapshot; this has anybody wait, with any number of reads under way (a loop
device has 128, QEMU 64), and knows more of EBS: what each read takes, and how many there may be a second. It is a
filesystem in user space with one file in it, served by a thread that answers each request when it is due.

The protocol, as far as one file needs it: <https://www.kernel.org/doc/html/latest/filesystems/fuse.html>, linux/fuse.h.
"""

import ctypes
import errno
import heapq
import mmap
import os
import select
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from .nbd import BLOCK, stored

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, RELEASE, FSYNC = 1, 2, 3, 4, 14, 15, 16, 18, 20
FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET = 25, 26, 36, 38, 42
UNANSWERED = (FORGET, BATCH_FORGET, INTERRUPT)
ASYNC_READ, BIG_WRITES, ASYNC_DIO, MAX_PAGES = 1 << 0, 1 << 5, 1 << 15, 1 << 22
PAST_THE_CACHE = 1  # FOPEN_DIRECT_IO
HEADER = struct.Struct("=IIQQIIII")
FILE = 2
FOREVER = 3600
LARGEST = 1 << 20
DETACH = 2

libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Ebs:
    """What reads of a volume take. The defaults are those of gp3 as it comes: 3000 operations and 125 MiB a second, and
    "single-digit millisecond latency". `fetch` is the first touch of 512 KiB of a snapshot, for which AWS gives no
    number ("Initialize Amazon EBS volumes", EBS User Guide): with 30 ms, dd reads 16 MiB a second."""

    fetch: float = 0.03
    latency: float = 0.001
    iops: float = 3000
    mib_s: float = 125


class Timing:
    """When each read is answered. Any number of fetches go on side by side."""

    LARGEST_OPERATION = 256 << 10

    def __init__(self, ebs: Ebs, blocks: set[int]):
        self.ebs, self.blocks = ebs, blocks
        self.ready: dict[int, float] = {}
        self.free = 0.0
        self.reads = self.bytes = 0

    def due(self, now: float, offset: int, length: int) -> float:
        operations = -(-length // self.LARGEST_OPERATION)
        begin = max(now, self.free)
        self.free = begin + max(operations / self.ebs.iops, length / (self.ebs.mib_s * (1 << 20)))
        self.reads += 1
        self.bytes += length
        due = begin
        for block in range(offset // BLOCK, (offset + length - 1) // BLOCK + 1):
            if block in self.blocks:
                due = max(due, self.ready.setdefault(block, begin + self.ebs.fetch))
        return due + self.ebs.latency


class LazyVolume:
    """The content of `image`, in the file `path`. What is written stays in memory."""

    def __init__(self, at: Path, image: Path, ebs: Ebs):
        self.at, self.path = at, at / "volume"
        with open(image, "rb") as file:
            self.content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self.timing = Timing(ebs, stored(file.fileno(), len(self.content)))
        self.due: list[tuple[float, int, int, int, int]] = []

    def __enter__(self) -> "LazyVolume":
        self.at.mkdir(exist_ok=True)
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,max_read={LARGEST}".encode()
        if libc.mount(b"lazy", str(self.at).encode(), b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), "cannot mount a FUSE filesystem")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        libc.umount2(str(self.at).encode(), DETACH)
        self.thread.join(10)
        os.close(self.device)
        self.content.close()

    def fetched(self) -> float:
        """The part of what the snapshot holds that has been fetched."""
        return len(self.timing.ready) / len(self.timing.blocks)

    def serve(self) -> None:
        while True:
            wait = max(0.0, self.due[0][0] - time.monotonic()) if self.due else None
            # Not poll(2): it rounds up to milliseconds.
            if select.select([self.device], [], [], wait)[0]:
                try:
                    self.take(os.read(self.device, LARGEST + 4096))
                except BlockingIOError:
                    pass
                except OSError as error:
                    if error.errno == errno.ENODEV:  # it was unmounted
                        return
                    if error.errno not in (errno.ENOENT, errno.EINTR):  # a request was taken back
                        raise
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                _, unique, opcode, offset, length = heapq.heappop(self.due)
                written = struct.pack("=II", length, 0)
                self.answer(unique, self.content[offset : offset + length] if opcode == READ else written)

    def take(self, request: bytes) -> None:
        _, opcode, unique, node, *_ = HEADER.unpack_from(request)
        content = request[HEADER.size :]
        if opcode == INIT:
            flags = ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES
            many, pages = 1024, LARGEST // 4096
            limits = struct.pack("=HHIIHHI28x", many, many, LARGEST // 2, 1, pages, 0, 0)
            self.answer(unique, struct.pack("=IIII", 7, 31, 0, flags) + limits)
        elif opcode == LOOKUP and content.rstrip(b"\0") == self.path.name.encode():
            self.answer(unique, struct.pack("=QQQQII", FILE, 0, FOREVER, FOREVER, 0, 0) + self.attributes(FILE))
        elif opcode in (GETATTR, SETATTR):  # what is set is a time, which nobody reads
            self.answer(unique, struct.pack("=QII", FOREVER, 0, 0) + self.attributes(node))
        elif opcode == OPEN:
            self.answer(unique, struct.pack("=QII", 0, PAST_THE_CACHE, 0))
        elif opcode in (READ, WRITE):
            offset, length = struct.unpack_from("=QI", content, 8)
            if opcode == READ:
                length = max(0, min(length, len(self.content) - offset))
            else:
                self.content[offset : offset + length] = content[40 : 40 + length]
            due = self.timing.due(time.monotonic(), offset, length)
            heapq.heappush(self.due, (due, unique, opcode, offset, length))
        elif opcode in (RELEASE, FSYNC, FLUSH, DESTROY):
            self.answer(unique)
        elif opcode not in UNANSWERED:
            self.answer(unique, error=errno.ENOENT if opcode == LOOKUP else errno.ENOSYS)

    def answer(self, unique: int, content: bytes = b"", error: int = 0) -> None:
        try:
            os.writev(self.device, [struct.pack("=IiQ", 16 + len(content), -error, unique), content])
        except FileNotFoundError:  # nobody waits for it any more
            pass

    def attributes(self, node: int) -> bytes:
        size, mode = (len(self.content), 0o100600) if node == FILE else (0, 0o40700)
        return struct.pack("=QQQ24x12xIIIIIII", node, size, size // 512, mode, 1, 0, 0, 0, 4096, 0)
