"""A machine of its own: a small Debian with its own kernel in QEMU, with EC2's DMI, and NVMe disks that come and go.

    with Guest(user_data=DOCUMENT) as guest:
        shop = filesystem(guest.directory / "shop.img", "xfs", {"db/table": b"…"})
        guest.snapshot(shop, {"app": "shop"})
        guest.install_ingot()
        guest.boot()
        assert guest.run("ingot", "status", "--wait").code == 0
        assert guest.read("/srv/shop/db/table") == "…"
        guest.reboot(reverse=True)

`guest-root` makes the root: a reboot keeps it, leaving the block forgets it. What a test writes below `root` goes in with
the initrd. For disks, EC2 and the network, see `virtual`.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path

from harness import wire
from harness.host.systemd import Done, must

from .virtual import GUEST, Virtual

NEEDED = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "cpio", "sfdisk", "mke2fs", "ip", "nsenter")
AGENT_PORT = 1


def unavailable() -> str | None:
    """Why no guest can be made here; `None` if it can."""
    if os.geteuid() != 0:
        return "a guest in QEMU needs root, for its network"
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [program for program in NEEDED if not shutil.which(program, path=path)]
    return f"not installed: {', '.join(missing)}" if missing else None


class Guest(Virtual):
    def make(self) -> None:
        self.base = Path(must(str(Path(__file__).with_name("guest-root"))).strip())
        super().make()
        self.root = self.directory / "handed-over"
        self.root.mkdir()

    def root_image(self) -> tuple[Path, str]:
        return self.base / "disk.img", "raw"

    def what_boots(self) -> list[str]:
        self.make_initrd()
        kernel = f"console=ttyS0 root_serial={self.root_drive.serial} net.ifnames=0 loglevel=4 mitigations=off"
        return ["-kernel", str(self.base / "vmlinuz"), "-initrd", str(self.initrd), "-append", kernel]

    def make_initrd(self) -> None:
        """What `guest-root` made and, behind it, what was written below `root` since the last boot."""
        self.initrd = self.directory / "initrd"
        with open(self.initrd, "wb") as file:
            for tree, prefix in ((self.base / "initrd", "."), (self.directory, self.root.name)):
                names = subprocess.run(["find", prefix, "-print0"], cwd=tree, check=True, capture_output=True).stdout
                archive = ["cpio", "--quiet", "--null", "--create", "--format=newc", "--owner=+0:+0"]
                subprocess.run(archive, cwd=tree, input=names, stdout=file, check=True)
        shutil.rmtree(self.root)
        self.root.mkdir()

    def ask(self, command: list[str], stdin: str, timeout: float) -> Done:
        """In the words of `guest-agent`."""
        parts = [struct.pack(">I", len(command)), *(packed(part) for part in (*command, stdin))]
        with wire.connected(GUEST, AGENT_PORT, self.netns, min(timeout, 30)) as connection:
            connection.settimeout(timeout)
            connection.sendall(b"".join(parts))
            with connection.makefile("rb") as answer:
                (code,) = struct.unpack(">I", exactly(answer, 4))
                out, error = (exactly(answer, *struct.unpack(">I", exactly(answer, 4))).decode() for _ in range(2))
                return Done(code, out, error)


def packed(text: str) -> bytes:
    content = text.encode()
    return struct.pack(">I", len(content)) + content


def exactly(file, length: int) -> bytes:
    content = file.read(length)
    if len(content) < length:
        raise ConnectionError("the guest ended the connection")
    return content
