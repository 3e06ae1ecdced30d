"""The static binary alone: small, linked to nothing, and at home where there is nothing but itself."""

import os
import shutil
import subprocess

import pytest
from harness import wire
from harness.agent import DONE, PATIENCE, UNREACHABLE
from harness.aws.account import Aws
from harness.aws.imds import Imds
from harness.host.dns import Dns
from harness.tls import Tls

PASSWORD = "hunter2-correct-horse"
SIZE_LIMIT = 8 << 20

DOCUMENT = """\
#ingot
version: 1
secrets: { db: { secrets_manager: prod/db } }
files:
  /etc/app.toml: { content: "password = {{toml secrets.db.password}}\\n" }
  /etc/motd: { content: "{{instance.id}}\\n", owner: root }
"""


@pytest.fixture
def static(ingot):
    if "dist" not in ingot.parts:
        pytest.skip(f"{ingot} is not the static build: run `cargo dist`")
    return ingot


def test_it_is_linked_to_nothing_and_small(static):
    linked = subprocess.run(["ldd", static], capture_output=True, text=True)
    assert "statically linked" in linked.stdout or "not a dynamic executable" in linked.stderr, linked
    assert static.stat().st_size <= SIZE_LIMIT


class Empty:
    """A root directory with nothing in it but the binary. Everything ingot opens, it has to find there."""

    def __init__(self, directory, binary, netns: str | None = None):
        self.root = directory / "empty"
        self.root.mkdir()
        shutil.copy(binary, self.root / "ingot")
        self.enter = ["ip", "netns", "exec", netns] if netns else []

    def run(self, *args: str, stdin: str = "", env: dict | None = None) -> subprocess.CompletedProcess:
        # chroot itself from outside, by its whole path: the environment inside has no PATH.
        command = [*self.enter, shutil.which("chroot"), str(self.root), "/ingot", *args]
        return subprocess.run(command, env=env or {}, input=stdin, capture_output=True, text=True, timeout=PATIENCE)

    def read(self, absolute: str) -> str:
        return (self.root / absolute.lstrip("/")).read_text()

    def write(self, absolute: str, content: str) -> None:
        path = self.root / absolute.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="chroot and network namespaces need root")


@pytest.fixture
def empty(static, tmp_path):
    return Empty(tmp_path, static)


@needs_root
def test_in_an_empty_root_it_rehearses(empty):
    empty.write("/document.yaml", DOCUMENT)
    done = empty.run("dry-run", "/document.yaml", "--out", "/out")
    assert done.returncode == DONE, done
    assert "password = " in empty.read("/out/etc/app.toml")
    assert sorted(path.name for path in empty.root.iterdir()) == ["document.yaml", "ingot", "out"]
    assert empty.run("check", "/document.yaml").returncode == DONE
    assert empty.run("schema").stdout.startswith("{")


@needs_root
def test_in_an_empty_root_it_boots(empty, aws, imds):
    aws.secret("prod/db", {"password": PASSWORD})
    imds.configure(user_data=DOCUMENT.replace(", owner: root", ""))
    done = empty.run("boot", env={**imds.env, **aws.env})
    assert done.returncode == DONE, done
    assert empty.read("/etc/app.toml") == f'password = "{PASSWORD}"\n'
    assert empty.read("/etc/motd") == "i-0abc123def4567890\n"
    assert empty.run("status").returncode == DONE


@needs_root
def test_a_user_that_no_file_names_is_a_failure_and_not_a_crash(empty, aws, imds):
    imds.configure(user_data="#ingot\nversion: 1\nfiles:\n  /etc/motd: { content: x, owner: shop }\n")
    done = empty.run("boot", env={**imds.env, **aws.env})
    assert done.returncode == 1, done
    assert "/etc/passwd" in done.stderr and "shop" in done.stderr


@pytest.fixture
def netns(tmp_path):
    """A network with loopback, and one way out (a bridge without ports) that leads nowhere and counts."""
    name = f"ingot-static-{os.getpid()}"
    run = lambda *command: subprocess.run(["ip", *command], check=True, capture_output=True)  # noqa: E731
    run("netns", "add", name)
    try:
        run("-n", name, "link", "set", "lo", "up")
        # Without packets of the kernel's own.
        run("-n", name, "link", "add", "out", "type", "bridge", "mcast_snooping", "0")
        run("netns", "exec", name, "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/out/disable_ipv6")
        run("-n", name, "address", "add", "10.9.0.1/24", "dev", "out")
        run("-n", name, "link", "set", "out", "up")
        run("-n", name, "route", "add", "default", "via", "10.9.0.2")
        yield name
    finally:
        run("netns", "delete", name)


def packets_out(netns: str) -> int:
    """What left by the way out, so far."""
    command = ["ip", "netns", "exec", netns, "cat", "/proc/net/dev"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return int(next(line for line in lines if line.strip().startswith("out:")).split()[10])


class Inside:
    """IMDS and AWS within a network namespace, AWS by name only."""

    def __init__(self, static, directory, netns):
        self.netns = netns
        self.empty = Empty(directory, static, netns)
        self.imds = Imds(user_data=DOCUMENT.replace(", owner: root", ""), netns=netns)
        listener = wire.bound(netns=netns)
        self.port = listener.getsockname()[1]
        self.aws = Aws([listener])

    def __enter__(self) -> "Inside":
        self.imds.__enter__()
        self.aws.__enter__()
        self.aws.secret("prod/db", {"password": PASSWORD})
        return self

    def __exit__(self, *_) -> None:
        self.aws.__exit__()
        self.imds.__exit__()

    def boot(self) -> subprocess.CompletedProcess:
        env = {**self.imds.env, "AWS_ENDPOINT_URL": f"http://aws.ingot.test:{self.port}"}
        return self.empty.run("boot", "--deadline", "4s", env=env)


@pytest.fixture
def inside(static, tmp_path, netns):
    with Inside(static, tmp_path, netns) as inside:
        yield inside


@needs_root
def test_names_are_resolved_by_resolv_conf_alone(inside):
    # No nsswitch.conf, no hosts, no libnss: getaddrinfo would have nothing to go by.
    inside.empty.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    with Dns({"aws.ingot.test": "127.0.0.1"}, netns=inside.netns) as dns:
        done = inside.boot()
    assert done.returncode == DONE, done
    assert inside.empty.read("/etc/app.toml") == f'password = "{PASSWORD}"\n'
    assert "aws.ingot.test" in dns.asked
    assert packets_out(inside.netns) == 0


@needs_root
def test_without_resolv_conf_nobody_else_is_asked(inside):
    done = inside.boot()
    assert done.returncode == UNREACHABLE, done
    assert "/etc/resolv.conf" in done.stderr, done
    assert packets_out(inside.netns) == 0, "no public resolver stands in"

    inside.empty.write("/etc/resolv.conf", "nameserver 192.0.2.1\n")
    inside.boot()
    assert packets_out(inside.netns) > 0, "the way out counts"


@needs_root
def test_a_name_that_does_not_exist_is_said_not_to(inside):
    inside.empty.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    with Dns({}, netns=inside.netns):
        done = inside.boot()
    assert done.returncode == UNREACHABLE, done
    assert "aws.ingot.test" in done.stderr


@needs_root
def test_tls_needs_no_file_and_takes_a_private_authority(empty, aws, imds, tmp_path):
    aws.secret("prod/db", {"password": PASSWORD})
    imds.configure(user_data=DOCUMENT.replace(", owner: root", ""))
    tls = Tls(tmp_path, aws.port)
    env = {**imds.env, "AWS_ENDPOINT_URL": f"https://127.0.0.1:{tls.port}"}
    try:
        refused = empty.run("boot", env=env)
        assert refused.returncode != DONE, refused
        assert "certificate" in refused.stderr
        assert aws.calls() == []

        empty.write("/ca.pem", tls.certificate.read_text())
        trusted = empty.run("boot", env={**env, "AWS_CA_BUNDLE": "/ca.pem"})
        assert trusted.returncode == DONE, trusted
        assert empty.read("/etc/app.toml") == f'password = "{PASSWORD}"\n'
    finally:
        tls.close()
