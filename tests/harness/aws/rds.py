"""What RDS does with databases and moto does not: states that take their time, an endpoint where a server is.

`Rds` changes moto's own classes, in the process of `proxy.py`:

    endpoint    of every database is `host` and `port`, where a server of the test's own listens; for `hidden` seconds
                after a restore there is none, and the state is `creating`
    status      is `status`, if a test says so
    password    ModifyDBInstance and ModifyDBCluster really set it, as `admin`, in that server, `password_after` seconds
                later; for `busy` seconds after a restore they are refused
    managed     where RDS is to manage the password, it gets the one of its secret in the same way
    races       of two restores of one cluster the second is refused, as RDS does
"""

import json
import threading
import time

from moto.rds import models
from moto.rds.exceptions import RDSClientError

DEFAULTS = {
    "host": "127.0.0.1",
    "port": None,  # None: moto's own endpoint, which is nowhere
    "hidden": 0,
    "status": None,
    "busy": 0,
    "admin": None,  # {"engine", "user", "password"} of a superuser of the server
    "password_after": 0,
}

# The password that RDS makes for a master user.
MANAGED = "made by RDS: '\\\"x"


class Rds:
    """One for a process. `settings` are `DEFAULTS` and what a test changes of them."""

    def __init__(self, account: str, region: str):
        self.backend = models.rds_backends[account][region]
        self.made: dict[str, float] = {}
        self.forget()
        self.install()

    def forget(self) -> None:
        self.settings = dict(DEFAULTS)
        self.made.clear()

    def configure(self, settings: dict) -> None:
        unknown = settings.keys() - DEFAULTS.keys()
        assert not unknown, f"no such settings: {unknown}"
        self.settings = {**DEFAULTS, **settings}

    def age(self, name: str) -> float:
        return time.monotonic() - self.made.get(name, 0)

    def hides(self, name: str) -> bool:
        return name in self.made and self.age(name) < self.settings["hidden"]

    def install(self) -> None:
        rds = self
        for model, name in ((models.DBInstance, "db_instance_identifier"), (models.DBCluster, "db_cluster_identifier")):
            self.give_status(model, name)
        instance, cluster = models.DBInstance, models.DBCluster
        instance_endpoint, cluster_endpoint = instance.endpoint.fget, cluster.endpoint.fget

        def endpoint_of_instance(database):
            if rds.hides(database.db_instance_identifier):
                return None
            if rds.settings["port"] is None:
                return instance_endpoint(database)
            return {"Address": rds.settings["host"], "Port": rds.settings["port"]}

        def endpoint_of_cluster(database):
            if rds.hides(database.db_cluster_identifier):
                return None
            return rds.settings["host"] if rds.settings["port"] else cluster_endpoint(database)

        instance.endpoint = property(endpoint_of_instance)
        cluster.endpoint = property(endpoint_of_cluster)
        cluster.port = property(
            lambda database: rds.settings["port"] or vars(database).get("port"),
            lambda database, port: vars(database).__setitem__("port", port),
        )
        backend = type(self.backend)
        for name in ("restore_db_instance_from_db_snapshot", "restore_db_cluster_from_snapshot"):
            self.note(backend, name)
        models.MasterUserSecret._generate_secret_string = lambda secret: json.dumps(
            {"username": secret.resource.master_username, "password": MANAGED}
        )
        for name in ("modify_db_instance", "modify_db_cluster"):
            self.really_modify(backend, name)

    def give_status(self, model, name: str) -> None:
        rds, before = self, model.__dict__.get("status")

        def status(database):
            if rds.hides(getattr(database, name)):
                return "creating"
            return rds.settings["status"] or (before.fget(database) if before else vars(database)["status"])

        def set_status(database, value):
            before.fset(database, value) if before else vars(database).__setitem__("status", value)

        model.status = property(status, set_status)

    def note(self, backend, name: str) -> None:
        rds, original = self, getattr(backend, name)

        def restore(self, from_snapshot_id, overrides):
            id = overrides.get("db_instance_identifier") or overrides["db_cluster_identifier"]
            if id in self.clusters:
                raise RDSClientError("DBClusterAlreadyExistsFault", "DB Cluster already exists")
            made = original(self, from_snapshot_id, overrides)
            rds.made[id] = time.monotonic()
            return made

        setattr(backend, name, restore)

    def really_modify(self, backend, name: str) -> None:
        rds, original = self, getattr(backend, name)

        def modify(self, *arguments):
            fields = arguments[-1]
            id = fields.get("db_instance_identifier") or fields["db_cluster_identifier"]
            if rds.age(id) < rds.settings["busy"] or rds.hides(id):
                code = "InvalidDBInstanceState" if "db_instance_identifier" in fields else "InvalidDBClusterStateFault"
                raise RDSClientError(code, f"Instance {id} is not in available state.")
            managed = fields.get("manage_master_user_password")
            done = original(self, *arguments)
            password = MANAGED if managed else fields.get("master_user_password")
            if password and rds.settings["admin"]:
                asked = (dict(rds.settings), done.master_username, password)
                threading.Timer(rds.settings["password_after"], set_password, asked).start()
            return done

        setattr(backend, name, modify)


def set_password(settings: dict, user: str, password: str) -> None:
    """As the server's superuser."""
    admin, place = settings["admin"], {"host": settings["host"], "port": settings["port"]}
    quoted = password.replace("'", "''")
    if admin["engine"] == "postgres":
        import pg8000.native

        connection = pg8000.native.Connection(admin["user"], password=admin["password"], database="postgres", **place)
        connection.run(f"ALTER ROLE \"{user}\" PASSWORD '{quoted}'")
        connection.close()
    else:
        import pymysql

        quoted = quoted.replace("\\", "\\\\")
        with pymysql.connect(user=admin["user"], password=admin["password"], **place) as connection:
            connection.cursor().execute(f"ALTER USER '{user}'@'%' IDENTIFIED BY '{quoted}'")
