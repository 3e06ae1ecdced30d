"""Applications that are container images: real podman and runc, and a registry in the place of ECR."""

import json

import pytest
from harness.host import container
from harness.host.containers import REGISTRY, Contained, shop

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

PASSWORD = "hunter2-correct-horse"
SECRET = {
    "secrets": {"db": {"secrets_manager": "prod/shop/db"}},
    "environment": {"DATABASE_URL": "{{secrets.db.url}}", "LOG_LEVEL": "info"},
}
# A server that ends when it is asked to, and says so.
ASKED = ["/bin/sh", "-c", "trap 'echo was asked; exit 0' TERM; httpd -f -p 8080 -h /www & wait"]


@pytest.fixture(scope="module")
def machine(ingot):
    """A machine that all tests of this file have in turn; each says what it wants to serve first."""
    with Contained() as machine:
        machine.aws.secret("prod/shop/db", {"url": f"postgres://shop:{PASSWORD}@db/shop \"'$x`\\"})
        machine.begin()
        for number in (1, 2):
            machine.push(f"shop:{number}", number)
        yield machine


@pytest.fixture
def serving(machine):
    machine.succeed(shop("shop:1"))
    assert machine.generation() == "1"
    return machine.pids()


def test_an_image_is_pulled_and_runs_without_a_shell(machine):
    text = shop("shop:1", **SECRET)
    result = machine.succeed(text)
    assert machine.generation() == "1"
    [unit] = machine.units()
    assert machine.containers() == [unit]
    assert f"pull {REGISTRY}/shop:1" in json.dumps(result.report)

    # The process of the image has its environment, and nothing else shows the secret.
    environ = machine.must("cat", f"/proc/{machine.inside()}/environ").split("\0")
    assert {"PORT=8080", "LOG_LEVEL=info", f"DATABASE_URL=postgres://shop:{PASSWORD}@db/shop \"'$x`\\"} <= set(environ)
    assert PASSWORD not in machine.must("podman", "inspect", unit) + machine.must("systemctl", "show", unit)
    assert PASSWORD not in machine.must("ps", "-eo", "args") + machine.journal() + json.dumps(result.report)
    file = f"/run/ingot/applications/shop/{unit.rpartition('-')[2]}.env"
    assert machine.must("stat", "-c", "%U %a", file) == "root 600\n"
    assert machine.shell(f"grep -rlsF {PASSWORD} /run /etc /var /srv /tmp").stdout == f"{file}\n"

    # The password of the registry is gone, and nothing is left to do.
    assert machine.shell("ls /run/ingot/registries/shop").stdout == ""
    pids, pulls = machine.pids(), machine.pulls()
    again = machine.succeed(text).outcomes()
    assert again["applications.shop"] == "unchanged", again
    assert (machine.pids(), machine.pulls()) == (pids, pulls)
