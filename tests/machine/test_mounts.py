"""Mounts by this machine's kernel: of disks and of everything else, at paths that are free and at those that are not."""

import os
import struct
import subprocess
from pathlib import Path

import pytest
from harness.agent import DONE, FAILED, document
from harness.host import images
from harness.host.images import small

KINDS = ["xfs", "ext4", "btrfs"]
DATA = "mounts./srv/data"
PASSWD = "root:x:0:0::/root:/bin/sh\nshop:x:4711:4712:Shop:/srv:/bin/false\n"
GROUP = "root:x:0:\nshop:x:4712:\nweb:x:4713:\n"


@pytest.fixture
def disk(disks, tmp_path):
    return disks.attach(small(tmp_path / "disk", "ext4"))


def at(path="/srv/data", device=None, **fields):
    """A document with one mount; a device that is a disk is mounted as it is."""
    node = {"device": getattr(device, "node", device)} if device else {}
    return document(mounts={path: {**node, **fields}})


def seen(machine, path="/srv/data"):
    return machine.inside.mounted(machine.root / path.lstrip("/"))


def boots(machine, text):
    """Boots well, and once more, when nothing is left to do. What the first one did."""
    result = machine.boot(text)
    assert result.code == DONE, result
    mounts = machine.inside.mounts(machine.root)
    again = machine.boot(text)
    assert again.code == DONE and set(again.outcomes().values()) == {"unchanged"}, again
    assert machine.inside.mounts(machine.root) == mounts
    return result


def fails(machine, text, step=DATA):
    before = machine.inside.mounts(machine.root)
    result = machine.boot(text)
    assert result.code == FAILED, result
    assert machine.inside.mounts(machine.root) == before, "what was mounted is what is mounted"
    said = result.failure(step)
    assert "hint: None" not in said, said
    return said


# Disks that cannot be written to.


def test_a_read_only_disk_is_mounted_if_that_is_said(machine, disks, tmp_path):
    disk = disks.attach(small(tmp_path / "disk", "ext4"), read_only=True)
    said = fails(machine, at(device=disk))
    assert disk.node in said and "`ro`" in said, said
    boots(machine, at(device=disk, options=["ro"]))
    assert "ro" in seen(machine).options
    assert machine.read("/srv/data/db/table") == "rows\n"


def crashed(disks, tmp_path, kind):
    """A copy of a filesystem in use."""
    image = small(tmp_path / "live", kind)
    live = disks.attach(image)
    point = disks.directory / "live"
    point.mkdir()
    disks.run("mount", live.node, point)
    with open(disks.seen(point) / "file", "wb") as file:
        file.write(b"synced")
        file.flush()
        os.fsync(file)
    copy = images.copy(image, tmp_path / "crash")
    disks.run("umount", point)
    return copy


@pytest.mark.parametrize("kind, option", [("ext4", "noload"), ("xfs", "norecovery"), ("btrfs", "rescue=nologreplay")])
def test_a_journal_that_cannot_be_replayed_is_no_reason_to_say_read_only_again(machine, disks, tmp_path, kind, option):
    disk = disks.attach(crashed(disks, tmp_path, kind), read_only=True)
    said = fails(machine, at(device=disk, options=["ro"]))
    assert disk.node in said and f"`{option}`" in said, said
    boots(machine, at(device=disk, options=["ro", option]))


# Clones: two volumes of one snapshot.


def test_an_xfs_is_mounted_beside_its_twin(machine, disks, tmp_path):
    image = small(tmp_path / "one", "xfs")
    one, two = disks.attach(image), disks.attach(images.copy(image, tmp_path / "two"))
    (machine.root / "mnt").mkdir()
    disks.run("mount", one.node, machine.root / "mnt")
    boots(machine, at(device=two))
    assert seen(machine).source == two.node
    assert "nouuid" in seen(machine).of_filesystem
    assert machine.read("/srv/data/db/table") == "rows\n"


def test_an_xfs_is_mounted_beside_a_twin_that_only_another_namespace_sees(machine, disks, tmp_path):
    """As that of a container that was started while the twin was mounted, and has outlived the unmount."""
    image = small(tmp_path / "one", "xfs")
    one, two = disks.attach(image), disks.attach(images.copy(image, tmp_path / "two"))
    (tmp_path / "mnt").mkdir()
    script = f"mount {one.node} {tmp_path / 'mnt'} && echo mounted && exec cat"
    elsewhere = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(elsewhere, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"mounted\n"
            boots(machine, at(device=two))
            assert seen(machine).source == two.node
            assert "nouuid" in seen(machine).of_filesystem
            assert machine.read("/srv/data/db/table") == "rows\n"
        finally:
            holder.stdin.close()


def test_an_xfs_without_a_twin_is_mounted_in_the_ordinary_way(machine, disks, tmp_path):
    disk = disks.attach(small(tmp_path / "one", "xfs"))
    boots(machine, at(device=disk))
    assert "nouuid" not in seen(machine).of_filesystem


@pytest.mark.parametrize("kind", KINDS)
def test_clones_are_mounted_at_the_same_moment(machine, disks, tmp_path, kind):
    """ext4 does not mind; XFS wants nouuid; btrfs gives the second an id for the time (Linux 6.7)."""
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if kind == "btrfs" and release < (6, 7):
        pytest.skip("this kernel refuses the second btrfs of one id")
    image = small(tmp_path / "one", kind)
    clones = [disks.attach(image)]
    clones += [disks.attach(images.copy(image, tmp_path / f"clone{number}")) for number in range(3)]
    text = document(mounts={f"/srv/{number}": {"device": clone.node} for number, clone in enumerate(clones)})
    boots(machine, text)
    for number, clone in enumerate(clones):
        assert seen(machine, f"/srv/{number}").source == clone.node
        machine.path(f"/srv/{number}/who").write_text(str(number))
    assert [machine.read(f"/srv/{number}/who") for number in range(4)] == ["0", "1", "2", "3"]


# What the kernel refuses.


def with_broken_log(path):
    """Random bytes where XFS has its log."""
    small(path, "xfs")
    with open(path, "r+b") as file:
        head = file.read(512)
        block, group = struct.unpack_from(">I", head, 4)[0], struct.unpack_from(">I", head, 84)[0]
        first, shift = struct.unpack_from(">Q", head, 48)[0], head[124]
        place = ((first >> shift) * group + (first & ((1 << shift) - 1))) * block
        file.seek(place)
        file.write(os.urandom(256 * 1024))
    return path


def test_a_broken_log_is_said_in_the_words_of_the_kernel(machine, disks, tmp_path):
    disk = disks.attach(with_broken_log(tmp_path / "broken"))
    before = disk.content()
    said = fails(machine, at(device=disk))
    assert f"cannot mount {disk.node} at /srv/data: XFS (" in said and "xfs_repair" in said, said
    assert disk.content() == before


def test_an_unknown_option_is_named(machine, disk):
    said = fails(machine, at(device=disk, options=["noatime,nonsense=7"]))
    assert "nonsense" in said, said


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"type": "xfs"}, "holds ext4, which cannot be mounted as xfs"),
        ({"options": ["remount"]}, "`remount` is not an option"),
        ({"options": ["loop"]}, "`loop` needs a loop device"),
    ],
)
def test_what_does_not_fit_is_refused(machine, disk, fields, message):
    before = disk.content()
    result = machine.boot(at(device=disk, **fields))
    assert result.code != DONE and message in result.stderr, result
    assert disk.content() == before


@pytest.mark.parametrize("kind, found", [("swap", "swap"), ("blank", "nothing")])
def test_what_is_no_filesystem_is_not_mounted(machine, disks, tmp_path, kind, found):
    path = tmp_path / "disk"
    disk = disks.attach(small(path, kind) if kind == "swap" else images.blank(path, 0.02))
    said = fails(machine, at(device=disk))
    assert f"{disk.node} holds {found}, which cannot be mounted" in said, said


def test_a_device_that_is_not_there_is_named(machine):
    said = fails(machine, at(device="/dev/loop999"))
    assert "the block device /dev/loop999 does not exist" in said and "volumes" in said, said
    assert "the block device /dev/null does not exist" in fails(machine, at(device="/dev/null"))


# Paths.


def test_a_mount_that_is_there_already_is_taken(machine, disks, disk):
    machine.path("/srv/data").mkdir(parents=True)
    disks.run("mount", disk.node, machine.root / "srv/data")
    result = machine.boot(at(device=disk))
    assert result.outcomes() == {DATA: "unchanged"}, result


def test_a_path_at_which_something_else_is_mounted_is_refused(machine, disks, disk, tmp_path):
    other = disks.attach(small(tmp_path / "other", "ext4"))
    machine.path("/srv/data").mkdir(parents=True)
    disks.run("mount", other.node, machine.root / "srv/data")
    said = fails(machine, at(device=disk))
    assert f"/srv/data is already mounted from {other.node}" in said and "unmount it" in said, said
    disks.run("umount", machine.root / "srv/data")
    disks.run("mount", "-t", "tmpfs", "tmpfs", machine.root / "srv/data")
    assert "already mounted from tmpfs" in fails(machine, at(device=disk))
    disks.run("umount", machine.root / "srv/data")
    disks.run("mount", disk.node, machine.root / "srv/data")
    assert f"already mounted from {disk.node} (ext4)" in fails(machine, at(type="tmpfs"))


def test_a_file_is_no_place_to_mount_at(machine, disk):
    machine.write("/srv/data", "a file")
    assert "/srv/data" in fails(machine, at(device=disk))
    assert machine.read("/srv/data") == "a file"


def test_a_path_through_a_link_is_mounted_once(machine, disk):
    """As /home is one to /var/home, and /var/run to /run."""
    (machine.root / "data").mkdir()
    (machine.root / "srv").symlink_to("/data")
    boots(machine, at("/srv/shop", disk))
    assert seen(machine, "/data/shop").source == disk.node
    said = fails(machine, at("/srv/shop", type="tmpfs"), "mounts./srv/shop")
    assert f"already mounted from {disk.node}" in said, said


def test_a_link_is_followed_to_where_it_leads(machine, disk):
    (machine.root / "mnt").mkdir()
    (machine.root / "mnt/volume").mkdir()
    (machine.root / "data").symlink_to("mnt/volume")
    boots(machine, at("/data", disk))
    assert seen(machine, "/mnt/volume").source == disk.node


def test_a_path_with_spaces_is_found_again(machine, disk):
    boots(machine, at("/srv/with space and ü", disk))


def test_mounts_within_mounts_come_in_their_order(machine, disks, disk, tmp_path):
    inner = disks.attach(small(tmp_path / "inner", "ext4", {"inner": b"inner\n"}))
    text = document(
        mounts={"/srv/data/a/inner": {"device": inner.node}, "/srv/data": {"device": disk.node}},
        files={"/srv/data/a/inner/file": {"content": "innermost"}, "/srv/data/file": {"content": "within"}},
    )
    boots(machine, text)
    assert machine.read("/srv/data/a/inner/inner") == "inner\n"
    disks.run("umount", machine.root / "srv/data/a/inner")
    assert machine.path("/srv/data/a/inner").is_dir() and not machine.path("/srv/data/a/inner/file").exists()
    assert machine.read("/srv/data/file") == "within"
    disks.run("umount", machine.root / "srv/data")
    assert list((disks.seen(machine.root) / "srv/data").iterdir()) == []


# Options, owner and mode.


def test_options_are_set_and_changed_without_an_unmount(machine, disk):
    boots(machine, at(device=disk, options=["noatime", "nosuid,nodev"]))
    assert {"rw", "noatime", "nosuid", "nodev"} <= set(seen(machine).options)
    machine.path("/srv/data/file").write_text("kept")
    for options, wanted in [
        (["noatime", "nosuid", "nodev", "noexec"], {"rw", "noatime", "nosuid", "nodev", "noexec"}),
        (["ro"], {"ro", "noexec"}),
        (["noatime", "rw"], {"rw", "noatime"}),
    ]:
        result = boots(machine, at(device=disk, options=options))
        [line] = result.step(DATA)["changes"]
        assert line.startswith("remount at /srv/data: "), line
        assert wanted <= set(seen(machine).options)
        assert len(machine.inside.mounts(machine.root)) == 1
    assert machine.read("/srv/data/file") == "kept"


def test_a_filesystem_gets_its_own_options(machine, disks, tmp_path):
    disk = disks.attach(small(tmp_path / "disk", "xfs"))
    boots(machine, at(device=disk, options=["logbufs=4", "x-systemd.device-timeout=9", "_netdev"]))
    assert "logbufs=4" in seen(machine).of_filesystem


def test_owner_group_and_mode_are_those_of_what_is_mounted(machine, disks, disk):
    machine.write("/etc/passwd", PASSWD)
    machine.write("/etc/group", GROUP)

    def found():
        status = machine.path("/srv/data").stat()
        return status.st_uid, status.st_gid, f"{status.st_mode & 0o7777:04o}"

    boots(machine, at(device=disk, owner="shop", mode="0750"))
    assert found() == (4711, 4712, "0750")
    boots(machine, at(device=disk, group="web", mode="2770"))
    assert found() == (4711, 4713, "2770")
    disks.run("umount", machine.root / "srv/data")
    assert found() == (0, 0, "0755"), "the directory below stays as it was"
    said = fails_after_mounting(machine, at(device=disk, owner="nobody-here"))
    assert "nobody-here" in said and "useradd" in said, said


def fails_after_mounting(machine, text):
    result = machine.boot(text)
    assert result.code == FAILED, result
    return result.failure(DATA)


# What is not on a disk.


def test_a_tmpfs_has_its_size_and_mode(machine):
    boots(machine, at("/tmp/fast", type="tmpfs", options=["size=8m,noexec"], mode="1777"))
    found = seen(machine, "/tmp/fast")
    assert (found.kind, "noexec" in found.options, "size=8192k" in found.of_filesystem) == ("tmpfs", True, True)
    assert f"{machine.path('/tmp/fast').stat().st_mode & 0o7777:o}" == "1777"


def test_a_bind_mount_shows_a_directory_read_only(machine, disk):
    text = document(
        mounts={
            "/srv/data": {"device": disk.node},
            "/var/www": {"device": "/srv/data/db", "options": ["bind", "ro", "nosuid"]},
        }
    )
    boots(machine, text)
    assert machine.read("/var/www/table") == "rows\n"
    assert {"ro", "nosuid"} <= set(seen(machine, "/var/www").options)
    assert "rw" in seen(machine).options
    other = text.replace("/srv/data/db", "/srv/data/lost+found")
    assert "/var/www is already mounted" in fails(machine, other, "mounts./var/www")


def test_a_bind_mount_of_what_is_not_there_is_refused(machine):
    assert "/no/such" in fails(machine, at("/var/www", "/no/such", options=["bind"]), "mounts./var/www")


def test_a_bind_mount_through_a_link_is_found_again(machine):
    machine.write("/data/www/index", "index")
    (machine.root / "srv").symlink_to("data")
    boots(machine, at("/var/www", "/srv/www", options=["bind"]))
    assert machine.read("/var/www/index") == "index"


# Network filesystems, by a program.

SHARE = "fs-0a1b.efs.eu-central-1.amazonaws.com:/"
PROGRAM = """\
#!/bin/sh
for argument; do printf '%s\\n' "$argument"; done >{log}
exec mount -t tmpfs "$1" "$2"
"""


def test_a_network_filesystem_without_its_program_names_the_package(machine, disks):
    for kind, package in [("nfs4", "nfs-common"), ("efs", "amazon-efs-utils"), ("cifs", "cifs-utils")]:
        disks.hide(f"mount.{kind}")
        said = fails(machine, at(device=SHARE, type=kind))
        assert f"mount.{kind}" in said and f"install {package}" in said, said


def test_a_network_filesystem_is_mounted_by_its_program(machine, disks, tmp_path):
    disks.install("mount.nfs4", PROGRAM.format(log=tmp_path / "log"))
    boots(machine, at(device=SHARE, type="nfs4", options=["nfsvers=4.1,hard", "noatime", "_netdev"]))
    arguments = (tmp_path / "log").read_text().splitlines()
    assert arguments == [SHARE, str(machine.root / "srv/data"), "-o", "noatime,nfsvers=4.1,hard"]
    assert "already mounted" in fails(machine, at(device="other.example:/", type="nfs4"))


@pytest.mark.parametrize(
    "words, hint", [("Connection refused", "TCP 2049"), ("access denied by server", "let the server export it")]
)
def test_a_server_that_does_not_answer_is_asked_again_within_the_time(machine, disks, tmp_path, words, hint):
    count = tmp_path / "count"
    disks.install("mount.nfs4", f"#!/bin/sh\necho >>{count}\necho 'mount.nfs4: {words}' >&2\nexit 32\n")
    result = machine.boot(at(device=SHARE, type="nfs4", timeout="5s"))
    said = result.failure(DATA)
    # One that refuses will not think better of it.
    again = words == "Connection refused"
    assert words in said and hint in said and ("tries)" in said) == again, said
    assert (len(count.read_text()) > 1) == again and result.seconds < 60, result


def test_a_server_that_answers_late_is_no_failure(machine, disks, tmp_path):
    disks.install(
        "mount.nfs4",
        f'#!/bin/sh\n[ -e {tmp_path}/up ] && exec mount -t tmpfs "$1" "$2"\ntouch {tmp_path}/up\nexit 32\n',
    )
    assert "trying again" in boots(machine, at(device=SHARE, type="nfs4")).stderr


# Killed on the way.


def test_killed_at_any_moment_everything_is_mounted_once(machine, disks, disk):
    text = document(
        mounts={
            "/srv/data": {"device": disk.node, "options": ["noatime"], "mode": "0700"},
            "/srv/data/fast": {"type": "tmpfs"},
            "/var/www": {"device": "/srv/data/db", "options": ["bind", "ro"]},
        }
    )
    first = machine.boot(text)
    assert first.code == DONE, first
    whole = sorted((mounted.at, mounted.source, *mounted.options) for mounted in disks.mounts(machine.root))
    for moment in range(8):
        for path in ("var/www", "srv/data/fast", "srv/data"):
            disks.run("umount", machine.root / path)
        running = machine.start_boot(text)
        running.wait_for_line(["mount ", "tmpfs", "bind", "0700"][moment % 4], timeout=0.005 * moment)
        running.kill()
        running.wait()
        result = machine.boot(text)
        assert result.code == DONE, result
        assert sorted((mounted.at, mounted.source, *mounted.options) for mounted in disks.mounts(machine.root)) == whole


def test_a_swap_area_must_be_one(machine, disk):
    if not Path("/proc/swaps").exists():
        pytest.skip("this kernel has no swap")
    said = fails(machine, document(mounts={"swap": {"device": disk.node, "type": "swap"}}), "mounts.swap")
    assert f"{disk.node} holds ext4, which cannot be mounted as swap" in said, said


# Links that other users may have laid.

NOBODY = 65534


def laid(path, target, owner=NOBODY):
    """A symbolic link in a directory of that user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    for each in (path.parent, path):
        os.chown(each, owner, owner, follow_symlinks=False)
    return path


LAID = {
    "tmpfs": ("/srv/app/m", {"device": "tmpfs", "type": "tmpfs", "owner": "shop", "mode": "0777"}),
    "tmpfs below a link": ("/srv/app/m/made", {"device": "tmpfs", "type": "tmpfs", "owner": "shop", "mode": "0777"}),
    "bind": ("/srv/app/m", {"device": "/mnt", "options": ["bind"], "owner": "shop"}),
    "source of a bind": ("/mnt", {"device": "/srv/app/m", "options": ["bind"], "owner": "shop"}),
    "network": ("/srv/app/m", {"device": "server:/", "type": "nfs4"}),
    "disk": ("/srv/app/m", {"device": "DISK", "owner": "shop"}),
    "device": ("/mnt", {"device": "LINK", "owner": "shop"}),
    "swap": ("swap", {"device": "LINK", "type": "swap"}),
}


@pytest.mark.parametrize("kind", LAID)
@pytest.mark.parametrize("over", ["directory", "mount"])
def test_no_mount_follows_the_link_of_another_user(machine, disks, tmp_path, kind, over):
    key, fields = LAID[kind]
    disk = disks.attach(small(tmp_path / "disk", "swap" if kind == "swap" else "ext4"))
    # Devices are those of the machine, also with a root.
    named = {"DISK": disk.node, "LINK": str(laid(tmp_path / "theirs/disk", disk.node))}
    fields = {**fields, "device": named.get(fields["device"], fields["device"])}
    machine.write("/etc/passwd", PASSWD)
    machine.write("/etc/group", GROUP)
    machine.path("/mnt").mkdir()
    secret = machine.path("/etc/secret.d")
    secret.mkdir(mode=0o700)
    if over == "mount":
        # What is there may look like what is asked for: then nothing is mounted, and all is given away.
        disks.run("mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", machine.root / "etc/secret.d")
    link = laid(machine.path("/srv/app/m"), "/etc/secret.d")
    said = fails(machine, document(mounts={key: fields}), f"mounts.{key}")
    assert f"is a symbolic link owned by user {NOBODY}" in said and "chown -h root:root" in said, said
    assert (secret.stat().st_mode & 0o777, secret.stat().st_uid, list(secret.iterdir())) == (0o700, 0, [])
    if kind == "tmpfs" and over == "directory":
        os.chown(link, 0, 0, follow_symlinks=False)
        boots(machine, document(mounts={key: fields}))
        assert seen(machine, "/etc/secret.d").kind == "tmpfs"


def test_no_mount_comes_back_over_the_link_of_another_user(machine, disks):
    machine.write("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n")
    machine.write("/sys/class/dmi/id/board_asset_tag", "i-0123456789abcdef0\n")
    machine.path("/etc/secret.d").mkdir(parents=True, mode=0o700)
    machine.path("/srv/app").mkdir(parents=True)
    boots(machine, document(mounts={"/srv/app/m": {"device": "tmpfs", "type": "tmpfs"}}))
    disks.run("umount", machine.root / "srv/app/m")
    machine.path("/srv/app/m").rmdir()
    laid(machine.path("/srv/app/m"), "/etc/secret.d")
    for over in ("directory", "mount"):
        if over == "mount":
            disks.run("mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", machine.root / "etc/secret.d")
        before = disks.mounts(machine.root)
        result = machine.run("restore-mounts", "--root", str(machine.root))
        assert "is not restored yet" in result.stderr and "/srv/app/m is a symbolic link" in result.stderr, result
        assert disks.mounts(machine.root) == before
