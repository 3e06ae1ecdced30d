"""The application of the example, alone on this machine, as its unit would run it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from harness.agent import PATIENCE
from harness.host import shop
from harness.wire import free_port

EXAMPLE = Path(__file__).parents[2] / "packer" / "application"


class Running:
    def __init__(self, directory: Path, greeting: str = shop.GREETING, token: str | None = shop.TOKEN):
        self.port = free_port()
        self.database = directory / "shop.db"
        (directory / "credentials").mkdir()
        if token is not None:
            (directory / "credentials" / "shop-token").write_text(token)
        configuration = {"greeting": greeting, "instance": "i-<1>", "database": str(self.database)}
        file = directory / "shop.json"
        file.write_text(json.dumps({**configuration, "address": "127.0.0.1", "port": self.port}))
        command = [sys.executable, "-I", "-S", EXAMPLE / "root/opt/shop/shop.py", file]
        self.process = subprocess.Popen(command, env={"CREDENTIALS_DIRECTORY": str(directory / "credentials")})
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, "the shop does not listen"
                time.sleep(0.02)

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture
def run(tmp_path):
    """Starts a shop, with what is said of it."""
    running = []

    def start(**more) -> Running:
        running.append(Running(tmp_path, **more))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.wait()


def test_the_page_holds_a_secret_and_an_article(run):
    running = run(greeting="Tea & <b>more</b>")
    shop.database(running.database)
    status, page = running.get("/")
    assert status == 200
    assert "Tea &amp; &lt;b&gt;more&lt;/b&gt;" in page
    assert f"{shop.ARTICLE}: 49.00" in page
    assert "i-&lt;1&gt;" in page
    assert running.get("/health") == (200, "well\n")
    assert running.get("/?from=mail")[0] == 200
    assert running.get("/", "HEAD") == (200, "")


def test_it_is_not_well_without_its_volume(run):
    running = run()
    for path in ("/", "/health"):
        status, said = running.get(path)
        assert status == 503
        assert "database" in said
    assert not running.database.exists()


@pytest.mark.parametrize("token", [None, "", "\n"])
def test_it_is_not_well_without_its_token(run, token):
    running = run(token=token)
    shop.database(running.database)
    assert running.get("/health") == (503, "there is no token\n")


def test_it_serves_nothing_else(run):
    running = run()
    assert running.get("/etc/passwd")[0] == 404
    assert running.get("/", "POST")[0] == 405


def test_it_bears_visitors_that_make_no_sense(run):
    running = run()
    shop.database(running.database)
    silent = socket.create_connection(("127.0.0.1", running.port))
    for nonsense in (b"\r\n\r\n", b"\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"A" * 100_000):
        with socket.create_connection(("127.0.0.1", running.port)) as visitor:
            visitor.sendall(nonsense)
    assert running.get("/")[0] == 200
    silent.close()


def test_its_layers_are_right(ingot, tmp_path):
    """And user data has to say no more than which environment this is."""
    user_data = tmp_path / "user-data.yaml"
    user_data.write_text(shop.USER_DATA)
    layers = [*sorted(EXAMPLE.glob("boot.d/*.yaml")), user_data]
    for command in ("check", "dry-run"):
        more = ["--out", tmp_path / "out"] if command == "dry-run" else []
        done = subprocess.run([ingot, command, *layers, *more], capture_output=True, text=True, env={"PATH": os.defpath})
        assert done.returncode == 0, done.stdout + done.stderr
    assert "/prod/shop/token" in done.stdout
