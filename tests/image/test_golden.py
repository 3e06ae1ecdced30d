"""The golden image: baked by Packer, sealed, and booted as an instance that serves."""

import hashlib
import html
import json
import subprocess
import time

import pytest
from harness.agent import PATIENCE, REPOSITORY, binary
from harness.aws.account import INSTANCE
from harness.host import shop
from harness.host.systemd import must
from harness.vm import golden
from harness.vm.golden import Golden, Image

pytestmark = [pytest.mark.virtual, pytest.mark.skipif(bool(golden.unavailable()), reason=golden.unavailable() or "")]

OTHER = "i-0fedcba9876543210"

# Each finds its own part: ingot the key of its name, cloud-init all that it knows.
FOR_BOTH = """\
#cloud-config
write_files: [{ path: /etc/from-cloud-init, content: "written by cloud-init\\n" }]
ingot:
  version: 1
  values: { env: prod }
"""


@pytest.fixture(scope="session")
def image(ingot):
    """The image of packer/, with the shop of packer/application in it."""
    return golden.baked()


def is_served(instance, article: str = shop.ARTICLE) -> None:
    page = html.unescape(instance.wait_for_page())
    assert shop.GREETING in page and article in page, page


def status(instance) -> dict:
    return json.loads(instance.run("ingot", "status", "--wait", "--json", timeout=120).stdout)


def outcomes(instance) -> dict[str, str]:
    found = status(instance)
    assert found["status"] == "done", found
    return {step["address"]: step["outcome"] for step in found["report"]["steps"]}


def host_keys(instance) -> list[str]:
    """What sshd offers: kind and key, of every kind there is."""
    scan = ["nsenter", f"--net=/run/netns/{instance.netns}", "ssh-keyscan", "-T", "60", golden.GUEST]
    found = subprocess.run(scan, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(line.split(" ", 1)[1] for line in found)


def test_the_manifest_says_what_is_in_the_image(image):
    [build] = json.loads((image.disk.parent / "packer-manifest.json").read_text())["builds"]
    attestation = build["attestation"]
    assert attestation["os"]["id"] == "debian"
    assert attestation["sha256"]["/usr/bin/ingot"] == hashlib.sha256(binary().read_bytes()).hexdigest()
    assert "/etc/ingot/boot.d/10-shop.yaml" in attestation["sha256"]
    assert "/etc/ssh/ssh_host_ed25519_key" in attestation["removed"]
    assert [allowed["rule"] for allowed in attestation["allowed"]] == ["authorized-keys"]


def test_an_instance_serves_what_it_fetched_and_restored_and_again_after_a_reboot(image):
    with Golden(image, user_data=shop.USER_DATA) as instance:
        snapshot = shop.prepare(instance)
        instance.start()
        is_served(instance)
        assert outcomes(instance)["mounts./srv/shop"] == "changed"
        [volume] = [v for v in instance.aws.volumes() if v.get("SnapshotId") == snapshot]
        keys, machine = host_keys(instance), instance.read("/etc/machine-id")
        assert [key.split()[0] for key in keys] == ["ssh-ed25519"]
        said = instance.run("ingot", "status").stdout
        assert "sealed" in said and "warning" not in said, said
        instance.aws.forget()

        instance.reboot()
        is_served(instance)
        # A reboot empties /run and starts every service anew; nothing else is to be done.
        changed = {step for step, outcome in outcomes(instance).items() if outcome != "unchanged"}
        assert changed == {"credentials.shop-token", "services.shop.service"}
        assert instance.aws.count("CreateVolume") == instance.aws.count("AttachVolume") == 0
        assert [v["VolumeId"] for v in instance.aws.volumes() if v.get("SnapshotId") == snapshot] == [volume["VolumeId"]]
        assert host_keys(instance) == keys
        assert instance.read("/etc/machine-id") == machine

        # A disk that was never sealed, as an image made of a running instance.
        instance.shut_down()
        copy = Image(instance.directory / "copy.qcow2", image.key)
        must("qemu-img", "convert", "-O", "qcow2", str(instance.directory / "root.qcow2"), str(copy.disk))
        with Golden(copy, user_data=shop.USER_DATA, instance=OTHER) as another:
            shop.prepare(another, article="Teapot")
            another.start()
            is_served(another, "Teapot")
            changed = {step for step, outcome in outcomes(another).items() if outcome == "changed"}
            assert {"volumes.data", "mounts./srv/shop", "files./etc/shop/shop.json"} <= changed
            assert host_keys(another) != keys


@pytest.mark.slow
def test_the_same_image_is_another_instance_under_another_id(image):
    machines, keys = [], []
    for id in (INSTANCE, OTHER):
        with Golden(image, user_data=shop.USER_DATA, instance=id) as instance:
            shop.prepare(instance)
            instance.start()
            is_served(instance)
            assert id in instance.get("/")[1]
            changed = {step for step, outcome in outcomes(instance).items() if outcome == "changed"}
            assert {"volumes.data", "mounts./srv/shop", "files./etc/shop/shop.json", "services.shop.service"} <= changed
            machines.append(instance.read("/etc/machine-id"))
            keys.append(host_keys(instance))
            kept = instance.shell("ls /var/lib/ingot/instances").stdout.split()
            assert kept == [id]
    assert machines[0] != machines[1] and keys[0] != keys[1]


@pytest.mark.slow
def test_imds_that_comes_ten_seconds_late_costs_no_more_than_those(image):
    with Golden(image, user_data=shop.USER_DATA) as instance:
        shop.prepare(instance)
        instance.silence_imds(True)
        instance.boot()
        instance.wait_until("test $(systemctl show ingot.service -P ExecMainPID) != 0")
        time.sleep(10)
        instance.silence_imds(False)
        is_served(instance)
        # By then it asks every three seconds. Without an answer it would give up only after minutes.
        assert instance.waited < PATIENCE
        assert status(instance)["report"]["elapsed_ms"] > 10_000


def test_broken_user_data_is_told_on_the_console_and_ssh_works(image):
    with Golden(image, user_data="#ingot\nversion: 1\nvalues: { env: prod }\nservces: {}\n") as instance:
        shop.prepare(instance)
        instance.boot()
        state = instance.wait_until_ended("ingot.service")
        assert (state["ActiveState"], state["ExecMainStatus"]) == ("failed", "78")
        said = instance.run("ingot", "status")
        for told in (said.stdout, instance.console()):
            assert "user data:4:1: unknown key `servces`" in told, told
        assert said.code == 1
        with pytest.raises(OSError):
            instance.get("/")


@pytest.mark.slow
def test_a_planted_secret_and_a_wrong_layer_fail_the_bake_and_are_named(image, tmp_path):
    """Baked from the sealed image itself: what is added to it is looked at as all else."""
    application = tmp_path / "application"
    secret = "".join(["ghp", "_", "Xk29fQzLm4VbTnR7", "sWcJ8yHd3PuAe5GoN6Bt"])
    planted = application / "root/opt/shop/deploy.sh"
    planted.parent.mkdir(parents=True)
    planted.write_text(f"#!/bin/sh\nexport GITHUB_TOKEN={secret}\n")
    layer = application / "boot.d/20-wrong.yaml"
    layer.parent.mkdir()
    layer.write_text("version: 1\nservices:\n  shop.service: { readdy: { tcp: 127.0.0.1:80 } }\n")
    allowed = application / "seal.yaml"
    allowed.write_bytes((REPOSITORY / "tests/image/golden/application/seal.yaml").read_bytes())

    checksum = hashlib.sha256(image.disk.read_bytes()).hexdigest()
    variables = {
        "base_image": image.disk,
        "base_image_checksum": f"sha256:{checksum}",
        "ssh_private_key_file": image.key,
        "application": application,
        "patch": "false",
    }
    with pytest.raises(RuntimeError) as failed:
        golden.baked(*(f"{name}={value}" for name, value in variables.items()))
    said = str(failed.value)
    assert "/opt/shop/deploy.sh:2: github-pat" in said
    assert "/etc/ingot/boot.d/20-wrong.yaml:3" in said and "readdy" in said
    assert secret not in said
    assert "not sealed: 2 findings" in said


@pytest.mark.slow
def test_beside_cloud_init_each_does_its_own_part_of_the_user_data(image):
    with Golden(image, user_data=FOR_BOTH) as instance:
        shop.prepare(instance)
        instance.boot()
        assert outcomes(instance)["services.shop.service"] == "changed"
        # As in an image that leaves cloud-init on: the same disk, sealed once more.
        done = instance.shell("rm /etc/cloud/cloud-init.disabled && ingot seal --scrub", timeout=120)
        assert done.code == 0, done
        instance.reboot()
        is_served(instance)
        instance.wait_until("test -e /var/lib/cloud/instance/boot-finished", 180)
        assert instance.read("/etc/from-cloud-init") == "written by cloud-init\n"
        assert outcomes(instance)["services.shop.service"] == "changed"
