"""On a real systemd: first boot, reboot, cloud-init, failing units, the ordering deadlock."""

import json
import textwrap
import time

import pytest
from harness.host import container
from harness.host.container import Machine

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
    check: [sh, -c, "echo 'events {} http { include {path}; }' >/run/check.conf && nginx -t -c /run/check.conf"]
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
    give(machine, SHOP + "commands: { once: { run: [sh, -c, 'echo ran >>/root/ran'] } }\n")
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
    assert machine.run("cat", "/root/ran").stdout == "ran\n"

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


@pytest.mark.parametrize("unit", ["ingot.service", "ingot.target"])
def test_systemd_has_nothing_to_say_of_our_units(machine, unit):
    machine.boot()
    verified = machine.run("systemd-analyze", "verify", f"/usr/lib/systemd/system/{unit}")
    assert (verified.code, verified.stdout + verified.stderr) == (0, ""), verified


def test_the_unit_waits_for_neither_network_nor_cloud_init(machine):
    machine.boot()
    after = machine.show("ingot.service", "After")["After"].split()
    assert not [unit for unit in after if unit.startswith(("network", "cloud-"))], after


LATER = """\
[Unit]
Requires=ingot.target
After=ingot.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cp /run/ingot/report.json /run/report-as-it-was'
[Install]
WantedBy=multi-user.target
"""


def test_the_target_is_reached_once_the_boot_has_succeeded(machine):
    machine.write("/etc/systemd/system/later.service", LATER)
    machine.enable("later.service")
    give(machine, "version: 1\ncommands: { slow: { run: [sleep, '1'] } }\n")
    assert boot(machine)["Result"] == "success", machine.journal("-u", "ingot.service")
    machine.wait_until("test -s /run/report-as-it-was")
    assert json.loads(machine.run("cat", "/run/report-as-it-was").stdout)["outcome"] == "done"
    assert machine.show("ingot.target", "ActiveState") == {"ActiveState": "active"}


def test_the_target_is_not_reached_when_the_boot_failed(machine):
    machine.write("/etc/systemd/system/later.service", LATER)
    machine.enable("later.service")
    give(machine, "version: 1\ncommands: { bad: { run: ['false'] } }\n")
    assert boot(machine)["ActiveState"] == "failed"
    machine.wait_until("systemctl is-active multi-user.target")
    assert machine.show("ingot.target", "ActiveState") == {"ActiveState": "inactive"}
    assert machine.shell("test -e /run/report-as-it-was").code != 0


SCRIPT = """\
#!/bin/sh
ingot boot --user-data - <<'END'
{document}
END
echo $? >/run/ingot-exit
"""


def cloud_init(machine: Machine, user_data: str) -> str:
    """Boots with cloud-init. All that it, and what it ran, said."""
    machine.imds.configure(user_data=user_data)
    machine.enable_cloud_init()
    machine.boot()
    machine.wait_until("systemctl is-active cloud-final.service || systemctl is-failed cloud-final.service", 120)
    return machine.shell("cat /var/log/cloud-init-output.log; journalctl --no-pager").stdout


# Runs at every boot, to see how often it does.
COUNTED = SHOP + "commands:\n  count: { run: [sh, -c, 'echo ran >>/root/ran'], once: always }\n"
CLOUD_CONFIG = "#cloud-config\nruncmd: [[ingot, boot]]\ningot:\n" + textwrap.indent(COUNTED, "  ")


def runs(machine: Machine) -> int:
    return machine.run("cat", "/root/ran").stdout.count("ran\n")


@pytest.mark.parametrize("unit", ["disabled", "enabled"])
def test_cloud_init_runs_ingot_from_a_script(machine, unit):
    container.must("systemctl", f"--root={machine.root}", unit.removesuffix("d"), "--quiet", "ingot.service")
    said = cloud_init(machine, SCRIPT.format(document=COUNTED))
    assert machine.run("cat", "/run/ingot-exit").stdout == "0\n", said
    serves(machine)
    assert runs(machine) == 1, "for ingot.service, a shell script is no document"
    assert PASSWORD not in said
    machine.wait_until_ended("ingot.service")
    assert machine.run("ingot", "status").code == 0


@pytest.mark.parametrize("unit", ["disabled", "enabled"])
def test_cloud_config_holds_a_document_and_calls_ingot(machine, unit):
    container.must("systemctl", f"--root={machine.root}", unit.removesuffix("d"), "--quiet", "ingot.service")
    said = cloud_init(machine, CLOUD_CONFIG)
    serves(machine)
    assert runs(machine) == 1
    assert PASSWORD not in said
    if unit == "enabled":
        assert machine.wait_until_ended("ingot.service")["Result"] == "success", said
    assert set(outcomes(machine).values()) <= {"changed", "unchanged"}


def test_cloud_init_that_calls_while_the_unit_is_at_work_waits_for_it(machine):
    # Debian's cloud-init runs user data after multi-user.target, hence after us. Not so here.
    final = machine.read("/lib/systemd/system/cloud-final.service")
    machine.write("/etc/systemd/system/cloud-final.service", final.replace("multi-user.target", ""))
    slow = "  commands:\n    slow: { run: [sh, -c, 'sleep 3; echo ran >>/root/ran'], once: always }\n"
    said = cloud_init(machine, CLOUD_CONFIG.split("  commands:")[0] + slow)
    assert runs(machine) == 1, said
    serves(machine)
    assert "just completed this boot" in said
    assert machine.wait_until_ended("ingot.service")["Result"] == "success"


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
    give(machine, 'version: 1\nservices:\n  app.service: { ready: { tcp: "127.0.0.1:8081", timeout: 120s } }\n')
    state = boot(machine)
    assert state["ActiveState"] == "failed", state
    assert state["ExecMainStatus"] == "1", state
    journal = machine.journal("-u", "ingot.service")
    assert "cannot read /etc/app.conf" in journal
    assert outcomes(machine) == {"services.app.service": "failed"}
    assert report(machine)["elapsed_ms"] < 60_000, journal
    status = machine.run("ingot", "status")
    assert status.code == 1
    assert "cannot read /etc/app.conf" in status.stdout, "its last words are in the report"


def test_a_unit_that_crashes_without_anybody_probing_it_is_seen(machine):
    machine.write("/etc/systemd/system/app.service", "[Service]\nExecStart=/bin/sh -c 'echo no licence; exit 3'\n")
    give(machine, "version: 1\nservices: { app.service: {} }\n")
    assert boot(machine)["ActiveState"] == "failed"
    journal = machine.journal("-u", "ingot.service")
    assert "exited with 3" in journal and "no licence" in journal


def test_a_unit_that_never_says_it_is_ready_is_given_up(machine):
    machine.write(
        "/etc/systemd/system/app.service",
        "[Service]\nType=notify\nTimeoutStartSec=infinity\nExecStart=/bin/sh -c 'echo warming up; exec sleep infinity'\n",
    )
    give(machine, "version: 1\nservices: { app.service: { timeout: 5s } }\n")
    assert boot(machine)["ActiveState"] == "failed"
    journal = machine.journal("-u", "ingot.service")
    assert "still activating (start)" in journal and "warming up" in journal


def test_a_unit_that_restarts_for_ever_is_seen_before_its_time_is_over(machine):
    machine.write(
        "/etc/systemd/system/app.service",
        FAILING.format(type="simple", more="Restart=always\nRestartSec=100ms\n[Unit]\nStartLimitIntervalSec=0"),
    )
    give(machine, 'version: 1\nservices:\n  app.service: { ready: { tcp: "127.0.0.1:8081", timeout: 600s } }\n')
    machine.boot()
    state = machine.wait_until_ended("ingot.service")
    assert state["ActiveState"] == "failed"
    assert "cannot read /etc/app.conf" in machine.journal("-u", "ingot.service")


def test_a_unit_that_does_not_exist_is_named(machine):
    give(machine, "version: 1\nservices: { nothere.service: {} }\n")
    assert boot(machine)["ActiveState"] == "failed"
    assert "nothere.service" in machine.journal("-u", "ingot.service")


WAITING = """\
[Unit]
Description=waits for ingot
After={after}
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy={wanted_by}
"""


@pytest.mark.parametrize(
    "after, wanted_by",
    [("ingot.service", ""), ("ingot.target", ""), ("multi-user.target", ""), ("multi-user.target", "graphical.target")],
)
def test_a_unit_that_waits_for_us_is_refused_with_the_line_to_change(machine, after, wanted_by):
    machine.write("/etc/systemd/system/late.service", WAITING.format(after=after, wanted_by=wanted_by))
    if wanted_by:
        machine.enable("late.service")
    give(machine, "version: 1\nservices: { late.service: {} }\n")
    machine.boot()
    state = machine.wait_until_ended("ingot.service")
    assert state["ActiveState"] == "failed", state
    journal = machine.journal("-u", "ingot.service")
    assert f"/etc/systemd/system/late.service:3: After={after}" in journal
    assert report(machine)["elapsed_ms"] < 30_000, journal


def test_a_unit_that_waits_for_a_drop_in_is_refused_with_its_line(machine):
    machine.write("/etc/systemd/system/nginx.service.d/late.conf", "[Unit]\nAfter=ingot.target\n")
    give(machine, SHOP)
    machine.boot()
    assert machine.wait_until_ended("ingot.service")["ActiveState"] == "failed"
    journal = machine.journal("-u", "ingot.service")
    assert "/etc/systemd/system/nginx.service.d/late.conf:2: After=ingot.target" in journal


def test_a_unit_whose_helper_waits_for_us_is_refused(machine):
    machine.write("/etc/systemd/system/helper.service", WAITING.format(after="ingot.target", wanted_by=""))
    machine.write(
        "/etc/systemd/system/app.service",
        "[Unit]\nRequires=helper.service\nAfter=helper.service\n[Service]\nExecStart=/bin/sleep infinity\n",
    )
    give(machine, "version: 1\nservices: { app.service: {} }\n")
    machine.boot()
    assert machine.wait_until_ended("ingot.service")["ActiveState"] == "failed"
    journal = machine.journal("-u", "ingot.service")
    assert "app.service after helper.service after ingot.target" in journal
    assert "/etc/systemd/system/helper.service:3: After=ingot.target" in journal


def test_called_by_cloud_init_a_unit_that_waits_for_cloud_init_is_refused(machine):
    machine.write("/etc/systemd/system/late.service", WAITING.format(after="cloud-final.service", wanted_by=""))
    container.must("systemctl", f"--root={machine.root}", "disable", "--quiet", "ingot.service")
    document = "version: 1\nservices: { late.service: {} }\n"
    said = cloud_init(machine, SCRIPT.format(document="#ingot\n" + document))
    assert machine.run("cat", "/run/ingot-exit").stdout == "1\n", said
    assert "/etc/systemd/system/late.service:3: After=cloud-final.service" in said
    assert report(machine)["elapsed_ms"] < 30_000, said


def test_a_failure_is_on_the_console_in_one_line(machine):
    give(machine, "version: 1\ncommands: { bad: { run: ['false'] } }\n")
    boot(machine)
    lines = [line for line in machine.console().splitlines() if "ingot: the boot failed" in line]
    assert len(lines) == 1, machine.console()
    assert "commands.bad" in lines[0]


JOURNAL = """\
version: 1
secrets: { db: { secrets_manager: prod/shop/db } }
commands:
  speak:
    run: [sh, -c, 'echo "the password is $P"; printf "%s" "$P" | base64; echo "$P" >&2']
    environment: { P: "{{secrets.db.password}}" }
"""


def test_the_journal_has_fields_and_no_secret(machine):
    give(machine, JOURNAL)
    assert boot(machine)["Result"] == "success", machine.journal("-u", "ingot.service")
    entries = [json.loads(line) for line in machine.journal("-t", "ingot", "-o", "json").splitlines()]
    of_step = [entry for entry in entries if entry.get("STEP") == "commands.speak"]
    said = {entry["MESSAGE_ID"]: entry["MESSAGE"] for entry in of_step}
    assert len(said) == 4, "started, changing, output, finished: each its own id"
    assert any(entry["MESSAGE"].startswith("commands.speak| the password is ") for entry in of_step)
    assert all(entry["_SYSTEMD_UNIT"] == "ingot.service" for entry in entries)
    assert all("MESSAGE_ID" in entry for entry in entries), "every line of a good boot can be found by its kind"
    messages = [entry["MESSAGE"] for entry in entries]
    assert len(messages) == len(set(messages)) + 1, "each line once, but for the one that was printed twice"
    base64 = machine.shell(f"printf %s {PASSWORD} | base64").stdout.strip()
    everything = machine.journal("-o", "export") + machine.console()
    assert PASSWORD not in everything and base64 not in everything


def test_stopped_by_systemd_it_leaves_a_report(machine):
    give(machine, "version: 1\ncommands: { slow: { run: [sleep, '300'] } }\n")
    machine.boot()
    machine.wait_until("grep -qx sleep /proc/[0-9]*/comm")
    begun = time.monotonic()
    assert machine.run("systemctl", "stop", "ingot.service").code == 0
    assert time.monotonic() - begun < 60, "systemd would have killed it after 90 s"
    assert outcomes(machine) == {"commands.slow": "failed"}
    assert report(machine)["outcome"] == "failed"
    assert "SIGTERM" in report(machine)["steps"][0]["error"]["message"]
    assert machine.shell("grep -qx sleep /proc/[0-9]*/comm").code != 0, "what it ran has ended too"


def test_status_waits_for_a_boot_that_goes_on(machine):
    give(machine, "version: 1\ncommands: { slow: { run: [sleep, '2'] } }\n")
    machine.boot()
    status = machine.run("ingot", "status", "--wait")
    assert status.code == 0, status
    assert machine.wait_until_ended("ingot.service")["Result"] == "success"


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
    machine.imds.configure(faults=[{"path": "/latest/api/token", "kind": "status", "status": 503, "times": 8}])
    assert boot(machine)["Result"] == "success", machine.journal("-u", "ingot.service")
    serves(machine)
