"""What lies on a disk and was not asked for is refused, named, and stays as it is to the last byte."""

import os
import random
import re
import struct
import zlib

import pytest
from harness.agent import DONE, FAILED
from harness.host import images
from harness.host.images import patched, small
from harness.host.loop import on, tool

MIB = 1 << 20
KINDS = ["xfs", "ext4", "btrfs"]


def superblock(kind, tmp_path):
    return small(tmp_path / f"other.{kind}", kind, {}).read_bytes()


def physical_volume(path):
    """pvcreate(8) wants a device; blkid(8) reads no more than this label."""
    label = bytearray(512)
    label[:8], label[8:16], label[20:24], label[24:32] = b"LABELONE", struct.pack("<Q", 1), b"\x20\0\0\0", b"LVM2 001"
    label[32:64] = b"0123456789abcdefghijABCDEFGHIJ01"
    label[16:20] = struct.pack("<I", lvm_checksum(label[20:]))
    return patched(path, (512, bytes(label)))


def lvm_checksum(content):
    return zlib.crc32(content, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def raid_member(path, version):
    """mdadm(8) wants md in the kernel."""
    head = struct.pack("<II", 0xA92B4EFC, 1) + bytes(8) + bytes(range(16)) + b"machine:0".ljust(32, b"\0")
    size = path.stat().st_size
    place = {"1.0": (size & ~0xFFF) - 0x2000, "1.1": 0, "1.2": 4096}[version]
    return patched(path, (place, head.ljust(144, b"\0") + struct.pack("<Q", place // 512)))


def locked(path, version):
    password = path.with_suffix(".key")
    password.write_bytes(b"secret")
    options = ["--type", f"luks{version}", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    tool("cryptsetup", "luksFormat", "--batch-mode", *options, path, password)
    return path


def vfat(path):
    tool("mkfs.vfat", path)
    return path


def of_kind(path, kind):
    tool("mke2fs", "-q", "-t", kind, path)
    return path


def table_of(path, label):
    tool("sfdisk", "--quiet", path, input=f"label: {label}\n")
    return path


def cut(path, kind):
    small(path, kind)
    os.truncate(path, path.stat().st_size - 8 * MIB)
    return path


GARBAGE = random.Random(0).randbytes(MIB)

# How a disk of 64 MiB, unless it says otherwise, is made; what is asked for; what has to be said of what was found.
REFUSED = {
    "ext4, and xfs is asked for": (lambda p: small(p, "ext4", label="shop"), "xfs", r'ext4 "shop"'),
    "xfs, and ext4 is asked for": (lambda p: small(p, "xfs"), "ext4", "holds xfs"),
    "btrfs, and xfs is asked for": (lambda p: small(p, "btrfs"), "xfs", "holds btrfs"),
    "swap, and xfs is asked for": (lambda p: small(p, "swap"), "xfs", "holds swap"),
    "ext4, and swap is asked for": (lambda p: small(p, "ext4"), "swap", "holds ext4"),
    "ext3": (lambda p: of_kind(p, "ext3"), "ext4", "holds ext3"),
    "ext2": (lambda p: of_kind(p, "ext2"), "ext4", "holds ext2"),
    "vfat": (vfat, "ext4", "holds vfat"),
    "a physical volume of LVM": (physical_volume, "ext4", "holds LVM2_member"),
    "a member of a RAID, 1.2": (lambda p: raid_member(p, "1.2"), "ext4", 'holds linux_raid_member "machine:0"'),
    "a member of a RAID, 1.1": (lambda p: raid_member(p, "1.1"), "ext4", "holds linux_raid_member"),
    "a member of a RAID, 1.0 at its end": (lambda p: raid_member(p, "1.0"), "ext4", "holds linux_raid_member"),
    "LUKS": (lambda p: locked(p, 1), "ext4", "holds crypto_LUKS"),
    "LUKS2": (lambda p: locked(p, 2), "ext4", "holds crypto_LUKS"),
    "LUKS2 without its first header": (
        lambda p: patched(locked(p, 2), (0, bytes(4096))),
        "ext4",
        "holds crypto_LUKS",
    ),
    "gpt without partitions": (lambda p: table_of(p, "gpt"), "ext4", "holds gpt"),
    "dos without partitions": (lambda p: table_of(p, "dos"), "ext4", "holds dos"),
    "two filesystems": (
        lambda p: patched(small(p, "ext4"), (64 << 10, superblock("btrfs", p.parent)[64 << 10 : 68 << 10])),
        "ext4",
        "ext4 and btrfs at the same time",
    ),
    "garbage": (lambda p: patched(p, (0, GARBAGE)), "ext4", "unrecognized content"),
    "one byte in the first mebibyte": (lambda p: patched(p, (777_777, b"\x2a")), "ext4", r"2a\w* at byte 777777\b"),
    "one byte at the end": (lambda p: patched(p, (-1, b"\x2a")), "ext4", r"\(2a at byte 67108863\)"),
    "an ext4 without its magic number": (lambda p: patched(small(p, "ext4"), (1080, b"\0\0")), "ext4", "unrecognized content"),
    "an xfs without its magic number": (lambda p: patched(small(p, "xfs"), (0, bytes(4))), "xfs", "unrecognized content"),
    "a btrfs without its magic number": (
        lambda p: patched(small(p, "btrfs"), ((64 << 10) + 64, bytes(8))),
        "btrfs",
        "unrecognized content",
    ),
    "an ext4 with a wrong checksum": (lambda p: patched(small(p, "ext4"), (1144, b"X")), "ext4", "damaged.*checksum"),
    "an xfs with a wrong checksum": (lambda p: patched(small(p, "xfs"), (108, b"X")), "xfs", "damaged.*checksum"),
    "a btrfs with a wrong checksum": (
        lambda p: patched(small(p, "btrfs"), ((64 << 10) + 299, b"X")),
        "btrfs",
        "damaged.*checksum",
    ),
    "an ext4 that is cut": (lambda p: cut(p, "ext4"), "ext4", "damaged: its size is 33554432 bytes.* 25165824"),
    "an xfs that is cut": (lambda p: cut(p, "xfs"), "xfs", "damaged: its size is"),
    "a btrfs that is cut": (lambda p: cut(p, "btrfs"), "btrfs", "damaged: its size is"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_was_not_asked_for_is_refused_and_left_alone(machine, disks, tmp_path, name):
    make, asked, found = REFUSED[name]
    disk = disks.attach(make(images.blank(tmp_path / "disk", 1 / 16)))
    before = disk.content()
    for mount in (False, True):
        result = machine.boot(on(disk, asked, mount=mount))
        said = result.failure("volumes.data")
        assert result.code == FAILED and said.startswith(disk.node) and re.search(found, said), said
        assert re.search(rf"hint: .*{disk.node}", said), said
        assert disk.content() == before
    assert result.outcomes()["mounts./srv/data"] == "skipped"
    assert disks.mounted(machine.root / "srv/data") is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_filesystem_with_another_name_is_refused(machine, disks, tmp_path, kind):
    disk = disks.attach(small(tmp_path / "disk", kind, label="archive"))
    uuid = tool("blkid", "--probe", "--output=value", "--match-tag=UUID", disk.node).strip()
    before = disk.content()
    other = "0a1b2c3d-0000-4000-8000-000000000001"
    for fields, message in [
        ({"label": "shop"}, "with the label archive, and the document asks for shop"),
        ({"label": "Archive"}, "with the label archive"),
        ({"uuid": other}, f"with the UUID {uuid}, and the document asks for {other}"),
        ({"label": "archive", "uuid": other}, "with the UUID"),
    ]:
        said = machine.boot(on(disk, kind, **fields)).failure("volumes.data")
        assert message in said and "is the right volume" in said, said
    assert disk.content() == before
    result = machine.boot(on(disk, kind, label="archive", uuid=uuid.upper()))
    assert result.code == DONE, result


def test_a_blank_disk_that_cannot_be_written_to_is_refused(machine, disks, tmp_path):
    disk = disks.attach(images.blank(tmp_path / "blank", images.SMALLEST["ext4"]), read_only=True)
    said = machine.boot(on(disk, "ext4")).failure("volumes.data")
    assert "is blank" in said and "is read-only" in said and "attach it writable" in said, said
