"""On a real systemd: first boot, reboot, cloud-init, failing units, the ordering deadlock."""

import json
import subprocess
import textwrap

import pytest
from harness import container
from harness.container import Machine

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

PASSWORD = "hunter2-correct-horse"
HEALTH = "http://127.0.0.1:8080/health"

SHOP = """\
version: 1
secrets:
  db: { secrets_manager: prod/shop/db }
files:
  /etc/nginx/conf.d/shop.conf:
    template: shop.conf.hbs
    check: [sh, -c, "printf 'events {} http { include {path}; }' | nginx -t -c /dev/stdin"]
services:
  nginx.service:
    restart_on: [files./etc/nginx/conf.d/shop.conf]
    ready: { http: "http://127.0.0.1:8080/health", timeout: 20s }
"""

TEMPLATE = """\
server {
  listen 127.0.0.1:8080;
  location /health { return 200 "{{instance.id}}\\n"; }
  location /password { return 200 "{{secrets.db.password}}\\n"; }
}
"""


@pytest.fixture
def machine(ingot):
    """A golden image with ingot and nginx, before its first boot."""
    with Machine() as machine:
        machine.aws.secret("prod/shop/db", {"user": "shop", "password": PASSWORD})
        machine.write("/etc/ingot/templates/shop.conf.hbs", TEMPLATE)
        machine.install_ingot()
        yield machine


def give(machine: Machine, document: str) -> None:
    machine.imds.configure(user_data="#ingot\n" + document)


def boot(machine: Machine) -> dict[str, str]:
    """Boots, and waits until ingot has ended."""
    machine.boot()
    return machine.wait_until_ended("ingot.service")


def report(machine: Machine) -> dict:
    return json.loads(machine.run("cat", "/run/ingot/report.json").stdout)


def outcomes(machine: Machine) -> dict[str, str]:
    steps = report(machine)["steps"]
    items = steps.items() if isinstance(steps, dict) else ((step["address"], step) for step in steps)
    return {address: step["outcome"] for address, step in items}


def serves(machine: Machine) -> None:
    assert machine.run("curl", "-sf", HEALTH).stdout == "i-0abc123def4567890\n", machine.journal()
    assert machine.run("curl", "-sf", "http://127.0.0.1:8080/password").stdout == PASSWORD + "\n"


def test_first_boot_starts_nginx_and_a_reboot_changes_nothing(machine):
    give(machine, SHOP)
    state = boot(machine)
    assert state["Result"] == "success", machine.journal("-u", "ingot.service")
    serves(machine)
    assert outcomes(machine)["services.nginx.service"] == "changed"
    assert machine.run("ingot", "status").code == 0
    assert PASSWORD not in machine.journal()
    assert PASSWORD not in machine.console()
    entry = json.loads(machine.journal("-u", "ingot.service", "-o", "json", "--grep=nginx.service", "-n", "1"))
    assert entry.get("STEP") == "services.nginx.service", "the journal has fields"
    conf = "/etc/nginx/conf.d/shop.conf"
    identity = machine.run("stat", "-c", "%i %Y %Z %a", conf).stdout
    assert identity.endswith(" 600\n")

    machine.reboot()
    state = machine.wait_until_ended("ingot.service")
    assert state["Result"] == "success", machine.journal("-u", "ingot.service")
    serves(machine)
    assert machine.run("stat", "-c", "%i %Y %Z %a", conf).stdout == identity
    changed = [address for address, outcome in outcomes(machine).items() if outcome == "changed"]
    assert changed == ["services.nginx.service"], "it was not running: starting it is all there was to do"

    again = machine.run("systemctl", "restart", "ingot.service")
    assert again.code == 0, machine.journal("-u", "ingot.service")
    assert "changed" not in outcomes(machine).values()


def test_a_new_secret_restarts_the_service(machine):
    give(machine, SHOP)
    boot(machine)
    pid = machine.show("nginx.service", "MainPID")
    machine.aws.secret("prod/shop/db", {"user": "shop", "password": "another-one"})
    assert machine.run("systemctl", "restart", "ingot.service").code == 0, machine.journal("-u", "ingot.service")
    assert machine.run("curl", "-sf", "http://127.0.0.1:8080/password").stdout == "another-one\n"
    assert machine.show("nginx.service", "MainPID") != pid


def test_power_fails_during_the_first_boot(machine):
    give(machine, SHOP + "commands: { slow: { run: [sleep, '3'], after: [files./etc/nginx/conf.d/shop.conf] } }\n")
    machine.boot()
    machine.wait_until("grep -qx sleep /proc/[0-9]*/comm")
    machine.power_cut()
    state = boot(machine)
    assert state["Result"] == "success", machine.journal("-u", "ingot.service")
    serves(machine)


def test_the_unit_does_not_wait_for_the_network(machine):
    after = machine.root / "usr/lib/systemd/system/ingot.service"
    ordering = [line for line in after.read_text().splitlines() if line.startswith("After=")]
    assert not any("network-online.target" in line or "cloud-" in line for line in ordering)
    verified = subprocess.run(
        ["systemd-analyze", "verify", f"--root={machine.root}", "ingot.service"], capture_output=True, text=True
    )
    assert verified.returncode == 0 and not verified.stderr, verified


SCRIPT = """\
#!/bin/sh
ingot boot --user-data - <<'END'
{document}
END
echo $? >/run/ingot-exit
"""


def cloud_init(machine: Machine, user_data: str) -> None:
    machine.imds.configure(user_data=user_data)
    machine.enable_cloud_init()
    machine.boot()
    machine.wait_until("systemctl is-active cloud-final.service || systemctl is-failed cloud-final.service", 120)
    log = machine.run("sh", "-c", "cat /var/log/cloud-init-output.log; journalctl --no-pager -n 200").stdout
    serves_after = machine.run("curl", "-sf", HEALTH)
    assert serves_after.code == 0, log


def test_cloud_init_runs_ingot_from_a_script(machine):
    container.must("systemctl", f"--root={machine.root}", "disable", "--quiet", "ingot.service")
    cloud_init(machine, SCRIPT.format(document=SHOP))
    assert machine.run("cat", "/run/ingot-exit").stdout == "0\n"
    serves(machine)
    assert PASSWORD not in machine.run("cat", "/var/log/cloud-init-output.log").stdout


def test_cloud_config_holds_a_document_and_calls_ingot(machine):
    container.must("systemctl", f"--root={machine.root}", "disable", "--quiet", "ingot.service")
    text = "#cloud-config\nruncmd: [[ingot, boot]]\ningot:\n" + textwrap.indent(SHOP, "  ")
    cloud_init(machine, text)
    serves(machine)


def test_ingot_and_cloud_init_on_one_machine_do_the_work_once(machine):
    text = "#cloud-config\nruncmd: [[ingot, boot]]\ningot:\n" + textwrap.indent(SHOP, "  ")
    text += "  commands:\n    once: { run: [sh, -c, 'echo ran >>/root/ran'] }\n"
    cloud_init(machine, text)
    machine.wait_until_ended("ingot.service")
    serves(machine)
    assert machine.run("cat", "/root/ran").stdout == "ran\n"


FAILING = """\
[Unit]
Description=a service that cannot start
[Service]
Type={type}
ExecStart=/bin/sh -c 'echo "cannot read /etc/app.conf"; sleep 0.2; exit 3'
{more}
"""


@pytest.mark.parametrize("type_", ["simple", "oneshot", "notify"])
def test_a_failing_unit_is_reported_with_its_last_lines(machine, type_):
    machine.write("/etc/systemd/system/app.service", FAILING.format(type=type_, more=""))
    give(machine, 'version: 1\nservices:\n  app.service: { ready: { tcp: "127.0.0.1:8081", timeout: 30s } }\n')
    state = boot(machine)
    assert state["ActiveState"] == "failed", state
    assert state["ExecMainStatus"] == "1", state
    journal = machine.journal("-u", "ingot.service")
    assert "cannot read /etc/app.conf" in journal
    assert outcomes(machine) == {"services.app.service": "failed"}
    assert machine.run("ingot", "status").code == 1


def test_a_unit_that_restarts_for_ever_is_seen_before_its_time_is_over(machine):
    machine.write(
        "/etc/systemd/system/app.service",
        FAILING.format(type="simple", more="Restart=always\nRestartSec=100ms\n[Unit]\nStartLimitIntervalSec=0"),
    )
    give(machine, 'version: 1\nservices:\n  app.service: { ready: { tcp: "127.0.0.1:8081", timeout: 120s } }\n')
    machine.boot()
    state = machine.wait_until_ended("ingot.service", 30)
    assert state["ActiveState"] == "failed"
    assert "cannot read /etc/app.conf" in machine.journal("-u", "ingot.service")


def test_a_unit_that_does_not_exist_is_named(machine):
    give(machine, "version: 1\nservices: { nothere.service: {} }\n")
    assert boot(machine)["ActiveState"] == "failed"
    assert "nothere.service" in machine.journal("-u", "ingot.service")


WAITING = """\
[Unit]
Description=waits for ingot
After=ingot.{kind}
[Service]
ExecStart=/bin/sleep infinity
"""


@pytest.mark.parametrize("kind", ["service", "target"])
def test_a_unit_that_waits_for_us_is_refused_with_the_line_to_change(machine, kind):
    machine.write("/etc/systemd/system/late.service", WAITING.format(kind=kind))
    give(machine, "version: 1\nservices: { late.service: {} }\n")
    machine.boot()
    state = machine.wait_until_ended("ingot.service", 15)
    assert state["ActiveState"] == "failed", state
    journal = machine.journal("-u", "ingot.service")
    assert "/etc/systemd/system/late.service:3" in journal or "line 3 of /etc/systemd/system/late.service" in journal
    assert f"ingot.{kind}" in journal


def test_a_failure_is_on_the_console_in_one_line(machine):
    give(machine, "version: 1\ncommands: { bad: { run: [false] } }\n")
    boot(machine)
    lines = [line for line in machine.console().splitlines() if "ingot" in line and "commands.bad" in line]
    assert len(lines) == 1, machine.console()


def test_a_command_speaks_into_the_journal(machine):
    give(machine, "version: 1\ncommands: { speak: { run: [sh, -c, 'echo it speaks; id -un'], as: www-data } }\n")
    assert boot(machine)["Result"] == "success", machine.journal("-u", "ingot.service")
    journal = machine.journal("-u", "ingot.service")
    assert "it speaks" in journal
    assert "www-data" in journal


def test_a_credential_reaches_a_service(machine):
    machine.write(
        "/etc/systemd/system/app.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nLoadCredential=db\n"
        "ExecStart=/bin/sh -c 'sha256sum <$CREDENTIALS_DIRECTORY/db >/run/sum'\n",
    )
    give(
        machine,
        "version: 1\nsecrets: { db: { secrets_manager: prod/shop/db } }\n"
        'credentials: { db: "{{secrets.db.password}}" }\nservices: { app.service: {} }\n',
    )
    assert boot(machine)["Result"] == "success", machine.journal("-u", "ingot.service")
    assert machine.shell(f"printf %s {PASSWORD} | sha256sum | diff - /run/sum").code == 0


def test_imds_that_comes_late_is_waited_for(machine):
    give(machine, SHOP)
    machine.imds.configure(faults=[{"path": "/latest/api/token", "kind": "status", "status": 503, "times": 40}])
    assert boot(machine)["Result"] == "success", machine.journal("-u", "ingot.service")
    serves(machine)
