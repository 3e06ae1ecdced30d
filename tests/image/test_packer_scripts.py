"""packer/scripts: each alone, as root, in a root of Debian that is not running.

Package managers are stand-ins that note what they are told: what they do is theirs.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.agent import PATIENCE

PACKER = Path(__file__).parents[2] / "packer"
DEBIAN_ROOT = Path(__file__).parents[1] / "harness" / "host" / "debian-root"
BUILD = "/var/tmp/golden"
UNITS = "etc/systemd/system"
NOTE = '#!/bin/sh\necho "${0##*/} $*" >>/told\n'

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mmdebstrap"), reason="needs root and mmdebstrap")


@pytest.fixture(scope="session")
def debian():
    return subprocess.run([DEBIAN_ROOT], check=True, capture_output=True, text=True).stdout.strip()


class Builder:
    """What Packer leaves on a builder before the first script: a root, and what goes in."""

    def __init__(self, root: Path):
        self.root = root
        self.build = root / BUILD.lstrip("/")
        shutil.copytree(PACKER / "scripts", self.build / "scripts")
        shutil.copytree(PACKER / "files", self.build / "files")
        shutil.copytree(PACKER.parent / "systemd", self.build / "systemd")
        self.application = self.build / "application"
        self.application.mkdir()

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [shutil.which("chroot") or "/usr/sbin/chroot", self.root, "sh", f"{BUILD}/scripts/{script}.sh"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "INGOT_BUILD_DIRECTORY": BUILD, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def succeed(self, script: str, **environment: str) -> str:
        done = self.run(script, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fail(self, script: str, **environment: str) -> str:
        done = self.run(script, **environment)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def put(self, path: str, content: str | bytes = "", mode: int = 0o644) -> Path:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
        return file

    def told(self) -> list[str]:
        """What the stand-ins of package managers were told."""
        file = self.root / "told"
        return file.read_text().splitlines() if file.exists() else []

    def become_amazon_linux(self) -> None:
        for name in ("apt-get", "dpkg-query"):
            (self.root / "usr/bin" / name).unlink()
        self.put("/usr/bin/dnf", NOTE, 0o755)

    def mode(self, path: str) -> int:
        status = (self.root / path.lstrip("/")).stat()
        assert (status.st_uid, status.st_gid) == (0, 0), path
        return status.st_mode & 0o7777


@pytest.fixture
def builder(debian, tmp_path):
    layers = {name: tmp_path / name for name in ("upper", "work", "root")}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    # The scratch is a file system of its own: an overlay does not lie on another one.
    subprocess.run(["mount", "-t", "tmpfs", "scratch", scratch], check=True)
    layers = {name: scratch / name for name in layers}
    for directory in layers.values():
        directory.mkdir()
    options = f"lowerdir={debian},upperdir={layers['upper']},workdir={layers['work']}"
    try:
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, layers["root"]], check=True)
        yield Builder(layers["root"])
    finally:
        subprocess.run(["umount", "--lazy", layers["root"]], stderr=subprocess.DEVNULL)
        subprocess.run(["umount", "--lazy", scratch], check=True)


class TestPatch:
    def test_brings_debian_up_to_date_without_asking(self, builder):
        builder.put("/usr/bin/apt-get", NOTE, 0o755)
        builder.succeed("patch")
        update, upgrade = builder.told()
        assert update.endswith(" update")
        assert "--force-confold" in upgrade and " upgrade" in upgrade

    def test_brings_amazon_linux_up_to_its_latest_release(self, builder):
        builder.become_amazon_linux()
        builder.succeed("patch")
        assert builder.told() == ["dnf -q -y upgrade --releasever=latest"]

    def test_leaves_packages_alone_if_told_so(self, builder):
        builder.put("/usr/bin/apt-get", NOTE, 0o755)
        builder.succeed("patch", PATCH="false")
        assert builder.told() == []

    def test_says_what_to_do_on_another_system(self, builder):
        builder.become_amazon_linux()
        (builder.root / "usr/bin/dnf").unlink()
        assert "PATCH=false" in builder.fail("patch")


class TestPackages:
    LIST = "# comment\n\nsystemd\napt:only-debian # here\ndnf:only-amazon\n  nginx-light"  # without the end of its last line

    def test_installs_what_is_missing_on_debian(self, builder):
        builder.put("/usr/bin/apt-get", NOTE, 0o755)
        (builder.application / "packages").write_text(self.LIST)
        builder.succeed("packages")
        assert builder.told()[-1].split(" install ")[1] == "only-debian"

    def test_installs_what_is_for_amazon_linux_there(self, builder):
        builder.become_amazon_linux()
        (builder.application / "packages").write_text(self.LIST)
        builder.succeed("packages")
        assert builder.told()[-1].split(" install ")[1] == "systemd only-amazon nginx-light"

    def test_an_application_may_need_none(self, builder):
        builder.put("/usr/bin/apt-get", NOTE, 0o755)
        builder.succeed("packages")
        assert builder.told() == []


class TestIngot:
    @pytest.fixture
    def checksum(self, builder):
        """Of a program that answers to --version."""
        content = (builder.root / "usr/bin/true").read_bytes()
        (builder.build / "ingot").write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    def replace(self, builder, content: bytes) -> str:
        (builder.build / "ingot").write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    def test_installs_binary_units_and_directories(self, builder, checksum):
        builder.succeed("ingot", INGOT_SHA256=checksum)
        assert builder.mode("/usr/bin/ingot") == 0o755
        names = ("", "-mounts", "-applications", "-proxy", "-watch@", "-worker@")
        others = ("ingot.target", "ingot-watch@.timer", "ingot-workers.target")
        for unit in (*(f"ingot{name}.service" for name in names), *others):
            assert builder.mode(f"/usr/lib/systemd/system/{unit}") == 0o644
        for directory in ("boot.d", "templates"):
            assert builder.mode(f"/etc/ingot/{directory}") == 0o755
        assert (builder.root / UNITS / "multi-user.target.wants/ingot.service").is_symlink()
        assert (builder.root / UNITS / "multi-user.target.wants/ingot.target").is_symlink()
        assert (builder.root / UNITS / "local-fs.target.wants/ingot-mounts.service").is_symlink()
        assert (builder.root / UNITS / "multi-user.target.wants/ingot-applications.service").is_symlink()

    def refused(self, builder, checksum: str) -> str:
        said = builder.fail("ingot", INGOT_SHA256=checksum)
        assert "hint: " in said
        assert not (builder.root / "usr/bin/ingot").exists()
        return said

    def test_refuses_another_binary(self, builder, checksum):
        said = self.refused(builder, "0" * 64)
        assert checksum in said and "0" * 64 in said

    def test_refuses_to_go_without_a_checksum(self, builder, checksum):
        assert "no checksum" in self.refused(builder, "")

    def test_refuses_another_architecture(self, builder, checksum):
        content = bytearray((builder.build / "ingot").read_bytes())
        other = {62: 183, 183: 62}[content[18]]
        content[18] = other
        said = self.refused(builder, self.replace(builder, bytes(content)))
        assert {62: "x86_64", 183: "aarch64"}[other] in said and os.uname().machine in said

    def test_refuses_what_is_no_program(self, builder, checksum):
        assert "not a Linux program" in self.refused(builder, self.replace(builder, b"<html>not found</html>"))
        assert "not a Linux program" in self.refused(builder, self.replace(builder, b""))

    def test_refuses_an_image_without_systemd(self, builder, checksum):
        (builder.root / "usr/lib/systemd/systemd").unlink()
        assert "no systemd" in self.refused(builder, checksum)


class TestApplication:
    def test_installs_each_part(self, builder):
        shutil.copytree(PACKER / "application", builder.application, dirs_exist_ok=True)
        builder.put(f"{BUILD}/application/units/ingot.service.d/a.conf", "[Service]\n", 0o600)
        builder.put(f"{BUILD}/application/seal.yaml", "allow: []\n", 0o666)
        (builder.application / "root/opt/shop/shop.py").chmod(0o775)
        builder.succeed("application")
        assert builder.mode("/etc/ingot/boot.d/10-shop.yaml") == 0o644
        assert builder.mode("/etc/ingot/templates/shop.json.hbs") == 0o644
        assert builder.mode("/etc/systemd/system/shop.service") == 0o644
        assert builder.mode("/etc/systemd/system/ingot.service.d/a.conf") == 0o644
        assert builder.mode("/etc/ingot/seal.yaml") == 0o644
        assert builder.mode("/opt/shop/shop.py") == 0o755
        assert "\nshop:x:" in (builder.root / "etc/passwd").read_text()
        assert not (builder.root / UNITS / "multi-user.target.wants/shop.service").exists()

    def test_every_part_may_be_missing(self, builder):
        builder.succeed("application")

    def test_a_hook_that_fails_fails_the_build(self, builder):
        builder.put(f"{BUILD}/application/install.sh", "exit 3\n", 0o644)
        assert builder.run("application").returncode == 3


class TestTrim:
    def link(self, builder, unit: str) -> str | None:
        path = builder.root / UNITS / unit
        return os.readlink(path) if path.is_symlink() else None

    def test_masks_what_the_image_has(self, builder):
        for unit in ("apt-daily.timer", "e2scrub_all.timer"):
            builder.put(f"/usr/lib/systemd/system/{unit}", "[Timer]\n")
            (builder.root / UNITS / unit).unlink(missing_ok=True)
        builder.succeed("trim")
        assert self.link(builder, "apt-daily.timer") == "/dev/null"
        assert self.link(builder, "getty@tty1.service") == "/dev/null"
        assert not (builder.root / UNITS / "ModemManager.service").is_symlink()

    def test_leaves_what_the_application_keeps(self, builder):
        for unit in ("ModemManager.service", "udisks2.service"):
            builder.put(f"/usr/lib/systemd/system/{unit}", "[Service]\nExecStart=/bin/true\n")
        (builder.application / "keep-units").write_text("ModemManager.service\n")
        builder.succeed("trim")
        assert self.link(builder, "ModemManager.service") is None
        assert self.link(builder, "udisks2.service") == "/dev/null"

    def test_relaxes_timers_and_bounds_the_wait_for_a_network(self, builder):
        (builder.root / UNITS / "systemd-networkd-wait-online.service").unlink(missing_ok=True)
        builder.succeed("trim")
        timer = (builder.root / UNITS / "fstrim.timer.d/50-golden.conf").read_text()
        assert "Persistent=false" in timer
        wait = (builder.root / UNITS / "systemd-networkd-wait-online.service.d/50-golden.conf").read_text()
        assert "ExecStart=\nExecStart=/" in wait and "--any --timeout=10" in wait

    def test_the_first_boot_has_nothing_to_bring_up_to_date(self, builder):
        builder.succeed("trim")
        for path in ("etc/.updated", "var/.updated"):
            assert (builder.root / path).stat().st_mtime_ns == (builder.root / "usr").stat().st_mtime_ns

    def test_twice_is_once(self, builder):
        def units():
            return sorted((str(path), path.is_symlink()) for path in (builder.root / UNITS).rglob("*"))

        builder.succeed("trim")
        once = units()
        builder.succeed("trim")
        assert units() == once

    def test_an_unknown_action_fails(self, builder):
        (builder.build / "files/units-to-trim").write_text("remove systemd-udevd.service whatever\n")
        assert "unknown action remove" in builder.fail("trim")


class TestHostKey:
    KEY = "etc/ssh/ssh_host_ed25519_key"

    @pytest.fixture
    def ssh(self, builder):
        """A root with sshd, and a key generator that works."""
        builder.put("/usr/sbin/sshd", "", 0o755)
        shutil.copy("/usr/bin/ssh-keygen", builder.root / "usr/bin/ssh-keygen")
        builder.put("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nHostKey /etc/ssh/ssh_host_rsa_key\n")
        builder.put("/dev/null")
        builder.succeed("host-key")
        return builder

    def make(self, builder, instance: str) -> str:
        """The public key after a boot on this instance."""
        builder.put("/sys/class/dmi/id/board_asset_tag", f"{instance}\n")
        chroot = shutil.which("chroot") or "/usr/sbin/chroot"
        subprocess.run([chroot, builder.root, "/usr/libexec/golden/ssh-host-key"], check=True, timeout=PATIENCE)
        return (builder.root / f"{self.KEY}.pub").read_text()

    def test_sshd_offers_one_kind_of_key(self, ssh):
        assert "\n#HostKey" in (ssh.root / "etc/ssh/sshd_config").read_text()
        assert "ed25519" in (ssh.root / "etc/ssh/sshd_config.d/00-golden.conf").read_text()
        assert (ssh.root / UNITS / "multi-user.target.wants/ssh-host-key.service").is_symlink()
        assert ssh.mode("/usr/libexec/golden/ssh-host-key") == 0o755
        assert "ssh_deletekeys: false" in (ssh.root / "etc/cloud/cloud.cfg.d/90-golden.cfg").read_text()

    def test_an_instance_keeps_its_key_and_another_makes_its_own(self, ssh):
        first = self.make(ssh, "i-0abc123def4567890")
        assert first.split()[2] == "i-0abc123def4567890"
        assert self.make(ssh, "i-0abc123def4567890") == first
        other = self.make(ssh, "i-0fedcba9876543210")
        assert other.split()[1] != first.split()[1]
        assert other.split()[2] == "i-0fedcba9876543210"
        assert (ssh.root / self.KEY).stat().st_mode & 0o777 == 0o600

    def test_a_key_that_names_no_instance_stays(self, ssh):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@ip-10-0-0-1", "-f", ssh.root / self.KEY], check=True)
        before = (ssh.root / f"{self.KEY}.pub").read_text()
        assert self.make(ssh, "i-0abc123def4567890") == before

    def test_half_a_key_is_made_anew(self, ssh):
        self.make(ssh, "i-0abc123def4567890")
        (ssh.root / self.KEY).write_bytes(b"")
        self.make(ssh, "i-0abc123def4567890")
        assert (ssh.root / self.KEY).stat().st_size > 0

    def test_an_sshd_that_reads_no_drop_ins_is_refused(self, builder):
        builder.put("/usr/sbin/sshd", "", 0o755)
        builder.put("/etc/ssh/sshd_config", "Port 22\n")
        assert "hint: " in builder.fail("host-key")

    def test_an_image_without_sshd_is_fine(self, builder):
        assert "no sshd" in builder.succeed("host-key")
