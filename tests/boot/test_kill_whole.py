"""A whole machine, killed at every boundary there is: each exchange with AWS or IMDS, each file that takes its place, each
write that reaches the disk; and at moments that nobody has chosen. The next boot ends as if it had not been killed, with one volume, attached once.

A command that was under way runs again, as its documentation says; one that is on record as done does not.
"""

import json
import random
import re
import time
from dataclasses import dataclass

import pytest
from harness.agent import DONE, comes
from harness.chance import seed
from harness.host.whole import DOCUMENTS, SECRETS

# By these files take their place, reach the disk and go, and the disk is mounted.
BOUNDARIES = ("rename", "renameat", "renameat2", "fsync", "fdatasync", "mkdir", "mkdirat", "unlink", "unlinkat", "symlink", "symlinkat", "mount")


# Of all moments there are, every seventh on each push: documents, AWS and IMDS, done and not done all among them.
SHARES = [pytest.param(7, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]


def begun(machine) -> set[str]:
    """The commands that had begun when the power failed, and are not on record as done."""
    commands = set()
    for path in machine.root.glob("var/lib/ingot/instances/*/record.json"):
        entries = json.loads(path.read_text())["entries"]
        commands |= {key for key, entry in entries.items() if entry["state"] == "started"}
    return {name.removeprefix("commands.") for name in commands if name.startswith("commands.")}


def ends_whole(machine, whole) -> None:
    whole = whole[machine.document]
    under_way = begun(machine)
    result = machine.go("--deadline", "180s")
    assert result.code == DONE, result
    assert machine.leaks(result, SECRETS) == []
    made = machine.lasting()
    for name in under_way:
        made["ran"][name] = made["ran"][name].removesuffix("ran\n") or "ran\n"
    assert made == whole.made, (under_way, result)
    assert machine.told() == whole.told, result
    again = machine.go()
    assert again.code == DONE and "changed" not in again.outcomes().values(), again


@dataclass(frozen=True)
class Exchange:
    """The power fails while the answer to this exchange is awaited, which was carried out or was not."""

    document: str
    of_aws: bool
    number: int
    done: bool


@pytest.mark.parametrize("share", SHARES)
def test_killed_at_every_exchange(places, whole, tmp_path, share):
    early = []

    def cell(place, machine, row):
        machine.use(row.document)
        if row.of_aws:
            fault = {"kind": "hang", "times": 1} if row.done else {"kind": "status", "status": 503}
            place.aws.fault(**fault, after=row.number)
            reached = lambda: place.aws.count() > row.number and "status" in place.aws.calls()[row.number]  # noqa: E731
        else:
            place.imds.configure(faults=[{"kind": "hang", "after": row.number, "times": 1}])
            reached = lambda: len(place.imds.requests()) > row.number  # noqa: E731
        if not killed(place, machine, reached):
            early.append(row)
        ends_whole(machine, whole)

    rows = []
    for document in DOCUMENTS:
        rows += [Exchange(document, True, number, done) for number in range(len(whole[document].calls)) for done in (True, False)]
        rows += [Exchange(document, False, number, True) for number in range(len(whole[document].reads))]
    rows = rows[::share]
    places.each(tmp_path, rows, cell)
    # One boot asks EC2 and RDS for a state more often than another, so a few boots have fewer exchanges than the first.
    assert len(early) <= len(rows) / 10, (early, len(rows))


def killed(place, machine, reached) -> bool:
    """Boots until then, and no further; false if the boot ended before. The next boot is not disturbed."""
    running = machine.start_boot(None)
    there = comes(reached, running)
    running.kill()
    running.wait()
    place.aws.recover()
    place.imds.configure(faults=[])
    return there


def test_killed_at_a_heartbeat(places, whole, tmp_path):
    def cell(place, machine, row):
        operation, done = row
        machine.hold()
        fault = {"kind": "hang", "times": 1} if done else {"kind": "status", "status": 503}
        place.aws.fault(**fault, operation=operation)
        assert killed(place, machine, lambda: any("status" in call for call in place.aws.calls(operation))), row
        machine.release()
        ends_whole(machine, whole)

    rows = [(operation, done) for operation in ("DescribeLifecycleHooks", "RecordLifecycleActionHeartbeat") for done in (True, False)]
    places.each(tmp_path, rows, cell)


def traced(machine, *options: str) -> list[str]:
    """What ingot is started by, so that strace sees these calls of the kernel."""
    return [*machine.inside.prefix, "strace", "--follow-forks", "--quiet=all", f"--trace={','.join(BOUNDARIES)}", *options]


@pytest.mark.parametrize("share", SHARES)
def test_killed_at_every_change_of_the_disk(places, whole, tmp_path, share):
    """strace counts for each thread by itself: the first to come to its call number n is the end of all."""
    log = tmp_path / "log"
    counts: dict[str, dict[str, int]] = {}

    def count(place, machine, _):
        assert machine.go(prefix=traced(machine, "-o", log)).code == DONE

    places.each(tmp_path / "counted", ["counted"], count)
    for line in log.read_text().splitlines():
        if found := re.match(r"(\d+) +(\w+)\(", line):
            thread = counts.setdefault(found[2], {})
            thread[found[1]] = thread.get(found[1], 0) + 1
    rows = [(call, number) for call, threads in counts.items() for number in range(1, max(threads.values()) + 1)]
    assert {"rename", "fsync"} & counts.keys() and len(rows) > 20, counts
    rows = rows[::share]
    ended = []

    def cell(place, machine, row):
        call, number = row
        result = machine.go(prefix=traced(machine, "-o", "/dev/null", f"--inject={call}:signal=KILL:when={number}"))
        if result.code != DONE:
            ended.append(row)
        ends_whole(machine, whole)

    places.each(tmp_path / "killed", rows, cell)
    # Threads share the work anew each time, and some may have had less.
    assert len(ended) > len(rows) / 2, (ended, rows)


@pytest.mark.slow
def test_killed_at_random_moments(places, whole, tmp_path):
    """A kill comes where no boundary was thought of: in the middle of a write, of a wait, of an end."""
    begun = seed()
    chance = random.Random(begun)
    rows = [(chance.choice(DOCUMENTS), chance.random()) for _ in range(60)]
    over = []

    def cell(place, machine, row):
        document, moment = row
        machine.use(document)
        running = machine.start_boot(None)
        time.sleep(moment * whole[document].seconds)
        running.kill()
        if running.wait().code == DONE:
            over.append(row)
        ends_whole(machine, whole)

    print(f"INGOT_SEED={begun}")
    places.each(tmp_path, rows, cell)
    # Some boots are faster than the first was.
    assert len(over) <= len(rows) / 2, over
