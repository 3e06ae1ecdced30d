"""Whole boots below --root: forms of user data, layers, files, commands, outcomes, the second boot."""

import base64
import gzip
import json
import os
import stat
import subprocess

import pytest
from harness import agent as agents
from harness.agent import BAD_DOCUMENT, DONE, FAILED, USAGE, document, until, waits_for

HEAD = "#ingot\nversion: 1\n"
DOCUMENT = HEAD + 'files:\n  /etc/motd: { content: "hello from {{instance.region}}\\n" }\n'
HELLO = "hello from eu-central-1\n"

MIME = """\
Content-Type: multipart/mixed; boundary="b"
MIME-Version: 1.0

--b
Content-Type: text/x-shellscript

#!/bin/sh
echo not ours
--b
Content-Type: text/x-ingot

{document}
--b--
"""
CLOUD_CONFIG = (
    "#cloud-config\npackages: [nginx]\ningot:\n  version: 1\n  files:\n    /etc/motd: {{ content: {content} }}\n"
)


def forms() -> dict[str, bytes]:
    plain = DOCUMENT.encode()
    content = '"hello from {{instance.region}}\\n"'
    return {
        "plain": plain,
        "gzip": gzip.compress(plain),
        "base64": base64.b64encode(plain),
        "base64 of base64": base64.b64encode(base64.encodebytes(plain)),
        "base64 of gzip": base64.b64encode(gzip.compress(plain)),
        "MIME": MIME.format(document=DOCUMENT).encode(),
        "gzip of MIME": gzip.compress(MIME.format(document=DOCUMENT).encode()),
        "cloud-config": CLOUD_CONFIG.format(content=content).encode(),
        "CRLF": DOCUMENT.replace("\n", "\r\n").encode(),
        "after a mark, comments and empty lines": b"\xef\xbb\xbf# Managed by Terraform\n\n  \n" + plain,
    }


@pytest.mark.parametrize("form", forms())
def test_user_data_in_every_form(agent, imds, form):
    imds.configure(user_data=forms()[form])
    result = agent.boot()
    assert result.code == DONE, result
    assert agent.read("/etc/motd") == HELLO


@pytest.mark.parametrize("other", [b"#!/bin/sh\necho hi\n", b"#cloud-config\npackages: []\n", b"#include\nhttps://x.example\n"])
def test_what_is_not_for_us_leaves_the_baked_layers(agent, imds, other):
    imds.configure(user_data=other)
    agent.write("/etc/ingot/boot.d/10.yaml", "version: 1\nfiles:\n  /etc/motd: { content: baked }\n")
    result = agent.boot()
    assert result.code == DONE, result
    assert agent.read("/etc/motd") == "baked"


def test_user_data_that_unpacks_to_too_much_is_refused(agent, imds):
    imds.configure(user_data=gzip.compress(b"#ingot\n" + b"#" * (64 << 20)))
    result = agent.boot(None, "--deadline", "100s")
    assert result.code == BAD_DOCUMENT, result


def test_layers_are_merged_in_order_and_user_data_is_last(agent):
    agent.write("/etc/ingot/boot.d/20-b.yaml", "version: 1\nvalues: { a: 2, b: 2 }\nfiles: { /etc/gone: null }\n")
    agent.write(
        "/etc/ingot/boot.d/10-a.yaml",
        "version: 1\nvalues: { a: 1, b: 1, c: 1 }\nfiles:\n  /etc/gone: { content: x }\n"
        '  /etc/v: { content: "{{values.a}} {{values.b}} {{values.c}}" }\n',
    )
    result = agent.boot(HEAD + "values: { b: 3 }\n")
    assert result.code == DONE, result
    assert agent.read("/etc/v") == "2 3 1"
    assert not agent.path("/etc/gone").exists()


WHOLE = """\
#ingot
version: 1
secrets:
  db: { secrets_manager: prod/db }
files:
  /etc/app/app.toml: { template: app.toml.hbs, mode: "0600" }
  /etc/app/motd: { content: "{{instance.id}}\\n", mode: "0644" }
credentials:
  db: "{{secrets.db.password}}"
commands:
  once: { run: [/bin/sh, -c, "echo once >> COUNT"] }
  always: { run: [/bin/sh, -c, "echo always >> COUNT"], once: always, after: [commands.once] }
"""


@pytest.fixture
def whole(agent, aws, tmp_path):
    """A document with a step of each kind that needs no systemd."""
    aws.secret("prod/db", {"user": 'sh"op', "password": "hunter2-correct-horse"})
    agent.write("/etc/ingot/templates/app.toml.hbs", "user = {{toml secrets.db.user}}\n# {{values.env}}\n")
    return WHOLE.replace("COUNT", str(tmp_path / "count")) + "values: { env: prod }\n"


def test_a_whole_boot_and_its_report(agent, whole, tmp_path):
    result = agent.boot(whole)
    assert result.code == DONE, result
    assert agent.read("/etc/app/app.toml") == 'user = "sh\\"op"\n# prod\n' or "'" in agent.read("/etc/app/app.toml")
    assert result.outcomes() == {
        "secrets.db": "unchanged",
        "files./etc/app/app.toml": "changed",
        "files./etc/app/motd": "changed",
        "credentials.db": "changed",
        "commands.once": "changed",
        "commands.always": "changed",
    }
    report = agent.path("/run/ingot/report.json")
    assert stat.S_IMODE(report.stat().st_mode) == 0o644
    assert "INGOT_INSTANCE_ID=i-0abc123def4567890" in agent.read("/run/ingot/facts.env")
    assert agent.mode("/var/lib/ingot") == "0700"
    assert (tmp_path / "count").read_text() == "once\nalways\n"
    assert agent.leaks(result, ["hunter2-correct-horse"]) == []


def test_a_whole_boot_takes_little_memory(agent, whole):
    command = [str(agents.binary()), *agent.boot_args(whole)]
    peak = agents.peak_memory(command, agent.env, whole.encode())
    # Of the program that is baked into images, and not of a debug build.
    assert peak < 30 << 10 or agents.binary().stat().st_size > 20_000_000, f"{peak} KiB"


def test_a_second_boot_changes_nothing(agent, whole, tmp_path):
    assert agent.boot(whole).code == DONE
    before = agent.tree(identity=True)
    result = agent.boot(whole)
    assert result.code == DONE, result
    assert agent.tree(identity=True) == before
    changed = [address for address, outcome in result.outcomes().items() if outcome == "changed"]
    assert changed == ["commands.always"]
    assert (tmp_path / "count").read_text() == "once\nalways\nalways\n"


def test_another_instance_of_the_same_image_boots_anew(agent, imds, whole, tmp_path):
    assert agent.boot(whole).code == DONE
    imds.configure(instance={"id": "i-0fff123def4567890"})
    assert agent.boot(whole).code == DONE
    assert (tmp_path / "count").read_text().count("once") == 2


def test_drift_is_put_right(agent, whole):
    assert agent.boot(whole).code == DONE
    agent.write("/etc/app/motd", "tampered")
    agent.path("/etc/app/app.toml").chmod(0o666)
    result = agent.boot(whole)
    assert result.code == DONE, result
    assert agent.read("/etc/app/motd") == "i-0abc123def4567890\n"
    assert agent.mode("/etc/app/app.toml") == "0600"


def test_json_on_stdout_and_talk_on_stderr(agent, whole):
    result = agent.boot(whole, "--json")
    assert result.code == DONE, result
    assert isinstance(result.json, dict)
    quiet = agent.boot(whole)
    assert quiet.code == DONE
    assert agent.run("status", "--root", str(agent.root), "--json").json


def test_a_failure_skips_only_what_depends_on_it(agent, tmp_path):
    text = HEAD + (
        "commands:\n"
        "  bad: { run: [/bin/sh, -c, 'echo the reason >&2; exit 3'] }\n"
        "  next: { run: [/bin/true], after: [commands.bad] }\n"
        "  apart: { run: [/bin/true] }\n"
        "files:\n  /etc/f: { content: x }\n"
    )
    result = agent.boot(text)
    assert result.code == FAILED, result
    assert result.outcomes() == {
        "commands.bad": "failed",
        "commands.next": "skipped",
        "commands.apart": "changed",
        "files./etc/f": "changed",
    }
    assert "the reason" in result.stderr


def test_what_is_not_required_may_fail(agent):
    text = HEAD + "commands:\n  bad: { run: [/bin/false], required: false }\n"
    result = agent.boot(text)
    assert result.code == DONE, result
    assert result.outcomes() == {"commands.bad": "failed"}
    assert agent.run("status", "--root", str(agent.root)).code == 2, "degraded"


def test_a_command_that_hangs_is_ended_with_all_it_started(agent, tmp_path):
    pid = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {pid}; wait"
    text = HEAD + f"commands:\n  slow: {{ run: [/bin/sh, -c, '{script}'], timeout: 3s }}\n"
    result = agent.boot(text)
    assert result.code == FAILED, result
    assert result.seconds < 60
    assert "3s" in result.stderr
    assert agents.ends(pid.read_text())


def test_a_check_sees_the_staged_file_and_can_refuse_it(agent):
    agent.write("/etc/app.conf", "good")
    text = HEAD + 'files:\n  /etc/app.conf: { content: bad, check: [/bin/grep, -q, good, "{path}"] }\n'
    result = agent.boot(text)
    assert result.code == FAILED, result
    assert agent.read("/etc/app.conf") == "good"
    assert [path.name for path in agent.path("/etc").iterdir()] == ["app.conf"], "nothing staged is left"


def test_a_file_that_does_not_parse_is_not_installed(agent):
    result = agent.boot(HEAD + 'files:\n  /etc/app.json: { content: "{{values.x}}" }\nvalues: { x: "{" }\n')
    assert result.code in (FAILED, BAD_DOCUMENT), result
    assert not agent.path("/etc/app.json").exists()


@pytest.mark.parametrize(
    "mistake",
    [
        'values: { v: null }\nfiles:\n  /etc/f: { content: "{{values.v}}" }\n',
        'values: { v: {a: 1} }\nfiles:\n  /etc/f: { content: "{{values.v}}" }\n',
        'values: { v: [1] }\nfiles:\n  /etc/f: { content: "{{values.v}}" }\n',
        'files:\n  /etc/f: { content: "{{values.nothing}}" }\n',
        'files:\n  /etc/f: { content: "{{#if values.nothing}}x{{/if}}" }\n',
        'files:\n  /etc/f: { content: "{{secrets.nothing}}" }\n',
        'files:\n  /etc/f: { content: "{{#if}" }\n',
        "files:\n  /etc/f: { template: not-there.hbs }\n",
        "files:\n  /etc/f: { content: a }\n  /etc/f: { content: b }\n",
        "files:\n  etc/f: { content: a }\n",
        "commands:\n  a: { run: [x], after: [commands.b] }\n  b: { run: [x], after: [commands.a] }\n",
        "volumes: []\nfiles: 3\n",
    ],
)
def test_a_mistake_is_found_before_anything_is_done(agent, mistake):
    text = HEAD + "credentials: { early: x }\n" + mistake
    result = agent.boot(text)
    assert result.code == BAD_DOCUMENT, result
    assert agent.tree() == {} or set(agent.tree()) <= {"run", "var", "var/lib"}, "no side effect"
    checked = agent.run("check", str(write(agent, text)))
    assert checked.code == BAD_DOCUMENT, checked
    assert ":" in checked.stderr + checked.stdout


def write(agent, text: str):
    path = agent.root.parent / "document.yaml"
    path.write_text(text)
    return path


def test_check_shows_every_mistake_with_its_place(agent):
    text = "file:\n  /a: { content: x }\nfiles:\n  /b: { contnt: x }\n  /c: { content: '{{secrets.d}}' }\n"
    result = agent.run("check", str(write(agent, HEAD + text)))
    assert result.code == BAD_DOCUMENT, result
    said = result.stdout + result.stderr
    for place, word in [("3:1", "files"), ("6:", "content"), ("7:", "secrets")]:
        assert f"document.yaml:{place}" in said, (place, result)
        assert word in said


def test_a_second_boot_waits_for_the_first(agent, tmp_path):
    over = tmp_path / "over"
    running = agent.start_boot(document(commands={"slow": {"run": waits_for(over)}}))
    assert running.wait_for_line("slow"), running.lines
    second = agent.start_boot(DOCUMENT)
    assert second.wait_for_line(f"pid {running.process.pid}.*waiting"), second.lines
    assert agent.run("status", "--root", str(agent.root)).code == 3
    assert not agent.path("/etc/motd").exists()
    over.touch()
    first, second = running.wait(), second.wait()
    assert (first.code, second.code) == (DONE, DONE), (first, second)
    assert agent.read("/etc/motd") == HELLO, "another document is another boot"
    assert second.outcomes() == {"files./etc/motd": "changed"}


def test_the_same_boot_twice_at_once_runs_once(agent, tmp_path):
    over = tmp_path / "over"
    text = document(commands={"slow": {"run": waits_for(over, f"echo ran >> {tmp_path}/ran"), "once": "always"}})
    first = agent.start_boot(text)
    assert first.wait_for_line("slow"), first.lines
    second = agent.start_boot(text)
    assert second.wait_for_line("waiting"), second.lines
    over.touch()
    first, second = first.wait(), second.wait()
    assert first.code == DONE, first
    assert second.code == DONE, second
    assert "just completed this boot" in second.stderr
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_who_gives_up_waiting_leaves_the_report_alone(agent, tmp_path):
    over = tmp_path / "over"
    running = agent.start_boot(document(commands={"slow": {"run": waits_for(over)}}))
    assert running.wait_for_line("slow"), running.lines
    second = agent.boot(DOCUMENT, "--deadline", "1s")
    assert second.code == FAILED, second
    assert second.report["pid"] == running.process.pid, "it is the report of the boot that runs"
    assert agent.run("status", "--root", str(agent.root)).code == 3
    over.touch()
    assert running.wait().outcomes() == {"commands.slow": "changed"}


def test_a_boot_that_is_asked_to_stop_leaves_a_report(agent, tmp_path):
    text = HEAD + (
        f"commands:\n  slow: {{ run: [/bin/sh, -c, 'echo $$ > {tmp_path}/pid; exec sleep 300'] }}\n"
        "  next: { run: ['true'], after: [commands.slow] }\n"
    )
    running = agent.start_boot(text)
    assert running.wait_for_line("slow"), running.lines
    pid = tmp_path / "pid"
    until("the command", lambda: pid.exists() and pid.read_text(), running)
    running.process.terminate()
    result = running.wait()
    assert result.code == FAILED, result
    assert result.outcomes() == {"commands.next": "skipped", "commands.slow": "failed"}
    assert "SIGTERM" in result.step("commands.slow")["error"]["message"]
    assert result.report["outcome"] == "failed"
    assert agent.run("status", "--root", str(agent.root)).code == 1
    assert agents.ends(pid.read_text())


def test_status_waits_for_the_end(agent):
    waiting = agent.start("status", "--root", str(agent.root), "--wait", "--timeout", "100s")
    running = agent.start_boot(HEAD + "commands:\n  slow: { run: [/bin/sleep, '1'] }\n")
    status = waiting.wait()
    assert status.code == 0, status
    assert running.wait().code == DONE
    in_vain = agent.start_boot(HEAD + "commands:\n  slow: { run: [/bin/sleep, '300'], once: always }\n")
    assert in_vain.wait_for_line("slow"), in_vain.lines
    assert agent.run("status", "--root", str(agent.root), "--wait", "--timeout", "500ms").code == 3
    in_vain.kill()
    in_vain.wait()


def test_status_knows_every_state(agent):
    root = ("--root", str(agent.root))
    assert agent.run("status", *root).code == 4
    assert agent.boot(DOCUMENT).code == DONE
    assert agent.run("status", *root).code == 0
    assert agent.boot(HEAD + "commands: { bad: { run: [/bin/false] } }\n").code == FAILED
    assert agent.run("status", *root).code == 1


def test_only_runs_what_was_asked_for_and_what_it_needs(agent):
    text = HEAD + "files:\n  /etc/a: { content: x }\n  /etc/b: { content: x }\n"
    result = agent.boot(text, "--only", "files./etc/a")
    assert result.code == DONE, result
    assert agent.path("/etc/a").exists() and not agent.path("/etc/b").exists()


def test_wrong_usage_is_its_own_exit_code(agent):
    assert agent.run("boot", "--no-such-option").code == USAGE
    assert agent.run("nonsense").code == USAGE


def test_a_dry_run_needs_nothing_and_changes_nothing(agent, imds, aws, tmp_path):
    path = write(agent, WHOLE.replace("COUNT", str(tmp_path / "count")) + "values: { env: prod }\n")
    templates = agent.root.parent / "templates"
    templates.mkdir()
    (templates / "app.toml.hbs").write_text("user = {{toml secrets.db.user}}\n")
    out = tmp_path / "out"
    result = agent.run("dry-run", str(path), "--out", str(out))
    assert result.code == DONE, result
    assert (out / "etc/app/app.toml").exists()
    assert agent.tree() == {}
    assert not (tmp_path / "count").exists()
    assert imds.requests() == [] and aws.calls() == []
    again = agent.run("dry-run", str(path), "--out", str(out))
    assert again.stdout == result.stdout, "the same input gives the same bytes"


def test_a_live_dry_run_reads_real_secrets_and_shows_none(agent, aws, tmp_path):
    aws.secret("prod/db", {"password": "hunter2-correct-horse"})
    text = "secrets: { db: { secrets_manager: prod/db } }\nfiles: { /etc/f: { content: '{{secrets.db.password}}' } }\n"
    mine = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B", "AWS_REGION": "eu-central-1"}
    result = agent.run("dry-run", "--live", str(write(agent, HEAD + text)), env=mine)
    assert result.code == DONE, result
    assert "files./etc/f" in result.stdout
    assert aws.count("BatchGetSecretValue") + aws.count("GetSecretValue") == 1
    assert agent.leaks(result, ["hunter2-correct-horse"]) == []


def test_the_schema_is_json(agent):
    schema = agent.run("schema").json
    assert "files" in json.dumps(schema)


def test_a_boot_of_some_steps_is_no_boot_of_the_document(agent, imds):
    imds.configure(user_data=HEAD + "files: { /etc/a: { content: a }, /etc/b: { content: b } }\n")
    some = agent.boot(None, "--only", "files./etc/b")
    assert some.code == DONE, some
    assert list(some.outcomes()) == ["files./etc/b"]
    assert some.report["document"] is None
    assert agent.boot().report["document"] is not None


def test_a_boot_without_facts_leaves_those_of_an_earlier_one(agent, imds):
    imds.configure(user_data=DOCUMENT)
    agent.boot()
    facts = agent.read("/run/ingot/facts.env")
    assert "INGOT_INSTANCE_ID=" in facts
    result = agent.run("boot", "--root", str(agent.path("/")), "--user-data", "-", stdin="version: 1\nfiles: {}\n")
    assert result.code == DONE, result
    assert agent.read("/run/ingot/facts.env") == facts


def test_standard_input_that_never_ends_does_not_outlast_the_deadline(agent):
    reader, writer = os.pipe()
    command = [agents.binary(), "boot", "--root", str(agent.path("/")), "--user-data", "-", "--deadline", "1s"]
    try:
        ended = subprocess.run(command, stdin=reader, capture_output=True, text=True, timeout=100)
    finally:
        os.close(reader)
        os.close(writer)
    assert ended.returncode == FAILED, ended
    assert "deadline" in ended.stderr


def test_few_open_files_are_an_error_with_a_hint(agent):
    """With six, a library of ours used to end the process, as if that were a bug."""
    text = document(files={"/etc/x": {"content": "x"}}, commands={"a": {"run": ["/bin/true"]}})
    for files in range(4, 40):
        result = agent.boot(text, "--deadline", "60s", prefix=["prlimit", f"--nofile={files}", "--"])
        if result.code == FAILED:
            assert "hint: raise `ulimit -n`" in result.stderr, result
        else:
            assert result.code == DONE and files > 30, result
