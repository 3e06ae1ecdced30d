"""A cgroup for each container.

Two containers that are started in one cgroup would share it, and each systemd would take the other's processes for its
own; one that is started where another was killed would find what that has left.
"""

import contextlib
import time
from pathlib import Path


class Cgroup:
    """One in each hierarchy that matters."""

    def __init__(self, name: str):
        root = Path("/sys/fs/cgroup")
        unified = [root] if (root / "cgroup.controllers").exists() else [root / "unified"]
        legacy = [root / kind for kind in ("systemd", "cpuacct", "memory", "pids")]
        self.own = [hierarchy / name for hierarchy in (*unified, *legacy) if hierarchy.is_dir()]
        for directory in self.own:
            directory.mkdir()

    def enter(self) -> None:
        """In the child, before exec."""
        for directory in self.own:
            (directory / "cgroup.procs").write_text("0")

    def remove(self) -> None:
        for directory in self.own:
            for below in sorted(directory.glob("**/"), key=lambda path: -len(path.parts)):
                end = time.monotonic() + 5
                while below.exists() and time.monotonic() < end:
                    with contextlib.suppress(OSError):
                        below.rmdir()
                        break
                    time.sleep(0.02)
