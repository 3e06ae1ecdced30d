"""The proxy of applications that change: another port, other fields, no proxy, another name, and what nginx rejects."""

import json

import pytest
from harness import tls
from harness.host import container
from harness.host.deployed import LISTEN, Deployed, release_of, shop

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

SITE = "/run/ingot/proxy/sites/shop.conf"


@pytest.fixture(scope="module")
def machine(ingot):
    with Deployed() as machine:
        machine.begin()
        for number in (1, 2):
            machine.upload(f"shop-{number}", release_of(number))
        yield machine


@pytest.fixture
def serving(machine):
    """Release 1 serves, on port 5000."""
    machine.succeed(shop("shop-1"))
    assert machine.generation() == machine.generation(5000) == "1"
    return machine.pids()


def renamed(text: str, name: str) -> str:
    document = json.loads(text.removeprefix("#ingot\n"))
    document["applications"] = {name: document["applications"]["shop"]}
    return "#ingot\n" + json.dumps(document)


def nothing_lost(result: dict, *generations: str) -> None:
    # nginx before 1.27.4 closes idle connections when it is reloaded; a client that sends at that moment sees them
    # closed.
    assert [loss for loss in result["losses"] if "status" in loss["why"]] == [], result["losses"]
    assert result["lost"] < result["sent"] / 100, result["losses"]
    assert result["sent"] > 300 and set(result["generations"]) == set(generations), result["generations"]


def is_closed(machine: Deployed, port: int) -> bool:
    return machine.run("curl", "-sS", f"http://127.0.0.1:{port}/").code == 7


def test_another_port_follows_under_load(machine, serving):
    machine.begin_load()
    machine.succeed(shop("shop-2", port=6000))
    nothing_lost(machine.end_load(), "1", "2")
    assert machine.generation() == machine.generation(6000) == "2"
    assert is_closed(machine, 5000)
    again = machine.succeed(shop("shop-2", port=6000)).outcomes()
    assert again["applications.shop"] == "unchanged", again


def test_a_port_of_a_release_becomes_the_proxys_and_its_own_again(machine):
    alone = {"proxy": "none", "port": LISTEN}
    machine.succeed(shop("shop-1", **alone))
    assert machine.generation() == "1"
    machine.succeed(shop("shop-2"))
    assert machine.generation() == machine.generation(5000) == "2"
    machine.succeed(shop("shop-1", **alone))
    assert machine.generation() == "1" and is_closed(machine, 5000)


def test_a_failure_gives_the_release_before_its_ports_back(machine, serving):
    hook = {".platform/hooks/postdeploy/1": "#!/bin/sh\necho no cache; exit 3\n"}
    machine.upload("hooked", release_of("hooked", hook))
    failure = machine.fail(shop("hooked", port=6000, proxy={"listen": [LISTEN, 8090]}))
    assert "no cache" in failure and "shop-1 keeps serving" in failure, failure
    assert machine.generation() == machine.generation(5000) == "1"
    assert is_closed(machine, 6000) and is_closed(machine, 8090)
    kept = machine.pids()
    assert {unit: pid for unit, pid in serving.items() if ".web-" in unit and pid != "0" and kept.get(unit) != pid} == {}


def test_a_certificate_with_another_key_is_rejected_and_nothing_of_it_is_left(machine, serving):
    authority = tls.Authority()
    (certificate, key), (_, other) = ([pem.decode() for pem in authority.issue(name)] for name in ("a.example", "b.example"))
    before = machine.must("cat", SITE)

    def secure(key: str) -> str:
        return shop("shop-1", proxy={"listen": LISTEN, "tls": {"certificate": certificate, "key": key, "listen": 8443}})

    for _ in range(2):
        failure = machine.fail(secure(other))
        assert "nginx rejects the configuration" in failure and "key values mismatch" in failure, failure
        assert "the key that it was made for" in failure
        assert machine.must("cat", SITE) == before and machine.run("ls", "/run/ingot/proxy/.tested").code != 0
    # What is on disk is what nginx can start with.
    machine.must("systemctl", "restart", "ingot-proxy.service")
    assert machine.generation() == "1" and is_closed(machine, 8443)

    machine.succeed(secure(key))
    assert "gen=1" in machine.must("curl", "-ksS", "https://127.0.0.1:8443/")
    assert "PRIVATE KEY" not in machine.must("sh", "-c", "cat /var/lib/ingot/instances/*/applications/*")
    machine.succeed(shop("shop-1"))
    assert is_closed(machine, 8443) and machine.must("ls", "/run/ingot/proxy/tls") == ""


def test_without_a_proxy_the_application_has_its_port(machine, serving):
    machine.succeed(shop("shop-1", proxy="none"))
    assert machine.generation(5000) == "1" and is_closed(machine, LISTEN)
    assert machine.show("ingot-proxy.service", "ActiveState") == {"ActiveState": "inactive"}
    again = machine.succeed(shop("shop-1", proxy="none")).outcomes()
    assert again["applications.shop"] == "unchanged", again
    machine.succeed(shop("shop-2"))
    assert machine.generation() == machine.generation(5000) == "2"


def test_another_name_takes_over_under_load(machine, serving):
    machine.begin_load()
    result = machine.succeed(renamed(shop("shop-2"), "store"))
    lost = machine.end_load()
    nothing_lost(lost, "1", "2")
    assert "shop, which the document no longer has" in result.stdout + result.stderr
    assert machine.generation() == machine.generation(5000) == "2"
    assert machine.units() == [] and machine.units("store") == ["store.jobs-1", "store.web-1"]
    again = machine.succeed(renamed(shop("shop-2"), "store")).outcomes()
    assert again["applications.store"] == "unchanged", again
    machine.reboot()
    assert machine.wait_until_ended("ingot-applications.service")["Result"] == "success", machine.journal()
    machine.wait_for(lambda: machine.generation() == "2", 60, "the application to answer")
    assert machine.units() == [], "the one before is forgotten"


def test_two_applications_on_a_first_boot(ingot):
    with Deployed() as machine:
        machine.begin()
        machine.upload("shop-1", release_of(1))
        document = json.loads(shop("shop-1").removeprefix("#ingot\n"))
        for number in range(1, 5):
            document["bundles"][f"app{number}"] = {**document["bundles"]["app"], "into": f"/opt/shop{number}"}
            other = {"bundle": f"bundles.app{number}", "port": 5000 + number, "proxy": {"listen": LISTEN + number}}
            document["applications"][f"shop{number}"] = {**document["applications"]["shop"], **other}
        machine.succeed("#ingot\n" + json.dumps(document))
        assert [machine.generation(LISTEN + number) for number in range(5)] == ["1"] * 5
