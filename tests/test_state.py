"""What ingot remembers of an instance: whole or set aside, and on a disk that is full or not to be written to.

A command that runs once an instance is what needs it: `once` appends a line to a file each time it runs.
"""

import json
from types import SimpleNamespace

import pytest
from harness.agent import DONE, FAILED, Agent

RECORD = "/var/lib/ingot/instances/i-0abc123def4567890/record.json"

DOCUMENT = """\
#ingot
version: 1
files:
  /etc/app/plain: {{ content: "{{{{instance.id}}}}\\n" }}
commands:
  once: {{ run: [/bin/sh, -c, "echo ran >>{ran}"] }}
  always: {{ run: [/bin/true], once: always }}
"""


@pytest.fixture
def machine(agent, tmp_path):
    """An instance, its document, and how often the command has run on it."""
    ran = tmp_path / "ran"
    agent.document = DOCUMENT.format(ran=ran)
    agent.ran = lambda: ran.read_text().count("ran") if ran.exists() else 0
    return agent


def mounted(agent: Agent, mount: str) -> Agent:
    """The same machine, where `mount` has been done to $state for ingot alone."""
    state = agent.path("/var/lib/ingot")
    state.mkdir(parents=True, exist_ok=True)
    script = f'state={state}; {mount} && exec "$@"'
    agent.inside = SimpleNamespace(prefix=["unshare", "--mount", "sh", "-c", script, "sh"])
    return agent


def booted(machine: Agent):
    result = machine.boot(machine.document)
    assert result.code == DONE, result
    return result


def set_aside(machine: Agent, result) -> bytes:
    assert "is not to be trusted" in result.stderr, result
    return machine.path(RECORD).with_name("record.json.bad").read_bytes()


def test_a_record_is_one_small_file_that_checks_itself(machine):
    booted(machine)
    booted(machine)
    assert machine.ran() == 1
    record = json.loads(machine.read(RECORD))
    assert (record["version"], record["instance"]) == (1, "i-0abc123def4567890")
    assert len(record["sha256"]) == 64
    assert "commands.once" in record["entries"]
    assert machine.mode(RECORD) == "0600"
    assert machine.path(RECORD).stat().st_size < 4096


def test_a_record_that_was_torn_anywhere_is_set_aside(machine):
    booted(machine)
    whole = machine.path(RECORD).read_bytes()
    for kept in range(0, len(whole) - 1, max(1, len(whole) // 12)):
        machine.path(RECORD).write_bytes(whole[:kept])
        before = machine.ran()
        result = booted(machine)
        assert set_aside(machine, result) == whole[:kept]
        assert machine.ran() == before + 1, "what is not remembered runs again"
        assert "is not to be trusted" not in booted(machine).stderr


FOREIGN = {
    "of another instance": lambda record: {**record, "instance": "i-0ffffffffffffffff"},
    "of a later version": lambda record: {**record, "version": 2},
    "with another entry": lambda record: {**record, "entries": {"commands.other": record["entries"]["commands.once"]}},
    "with more than we know": lambda record: {**record, "surprise": True},
}


@pytest.mark.parametrize("how", FOREIGN)
def test_a_record_that_is_not_ours_is_set_aside(machine, how):
    booted(machine)
    foreign = json.dumps(FOREIGN[how](json.loads(machine.read(RECORD)))).encode()
    machine.path(RECORD).write_bytes(foreign)
    assert set_aside(machine, booted(machine)) == foreign
    assert machine.ran() == 2


@pytest.mark.parametrize("content", [b"\0" * 4096, b"\xff\xfe garbage", b"[]", b"{}" * 2000], ids=["zeros", "bytes", "list", "maps"])
def test_garbage_in_its_place_is_set_aside(machine, content):
    machine.write(RECORD, content)
    assert set_aside(machine, booted(machine)) == content


def test_a_record_that_is_too_large_is_set_aside_unread(machine):
    machine.write(RECORD, "")
    with open(machine.path(RECORD), "wb") as file:
        file.truncate(1 << 30)
    result = booted(machine)
    assert "it is too large" in result.stderr, result
    assert machine.ran() == 1


def test_a_directory_in_its_place_is_an_error_that_names_it(machine):
    machine.path(RECORD).mkdir(parents=True)
    result = machine.boot(machine.document)
    assert result.code == FAILED, result
    assert RECORD in result.stderr, result
    assert machine.ran() == 0


MOUNTS = {
    "read-only": 'mount --bind "$state" "$state" && mount -o remount,ro,bind "$state"',
    # Eight pages, all of them taken.
    "full": 'mount -t tmpfs -o size=32k tmpfs "$state" && { head -c 32768 /dev/zero >"$state/ballast" 2>/dev/null; true; }',
}


@pytest.mark.parametrize("what", MOUNTS)
def test_what_cannot_be_remembered_does_not_run(machine, what):
    result = mounted(machine, MOUNTS[what]).boot(machine.document)
    assert result.code == FAILED, result
    said = result.failure("commands.once")
    assert "/var/lib/ingot" in said and "hint:" in said, said
    assert machine.ran() == 0, "it ran, and nobody will know"
    # The rest does not need it, and the report is there.
    assert result.step("files./etc/app/plain")["outcome"] == "changed", result
    assert result.report["outcome"] == "failed"
    machine.inside = None
    booted(machine)
    assert machine.ran() == 1
