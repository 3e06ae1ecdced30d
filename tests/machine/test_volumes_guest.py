"""Volumes restored and mounted on a machine with a kernel of its own: disks that come late, get other names, lose power."""

import json
import time

import pytest
from harness.agent import PATIENCE
from harness.aws.account import INSTANCE, ZONE
from harness.host import images
from harness.host.images import filesystem
from harness.vm import qemu
from harness.vm.qemu import Guest

pytestmark = [pytest.mark.virtual, pytest.mark.skipif(bool(qemu.unavailable()), reason=qemu.unavailable() or "")]

TAGS = {"app": "shop", "role": "data"}

SHOP = """\
#ingot
version: 1
volumes:
  data:
    from: { snapshot: { newest_with_tags: { app: shop, role: data } } }
    reuse: { with_tags: { app: shop, role: data } }
    size_gib: 2
    filesystem: xfs
    delete_on_termination: true
mounts:
  /srv/shop:
    device: "{{volumes.data.device}}"
    options: [noatime]
    owner: shop
    mode: "0750"
"""


# Enabled by itself: nothing tells it of ingot.
READER = """\
[Unit]
RequiresMountsFor=/srv/shop
[Service]
Type=oneshot
ExecStart=/bin/cp /srv/shop/db/table /run/read
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def guest(ingot):
    """A golden image before its first boot, and an EC2 that takes about as long as EC2."""
    with Guest() as guest:
        guest.aws.ec2(creating=1, attaching=1, detaching=1)
        guest.install_ingot()
        yield guest


def snapshot(guest, rows=b"rows\n", kind="xfs", tags=TAGS, **more):
    image = filesystem(guest.directory / f"{len(guest.images)}.img", kind, {"db/table": rows})
    return guest.snapshot(image, tags, **more)


def boot(guest, document=None):
    """Boots, and waits until ingot has ended well."""
    if document:
        guest.imds.configure(user_data=document)
    guest.boot()
    succeeds(guest)


def succeeds(guest):
    state = guest.wait_until_ended("ingot.service")
    assert state["Result"] == "success", guest.journal("-u", "ingot.service")


def fails(guest, document):
    """Boots, and waits until ingot has failed. What it said."""
    guest.imds.configure(user_data=document)
    guest.boot()
    assert guest.wait_until_ended("ingot.service")["ActiveState"] == "failed"
    return guest.journal("-u", "ingot.service")


def outcomes(guest):
    steps = json.loads(guest.read("/run/ingot/report.json"))["steps"]
    items = steps.items() if isinstance(steps, dict) else ((step["address"], step) for step in steps)
    return {address: step["outcome"] for address, step in items}


def mounted(guest, path):
    """The serial of the disk, the kind and the options of what is mounted at a path."""
    source, kind, options = guest.run("findmnt", "-n", "-o", "SOURCE,FSTYPE,OPTIONS", path).stdout.split()
    names = {name: serial for serial, name in guest.disks().items()}
    return names.get(source.removeprefix("/dev/")), kind, options.split(",")


def is_mounted_as_it_should_be(guest, volume, rows="rows\n"):
    serial, kind, options = mounted(guest, "/srv/shop")
    assert (serial, kind) == (volume.replace("-", ""), "xfs")
    assert "noatime" in options
    assert guest.run("stat", "-c", "%U %a", "/srv/shop").stdout == "shop 750\n"
    assert guest.read("/srv/shop/db/table") == rows


def began(guest, unit):
    """When a unit was up, in microseconds of this boot."""
    return int(guest.show(unit, "ActiveEnterTimestampMonotonic")["ActiveEnterTimestampMonotonic"])


def gib(guest, path):
    return int(guest.run("df", "--output=size", "-B", "1", path).stdout.split()[1]) / images.GIB


def test_the_newest_snapshot_is_restored_and_a_reboot_finds_it_under_another_name(guest):
    snapshot(guest, b"old\n", started="2026-11-01T03:00:00Z")
    newest = snapshot(guest, started="2026-11-20T03:00:00Z")
    snapshot(guest, b"unfinished\n", state="pending", started="2026-11-21T03:00:00Z")
    snapshot(guest, b"other\n", tags={"app": "other", "role": "data"}, started="2026-11-22T03:00:00Z")
    guest.late = 5
    guest.write("/etc/systemd/system/reader.service", READER)
    guest.enable("reader.service")
    boot(guest, SHOP)
    [volume] = guest.aws.volumes(**TAGS)
    assert (volume["SnapshotId"], volume["Size"], volume["AvailabilityZone"]) == (newest, 2, ZONE)
    assert volume["Attachments"][0]["DeleteOnTermination"] is True
    is_mounted_as_it_should_be(guest, volume["VolumeId"])
    assert gib(guest, "/srv/shop") > 1.8, "the filesystem has grown with the volume"
    guest.shell("echo more >>/srv/shop/db/table")
    before = guest.disks()

    guest.aws.forget()
    guest.imds.configure(faults=[{"path": "*", "kind": "hang"}])
    guest.reboot(reverse=True)
    assert guest.wait_until_ended("reader.service", 60)["Result"] == "success", guest.journal("-u", "ingot-mounts")
    assert guest.read("/run/read") == "rows\nmore\n", "the mount is back before local-fs.target, whoever asks"
    mounts, local = (began(guest, unit) for unit in ("ingot-mounts.service", "local-fs.target"))
    assert 0 < mounts < local
    assert guest.show("ingot.service", "SubState") == {"SubState": "start"}, "it waits for IMDS"

    guest.imds.configure(faults=[])
    succeeds(guest)
    assert guest.disks() != before
    is_mounted_as_it_should_be(guest, volume["VolumeId"], "rows\nmore\n")
    assert guest.aws.calls("CreateVolume") == guest.aws.calls("AttachVolume") == []
    assert outcomes(guest)["volumes.data"] == "unchanged"

    assert guest.run("systemctl", "restart", "ingot.service").code == 0
    assert set(outcomes(guest).values()) == {"unchanged"}


def test_a_twin_that_was_there_before_is_not_taken_for_it(guest):
    """A clone of the same snapshot: the same filesystem, label and UUID, on the first free device name."""
    restored = snapshot(guest)
    twin = images.copy(guest.images[restored], guest.directory / "twin.img")
    other = guest.volume(twin, {"app": "other"}, attached_as="/dev/sdf")
    # Not before the twin is mounted: XFS refuses a second mount of one UUID.
    guest.aws.fault("throttled", operation="CreateVolume")
    guest.imds.configure(user_data=SHOP)
    guest.boot()
    guest.wait_until(f"mount /dev/disk/by-id/*_{other.replace('-', '')} /mnt")
    guest.aws.recover()
    succeeds(guest)
    [volume] = guest.aws.volumes(**TAGS)
    assert volume["VolumeId"] != other
    is_mounted_as_it_should_be(guest, volume["VolumeId"])


def test_an_available_volume_is_attached_before_one_is_made(guest):
    snapshot(guest, b"old\n")
    image = filesystem(guest.directory / "kept.img", "xfs", {"db/table": b"kept\n"}, size_gib=2)
    kept = guest.volume(image, TAGS)
    boot(guest, SHOP)
    assert guest.aws.count("CreateVolume") == 0
    is_mounted_as_it_should_be(guest, kept, "kept\n")


MOMENTS = ["CreateVolume", "AttachVolume", "mounts./srv/shop"]


def comes(guest, moment):
    """Waits for a call, or for the mount."""
    if moment.startswith("mounts"):
        guest.wait_until("grep -q /srv/shop /proc/mounts")
    else:
        guest.wait_for(lambda: guest.aws.count(moment), PATIENCE, moment)


@pytest.mark.parametrize("moment", [pytest.param(one, marks=() if one == "AttachVolume" else pytest.mark.slow) for one in MOMENTS])
def test_power_fails_on_the_way_and_one_volume_is_made(guest, moment):
    snapshot(guest)
    guest.late = 2
    guest.imds.configure(user_data=SHOP)
    guest.boot()
    comes(guest, moment)
    guest.power_cut()
    boot(guest)
    volumes = guest.aws.volumes(**TAGS)
    assert len(volumes) == 1, "what was begun is ended, not begun again"
    is_mounted_as_it_should_be(guest, volumes[0]["VolumeId"])


@pytest.mark.slow
def test_ingot_is_killed_at_each_call_in_turn_and_one_volume_is_made(guest):
    snapshot(guest)
    guest.late = 15  # time to kill it before the disk is there
    guest.imds.configure(user_data=SHOP)
    guest.boot()
    # Once the mount is there, ingot may have ended.
    for moment in MOMENTS[:2]:
        comes(guest, moment)
        assert guest.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", "ingot.service").code == 0
        assert guest.wait_until_ended("ingot.service")["Result"] == "signal", moment
        guest.run("systemctl", "restart", "--no-block", "ingot.service")
    succeeds(guest)
    [volume] = guest.aws.volumes(**TAGS)
    is_mounted_as_it_should_be(guest, volume["VolumeId"])


THREE = """\
#ingot
version: 1
volumes:
  of_ext4: { from: { snapshot: EXT4 }, size_gib: 2, filesystem: ext4 }
  of_btrfs: { from: { snapshot: BTRFS }, size_gib: 2, filesystem: btrfs }
  empty: { from: { blank: {} }, size_gib: 1, filesystem: xfs }
  swap: { from: { blank: {} }, size_gib: 1, filesystem: swap }
mounts:
  /srv/ext4: { device: "{{volumes.of_ext4.device}}" }
  /srv/btrfs: { device: "{{volumes.of_btrfs.device}}" }
  /srv/empty: { device: "{{volumes.empty.device}}" }
"""


def test_each_filesystem_is_restored_grown_and_made(guest):
    document = THREE.replace("EXT4", snapshot(guest, kind="ext4")).replace("BTRFS", snapshot(guest, kind="btrfs"))
    boot(guest, document)
    for kind in ("ext4", "btrfs"):
        assert mounted(guest, f"/srv/{kind}")[1] == kind
        assert guest.read(f"/srv/{kind}/db/table") == "rows\n"
        assert gib(guest, f"/srv/{kind}") > 1.8
    assert mounted(guest, "/srv/empty")[1] == "xfs"
    guest.shell("echo kept >/srv/empty/file")
    guest.reboot(reverse=True)
    succeeds(guest)
    assert guest.read("/srv/empty/file") == "kept\n", "a filesystem of its own is never made again"
    assert guest.aws.count("CreateVolume") == 4


@pytest.mark.slow
def test_a_filesystem_of_another_kind_is_refused_and_left_alone(guest):
    image = filesystem(guest.directory / "foreign.img", "ext4", {"only": b"copy\n"})
    volume = guest.volume(image, attached_as="/dev/sdf")
    document = SHOP.replace("{ snapshot: { newest_with_tags: { app: shop, role: data } } }", f"{{ device: {volume} }}")
    for line in ("reuse: { with_tags: { app: shop, role: data } }", "size_gib: 2", "delete_on_termination: true"):
        document = document.replace(f"    {line}\n", "")
    said = fails(guest, document)
    assert "ext4" in said and "xfs" in said and "wipefs" in said, said
    name = guest.disks()[volume.replace("-", "")]
    assert guest.shell(f"mount /dev/{name} /mnt && cat /mnt/only").stdout == "copy\n"


def test_a_snapshot_of_a_disk_in_use_is_mounted_with_its_journal_replayed(guest):
    """Crash-consistent: what EBS makes of a mounted disk."""
    image = filesystem(guest.directory / "live.img", "xfs")
    live = guest.volume(image, attached_as="/dev/sdf")
    guest.boot()
    guest.wait_for(lambda: live.replace("-", "") in guest.disks(), PATIENCE, "the disk")
    name = guest.disks()[live.replace("-", "")]
    wrote = "mkdir /mnt/db && echo rows >/mnt/db/table && sync /mnt/db/table"
    assert guest.shell(f"mount /dev/{name} /mnt && {wrote}").code == 0
    guest.snapshot(images.copy(image, guest.directory / "crash.img"), TAGS)
    guest.imds.configure(user_data=SHOP)
    guest.run("systemctl", "restart", "ingot.service", timeout=120)
    succeeds(guest)
    [volume] = guest.aws.volumes(**TAGS)
    is_mounted_as_it_should_be(guest, volume["VolumeId"])


PRELOAD = SHOP + "    preload: [db]\n"


def test_preload_reads_in_parallel_and_only_what_it_is_told_to(guest):
    files = {"db/table": b"rows\n" * (3 << 20), "cold/archive": b"cold\n" * (6 << 20)}
    image = filesystem(guest.directory / "preload.img", "xfs", files)
    guest.snapshot(image, TAGS)
    guest.lazy = 0.5  # long enough for a slow guest to ask for more
    guest.imds.configure(user_data=PRELOAD)
    guest.boot()
    succeeds(guest)
    guest.wait_for(lambda: outcomes(guest).get("preload./srv/shop") == "changed", PATIENCE, "the end of the preload")
    [disk] = guest.lazy_disks.values()
    assert disk.most_waiting >= 8, "reads are under way side by side"
    assert disk.loaded() < 0.7, "the archive stays where it is"
    loaded = disk.loaded()
    assert guest.run("dd", "if=/srv/shop/db/table", "of=/dev/null", "bs=512k", "iflag=direct").code == 0
    assert disk.loaded() == loaded, "nothing of it is fetched any more"


def test_the_unit_is_up_while_a_volume_is_read_beside_it(guest):
    guest.snapshot(filesystem(guest.directory / "preload.img", "xfs", {"db/table": b"rows\n", "db/other": b"rows\n"}), TAGS)
    boot(guest, SHOP + "    preload: { rest_mib_s: 1 }\n")
    assert guest.show("ingot.service", "ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}
    guest.wait_until("systemctl is-active ingot.target")
    guest.wait_until("ingot status | grep '^running: preload./srv/shop:rest reading '")
    assert guest.run("ingot", "status").code == 0

    record = "ingot record-preload --unit=app /srv/shop >/tmp/list 2>/tmp/said & until grep -q recording /tmp/said; do sleep 0.1; done"
    read = "cat /srv/shop/db/other >/tmp/copy; systemd-run --quiet --wait --unit=app cat /srv/shop/db/table"
    end = "until grep -q db/table /tmp/list; do sleep 0.1; done; kill -TERM $!; wait"
    assert guest.shell(f"{record}; {read}; {end}; cat /tmp/list").stdout == "db/table\n", "other units are not heeded"

    begun = time.monotonic()
    assert guest.run("systemctl", "stop", "ingot.service").code == 0
    assert time.monotonic() - begun < 60
    [step] = [step for step in json.loads(guest.read("/run/ingot/report.json"))["steps"] if step["outcome"] == "failed"]
    assert step["address"] == "preload./srv/shop:rest" and "SIGTERM" in step["error"]["message"]
    assert guest.show("ingot.service", "Result") == {"Result": "success"}


@pytest.mark.slow
def test_a_volume_of_another_instance_is_left_alone(guest):
    other = "i-0fedcba9876543210"
    guest.aws.instance(other)
    taken = guest.volume(filesystem(guest.directory / "taken.img", "xfs"), TAGS)
    guest.aws.client("ec2").attach_volume(VolumeId=taken, InstanceId=other, Device="/dev/sdf")
    snapshot(guest)
    boot(guest, SHOP)
    assert guest.aws.volumes(taken)[0]["Attachments"][0]["InstanceId"] == other
    [made] = [volume for volume in guest.aws.volumes(**TAGS) if volume["VolumeId"] != taken]
    assert made["Attachments"][0]["InstanceId"] == INSTANCE
    is_mounted_as_it_should_be(guest, made["VolumeId"])
