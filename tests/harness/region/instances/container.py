"""Instances that are containers with a real systemd, from a golden root, which ingot boots by their user data.

    Region(containers(image), Bridge())

`image` puts into a root what the AMI has besides ingot. Each instance has a network namespace with a wire to the
region's bridge, an IMDS of its own at the far end of another wire (so that port 80 of every address in it is its own),
and a cgroup of its own. Needs root.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from harness.agent import PATIENCE
from harness.aws.imds import Imds
from harness.aws.proxy import ACCOUNT, REGION
from harness.host import container
from harness.host.cgroup import Cgroup
from harness.host.container import Machine
from harness.host.systemd import AWS_PORT, IMDS_ADDRESS, Done, NotInTime, must

from ..network import batch
from .launched import Spec

# A golden root that is there already; without it, `debian-root` makes it or finds it.
ROOT = "INGOT_DEBIAN_ROOT"

# Seconds that EC2's shutdown of an instance gets here, before its power is cut. On EC2 these are minutes:
# <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html>
SHUTDOWN = 15


def containers(image: Callable = lambda instance: None):
    """What `Region` launches."""

    def launch(region, spec: Spec) -> "Container":
        instance = Container(region, spec)
        instance.begin(image)
        return instance

    return launch


def golden_root() -> str:
    return os.environ.get(ROOT) or must(str(Path(container.__file__).with_name("debian-root"))).strip()


class Container(Machine):
    numbers = itertools.count(1)

    def __init__(self, region, spec: Spec):
        self.region, self.spec, self.id, self.address = region, spec, spec.id, spec.address
        self.network = region.network
        self.number = next(self.numbers)
        self.netns = f"{self.network.netns}i{self.number}"
        self.imds_netns = f"{self.netns}m"
        self.undo: list = []
        self.nspawn = self.leader = None
        self.ending, self.over = threading.Lock(), False
        self.aws_url = f"http://{self.network.first}.0.1:{AWS_PORT}"

    # Its beginning.

    def begin(self, image: Callable) -> None:
        try:
            self.make()
            self.install_ingot()
            image(self)
            self.power_on()
        except BaseException:
            self.kill()
            raise

    def make(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ingot-instance."))
        self.undo.append(lambda: shutil.rmtree(self.directory))
        self.console_path, self.root = self.directory / "console", self.directory / "root"
        self.make_root(golden_root())
        self.cgroup = Cgroup(self.netns)
        self.undo.append(self.cgroup.remove)
        self.make_network()
        self.imds = Imds(address=IMDS_ADDRESS, port=80, netns=self.imds_netns, **self.metadata())
        self.imds.__enter__()
        self.undo.append(self.imds.__exit__)
        self.write("/etc/hostname", f"ip-{self.address.replace('.', '-')}\n")

    def metadata(self) -> dict:
        spec = self.spec
        about = {
            "id": spec.id,
            "type": spec.type,
            "region": REGION,
            "zone": spec.zone,
            "account": ACCOUNT,
            "image": spec.image,
            "private_ip": spec.address,
            "mac": spec.mac,
            "interface": spec.interface,
        }
        return {
            "user_data": spec.user_data,
            "tags": spec.tags,
            "instance": about,
            "role": spec.role,
            "lifecycle": "InService",
        }

    def make_network(self) -> None:
        here, there, port = self.netns, self.imds_netns, f"v{self.number}"
        for netns in (here, there):
            must("ip", "netns", "add", netns)
            self.undo.append(lambda netns=netns: must("ip", "netns", "delete", netns))
        batch(
            here,
            "link set lo up",
            f"link add eth0 address {self.spec.mac} type veth peer name {port} netns {self.network.netns}",
            f"address add {self.address}/16 dev eth0",
            "link set eth0 up",
            f"route add default via {self.network.first}.0.1",
            f"link add imds0 type veth peer name eth0 netns {there}",
            "link set imds0 up",
            f"route add {IMDS_ADDRESS}/32 dev imds0 src {self.address}",
        )
        batch(
            there,
            "link set lo up",
            f"address add {IMDS_ADDRESS}/32 dev eth0",
            "link set eth0 up",
            f"route add {self.address}/32 dev eth0",
        )
        self.network.batch(f"link set {port} master br0", f"link set {port} up")

    def power_on(self) -> None:
        """Starts it, and does not wait for its boot."""
        self.console_file = open(self.console_path, "ab")
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no", "--keep-unit"]
        command += [
            f"--network-namespace-path=/run/netns/{self.netns}",
            "--console=read-only",
            f"--machine={self.netns}",
        ]
        command += ["--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        self.nspawn = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self.console_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=self.cgroup.enter,
        )
        self.leader = self.wait_for(self.find_leader, PATIENCE, "PID 1 of the container")

    # What the region asks.

    def alive(self) -> bool:
        return not self.over and self.nspawn is not None and self.nspawn.poll() is None

    def lifecycle(self, state: str) -> None:
        if not self.over:
            self.imds.configure(lifecycle=state)

    def run_command(self, *command: str, timeout: float = PATIENCE) -> Done:
        """As the agent of Systems Manager does it: as root, with what systemd gives its services."""
        if not self.alive():
            raise NotInTime(f"{self.id} does not run")
        return self.run(*command, timeout=timeout, env={"AWS_ENDPOINT_URL": self.aws_url})

    def ready(self, timeout: float = PATIENCE) -> None:
        """Waits until ingot has ended its boot."""
        self.wait_until("systemctl is-active --quiet ingot.target", timeout)

    def terminate(self) -> None:
        """The machine is shut down in order; its power is cut where that takes too long."""
        with self.ending:
            if not self.over and self.alive():
                self.nspawn.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.nspawn.wait(SHUTDOWN)
        self.kill()

    def kill(self) -> None:
        with self.ending:
            if not self.over:
                self.over = True
                self.cut_power()
                self.clean_up()

    def cut_power(self) -> None:
        if self.nspawn is None:
            return
        if self.nspawn.poll() is None and self.leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)
            # nspawn reaps PID 1, which takes a moment otherwise.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.nspawn.wait(10)
        self.nspawn.kill()
        self.nspawn.wait()
        self.console_file.close()

    def clean_up(self) -> None:
        for step in reversed(self.undo):
            try:
                step()
            except (OSError, RuntimeError) as error:
                print(f"cleaning up {self.netns}: {error}")
        self.undo.clear()
