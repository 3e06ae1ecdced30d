"""A machine on which ingot runs applications: releases in S3, `ingot boot` as a unit of systemd, load, and gates.

    with Deployed() as machine:
        machine.begin()
        machine.upload("shop-1", release_of(1))
        machine.succeed(shop("shop-1"))
        assert machine.generation() == "1"

A gate is a place in a release that a test can close: what comes there waits until it is opened again.
"""

import itertools
import json
import time
from pathlib import Path

from harness.agent import DONE, FAILED, PATIENCE, Result, document
from harness.aws.account import INSTANCE

from . import archives, load
from .container import Machine
from .systemd import IMDS_ADDRESS, must

BUCKET = "shop-releases"
# In this harness alone, IMDS has port 80 of the machine.
LISTEN = 8080
GATES = "/srv/gates"

GATE = f"""\
#!/bin/sh
[ -e {GATES}/$1 ] || exit 0
touch {GATES}/$1.reached
while [ -e {GATES}/$1 ]; do sleep 0.02; done
"""

# Ends once the gate lets it, so that a test can look at a stop that has not ended.
JOBS = """\
#!/bin/sh
trap 'bin/gate stop; exit 0' TERM
while :; do sleep 0.1; done
"""

# This container has no DMI, by which ingot knows which instance it is on where nobody can be asked.
DMI = """\
[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'mount -t tmpfs tmpfs /sys/class && mkdir /sys/class/dmi && ln -s /etc/dmi /sys/class/dmi/id'
[Install]
WantedBy=sysinit.target
"""


def web(generation) -> str:
    return f"bin/gate start; GENERATION={generation} exec python3 -S bin/echo.py"


def release_of(generation, files: dict[str, str | None] | None = None) -> dict[str, bytes]:
    """A release that serves, with a process beside `web`; `files` replace or add to its own, or remove them by `None`."""
    own = {
        "Procfile": f"web: {web(generation)}\njobs: exec bin/jobs\n",
        "bin/echo.py": Path(load.__file__).with_name("echo.py").read_text(),
        "bin/gate": GATE,
        "bin/jobs": JOBS,
    }
    return {name: text.encode() for name, text in {**own, **(files or {})}.items() if text is not None}


def shop(key: str, *, bundle: dict | None = None, secrets: dict | None = None, **fields) -> str:
    """The document of one application, `shop`, whose release is the archive `key`."""
    application = {"bundle": "bundles.app", "user": "shop", "proxy": {"listen": LISTEN}, "ready": {"http": "/health", "timeout": "60s"}}
    source = {"s3": f"s3://{BUCKET}/{key}.tar.gz", "into": "/opt/shop", "owner": "shop", **(bundle or {})}
    sections = {"secrets": secrets} if secrets else {}
    return document(bundles={"app": source}, applications={"shop": {**application, **fields}}, **sections)


class Deployed(Machine):
    # Where the proxy listens.
    listen = LISTEN
    instance = INSTANCE

    def boot(self, timeout: float = PATIENCE) -> float:
        """The same, until systemd-run finds a bus: PID 1 answers long before there is one."""
        took = super().boot(timeout)
        self.wait_until("test -S /run/dbus/system_bus_socket", timeout)
        return took

    def begin(self) -> None:
        """Boots, with ingot, the user of the applications, and the load's program."""
        self.boots = itertools.count(1)
        self.install_ingot(enabled=False)
        self.write("/opt/load.py", Path(load.__file__).read_text())
        self.write("/etc/dmi/sys_vendor", "Amazon EC2\n")
        self.write("/etc/dmi/board_asset_tag", f"{self.instance}\n")
        self.write("/etc/systemd/system/dmi.service", DMI)
        self.enable("dmi.service", "ingot-applications.service")
        self.boot()
        self.must("useradd", "--system", "shop")
        self.must("install", "-d", "--mode=1777", GATES)
        self.make_bucket()

    def make_bucket(self) -> None:
        location = {"LocationConstraint": "eu-central-1"}
        self.aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)

    def upload(self, key: str, files: dict[str, bytes] | bytes) -> None:
        content = files if isinstance(files, bytes) else archives.release("tar.gz", files)
        self.aws.client("s3").put_object(Bucket=BUCKET, Key=f"{key}.tar.gz", Body=content)

    def must(self, *command: str, **more) -> str:
        done = self.run(*command, **more)
        assert done.code == 0, done
        return done.stdout

    # Boots.

    def deploy(self, text: str, timeout: float = 2 * PATIENCE) -> Result:
        """`ingot boot`, as systemd runs it."""
        begun = time.monotonic()
        ingot = ["ingot", "boot", "--user-data", "-"]
        done = self.run("systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--", *ingot, stdin=text, timeout=timeout)
        return Result(ingot[1:], done.code, done.stdout, done.stderr, time.monotonic() - begun, self.report())

    def succeed(self, text: str) -> Result:
        """`deploy`, which has to end well."""
        result = self.deploy(text)
        assert result.code == DONE, f"{result}\n{self.told()}"
        return result

    def fail(self, text: str, address: str = "applications.shop") -> str:
        """`deploy`, which has to fail in one step. Why it did."""
        result = self.deploy(text)
        assert result.code == FAILED, f"{result}\n{self.told()}"
        print(result.stderr)
        return result.failure(address)

    def told(self) -> str:
        """The journal of applications and proxy, without the requests of the load."""
        return self.journal("-u", "shop.*", "-u", "ingot-applications.service")

    def report(self) -> dict | None:
        found = self.run("cat", "/run/ingot/report.json")
        return json.loads(found.stdout) if found.code == 0 else None

    def begin_deploy(self, text: str) -> str:
        """The same, without waiting for its end. Its unit."""
        self.must("install", "--mode=600", "/dev/stdin", "/run/boot.yaml", stdin=text)
        unit = f"boot-{next(self.boots)}.service"
        self.must("systemd-run", "--quiet", f"--unit={unit}", "--", "ingot", "boot", "--user-data", "/run/boot.yaml")
        return unit

    def close(self, gate: str) -> None:
        self.must("touch", f"{GATES}/{gate}")

    def wait_at(self, gate: str) -> None:
        """Waits until something came to a closed gate."""
        self.wait_until(f"test -e {GATES}/{gate}.reached")

    def open(self, gate: str) -> None:
        self.must("rm", "-f", f"{GATES}/{gate}", f"{GATES}/{gate}.reached")

    def lose_imds(self) -> None:
        must("ip", "-n", self.netns, "address", "delete", f"{IMDS_ADDRESS}/32", "dev", "lo")

    def find_imds(self) -> None:
        must("ip", "-n", self.netns, "address", "add", f"{IMDS_ADDRESS}/32", "dev", "lo")

    # What serves.

    def generation(self, port: int | None = None) -> str:
        """The generation that answers; what is wrong where none does."""
        done = self.run("curl", "-sS", "--max-time", "20", f"http://127.0.0.1:{port or self.listen}/")
        return done.stdout.rpartition(" gen=")[2].strip() if " gen=" in done.stdout else str(done)

    def units(self, application: str = "shop") -> list[str]:
        """The units of an application that systemd knows, whatever their state."""
        listed = self.must("systemctl", "list-units", "--all", "--plain", "--no-legend", f"{application}.*.service")
        return sorted(line.split()[0].removesuffix(".service") for line in listed.splitlines())

    def pids(self, application: str = "shop") -> dict[str, str]:
        return {unit: self.show(f"{unit}.service", "MainPID")["MainPID"] for unit in self.units(application)}

    # Load.

    def begin_load(self, longest: float = 2.0, websocket: bool = True) -> None:
        run = ["systemd-run", "--quiet", "--unit=load", "-p", "LimitNOFILE=4096", "python3", "-S", "/opt/load.py"]
        since = self.must("date", "+%s.%N").strip()
        talk = ["--websocket=/ws"] if websocket else []
        self.must(*run, f"--longest={longest}", *talk, "127.0.0.1", str(self.listen), "/run/load.json")
        # Every kind of client has a request with the application by then, the slowest among them.
        self.wait_until(f"test $(journalctl -t shop_access -o cat --since=@{since} | wc -l) -gt 300")

    def end_load(self) -> dict:
        self.must("systemctl", "kill", "--signal=SIGTERM", "load.service")
        self.wait_until("! systemctl is-active --quiet load.service")
        return json.loads(self.must("cat", "/run/load.json"))
