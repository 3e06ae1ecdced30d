"""Databases that change while a boot asks: a pooler whose database comes and goes, a password that is being rotated."""

import pytest
from harness.agent import DONE, FAILED
from harness.aws.login import CREDENTIALS, KINDS, SECRET, USER, fails, plain, ready, started, waits
from harness.host.databases import PgBouncer, Postgres


@pytest.fixture(params=KINDS)
def server(request):
    """A server that takes logins."""
    with started(KINDS[request.param]) as server:
        yield server


@pytest.fixture
def postgres():
    """A server that has been set up and is stopped."""
    with started(Postgres) as server:
        server.stop()
        yield server


# Poolers.


def test_a_pooler_is_ready_once_its_database_is(agent, aws, postgres):
    postgres.start(standby=True)
    with PgBouncer(postgres, USER, SECRET, "shop") as pooler:
        running = agent.start_boot(plain(pooler, aws, tls="disable", timeout="100s"))
        waits(agent, running, "has no connection to the database behind it", "08P01")
        postgres.promote()
        result = running.wait()
        assert result.code == DONE, (result, pooler.log())


def test_a_pooler_that_has_seen_its_database_is_no_database(agent, aws, postgres):
    """It accepts logins by itself from then on."""
    postgres.start()
    postgres.wait()
    with PgBouncer(postgres, USER, SECRET, "shop") as pooler:
        ready(agent, plain(pooler, aws, tls="disable"))
        postgres.stop()
        running = agent.start_boot(plain(pooler, aws, tls="disable", timeout="100s"))
        waits(agent, running, "to take logins")
        postgres.start()
        result = running.wait()
        assert result.code == DONE and result.outcomes()["databases.main"] == "changed", (result, pooler.log())


def test_a_pooler_with_another_password_is_told_from_one_that_waits(agent, aws, postgres):
    postgres.start()
    postgres.wait()
    with PgBouncer(postgres, USER, "another", "shop") as pooler:
        fails(agent, plain(pooler, aws, tls="disable"), "refused user name and password")


# Rotation.


def set_password(server, password: str) -> None:
    if server.engine == "postgres":
        server.run(f"ALTER ROLE shop PASSWORD '{password}'")
    else:
        server.run(f"ALTER USER 'shop'@'%' IDENTIFIED BY '{password}'")


OFFERED = "{{databases.main.username}} {{databases.main.password}} {{default databases.main.dbname \"none\"}}"


@pytest.mark.parametrize("source", ["secrets_manager", "parameters_under"])
def test_a_password_that_is_being_rotated_is_read_again(agent, aws, server, source):
    text = plain(server, aws, timeout="110s", files={"/etc/db": {"content": OFFERED}})
    if source == "parameters_under":
        aws.tree("/db", CREDENTIALS)
        text = text.replace('{"secrets_manager": "db"}', '{"parameters_under": "/db"}')
        assert "/db" in text
    set_password(server, "rotated")
    running = agent.start_boot(text)
    waits(agent, running, "in case of a rotation")
    aws.secret("db", {**CREDENTIALS, "password": "rotated"})
    aws.tree("/db", {**CREDENTIALS, "password": "rotated"})
    result = running.wait()
    assert result.code == DONE and agent.read("/etc/db") == "shop rotated shop", result
    assert agent.leaks(result, [SECRET, "rotated"]) == [], result
    assert aws.count("GetSecretValue" if source == "secrets_manager" else "GetParametersByPath") == 2


def test_a_server_that_gets_its_rotated_password_late_is_waited_for(agent, aws, server):
    set_password(server, "not yet")
    running = agent.start_boot(plain(server, aws, timeout="110s", credentials={**CREDENTIALS, "password": "rotated"}))
    waits(agent, running, "in case of a rotation")
    set_password(server, "rotated")
    result = running.wait()
    assert result.code == DONE and aws.count("GetSecretValue") == 1, result


def test_a_file_with_a_password_that_was_rotated_meanwhile_fails_the_boot(agent, aws, server):
    set_password(server, "rotated")
    text = plain(server, aws, timeout="110s", files={"/etc/old": {"content": "{{secrets.db.password}}"}})
    running = agent.start_boot(text)
    waits(agent, running, "in case of a rotation")
    aws.secret("db", {**CREDENTIALS, "password": "rotated"})
    result = running.wait()
    assert result.code == FAILED and "files./etc/old already used its old value" in result.failure("databases.main"), result
    assert agent.boot(text).code == DONE and agent.read("/etc/old") == "rotated"


def test_a_password_in_the_clear_is_for_verified_servers_only(agent, aws, postgres):
    postgres.hba("host all shop 127.0.0.1/32 password", "host all harness 127.0.0.1/32 scram-sha-256")
    ca = postgres.encrypt_and_start(name="localhost")
    for tls in ("disable", "prefer", "require"):
        fails(agent, plain(postgres, aws, host="localhost", tls=tls), "in a form that it can read", "tls: verify")
    agent.write("/etc/ssl/db.pem", ca.read_text())
    ready(agent, plain(postgres, aws, host="localhost", tls="verify", ca="/etc/ssl/db.pem"))
