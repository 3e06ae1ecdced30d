"""A virtual machine of QEMU with EC2's DMI, NVMe disks that come and go, a metadata service and AWS nearby.

The machine alone: what boots in it, and how it is asked, is the matter of `qemu.Guest` (a small Debian, kernel and initrd
handed over) and `golden.Golden` (an image that boots by itself). What EC2 (`aws`) attaches is plugged in for real, and
what it detaches is pulled out: disks are files, a snapshot is an image that new volumes are copied from. By hand:
`plug` and `unplug`. Like `container.Machine` it lives in a network namespace of its own, needs root, and ends what it
started. QEMU translates every instruction (TCG): no machine needs KVM, and none is fast.

Not as on EC2: a disk's model is QEMU's, its vendor-specific part is empty, so nothing tells under which device name
(/dev/sdf) it was attached, and there are no instance stores.
"""

import json
import random
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from harness.agent import PATIENCE
from harness.aws.account import INSTANCE
from harness.host import images
from harness.host.systemd import AWS_PORT, Done, NotInTime, Surroundings, Systemd, must

from .nbd import Disk as LazyDisk
from .nbd import Nbd
from .qmp import Qmp, QmpError

HOST, GUEST = "10.0.1.1", "10.0.1.17"  # of the tap, and of the guest's eth0
ROOT_PORTS = 9  # the root volume and eight more


@dataclass
class Drive:
    """A volume as QEMU knows it. `backend` is what its content comes from, in the words of -blockdev."""

    volume: str
    backend: dict
    port: int | None = None
    boots: bool = False  # first of the disks; a kernel that is handed over has index 0

    @property
    def serial(self) -> str:
        """EBS's: the id without its dash, exactly the 20 bytes there are."""
        return self.volume.replace("-", "")

    def blockdev(self) -> dict:
        # Nothing here outlives the test: no write has to reach a disk.
        return {"node-name": self.serial, "cache": {"no-flush": True}, "discard": "unmap", **self.backend}

    def device(self) -> dict:
        described = {"driver": "nvme", "drive": self.serial, "serial": self.serial}
        described |= {"id": f"nvme-{self.serial}", "bus": f"rp{self.port}"}
        return described | ({"bootindex": 1} if self.boots else {})


class Virtual(Systemd):
    """`lazy`: the seconds that each first read of a block of a volume from a snapshot takes. `late`: those between an
    AttachVolume and the disk. Both may be changed at any time. `instance`: the id that the board and IMDS tell."""

    memory_mib = 768

    def __init__(
        self,
        *,
        user_data: bytes | str | None = None,
        lazy: float = 0,
        late: float = 0,
        instance: str = INSTANCE,
        **imds,
    ):
        self.instance = instance
        self.surroundings = Surroundings({"user_data": user_data, "instance": {"id": instance}, **imds})
        self.undo = self.surroundings.undo
        self.lazy, self.late = lazy, late
        self.qemu: subprocess.Popen | None = None
        self.qmp: Qmp | None = None
        self.drives: list[Drive] = []
        self.images: dict[str, Path] = {}  # of snapshots and volumes, by id
        self.lazy_disks: dict[str, LazyDisk] = {}
        self.lock = threading.RLock()
        self.leaving = threading.Event()
        self.follower: threading.Thread | None = None
        self.followed = 0
        self.failure: Exception | None = None

    def __enter__(self) -> "Virtual":
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, kind=None, *_) -> None:
        self.leaving.set()
        if self.follower:
            self.follower.join()
        self.power_cut()
        self.surroundings.clean_up()
        if self.failure:
            print(f"what EC2 attached or detached could not be followed: {self.failure!r}")
            if kind is None:
                raise self.failure

    def make(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ingot-guest."))
        self.undo.append(lambda: shutil.rmtree(self.directory))
        self.console_path = self.directory / "console"
        self.console_path.touch()
        self.surroundings.make(self.make_tap, HOST)
        self.netns, self.imds, self.aws = self.surroundings.netns, self.surroundings.imds, self.surroundings.aws
        self.aws_url = f"http://{HOST}:{AWS_PORT}"
        self.nbd = Nbd(self.directory / "nbd.sock")
        self.nbd.__enter__()
        self.undo.append(self.nbd.__exit__)

        self.aws.instance(id=self.instance)
        [root_volume] = self.aws.attached(self.instance).values()
        overlay = self.directory / "root.qcow2"
        image, kind = self.root_image()
        must("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", kind, str(overlay))
        backend = {"driver": "qcow2", "file": {"driver": "file", "filename": str(overlay)}}
        self.root_drive = Drive(root_volume, backend, 0, boots=True)
        self.drives.append(self.root_drive)
        self.follower = threading.Thread(target=self.follow, daemon=True)
        self.follower.start()

    def root_image(self) -> tuple[Path, str]:
        """The image below the root volume, which is never written to, and its format."""
        raise NotImplementedError

    def make_tap(self, netns: str) -> None:
        must("ip", "-n", netns, "tuntap", "add", "tap0", "mode", "tap")
        must("ip", "-n", netns, "address", "add", f"{HOST}/24", "dev", "tap0")
        must("ip", "-n", netns, "link", "set", "tap0", "up")

    # Volumes.

    def snapshot(self, image: Path, tags: dict[str, str] | None = None, **more) -> str:
        """Makes a snapshot in EC2 that holds this image. Its id."""
        size = -(-image.stat().st_size // images.GIB)
        id = self.aws.snapshot(tags, **{"size_gib": size, **more})
        self.images[id] = image
        return id

    def volume(self, image: Path, tags: dict[str, str] | None = None, **more) -> str:
        """Makes a volume in EC2 that holds this image. With `attached_as`, it is plugged in. Its id."""
        size = -(-image.stat().st_size // images.GIB)
        id = more.pop("id", None) or f"vol-0{random.getrandbits(64):016x}"
        self.images[id] = image
        return self.aws.volume(tags, id=id, **{"size_gib": size, **more})

    def follow(self) -> None:
        """Does what EC2 says was attached or detached."""
        while not self.leaving.is_set():
            for event in self.aws.events(self.followed, wait=0.5):
                try:
                    self.obey(event)
                except Exception as error:  # it is for the test's own thread to raise it
                    self.failure = error
                self.followed += 1

    def obey(self, event: dict) -> None:
        if event["instance"] != self.instance:
            return
        if event["event"] == "detach":
            self.unplug(event["volume"])
            return
        if self.running():
            self.leaving.wait(event["at"] + self.late - time.monotonic())
        self.plug(event["volume"], self.image_of(event))

    def image_of(self, event: dict) -> Path:
        """The file that holds a volume: made now, if the volume was made by who is under test."""
        if not (image := self.images.get(event["volume"])):
            image = self.directory / f"{event['volume']}.img"
            if event["snapshot"]:
                images.copy(self.images[event["snapshot"]], image, event["size_gib"])
            else:
                images.blank(image, event["size_gib"])
            self.images[event["volume"]] = image
            if event["snapshot"] and self.lazy:
                self.lazy_disks[event["volume"]] = self.nbd.serve(event["volume"], image, self.lazy)
        return image

    def plug(self, volume: str, image: Path) -> None:
        """Puts a disk in, now or, where nothing runs, before the next boot."""
        if volume in self.lazy_disks:
            server = {"type": "unix", "path": self.nbd.path}
            backend = {"driver": "raw", "file": {"driver": "nbd", "server": server, "export": volume}}
        else:
            backend = {"driver": "raw", "file": {"driver": "file", "filename": str(image)}}
        with self.lock:
            free = set(range(ROOT_PORTS)) - {drive.port for drive in self.drives}
            drive = Drive(volume, backend, min(free))
            self.drives.append(drive)
            if self.qmp:
                self.qmp("blockdev-add", **drive.blockdev())
                self.qmp("device_add", **drive.device())

    def unplug(self, volume: str) -> None:
        """Pulls a disk out, as DetachVolume does: the guest is asked and lets it go."""
        with self.lock:
            found = [drive for drive in self.drives if drive.volume == volume]
            if not found:
                return
            [drive] = found
            if self.qmp:
                try:
                    self.pull(drive)
                except (OSError, QmpError):
                    if self.qemu.poll() is None:
                        raise
            self.drives.remove(drive)

    def pull(self, drive: Drive) -> None:
        self.qmp("device_del", id=drive.device()["id"])
        self.wait_for(lambda: not self.has(drive), 30, f"the guest to let go of {drive.volume}")
        self.wait_for(lambda: self.let_go(drive), 10, f"QEMU to close the image of {drive.volume}")

    def let_go(self, drive: Drive) -> bool:
        try:
            self.qmp("blockdev-del", **{"node-name": drive.serial})
        except QmpError:  # the device is gone, and its end not yet over
            return False
        return True

    def has(self, drive: Drive) -> bool:
        return any(entry["name"] == drive.device()["id"] for entry in self.qmp("qom-list", path="/machine/peripheral"))

    # Its life.

    def boot(self, timeout: float = 3 * PATIENCE) -> float:
        """Starts QEMU, until PID 1 answers. The seconds it took."""
        assert self.qemu is None, "it runs already"
        self.wait_for(lambda: self.followed == len(self.aws.events()), PATIENCE, "the disks that were attached")
        begun = time.monotonic()
        with self.lock:
            self.start()
        self.wait_for(self.answers, timeout, "systemd to answer")
        return time.monotonic() - begun

    def start(self) -> None:
        qmp = self.directory / "qmp.sock"
        # Not -cpu max: it has five-level page tables, with which QEMU 7.2 breaks the kernel's copy_from_kernel_nofault,
        # and every path in /proc reads xxxx.
        arguments = ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-smp", "2"]
        arguments += ["-m", str(self.memory_mib), "-nodefaults", "-no-reboot", "-display", "none"]
        arguments += ["-serial", "chardev:console", *self.what_boots()]
        arguments += ["-chardev", f"file,id=console,path={self.console_path},append=on"]
        arguments += ["-qmp", f"unix:{qmp},server=on,wait=off"]
        arguments += ["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"]
        arguments += ["-device", "virtio-net-pci,netdev=net,romfile="]
        uuid = f"ec2e1916-9099-7caf-fd21-{self.instance[-12:]}"  # each machine has its own: systemd makes its id of it
        arguments += ["-smbios", f"type=1,manufacturer=Amazon EC2,uuid={uuid},serial={uuid}"]
        arguments += ["-smbios", f"type=2,asset={self.instance}"]
        for port in range(ROOT_PORTS):
            arguments += ["-device", f"pcie-root-port,id=rp{port},chassis={port + 1}"]
        for drive in self.drives:
            arguments += ["-blockdev", json.dumps(drive.blockdev()), "-device", json.dumps(drive.device())]
        self.log = open(self.directory / "qemu.log", "ab")
        self.qemu = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.netns}", "qemu-system-x86_64", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.qmp = self.wait_for(lambda: self.connect(qmp), 20, "QEMU to start")

    def what_boots(self) -> list[str]:
        """QEMU's arguments that say what is started: a kernel that is handed over, or nothing, and the disk is."""
        return []

    def connect(self, path: Path) -> Qmp | None:
        if self.qemu.poll() is not None:
            raise RuntimeError(f"QEMU ended: {(self.directory / 'qemu.log').read_text()}")
        try:
            return Qmp(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    def answers(self) -> bool:
        """Whether PID 1 can be asked."""
        if self.qemu.poll() is not None:
            raise RuntimeError(f"QEMU ended: {(self.directory / 'qemu.log').read_text()}\n{self.console()}")
        try:
            return self.ask(["systemctl", "show", "--property=Version"], "", 30).code == 0
        except OSError:
            return False

    def shut_down(self, timeout: float = PATIENCE) -> None:
        """An orderly power-off."""
        self.run("systemctl", "poweroff", "--no-block")
        try:
            self.qemu.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NotInTime(f"no power-off after {timeout} s\n{self.console()}") from None
        self.ended()

    def power_cut(self) -> None:
        """An end without a warning. What the guest had not yet written is lost."""
        with self.lock:  # not while a disk goes in or out
            if self.qemu is not None:
                self.qemu.kill()
                self.qemu.wait()
                self.ended()

    def ended(self) -> None:
        with self.lock:
            if self.qmp:
                self.qmp.close()
            self.qmp = self.qemu = None
            self.log.close()

    def reboot(self, *, reverse: bool = False) -> float:
        """Power-off, and a boot of the same disks; with `reverse`, the kernel finds them in the opposite order."""
        self.shut_down()
        if reverse:
            ports = sorted(drive.port for drive in self.drives)
            for drive, port in zip(sorted(self.drives, key=lambda drive: -drive.port), ports, strict=True):
                drive.port = port
        return self.boot()

    # What happens in it: this, and all that `Systemd` asks.

    def running(self) -> bool:
        return self.qemu is not None

    def wait_for(self, attempt, timeout: float, what: str):
        """As everywhere, but what the follower met ends the waiting at once."""

        def attempt_unless_failed():
            if self.failure:
                raise self.failure
            return attempt()

        return super().wait_for(attempt_unless_failed, timeout, what)

    def run(self, *command: str, timeout: float = PATIENCE, stdin: str | None = None, env: dict | None = None) -> Done:
        """Runs a program inside, beside systemd's units."""
        if env:
            command = ("env", *(f"{name}={value}" for name, value in env.items()), *command)
        try:
            return self.ask(list(command), stdin or "", timeout)
        except OSError as error:
            raise NotInTime(f"{' '.join(command)}: {error!r}\n{self.console()}") from error

    def ask(self, command: list[str], stdin: str, timeout: float) -> Done:
        """Runs a program inside.

        Raises `OSError` where nobody answers.
        """
        raise NotImplementedError

    def read(self, absolute: str) -> str:
        done = self.run("cat", absolute)
        if done.code != 0:
            raise FileNotFoundError(done.stderr)
        return done.stdout

    def disks(self) -> dict[str, str]:
        """The NVMe disks the kernel has: names such as nvme1n1, by serial."""
        found = self.shell("cd /sys/block && grep -H . nvme*/device/serial").stdout.splitlines()
        return {serial.strip(): path.split("/")[0] for path, _, serial in (line.partition(":") for line in found)}
