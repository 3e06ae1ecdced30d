"""Files that not even root can replace: the message names what is in the way, and the command of the hint takes it away."""

import pytest
from harness.agent import DONE, FAILED, document
from harness.host.images import small


@pytest.fixture
def etc(machine, disks, tmp_path):
    """`/etc` of the machine, on an ext4 of its own: not every filesystem of a test has such attributes."""
    disk = disks.attach(small(tmp_path / "disk", "ext4"))
    etc = machine.root / "etc"
    etc.mkdir(parents=True)
    disks.run("mount", disk.node, etc)
    for name in ("file", "directory", "appended"):
        disks.run("mkdir", etc / name)
    disks.run("sh", "-c", f"echo old >{etc}/file/a; echo old >{etc}/hosts; touch {tmp_path}/other")
    return etc


@pytest.mark.parametrize(
    "path, place, letter",
    [
        ("/etc/file/a", "file/a", "i"),
        ("/etc/directory/a", "directory", "i"),
        ("/etc/directory/new/a", "directory", "i"),
        ("/etc/appended/a", "appended", "a"),
    ],
)
def test_an_attribute_is_named_and_the_hint_clears_it(machine, disks, etc, path, place, letter):
    disks.run("chattr", f"+{letter}", etc / place)
    text = document(files={path: {"content": "new\n"}})
    result = machine.boot(text)
    assert result.code == FAILED, result
    said = result.failure(f"files.{path}")
    command = f"chattr -{letter} {etc / place}"
    assert f"(chattr +{letter})" in said and f"`{command}`" in said, said
    disks.run(*command.split())
    result = machine.boot(text)
    assert result.code == DONE, result
    disks.run("grep", "-q", "new", machine.root / path.lstrip("/"))


def test_a_file_that_something_is_mounted_on_is_named_and_the_hint_unmounts_it(machine, disks, etc, tmp_path):
    disks.run("mount", "--bind", tmp_path / "other", etc / "hosts")
    text = document(files={"/etc/hosts": {"content": "new\n"}})
    result = machine.boot(text)
    assert result.code == FAILED, result
    said = result.failure("files./etc/hosts")
    assert "cannot replace /etc/hosts" in said and "run `umount /etc/hosts` to unmount what is mounted there" in said, said
    disks.run("umount", etc / "hosts")
    assert machine.boot(text).code == DONE
