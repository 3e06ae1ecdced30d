"""Databases that change while a boot asks: a pooler whose database comes and goes, a password that is being rotated."""

import pytest
from harness.agent import DONE, FAILED
from harness.aws.login import CREDENTIALS, KINDS, SECRET, USER, fails, plain, ready, started, waits
from harness.host.databases import PgBouncer


@pytest.fixture(params=KINDS)
def server(request):
    """A server that takes logins."""
    with started(KINDS[request.param]) as server:
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
        waits(agent, running, "to accept logins (", "database behind it")
        postgres.start()
        result = running.wait()
        assert result.code == DONE and result.outcomes()["databases.main"] == "changed", (result, pooler.log())


def test_a_pooler_with_another_password_is_told_from_one_that_waits(agent, aws, postgres):
    postgres.start()
    postgres.wait()
    with PgBouncer(postgres, USER, "another", "shop") as pooler:
        fails(agent, plain(pooler, aws, tls="disable"), "refused the user name and password")


# Rotation.


def set_password(server, password: str) -> None:
    if server.engine == "postgres":
        server.run(f"ALTER ROLE shop PASSWORD '{password}'")
    else:
        server.run(f"ALTER USER 'shop'@'%' IDENTIFIED BY '{password}'")


OFFERED = "{{databases.main.username}} {{databases.main.password}} {{default databases.main.dbname \"none\"}}"


def rotated_before_the_login(agent, aws, server, text: str):
    """Boots; the password is rotated after its secret was read, and before the server accepts connections."""
    set_password(server, "rotated")
    server.stop()
    running = agent.start_boot(text)
    waits(agent, running, "refuses connections")
    for name, value in {**CREDENTIALS, "password": "rotated"}.items():
        aws.parameter(f"/db/{name}", value)
    aws.secret("db", {**CREDENTIALS, "password": "rotated"})
    server.start()
    return running.wait()


@pytest.mark.parametrize("source", ["secrets_manager", "parameters_under"])
def test_a_password_that_is_being_rotated_is_read_again(agent, aws, server, source):
    text = plain(server, aws, timeout="110s", files={"/etc/db": {"content": OFFERED}})
    if source == "parameters_under":
        aws.tree("/db", CREDENTIALS)
        text = text.replace('"secrets_manager": "db"', '"parameters_under": "/db"')
    result = rotated_before_the_login(agent, aws, server, text)
    assert result.code == DONE, result.stderr
    assert agent.read("/etc/db") == "shop rotated shop" and agent.mode("/etc/db") == "0600"
    assert agent.leaks(result, [SECRET, "rotated"]) == [], result
    assert aws.count("GetSecretValue" if source == "secrets_manager" else "GetParametersByPath") == 2


def test_a_file_with_a_password_that_was_rotated_meanwhile_fails_the_boot(agent, aws, server):
    text = plain(server, aws, timeout="110s", files={"/etc/old": {"content": "{{secrets.db.password}}"}})
    result = rotated_before_the_login(agent, aws, server, text)
    assert result.code == FAILED and "files./etc/old already used its old value" in result.failure("databases.main"), result.stderr
    assert agent.boot(text).code == DONE and agent.read("/etc/old") == "rotated"
