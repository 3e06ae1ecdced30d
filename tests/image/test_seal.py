"""`ingot seal --scrub` on real filesystems: what is mounted in an image, swap that is in use, a kill in the middle, and
the machine itself."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from harness.agent import DONE, FAILED, USAGE, Agent, binary
from harness.host.images import filesystem

UNIT = "[Service]\nExecStart=/usr/bin/ingot boot\n[Install]\nWantedBy=multi-user.target\n"
LINK = "etc/systemd/system/multi-user.target.wants/ingot.service"
FILES = {
    "etc/fstab": b"UUID=1 / ext4 defaults 0 1\nLABEL=UEFI /boot/efi ext4 defaults 0 1\nLABEL=log /var/log ext4\n",
    "etc/ingot/boot.d/10-empty.yaml": b"version: 1\n",
    "etc/machine-id": b"0123456789abcdef0123456789abcdef\n",
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
    "etc/ssh/ssh_host_ed25519_key": b"x",
    "usr/lib/systemd/system/ingot.service": UNIT.encode(),
    "var/log/large.log": os.urandom(8 << 20),
    "boot/efi/.keep": b"",
    "home/.keep": b"",
    "tmp/.keep": b"",
}


def furnish(root: Path) -> None:
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    for name in ("usr/bin/ingot", "usr/lib/systemd/systemd"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        # What it is built for is all that is looked at.
        with open(binary(), "rb") as program:
            (root / name).write_bytes(program.read(64))
        (root / name).chmod(0o755)
    (root / LINK).parent.mkdir(parents=True)
    (root / LINK).symlink_to("/usr/lib/systemd/system/ingot.service")


@pytest.fixture
def image(machine, disks, tmp_path):
    """An image on a disk of its own, mounted."""
    machine.disk = disks.attach(filesystem(tmp_path / "disk", "ext4", size_gib=0.5))
    disks.run("mount", machine.disk.node, machine.root)
    furnish(machine.path("/"))
    return machine


def test_of_what_is_mounted_in_an_image_only_its_own_filesystems_are_scrubbed(image, disks, tmp_path):
    boot = disks.attach(filesystem(tmp_path / "boot", "ext4", {"loader/random-seed": b"x"}, size_gib=0.1))
    outside = tmp_path / "outside"
    for name in ("ops/.bash_history", "ops/.cache/x"):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_text("x")
    log = disks.attach(filesystem(tmp_path / "log", "ext4", {"nginx/access.log": b"x"}, size_gib=0.1))
    disks.run("mount", boot.node, image.root / "boot/efi")
    disks.run("mount", log.node, image.root / "var/log")
    disks.run("mount", "-t", "tmpfs", "tmpfs", image.root / "tmp")
    disks.run("mount", "--bind", outside, image.root / "home")
    image.write("/tmp/of-the-running-machine", "x")

    result = image.run("seal", "--root", image.root, "--scrub", "--json")
    assert result.code == DONE, result
    removed = {one["path"] for one in result.json["removed"]}
    assert removed == {"/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key", "/boot/efi/loader/random-seed", "/var/log"}
    assert not image.path("/boot/efi/loader/random-seed").exists() and image.read("/var/log/nginx/access.log") == ""
    assert image.read("/tmp/of-the-running-machine") == "x" and (outside / "ops/.cache/x").exists()
    assert [note.split()[0] for note in result.json["notes"]].count("discarded") == 3, result


def test_what_was_deleted_is_gone_from_the_disk(image):
    taken = lambda: image.disk.image.stat().st_blocks * 512  # noqa: E731
    os.sync()
    before = taken()
    result = image.run("seal", "--root", image.root, "--scrub")
    assert result.code == DONE and "discarded" in result.stdout, result
    os.sync()
    assert before - taken() > 7 << 20, "8 MiB of a log were emptied, and are no longer on the disk"


def test_swap_that_is_in_use_is_switched_off_first(image, disks):
    fstab = image.read("/etc/fstab")
    image.write("/etc/fstab", fstab + "/swapfile none swap sw 0 0\n")
    image.write("/swapfile", os.urandom(1 << 20), 0o600)
    disks.run("mkswap", image.root / "swapfile")
    disks.run("swapon", image.root / "swapfile")
    try:
        result = image.run("seal", "--root", image.root, "--scrub")
        assert result.code == DONE, result
        assert str(image.root) not in Path("/proc/swaps").read_text()
        assert not image.path("/swapfile").exists() and image.read("/etc/fstab") == fstab
    finally:
        subprocess.run([*disks.prefix, "swapoff", str(image.root / "swapfile")], capture_output=True)


def test_a_swap_partition_is_for_a_person(image):
    image.write("/etc/fstab", "UUID=2 none swap sw 0 0\n")
    result = image.run("seal", "--root", image.root, "--scrub")
    assert result.code == FAILED and "/etc/fstab:1: swap-partition: " in result.stdout, result


def test_killed_anywhere_and_run_again_it_ends_as_if_it_had_not_been_killed(ingot, tmp_path):
    def fresh(name):
        directory = tmp_path / name
        directory.mkdir()
        agent = Agent(directory)
        furnish(agent.path("/"))
        for number in range(500):
            agent.write(f"/var/lib/cloud/instances/{number % 50}/{number}", "x")
            agent.write(f"/var/log/{number % 50}/{number}.log", "x")
        agent.write("/root/.ssh/authorized_keys", "ssh-rsa AAAA packer_65f2-0a1b\n# x\n")
        return agent

    without_time = lambda agent: {k: v for k, v in agent.tree().items() if not k.endswith("attestation.json")}  # noqa: E731
    whole = fresh("whole")
    result = whole.run("seal", "--root", whole.root, "--scrub")
    assert result.code == DONE, result
    killed = 0
    for attempt in range(6):
        agent = fresh(f"killed-{attempt}")
        running = agent.start("seal", "--root", agent.root, "--scrub")
        time.sleep(result.seconds * (attempt + 0.5) / 6)
        running.kill()
        killed += running.wait().code == -9
        again = agent.run("seal", "--root", agent.root, "--scrub")
        assert again.code == DONE, again
        assert without_time(agent) == without_time(whole)
    assert killed, "at least one was really killed"


@pytest.fixture
def live(image, disks):
    """Runs ingot with the image as its own root."""
    libraries = subprocess.run(["ldd", binary()], capture_output=True, text=True).stdout.split()
    for library in (Path(word) for word in libraries if word.startswith("/") and Path(word).exists()):
        image.write(str(library), library.read_bytes(), 0o755)
    for name in ("proc", "run", "etc/ingot"):
        image.path("/" + name).mkdir(exist_ok=True)
    disks.run("mount", "-t", "proc", "proc", image.root / "proc")
    shutil.copy(binary(), image.path("/usr/bin/ingot"))

    def run(*args, user=0, program="/usr/bin/ingot"):
        command = [*disks.prefix, "chroot", f"--userspec={user}:{user}", image.root, program, "seal", *args]
        return subprocess.run([str(word) for word in command], capture_output=True, text=True)

    return run


def test_the_machine_itself_is_scrubbed_if_it_is_one_to_make_images_of(image, live):
    done = live("--scrub", user=1000)
    assert done.returncode == USAGE and "hint: run this command with sudo" in done.stderr, done

    image.path("/etc/ingot").rename(image.path("/etc/elsewhere"))
    done = live("--scrub")
    assert done.returncode == USAGE and "this machine is not scrubbed: it has no /etc/ingot" in done.stderr, done
    # Under another name it is the same machine: `--root "$MOUNTED/"` with a variable that is empty.
    for root in ("/", "/.", "/usr/.."):
        done = live("--scrub", "--root", root)
        assert done.returncode == USAGE and "this machine is not scrubbed" in done.stderr, done
    assert image.path("/etc/ssh/ssh_host_ed25519_key").exists()
    image.path("/etc/elsewhere").rename(image.path("/etc/ingot"))

    image.write("/run/systemd/container", "nspawn\n")
    done = live("--scrub")
    assert done.returncode == DONE, done
    assert not image.path("/etc/ssh/ssh_host_ed25519_key").exists() and image.read("/etc/machine-id") == ""

    shutil.copy(image.path("/usr/bin/ingot"), image.path("/usr/bin/other"))
    with open(image.path("/usr/bin/other"), "ab") as other:
        other.write(b"\0")
    done = live(program="/usr/bin/other")
    assert done.returncode == FAILED and "/usr/bin/ingot: ingot-binary: it is not the ingot that is running now" in done.stdout, done
