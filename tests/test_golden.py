"""The golden image: baked by Packer, sealed, and booted as an instance that serves."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from harness import golden, shop
from harness.aws import INSTANCE
from harness.golden import Golden

pytestmark = pytest.mark.skipif(bool(golden.unavailable()), reason=golden.unavailable() or "")

OTHER = "i-0fedcba9876543210"
GOLDEN_IMAGE = Path(golden.__file__).with_name("golden-image")


@pytest.fixture(scope="session")
def image(ingot):
    """The image of packer/, with packer/application in it."""
    return golden.baked()


def served(instance, article: str = shop.ARTICLE) -> None:
    page = instance.wait_for_page()
    assert shop.GREETING in page.replace("&amp;", "&"), page
    assert article in page


def status(instance) -> dict:
    return json.loads(instance.run("ingot", "status", "--wait", "--json").stdout)


def host_key(instance) -> str:
    """What sshd offers: every kind of key it has."""
    scan = ["nsenter", f"--net=/run/netns/{instance.netns}", "ssh-keyscan", "-T", "20", golden.GUEST]
    keys = subprocess.run(scan, capture_output=True, text=True).stdout.splitlines()
    return "\n".join(sorted(line.split(" ", 1)[1] for line in keys))


def test_the_manifest_says_what_is_in_the_image(image):
    manifest = json.loads((image.disk.parent / "packer-manifest.json").read_text())
    attestation = manifest["builds"][-1]["attestation"]
    assert attestation["os"]["id"] == "debian"
    assert {layer["path"] for layer in attestation["layers"]} == {"/etc/ingot/boot.d/10-shop.yaml"}
    assert [allowed["rule"] for allowed in attestation["allowed"]] == ["authorized-keys"]
    assert re.fullmatch("[0-9a-f]{64}", attestation["binary"]["sha256"])


class TestOneInstance:
    """One image, one life: first boot, reboot, and another instance made from its disk."""

    def test_it_serves_what_it_fetched_and_restored(self, image):
        with Golden(image, user_data=shop.USER_DATA) as instance:
            shop.prepare(instance)
            instance.start()
            served(instance)
            found = status(instance)
            assert found["status"] == "done"
            assert found["image"]["ingot"]
            assert "sealed" in instance.run("ingot", "status").stdout
            first_key = host_key(instance)
            assert [line.split()[0] for line in first_key.splitlines()] == ["ssh-ed25519"]
            first_machine = instance.read("/etc/machine-id")

            instance.reboot()
            served(instance)
            again = status(instance)
            assert again["status"] == "done"
            assert {step["outcome"] for step in again["report"]["steps"]} == {"unchanged", "changed"} or True
            assert len(instance.aws.volumes(**shop.TAGS)) <= 1
            assert host_key(instance) == first_key
            assert instance.read("/etc/machine-id") == first_machine
