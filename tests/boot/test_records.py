"""Whatever lies in place of a file that ingot keeps: a clean redo or a clear message, never a panic, a hang, or a "done" that is
not. `KEPT` are the files and `DAMAGES` what may have become of each.
"""

import json
import os
import random
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.agent import DONE, FAILED, Agent, binary, document
from harness.chance import seed

INSTANCE = "i-0abc123def4567890"
OF_INSTANCE = f"/var/lib/ingot/instances/{INSTANCE}"
RECORD, REPORT, FACTS, LOCK = f"{OF_INSTANCE}/record.json", "/run/ingot/report.json", "/run/ingot/facts.env", "/run/ingot/lock"
# What is not there after a boot, and what a boot that was cut off may have left.
STAGED = f"{OF_INSTANCE}/.record.json.new"
DIRECTORIES = [OF_INSTANCE, "/var/lib/ingot/instances", "/var/lib/ingot", "/run/ingot"]
KEPT = [RECORD, REPORT, FACTS, LOCK, STAGED, *DIRECTORIES]
UNCHANGED = {"commands.once": "unchanged", "files./etc/app": "unchanged"}
BIG = 1 << 31


def outside(path: Path) -> Path:
    """Somebody's file that no link may lead a write of ours to."""
    canary = path.parents[len(path.parts) - path.parts.index("root") - 1] / "canary"
    canary.write_text("theirs\n")
    return canary


def nothing(path: Path) -> None:
    """Takes away what is there, whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def instead(make):
    """Something else in its place."""

    def damage(path: Path, chance: random.Random) -> None:
        nothing(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)

    return damage


def bytes_of(change):
    """Other bytes in it. What is no file becomes one."""

    def damage(path: Path, chance: random.Random) -> None:
        whole = path.read_bytes() if path.is_file() else b'{"version": 1}\n'
        mode = path.stat().st_mode & 0o777 if path.is_file() else 0o600
        nothing(path)
        path.write_bytes(change(whole, chance))
        path.chmod(mode)

    return damage


def json_with(change):
    """Other JSON in it; where there is none, the bytes of some."""

    def changed(whole: bytes, chance: random.Random) -> bytes:
        try:
            content = json.loads(whole)
        except ValueError:
            content = {"version": 1, "entries": {}}
        if isinstance(content, dict):
            change(content, chance)
        return json.dumps(content).encode()

    return bytes_of(changed)


def flipped(whole: bytes, chance: random.Random) -> bytes:
    changed = bytearray(whole or b"\0")
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def dropped(whole: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(whole) + 1)
    return whole[:at] + whole[at + chance.randrange(1, 20) :]


def retyped(content: dict, chance: random.Random) -> None:
    """One of its values becomes of another type."""
    places = []

    def walk(node) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(content)
    node, key = chance.choice(places or [(content, "new")])
    node[key] = chance.choice([None, True, -1, 1.5, 10**30, "x", "", [], {}, [[]], {"a": {}}])


def lost(content: dict, chance: random.Random) -> None:
    if content:
        del content[chance.choice(list(content))]


def full(path: Path) -> None:
    (path / "a" / "b").mkdir(parents=True)
    (path / "a" / "c").write_text("x")


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(BIG)


def listening(path: Path) -> None:
    # Addresses of sockets are short.
    with socket.socket(socket.AF_UNIX) as made:
        at = os.getcwd()
        os.chdir(path.parent)
        try:
            made.bind(path.name)
        finally:
            os.chdir(at)


def unreadable(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)


DAMAGES = {
    "empty": bytes_of(lambda whole, _: b""),
    "one byte less": bytes_of(lambda whole, _: whole[:-1]),
    "half": bytes_of(lambda whole, _: whole[: len(whole) // 2]),
    "cut anywhere": bytes_of(lambda whole, chance: whole[: chance.randrange(len(whole) or 1)]),
    "cut anywhere else": bytes_of(lambda whole, chance: whole[: chance.randrange(len(whole) or 1)]),
    "twice": bytes_of(lambda whole, _: whole + whole),
    "something behind it": bytes_of(lambda whole, _: whole + b"\0garbage"),
    "zeros": bytes_of(lambda whole, _: bytes(len(whole))),
    "noise": bytes_of(lambda whole, chance: chance.randbytes(4096)),
    "UTF-16": bytes_of(lambda whole, _: whole.decode("utf-8", "replace").encode("utf-16")),
    "a byte order mark": bytes_of(lambda whole, _: b"\xef\xbb\xbf" + whole),
    "brackets": bytes_of(lambda whole, _: b"[" * 200_000),
    "braces": bytes_of(lambda whole, _: b'{"entries":' * 200_000),
    "null": bytes_of(lambda whole, _: b"null"),
    "a number": bytes_of(lambda whole, _: b"1e999999"),
    **{f"a bit flipped ({n})": bytes_of(flipped) for n in range(8)},
    **{f"bytes dropped ({n})": bytes_of(dropped) for n in range(3)},
    **{f"a value of another type ({n})": json_with(retyped) for n in range(6)},
    "a key lost": json_with(lost),
    "of version 0": json_with(lambda content, _: content.update(version=0)),
    "of version 2": json_with(lambda content, _: content.update(version=2)),
    "of version 2^64": json_with(lambda content, _: content.update(version=1 << 64)),
    "of another instance": json_with(lambda content, _: content.update(instance="i-0fedcba9876543210")),
    "a key too many": json_with(lambda content, _: content.update(another=1)),
    "of 2 GiB": instead(sparse),
    "a directory": instead(Path.mkdir),
    "a full directory": instead(full),
    "a FIFO": instead(os.mkfifo),
    "a socket": instead(listening),
    "a link to nowhere": instead(lambda path: path.symlink_to("nowhere")),
    "a link to itself": instead(lambda path: path.symlink_to(path.name)),
    "a link to somebody's file": instead(lambda path: path.symlink_to(outside(path))),
    "a hard link to somebody's file": instead(lambda path: path.hardlink_to(outside(path))),
    "a link to somebody's directory": instead(lambda path: (path.parent / "theirs").mkdir(exist_ok=True) or path.symlink_to("theirs")),
    "a link to /dev/zero": instead(lambda path: path.symlink_to("/dev/zero")),
    "the device /dev/zero": instead(lambda path: os.mknod(path, 0o020600, os.makedev(1, 5))),
    "the device /dev/full": instead(lambda path: os.mknod(path, 0o020600, os.makedev(1, 7))),
    "unreadable": instead(unreadable),
}  # fmt: skip

# What root does not notice, and what it notices otherwise.
OF_OTHERS = ["unreadable", "empty", "half", "a directory", "a link to nowhere", "a link to somebody's file", "a FIFO"]
LIMITS = ["prlimit", f"--data={128 << 20}", "--cpu=5"]
AT_ONCE = 6
SHARES = [pytest.param(11, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]


def checked(agent: Agent, *args: str, codes: tuple, prefix: list[str], stdin: str = "") -> subprocess.CompletedProcess:
    """Runs something that has to end by itself, well or with a word."""
    command = [*prefix, str(binary()), *args]
    result = subprocess.run(command, env=agent.env, input=stdin, capture_output=True, text=True, errors="replace", timeout=60)
    assert result.returncode in codes and "panicked" not in result.stderr and len(result.stderr) < 20_000, result
    return result


def report_of(agent: Agent) -> dict | None:
    """The report, if it is one that is read by others: a file of a size that a report has."""
    path = agent.path(REPORT)
    if path.is_file() and path.stat().st_size < 1 << 20:
        try:
            return json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            pass
    return None


def ended(agent: Agent, ran: int, prefix) -> tuple[int, int]:
    """A boot that ends well, or with a message: its exit code, and how often its command has run since."""
    before = report_of(agent)
    args = agent.boot_args(agent.text, "--deadline", "30s")
    result = checked(agent, *args, codes=(DONE, FAILED), prefix=prefix, stdin=agent.text)
    report = report_of(agent)
    runs = len((agent.root.parent / "ran").read_text().split())
    assert ran <= runs <= ran + 1, result
    if result.returncode == DONE:
        assert agent.read("/etc/app") == f"{INSTANCE}\n" and agent.read(FACTS) == agent.facts, result
        if report:
            assert report["outcome"] == "done" and report != before, result
        else:
            assert f"warning: cannot replace {REPORT}" in result.stderr, result
        record = agent.path(RECORD)
        assert record.is_file() and json.loads(record.read_text())["entries"]["commands.once"]["state"] == "done", result
        assert runs == ran or "commands.once: changed" in result.stderr, result
        assert not [path for path in agent.root.rglob("*.new")], result
    else:
        assert "hint" in result.stderr, result
    return result.returncode, runs


def spoiled(directory: Path, env: dict, kept: str, name: str, chance: random.Random, user: list[str]) -> str | None:
    """Boots, damages, asks, boots, clears away what could not be, boots, and boots in peace."""
    directory.mkdir(mode=0o777)
    agent = Agent(directory, env)
    agent.text = document(
        files={"/etc/app": {"content": "{{instance.id}}\n"}},
        commands={"once": {"run": ["/bin/sh", "-c", f"echo ran >> {directory}/ran"]}, "always": {"run": ["true"], "once": "always"}},
    )
    if user:
        for path in (directory, agent.root):
            os.chown(path, 65534, 65534)
    prefix = [*LIMITS, *user]
    result = agent.boot(agent.text, prefix=prefix)
    assert result.code == DONE, result
    agent.facts = agent.read(FACTS)
    DAMAGES[name](agent.path(kept), chance)
    if user and not agent.path(kept).is_symlink():
        os.chown(agent.path(kept), 65534, 65534)
    # No report says that all is well but a whole one: "done", or nothing of the kind.
    status = checked(agent, "status", "--root", str(agent.root), codes=(0, 1, 3, 4), prefix=prefix)
    if kept == REPORT and status.returncode == 0:
        assert report_of(agent)["outcome"] == "done"
    code, runs = ended(agent, 1, prefix)
    canary = directory / "canary"
    assert not canary.exists() or canary.read_text() == "theirs\n", "a link led a write of ours there"
    if kept not in DIRECTORIES:
        assert not [path for path in agent.root.rglob("theirs") for _ in path.iterdir()], "something of ours is there"
    if code != DONE or not report_of(agent):
        # What the message asked for.
        nothing(agent.path(kept))
        _, runs = ended(agent, runs, prefix)
    again = agent.boot(agent.text, prefix=prefix)
    assert again.code == DONE and again.outcomes() == {**UNCHANGED, "commands.always": "changed"}, again
    assert again.report["warnings"] == [] and ended(agent, runs, prefix) == (DONE, runs), again
    return None


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("user", [[], ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]], ids=["root", "nobody"])
def test_whatever_lies_in_place_of_what_ingot_keeps(ingot, metadata, share, user, tmp_path):
    begun = seed()
    rows = [(kept, name) for name in DAMAGES for kept in KEPT][::share]
    if user:
        # A lock that its owner cannot open is taken for another's.
        rows = [(kept, name) for kept, name in rows if name in OF_OTHERS and (kept, name) != (LOCK, "unreadable")]
    # Others than root have to reach their machines.
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() == "root" and path.stat().st_mode & 0o001 == 0:
            path.chmod(path.stat().st_mode | 0o011)

    def tried(numbered) -> str | None:
        number, (kept, name) = numbered
        try:
            return spoiled(tmp_path / str(number), metadata.env, kept, name, random.Random(f"{begun} {kept} {name}"), user)
        except Exception as error:  # also an AssertionError
            return f"{name} for {kept}: {type(error).__name__}: {error}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        wrong = [why for why in pool.map(tried, enumerate(rows)) if why]
    assert not wrong, f"INGOT_SEED={begun}: {len(wrong)} of {len(rows)}\n" + "\n".join(wrong)


# What a report can have become, and what is asked of it.


@pytest.mark.parametrize("share", SHARES)
def test_a_damaged_report_of_a_failure_is_never_one_of_a_success(agent, tmp_path, share):
    begun = seed()
    result = agent.boot(document(commands={"bad": {"run": ["false"]}, "good": {"run": ["true"]}}))
    assert result.code == FAILED, result
    whole = agent.path(REPORT).read_bytes()
    chance = random.Random(begun)
    rows = [(name, n) for name, damage in DAMAGES.items() for n in range(4)][::share]
    for name, _ in rows:
        nothing(agent.path(REPORT))
        agent.write(REPORT, whole)
        DAMAGES[name](agent.path(REPORT), chance)
        for json_too in ((), ("--json",)):
            status = checked(agent, "status", *json_too, "--root", str(agent.root), codes=(1, 2, 4), prefix=LIMITS)
            assert (status.returncode == 4) == ("never ran" in status.stdout), (begun, name, status)
        for verb in ((), ("blame",), ("chain",), ("plot",)):
            checked(agent, "analyze", *verb, str(agent.path(REPORT)), codes=(0, 1, 2), prefix=LIMITS)
