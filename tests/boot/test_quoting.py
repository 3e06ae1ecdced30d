"""What quoting helpers write, read back by the programs and libraries that it is meant for."""

import configparser
import json
import os
import shutil
import subprocess
import urllib.parse
import xml.etree.ElementTree
from pathlib import Path

import jproperties
import pytest
from dotenv import dotenv_values
from harness.host import databases
from harness.nasty import NASTY, rendered, written

DOTENV = Path(__file__).parent / "dotenv"

# What neither systemd nor a shell can read from an environment file.
UNHELD = {"noncharacter", "too long"}

# What they read, and some dotenv library does not, in whatever form.
SYSTEMD_ONLY = {
    "both quotes", "quote and dollar", "backslash at the end", "two backslashes", "backslash and quote", "variable in braces",
    "default in braces", "carriage return", "CRLF",
}  # fmt: skip


def expected(names) -> dict[str, str]:
    return {name: NASTY[name] for name in names}


def shell(program: str, path: Path) -> dict[str, str]:
    """The variables that a file sets which a shell reads with `.`."""
    count = sum(1 for line in path.read_bytes().decode().split("\n") if line.startswith("V"))
    script = f". {path}; " + "; ".join(f'printf "%s\\0" "$V{number}"' for number in range(count))
    done = subprocess.run([program, "-c", script], capture_output=True, check=True, env={"HOME": "/home/x", "PATH": os.environ["PATH"]})
    return {f"V{number}": value for number, value in enumerate(done.stdout.decode().split("\0")[:-1])}


def python_dotenv(path: Path) -> dict[str, str]:
    return dict(dotenv_values(path))


def node_dotenv(path: Path) -> dict[str, str]:
    if shutil.which("node") is None or not (DOTENV / "node_modules").exists():
        pytest.skip("no dotenv: install node and npm, then `npm ci --prefix tests/boot/dotenv`")
    done = subprocess.run(["node", DOTENV / "read.mjs", path], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def docker(path: Path) -> dict[str, str]:
    """A stand-in for `docker run --env-file`, by the rules of its opts/file.go: a line is a variable, and nothing is undone."""
    found = {}
    for line in path.read_bytes().decode().split("\n"):
        assert len(line.encode()) < 64 * 1024, "docker refuses the file"
        line = line.removesuffix("\r").lstrip()
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name] = value
    return found


READERS = {
    "dash": lambda path: shell("dash", path),
    "bash": lambda path: shell("bash", path),
    "python-dotenv": python_dotenv,
    "node's dotenv": node_dotenv,
}


def environment_file(directory: Path, texts: dict[str, str]) -> Path:
    """One file of all: a reader that loses its way in one value loses those after it."""
    path = directory / "all.env"
    path.write_bytes("".join(f"V{number}={text}" for number, text in enumerate(texts.values())).encode())
    return path


@pytest.fixture(scope="module")
def environment(ingot, tmp_path_factory):
    """What `{{env x}}` writes and refuses, and what it tells is for systemd and shells only."""
    return rendered(tmp_path_factory.mktemp("env"), "{{env VALUE}}\n")


def test_env_refuses_and_tells_what_cannot_be_held(environment):
    texts, refused, narrow = environment
    assert (set(refused), narrow) == (UNHELD, SYSTEMD_ONLY)
    assert len(texts) - len(narrow) >= 40


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_reads_back_what_env_writes(environment, tmp_path, reader):
    texts, _, narrow = environment
    held = {name: text for name, text in texts.items() if name not in narrow or "sh" in reader}
    found = READERS[reader](environment_file(tmp_path, held))
    assert {name: found.get(f"V{number}") for number, name in enumerate(held)} == expected(held)


def test_env_for_dotenv_refuses_what_is_for_systemd_only(environment, tmp_path):
    texts, _, narrow = environment
    strict, refused = written(tmp_path, '{{env VALUE "dotenv"}}\n')
    assert strict == {name: text for name, text in texts.items() if name not in narrow}
    assert set(refused) == UNHELD | SYSTEMD_ONLY
    assert all('{{env x "systemd"}}' in refused[name] for name in SYSTEMD_ONLY), refused


def test_docker_reads_what_env_writes_without_quotes(environment, tmp_path):
    texts, _, _ = environment
    bare = {name: text for name, text in texts.items() if text == NASTY[name] + "\n" and len(text) < 60_000}
    found = docker(environment_file(tmp_path, bare))
    assert {name: found.get(f"V{number}") for number, name in enumerate(bare)} == expected(bare)
    assert {"plain", "empty", "equals", "tilde inside", "umlaut", "emoji"} <= set(bare)


def test_env_for_docker_holds_every_value_of_one_line(ingot, tmp_path):
    texts, refused = written(tmp_path, '{{env VALUE "docker"}}\n')
    found = docker(environment_file(tmp_path, texts))
    assert {name: found[f"V{number}"] for number, name in enumerate(texts)} == expected(texts)
    assert set(refused) == {name for name, value in NASTY.items() if set(value) & set("\n\r\0") or len(value) > 65_280}


@pytest.mark.parametrize("program", ["dash", "bash"])
def test_env_for_systemd_is_read_by_shells(ingot, tmp_path, program):
    texts, refused = written(tmp_path, '{{env VALUE "systemd"}}\n')
    found = shell(program, environment_file(tmp_path, texts))
    assert {name: found[f"V{number}"] for number, name in enumerate(texts)} == expected(texts)
    assert set(refused) == UNHELD


def test_url_is_read_by_urllib(ingot, tmp_path):
    texts, refused = written(tmp_path, "postgres://{{url VALUE}}:{{url VALUE}}@db/{{url VALUE}}?p={{url VALUE}}#{{url VALUE}}")
    assert refused == {}
    for name, text in texts.items():
        parts = urllib.parse.urlsplit(text)
        assert [urllib.parse.unquote(part) for part in (parts.username, parts.password)] == [NASTY[name]] * 2, name
        assert urllib.parse.unquote(parts.path[1:]) == urllib.parse.unquote(parts.fragment) == NASTY[name], name
        assert urllib.parse.parse_qs(parts.query, keep_blank_values=True) == {"p": [NASTY[name]]}, name


def test_xml_is_read_by_expat(ingot, tmp_path):
    texts, refused = written(tmp_path, "<a b=\"{{xml VALUE}}\" c='{{xml VALUE}}'>{{xml VALUE}}</a>\n")
    assert set(refused) == {"control characters", "noncharacter"}
    for name, text in texts.items():
        element = xml.etree.ElementTree.fromstring(text)
        assert [element.text or "", element.get("b"), element.get("c")] == [NASTY[name]] * 3, name


def test_properties_are_read_by_a_java_reader(ingot, tmp_path):
    texts, refused = written(tmp_path, "before=1\nkey={{properties VALUE}}\n{{properties VALUE}}k=2\nafter=3\n")
    assert refused == {}
    for name, text in texts.items():
        assert text.isascii(), name
        found = jproperties.Properties()
        found.load(text.encode(), "iso-8859-1")
        read = {key: value.data for key, value in found.items()}
        # Other than Java, it drops every byte order mark.
        value = NASTY[name].replace("\ufeff", "")
        assert read == {"before": "1", "key": value, value + "k": "2", "after": "3"}, name


def test_ini_is_read_by_configparser(ingot, tmp_path):
    texts, refused = written(tmp_path, "[s]\nbefore = 1\nkey = {{ini VALUE}}\nafter = 2\n")
    for name, text in texts.items():
        path = tmp_path / "read.ini"
        path.write_bytes(text.encode())
        parser = configparser.ConfigParser()
        parser.read(path, "utf-8")
        assert dict(parser["s"]) == {"before": "1", "key": NASTY[name], "after": "2"}, name
    blank = {name for name, value in NASTY.items() if value != value.strip()}
    assert set(refused) - blank == {
        "line feed", "a second setting", "carriage return", "CRLF", "control characters", "next line",
    }  # fmt: skip


def test_ini_for_git_and_mysql_is_read_by_them(ingot, tmp_path):
    texts, refused = written(tmp_path, "[s]\nkey = {{ini VALUE \"mysql\"}}\n")
    for name, text in texts.items():
        path = tmp_path / "read.ini"
        path.write_bytes(text.encode())
        git = subprocess.run(["git", "config", "--file", path, "--null", "s.key"], capture_output=True)
        assert git.stdout.decode() == NASTY[name] + "\0", (name, git)
        if len(text) < 4000:
            mysql = subprocess.run(["my_print_defaults", f"--defaults-file={path}", "s"], capture_output=True)
            assert mysql.stdout.decode() == f"--key={NASTY[name]}\n", (name, mysql)
    assert all("line break or another control character" in why for why in refused.values()), refused


@pytest.fixture(scope="module")
def postgres():
    if why := databases.missing():
        pytest.skip(why)
    with databases.Postgres() as server:
        server.start()
        server.wait()
        yield server


def test_pgpass_is_read_by_libpq(ingot, tmp_path, postgres):
    # A name of PostgreSQL has at most 63 bytes.
    held = {name: value for name, value in NASTY.items() if 0 < len(value.encode()) < 64}
    texts, refused = written(tmp_path, "127.0.0.1:*:*:{{pgpass VALUE}}:{{pgpass VALUE}}\n", held)
    assert set(refused) == {name for name, value in held.items() if set(value) & set("\n\r\0")}
    path = tmp_path / "pgpass"
    path.write_bytes("".join(texts.values()).encode())
    path.chmod(0o600)
    environment = {**os.environ, "PGPASSFILE": str(path), "PGCLIENTENCODING": "UTF8"}
    for name in texts:
        user = held[name]
        postgres.run("CREATE ROLE {} LOGIN PASSWORD {}".format('"' + user.replace('"', '""') + '"', literal(user)))
        command = ["psql", "--no-password", "-XAt", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", user, "-d", "postgres"]
        done = subprocess.run([*command, "-c", "SELECT 1"], capture_output=True, text=True, env=environment)
        assert done.stdout == "1\n", (name, texts[name], done)


def literal(text: str) -> str:
    """A string of SQL."""
    return "'" + text.replace("'", "''") + "'"
