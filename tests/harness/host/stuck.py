"""File systems that hang, below the root of a machine whose mounts are in a namespace of their own.

    with Frozen(disks, image, machine.root / "srv/stuck") as stuck:
        …                               # writes wait until they are let go, and no signal ends them
        stuck.let_go()

`Frozen` is an ext4 that fsfreeze(8) stops: what is read is there, what is written waits. `Silent` is a server that answers
nothing at all: whoever looks at it waits. Both let go at the end, whatever happened.
"""

import subprocess
import sys
from pathlib import Path

from harness.host.images import small
from harness.host.loop import Disks

# Mounts a FUSE file system, answers the first request, which is not of a user, and reads no other.
# Source: fuse(4), include/uapi/linux/fuse.h.
SERVER = """
import ctypes, os, struct, sys
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40755,user_id=0,group_id=0,allow_other".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"silent", sys.argv[1].encode(), b"fuse.silent", 0, options) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
length, opcode, unique = struct.unpack("=IIQ", os.read(device, 1 << 17)[:16])
assert opcode == 26, opcode
answer = struct.pack("=IIIIHHIIHHI", 7, 31, 0, 0, 16, 12, 1 << 16, 1, 0, 0, 0) + bytes(24)
os.write(device, struct.pack("=IiQ", 16 + len(answer), 0, unique) + answer)
print("ready", flush=True)
sys.stdin.read()
"""


class Frozen:
    def __init__(self, disks: Disks, image: Path, at: Path):
        self.disks, self.at, self.is_frozen = disks, at, False
        at.mkdir(parents=True, exist_ok=True)
        disks.run("mount", disks.attach(small(image, "ext4")).node, at)

    def __enter__(self) -> "Frozen":
        self.disks.run("fsfreeze", "--freeze", self.at)
        self.is_frozen = True
        return self

    def let_go(self) -> None:
        if self.is_frozen:
            self.disks.run("fsfreeze", "--unfreeze", self.at)
            self.is_frozen = False

    def __exit__(self, *_) -> None:
        self.let_go()


class Silent:
    def __init__(self, disks: Disks, image: Path, at: Path):
        self.disks, self.at = disks, at
        at.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Silent":
        command = [*self.disks.prefix, sys.executable, "-c", SERVER, str(self.at)]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout.readline() == "ready\n", "there is no FUSE to be had"
        return self

    def let_go(self) -> None:
        """Whoever waits is refused: the server is gone."""
        if self.server.poll() is None:
            self.server.kill()
            self.server.wait()

    def __exit__(self, *_) -> None:
        self.let_go()
        self.server.stdin.close()
        self.server.stdout.close()
        self.disks.run("umount", "--lazy", self.at)
