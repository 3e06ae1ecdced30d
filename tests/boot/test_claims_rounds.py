"""Never two at a time, in 200 rounds: real processes of 20 instances want one claim, and whoever holds it is killed, paused for two
minutes and cut off from S3, one after the other.

The rounds run side by side, because they wait nearly all of the time: a claim is stale after a minute. The program holds a lock of
the kernel that ends with the last process of its tree, so that a second one notices whatever is left of the first.
"""

import json
import os
import resource
import select
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from random import Random

import pytest
from harness.agent import DONE, FAILED, PATIENCE, UNREACHABLE, Running, alive, document
from harness.aws.conditional import CUTS, ConditionalStore
from harness.chance import seed
from harness.host.claims import VALUES, instance, instance_id

ROUNDS = 200
INSTANCES = 20
AT_ONCE = 40
ORDERS = list(permutations(("kill", "pause", "cut")))

# In seconds: how long one is paused; how long after its last renewal a claim may be taken over, and the program has to
# be dead.
PAUSED = 120
STALE = 60
DEAD = 45

# Says who runs, and that it could not be alone; starts a daemon that has left its session and its parent; goes on until
# it is let.
PROGRAM = """
trap '' TERM HUP INT
exec 9>>{0}/lock
flock --nonblock 9 || { echo $$ >> {0}/two; exit 9; }
rm -f {0}/daemon
( setsid sh -c 'echo $$ > {0}/starting && mv {0}/starting {0}/daemon; exec sleep 3600' >/dev/null 2>&1 & )
until [ -e {0}/daemon ]; do sleep 0.1; done
read daemon < {0}/daemon
read now rest < /proc/uptime
echo "$$ $daemon $now" >> {0}/began
until [ -e {0}/let ]; do sleep 1; done
kill -9 $daemon
read now rest < /proc/uptime
echo "$$ $now" >> {0}/ended
"""


def now() -> float:
    """As /proc/uptime has it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class Run:
    """One run of the program. Times are seconds of `now`."""

    program: int
    daemon: int
    began: float
    holder: int
    fds: tuple[int, int]
    blow: str | None = None
    struck: float = 0
    renewed: float = 0
    died: float = 0


class Stopped(Exception):
    """Another round has failed."""


class Round:
    """One claim, and the instances that want it."""

    def __init__(self, number: int, directory: Path, s3: ConditionalStore, env: dict[str, str], stop: threading.Event):
        self.number, self.directory, self.s3, self.stop = number, directory, s3, stop
        self.draw = Random(f"{seed()} {number}")
        self.bucket = f"round-{number:03}"
        self.key = f"{self.bucket}/once/shop/prod/commands.migrate/{VALUES['release_sha256']}"
        # The clock of S3 is its own, and may differ from those of the instances.
        s3.ahead[self.bucket] = self.draw.uniform(-200, 200)
        self.env = env
        self.runs: list[Run] = []
        self.running: list[Running] = []
        self.doors = []
        self.waking: threading.Timer | None = None
        directory.mkdir()

    def start(self, count: int) -> None:
        run = ["/bin/sh", "-c", PROGRAM.replace("{0}", str(self.directory))]
        command = {"run": run, "once": "release", "timeout": "20m"}
        text = document(claims=f"s3://{self.bucket}/", values=VALUES, commands={"migrate": command})
        for number in range(count):
            self.doors.append(self.s3.door())
            agent = instance(self.id(number), self.directory / str(number), {**self.env, **self.doors[-1].env})
            self.running.append(agent.start_boot(text))

    def id(self, number: int) -> int:
        return self.number << 8 | number

    def name(self, number: int) -> str:
        return instance_id(self.id(number))

    def lines(self, name: str) -> list[list[str]]:
        path = self.directory / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def alone(self) -> None:
        assert self.lines("two") == [], f"two at a time: {self}"

    def until(self, what: str, condition, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not condition():
            self.alone()
            if self.stop.wait(0.2):
                raise Stopped
            assert time.monotonic() < end, f"{what}: not within {timeout} s: {self}"

    def began(self) -> Run:
        """Waits for another run of the program."""
        self.until("it runs", lambda: len(self.lines("began")) > len(self.runs), STALE + PATIENCE)
        program, daemon, at = self.lines("began")[len(self.runs)]
        parent = int(Path(f"/proc/{program}/stat").read_text().rpartition(") ")[2].split()[1])
        [holder] = (number for number, running in enumerate(self.running) if running.process.pid == parent)
        assert self.s3.writes[self.key][-1].content["holder"] == self.name(holder), self
        fds = os.pidfd_open(int(program)), os.pidfd_open(int(daemon))
        self.runs.append(Run(int(program), int(daemon), float(at), holder, fds))
        return self.runs[-1]

    def strike(self, blow: str) -> None:
        """Waits until the program runs, strikes its holder, and waits for its end."""
        run = self.began()
        if self.stop.wait(self.draw.uniform(0, 12)):
            raise Stopped
        holder = self.running[run.holder].process
        run.blow, run.struck = blow, now()
        match blow:
            case "kill":
                holder.send_signal(signal.SIGKILL)
            case "pause":
                holder.send_signal(signal.SIGSTOP)
                self.waking = threading.Timer(PAUSED, holder.send_signal, [signal.SIGCONT])
                self.waking.start()
            case "cut":
                door = self.doors[run.holder]
                door.late = self.draw.uniform(5, 30)
                door.cut = CUTS[self.number // len(ORDERS) % len(CUTS)]
        ended = select.poll()
        for fd in run.fds:
            # It becomes readable as its process ends, also if nobody asks how that ended.
            ended.register(fd, select.POLLIN)
        self.until("it is dead", lambda: len(ended.poll(0)) == len(run.fds), DEAD + PATIENCE)
        run.died = now()

    def play(self) -> list[Run]:
        """The whole round; each run of the program."""
        try:
            self.start(INSTANCES)
            for blow in ORDERS[self.number % len(ORDERS)]:
                self.strike(blow)
            last = self.began()
            struck = {run.holder for run in self.runs if run.blow}
            ended = lambda: {number for number, running in enumerate(self.running) if running.process.poll() is not None}  # noqa: E731
            self.until("whoever was struck ends", lambda: ended() >= struck, PAUSED + PATIENCE)
            assert ended() == struck and alive(str(last.program)) and len(self.lines("began")) == 4, self
            (self.directory / "let").touch()
            self.judge()
            return self.runs
        finally:
            self.end()

    def judge(self) -> None:
        """What has to hold at the end of each round."""
        said = [f"was run by {self.name(self.runs[-1].holder)} for v1"]
        expected = {number: ((DONE,), said) for number in range(INSTANCES)}
        expected[self.runs[-1].holder] = ((DONE,), [])
        lost = ["could not be renewed for 40s", "has taken over the claim"]
        # What was in trouble when it was paused may take that for the cause.
        codes = {"kill": (-signal.SIGKILL,), "pause": (FAILED, UNREACHABLE), "cut": (UNREACHABLE,)}
        words = {"kill": [], "pause": lost, "cut": lost[:1]}
        expected.update({run.holder: (codes[run.blow], words[run.blow]) for run in self.runs[:-1]})
        assert len(expected) == INSTANCES
        for number, (codes, words) in expected.items():
            result = self.running[number].wait(PATIENCE)
            assert result.code in codes, (self, result)
            text = result.failure("commands.migrate") if result.code > 0 else result.stderr
            assert not words or any(word in text for word in words), (self, words, result)
        self.alone()
        assert len(self.lines("began")) == 4 and [line[0] for line in self.lines("ended")] == [str(self.runs[-1].program)], self
        self.judge_claim()
        for run, following in zip(self.runs, self.runs[1:], strict=False):
            assert run.died < following.began, f"it was not dead yet: {run} {following} {self}"
            assert run.died - run.renewed < STALE - 5, f"it died late: {run} {self}"

    def judge_claim(self) -> None:
        """It went from hand to hand only when it was stale, and is done once."""
        writes = self.s3.writes[self.key]
        assert [write.content["state"] for write in writes].count("done") == 1 and writes[-1].content["state"] == "done", self
        holders = [self.name(run.holder) for run in self.runs]
        for before, after in zip(writes, writes[1:], strict=False):
            if before.content["holder"] != after.content["holder"]:
                assert after.modified - before.modified >= STALE, (self, before, after)
                run = self.runs[holders.index(before.content["holder"])]
                run.renewed = before.at
                assert holders[holders.index(before.content["holder"]) + 1] == after.content["holder"], self
        assert len({write.content["holder"] for write in writes}) == len(self.runs), self

    def end(self) -> None:
        if self.waking:
            self.waking.cancel()
        for running in self.running:
            running.process.kill()
            running.process.wait()
        for fd in [fd for run in self.runs for fd in run.fds]:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)
        for door in self.doors:
            self.s3.close(door)
        shutil.rmtree(self.directory)

    def __str__(self) -> str:
        writes = [(round(write.at, 2), write.content) for write in self.s3.writes[self.key]]
        return json.dumps([f"round {self.number} of INGOT_SEED={seed()}", list(map(vars, self.runs)), writes], indent=1)

    __repr__ = __str__


def told(runs: list[Run], following: list[Run]) -> str:
    """How long after a blow what it was aimed at was dead, and how long after that another began."""
    died = sorted(run.died - run.struck for run in runs)
    gaps = sorted(after.began - run.died for run, after in zip(runs, following, strict=True))
    since = sorted(run.died - run.renewed for run in runs)
    parts = [f"{values[0]:.1f} to {values[-1]:.1f} s" for values in (died, since, gaps)]
    return "{} blows: dead {} later, {} after the last write; {} before another began".format(len(runs), *parts)


@pytest.fixture
def many_files():
    """Each instance takes about five."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_never_two_at_a_time_in_200_rounds(ingot, tmp_path, metadata, many_files):
    begun, stop, played = time.monotonic(), threading.Event(), []
    with ConditionalStore(Random(seed()), trouble=0.02) as s3, ThreadPoolExecutor(AT_ONCE) as pool:

        def play(number: int) -> list[Run]:
            # All at the same moment would be more than two cores can start in time.
            if stop.wait(number if number < AT_ONCE else 0):
                raise Stopped
            return Round(number, tmp_path / str(number), s3, metadata.env, stop).play()

        rounds = [pool.submit(play, number) for number in range(ROUNDS)]
        try:
            for done in as_completed(rounds):
                played.append(done.result())
        finally:
            stop.set()
            for future in rounds:
                future.cancel()
    assert len(played) == ROUNDS
    for blow in ORDERS[0]:
        pairs = [pair for runs in played for pair in zip(runs, runs[1:], strict=False) if pair[0].blow == blow]
        assert len(pairs) == ROUNDS
        print(f"{blow}: {told(*map(list, zip(*pairs, strict=True)))}")
    print(f"{time.monotonic() - begun:.0f} s, {s3.requests} requests")


def test_two_at_a_time_are_noticed(ingot, tmp_path, metadata):
    """S3 says that a minute is over, and it is not."""
    with ConditionalStore(Random(seed())) as s3:
        round_ = Round(0, tmp_path / "0", s3, metadata.env, threading.Event())
        try:
            round_.start(2)
            round_.began()
            s3.ahead[round_.bucket] += STALE + 1
            with pytest.raises(AssertionError, match="two at a time"):
                round_.began()
        finally:
            round_.end()
