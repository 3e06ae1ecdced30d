"""tests/harness/assumptions: what ingot assumes of a distribution holds on Debian with a real systemd, and what does not hold is
told."""

import re
from pathlib import Path

import pytest
from harness.host import container
from harness.host.container import Machine

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = TESTS / "harness" / "assumptions"
PAGE = TESTS.parent / "docs" / "reference" / "assumptions.md"


def report(machine: Machine) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit code; of each assumption, whether it holds, and the rest of its line."""
    done = machine.run("sh", "-s", stdin=SCRIPT.read_text())
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()[:-1]]
    return done.code, {name: (verdict, rest) for verdict, name, rest in lines}


@pytest.fixture(scope="module")
def booted():
    with Machine() as machine:
        machine.boot()
        yield machine


def test_they_hold_on_debian(booted):
    code, found = report(booted)
    failing = {name for name, (verdict, _) in found.items() if verdict == "fails"}
    # A container has the cgroups of its host.
    of_host = set() if Path("/sys/fs/cgroup/cgroup.controllers").exists() else {"cgroup"}
    assert failing == of_host and code == bool(failing) and len(found) >= 25, found
    # A container sees no DMI; nearly all else it does.
    assert sum(verdict == "holds" for verdict, _ in found.values()) >= 16, found


def test_the_page_has_a_row_for_each(booted):
    _, found = report(booted)
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert rows == list(found), "the rows of docs/reference/assumptions.md, in the order of the script"


BREAKS = {
    "machine-id": "mount --bind /dev/null /etc/machine-id",
    "journal": "systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket systemd-journald",
    "programs": "mount --bind /dev/null /usr/sbin/mkfs.ext4 && rm -f /usr/sbin/mkfs.ext4 || mv /usr/sbin/e2fsck /usr/sbin/e2fsck.gone",
    "packages": "mv /usr/bin/apt-get /usr/bin/apt-get.gone",
    "nologin": "mv /usr/sbin/nologin /usr/sbin/nologin.gone",
    "run-tmpfs": "mount -t ramfs none /run",
}


def test_what_does_not_hold_is_told():
    with Machine() as machine:
        machine.boot()
        for name, command in BREAKS.items():
            broken = machine.run("sh", "-c", command)
            assert broken.code == 0, (name, broken)
        code, found = report(machine)
        assert code == 1, found
        assert {name for name, (verdict, _) in found.items() if verdict == "fails"} >= set(BREAKS), found
