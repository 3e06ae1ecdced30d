"""Applications that were written for a worker environment of Elastic Beanstalk get their messages from `ingot worker`, unchanged:
in Flask, in Express, and in Django with `django-eb-sqs-worker` from PyPI. They run as there: gunicorn, or node."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from harness import wire
from harness.agent import PATIENCE, document, until
from harness.aws.sqs import Sqs

FRAMEWORKS = Path(__file__).parent / "frameworks"
CALLER = {"AWS_ACCESS_KEY_ID": "AKIACALLER", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_REGION": "eu-central-1", "HOME": "/nonexistent"}
GUNICORN = [sys.executable, "-m", "gunicorn", "--workers=1", "--threads=15"]
PERIODIC = {"path": "/tasks/nightly", "task_name": "nightly", "scheduled_time": "2026-11-30 23:00:00 UTC"}


class Application:
    """A framework's application, a queue, and the worker between them."""

    def __init__(self, agent, sqs: Sqs, directory: Path, name: str):
        self.sqs, self.source = sqs, FRAMEWORKS / name
        self.url = sqs.make("jobs", dead="dead", after=3)
        self.notes_path = directory / "notes"
        self.notes_path.touch()
        listener = wire.bound()
        self.port = listener.getsockname()[1]
        listener.close()
        self.log = open(directory / "log", "w+b")
        env = {**os.environ, **CALLER, **sqs.env, "NOTES": str(self.notes_path), "PORT": str(self.port)}
        self.process = subprocess.Popen(self.command(name), cwd=self.source, env=env, stdout=self.log, stderr=subprocess.STDOUT)
        until(f"{name} to listen", self.is_up, timeout=PATIENCE)
        self.agent = agent
        self.worker = None

    def command(self, name: str) -> list[str]:
        bind = f"--bind=127.0.0.1:{self.port}"
        match name:
            case "flask":
                return [*GUNICORN, bind, "application:application"]
            case "django":
                return [*GUNICORN, bind, "shop.wsgi:application"]
            case "express":
                if shutil.which("node") is None or not (self.source / "node_modules").exists():
                    pytest.skip(f"no express: install node and npm, then `npm ci --prefix {self.source}`")
                return ["node", "server.js"]

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def begin(self, **fields) -> None:
        worker = {"queue": "jobs", "to": f"http://127.0.0.1:{self.port}", "retry": {"delay": "1s"}, **fields}
        path = self.agent.write("/boot.yaml", document(workers={"jobs": worker}))
        command = ["worker", "jobs", "--user-data", str(path), "--root", str(self.agent.root)]
        self.worker = self.agent.start(*command, env={**CALLER, **self.sqs.env})

    def finish(self) -> list[str]:
        """Waits until the queue is empty, and stops the worker. What the application wrote down."""
        until("all messages", lambda: self.sqs.left("jobs") == {}, self.worker)
        self.worker.process.send_signal(signal.SIGTERM)
        assert self.worker.wait().code == 0
        return self.notes_path.read_text().splitlines()

    def end(self) -> None:
        if self.worker and self.worker.process.poll() is None:
            self.worker.kill()
            self.worker.wait()
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def sqs():
    with Sqs() as sqs:
        yield sqs


@pytest.fixture
def run(agent, sqs, tmp_path):
    """Runs one of the applications, and ends it."""
    running = []

    def begin(name: str) -> Application:
        sqs.reset()
        running.append(Application(agent, sqs, tmp_path, name))
        return running[-1]

    yield begin
    for application in running:
        application.end()


def periodic(**more: str) -> dict[str, str]:
    return {f"beanstalk.sqsd.{name}": value for name, value in {**PERIODIC, **more}.items()}


@pytest.mark.parametrize("name", ["flask", "express"])
def test_messages_reach_it_and_what_fails_comes_again(run, sqs, name):
    application = run(name)
    large = json.dumps({"name": "largé", "text": "ü" * 100_000}, ensure_ascii=False)
    sqs.send(application.url, *[json.dumps({"name": f"m{n}"}) for n in range(30)], said={"color": "red"})
    sqs.send(application.url, large, json.dumps({"name": "later", "fails": 2}), json.dumps({"name": "never", "fails": 99}))
    sqs.send(application.url, "elasticbeanstalk scheduled job", said=periodic())
    application.begin(path="/jobs")
    notes = application.finish()
    expected = [f"m{n} 1 red {len(json.dumps({'name': f'm{n}'}))} 127.0.0.1" for n in range(30)]
    expected += [f"largé 1 None {len(large.encode())} 127.0.0.1", f"later 3 None {len(json.dumps({'name': 'later', 'fails': 2}))} 127.0.0.1"]
    assert sorted(notes) == sorted([*expected, "nightly 2026-11-30T23:00:00Z"]), application.said()
    assert list(sqs.left("dead")) == [json.dumps({"name": "never", "fails": 99})]


def test_a_django_project_sends_tasks_and_handles_them(run, sqs):
    application = run("django")
    for order in ("a", "b"):
        request = urllib.request.Request(f"http://127.0.0.1:{application.port}/order/{order}/", headers={"Host": "localhost"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200, application.said()
    assert len(sqs.left("jobs")) == 2 and sqs.calls("SendMessage"), "it has sent them to SQS by itself"
    sqs.send(application.url, "elasticbeanstalk scheduled job", said=periodic(path="/sqs/"))
    sqs.send(application.url, json.dumps({"task": "nobody.knows", "arguments": {}}))
    begun = time.monotonic()
    application.begin(path="/sqs/")
    notes = application.finish()
    assert sorted(notes) == ["nightly", "resize a [320, 640]", "resize b [320, 640]"], application.said()
    assert "Periodic Task(nightly" in application.said() and "2026-11-30T23:00:00Z" in application.said()
    assert list(sqs.left("dead")) == [json.dumps({"task": "nobody.knows", "arguments": {}})]
    assert time.monotonic() - begun < PATIENCE
