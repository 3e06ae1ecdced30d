"""The built binary, run as a user or an instance would run it.

agent = Agent(tmp_path, env={**imds.env, **aws.env})
result = agent.boot(DOCUMENT)
assert result.code == 0, result
assert agent.read("/etc/app.conf") == "…"
"""

import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BUILDS = ("target/x86_64-unknown-linux-gnu/dist/ingot", "target/release/ingot", "target/debug/ingot")

# The seconds after which an event that a test waits for is taken not to come, also on a machine that is busy.
PATIENCE = 120

# The exit codes of the command line.
DONE, FAILED, USAGE, BUG, UNREACHABLE, BAD_DOCUMENT = 0, 1, 2, 70, 75, 78

# What a machine records about its boots; everything else below a root is what a document asked for.
RECORDS = ("run/ingot", "var/lib/ingot")


def binary() -> Path | None:
    """The binary under test: $INGOT, or the first build there is, the static one first."""
    if named := os.environ.get("INGOT"):
        return Path(named).resolve()
    return next((REPOSITORY / build for build in BUILDS if (REPOSITORY / build).exists()), None)


def waits_for(path: Path, then: str = "true") -> list[str]:
    """A command that waits until a test makes this file."""
    return ["/bin/sh", "-c", f"until [ -e {path} ]; do sleep 0.05; done; {then}"]


def document(**sections: dict) -> str:
    """A document of these sections."""
    return "#ingot\n" + json.dumps({"version": 1, **sections}, indent=1) + "\n"


@dataclass
class Result:
    """How one run ended. Printed whole when an assertion fails."""

    args: list[str]
    code: int
    stdout: str
    stderr: str
    seconds: float
    report: dict | None

    def __str__(self) -> str:
        return (
            f"ingot {' '.join(self.args)}: exit code {self.code} after {self.seconds:.3f} s\n"
            f"--- stdout\n{self.stdout}--- stderr\n{self.stderr}--- report\n{json.dumps(self.report, indent=1)}"
        )

    @property
    def json(self):
        return json.loads(self.stdout)

    def step(self, address: str) -> dict:
        """What the report says of one step."""
        steps = self.report["steps"]
        if isinstance(steps, dict):
            return steps[address]
        return next(step for step in steps if step["address"] == address)

    def failure(self, address: str) -> str:
        """Why a step failed, in all its words: message, causes, hint."""
        step = self.step(address)
        assert step["outcome"] == "failed", self
        error = step["error"]
        return "\n".join([": ".join([error["message"], *error.get("causes", [])]), f"hint: {error.get('hint')}"])

    def outcomes(self) -> dict[str, str]:
        steps = self.report["steps"]
        items = steps.items() if isinstance(steps, dict) else ((step["address"], step) for step in steps)
        return {address: step["outcome"] for address, step in items}


# A child's peak begins with the memory of the process that started it: ours is large, perl's is 2 MB.
LAUNCHER = """
    $child = fork; if (!$child) { exec { $ARGV[0] } @ARGV; exit 127 }
    ($status, $usage) = (pack("i", 0), "\\0" x 144);
    syscall(`uname -m` =~ /aarch64/ ? 260 : 61, $child, $status, 0, $usage);
    printf STDERR "%d %d\\n", unpack("i", $status) >> 8, (unpack "q18", $usage)[4];
"""


def peak_memory(command: list[str], env: dict[str, str], stdin: bytes | None = None) -> int:
    """Runs a program to its good end. The most memory that it, or a child of it, had resident, in KiB."""
    done = subprocess.run(["perl", "-e", LAUNCHER, *command], env=env, input=stdin, capture_output=True, timeout=300)
    code, peak = done.stderr.decode().splitlines()[-1].split()
    assert code == "0", done
    return int(peak)


def alive(pid: str) -> bool:
    """Whether a process runs. One that has ended may stay as a zombie where nobody asks how it ended."""
    try:
        return Path(f"/proc/{pid.strip()}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def ends(pid: str, timeout: float = PATIENCE) -> bool:
    """Whether a process that was killed is gone: on a busy machine that takes a moment."""
    end = time.monotonic() + timeout
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


def comes(condition, running: "Running | None" = None, timeout: float = PATIENCE) -> bool:
    """Waits for something to come true; false if the run ends without it."""
    end = time.monotonic() + timeout
    while not condition():
        if running and running.process.poll() is not None:
            return condition()
        assert time.monotonic() < end, (f"did not come within {timeout} s", running and running.lines)
        time.sleep(0.01)
    return True


def until(what: str, condition, running: "Running | None" = None, timeout: float = PATIENCE) -> None:
    """Waits for something to come true while a boot runs."""
    assert comes(condition, running, timeout), (what, running and running.wait())


class Running:
    """A run that has not ended. Its stderr is read as it comes."""

    def __init__(self, args: list[str], env: dict[str, str], stdin: bytes | None, report: Path, prefix: list[str] = ()):
        """`prefix`: the program, with its arguments, that becomes ingot; it has to stay the same process."""
        self.args = args
        self.report = report
        self.begun = time.monotonic()
        self.output = tempfile.TemporaryFile()
        self.lines: list[str] = []
        self.news = threading.Condition()
        self.ended = False
        self.process = subprocess.Popen(
            [*prefix, str(binary()), *args],
            env=env,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.PIPE,
            text=False,
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if stdin is not None:
            try:
                self.process.stdin.write(stdin)
                self.process.stdin.close()
            except BrokenPipeError:
                pass

    def read(self) -> None:
        for line in self.process.stderr:
            with self.news:
                self.lines.append(line.decode("utf-8", "replace"))
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def wait_for_line(self, pattern: str, timeout: float = PATIENCE) -> bool:
        """Waits until a line of stderr matches; false if the run ends without one."""
        with self.news:
            found = lambda: any(re.search(pattern, line) for line in self.lines)  # noqa: E731
            self.news.wait_for(lambda: found() or self.ended, timeout)
            return found()

    def printed(self) -> str:
        """What is on stdout so far."""
        return os.pread(self.output.fileno(), 1 << 20, 0).decode("utf-8", "replace")

    def kill(self) -> None:
        """SIGKILL, as a power cut or the OOM killer does it."""
        self.process.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 2 * PATIENCE) -> Result:
        killer = threading.Timer(timeout, self.kill)
        killer.start()
        try:
            code = self.process.wait()
        finally:
            killer.cancel()
        seconds = time.monotonic() - self.begun
        self.reader.join(5)
        self.output.seek(0)
        stdout = self.output.read().decode("utf-8", "replace")
        self.output.close()
        try:
            report = json.loads(self.report.read_bytes())
        except (FileNotFoundError, ValueError):
            # There is none, or a test has damaged it.
            report = None
        return Result(self.args, code, stdout, "".join(self.lines), seconds, report)


class Agent:
    """ingot on a machine that is a directory; with `inside`, such as `loop.Disks`, in a mount namespace of its own."""

    def __init__(self, directory: Path, env: dict[str, str] | None = None, *, inside=None):
        self.root = directory / "root"
        self.root.mkdir(exist_ok=True)
        self.inside = inside
        self.env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **(env or {})}

    def start(
        self, *args: str, stdin: bytes | str | None = None, env: dict[str, str] | None = None, prefix: list[str] | None = None
    ) -> Running:
        """`prefix` takes the place of what leads inside."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        report = self.root / "run/ingot/report.json"
        if prefix is None:
            prefix = self.inside.prefix if self.inside else []
        return Running([str(arg) for arg in args], {**self.env, **(env or {})}, stdin, report, prefix)

    def run(self, *args: str, stdin: bytes | str | None = None, timeout: float = 2 * PATIENCE, **more) -> Result:
        return self.start(*args, stdin=stdin, **more).wait(timeout)

    def boot(self, document: bytes | str | None = None, *args: str, **more) -> Result:
        """`ingot boot` below this root; of `document` if given, else of the user data that IMDS has."""
        return self.run(*self.boot_args(document, *args), stdin=document, **more)

    def start_boot(self, document: bytes | str | None = None, *args: str, **more) -> Running:
        return self.start(*self.boot_args(document, *args), stdin=document, **more)

    def boot_args(self, document, *args: str) -> list[str]:
        source = ["--user-data", "-"] if document is not None else []
        return ["boot", "--root", str(self.root), *source, *args]

    def path(self, absolute: str) -> Path:
        root = self.inside.seen(self.root) if self.inside else self.root
        return root / absolute.lstrip("/")

    def read(self, absolute: str) -> str:
        return self.path(absolute).read_text()

    def mode(self, absolute: str) -> str:
        return f"{stat.S_IMODE(self.path(absolute).stat().st_mode):04o}"

    def write(self, absolute: str, content: str | bytes, mode: int = 0o644) -> Path:
        path = self.path(absolute)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def tree(self, *, identity: bool = False) -> dict[str, tuple]:
        """All that lies below the root but ingot's records: kind, mode, owner, content or where it leads; with
        `identity`, also inode and time, which a file that was written again does not keep."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if any(name == record or name.startswith(record + "/") for record in RECORDS):
                continue
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[name] = (stat.filemode(status.st_mode), status.st_uid, status.st_gid, content)
            if identity and stat.S_ISREG(status.st_mode):
                found[name] += (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        return found

    def leaks(self, result: Result, secrets: list[str]) -> list[str]:
        """Where any of `secrets` can be read that is not a file the document asked for."""
        places = {"stdout": result.stdout, "stderr": result.stderr, "report": json.dumps(result.report)}
        for record in RECORDS:
            for path in (self.root / record).rglob("*"):
                if path.is_file() and not path.is_symlink():
                    places[str(path)] = path.read_bytes().decode("utf-8", "replace")
        return [place for place, text in places.items() if any(secret in text for secret in secrets)]
