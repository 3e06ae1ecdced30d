"""What can be asked of any machine that runs systemd, in a container or in QEMU: its units, its journal, its console.

And the namespace that either lives in, with IMDS at its true address and AWS nearby.
"""

import itertools
import os
import re
import subprocess
import time
from pathlib import Path

from harness import wire
from harness.agent import PATIENCE, REPOSITORY, binary
from harness.aws.account import Aws
from harness.aws.imds import Imds

IMDS_ADDRESS = "169.254.169.254"
AWS_PORT = 4566


def must(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class NotInTime(AssertionError):
    """What a test waited for did not come."""


class Done:
    """How a program inside ended."""

    def __init__(self, code: int, stdout: str, stderr: str):
        self.code, self.stdout, self.stderr = code, stdout, stderr

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.stdout}{self.stderr}"


class Surroundings:
    """A network namespace, and in it IMDS and AWS: one of its own, or `aws`. `undo` ends what was begun, in reverse."""

    numbers = itertools.count()

    def __init__(self, imds: dict, aws: Aws | None = None):
        self.imds_config = imds
        self.aws = aws
        self.undo: list = []

    def make(self, prepare=lambda netns: None, aws_address: str = "127.0.0.1") -> None:
        """`prepare` is called with the new namespace, before anything listens in it."""
        self.netns = f"ingot-{os.getpid()}-{next(self.numbers)}"
        must("ip", "netns", "add", self.netns)
        self.undo.append(lambda: must("ip", "netns", "delete", self.netns))
        must("ip", "-n", self.netns, "link", "set", "lo", "up")
        must("ip", "-n", self.netns, "address", "add", f"{IMDS_ADDRESS}/32", "dev", "lo")
        prepare(self.netns)
        self.imds = Imds(address=IMDS_ADDRESS, port=80, netns=self.netns, **self.imds_config)
        self.imds.__enter__()
        self.undo.append(self.imds.__exit__)
        listener = wire.bound(aws_address, AWS_PORT, self.netns)
        if self.aws:
            self.undo.append(wire.relayed(listener, self.aws.port))
            return
        self.aws = Aws([listener])
        self.aws.__enter__()
        self.undo.append(self.aws.__exit__)

    def clean_up(self) -> None:
        for step in reversed(self.undo):
            try:
                step()
            except (OSError, RuntimeError) as error:
                print(f"cleaning up: {error}")
        self.undo.clear()


class Systemd:
    """Asks through `run`, which each kind of machine has in its own way, and shows `console_path` when it fails.

    What the image holds is written below `root` before the boot.
    """

    console_path: Path
    root: Path  # what the image holds, or what is added to it
    aws_url: str

    def write(self, absolute: str, content: str | bytes, mode: int = 0o644) -> None:
        path = self.root / absolute.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)

    def enable(self, *units: str) -> None:
        must("systemctl", "--quiet", f"--root={self.root}", "enable", *units)

    def install_ingot(self, *, enabled: bool = True) -> None:
        """The binary and its units, where the image build puts them; AWS is told to be at `aws_url`."""
        self.write("/usr/bin/ingot", binary().read_bytes(), 0o755)
        for unit in (REPOSITORY / "systemd").glob("ingot*.*"):
            self.write(f"/usr/lib/systemd/system/{unit.name}", unit.read_bytes())
        environment = f"AWS_ENDPOINT_URL={self.aws_url}"
        self.write("/etc/systemd/system.conf.d/harness.conf", f"[Manager]\nDefaultEnvironment={environment}\n")
        if enabled:
            self.enable("ingot.service")

    def run(self, *command: str, timeout: float = PATIENCE, stdin: str | None = None, env: dict | None = None) -> Done:
        """Runs a program inside, beside systemd's units."""
        raise NotImplementedError

    def running(self) -> bool:
        """Whether there is somebody to ask."""
        raise NotImplementedError

    def shell(self, script: str, **more) -> Done:
        return self.run("sh", "-c", script, **more)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """`systemctl show`."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in properties)).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def wait_until(self, script: str, timeout: float = PATIENCE) -> Done:
        """Waits until a shell script inside ends well."""

        def attempt() -> Done | None:
            done = self.shell(script)
            return done if done.code == 0 else None

        return self.wait_for(attempt, timeout, script)

    def wait_until_ended(self, unit: str, timeout: float = 2 * PATIENCE) -> dict[str, str]:
        """Waits until a unit is neither queued nor starting. Its properties.

        PID 1 answers only once the jobs of this boot are queued, so a unit that is enabled is not missed.
        """
        names = ("ActiveState", "SubState", "Result", "ExecMainStatus", "Job", "LoadState")

        def attempt() -> dict[str, str] | None:
            state = self.show(unit, *names)
            moving = state["ActiveState"] in ("activating", "reloading", "deactivating")
            return None if moving or state.get("Job", "") not in ("", "0") else state

        return self.wait_for(attempt, timeout, f"{unit} to end")

    def wait_for(self, attempt, timeout: float, what: str):
        deadline = time.monotonic() + timeout
        while True:
            if found := attempt():
                return found
            if time.monotonic() > deadline:
                raise NotInTime(f"waited {timeout} s in vain for: {what}\n{self.journal()}\n{self.console()}")
            time.sleep(0.05)

    def journal(self, *arguments: str) -> str:
        """The journal of this boot, or what journalctl's arguments choose of it."""
        if not self.running():
            return ""
        chosen = ["journalctl", "--no-pager", "--output=short-monotonic", *arguments]
        try:
            return self.run(*chosen, timeout=PATIENCE).stdout
        except NotInTime:
            return "(the journal did not answer)"

    def console(self) -> str:
        """All that was ever written to /dev/console, without its colours."""
        written = self.console_path.read_bytes().decode("utf-8", "replace")
        return re.sub(r"\x1b\[[0-9;]*m", "", written).replace("\r\n", "\n")
