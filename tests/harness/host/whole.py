"""A whole machine that is a directory: every call to AWS and every read of IMDS that a document can ask for, with a disk
that comes when EC2 attaches its volume, and a PostgreSQL where RDS says that the restored database is.

    with Whole() as place:
        machine = place.machine(tmp_path)
        assert machine.go().code == DONE
        assert machine.lasting()["events"] == ["attach"]

    machine.use(RELEASES)  # another document: a large release of S3, by ranges, and one of a plain server

Tests that try the same in many ways have several at once, each at a place of its own: see `Places.each`.

The disk is a loop device that says by sysfs, in a mount namespace of the place's own, which volume it is.
"""

import hashlib
import queue
import random
import re
import subprocess
import tempfile
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.agent import Agent, Result, document
from harness.aws import waiting
from harness.aws.account import INSTANCE, Aws
from harness.aws.imds import Imds
from harness.aws.proxy import REGION
from harness.aws.restore import TAGS
from harness.tls import Tls

from .archives import release
from .databases import ADMIN, Postgres
from .databases import PASSWORD as ADMINS
from .images import copy, small
from .loop import Disks

PASSWORD = "hunter2-correct-horse"
LOGIN = {"username": "shop", "password": "hunter3 'battery staple", "dbname": "shop"}
SECRETS = [PASSWORD, LOGIN["password"]]
BLOCK = Path("/sys/devices/virtual/block")
ARCHIVE = release("tar.gz")
DIGEST = hashlib.sha256(ARCHIVE).hexdigest()
WHOLE, RELEASES = DOCUMENTS = ("whole", "releases")
# Of two ranges.
LARGE = release("tar", {"data": random.Random(5).randbytes(3 << 20)})
TOOLS = release("zip", {"VERSION": b"1\n"})
# Words in the name of what is being made, or was found wrong.
UNFINISHED = re.compile(r"\.ingot-staged\.|\.json\.new|\.json\.bad")
OF_S3 = document(files={"/etc/app/of-s3": {"content": "from S3\n"}})
OF_SSM = document(files={"/etc/app/of-ssm": {"content": "from SSM\n"}})
INSTANCE_TAGS = {"role": "web", **waiting.TAGS}


def text(out: Path, held: bool = False) -> str:
    """The document. Its commands count their runs in `out`; where they are held, not before there is `out/over`."""
    first = f"until [ -e {out}/over ]; do sleep 0.1; done; " if held else ""
    count = lambda name: ["/bin/sh", "-c", f"{first}echo ran >> {out}/{name}"]  # noqa: E731
    return document(
        include=[{"s3": "s3://shop/base.yaml", "sha256": hashlib.sha256(OF_S3.encode()).hexdigest()}, "ssm:/shop/boot"],
        secrets={
            "login": {"secrets_manager": "prod/login"},
            "db": {"secrets_manager": "prod/db"},
            "session": {"secrets_manager": "prod/session"},
            "pinned": {"secrets_manager": "prod/db", "version_stage": "AWSCURRENT"},
            "token": {"parameter": "/prod/token"},
            "flags": {"parameters_under": "/prod/flags"},
        },
        volumes={
            "data": {
                "from": {"snapshot": {"newest_with_tags": TAGS}},
                "reuse": {"with_tags": TAGS},
                "filesystem": "ext4",
                "delete_on_termination": True,
            }
        },
        mounts={"/srv/data": {"device": "{{volumes.data.device}}"}},
        databases={
            "main": {
                "instance": "shop-prod",
                "restore_from": {"snapshot": {"newest_with_tags": TAGS}, "class": "db.m7g.large"},
                "credentials": "secrets.login",
            }
        },
        bundles={"app": {"parameter": "/shop/release", "sha256": DIGEST, "into": "/opt/shop"}},
        signals=waiting.SIGNALS,
        files={
            "/etc/app/database": {"content": "{{databases.main.endpoint}} {{databases.main.engine}}\n"},
            "/etc/app/release": {"content": "{{bundles.app.version}}\n"},
            "/etc/app/db.toml": {"content": "db = {{toml secrets.db.password}}\nsession = {{toml secrets.session}}\n"},
            "/etc/app/pinned.env": {"content": "PINNED={{env secrets.pinned.password}}\n"},
            "/etc/app/token.env": {"content": "TOKEN={{env secrets.token}}\n"},
            "/etc/app/flags.json": {"content": '{"a": {{json secrets.flags.a}}}'},
            "/etc/app/motd": {"content": "{{instance.id}} is {{instance.tags.role}}\n"},
        },
        credentials={"db": "{{secrets.db.password}}"},
        commands={
            "alone": {"run": count("alone")},
            "migrate": {"run": count("migrate"), "after": ["mounts./srv/data", "files./etc/app/db.toml"]},
        },
    )


def releases(server: str) -> str:
    """The other document. What S3 keeps of an object is asked for where no digest is given."""
    return document(
        bundles={
            "large": {"s3": "s3://shop/large-1.tar", "into": "/opt/large"},
            "tools": {"url": f"{server}/public/tools-1.zip", "sha256": hashlib.sha256(TOOLS).hexdigest(), "into": "/opt/tools"},
        }
    )


class Machine(Agent):
    """One machine of a place. Its disks come and go with the volumes that EC2 says are attached."""

    def __init__(self, directory: Path, place: "Whole"):
        authority = {"AWS_CA_BUNDLE": str(place.tls.certificate)}
        super().__init__(directory, {**place.imds.env, **place.aws.env, **authority}, inside=place.disks)
        self.place = place
        self.document = WHOLE
        self.directory = directory
        self.nodes: list[str] = []
        self.ended = threading.Event()
        self.unplugged: Exception | None = None
        place.imds.configure(user_data=text(directory), tags=INSTANCE_TAGS, lifecycle="InService", faults=[])
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self) -> None:
        seen = 0
        while not self.ended.is_set():
            for event in self.place.aws.events(after=seen, wait=0.2):
                seen += 1
                if event["event"] == "attach" and event["instance"] == INSTANCE:
                    try:
                        self.plug(event["volume"])
                    except Exception as error:
                        self.unplugged = error

    def plug(self, volume: str) -> None:
        disk = self.place.disks.attach(copy(self.place.image, self.directory / f"{volume}.img"))
        name = Path(disk.node).name
        real, own = BLOCK / name, self.directory / f"sys-{name}"
        for folder in ("holders", "loop"):
            (own / folder).mkdir(parents=True)
        for attribute in ("dev", "size", "ro", "loop/backing_file"):
            (own / attribute).write_text((real / attribute).read_text())
        (own / "serial").write_text(volume.replace("-", "") + "\n")
        self.place.disks.run("mount", "--bind", own, real)
        self.nodes.append(disk.node)
        # Whoever waits for a disk hears of it again.
        (real / "uevent").write_text("change\n")

    def close(self) -> None:
        """Pulls the plug."""
        self.ended.set()
        self.listener.join()
        disks = self.place.disks
        for at in [mounted.at for mounted in reversed(disks.mounts(self.root))]:
            disks.run("umount", "--lazy", at)
        for node in self.nodes:
            subprocess.run([*disks.prefix, "umount", BLOCK / Path(node).name], check=True)
            disks.detach(node)
        if self.unplugged:
            raise RuntimeError("the disk could not be plugged in") from self.unplugged

    def use(self, document: str, server: str | None = None) -> None:
        """Gives it one of DOCUMENTS, with another plain server if there is one."""
        self.document, before = document, self.document
        if document == RELEASES:
            if before != RELEASES:
                self.place.stock()
            server = server or f"https://127.0.0.1:{self.place.tls.port}"
            self.place.imds.configure(user_data=releases(server))

    def hold(self) -> None:
        """Gives it the document whose commands do not end before `release`."""
        self.place.imds.configure(user_data=text(self.directory, held=True))

    def release(self) -> None:
        (self.directory / "over").touch()

    def go(self, *args: str, **more) -> Result:
        """Boots by the user data that IMDS has."""
        return self.boot(None, *args, **more)

    def lasting(self) -> dict:
        """All that a boot has made, here and in EC2, without what no two boots have in common."""
        runs = {name: (self.directory / name) for name in ("alone", "migrate")}
        # The mark of a release says which server it is from.
        tree = {name: about if "/.tools-" not in name else about[:3] for name, about in self.tree().items()}
        volumes = [
            {
                "size": volume["Size"],
                "snapshot": volume["SnapshotId"] == self.place.snapshot,
                "tags": {key: value for key, value in volume["Tags"].items() if key != "ingot:from"},
                "attached": [(a["InstanceId"], a["Device"], a["DeleteOnTermination"]) for a in volume["Attachments"]],
            }
            for volume in self.place.aws.volumes()
            if "ingot:instance" in volume["Tags"]
        ]
        return {
            "tree": tree,
            "unfinished": [path.name for path in self.root.rglob("*") if UNFINISHED.search(path.name)],
            "ran": {name: path.read_text() if path.exists() else "" for name, path in runs.items()},
            "volumes": volumes,
            "events": [event["event"] for event in self.place.aws.events()],
            "mounted": [mounted.kind for mounted in self.place.disks.mounts(self.root)],
            "databases": [(one["DBInstanceIdentifier"], one["Tags"]) for one in self.place.aws.databases()],
            "login": self.place.postgres.takes(**LOGIN),
        }

    def told(self) -> tuple[set[str], set[str]]:
        """What CloudFormation and Auto Scaling were told. A signal that comes again under its id is the same one; Auto
        Scaling takes one result of an action."""
        told = self.place.aws.told()
        assert {signal["UniqueId"] for signal in told["signals"]} <= {INSTANCE}
        return set(self.place.aws.statuses()), {result for result in self.place.aws.results() if result}

    def passwords(self) -> int:
        """How many passwords RDS was told to set. Where the answer is lost, it may be told of the same again."""
        return len({call["form"].get("MasterUserPassword") for call in self.place.aws.calls("ModifyDBInstance")})


class Whole:
    """An AWS, an IMDS, a database and a mount namespace, for one machine at a time."""

    def __enter__(self) -> "Whole":
        self.aws, self.imds, self.disks = Aws().__enter__(), Imds().__enter__(), Disks().__enter__()
        self.scratch = tempfile.TemporaryDirectory(prefix="whole.")
        self.tls = Tls(Path(self.scratch.name), self.aws.port)
        self.image = small(self.disks.directory / "snapshot.img", "ext4")
        self.postgres = Postgres()
        self.postgres.start()
        self.postgres.wait()
        self.postgres.user(LOGIN["username"], "of the snapshot", database=LOGIN["dbname"])
        return self

    def __exit__(self, *error) -> None:
        self.tls.close()
        self.scratch.cleanup()
        for part in (self.postgres, self.disks, self.imds, self.aws):
            part.__exit__(*error)

    def machine(self, directory: Path) -> Machine:
        """A new one, in an account with all it needs."""
        aws = self.aws
        aws.reset()
        self.imds.forget()
        aws.instance()
        self.snapshot = aws.snapshot(TAGS, size_gib=1, started="2026-11-20T03:00:00Z")
        aws.secret("prod/login", LOGIN)
        aws.secret("prod/db", {"password": PASSWORD})
        aws.secret("prod/session", "a session key")
        aws.parameter("/prod/token", "a token", type="SecureString")
        aws.tree("/prod/flags", {"a": "on", "b": "off"})
        aws.parameter("/shop/boot", OF_SSM)
        aws.parameter("/shop/release", "s3://shop/shop-1.tar.gz")
        s3 = aws.client("s3")
        s3.create_bucket(Bucket="shop", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket="shop", Key="base.yaml", Body=OF_S3.encode())
        s3.put_object(Bucket="shop", Key="shop-1.tar.gz", Body=ARCHIVE)
        self.postgres.run(f"ALTER ROLE \"{LOGIN['username']}\" PASSWORD 'of the snapshot'")
        aws.rds(port=self.postgres.port, admin={"engine": "postgres", "user": ADMIN, "password": ADMINS})
        aws.db_snapshot("golden", TAGS)
        waiting.waits_for_instance(aws)
        directory.mkdir(parents=True, exist_ok=True)
        return Machine(directory, self)

    def stock(self) -> None:
        """What only the document of releases asks for."""
        s3, location = self.aws.client("s3"), {"LocationConstraint": REGION}
        s3.create_bucket(Bucket="public", CreateBucketConfiguration=location, ACL="public-read")
        s3.put_object(Bucket="public", Key="tools-1.zip", Body=TOOLS, ACL="public-read")
        s3.put_object(Bucket="shop", Key="large-1.tar", Body=LARGE, ChecksumAlgorithm="SHA256")


# They wait more than they work.
AT_ONCE = 10


class Places:
    """Several places, to be used at the same time."""

    def __enter__(self) -> "Places":
        self.free: queue.SimpleQueue[Whole] = queue.SimpleQueue()
        self.made = [Whole() for _ in range(AT_ONCE)]
        # Its threads stay: what they have started ends with them.
        self.pool = ThreadPoolExecutor(AT_ONCE)
        for place in self.pool.map(Whole.__enter__, self.made):
            self.free.put(place)
        return self

    def __exit__(self, *error) -> None:
        for place in self.made:
            place.__exit__(*error)
        self.pool.shutdown()

    def each(self, directory: Path, rows: list, cell) -> None:
        """Tries `cell(place, machine, row)` for every row, each with a machine of its own. All that fail are told."""

        def tried(numbered) -> str | None:
            number, row = numbered
            place = self.free.get()
            try:
                machine = place.machine(directory / str(number))
                try:
                    cell(place, machine, row)
                finally:
                    machine.close()
            except Exception:
                return f"{row}: {traceback.format_exc()}"
            finally:
                self.free.put(place)

        wrong = [why for why in self.pool.map(tried, enumerate(rows)) if why]
        assert not wrong, f"{len(wrong)} of {len(rows)}\n" + "\n".join(wrong)
