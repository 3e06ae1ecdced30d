"""QEMU's machine protocol: one command at a time, events passed over.

<https://www.qemu.org/docs/master/interop/qmp-spec.html>
"""

import json
import socket
import threading
from pathlib import Path


class QmpError(RuntimeError):
    """QEMU refused a command."""


class Qmp:
    def __init__(self, path: Path):
        self.lock = threading.Lock()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")
        self.lines.readline()  # the greeting
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments):
        with self.lock:
            self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
            while line := self.lines.readline():
                answer = json.loads(line)
                if "error" in answer:
                    raise QmpError(f"{command}: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]
        raise QmpError(f"{command}: QEMU has ended")

    def close(self) -> None:
        self.lines.close()
        self.socket.close()
