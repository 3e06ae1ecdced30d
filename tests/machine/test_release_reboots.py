"""`ingot boot --release` on a real systemd: reboots in the middle and after the end, each with one whole release."""

import hashlib

import pytest
from harness.agent import document
from harness.host import container
from harness.host.archives import release
from harness.host.container import Machine

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

ARCHIVES = {name: release("tar.gz", {"VERSION": name.encode()}) for name in ("v1", "v2", "v3")}

UNIT = """\
[Service]
ExecStart=/bin/sh -c 'cat /opt/shop/current/VERSION >/run/serves; exec sleep infinity'
"""


def named(name: str) -> str:
    return f"{name}@sha256:{hashlib.sha256(ARCHIVES[name]).hexdigest()}"


def shop() -> str:
    """A document that was launched with v1. Its command holds every boot up for as long as there is no /root/go."""
    return document(
        values={"release": "v1", "release_sha256": named("v1").rpartition(":")[2]},
        bundles={
            "app": {
                "s3": "s3://shop-releases/{{values.release}}.tar.gz",
                "sha256": "{{values.release_sha256}}",
                "into": "/opt/shop",
            }
        },
        files={"/etc/shop": {"content": "{{values.release}}"}},
        commands={"go": {"run": ["/bin/sh", "-c", "until [ -e /root/go ]; do sleep 0.1; done"], "once": "always", "after": ["files./etc/shop"]}},
        services={"shop.service": {"restart_on": ["bundles.app"]}},
    )


@pytest.fixture
def machine(ingot):
    with Machine(user_data=shop()) as machine:
        s3 = machine.aws.client("s3")
        s3.create_bucket(Bucket="shop-releases", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        for name, content in ARCHIVES.items():
            s3.put_object(Bucket="shop-releases", Key=f"{name}.tar.gz", Body=content)
        machine.write("/etc/systemd/system/shop.service", UNIT)
        machine.write("/root/go", "")
        machine.install_ingot()
        machine.boot()
        runs(machine, "v1", "launched")
        yield machine


def must(machine: Machine, *command: str, **more) -> str:
    done = machine.run(*command, **more)
    assert done.code == 0, done
    return done.stdout


def runs(machine: Machine, name: str, kept: str) -> None:
    """The unit has ended well, all of one release is on the machine, and it serves."""
    assert machine.wait_until_ended("ingot.service")["Result"] == "success", machine.journal("-u", "ingot.service")
    found = [must(machine, "cat", path) for path in ("/opt/shop/current/VERSION", "/etc/shop", "/run/serves")]
    assert found == [name] * 3
    status = must(machine, "ingot", "status")
    shown = [line for line in status.splitlines() if line.startswith("release: ") and line != "release: launched"]
    assert shown == ([] if kept == "launched" else [f"release: {named(kept)}"]), status


def change(machine: Machine, wanted: str) -> str:
    return must(machine, "ingot", "boot", "--release", wanted, env={"AWS_ENDPOINT_URL": machine.aws_url})


def test_a_reboot_keeps_the_release_and_one_in_the_middle_the_former(machine):
    assert change(machine, named("v2")).startswith(f"done\nrelease: {named('v2')}\n")
    runs(machine, "v2", "v2")
    machine.reboot()
    runs(machine, "v2", "v2")

    # The power fails while v3 is on its way: it is current already, and not proven.
    must(machine, "rm", "/root/go")
    must(machine, "systemd-run", "--unit=release", "ingot", "boot", "--release", named("v3"))
    machine.wait_until("grep -qx v3 /etc/shop")
    machine.power_cut()
    machine.write("/root/go", "")
    machine.boot()
    runs(machine, "v2", "v2")

    change(machine, named("v3"))
    runs(machine, "v3", "v3")
    assert change(machine, "launched").startswith("done\nrelease: launched\n")
    runs(machine, "v1", "launched")
    machine.reboot()
    runs(machine, "v1", "launched")
