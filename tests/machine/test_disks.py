"""What lies on a disk decides what becomes of it: made, taken as it is, grown, checked."""

import os
import re
import time
from pathlib import Path

import pytest
from harness.agent import DONE, document, until
from harness.host import images
from harness.host.images import patched, small
from harness.host.loop import on, tool

MIB = 1 << 20

KINDS = ["xfs", "ext4", "btrfs"]


def is_mounted(machine, disk, kind, node=None):
    seen = machine.inside.mounted(machine.root / "srv/data")
    return seen is not None and (seen.source, seen.kind) == (node or disk.node, kind)


def changes_nothing(machine, text):
    again = machine.boot(text)
    assert again.code == DONE, again
    assert set(again.outcomes().values()) == {"unchanged"}, again


# What is made.


@pytest.mark.parametrize("kind", KINDS)
def test_a_blank_disk_gets_a_filesystem_once(machine, disks, tmp_path, kind):
    disk = disks.attach(images.blank(tmp_path / "blank", images.SMALLEST[kind]))
    uuid = "0a1b2c3d-0000-4000-8000-000000000001"
    text = on(disk, kind, label="shop", uuid=uuid)
    result = machine.boot(text)
    assert result.code == DONE, result
    assert result.step("volumes.data")["changes"] == [f"make a filesystem, {kind}, on {disk.node}"]
    assert is_mounted(machine, disk, kind)
    named = tool("blkid", "--probe", "--output", "export", disk.node)
    assert {f"TYPE={kind}", "LABEL=shop", f"UUID={uuid}"} <= set(named.splitlines())
    machine.path("/srv/data/file").write_text("kept")
    changes_nothing(machine, text)

    disks.run("umount", machine.root / "srv/data")
    result = machine.boot(text)
    assert result.outcomes() == {"volumes.data": "unchanged", "mounts./srv/data": "changed"}, result
    assert machine.read("/srv/data/file") == "kept"


def test_swap_is_made_and_is_on_with_its_priority(machine, disks, tmp_path):
    disk = disks.attach(images.blank(tmp_path / "blank", images.SMALLEST["swap"]))
    volumes = {"swap": {"from": {"device": disk.node}, "filesystem": "swap", "label": "more"}}
    mounts = {"swap": {"device": "{{volumes.swap.device}}", "type": "swap", "options": ["pri=7"]}}
    if not Path("/proc/swaps").exists():
        pytest.skip("this kernel has no swap")
    result = machine.boot(document(volumes=volumes, mounts=mounts))
    assert result.code == DONE, result
    [line] = [line.split() for line in Path("/proc/swaps").read_text().splitlines() if line.startswith(disk.node + " ")]
    assert line[-1] == "7"
    changes_nothing(machine, document(volumes=volumes, mounts=mounts))


def test_a_disk_that_somebody_has_open_for_himself_is_not_written_to(machine, disks, tmp_path):
    disk = disks.attach(images.blank(tmp_path / "blank", images.SMALLEST["ext4"]))
    before = disk.content()
    holder = os.open(disk.node, os.O_RDONLY | os.O_EXCL)
    try:
        said = machine.boot(on(disk, "ext4")).failure("volumes.data")
    finally:
        os.close(holder)
    assert disk.node in said and "busy" in said and "lsblk" in said, said
    assert disk.content() == before


@pytest.mark.parametrize("kind", [*KINDS, "swap"])
def test_a_program_that_is_missing_is_named_with_its_package(machine, disks, tmp_path, kind):
    program, package = {
        "xfs": ("mkfs.xfs", "xfsprogs"),
        "ext4": ("mkfs.ext4", "e2fsprogs"),
        "btrfs": ("mkfs.btrfs", "btrfs-progs"),
        "swap": ("mkswap", "util-linux"),
    }[kind]
    disks.hide(program)
    disk = disks.attach(images.blank(tmp_path / "blank", images.SMALLEST[kind]))
    before = disk.content()
    said = machine.boot(on(disk, kind, mount=False)).failure("volumes.data")
    assert f"cannot run {program}" in said and f"install {package}" in said, said
    assert disk.content() == before


SLOW_MKFS = """\
#!/bin/sh
for device; do :; done
printf XFSB | dd of=$device conv=notrunc 2>/dev/null
echo $$ >{pid}.new && mv {pid}.new {pid}
exec sleep 300
"""


@pytest.fixture
def half_made(machine, disks, tmp_path):
    """A disk on which ingot was killed while it made an XFS."""
    disk = disks.attach(images.blank(tmp_path / "blank", images.SMALLEST["xfs"]))
    pid = tmp_path / "pid"
    disks.install("mkfs.xfs", SLOW_MKFS.format(pid=pid))
    running = machine.start_boot(on(disk))
    until("mkfs.xfs", pid.exists, running)
    running.kill()
    running.wait()
    disks.run("umount", "/usr/local/sbin")
    with open(disk.node, "rb") as device:
        assert device.read(8) == b"XFSB\0\0\0\0", "half a filesystem"
    return disk


def test_killed_while_a_filesystem_is_made_it_is_made_again(machine, half_made):
    result = machine.boot(on(half_made))
    assert result.code == DONE, result
    assert is_mounted(machine, half_made, "xfs")
    changes_nothing(machine, on(half_made))


def test_what_somebody_made_instead_is_not_made_again(machine, disks, half_made):
    """A boot that was killed in the middle is repaired by hand, and data put there, before the next one."""
    by_hand = machine.path("/mnt")
    by_hand.mkdir()
    disks.run("mkfs.xfs", "-q", "-f", half_made.node)
    disks.run("mount", half_made.node, machine.root / "mnt")
    (by_hand / "only").write_text("copy")
    disks.run("umount", machine.root / "mnt")
    result = machine.boot(on(half_made))
    assert result.outcomes() == {"volumes.data": "unchanged", "mounts./srv/data": "changed"}, result
    assert machine.read("/srv/data/only") == "copy"

    # From here on nothing there is ours to overwrite, not even what is broken.
    disks.run("umount", machine.root / "srv/data")
    patched(Path(half_made.node), (0, b"XFSB" + bytes(8)))
    assert "damaged" in machine.boot(on(half_made)).failure("volumes.data")


def test_another_filesystem_that_somebody_made_instead_is_refused(machine, disks, half_made):
    disks.run("mkfs.ext4", "-q", "-F", half_made.node)
    before = half_made.content()
    assert "holds ext4" in machine.boot(on(half_made)).failure("volumes.data")
    assert half_made.content() == before


def test_half_a_filesystem_of_somebody_else_is_refused(machine, disks, tmp_path):
    """As the one above leaves it, on a machine that does not remember it."""
    disk = disks.attach(patched(images.blank(tmp_path / "half", images.SMALLEST["xfs"]), (0, b"XFSB")))
    assert "damaged" in machine.boot(on(disk)).failure("volumes.data")


def test_killed_at_any_moment_a_blank_disk_is_made_and_mounted(machine, disks, tmp_path):
    for moment in range(8):
        disk = disks.attach(images.blank(tmp_path / f"blank{moment}", images.SMALLEST["ext4"]))
        text = on(disk, "ext4").replace("/srv/data", f"/srv/{moment}")
        running = machine.start_boot(text)
        running.wait_for_line("make a filesystem")
        time.sleep(0.006 * moment)
        running.kill()
        running.wait()
        result = machine.boot(text)
        assert result.code == DONE, result
        assert disks.mounted(machine.root / f"srv/{moment}").source == disk.node
        disks.run("umount", machine.root / f"srv/{moment}")
        tool("e2fsck", "-f", "-n", disk.node)


# What is there and right.


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_right_is_mounted_as_it_is(machine, disks, tmp_path, kind):
    disk = disks.attach(small(tmp_path / "right", kind, label="shop"))
    before = disk.content()
    text = on(disk, kind, label="shop")
    result = machine.boot(on(disk, kind, label="shop", mount=False))
    assert result.outcomes() == {"volumes.data": "unchanged"}, result
    assert disk.content() == before, "to look at it is not to write to it"
    result = machine.boot(text)
    assert result.outcomes() == {"volumes.data": "unchanged", "mounts./srv/data": "changed"}, result
    assert is_mounted(machine, disk, kind)
    assert machine.read("/srv/data/db/table") == "rows\n"
    changes_nothing(machine, text)


# ext4 grows with CAP_SYS_RESOURCE only, which root does not have in every container: that is tested in QEMU.
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_a_filesystem_grows_to_its_disk_and_only_once(machine, disks, tmp_path, kind):
    image = small(tmp_path / "small", kind)
    larger = images.SMALLEST[kind] + 0.25
    disk = disks.attach(images.copy(image, tmp_path / "large", larger))
    result = machine.boot(on(disk, kind))
    assert result.code == DONE, result
    assert any(line.startswith(f"grow {kind} at /srv/data") for line in result.step("mounts./srv/data")["changes"])
    whole = os.statvfs(machine.path("/srv/data"))
    assert whole.f_frsize * whole.f_blocks > (images.SMALLEST[kind] + 0.1) * images.GIB
    assert machine.read("/srv/data/db/table") == "rows\n"
    changes_nothing(machine, on(disk, kind))


def test_a_filesystem_that_is_not_to_grow_does_not(machine, disks, tmp_path):
    disk = disks.attach(images.copy(small(tmp_path / "small", "ext4"), tmp_path / "large", 0.3))
    text = on(disk, "ext4").replace('"/srv/data": {', '"/srv/data": { "grow": false,')
    result = machine.boot(text)
    assert result.step("mounts./srv/data")["changes"][-1].startswith("mount "), result


# Partition tables.


def partitioned(path, *sizes, kind="ext4"):
    """A GPT whose first partition, if there is one, holds a filesystem."""
    images.blank(path, 0.125)
    numbered = [f"--new={number}:0:+{size}M" for number, size in enumerate(sizes, 1)]
    tool("sgdisk", "--clear", *numbered, path)
    if sizes:
        inner = small(path.with_suffix(".part"), kind)
        with open(path, "r+b") as file:
            file.seek(MIB)
            file.write(inner.read_bytes())
    return path


def test_the_only_partition_is_meant(machine, disks, tmp_path):
    disk = disks.attach(partitioned(tmp_path / "one", 32))
    result = machine.boot(on(disk, "ext4"))
    assert result.code == DONE, result
    assert is_mounted(machine, disk, "ext4", disk.part(1))
    assert machine.read("/srv/data/db/table") == "rows\n"
    changes_nothing(machine, on(disk, "ext4"))


def test_of_several_partitions_the_document_names_one(machine, disks, tmp_path):
    disk = disks.attach(partitioned(tmp_path / "two", 32, 33))
    before = disk.content()
    said = machine.boot(on(disk, "ext4")).failure("volumes.data")
    assert "[1, 2]" in said and "`partition:`" in said, said
    said = machine.boot(on(disk, "ext4", partition=3)).failure("volumes.data")
    assert "no partition 3" in said and "[1, 2]" in said, said
    assert disk.content() == before
    result = machine.boot(on(disk, "ext4", partition=2, label="second"))
    assert result.code == DONE, result
    assert is_mounted(machine, disk, "ext4", disk.part(2))
    assert tool("blkid", "--probe", "--output=value", "--match-tag=LABEL", disk.part(2)) == "second\n"


# What was left in the middle of something: a snapshot of a disk in use.


def in_use(disks, image, kind, path, *options):
    """A copy of a disk while it is mounted: its last file is in the journal only."""
    live = disks.attach(image)
    at = disks.directory / "live"
    at.mkdir()
    disks.run("mount", "-t", kind, *options, live.node, at)
    directory = disks.seen(at)
    for number in range(20):
        with open(directory / f"file{number}", "wb") as file:
            file.write(b"synced\n")
            file.flush()
            os.fsync(file)
    copy = images.copy(image, path)
    disks.run("umount", at)
    disks.detach(live.node)
    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_a_journal_is_replayed_by_the_mount(machine, disks, tmp_path, kind):
    disk = disks.attach(in_use(disks, small(tmp_path / "live", kind), kind, tmp_path / "crash"))
    result = machine.boot(on(disk, kind))
    assert result.outcomes() == {"volumes.data": "unchanged", "mounts./srv/data": "changed"}, result
    assert [line.split()[0] for line in result.step("mounts./srv/data")["changes"]] == ["create", "mount"]
    for number in range(20):
        assert machine.read(f"/srv/data/file{number}") == "synced\n"


def test_ext4_without_a_journal_is_checked_first_if_it_was_in_use(machine, disks, tmp_path):
    image = small(tmp_path / "live", "ext4")
    tool("tune2fs", "-O", "^has_journal", image)
    disk = disks.attach(in_use(disks, image, "ext4", tmp_path / "crash"))
    result = machine.boot(on(disk, "ext4"))
    assert result.code == DONE, result
    assert f"check the filesystem on {disk.node}" in result.step("mounts./srv/data")["changes"]
    assert machine.read("/srv/data/db/table") == "rows\n"
    changes_nothing(machine, on(disk, "ext4"))


def test_ext4_with_errors_is_checked_first(machine, disks, tmp_path):
    image = small(tmp_path / "errors", "ext4")
    tool("debugfs", "-w", "-R", "set_super_value state 2", image)
    disk = disks.attach(image)
    result = machine.boot(on(disk, "ext4"))
    assert result.code == DONE, result
    assert f"check the filesystem on {disk.node}" in result.step("mounts./srv/data")["changes"]


def test_ext4_that_needs_a_person_to_repair_it_is_not_mounted(machine, disks, tmp_path):
    image = small(tmp_path / "broken", "ext4")
    tool("debugfs", "-w", "-R", "clri <2>", image)
    tool("debugfs", "-w", "-R", "set_super_value state 2", image)
    disk = disks.attach(image)
    result = machine.boot(on(disk, "ext4"))
    said = result.failure("mounts./srv/data")
    assert "e2fsck" in said and disk.node in said and "manually" in said.lower(), said
    assert "hint: None" not in said
    assert disks.mounted(machine.root / "srv/data") is None


# What does not come, or late.


def test_a_disk_that_never_comes_is_named_and_waited_for_no_longer_than_said(machine, disks):
    result = machine.boot(document(volumes={"data": {"from": {"device": "/dev/loop999"}, "timeout": "2s"}}))
    said = result.failure("volumes.data")
    assert re.match(r"waited 2(\.\d)?s for a disk attached as /dev/loop999\n", said) and "launch template" in said, said
    assert 2 <= result.seconds < 60, result


def test_a_disk_that_comes_late_is_waited_for(machine, disks, tmp_path):
    node = disks.free()
    text = document(volumes={"data": {"from": {"device": node}, "filesystem": "ext4", "timeout": "110s"}})
    running = machine.start_boot(text)
    assert running.wait_for_line(f"wait for the disk {node}"), running.lines
    begun = time.monotonic()
    disks.attach(small(tmp_path / "late", "ext4"), node)
    result = running.wait()
    assert result.code == DONE, result
    assert time.monotonic() - begun < 100, "what the kernel tells is heard"
