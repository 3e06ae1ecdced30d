"""What people look at: a dry run against the machine that it runs on, terminals, and the status of boots that go wrong."""

import json
import time

import pytest

from harness.agent import DONE, FAILED, Agent, binary, document, until, waits_for
from harness.terminal import COLORS, Terminal, plain

DIFFERS, RUNNING = 3, 3
SECRET = "hunter2-correct-horse"

OWN = {
    "secrets": {"db": {"secrets_manager": "prod/db"}},
    "files": {
        "/etc/shop.conf": {"content": "{{instance.id}} {{instance.tags.role}} {{secrets.db.password}}\n"},
        "/etc/leader.conf": {"content": "leads\n", "when": "{{eq instance.tags.role \"leader\"}}"},
    },
}


def live(agent: Agent, path, *more: str):
    return agent.run("dry-run", "--live", "--facts", "imds", "--diff", str(agent.root), "--detailed-exit-code", *more, str(path))


@pytest.fixture
def booted(agent, aws, imds, tmp_path):
    """A machine that was booted with a document of its own facts and its own role, and that document."""
    aws.secret("prod/db", {"password": SECRET})
    imds.configure(tags={"role": "leader"})
    text = document(**OWN)
    result = agent.boot(text)
    assert result.code == DONE, result
    path = tmp_path / "boot.yaml"
    path.write_text(text)
    return path


def test_a_machine_as_its_document_says_has_no_difference_by_its_own_facts(agent, booted):
    result = live(agent, booted)
    assert result.code == DONE and result.stdout.endswith("; no file differs\n"), result
    assert "placeholders" not in result.stderr and agent.leaks(result, [SECRET]) == []
    assert live(agent, booted, "--json").json["summary"]["files_that_differ"] == 0


def test_a_file_that_somebody_changed_is_shown_and_told_by_the_exit_code(agent, booted):
    agent.write("/etc/leader.conf", "follows\n")
    agent.write("/etc/shop.conf", "i-other leader hunter3-former-secret\n", 0o600)
    result = live(agent, booted)
    assert result.code == DIFFERS and result.stdout.endswith("; 2 files differ\n"), result
    assert "-follows\n+leads\n" in result.stdout
    assert SECRET not in result.stdout and "hunter3" not in result.stdout


def test_facts_of_the_instance_decide_what_is_due_and_what_is_missing(agent, booted, imds):
    imds.configure(tags={"role": "jobs"})
    result = live(agent, booted)
    assert result.code == DIFFERS and "Not due, by `when:`: files./etc/leader.conf" in result.stdout, result
    # A boot would fail as well: nothing stands in for a fact that the instance does not have.
    imds.configure(tags={"other": "x"})
    result = live(agent, booted)
    assert result.code == FAILED and "instance.tags.role" in result.stdout and "<instance.tags.role>" not in result.stdout, result


LONG = document(files={f"/etc/{name * 9}.conf": {"content": "x\n", "owner": "somebody-with-a-long-name"} for name in "ab"})


def drawn(path, columns: int, *command: str, **env: str) -> str:
    with Terminal(columns=columns) as terminal:
        process = terminal.run([*command, str(binary()), "dry-run", str(path)], stdout=True, env=env, cwd=path.parent)
        assert terminal.ended(process) == DONE, terminal.text
        return terminal.text.replace("\r\n", "\n")


def test_a_terminal_gets_its_width_and_its_colors(ingot, tmp_path):
    path = tmp_path / "boot.yaml"
    path.write_text(LONG)
    wide, narrow = drawn(path, 200), drawn(path, 60)
    assert COLORS.search(wide) and COLORS.search(narrow)
    assert max(map(len, plain(narrow).splitlines())) <= 60, plain(narrow)
    assert plain(narrow).split() == plain(wide).split()
    assert plain(drawn(path, 60, COLUMNS="200")) == plain(wide)


def test_there_are_no_colors_where_nobody_wants_them(ingot, agent, tmp_path):
    path = tmp_path / "boot.yaml"
    path.write_text(LONG)
    bare = agent.run("dry-run", str(path)).stdout
    assert not COLORS.search(bare)
    assert not COLORS.search(drawn(path, 200, NO_COLOR="1"))
    assert not COLORS.search(drawn(path, 200, "env", "TERM=dumb"))
    assert not COLORS.search(drawn(path, 200, "env", "-u", "TERM"))
    # Set to the empty string, NO_COLOR means nothing.
    assert COLORS.search(drawn(path, 200, NO_COLOR=""))


def test_the_time_of_a_boot_that_runs_is_that_until_now(agent, tmp_path):
    running = agent.start_boot(document(commands={"wait": {"run": waits_for(tmp_path / "go")}}))
    status = lambda: agent.run("status", "--json", "--root", str(agent.root))  # noqa: E731
    until("the step", lambda: status().json["report"] and status().json["report"]["steps"], running)
    time.sleep(1.5)
    told, real = status(), (time.monotonic() - running.begun) * 1000
    assert told.code == RUNNING and 1400 < told.json["elapsed_ms"] <= real + 100, (told, real)
    text = agent.run("status", "--root", str(agent.root)).stdout
    assert text.startswith("running for ") and "running: commands.wait" in text and "next: `ingot status --wait`" in text
    running.kill()
    running.wait()
    text = agent.run("status", "--root", str(agent.root)).stdout
    assert text.startswith("failed: process") and "interrupted" in text and "next: run `ingot boot` to resume" in text, text


def test_status_names_every_failure_and_what_it_kept_from_running(agent):
    failing = {"run": ["/bin/sh", "-c", "echo the last words; exit 3"]}
    result = agent.boot(
        document(
            commands={"first": failing, "second": failing, "after": {"run": ["/bin/true"], "after": ["commands.first"]}},
            files={"/etc/a": {"content": "a\n"}},
        )
    )
    assert result.code == FAILED, result
    status = agent.run("status", "--root", str(agent.root))
    for text in ("failed: commands.first", "failed: commands.second", "skipped 1 step because of commands.first: commands.after"):
        assert text in status.stdout, status
    assert status.stdout.count("the last words") == 2 and "next: follow the hint" in status.stdout, status


def test_a_report_that_is_cut_off_or_damaged_is_said_to_be(agent):
    assert agent.boot(document(files={f"/etc/{name}": {"content": "a\n"} for name in "abc"})).code == DONE
    path = agent.path("/run/ingot/report.json")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b'"address"') + 20])
    status = agent.run("status", "--root", str(agent.root))
    assert status.code == FAILED and status.stdout.startswith("failed: the report is cut off") and "cut off" in status.stderr, status
    assert len(agent.run("status", "--json", "--root", str(agent.root)).json["report"]["steps"]) == 2
    analyzed = agent.run("analyze", "blame", str(path))
    assert analyzed.code == DONE and len(analyzed.stdout.splitlines()) == 2 and "cut off" in analyzed.stderr, analyzed
    # Under systemd, the report ends with the start-up of the machine, which is useless unless it is complete.
    startup = {"firmware_ms": 1210.5, "loader_ms": 340.25, "initrd_ms": None, "userspace_ms": 2210.75, "process_ms": 3310.5}
    started = json.dumps({**json.loads(whole), "startup": startup}, separators=(",", ":")).encode()
    for cut in (1, 2, 35, 70, 105, 140):
        path.write_bytes(started[:-cut])
        status = agent.run("status", "--json", "--root", str(agent.root))
        assert status.code == FAILED and "cut off" in status.stderr and len(status.json["report"]["steps"]) == 3, (cut, status)
    for damage in (b"", b"\0" * 4096, json.dumps({"a": 1}).encode(), whole[:3]):
        path.write_bytes(damage)
        status = agent.run("status", "--root", str(agent.root))
        assert status.code == FAILED and status.stdout == "" and "is damaged" in status.stderr and "hint:" in status.stderr, status
