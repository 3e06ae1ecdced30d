"""What runs is asked whether it serves, in every boot, and systemd holds it to what the document says."""

import pytest
from harness.host import container
from harness.host.bad import ANSWERS_500, runs
from harness.host.deployed import GATES, Deployed, release_of, shop, web

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")


@pytest.fixture(scope="module")
def machine(ingot):
    with Deployed() as machine:
        machine.begin()
        yield machine


def test_a_boot_asks_what_came_up_by_itself_whether_it_serves(machine):
    """Its processes run, and nobody is served: no balancer is to hear of a good instance."""
    files = runs(f"[ -e {GATES}/sick ] && exec python3 -S bin/app; {web('sick')}") | {"bin/app": ANSWERS_500}
    machine.upload("sick", release_of("sick", files))
    text = shop("sick", ready={"http": "/health", "timeout": "3s"})
    machine.succeed(text)
    machine.close("sick")
    machine.reboot()
    assert machine.wait_until_ended("ingot-applications.service")["Result"] == "success", machine.journal()
    failure = machine.fail(text)
    assert "not ready after" in failure and "status 500" in failure and "cannot read the catalog" in failure, failure
    assert machine.units() == ["shop.jobs-1", "shop.web-1"], "nothing is stopped"

    machine.open("sick")
    machine.must("systemctl", "restart", "shop.web-1.service")
    machine.wait_for(lambda: machine.generation() == "sick", 60, "the application to answer")
    assert machine.succeed(text).outcomes()["applications.shop"] == "unchanged"


LIMITS = {"memory": "200M", "cpu": "50%", "tasks": 64, "files": 2048}
HELD = {
    "KillSignal": "3",
    "TimeoutStopUSec": "7s",
    "MemoryMax": str(200 << 20),
    "CPUQuotaPerSecUSec": "500ms",
    "TasksMax": "64",
    "LimitNOFILE": "2048",
    "Restart": "always",
    "ProtectSystem": "yes",
}


def test_systemd_holds_each_process_to_the_document(machine):
    machine.upload("held", release_of("held"))
    machine.succeed(shop("held", stop={"signal": "SIGQUIT", "grace": "7s"}, resources=LIMITS))
    assert len(machine.units()) == 2
    for unit in machine.units():
        assert machine.show(f"{unit}.service", *HELD) == HELD


@pytest.mark.parametrize("aws", [True, False])
def test_a_process_is_kept_from_the_metadata_service_where_it_is_not_to_reach_it(machine, aws):
    """What systemd makes of it needs cgroups of version 2, which not every host of containers has."""
    machine.upload("held", release_of("held"))
    machine.succeed(shop("held", aws=aws))
    for unit in machine.units():
        denied = machine.show(f"{unit}.service", "IPAddressDeny")["IPAddressDeny"]
        assert ("169.254.169.254" in denied and "fd00:ec2::254" in denied) == (not aws), denied
