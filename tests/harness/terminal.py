"""A terminal for a program under test: what it draws, and keys that are pressed.

with Terminal() as terminal:
    process = terminal.run(["ingot-fleet", "status", "--watch"], stdout=True)
    terminal.until(lambda: "Ok (green)" in terminal.text)
    terminal.press("\\x03")
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from harness.agent import PATIENCE

CTRL_C = "\x03"

# What acts on a terminal: colors, and what moves or clears.
SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLORS = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str) -> str:
    return SEQUENCES.sub("", text)


class Terminal:
    """As wide and high as terminals were."""

    def __init__(self, rows: int = 24, columns: int = 80):
        self.size, self.text = (rows, columns), ""

    def __enter__(self) -> "Terminal":
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *self.size, 0, 0))
        return self

    def __exit__(self, *_) -> None:
        for fd in (self.ours, self.theirs):
            with contextlib.suppress(OSError):
                os.close(fd)

    def run(self, command: list[str], stdout: bool, env: dict[str, str], cwd) -> subprocess.Popen:
        """Runs a program whose stdout, or stderr, is this terminal; the other one is a pipe. Its keys are of the terminal."""
        shown = {"stdout": self.theirs, "stderr": subprocess.PIPE} if stdout else {"stdout": subprocess.PIPE, "stderr": self.theirs}

        def lead() -> None:
            os.setsid()
            fcntl.ioctl(self.theirs, termios.TIOCSCTTY, 0)

        return subprocess.Popen(command, cwd=cwd, env={**env, "TERM": "xterm"}, stdin=self.theirs, preexec_fn=lead, **shown)

    def read(self, seconds: float = 0.1) -> None:
        """Takes in what was drawn, for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.ours], [], [], left)[0]:
                self.text += os.read(self.ours, 65536).decode("utf-8", "replace")

    def until(self, condition, seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain on the terminal:\n{self.text}"
            self.read()

    def ended(self, process: subprocess.Popen, seconds: float = PATIENCE) -> int:
        self.until(lambda: process.poll() is not None, seconds)
        self.read()
        return process.returncode

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    @property
    def screens(self) -> list[list[str]]:
        """What each redrawing from the upper left corner showed, as lines of plain text."""
        drawn = re.split(r"\x1b\[H", self.text)[1:]
        return [plain(one).replace("\r", "").splitlines() for one in drawn]
