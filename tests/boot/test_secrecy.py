"""Secrets stay secret however a program prints them, and other users of the machine stay out."""

import base64
import json
import os
import re
import socket
import subprocess
import urllib.parse
from pathlib import Path

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, PATIENCE, UNREACHABLE, binary, document, until, waits_for

PASSWORD = "correct-horse/battery+staple=42"
NOBODY = 65534

# The longest line of output that is kept.
LINE_LIMIT = 16 * 1024


def printing(script: str, **secret) -> str:
    """A document with a command that prints what it does of $SECRET, and fails."""
    run = ["/bin/sh", "-c", f"{script}\nexit 7"]
    source = {"secrets_manager": "prod/db", **secret}
    return document(
        secrets={"db": source}, commands={"x": {"run": run, "environment": {"SECRET": "{{secrets.db.password}}"}}}
    )


def pieces(text: str, length: int = 6) -> list[str]:
    return [text[at : at + length] for at in range(len(text) - length + 1)]


def test_no_part_of_a_secret_shows_where_a_line_is_cut(agent, aws):
    """19 of 20 characters of a password stood in the report that everyone can read."""
    aws.secret("prod/db", {"password": PASSWORD})
    script = "for shown in $(seq 1 40); do head -c $((16384 - shown)) /dev/zero | tr '\\0' .; printf '%s and more\\n' \"$SECRET\"; done"
    result = agent.boot(printing(script))
    assert result.code == FAILED, result
    lines = [line for line in result.stderr.splitlines() if line.startswith("commands.x| ")]
    assert len(lines) == 40 and any(len(line) > LINE_LIMIT for line in lines)
    # Not shorter: `atte` is in `attempts`, too.
    assert agent.leaks(result, pieces(PASSWORD, 5)) == []


def test_no_secret_shows_in_any_of_its_spellings(agent, aws):
    aws.secret("prod/db", {"password": PASSWORD})
    spelled = {
        "percent": urllib.parse.quote(PASSWORD, safe=""),
        "lower": urllib.parse.quote(PASSWORD, safe="").lower(),
        "form": urllib.parse.quote_plus(PASSWORD),
        "every": "".join(f"%{byte:02x}" for byte in PASSWORD.encode()),
        "json": "".join(f"\\u{ord(letter):04X}" for letter in PASSWORD),
        "slash": PASSWORD.replace("/", "\\/"),
        "basic": "Basic " + base64.b64encode(f"shop:{PASSWORD}".encode()).decode(),
        "hex": PASSWORD.encode().hex(),
        "HEX": PASSWORD.encode().hex().upper(),
        "hexdump": PASSWORD.encode().hex(" "),
        "openssl": PASSWORD.encode().hex(":"),
        "hex of user and password": f"shop:{PASSWORD}".encode().hex(),
    }
    for at in range(3):
        packed = base64.b64encode(b"{\"p\": \""[at:] + PASSWORD.encode() + b"\"}").decode()
        spelled |= {f"base64 {at}": packed, f"unpadded {at}": packed.rstrip("="), f"url {at}": packed.replace("+", "-").replace("/", "_")}
    text = "\n".join(f"{name}: {spelling}" for name, spelling in spelled.items())
    script = f"cat <<'X'\n{text}\nX"
    # What is printed has to be known before the secret is: the document holds it, so it is not part of what is looked
    # at.
    result = agent.boot(printing(script))
    assert result.code == FAILED, result
    lines = [line.removeprefix("commands.x| ") for line in result.stderr.splitlines() if line.startswith("commands.x| ")]
    assert [line.partition(": ")[0] for line in lines] == list(spelled)
    for line in lines:
        name, _, left = line.partition(": ")
        assert "[redacted]" in left and not any(piece in left for piece in pieces(spelled[name].removeprefix("Basic "), 12)), line


def test_a_log_stays_a_log(agent, aws):
    aws.secret("prod/db", {"username": "shop_rw", "password": PASSWORD, "port": 5432, "engine": "postgres", "flag": "true", "n": 1})
    script = "echo \"true: 1 connection to postgres as shop_rw on localhost:5432 with $SECRET\""
    line = "true: 1 connection to postgres as {} on localhost:5432 with [redacted]"
    result = agent.boot(printing(script))
    assert line.format("[redacted]") in result.stderr, result
    result = agent.boot(printing(script, public=["username"]))
    assert line.format("shop_rw") in result.stderr, result
    result = agent.boot(printing(script, public=["user"]))
    assert "`public` names `user`, which this secret does not have" in result.stderr, result


def test_nothing_that_is_printed_acts_on_a_terminal(agent):
    hostile = "a\\033[2J\\033]0;x\\007\\r\\010\\302\\233m\\342\\200\\256b"
    commands = {"x": {"run": ["/bin/sh", "-c", f"printf '{hostile}\\n'; exit 3"]}}
    result = agent.boot(document(commands=commands))
    assert result.code == FAILED and "a\\x1b[2J" in result.stderr, result
    seen = [result.stderr, agent.read("/run/ingot/report.json")]
    root = ["--root", str(agent.root)]
    for args in (["status", *root], ["status", "--json", *root], ["analyze", "blame", str(agent.path("/run/ingot/report.json"))]):
        seen.append(agent.run(*args).stdout)
    for text in seen:
        assert text and not [letter for letter in text if ord(letter) < 32 and letter not in "\n\t" or ord(letter) in (0x7F, 0x9B, 0x202E)]


def test_a_fact_that_breaks_the_line_is_left_out_of_the_environment_file(agent, imds):
    imds.configure(instance={"type": "m7g.large\nLD_PRELOAD=/tmp/x.so"})
    result = agent.boot(document(files={"/etc/a": {"content": "{{instance.id}}"}}))
    assert result.code == DONE, result
    lines = agent.read("/run/ingot/facts.env").splitlines()
    assert "INGOT_INSTANCE_ID=i-0abc123def4567890" in lines and not [line for line in lines if "TYPE" in line or "LD_" in line]
    assert any("`type`" in warning for warning in result.report["warnings"]), result


def test_a_fact_that_is_null_is_absent(agent, imds):
    imds.configure(instance={"private_ip": None})
    text = document(files={"/etc/a": {"content": '{{default instance.private_ip "none"}}'}})
    result = agent.boot(text)
    assert result.code == DONE and agent.read("/etc/a") == "none", result
    assert "PRIVATE_IP" not in agent.read("/run/ingot/facts.env")


ASKS = {
    "secret": ("secrets", {"secrets_manager": "prod/db"}),
    "secret of a stage": ("secrets", {"secrets_manager": "prod/db", "version_stage": "AWSPREVIOUS"}),
    "parameter": ("secrets", {"parameter": "/prod/token"}),
    "tree": ("secrets", {"parameters_under": "/prod/"}),
    "database": ("databases", {"instance": "shop"}),
    "cluster": ("databases", {"cluster": "shop"}),
    "restored database": ("databases", {"instance": "shop", "restore_from": {"snapshot": "golden", "class": "db.t3.micro"}}),
    "volume": ("volumes", {"from": {"volume": "vol-0123456789abcdef0"}}),
    "snapshot": ("volumes", {"from": {"snapshot": {"newest_with_tags": {"a": "b"}}}}),
    "bundle": ("bundles", {"s3": "s3://releases/x.tar", "sha256": "0" * 64, "into": "/opt/b"}),
    "bundle by a parameter": ("bundles", {"parameter": "/prod/release", "into": "/opt/b"}),
    "address": ("addresses", {"elastic_ip": "eipalloc-0123456789abcdef0"}),
    "stack": ("signals", {"cloudformation": {"stack": "shop", "resource": "Web"}}),
    "stack by tags": ("signals", {"cloudformation": {}}),
    "hook": ("signals", {"lifecycle_hook": {"name": "ready", "group": "shop"}}),
    "hook of a group to be found": ("signals", {"lifecycle_hook": {}}),
}


BOUNDS = [(what, "timeout") for what in ASKS]
BOUNDS += [(what, "deadline") for what in ("parameter", "database", "bundle by a parameter")]


@pytest.mark.parametrize("what, bound", BOUNDS)
def test_a_first_call_that_is_never_answered_means_unreachable(agent, aws, what, bound):
    aws.fault("hang")
    kind, fields = ASKS[what]
    text = document(**{kind: {"x": fields | ({"timeout": "2s"} if bound == "timeout" else {})}})
    result = agent.boot(text, "--deadline", "3s" if bound == "deadline" else "60s")
    assert result.code == UNREACHABLE and aws.calls(), result
    assert "while waiting for " in result.failure(f"{kind}.x"), result


@pytest.mark.parametrize("source", ["s3://releases/base.yaml", "ssm:/shop/base"])
def test_an_include_that_is_never_answered_means_unreachable_and_is_told(agent, aws, source):
    """Who waits for the instance may well be reached where the document is not."""
    aws.stack("shop", "Web")
    aws.fault("hang", operation="GetParameters" if source.startswith("ssm") else "GetObject")
    text = document(include=[source], signals={"x": {"cloudformation": {"stack": "shop", "resource": "Web"}}})
    result = agent.boot(text, "--deadline", "3s")
    assert result.code == UNREACHABLE and "while waiting for the included documents" in result.stderr, result
    assert result.outcomes() == {"signals.x": "changed"} and aws.count("SignalResource") == 1, result


@pytest.mark.parametrize("engine", ["postgres", "mysql"])
@pytest.mark.parametrize("bound", ["deadline", "timeout"])
def test_a_database_that_says_nothing_is_named(agent, engine, bound):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        fields = {"host": "127.0.0.1", "port": port, "engine": engine} | ({"timeout": "2s"} if bound == "timeout" else {})
        result = agent.boot(document(databases={"x": fields}), "--deadline", "3s" if bound == "deadline" else "60s")
    assert result.code == FAILED, result
    assert f"while waiting for 127.0.0.1:{port} to accept logins" in result.failure("databases.x"), result


def test_a_command_that_outlasts_the_deadline_is_no_matter_of_aws(agent, aws):
    aws.parameter("/prod/token", "t0ken-value")
    run = ["/bin/sh", "-c", "sleep 1000"]
    text = document(secrets={"token": {"parameter": "/prod/token"}}, commands={"x": {"run": run, "environment": {"T": "{{secrets.token}}"}}})
    result = agent.boot(text, "--deadline", "3s")
    assert result.code == FAILED, result


# Other users of the machine.


@pytest.fixture
def shared(agent):
    """The same machine on a file system in memory, as /run is, with its directories open to be looked into."""
    root = Path(subprocess.run(["mktemp", "-d", "-p", "/dev/shm"], check=True, capture_output=True, text=True).stdout.strip())
    root.chmod(0o755)
    agent.root = root
    yield agent
    subprocess.run(["rm", "-rf", str(root)], check=True)


def as_nobody(*command: str) -> subprocess.CompletedProcess:
    run = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *map(str, command)]
    return subprocess.run(run, capture_output=True, text=True, timeout=PATIENCE, cwd="/")


@pytest.fixture
def for_everyone(shared):
    """A copy of the binary that every user can run."""
    copy = shared.root.with_name(shared.root.name + ".ingot")
    copy.write_bytes(binary().read_bytes())
    copy.chmod(0o755)
    yield str(copy)
    copy.unlink()


def test_no_other_user_can_hold_the_lock(shared, for_everyone):
    status = [for_everyone, "status", "--root", str(shared.root)]
    assert as_nobody(*status).returncode == 4
    gate = shared.root / "gate"
    running = shared.start_boot(document(commands={"x": {"run": waits_for(gate)}}))
    until("the boot", lambda: as_nobody(*status).returncode == 3, running)
    lock = shared.path("/run/ingot/lock")
    assert (shared.mode("/run/ingot/lock"), lock.stat().st_uid, shared.mode("/run/ingot")) == ("0600", os.getuid(), "0755")
    assert as_nobody("cat", lock).returncode != 0
    gate.touch()
    assert running.wait().code == DONE and as_nobody(*status).returncode == 0


def test_a_lock_that_another_user_holds_is_replaced(shared):
    lock = shared.write("/run/ingot/lock", "1\n", 0o666)
    held = lock.with_name("held")
    script = f"import fcntl, sys; f = open('{lock}', 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "/usr/bin/python3", "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
    )
    assert holder.stdout.readline() == "held\n"
    result = shared.boot(document(files={"/etc/a": {"content": "a"}}), "--deadline", "30s")
    holder.communicate("")
    assert result.code == DONE and shared.mode("/run/ingot/lock") == "0600", result
    assert not held.exists()


def test_no_write_follows_the_link_of_another_user(agent):
    for name in ("srv/app", "etc/secret.d"):
        agent.path(name).mkdir(parents=True)
    os.chown(agent.path("srv/app"), NOBODY, NOBODY)
    for name, target in (("srv/app/config", "/etc/secret.d"), ("srv/current", "app")):
        agent.path(name).symlink_to(target)
        os.chown(agent.path(name), NOBODY, NOBODY, follow_symlinks=False)
    files = {"/srv/app/config/x": {"content": "x"}, "/srv/current/y": {"content": "y"}}
    result = agent.boot(document(files=files))
    assert result.code == FAILED, result
    failure = result.failure("files./srv/app/config/x")
    assert "/srv/app/config is a symbolic link owned by user 65534" in failure, failure
    assert "chown -h root:root /srv/app/config" in failure, failure
    assert list(agent.path("etc/secret.d").iterdir()) == []
    # A link that only root can have put there is followed, whoever owns it.
    assert agent.read("/srv/app/y") == "y"
    os.chown(agent.path("srv/app/config"), 0, 0, follow_symlinks=False)
    assert agent.boot(document(files=files)).code == DONE and agent.read("/etc/secret.d/x") == "x"


def test_a_root_may_be_relative(agent):
    """A check of a file runs in another directory than we do."""
    text = document(files={"/etc/x": {"content": "x", "check": ["/bin/cat", "{path}"]}})
    args = ["boot", "--root", agent.root.name, "--user-data", "-"]
    result = agent.run(*args, stdin=text, prefix=["env", "-C", str(agent.root.parent)])
    assert result.code == DONE and agent.read("/etc/x") == "x", result


@pytest.mark.parametrize("content", ["[]", '{"version": 1}'])
def test_a_report_that_is_damaged_is_told_as_such(agent, content):
    agent.write("/run/ingot/report.json", content)
    for more in ([], ["--wait", "--timeout", "1s"]):
        result = agent.run("status", "--root", str(agent.root), *more)
        assert result.code == FAILED and "/run/ingot/report.json is damaged: " in result.stderr, result


def test_names_that_no_program_can_take_are_mistakes(agent, tmp_path):
    path = tmp_path / "boot.yaml"
    path.write_text('version: 1\nvalues: { v: "a\\0b" }\ncommands: { x: { run: [/bin/true], environment: { "A=B": c, "": d } } }\nservices: { "a\\nb.service": {} }\n')
    result = agent.run("check", "--json", str(path))
    assert result.code == BAD_DOCUMENT and len(result.json["mistakes"]) == 4, result


def without_times(text: str) -> str:
    return re.sub(r"[0-9.]+ s\b", "", text)


def test_output_that_is_lost_is_a_failure(agent, tmp_path, ingot):
    path = tmp_path / "boot.yaml"
    path.write_text("version: 1\nfiles: { /etc/a: { content: a } }\n")
    root = ["--root", str(agent.root)]
    assert agent.boot(document(files={"/etc/a": {"content": "a"}})).code == DONE
    report = str(agent.path("/run/ingot/report.json"))
    commands = [
        ["--help"], ["--version"], ["help"], ["boot", "--help"], ["schema"], ["man"], ["completions", "bash"],
        ["check", path], ["check", "--json", path], ["dry-run", path], ["dry-run", "--json", path],
        ["status", *root], ["status", "--json", *root], ["analyze", report], ["analyze", "blame", report],
        ["analyze", "chain", "--json", report], ["analyze", "plot", report],
        ["boot", "--json", "--user-data", "none", *root], ["seal", *root], ["seal", "--json", *root],
    ]  # fmt: skip
    for command in commands:
        run = [str(ingot), *map(str, command)]
        with open("/dev/full", "w") as full:
            done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, env=agent.env)
        assert done.returncode == 1 and "cannot write to standard output" in done.stderr, (command, done)
        # A reader that goes away has read enough.
        reader, writer = os.pipe()
        os.close(reader)
        gone = subprocess.run(run, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, env=agent.env)
        os.close(writer)
        read = subprocess.run(run, capture_output=True, text=True, timeout=PATIENCE, env=agent.env)
        assert (gone.returncode, without_times(gone.stderr)) == (read.returncode, without_times(read.stderr)), command
