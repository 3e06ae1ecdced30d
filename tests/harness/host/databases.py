"""Real database servers on loopback: PostgreSQL, MariaDB and PgBouncer of Debian's packages, never the system's own.

    with Postgres() as server:
        server.start()
        server.user("shop", "hunter2", database="shop")
        server.stop()

Each has a directory of its own below /tmp, a free port, and runs as the user of its package. `start` does not wait; a
database that is standing by (`standby=True`) answers "the database system is not accepting connections" until `promote`.
"""

import atexit
import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from harness import tls
from harness.agent import PATIENCE
from harness.wire import free_port

ADMIN, PASSWORD = "harness", "harness's own"


def missing() -> str | None:
    """What is not installed."""
    programs = {
        "postgresql": Postgres.programs() / "initdb",
        "mariadb-server": Path("/usr/bin/mariadb-install-db"),
        "pgbouncer": PgBouncer.program,
    }
    lacking = [package for package, program in programs.items() if not program.exists()]
    return f"not installed: {', '.join(lacking)}" if lacking else None


class Server:
    """What the two have in common. A session makes one directory of each, and copies it."""

    user_of_package: str
    engine: str
    made: dict[type, Path] = {}
    making = threading.Lock()

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="ingot-db-"))
        self.port = free_port()
        self.process = None
        self.encrypted = False
        with self.making:
            if type(self) not in self.made:
                original = Path(tempfile.mkdtemp(prefix="ingot-db-original-"))
                atexit.register(shutil.rmtree, original, ignore_errors=True)
                shutil.chown(original, self.user_of_package)
                self.initialise(original / "data")
                self.made[type(self)] = original
        shutil.copytree(self.made[type(self)] / "data", self.directory / "data", symlinks=True)
        self.own()

    def own(self) -> None:
        subprocess.run(["chown", "-R", self.user_of_package, str(self.directory)], check=True)
        os.chmod(self.directory / "data", 0o700)

    def as_user(self, *command: str, **more) -> subprocess.Popen:
        user = self.user_of_package
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--pdeathsig=KILL"]
        log = (self.directory / "log").open("ab")
        return subprocess.Popen([*become, *command], stdout=log, stderr=log, cwd="/", **more)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill() if self.process.poll() is None and not self.shut_down() else None
            self.process.wait(30)
            self.process = None

    def shut_down(self) -> bool:
        """Asks it to end, cleanly and at once. Whether it did."""
        self.process.send_signal(self.fast)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            return False
        return True

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def wait(self, seconds: float = PATIENCE) -> None:
        """Until it takes a login."""
        end = time.monotonic() + seconds
        while True:
            try:
                with contextlib.closing(self.connect()):
                    return
            except Exception:
                assert time.monotonic() < end and self.process.poll() is None, self.log()
                time.sleep(0.05)

    def takes(self, username: str, password: str, dbname: str) -> bool:
        """Whether this login is one."""
        try:
            self.connect(username, password, dbname).close()
        except Exception:
            return False
        return True

    def run(self, *statements: str) -> None:
        raise NotImplementedError

    def encrypt(self, *, name: str = "localhost") -> Path:
        """From the next start on it has a certificate for `name`. The private authority's own, in PEM."""
        authority, self.encrypted = tls.Authority(), True
        for file, content in zip(("server.pem", "server.key"), authority.issue(name)):
            (self.directory / file).write_bytes(content)
        (self.directory / "server.key").chmod(0o600)
        self.own()
        return authority.write(self.directory / "ca.pem")

    def encrypt_and_start(self, **more) -> Path:
        ca = self.encrypt(**more)
        self.start()
        self.wait()
        return ca


class Postgres(Server):
    user_of_package, engine = "postgres", "postgres"
    fast = 2  # SIGINT: a fast shutdown

    @staticmethod
    def programs() -> Path:
        return max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/none"))

    def initialise(self, data: Path) -> None:
        secret = data.parent / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        command = [str(self.programs() / "initdb"), "-D", str(data), "-U", ADMIN, "--pwfile", str(secret), "--no-sync"]
        subprocess.run(
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command, "-A", "scram-sha-256", "-E", "UTF8"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip

    def start(self, *settings: str, standby: bool = False) -> None:
        options = [
            "listen_addresses=127.0.0.1", f"unix_socket_directories={self.directory}", "fsync=off",
            "log_line_prefix=%m ", *settings,
        ]  # fmt: skip
        if standby:
            (self.directory / "data/standby.signal").touch()
            self.own()
            options.append("hot_standby=off")
        if self.encrypted:
            options += ["ssl=on", f"ssl_cert_file={self.directory}/server.pem", f"ssl_key_file={self.directory}/server.key"]
        command = [str(self.programs() / "postgres"), "-D", str(self.directory / "data"), "-p", str(self.port)]
        self.process = self.as_user(*command, *[word for option in options for word in ("-c", option)])

    def promote(self) -> None:
        """A standby becomes what takes logins."""
        (self.directory / "data/promote").touch()
        self.process.send_signal(10)  # SIGUSR1

    def hba(self, *lines: str) -> None:
        """Who may log in how, from the next start on: lines of pg_hba.conf."""
        (self.directory / "data/pg_hba.conf").write_text("".join(f"{line}\n" for line in lines))
        self.own()

    def connect(self, user: str = ADMIN, password: str = PASSWORD, database: str = "postgres"):
        import pg8000.native

        return pg8000.native.Connection(
            user, password=password, host="127.0.0.1", port=self.port, database=database, timeout=5,
            ssl_context=tls.credulous() if self.encrypted else None,
        )  # fmt: skip

    def run(self, *statements: str) -> None:
        with contextlib.closing(self.connect()) as connection:
            for statement in statements:
                connection.run(statement)

    def user(self, name: str, password: str, database: str | None = None) -> None:
        quoted = password.replace("'", "''")
        self.run(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{quoted}'")
        if database:
            self.run(f'CREATE DATABASE "{database}" OWNER "{name}"')


class MariaDb(Server):
    user_of_package, engine = "mysql", "mysql"
    fast = 15  # SIGTERM

    def initialise(self, data: Path) -> None:
        command = ["mariadb-install-db", f"--datadir={data}", "--no-defaults", "--auth-root-authentication-method=normal"]
        become = ["setpriv", "--reuid=mysql", "--regid=mysql", "--init-groups"]
        done = subprocess.run([*become, *command], capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done
        statements = (
            "USE mysql",
            "FLUSH PRIVILEGES",
            f"CREATE USER '{ADMIN}'@'%' IDENTIFIED BY '{PASSWORD.replace(chr(39), chr(39) * 2)}'",
            f"GRANT ALL ON *.* TO '{ADMIN}'@'%' WITH GRANT OPTION",
            # Nobody's users would go before anybody's from everywhere.
            "DELETE FROM global_priv WHERE User = ''",
        )
        bootstrap = "".join(f"{statement};\n" for statement in statements)
        command = ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", "--bootstrap"]
        done = subprocess.run([*become, *command], input=bootstrap, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done

    def start(self, *settings: str) -> None:
        options = [
            f"--datadir={self.directory}/data", f"--port={self.port}", "--bind-address=127.0.0.1",
            f"--socket={self.directory}/socket", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
            f"--pid-file={self.directory}/pid", *settings,
        ]  # fmt: skip
        if self.encrypted:
            options += [f"--ssl-cert={self.directory}/server.pem", f"--ssl-key={self.directory}/server.key"]
        self.process = self.as_user("/usr/sbin/mariadbd", "--no-defaults", *options)

    def connect(self, user: str = ADMIN, password: str = PASSWORD, database: str | None = None):
        import pymysql

        return pymysql.connect(
            user=user, password=password, host="127.0.0.1", port=self.port, database=database, connect_timeout=5,
            ssl=tls.credulous() if self.encrypted else None,
        )  # fmt: skip

    def run(self, *statements: str) -> None:
        with contextlib.closing(self.connect()) as connection:
            for statement in statements:
                connection.cursor().execute(statement)

    def user(self, name: str, password: str, database: str | None = None) -> None:
        quoted = password.replace("\\", "\\\\").replace("'", "''")
        self.run(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{quoted}'")
        if database:
            self.run(f"CREATE DATABASE `{database}`", f"GRANT ALL ON `{database}`.* TO '{name}'@'%'")


class PgBouncer:
    """A pooler before a PostgreSQL. It asks for the password of `user` by itself, and tries its database every second."""

    engine, program = "postgres", Path("/usr/sbin/pgbouncer")

    def __init__(self, server: Postgres, user: str, password: str, database: str):
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="ingot-pooler-"))
        doubled = password.replace('"', '""')
        (self.directory / "users").write_text(f'"{user}" "{doubled}"\n')
        (self.directory / "ini").write_text(
            f"[databases]\n{database} = host=127.0.0.1 port={server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {self.directory}/users\nserver_login_retry = 1\n"
        )
        subprocess.run(["chown", "-R", "postgres", str(self.directory)], check=True)

    def __enter__(self):
        become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=KILL"]
        log = (self.directory / "log").open("wb")
        self.process = subprocess.Popen([*become, str(self.program), str(self.directory / "ini")], stdout=log, stderr=log, cwd="/")
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")
