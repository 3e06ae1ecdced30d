"""A warm pool on a real systemd: the machine is up while ingot waits, and serves when the group wants it."""

import json

import pytest
from harness.host import container
from harness.host.container import Machine

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

DOCUMENT = """\
#ingot
version: 1
files:
  /etc/nginx/conf.d/shop.conf:
    content: "server { listen 127.0.0.1:8080; location /health { return 200; } }\\n"
commands:
  prepare: { run: [sh, -c, "echo prepared >>/run/prepared"], phase: warm }
services:
  nginx.service: { ready: { http: "http://127.0.0.1:8080/health", timeout: 20s } }
signals:
  hook: { lifecycle_hook: { name: ready, group: web }, required: false }
"""


@pytest.fixture
def machine(ingot):
    with Machine(user_data=DOCUMENT, lifecycle="Warmed:Running") as machine:
        machine.aws.group("web", {"ready": 300})
        machine.install_ingot()
        yield machine


def test_the_machine_is_up_in_the_pool_and_serves_when_it_leaves_it(machine):
    machine.boot()
    machine.wait_until("systemctl is-active ingot.target")
    assert machine.shell("ingot status").stdout.count("phase warm") == 1
    assert machine.show("nginx.service", "ActiveState") == {"ActiveState": "inactive"}
    assert machine.aws.results() == ["CONTINUE"]
    main = machine.show("ingot.service", "MainPID")["MainPID"]
    assert main != "0", "it waits for the group"

    machine.aws.lifecycle_action("web", "ready")
    machine.imds.configure(lifecycle="InService")
    machine.wait_until("systemctl is-active nginx.service")
    machine.wait_until("ingot status")
    ended = machine.wait_until_ended("ingot.service")
    assert (ended["ActiveState"], ended["Result"]) == ("active", "success"), machine.journal("-u", "ingot.service")
    report = json.loads(machine.run("cat", "/run/ingot/report.json").stdout)
    assert {step["address"]: step["outcome"] for step in report["steps"]} == {
        "commands.prepare": "unchanged",
        "files./etc/nginx/conf.d/shop.conf": "unchanged",
        "services.nginx.service": "changed",
        "signals.hook": "changed",
    }
    assert machine.aws.results() == ["CONTINUE"]
    assert machine.run("cat", "/run/prepared").stdout == "prepared\n"


def test_the_pool_may_stop_the_machine_while_ingot_waits(machine):
    machine.boot()
    machine.wait_until("systemctl is-active ingot.target")
    machine.shut_down()
    machine.imds.configure(lifecycle="InService")
    machine.aws.lifecycle_action("web", "ready")
    machine.boot()
    assert machine.wait_until_ended("ingot.service")["Result"] == "success", machine.journal("-u", "ingot.service")
    assert machine.show("nginx.service", "ActiveState") == {"ActiveState": "active"}
    assert machine.aws.results() == ["CONTINUE"]
