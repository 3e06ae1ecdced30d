"""A file system that hangs: it costs what is on it, and nothing else. Deadline, SIGTERM, report, heartbeats and signals come
all the same, and each step ends when its `timeout:` says."""

import json
import signal

import pytest
from harness.agent import DONE, FAILED, Agent, alive, document, until, waits_for
from harness.aws.restore import report
from harness.aws.waiting import SIGNALS, waits_for_instance
from harness.host.archives import release
from harness.host.images import SMALLEST, blank
from harness.host.stuck import Frozen, Silent

STUCK = "/srv/stuck"

# What is on another disk, and has to be done whatever hangs.
OTHERS = {
    "files": {"/etc/other": {"content": "{{instance.id}}\n"}},
    "commands": {"other": {"run": ["/bin/true"]}},
}


@pytest.fixture
def machine(tmp_path, disks, aws, imds):
    waits_for_instance(aws, imds)
    return Agent(tmp_path, {**imds.env, **aws.env}, inside=disks)


@pytest.fixture(params=[Frozen, Silent])
def stuck(request, machine, disks, tmp_path):
    with request.param(disks, tmp_path / "stuck.img", machine.root / STUCK.lstrip("/")) as stuck:
        yield stuck


def merged(*all_sections: dict) -> str:
    sections: dict = {"signals": SIGNALS}
    for more in all_sections:
        for kind, steps in more.items():
            sections[kind] = {**sections.get(kind, {}), **steps}
    return document(**sections)


def over(machine, running, stuck):
    """Waits for the end of a boot, which a thread that hangs in the kernel must not hold up: its report is whole, and the
    process has ended but for that thread. Then lets go."""
    until("the end of the report", lambda: report(machine).get("finished_at"), running)
    until("the end of the process", lambda: not alive(str(running.process.pid)))
    stuck.let_go()
    return running.wait()


def lasted(result, address: str) -> float:
    step = result.step(address)
    return (step["finished_ms"] - step["started_ms"]) / 1000


LATE = {"timeout": "2s", "required": False}

# A step ends within a second of its timeout; the other second is for a machine whose cores are busy.
SOON = 4

KINDS = {
    "file": {"files": {f"{STUCK}/a/file": {"content": "x", **LATE}}},
    "file with a check": {"files": {f"{STUCK}/file": {"content": "x", "check": ["/bin/cat", "{path}"], **LATE}}},
    "bundle": {"bundles": {"late": {"s3": "s3://releases/app.tar", "into": f"{STUCK}/app", **LATE}}},
    "command": {"commands": {"late": {"run": ["/bin/sh", "-c", "echo x > file; mkdir directory"], **LATE}}},
    "mount": {"mounts": {f"{STUCK}/mnt": {"device": "tmpfs", "type": "tmpfs", **LATE}}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_that_hangs_costs_itself_and_no_other(machine, stuck, aws, kind):
    if kind == "bundle":
        aws.client("s3").create_bucket(Bucket="releases", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        aws.client("s3").put_object(Bucket="releases", Key="app.tar", Body=release("tar"))
    sections = json.loads(json.dumps(KINDS[kind]))
    for command in sections.get("commands", {}).values():
        # Programs see the files of this machine.
        command["working_directory"] = str(stuck.at)
    [[address]] = [[f"{kind}.{key}" for key in steps] for kind, steps in sections.items()]
    running = machine.start_boot(merged(OTHERS, sections))
    result = over(machine, running, stuck)
    assert result.report["outcome"] == "degraded", result
    assert result.outcomes()[address] == "failed", result
    assert 2 <= lasted(result, address) <= SOON, result
    assert [step for step, outcome in result.outcomes().items() if outcome == "failed"] == [address], result
    assert aws.statuses() == ["SUCCESS"] and aws.results() == ["CONTINUE"]
    assert result.code == DONE, result


class FrozenDisk(Frozen):
    """A blank disk whose content is a file on what is frozen: what is written to it waits."""

    def __init__(self, disks, image, at):
        super().__init__(disks, image, at)
        self.disk = disks.attach(blank(disks.seen(at) / "disk.img", SMALLEST["ext4"]))


def test_a_volume_that_hangs_costs_itself_and_no_other(machine, disks, tmp_path, aws):
    with FrozenDisk(disks, tmp_path / "stuck.img", tmp_path / "stuck") as stuck:
        volume = {"from": {"device": stuck.disk.node}, "filesystem": "ext4", **LATE}
        running = machine.start_boot(merged(OTHERS, {"volumes": {"late": volume}}))
        result = over(machine, running, stuck)
    assert [step for step, outcome in result.outcomes().items() if outcome == "failed"] == ["volumes.late"], result
    assert 2 <= lasted(result, "volumes.late") <= SOON, result
    assert aws.statuses() == ["SUCCESS"] and aws.results() == ["CONTINUE"] and result.code == DONE, result


# A service manager that knows one unit: ordered after ingot, so that ingot looks for the line that says so.
SYSTEMCTL = """#!/bin/sh
case "$1" in show) printf 'Id=late.service\nLoadState=loaded\nActiveState=inactive\nAfter=ingot.service\n\
FragmentPath=/etc/systemd/system/late.service\nDropInPaths=/etc/systemd/system/late.service.d/order.conf\n' ;; esac
"""


def test_drop_ins_of_a_service_that_hang_cost_it_and_no_other(machine, disks, tmp_path, aws):
    disks.install("systemctl", SYSTEMCTL)
    # A real one would answer over its socket.
    disks.run("mount", "-t", "tmpfs", "tmpfs", "/run")
    machine.write("/etc/systemd/system/late.service", "[Service]\nExecStart=/bin/true\n")
    with Silent(disks, tmp_path / "stuck.img", machine.root / "etc/systemd/system/late.service.d") as stuck:
        running = machine.start_boot(merged(OTHERS, {"services": {"late.service": LATE}}))
        result = over(machine, running, stuck)
    assert [step for step, outcome in result.outcomes().items() if outcome == "failed"] == ["services.late.service"], result
    assert 2 <= lasted(result, "services.late.service") <= SOON, result
    assert aws.statuses() == ["SUCCESS"] and aws.results() == ["CONTINUE"] and result.code == DONE, result


def test_a_hundred_files_that_hang_keep_no_other_from_its_thread(machine, stuck, aws):
    late = {f"{STUCK}/{number}/file": {"content": "x", **LATE} for number in range(100)}
    others = {f"/etc/others/{number}": {"content": "x"} for number in range(50)}
    running = machine.start_boot(merged(OTHERS, {"files": {**late, **others}}))
    result = over(machine, running, stuck)
    outcomes = result.outcomes()
    assert {outcomes[f"files.{path}"] for path in late} == {"failed"}, result
    assert {outcome for address, outcome in outcomes.items() if STUCK not in address} == {"changed"}, result
    assert aws.statuses() == ["SUCCESS"]


def test_the_deadline_passes_and_is_told(machine, stuck, aws):
    required = {"files": {f"{STUCK}/a/file": {"content": "x"}}}
    running = machine.start_boot(merged(OTHERS, required), "--deadline", "8s")
    until("a heartbeat", lambda: aws.count("RecordLifecycleActionHeartbeat") > 0, running)
    result = over(machine, running, stuck)
    assert "the boot's deadline of 8s passed" in result.failure(f"files.{STUCK}/a/file"), result
    assert aws.statuses() == ["FAILURE"] and aws.results() == ["ABANDON"]
    assert result.report["elapsed_ms"] < 12_000 and result.code == FAILED, result


def test_sigterm_ends_a_boot_that_hangs(machine, stuck, aws):
    required = {"files": {f"{STUCK}/a/file": {"content": "x"}}}
    running = machine.start_boot(merged(OTHERS, required))
    is_running = lambda: any(s["address"].startswith("files./srv") and s["outcome"] == "running" for s in report(machine)["steps"])  # noqa: E731
    until("a report", lambda: report(machine).get("steps"), running)
    until("the step that hangs", is_running, running)
    running.process.send_signal(signal.SIGTERM)
    result = over(machine, running, stuck)
    assert "stopped by SIGTERM" in result.failure(f"files.{STUCK}/a/file"), result
    assert aws.statuses() == [] and result.code == FAILED, result


def test_a_credential_store_that_hangs(machine, disks, tmp_path, aws):
    """Below a root it is on a disk."""
    with Frozen(disks, tmp_path / "stuck.img", machine.root / "run/credstore") as stuck:
        running = machine.start_boot(merged(OTHERS, {"credentials": {"late": "x"}}), "--deadline", "8s")
        result = over(machine, running, stuck)
    assert "the boot's deadline of 8s passed" in result.failure("credentials.late"), result
    assert result.outcomes()["files./etc/other"] == "changed" and aws.statuses() == ["FAILURE"], result


def test_a_record_that_hangs_does_not_keep_the_signals(machine, disks, tmp_path, aws):
    """Who waits for this instance is told, though it cannot be noted that it was."""
    at = machine.root / "var/lib/ingot"
    frozen = Frozen(disks, tmp_path / "stuck.img", at)
    with frozen as stuck:
        running = machine.start_boot(merged({"files": OTHERS["files"], "commands": {"other": {"run": ["/bin/true"], "timeout": "2s"}}}))
        result = over(machine, running, stuck)
    assert lasted(result, "commands.other") <= SOON, result
    assert aws.statuses() == ["FAILURE"] and aws.results() == ["ABANDON"], result
    assert result.outcomes()["signals.stack"] == "changed", result
    assert any("this is not recorded" in warning for warning in result.report["warnings"]), result


def knows_itself(machine):
    """As an instance of Nitro does, without the network."""
    machine.write("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n")
    machine.write("/sys/class/dmi/id/board_asset_tag", "i-0123456789abcdef0\n")


def tells_of_what_hangs(machine, running, stuck, aws, blocker):
    """Though nothing of the document is done, whoever waits is told at the deadline, and what the boot waited for."""
    until("the end of the process", lambda: not alive(str(running.process.pid)), running)
    stuck.let_go()
    result = running.wait()
    assert result.code == FAILED and result.seconds < 20, result
    assert aws.statuses() == ["FAILURE"] and aws.results() == ["ABANDON"], result
    assert f"the boot's deadline of 4s passed, while waiting for the disk that holds {blocker}" in result.stderr, result
    return result


@pytest.mark.parametrize("early", [False, True], ids=["after user data", "before user data"])
@pytest.mark.parametrize("at", ["var/lib/ingot", "var/lib", "var"])
def test_a_record_that_cannot_be_read_does_not_keep_the_signals(machine, disks, tmp_path, aws, at, early):
    if early:
        knows_itself(machine)
    with Silent(disks, tmp_path / "stuck.img", machine.root / at) as stuck:
        running = machine.start_boot(merged(OTHERS), "--deadline", "4s")
        result = tells_of_what_hangs(machine, running, stuck, aws, "/var/lib/ingot")
    assert any("this is not recorded" in warning for warning in result.report["warnings"]), result


def test_a_record_that_was_not_read_is_not_replaced(machine, disks, tmp_path, aws):
    """What an earlier boot remembers is not lost, though this one could tell nobody's state from it."""
    once = {"commands": {"once": {"run": ["/bin/true"], "once": "instance"}}}
    assert machine.boot(document(**once)).code == DONE
    [record] = (machine.root / "var/lib/ingot/instances").glob("*/record.json")
    before = record.read_bytes()
    with Silent(disks, tmp_path / "stuck.img", machine.root / "var/lib/ingot") as stuck:
        running = machine.start_boot(merged(once), "--deadline", "4s")
        tells_of_what_hangs(machine, running, stuck, aws, "/var/lib/ingot")
    assert record.read_bytes() == before


@pytest.mark.parametrize("source", ["imds", "standard input", "file"])
@pytest.mark.parametrize("at, blocker", [("etc/ingot/boot.d", "/etc/ingot/boot.d"), ("etc", "/etc/ingot/boot.d"), ("run", "/run/ingot/lock")])
def test_what_hangs_before_user_data_is_read_does_not_keep_its_signals(machine, disks, tmp_path, imds, aws, at, blocker, source):
    text = merged(OTHERS)
    if source == "imds":
        imds.configure(user_data=text)
    (tmp_path / "user-data").write_text(text)
    with Silent(disks, tmp_path / "stuck.img", machine.root / at) as stuck:
        more = ["--user-data", str(tmp_path / "user-data")] if source == "file" else []
        running = machine.start_boot(text if source == "standard input" else None, "--deadline", "4s", *more)
        tells_of_what_hangs(machine, running, stuck, aws, blocker)


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("at", ["etc", "run", "var/lib/ingot"])
def test_a_status_ends_though_a_disk_hangs(machine, disks, tmp_path, at, wait):
    knows_itself(machine)
    assert machine.boot(document(files={"/srv/a": {"content": "a"}})).code == DONE
    with Silent(disks, tmp_path / "stuck.img", machine.root / at) as stuck:
        running = machine.start("status", "--root", str(machine.root), *(["--wait", "--timeout", "2s"] if wait else []))
        until("the end of the process", lambda: not alive(str(running.process.pid)), timeout=30)
        stuck.let_go()
        result = running.wait()
    if at == "run":
        assert result.code == FAILED and "has not answered for" in result.stderr, result
    else:
        assert result.code == DONE and "1 changed" in result.stdout, result


def test_what_was_given_up_does_not_come_after_all(machine, disks, tmp_path):
    """The call that hung takes effect when the disk answers, and nothing that would have come after it."""
    root = machine.root / "srv/stuck"
    with Frozen(disks, tmp_path / "stuck.img", root) as stuck:
        started = tmp_path / "go"
        sections = {
            "files": {f"{STUCK}/file": {"content": "x", **LATE}},
            "commands": {"slow": {"run": waits_for(started)}},
        }
        running = machine.start_boot(document(**sections))
        until("the failure", lambda: any(step["outcome"] == "failed" for step in report(machine).get("steps", [])), running)
        stuck.let_go()
        started.touch()
        result = running.wait()
        until("that nothing is left over", lambda: not list(machine.path(STUCK).glob(".ingot-staged*")))
    assert result.outcomes()[f"files.{STUCK}/file"] == "failed", result
    assert not machine.path(f"{STUCK}/file").exists()


def test_a_preload_that_hangs_ends_with_sigterm(machine, disks, tmp_path, aws):
    text = merged(OTHERS, {"mounts": {"/srv": {"device": "tmpfs", "type": "tmpfs"}}})
    assert machine.boot(text).code == DONE
    with Silent(disks, tmp_path / "stuck.img", machine.path("/srv/stuck")) as stuck:
        text = merged(OTHERS, {"mounts": {"/srv": {"device": "tmpfs", "type": "tmpfs", "preload": ["stuck/db"]}}})
        running = machine.start_boot(text)
        until("the end of the boot", lambda: report(machine).get("outcome") == "done", running)
        assert running.process.poll() is None, running.wait()
        running.process.send_signal(signal.SIGTERM)
        until("the end of the process", lambda: not alive(str(running.process.pid)))
        stuck.let_go()
        result = running.wait()
    assert aws.statuses()[-1] == "SUCCESS", result
