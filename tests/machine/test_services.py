"""Services on a real systemd: what has ended, died, been skipped or been stopped is never called done, and says why.

Many services share one boot: each is a step of its own, with an error of its own.
"""

import json
import re

import pytest
from harness.host import container
from harness.host.container import Machine

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")


@pytest.fixture
def machine(ingot):
    with Machine() as machine:
        machine.install_ingot()
        yield machine


def unit(machine: Machine, name: str, text: str) -> None:
    machine.write(f"/etc/systemd/system/{name}", text)


def boot(machine: Machine, document: dict) -> dict[str, dict]:
    """Boots with a document. Its steps, by address, once ingot has ended."""
    machine.imds.configure(user_data="#ingot\n" + json.dumps({"version": 1, **document}))
    machine.boot()
    machine.wait_until_ended("ingot.service")
    return steps(machine)


def steps(machine: Machine) -> dict[str, dict]:
    report = json.loads(machine.run("cat", "/run/ingot/report.json").stdout)
    return {step["address"]: step for step in report["steps"]}


def errors(found: dict[str, dict]) -> dict[str, str]:
    """The message of every service that failed, by the name of its unit, without its type."""
    failed = {address: step["error"]["message"] for address, step in found.items() if step["outcome"] == "failed"}
    return {address.removeprefix("services.").rsplit(".", 1)[0]: message for address, message in failed.items()}


STAY = "ExecStart=/bin/sleep infinity\n"

# By name: the unit file, and what is to be said of it.
REASONS = {
    "skipped": (
        f"[Unit]\nConditionPathExists=/nope\n[Service]\nType=oneshot\n{STAY}",
        "was skipped by systemd: ConditionPathExists=/nope was not met",
    ),
    "skipped-simple": (
        f"[Unit]\nConditionPathExists=!/etc\n[Service]\n{STAY}",
        "was skipped by systemd: ConditionPathExists=!/etc was not met",
    ),
    "asserted": (
        f"[Unit]\nAssertPathExists=/nope\n[Service]\nType=oneshot\n{STAY}",
        "was not started: AssertPathExists=/nope was not met",
    ),
    "exec-condition": (
        "[Service]\nType=oneshot\nExecCondition=/bin/false\nExecStart=/bin/true\n",
        "was skipped by systemd: its ExecCondition=",
    ),
    "post": (
        f"[Service]\n{STAY}ExecStartPost=/bin/sh -c 'exit 3'\n",
        "failed: ExecStartPost= (/bin/sh) exited with 3",
    ),
    "pre": (f"[Service]\n{STAY}ExecStartPre=/bin/sh -c 'exit 4'\n", "failed: ExecStartPre= (/bin/sh) exited with 4"),
    "ends": (
        "[Service]\nExecStart=/bin/true\n",
        "is not running: its program exited with 0, but Type=simple expects it to keep running",
    ),
    "killed": ("[Service]\nExecStart=/bin/sh -c 'kill -9 $$$$'\n", "was killed by SIGKILL"),
    "terminated": ("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'kill -TERM $$$$'\n", "was killed by SIGTERM"),
    "fifteen": ("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'exit 15'\n", "exited with 15"),
    "slow-start": (
        f"[Service]\nType=notify\nTimeoutStartSec=1\n{STAY}",
        "timed out (TimeoutStartSec= or TimeoutStopSec=) and was killed by SIGTERM",
    ),
    "silent": (
        "[Service]\nType=notify\nExecStart=/bin/true\n",
        "exited with 0 before it reported readiness (Type=notify)",
    ),
    "no-program": (
        "[Service]\nType=exec\nExecStart=/bin/sh-nope\n",
        "exited with 203 (cannot run its program)",
    ),
    "dependent": (
        f"[Unit]\nRequires=fifteen.service\nAfter=fifteen.service\n[Service]\n{STAY}",
        "was not started: fifteen.service, which it requires, exited with 15",
    ),
    "manual": (f"[Unit]\nRefuseManualStart=yes\n[Service]\n{STAY}", "was not started: "),
    "behind": (
        f"[Unit]\nAfter=middle.service\n[Service]\n{STAY}",
        "was still inactive (dead), queued behind hangs.service, which is activating (start)",
    ),
}


def test_each_failure_names_its_reason(machine):
    for name, (text, _) in REASONS.items():
        unit(machine, f"{name}.service", text)
    enabled = "[Install]\nWantedBy=multi-user.target\n"
    unit(machine, "hangs.service", f"[Service]\nType=oneshot\n{STAY}{enabled}")
    unit(machine, "middle.service", f"[Unit]\nAfter=hangs.service\n[Service]\n{STAY}{enabled}")
    machine.enable("hangs.service", "middle.service")
    services: dict = {f"{name}.service": {} for name in REASONS}
    services["behind.service"] = {"timeout": "6s"}
    services["dependent.service"] = {"after": ["services.fifteen.service"]}
    # Its own failure would skip the other.
    services["fifteen.service"] = {"required": False}
    found = boot(machine, {"services": services})
    said = errors(found)
    for name, (_, reason) in REASONS.items():
        # How long it waited is not exact to the tenth of a second.
        told = re.sub(r" after [0-9.]+s,", ",", said.get(name, "it did not fail"))
        assert told.startswith(f"{name}.service {reason}"), (name, told, found[f"services.{name}.service"])
    assert "Type=oneshot" in found["services.ends.service"]["error"]["hint"]


SLOW = {"run": ["sleep", "4"], "after": []}


def test_what_died_or_was_stopped_while_the_boot_went_on_is_not_done(machine):
    unit(machine, "dies.service", "[Service]\nExecStart=/bin/sh -c 'sleep 1; echo no licence; exit 3'\n")
    unit(machine, "ends.service", "[Service]\nExecStart=/bin/sleep 1\n")
    # Hardly ever between two runs, where it would be told as restarting.
    unit(machine, "again.service", "[Service]\nRestart=always\nRestartSec=1ms\nExecStart=/bin/sleep 1\n")
    unit(machine, "waits.service", "[Service]\nRestart=always\nRestartSec=60\nExecStart=/bin/sh -c 'sleep 1; exit 5'\n")
    unit(machine, "loser.service", f"[Service]\n{STAY}")
    unit(machine, "winner.service", f"[Unit]\nConflicts=loser.service\n[Service]\n{STAY}")
    unit(machine, "foe.service", f"[Unit]\nConflicts=friend.service\n[Service]\n{STAY}")
    unit(machine, "friend.service", f"[Service]\n{STAY}")
    unit(machine, "remains.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n")
    unit(machine, "done.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
    unit(machine, "reloads.service", f"[Service]\n{STAY}ExecReload=/bin/sleep infinity\nTimeoutStartSec=infinity\n")
    unit(machine, "optional.service", "[Service]\nExecStart=/bin/sh -c 'sleep 1; exit 3'\n")
    names = ["dies", "ends", "again", "waits", "loser", "foe", "remains", "done", "reloads", "optional"]
    services: dict = {f"{name}.service": {"after": []} for name in names}
    services["winner.service"] = {"after": ["services.loser.service"]}
    services["friend.service"] = {"after": ["services.foe.service"]}
    services["optional.service"] = {"after": [], "required": False}
    # One that reloads has as long as its step, and ten seconds at least.
    services["reloads.service"] = {"after": [], "timeout": "5s"}
    commands = {
        "slow": SLOW,
        "stop": {"run": ["systemctl", "stop", "remains.service"], "after": ["services.remains.service"]},
        "reload": {"run": ["systemctl", "reload", "--no-block", "reloads.service"], "after": ["services.reloads.service"]},
    }
    found = boot(machine, {"services": services, "commands": commands})
    said = errors(found)
    for name, reason in {
        "dies": "exited with 3",
        "ends": "is not running: its program exited with 0",
        "again": "failed after it had started, and systemd restarted it",
        "waits": "is restarting: it exited with 5",
        "loser": "was stopped by winner.service, which conflicts with it",
        "foe": "was stopped by friend.service, which conflicts with it",
        "remains": "is not running: it was stopped",
        "reloads": "was still reloading (reload) after 10",
        "optional": "exited with 3",
    }.items():
        assert said.pop(name, "it did not fail").startswith(f"{name}.service {reason}"), (name, found[f"services.{name}.service"])
    assert said == {}, "the others are as they are to be"
    assert machine.show("ingot.service", "ExecMainStatus") == {"ExecMainStatus": "1"}
    died = found["services.dies.service"]
    assert "no licence" in str(died["error"]["causes"])
    assert died["finished_ms"] > found["commands.slow"]["finished_ms"]
    assert machine.run("ingot", "status").code == 1


def test_what_is_as_it_is_to_be_is_done(machine):
    unit(machine, "oneshot.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
    unit(machine, "remains.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n")
    unit(machine, "forks.service", "[Service]\nType=forking\nExecStart=/bin/sh -c 'sleep infinity &'\n")
    unit(machine, "idles.service", "[Service]\nExecStart=/bin/true\n")
    unit(machine, "idles.socket", "[Socket]\nListenStream=/run/idles\n")
    unit(machine, "later.timer", "[Timer]\nOnActiveSec=1h\nUnit=oneshot.service\n")
    unit(machine, "watch.path", "[Path]\nPathExists=/nope\nUnit=oneshot.service\n")
    unit(machine, "both.target", "[Unit]\nWants=remains.service\n")
    unit(machine, "srv-x.mount", "[Mount]\nWhat=tmpfs\nWhere=/srv/x\nType=tmpfs\n")
    unit(machine, "instance@.service", f"[Service]\n{STAY}")
    units = ["oneshot.service", "remains.service", "forks.service", "idles.socket", "later.timer", "watch.path", "both.target"]
    services: dict = {name: {} for name in [*units, "srv-x.mount", "instance@1.service"]}
    services["idles.service"] = {"after": ["services.idles.socket"]}
    found = boot(machine, {"services": services})
    assert errors(found) == {}
    assert machine.show("ingot.service", "Result") == {"Result": "success"}
    assert machine.run("systemctl", "restart", "ingot.service").code == 0, machine.journal("-u", "ingot.service")


GENERATOR = """\
#!/bin/sh
for file in /etc/containers/systemd/*.container; do
  [ -e "$file" ] || continue
  name=$(basename "$file" .container)
  printf '[Unit]\\nSourcePath=%s\\n[Service]\\nExecStart=/bin/sleep infinity\\n' "$file" >"$1/$name.service"
done
"""


def test_units_that_generators_make_are_known_after_one_reading(machine):
    machine.write("/etc/systemd/system-generators/containers", GENERATOR, 0o755)
    document = {
        "files": {
            "/etc/containers/systemd/web.container": {"content": "[Container]\nImage=web\n"},
            "/etc/containers/systemd/db.container": {"content": "[Container]\nImage=db\n"},
            "/etc/fstab": {"content": "tmpfs /srv/fast tmpfs noauto 0 0\n"},
        },
        "services": {"web.service": {}, "db.service": {}, "srv-fast.mount": {}},
    }
    found = boot(machine, document)
    assert errors(found) == {}
    assert {step["outcome"] for step in found.values()} == {"changed"}
    assert machine.run("mountpoint", "-q", "/srv/fast").code == 0
    readings = machine.journal("-o", "cat", "--grep=^Reloading", "_PID=1").splitlines()
    assert len(readings) == 1, readings
    assert machine.run("systemctl", "restart", "ingot.service").code == 0
    assert {step["outcome"] for step in steps(machine).values()} == {"unchanged"}


def test_a_unit_that_no_generator_makes_is_named(machine):
    found = boot(machine, {"files": {"/etc/fstab": {"content": "# nothing\n"}}, "services": {"srv-fast.mount": {}}})
    assert errors(found) == {"srv-fast": "systemd has no unit srv-fast.mount, and no generator created it"}


def test_a_start_limit_does_not_outlast_the_configuration_that_hit_it(machine):
    unit(
        machine,
        "app.service",
        "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1h\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/grep -q well /etc/app.conf\n",
    )
    document = {
        "files": {"/etc/app.conf": {"content": "well\n"}},
        "commands": {"before": {"run": ["sh", "-c", "for n in 1 2 3 4; do systemctl start app.service; done; true"]}},
        "services": {"app.service": {"restart_on": ["files./etc/app.conf"], "after": ["commands.before"]}},
    }
    document["files"]["/etc/app.conf"]["after"] = ["commands.before"]
    found = boot(machine, document)
    assert errors(found) == {}, machine.journal("-u", "ingot.service")
    assert "Start request repeated too quickly" in machine.journal("-u", "app.service"), "it had hit its limit"
    assert "reset its failed state" in found["services.app.service"]["changes"]


def test_in_a_warm_pool_every_phase_looks(machine):
    unit(machine, "agent.service", "[Service]\nExecStart=/bin/sh -c 'sleep 1; exit 3'\n")
    document = {"services": {"agent.service": {"phase": "warm", "after": []}}, "commands": {"slow": SLOW}}
    machine.imds.configure(lifecycle="Warmed:Stopped")
    assert errors(boot(machine, document)) == {"agent": "agent.service exited with 3"}


def test_names_that_can_never_be_started_are_mistakes(machine):
    unit(machine, "x@.service", f"[Service]\n{STAY}")
    document = {"version": 1, "services": {"x@.service": {}, "swap.swap": {}, "a.slice": {}, "b.automount": {}}}
    machine.write("/etc/ingot/boot.d/10-names.yaml", json.dumps(document))
    machine.boot()
    done = machine.run("ingot", "check", "/etc/ingot/boot.d/10-names.yaml")
    assert done.code == 78
    for said in ["x@.service is a template unit", "swap.swap cannot be", "a.slice cannot be", "b.automount cannot be"]:
        assert said in done.stdout + done.stderr
