"""What an instance remembers: whatever lies in its place, on whatever disk, nothing runs twice unasked or without a record."""

import json
import os
import shutil

import pytest
from harness.agent import DONE, FAILED, document

LIB = "/var/lib/ingot"
INSTANCE = "i-0abc123def4567890"
RECORD = f"{LIB}/instances/{INSTANCE}/record.json"


@pytest.fixture
def boots(machine, tmp_path):
    """Boots a machine that has a command for once in its life, and a file that needs no record."""
    text = document(
        files={"/etc/app": {"content": "{{instance.id}}\n"}},
        commands={"once": {"run": ["/bin/sh", "-c", f"echo ran >> {tmp_path}/ran"]}},
    )

    def boot(runs: int, code: int = DONE):
        result = machine.boot(text)
        assert result.code == code, result
        assert "panicked" not in result.stderr
        done = (tmp_path / "ran").read_text().split() if (tmp_path / "ran").exists() else []
        assert len(done) == runs, result
        assert machine.read("/etc/app") == f"{INSTANCE}\n"
        return result

    boot.machine = machine
    return boot


def garbage(path, whole: bytes) -> None:
    path.write_bytes(os.urandom(4096))


def torn(path, whole: bytes) -> None:
    path.write_bytes(whole[: len(whole) // 2])


def empty(path, whole: bytes) -> None:
    path.write_bytes(b"")


def zeros(path, whole: bytes) -> None:
    path.write_bytes(bytes(len(whole)))


def of_another_instance(path, whole: bytes) -> None:
    path.write_bytes(whole.replace(INSTANCE.encode(), b"i-0fedcba9876543210"))


def of_a_later_version(path, whole: bytes) -> None:
    path.write_bytes(whole.replace(b'"version": 1', b'"version": 2'))


def altered(path, whole: bytes) -> None:
    path.write_bytes(whole.replace(b"commands.once", b"commands.twice"))


def huge(path, whole: bytes) -> None:
    with open(path, "wb") as file:
        file.truncate(100 << 20)


def a_directory(path, whole: bytes) -> None:
    path.unlink()
    (path / "deep").mkdir(parents=True)


def a_fifo(path, whole: bytes) -> None:
    path.unlink()
    os.mkfifo(path)


def a_link_to_garbage(path, whole: bytes) -> None:
    path.rename(path.with_name("garbage"))
    path.with_name("garbage").write_bytes(b"garbage")
    path.symlink_to("garbage")


@pytest.mark.parametrize(
    "spoil",
    [garbage, torn, empty, zeros, of_another_instance, of_a_later_version, altered, huge, a_directory, a_fifo,
     a_link_to_garbage],
)  # fmt: skip
def test_what_is_not_to_be_trusted_is_set_aside_and_said(boots, spoil):
    boots(1)
    path = boots.machine.path(RECORD)
    whole = path.read_bytes()
    spoil(path, whole)
    result = boots(2)
    assert any(RECORD in warning and "cannot be trusted" in warning for warning in result.report["warnings"]), result
    assert path.with_name("record.json.bad").exists() or path.with_name("record.json.bad").is_symlink()
    again = boots(2)
    assert again.report["warnings"] == [] and again.outcomes()["commands.once"] == "unchanged"


def test_a_link_in_its_place_is_not_written_through(boots, tmp_path):
    boots(1)
    path = boots.machine.path(RECORD)
    moved = shutil.move(path, path.with_name("elsewhere.json"))
    path.symlink_to("elsewhere.json")
    boots(1)
    before = open(moved, "rb").read()
    path.unlink()
    path.symlink_to("nowhere")
    boots(2)
    assert not path.is_symlink() and open(moved, "rb").read() == before


def spare(boots, *options: str) -> None:
    """Gives ingot a filesystem of its own for what it remembers."""
    directory = boots.machine.root / LIB.lstrip("/")
    directory.mkdir(parents=True, exist_ok=True)
    boots.machine.inside.run("mount", "-t", "tmpfs", "-o", ",".join(["mode=0700", *options]), "tmpfs", directory)


def refused(boots, runs: int, words: list[str]) -> None:
    """Nothing that needs a record ran; all else did, and the report is there to say so."""
    result = boots(runs, FAILED)
    said = result.failure("commands.once")
    assert all(word in said for word in words), said
    assert LIB in said and "hint: None" not in said
    assert result.outcomes()["files./etc/app"] in ("changed", "unchanged")
    assert json.loads(boots.machine.read("/run/ingot/report.json"))["outcome"] == "failed"


def test_on_a_full_disk_nothing_runs_without_a_record(boots):
    spare(boots, "size=16k")
    filler = boots.machine.path(f"{LIB}/filler")
    filler.write_bytes(bytes(4 * 4096))
    refused(boots, 0, ["free space on the filesystem of"])
    assert not list(boots.machine.path(LIB).rglob("*.new")), "what could not be written is gone"
    filler.unlink()
    boots(1)


def test_a_disk_that_fills_while_a_command_runs_does_not_lose_that_it_began(boots):
    spare(boots, "size=64k")
    filler = f"{boots.machine.root}{LIB}/filler"
    fills = {"run": ["/bin/sh", "-c", f"cat /dev/zero > {filler} || true"]}
    files = {"/etc/app": {"content": "{{instance.id}}\n"}}
    result = boots.machine.boot(document(commands={"fills": fills}, files=files))
    assert result.code == FAILED, result
    assert "free space" in result.failure("commands.fills")
    state = lambda: json.loads(boots.machine.read(RECORD))["entries"]["commands.fills"]["state"]  # noqa: E731
    assert state() == "started"
    boots.machine.path(f"{LIB}/filler").unlink()
    fills["run"] = ["/bin/true"]
    again = boots.machine.boot(document(commands={"fills": fills}, files=files))
    assert again.code == DONE and state() == "done", again
    assert "again, since its last run did not succeed" in again.stderr


def test_without_inodes_nothing_runs_without_a_record(boots):
    spare(boots, "nr_inodes=2")
    boots.machine.path(f"{LIB}/filler").write_bytes(b"")
    refused(boots, 0, ["free space on the filesystem of"])


def test_on_a_read_only_disk_nothing_runs_without_a_record_and_what_ran_does_not_run_again(boots):
    spare(boots)
    directory = boots.machine.root / LIB.lstrip("/")
    run = boots.machine.inside.run
    run("mount", "-o", "remount,ro", directory)
    refused(boots, 0, ["remount the filesystem of", "read-write"])
    run("mount", "-o", "remount,rw", directory)
    boots(1)
    run("mount", "-o", "remount,ro", directory)
    result = boots(1)
    assert result.outcomes()["commands.once"] == "unchanged"


def test_on_a_read_only_disk_what_is_not_to_be_trusted_still_is_not(boots):
    spare(boots)
    boots(1)
    boots.machine.path(RECORD).write_bytes(b"garbage")
    boots.machine.inside.run("mount", "-o", "remount,ro", boots.machine.root / LIB.lstrip("/"))
    result = boots(1, FAILED)
    assert any("cannot be moved aside" in warning for warning in result.report["warnings"]), result
