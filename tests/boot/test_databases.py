"""Databases that are really there: PostgreSQL and MariaDB, in every state in which a boot may find them."""

import contextlib
import socket
import threading
import time

import pytest
from harness.agent import BAD_DOCUMENT, DONE, document
from harness.aws.login import CREDENTIALS, KINDS, SECRET, USER, fails, plain, ready, started, waits
from harness.host.databases import MariaDb, Postgres
from harness.tls import Authority

@pytest.fixture(params=KINDS)
def server(request):
    """A server that has been set up and is stopped."""
    with started(KINDS[request.param]) as server:
        server.stop()
        yield server


@pytest.fixture
def mariadb():
    with started(MariaDb) as server:
        server.stop()
        yield server


# Servers that are there.


def test_a_database_that_takes_logins_changes_nothing(agent, aws, server):
    server.start()
    server.wait()
    assert ready(agent, plain(server, aws))["databases.main"] == "unchanged"


def test_a_database_that_is_not_there_yet_is_waited_for(agent, aws, server):
    running = agent.start_boot(plain(server, aws))
    waits(agent, running, f"for 127.0.0.1:{server.port} to accept logins", "refuses connections")
    server.start()
    result = running.wait()
    assert result.code == DONE and result.outcomes()["databases.main"] == "changed", result
    assert result.step("databases.main")["changes"] == [f"wait until 127.0.0.1:{server.port} accepts logins"]


def test_without_credentials_the_handshake_is_enough(agent, aws, server):
    server.start()
    server.wait()
    assert ready(agent, plain(server, aws, credentials=None))["databases.main"] == "unchanged"


def test_outputs_say_where_it_is(agent, aws, server):
    server.start()
    server.wait()
    content = "{{databases.main.endpoint}} {{databases.main.port}} {{databases.main.engine}} {{databases.main.version}}"
    ready(agent, plain(server, aws, files={"/etc/db": {"content": content}}))
    host, port, engine, version = agent.read("/etc/db").split()
    assert (host, port, engine) == ("127.0.0.1", str(server.port), server.engine)
    assert version.startswith("15." if server.engine == "postgres" else "10.11.")


def test_a_wrong_password_is_read_once_more_and_never_shown(agent, aws, server):
    server.start()
    server.wait()
    wrong = {**CREDENTIALS, "password": SECRET + "!"}
    begun = time.monotonic()
    why = fails(agent, plain(server, aws, credentials=wrong, timeout="110s"), "refused the user name and password", "correct the user name")
    assert time.monotonic() - begun < 100 and USER not in why
    assert "read again, secrets.db has the same password" in why and aws.count("GetSecretValue") == 2


def test_a_database_that_the_server_has_not(agent, aws, server):
    server.start()
    server.wait()
    # MariaDB says to who may not use a database no more than that.
    said = {"postgres": "has no such database", "mysql": "does not allow this user to log in"}[server.engine]
    fails(agent, plain(server, aws, credentials={**CREDENTIALS, "dbname": "shopp"}), said)


def test_credentials_without_a_database_log_in_all_the_same(agent, aws, server):
    server.start()
    server.wait()
    ready(agent, plain(server, aws, credentials={"username": USER, "password": SECRET}))


def test_a_server_that_never_comes_is_named_with_what_it_said(agent, aws, server):
    fails(agent, plain(server, aws, timeout="3s"), "waited", "refuses connections", "check that the server is running")


@pytest.mark.parametrize("credentials", [None, CREDENTIALS, {**CREDENTIALS, "dbname": ""}])
def test_the_version_is_known_to_whoever_may_know_it(agent, aws, server, credentials):
    server.start()
    server.wait()
    content = '{{default databases.main.version "none"}}'
    ready(agent, plain(server, aws, credentials=credentials, files={"/etc/version": {"content": content}}))
    version = agent.read("/etc/version")
    if credentials is None and server.engine == "postgres":
        assert version == "none"
    else:
        assert version.startswith("15." if server.engine == "postgres" else "10.11."), version


def test_a_host_that_can_never_be_one_is_final(agent, aws, server):
    for host in ("127.0.0.1:5432", "db.invalid", "db..internal"):
        result = agent.boot(plain(server, aws, host=host, timeout="100s"))
        assert result.code == BAD_DOCUMENT and "host" in result.stderr, result
    for host, said in (("127.0.0.1:5432", "add `port: 5432`"), ("", "is empty"), ("db.invalid", "never resolve")):
        database = {"host": "{{values.db}}", "engine": server.engine, "timeout": "100s"}
        fails(agent, document(values={"db": host}, databases={"main": database}), "host", said)


def test_a_secret_that_is_no_credentials(agent, aws, server):
    for secret, why in (
        ("just text", "not a JSON object"),
        ({"password": "p"}, "no `username`"),
        ({"username": ["shop"], "password": "p"}, "`username`"),
    ):
        fails(agent, plain(server, aws, credentials=secret), why, "write it in the format of RDS")


# TLS.


def test_a_private_authority_is_verified(agent, aws, server):
    ca = server.encrypt_and_start(name="localhost")
    agent.write("/etc/ssl/db.pem", ca.read_text())
    ready(agent, plain(server, aws, host="localhost", tls="verify", ca="/etc/ssl/db.pem"))
    agent.write("/etc/ingot/rds-ca.pem", ca.read_text())
    ready(agent, plain(server, aws, host="localhost", tls="verify"))


def test_the_authorities_of_rds_are_trusted_in_addition_to_the_systems(agent, aws, server):
    """An RDS Proxy has a certificate of a public authority."""
    ca, other = server.encrypt_and_start(name="localhost").read_text(), Authority().write(agent.path("/other.pem")).read_text()
    agent.write("/etc/ingot/rds-ca.pem", other)
    text = plain(server, aws, host="localhost", tls="verify")
    fails(agent, text, "not trusted by /etc/ingot/rds-ca.pem or ", "an unknown certificate authority issued it")
    agent.write("/etc/ssl/certs/ca-certificates.crt", ca)
    ready(agent, text)
    agent.write("/etc/ssl/certs/ca-certificates.crt", other)
    agent.write("/etc/ingot/rds-ca.pem", ca)
    ready(agent, text)


def test_a_certificate_that_nobody_vouches_for(agent, aws, server):
    server.encrypt_and_start(name="localhost")
    fails(agent, plain(server, aws, host="localhost", tls="verify"), "not trusted", "an unknown certificate authority issued it", "/etc/ingot/rds-ca.pem")
    for tls in ("require", "prefer"):
        ready(agent, plain(server, aws, host="localhost", tls=tls))


def test_a_certificate_of_another_name(agent, aws, server):
    ca = server.encrypt_and_start(name="db.example.com")
    agent.write("/etc/ssl/db.pem", ca.read_text())
    fails(agent, plain(server, aws, host="localhost", tls="verify", ca="/etc/ssl/db.pem"), "not trusted", "for another name")


def test_a_server_without_tls(agent, aws, server):
    server.start("--skip-ssl") if server.engine == "mysql" else server.start()
    server.wait()
    for tls in ("require", "verify"):
        fails(agent, plain(server, aws, tls=tls), "does not offer TLS")
    for tls in ("prefer", "disable"):
        ready(agent, plain(server, aws, tls=tls))


def test_a_ca_that_is_not_there(agent, aws, server):
    server.encrypt_and_start()
    fails(agent, plain(server, aws, tls="verify", ca="/etc/none.pem"), "/etc/none.pem", "does not exist")


# PostgreSQL's own.


def test_a_postgres_that_recovers_is_waited_for(agent, aws, postgres):
    postgres.start(standby=True)
    running = agent.start_boot(plain(postgres, aws))
    waits(agent, running, "starting up", "57P03")
    postgres.promote()
    assert running.wait().code == DONE


def test_a_postgres_with_too_many_connections_is_waited_for(agent, aws, postgres):
    postgres.start("max_connections=5", "superuser_reserved_connections=3")
    postgres.wait()
    held = [postgres.connect(USER, SECRET, "shop") for _ in range(2)]
    running = agent.start_boot(plain(postgres, aws))
    waits(agent, running, "too many connections", "53300")
    [connection.close() for connection in held]
    assert running.wait().code == DONE


def test_a_postgres_that_wants_tls(agent, aws, postgres):
    postgres.hba("hostssl all all 127.0.0.1/32 scram-sha-256")
    postgres.encrypt(name="localhost")
    postgres.start()
    postgres.wait()
    fails(agent, plain(postgres, aws, tls="disable"), "only encrypted connections", "tls: require")


def test_a_postgres_that_does_not_let_us_in(agent, aws, postgres):
    postgres.hba("host all harness 127.0.0.1/32 scram-sha-256")
    postgres.start()
    postgres.wait()
    fails(agent, plain(postgres, aws, tls="disable"), "28000")


@pytest.mark.parametrize(("method", "said"), [("md5", "an MD5 hash of the password"), ("trust", "without asking for the password")])
def test_logins_that_prove_nothing_are_for_verified_servers_only(agent, aws, postgres, method, said):
    if method == "md5":
        postgres.start("password_encryption=md5")
        postgres.wait()
        postgres.run(f"ALTER ROLE shop PASSWORD '{SECRET.replace(chr(39), chr(39) * 2)}'")
        postgres.stop()
    postgres.hba(f"host all shop 127.0.0.1/32 {method}", "host all harness 127.0.0.1/32 scram-sha-256")
    ca = postgres.encrypt_and_start(name="localhost")
    for tls in ("disable", "prefer", "require"):
        fails(agent, plain(postgres, aws, host="localhost", tls=tls), said, "not verified", "tls: verify")
    agent.write("/etc/ssl/db.pem", ca.read_text())
    ready(agent, plain(postgres, aws, host="localhost", tls="verify", ca="/etc/ssl/db.pem"))


def test_a_postgres_without_the_database_of_all_is_asked_in_another(agent, aws, postgres):
    postgres.start()
    postgres.wait()
    postgres.run("CREATE DATABASE other")
    with contextlib.closing(postgres.connect(database="other")) as connection:
        connection.run("DROP DATABASE postgres")
    ready(agent, plain(postgres, aws, credentials={"username": USER, "password": SECRET, "dbname": ""}))


# MariaDB's own.


def test_a_mariadb_with_too_many_connections_is_waited_for(agent, aws, mariadb):
    mariadb.start("--max-connections=10")
    mariadb.wait()
    held = []
    with contextlib.suppress(Exception):
        while True:
            held.append(mariadb.connect(USER, SECRET))
    running = agent.start_boot(plain(mariadb, aws))
    waits(agent, running, "too many connections", "1040")
    [connection.close() for connection in held]
    assert running.wait().code == DONE


def test_a_mariadb_that_wants_tls(agent, aws, mariadb):
    mariadb.encrypt_and_start(name="localhost")
    mariadb.run("SET GLOBAL require_secure_transport=ON")
    fails(agent, plain(mariadb, aws, tls="disable"), "1045", "tls: require")


def test_a_mariadb_that_does_not_let_this_host_in(agent, aws, mariadb):
    mariadb.start()
    mariadb.wait()
    mariadb.run("RENAME USER 'shop'@'%' TO 'shop'@'10.0.0.1'", "RENAME USER 'harness'@'%' TO 'harness'@'10.0.0.1'", "FLUSH PRIVILEGES")
    fails(agent, plain(mariadb, aws), "127.0.0.1")


# Whoever else may answer.


def speaker(first: bytes, *, wait_for_request: bool = False) -> int:
    """A server that says just this."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                if wait_for_request:
                    connection.recv(1024)
                connection.sendall(first)
                connection.recv(1024)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("kind", "first", "wait_for_request", "said"),
    [
        (Postgres, b"HTTP/1.1 400 Bad Request\r\n\r\n", True, "HTTP"),
        (Postgres, b"SSH-2.0-OpenSSH_9.2\r\n", False, "SSH"),
        (Postgres, b"J\x00\x00\x00\x0a10.11.6-MariaDB\x00", False, "MySQL"),
        (MariaDb, b"HTTP/1.1 408 Request Timeout\r\n\r\n", False, "HTTP"),
        (MariaDb, b"SSH-2.0-OpenSSH_9.2\r\n", False, "SSH"),
    ],
)
def test_a_server_of_something_else_is_named(agent, aws, kind, first, wait_for_request, said):
    port = speaker(first, wait_for_request=wait_for_request)
    fails(agent, plain(kind, aws, port=port), "does not speak the protocol", said, "correct `port:`")
