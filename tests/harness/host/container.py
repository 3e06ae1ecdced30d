"""A machine with a real systemd: Debian in systemd-nspawn, in a network namespace where IMDS is at its true address.

    with Machine(user_data=DOCUMENT) as machine:
        machine.install_ingot()
        machine.boot()
        machine.wait_until("systemctl is-active nginx.service")
        assert "hunter2" in machine.run("cat", "/etc/nginx/conf.d/shop.conf").stdout

The root is an overlay over a cached one (`debian-root`): a reboot keeps it, leaving the block forgets it. IMDS and AWS
run outside and listen inside, at 169.254.169.254:80 and 127.0.0.1:4566. Needs root, and nothing that root is not
given on an ordinary Debian machine; whatever it started, it ends, by pid, also when a test fails.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from harness.agent import PATIENCE
from harness.aws.account import Aws

from .cgroup import Cgroup
from .systemd import AWS_PORT, Done, NotInTime, Surroundings, Systemd, must

NEEDED = ("mmdebstrap", "systemd-nspawn", "ip", "nsenter")


def unavailable() -> str | None:
    """Why no machine can be made here; `None` if it can."""
    if os.geteuid() != 0:
        return "a container with systemd needs root"
    missing = [program for program in NEEDED if not shutil.which(program)]
    return f"not installed: {', '.join(missing)}" if missing else None


class Machine(Systemd):
    # More of Debian than `debian-root` has by itself, with commas between.
    packages = ""
    # More options of systemd-nspawn.
    options: tuple[str, ...] = ()
    # Variables of systemd-nspawn.
    environment: dict[str, str] = {}

    def __init__(self, *, user_data: bytes | str | None = None, aws: Aws | None = None, **imds):
        self.surroundings = Surroundings({"user_data": user_data, **imds}, aws)
        self.undo = self.surroundings.undo
        self.nspawn: subprocess.Popen | None = None
        self.leader: int | None = None

    def __enter__(self) -> "Machine":
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def make(self) -> None:
        base = must(str(Path(__file__).with_name("debian-root")), *filter(None, [self.packages])).strip()
        self.directory = Path(tempfile.mkdtemp(prefix="ingot-machine."))
        self.console_path = self.directory / "console"
        self.undo.append(lambda: shutil.rmtree(self.directory))
        self.root = self.directory / "root"
        self.make_root(base)

        self.surroundings.make()
        self.netns, self.imds, self.aws = self.surroundings.netns, self.surroundings.imds, self.surroundings.aws
        self.aws_url = f"http://127.0.0.1:{AWS_PORT}"

    def make_root(self, base: str) -> None:
        """A root of its own: an overlay in no time or, on a disk that is an overlay itself, a copy in seconds."""
        for name in ("upper", "work", "root"):
            (self.directory / name).mkdir()
        layers = f"lowerdir={base},upperdir={self.directory}/upper,workdir={self.directory}/work"
        overlay = ["mount", "-t", "overlay", "-o", layers, "overlay", str(self.root)]
        if subprocess.run(overlay, capture_output=True).returncode == 0:
            self.undo.append(lambda: must("umount", "--lazy", str(self.root)))
        else:
            must("cp", "--archive", "--reflink=auto", f"{base}/.", str(self.root))

    def __exit__(self, *_) -> None:
        self.power_cut()
        self.surroundings.clean_up()

    # What the image holds; more of it in `Systemd`.

    def read(self, absolute: str) -> str:
        return (self.root / absolute.lstrip("/")).read_text()

    def enable_cloud_init(self) -> None:
        """cloud-init runs at boot. Outside EC2's DMI it asks for IMDS version 1."""
        (self.root / "etc/cloud/cloud-init.disabled").unlink(missing_ok=True)
        self.imds.configure(allow_v1=True)

    # Its life.

    def boot(self, timeout: float = PATIENCE) -> float:
        """Boots until PID 1 answers. The seconds it took."""
        assert self.nspawn is None, "it runs already"
        begun = time.monotonic()
        self.console_file = open(self.console_path, "ab")
        self.cgroup = Cgroup(self.netns)
        self.nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no", "--keep-unit"]
            + [f"--network-namespace-path=/run/netns/{self.netns}", "--console=read-only", "--machine=machine"]
            + [*self.options, "--resolv-conf=off", "--timezone=off", "--link-journal=no"],
            stdin=subprocess.DEVNULL,
            stdout=self.console_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=self.cgroup.enter,
            env={**os.environ, **self.environment},
        )
        self.leader = self.wait_for(self.find_leader, timeout, "PID 1 of the container")
        self.wait_for(
            lambda: self.run("systemctl", "show", "--property=Version").code == 0, timeout, "systemd to answer"
        )
        return time.monotonic() - begun

    def find_leader(self) -> int | None:
        """The container's PID 1: the child of nspawn that is 1 in a PID namespace of its own."""
        if self.nspawn.poll() is not None:
            raise RuntimeError(f"systemd-nspawn ended: {self.console()}")
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        for child in children:
            try:
                ids = re.search(r"^NSpid:(.*)$", Path(f"/proc/{child}/status").read_text(), re.MULTILINE)
            except FileNotFoundError:
                continue
            if ids and ids[1].split()[1:] == ["1"]:
                return int(child)
        return None

    def shut_down(self, timeout: float = PATIENCE) -> None:
        """An orderly power-off."""
        self.nspawn.send_signal(signal.SIGTERM)
        try:
            self.nspawn.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NotInTime(f"no power-off after {timeout} s\n{self.console()}") from None
        self.ended()

    def power_cut(self) -> None:
        """An end without a warning. What was written to the root stays; the kernel, being shared, loses nothing."""
        if self.nspawn is not None:
            # The end of PID 1 is the end of all in its namespace. It outlives nspawn, so it is killed by itself.
            if leader := self.leader or self.find_leader():
                os.kill(leader, signal.SIGKILL)
            self.nspawn.kill()
            self.nspawn.wait()
            self.wait_for(lambda: not leader or not Path(f"/proc/{leader}").exists(), 10, "the end of PID 1")
            self.ended()

    def ended(self) -> None:
        self.nspawn = self.leader = None
        self.cgroup.remove()
        self.console_file.close()

    def reboot(self) -> float:
        """Power-off, and a boot of the same root."""
        self.shut_down()
        return self.boot()

    # What happens in it: this, and all that `Systemd` asks.

    def running(self) -> bool:
        return self.leader is not None

    def run(self, *command: str, timeout: float = PATIENCE, stdin: str | None = None, env: dict | None = None) -> Done:
        """Runs a program inside, beside systemd (in no unit)."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SYSTEMD_PAGER": "", **(env or {})}
        inside = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wdns=/"]
        try:
            done = subprocess.run(
                ["nsenter", f"--target={self.leader}", *inside, "--", *command],
                capture_output=True,
                text=True,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                timeout=timeout,
                env=environment,
            )
        except subprocess.TimeoutExpired as error:
            raise NotInTime(f"{' '.join(command)} ran longer than {timeout} s\n{self.journal()}") from error
        return Done(done.returncode, done.stdout, done.stderr)
