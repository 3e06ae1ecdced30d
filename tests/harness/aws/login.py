"""What tests ask of a boot that logs in to a database of theirs, by host and port.

    with started(Postgres) as server:
        result = ready(agent, plain(server, aws, tls="prefer"))
        fails(agent, plain(server, aws, port=1), "refuses connections")
"""

import contextlib

import pytest

from harness.agent import DONE, FAILED, Agent, Running, document, until
from harness.host import databases
from harness.host.databases import MariaDb, Postgres

from .restore import report

USER, SECRET = "shop", "hunter'2 \\ \"pass\" word"
CREDENTIALS = {"username": USER, "password": SECRET, "dbname": "shop"}

KINDS = {"postgres": Postgres, "mysql": MariaDb}


@contextlib.contextmanager
def started(kind):
    """A server that runs, and has the user and the database of `CREDENTIALS`."""
    if why := databases.missing():
        pytest.skip(why)
    with kind() as server:
        server.start()
        server.wait()
        server.user(USER, SECRET, database="shop")
        yield server


def plain(server, aws, *, credentials=CREDENTIALS, port: int | None = None, timeout="30s", files=None, **fields) -> str:
    """A document with a database by host and port."""
    database = {"host": "127.0.0.1", "port": port or server.port, "engine": server.engine, "timeout": timeout, **fields}
    if credentials is None:
        return document(databases={"main": database}, files=files or {})
    aws.secret("db", credentials)
    secrets = {"db": {"secrets_manager": "db"}}
    return document(secrets=secrets, databases={"main": {**database, "credentials": "secrets.db"}}, files=files or {})


def waiting(agent: Agent) -> str:
    return "".join(step["waiting"] or "" for step in report(agent)["steps"] if step["address"] == "databases.main")


def waits(agent: Agent, running: Running, *texts: str) -> None:
    """Until the database is being waited for in these words."""
    until(f"{texts}", lambda: all(text in waiting(agent) for text in texts), running)


def fails(agent: Agent, text: str, *said: str) -> str:
    result = agent.boot(text)
    assert result.code == FAILED, result
    why = result.failure("databases.main")
    assert all(part in why for part in said), why
    assert "hint: None" not in why and agent.leaks(result, [SECRET]) == [], result
    return why


def ready(agent: Agent, text: str) -> dict:
    """Boots, and finds everything well. What the step offers is in a file."""
    result = agent.boot(text)
    assert result.code == DONE, result
    assert agent.leaks(result, [SECRET]) == [], result
    return result.outcomes()
