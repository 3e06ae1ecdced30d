"""The guest in QEMU is an instance as ingot sees one: EC2's DMI, IMDS, and NVMe disks that come when EC2 says so."""

import json
import time

import pytest
from harness.agent import PATIENCE, document
from harness.aws.account import INSTANCE, ZONE
from harness.host.images import blank, filesystem
from harness.vm import qemu
from harness.vm.qemu import Guest

pytestmark = [pytest.mark.virtual, pytest.mark.skipif(bool(qemu.unavailable()), reason=qemu.unavailable() or "")]

FACTS = """\
#ingot
version: 1
files:
  /etc/facts: { content: "{{instance.id}} {{instance.zone}}\\n" }
"""


@pytest.fixture(scope="module")
def guest(ingot):
    """One guest for all tests here, after its first boot. They leave no disk behind."""
    with Guest(user_data=FACTS) as guest:
        guest.install_ingot()
        guest.boot()
        yield guest


def serial(volume):
    return volume.replace("-", "")


def wait_for_disk(guest, volume, timeout=PATIENCE):
    """The name the kernel gave it."""
    guest.wait_for(lambda: serial(volume) in guest.disks(), timeout, f"the disk of {volume}")
    return guest.disks()[serial(volume)]


def detach(guest, volume):
    guest.aws.client("ec2").detach_volume(VolumeId=volume)
    guest.wait_for(lambda: serial(volume) not in guest.disks(), PATIENCE, f"the end of {volume}")


def create(guest, snapshot, device, **more):
    """What ingot does: a volume from a snapshot, attached."""
    ec2 = guest.aws.client("ec2")
    volume = ec2.create_volume(SnapshotId=snapshot, AvailabilityZone=ZONE, **more)["VolumeId"]
    ec2.attach_volume(VolumeId=volume, InstanceId=INSTANCE, Device=device)
    return volume


def test_ingot_ran_and_knows_the_instance(guest):
    assert guest.wait_until_ended("ingot.service")["Result"] == "success", guest.journal("-u", "ingot.service")
    assert guest.run("ingot", "status").code == 0
    assert guest.read("/etc/facts") == f"{INSTANCE} {ZONE}\n"
    assert guest.read("/sys/class/dmi/id/board_asset_tag") == f"{INSTANCE}\n"
    assert guest.read("/sys/class/dmi/id/sys_vendor") == "Amazon EC2\n"
    assert guest.read("/sys/class/dmi/id/product_uuid").startswith("ec2")


def test_a_disk_is_there_soon_after_it_is_attached_and_gone_once_it_is_detached(guest):
    volume = guest.volume(blank(guest.directory / "blank.img", 1), attached_as="/dev/sdf")
    name = wait_for_disk(guest, volume)
    assert guest.read(f"/sys/block/{name}/device/serial").strip() == serial(volume)
    assert guest.read(f"/sys/block/{name}/size").strip() == str((1 << 30) // 512)
    detach(guest, volume)
    assert guest.failure is None


def test_a_disk_comes_late_if_it_is_told_to(guest):
    guest.late = 2
    begun = time.monotonic()
    volume = guest.volume(blank(guest.directory / "late.img", 1), attached_as="/dev/sdf")
    assert guest.aws.volumes(volume)[0]["Attachments"][0]["State"] == "attached"
    wait_for_disk(guest, volume)
    assert time.monotonic() - begun > 2
    guest.late = 0
    detach(guest, volume)


@pytest.mark.parametrize("kind", ["xfs", "ext4", "btrfs"])
def test_a_volume_from_a_snapshot_holds_what_the_snapshot_holds(guest, kind):
    image = filesystem(guest.directory / f"{kind}.img", kind, {"db/table": b"rows\n"}, label="shop")
    volume = create(guest, guest.snapshot(image), "/dev/sdf", Size=2)
    name = wait_for_disk(guest, volume)
    assert guest.read(f"/sys/block/{name}/size").strip() == str((2 << 30) // 512)
    done = guest.shell(f"mount /dev/{name} /mnt && cat /mnt/db/table && echo more >/mnt/db/more && umount /mnt")
    assert (done.code, done.stdout) == (0, "rows\n"), done
    detach(guest, volume)


def test_swap_is_swap(guest):
    volume = guest.volume(filesystem(guest.directory / "swap.img", "swap"), attached_as="/dev/sdf")
    name = wait_for_disk(guest, volume)
    done = guest.shell(f"swapon /dev/{name} && cat /proc/swaps && swapoff /dev/{name}")
    assert done.code == 0 and f"/dev/{name}" in done.stdout, done
    detach(guest, volume)


def test_first_reads_of_a_lazy_volume_are_slow_and_overlap(guest):
    image = guest.directory / "lazy.img"
    image.write_bytes(b"content " * (32 << 16))
    guest.lazy = 0.1
    snapshot = guest.snapshot(image)

    def read(block):
        """The seconds that reading a new volume in such blocks takes, and how many of its own blocks wait together."""
        volume = create(guest, snapshot, "/dev/sdf")
        name = wait_for_disk(guest, volume)
        begun = time.monotonic()
        done = guest.shell(f"dd if=/dev/{name} of=/dev/null bs={block} count={(16 << 20) // block} iflag=direct")
        seconds = time.monotonic() - begun
        assert done.code == 0, done
        disk = guest.lazy_disks[volume]
        assert disk.loaded() == 1
        detach(guest, volume)
        return seconds, disk.most_waiting

    one_by_one, waiting = read(512 << 10)
    assert one_by_one > 0.1 * 24, "udev has read some of it before"
    assert waiting <= 4
    at_once, waiting = read(16 << 20)
    assert 8 < waiting <= 16, "up to as many as QEMU asks for at a time"
    assert at_once < one_by_one / 2, (at_once, one_by_one)
    guest.lazy = 0


def test_after_a_reboot_the_same_disks_have_other_names(guest):
    volume = guest.volume(blank(guest.directory / "other.img", 1), attached_as="/dev/sdf")
    wait_for_disk(guest, volume)
    guest.run("touch", "/root/kept")
    before = guest.disks()
    guest.reboot(reverse=True)
    after = guest.disks()
    assert before.keys() == after.keys()
    assert before[serial(volume)] != after[serial(volume)]
    assert guest.run("test", "-e", "/root/kept").code == 0
    assert guest.wait_until_ended("ingot.service")["Result"] == "success"
    detach(guest, volume)


def test_a_power_cut_leaves_what_was_on_the_disk(guest):
    image = filesystem(guest.directory / "cut.img", "xfs")
    volume = guest.volume(image, attached_as="/dev/sdf")
    name = wait_for_disk(guest, volume)
    assert guest.shell(f"mount /dev/{name} /mnt && echo here >/mnt/synced && sync /mnt/synced").code == 0
    guest.power_cut()
    guest.boot()
    name = wait_for_disk(guest, volume)
    assert guest.shell(f"mount /dev/{name} /mnt && cat /mnt/synced && umount /mnt").stdout == "here\n"
    assert "Ending recovery" in guest.run("dmesg").stdout, "XFS replayed its journal"
    detach(guest, volume)


def test_a_clock_that_jumps_by_years_changes_no_wait(guest):
    """Back, in the middle of several; and what is signed by the wrong clock afterwards is signed again."""
    guest.aws.secret("prod/db", {"password": "hunter2"})
    text = document(
        commands={
            "jump": {"run": ["/bin/sh", "-c", "sleep 1; date --set=2001-02-03"]},
            "slow": {"run": ["/bin/sleep", "300"], "timeout": "6s"},
        },
        volumes={"late": {"from": {"device": "/dev/sdz"}, "timeout": "8s"}},
        secrets={"db": {"secrets_manager": "prod/db"}},
        files={"/etc/after": {"content": "{{secrets.db.password}}", "after": ["commands.slow"]}},
    )
    before = time.time()
    try:
        environment = {"AWS_ENDPOINT_URL": guest.aws_url, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        boot = ["ingot", "boot", "--user-data", "-", "--json"]
        report = json.loads(guest.run(*boot, stdin=text, env=environment, timeout=120).stdout)
        steps = {step["address"]: step for step in report["steps"]}
        took = {address: (step["finished_ms"] - step["started_ms"]) / 1e3 for address, step in steps.items() if step["finished_ms"]}
        assert steps["commands.jump"]["outcome"] == "changed", steps
        assert "did not finish within 6s" in steps["commands.slow"]["error"]["message"]
        assert "for a disk attached as /dev/sdz" in steps["volumes.late"]["error"]["message"]
        assert 6 <= took["commands.slow"] < 60 and 8 <= took["volumes.late"] < 60, took
        assert report["finished_at"] < "2001-02-04" and report["elapsed_ms"] < 60_000

        now = document(secrets={"db": {"secrets_manager": "prod/db"}}, files={"/etc/after": {"content": "{{secrets.db.password}}"}})
        done = guest.run(*boot, stdin=now, env=environment, timeout=120)
        report = json.loads(done.stdout)
        assert (done.code, report["outcome"]) == (0, "done"), done
        assert any("behind AWS's" in warning for warning in report["warnings"]), report
        assert [call["status"] for call in guest.aws.calls("GetSecretValue")][-2:] == [400, 200]
    finally:
        guest.run("date", f"--set=@{time.time():.0f}")
    assert abs(float(guest.run("date", "+%s").stdout) - time.time()) < 60 + (time.time() - before)
