#!/usr/bin/env python3
"""From the moment a database takes logins to the moment ingot knows it, while it has been waiting for it.

    .venv/bin/python tests/bench/database_wait.py [-n REPETITIONS] [--kind postgres|mysql]

The server is started while ingot waits. When it takes logins is known from a client that logs in again and again without a
pause and, of PostgreSQL, from the server's own log, whichever is earlier; when ingot knows it, from the line that says that
the step has ended. *standby* is a PostgreSQL that answers "starting up" until it is promoted. Prints a Markdown table.
"""

import argparse
import re
import statistics
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import DONE, Agent, binary, document  # noqa: E402
from harness.aws.account import Aws  # noqa: E402
from harness.aws.imds import Imds  # noqa: E402
from harness.host.databases import MariaDb, Postgres  # noqa: E402

READY = re.compile(r"^(\S+ \S+) (\S+) .*database system is ready to accept (?!read-only)connections", re.M)
USER, SECRET = "shop", "hunter2"


class Client(threading.Thread):
    """Logs in until that is taken. `at`: when it was."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.at = server, None

    def run(self) -> None:
        while True:
            try:
                self.server.connect(USER, SECRET, "shop").close()
                self.at = time.time()
                return
            except Exception:
                time.sleep(0.002)


def once(server, agent: Agent, standby: bool) -> float:
    if standby:
        server.start(standby=True)
    fields = {"host": "127.0.0.1", "port": server.port, "engine": server.engine, "credentials": "secrets.db"}
    running = agent.start_boot(document(secrets={"db": {"secrets_manager": "db"}}, databases={"main": fields}))
    known = []

    def watch() -> None:
        running.wait_for_line(r"^databases\.main: changed in", 120)
        known.append(time.time())

    watcher, client = threading.Thread(target=watch), Client(server)
    watcher.start()
    client.start()
    time.sleep(2.03 + time.time() % 0.1)
    logged = len(server.log()) if (server.directory / "log").exists() else 0
    server.promote() if standby else server.start()
    watcher.join()
    client.join()
    result = running.wait()
    assert result.code == DONE, result
    begun = client.at
    if server.engine == "postgres" and (line := READY.search(server.log(), logged)):
        zone = {"UTC": "+0000"}.get(line[2], line[2])
        begun = min(begun, datetime.strptime(f"{line[1]} {zone}", "%Y-%m-%d %H:%M:%S.%f %z").timestamp())
    server.stop()
    return known[0] - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=20, help="repetitions")
    parser.add_argument("--kind", choices=["postgres", "standby", "mysql"], action="append")
    arguments = parser.parse_args()
    print(f"{binary()}\n\n| server | median | 90 % | most | (ms, of {arguments.n}) |\n|---|---|---|---|---|")
    with Aws() as aws, Imds() as imds, tempfile.TemporaryDirectory() as directory:
        aws.secret("db", {"username": USER, "password": SECRET, "dbname": "shop"})
        for kind in arguments.kind or ["postgres", "standby", "mysql"]:
            with (MariaDb if kind == "mysql" else Postgres)() as server:
                server.start()
                server.wait()
                server.user(USER, SECRET, database="shop")
                server.stop()
                took = []
                for number in range(arguments.n):
                    place = Path(directory) / f"{kind}-{number}"
                    place.mkdir()
                    took.append(once(server, Agent(place, {**imds.env, **aws.env}), kind == "standby") * 1000)
                took.sort()
                last = took[min(len(took) - 1, len(took) * 9 // 10)]
                print(f"| {kind} | {statistics.median(took):.0f} | {last:.0f} | {took[-1]:.0f} | |", flush=True)


if __name__ == "__main__":
    main()
