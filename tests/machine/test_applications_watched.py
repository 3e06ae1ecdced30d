"""`set_instance_health:` on a real systemd: what a timer sees of an application, and what Auto Scaling is told of it."""

import pytest
from harness.host import container
from harness.host.deployed import Deployed, release_of, shop

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

TIMER = "ingot-watch@shop.timer"
UNHEALTHY = {"InstanceId": "i-0abc123def4567890", "HealthStatus": "Unhealthy", "ShouldRespectGracePeriod": "true"}


@pytest.fixture(scope="module")
def machine(ingot):
    with Deployed() as machine:
        machine.begin()
        machine.upload("shop-1", release_of(1))
        yield machine


def looks(machine: Deployed, times: int) -> list[int]:
    """Looks as often as the timer would, and how often Auto Scaling had been told of it after each."""
    told = []
    for _ in range(times):
        machine.must("systemctl", "start", "ingot-watch@shop.service")
        told.append(machine.aws.count("SetInstanceHealth"))
    return told


def test_an_instance_whose_application_stays_down_is_replaced_and_watched_after_a_reboot(machine):
    watched = shop("shop-1", set_instance_health="1m")
    machine.succeed(watched)
    assert machine.show(TIMER, "ActiveState")["ActiveState"] == "active"
    assert machine.succeed(watched).outcomes()["applications.shop"] == "unchanged"
    # From here on, looks are counted.
    machine.must("systemctl", "stop", TIMER)
    assert looks(machine, 3) == [0, 0, 0]

    [web] = [unit for unit in machine.units() if ".web-" in unit]
    machine.must("systemctl", "kill", "--signal=SIGSTOP", f"{web}.service")
    assert looks(machine, 4) == [0, 0, 1, 2], machine.journal("-u", "ingot-watch@shop.service")
    assert machine.aws.told()["unhealthy"] == [UNHEALTHY] * 2
    journal = machine.journal("-u", "ingot-watch@shop.service")
    assert "applications.shop has been down for 60s: reported i-0abc123def4567890 as unhealthy to Auto Scaling" in journal
    assert "Starting" not in journal and "Finished" not in journal, "a look is not worth a line"

    machine.must("systemctl", "kill", "--signal=SIGCONT", f"{web}.service")
    assert looks(machine, 3) == [2, 2, 2]

    machine.reboot()
    assert machine.wait_until_ended("ingot-applications.service")["Result"] == "success", machine.journal()
    assert machine.show(TIMER, "ActiveState")["ActiveState"] == "active"

    machine.succeed(shop("shop-1"))
    assert machine.show(TIMER, "ActiveState")["ActiveState"] == "inactive"


def test_an_application_that_waits_for_a_secret_which_is_gone_is_down_after_a_reboot(machine):
    machine.aws.secret("prod/shop/db", {"url": "postgres://db/shop"})
    secret = {"secrets": {"db": {"secrets_manager": "prod/shop/db"}}, "environment": {"DATABASE_URL": "{{secrets.db.url}}"}}
    machine.succeed(shop("shop-1", set_instance_health="1m", **secret))
    machine.reboot()
    machine.wait_until_ended("ingot-applications.service")
    machine.must("systemctl", "stop", TIMER)
    [before] = looks(machine, 1)
    told = [count - before for count in looks(machine, 3)]
    assert told == [0, 1, 2], machine.journal("-u", "ingot-watch@shop.service")
    machine.succeed(shop("shop-1"))


def test_an_application_that_ends_time_and_again_is_down(machine):
    machine.succeed(shop("shop-1", set_instance_health="1m"))
    machine.must("systemctl", "stop", TIMER)
    [web] = [unit for unit in machine.units() if ".web-" in unit]
    # From this look on, it is known how often systemd has restarted it.
    [before] = looks(machine, 1)
    told = []
    for _ in range(3):
        machine.must("systemctl", "kill", "--signal=SIGKILL", f"{web}.service")
        machine.wait_for(lambda: machine.generation(5000) == "1", 30, "the application to answer again")
        told += looks(machine, 1)
    assert [count - before for count in told] == [0, 0, 1]
