"""A golden image as an instance: it boots by itself in QEMU, from firmware to a page that is served.

    with Golden(image(), user_data=DOCUMENT) as instance:
        instance.snapshot(shop, {"app": "shop", "role": "data"})
        instance.start()
        page = instance.wait_for_page("/", timeout=120)
        assert instance.run("ingot", "status").code == 0

`golden-image` bakes it with Packer. The address comes by DHCP, as in a VPC; programs are run inside by ssh, with the key
that the image's application allows. For disks, EC2 and the network, see `virtual`.
"""

import http.client
import os
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness import wire
from harness.agent import PATIENCE
from harness.host.systemd import IMDS_ADDRESS, Done, must

from .virtual import GUEST, HOST, Virtual

NEEDED = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "packer", "dnsmasq", "ssh", "ip", "nsenter")


def unavailable() -> str | None:
    """Why no image can be baked or booted here; `None` if it can."""
    if os.geteuid() != 0:
        return "a golden image needs root, for its file systems and its network"
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [program for program in NEEDED if not shutil.which(program, path=path)]
    return f"not installed: {', '.join(missing)}" if missing else None


@dataclass
class Image:
    """A disk that boots by itself, and the key that opens it."""

    disk: Path
    key: Path


def base(*arguments: str) -> Image:
    """What is baked from: nothing of ingot in it. With packages and a tree of files, what is compared with it."""
    made = Path(must(str(Path(__file__).with_name("golden-base")), *arguments).strip())
    return Image(made / "disk.qcow2", made / "key")


def baked(*variables: str) -> Image:
    """The golden image of packer/, with its example application; other variables of Packer's make another."""
    made = Path(must(str(Path(__file__).with_name("golden-image")), *variables).strip())
    return Image(made / "golden.qcow2", made / "key")


class Golden(Virtual):
    memory_mib = 1024

    def __init__(self, image: Image, **more):
        super().__init__(**more)
        self.image = image

    def make(self) -> None:
        super().make()
        leases = self.directory / "leases"
        command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--port=0", "--pid-file"]
        command += ["--interface=tap0", "--bind-interfaces", "--dhcp-authoritative", f"--dhcp-leasefile={leases}"]
        command += ["--no-ping", "--dhcp-rapid-commit", f"--dhcp-range={GUEST},{GUEST},255.255.255.0"]
        command += [f"--dhcp-option=option:router,{HOST}", "--user=root", "--log-facility=-"]
        log = open(self.directory / "dhcp.log", "wb")
        server = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.netns}", *command], stdout=log, stderr=log)
        log.close()
        self.undo.append(lambda: (server.kill(), server.wait()))

    def root_image(self) -> tuple[Path, str]:
        return self.image.disk, "qcow2"

    def boot(self, timeout: float = 4 * PATIENCE) -> float:
        return super().boot(timeout)

    def ended(self) -> None:
        self.ssh("-O", "exit")
        super().ended()

    def ask(self, command: list[str], stdin: str, timeout: float) -> Done:
        line = shlex.join(command)
        try:
            done = self.ssh("--", line, stdin=stdin, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"no end within {timeout} s: {line}") from error
        if done.returncode == 255:
            raise ConnectionError(done.stderr)
        return Done(done.returncode, done.stdout, done.stderr)

    def ssh(self, *arguments: str, stdin: str = "", timeout: float = PATIENCE) -> subprocess.CompletedProcess:
        command = ["nsenter", f"--net=/run/netns/{self.netns}", "ssh", "-F", "none", "-i", str(self.image.key)]
        for option in (
            "BatchMode=yes",
            "ConnectTimeout=15",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ControlMaster=auto",
            "ControlPersist=yes",
            f"ControlPath={self.directory}/ssh",
        ):
            command += ["-o", option]
        return subprocess.run(
            [*command, f"root@{GUEST}", *arguments], input=stdin, capture_output=True, text=True, timeout=timeout
        )

    def silence_imds(self, silent: bool) -> None:
        """Whether nobody answers at the address of IMDS."""
        verb = "delete" if silent else "add"
        must("ip", "-n", self.netns, "address", verb, f"{IMDS_ADDRESS}/32", "dev", "lo")

    def get(self, path: str, port: int = 80, timeout: float = 15) -> tuple[int, str]:
        """One GET of what the instance serves: status and body.

        Raises `OSError` where nobody answers.
        """
        with wire.connected(GUEST, port, self.netns, timeout) as connection:
            connection.settimeout(timeout)
            client = http.client.HTTPConnection(GUEST, port)
            client.sock = connection
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read().decode()

    def wait_for_page(self, path: str = "/", timeout: float = 3 * PATIENCE, port: int = 80) -> str:
        """The body of the first good answer."""

        def attempt() -> str | None:
            if self.qemu.poll() is not None:
                raise RuntimeError(f"QEMU ended\n{self.console()}")
            try:
                status, body = self.get(path, port)
            except (OSError, http.client.HTTPException):
                return None
            return body if status == 200 else None

        begun = time.monotonic()
        page = self.wait_for(attempt, timeout, f"a good answer of {path}")
        self.waited = time.monotonic() - begun
        return page
