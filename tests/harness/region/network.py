"""Where the region's instances and load balancers have their addresses.

`Loopback` needs nothing: 127.N.0.0/16 of this machine, where N is another for another process. `Bridge` is a network
namespace with a bridge, 10.77.0.0/16, on which each container has a wire of its own; AWS is at 10.77.0.1:4566 there. An
elastic IP address is routed to its instance.
"""

import itertools
import os
import subprocess

from harness import wire
from harness.host.systemd import AWS_PORT, must

from .balancing.routing import Balancer


class Network:
    """What both have."""

    netns: str | None = None
    prefix: tuple[str, ...] = ()
    # The first two numbers of every address.
    first: str
    # Where the server of every database is; RDS's own names lead nowhere.
    database: str | None = None

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.balancers: dict[str, str] = {}

    def __enter__(self) -> "Network":
        self.listener = wire.bound(*self.aws_address())
        self.balancer = Balancer(list(self.prefix))
        return self

    def __exit__(self, *_) -> None:
        self.balancer.end()

    def aws_address(self) -> tuple:
        return ("127.0.0.1", 0)

    def address(self) -> str:
        number = next(self.numbers)
        return f"{self.first}.{1 + number // 250}.{1 + number % 250}"

    def balancer_address(self, arn: str) -> str:
        if arn not in self.balancers:
            self.balancers[arn] = f"{self.first}.255.{1 + len(self.balancers)}"
            self.have(self.balancers[arn])
        return self.balancers[arn]

    def have(self, address: str) -> None:
        """Makes an address of a load balancer one of this network."""

    def associate(self, public: str, instance) -> None:
        """Leads an elastic IP address to an instance."""


class Loopback(Network):
    first = f"127.{64 + os.getpid() % 128}"


class Bridge(Network):
    first = "10.77"
    made = itertools.count()

    def __enter__(self) -> "Bridge":
        self.netns = f"rg{os.getpid()}x{next(self.made)}"
        self.prefix = ("ip", "netns", "exec", self.netns)
        must("ip", "netns", "add", self.netns)
        try:
            self.batch(
                "link set lo up",
                "link add br0 type bridge",
                f"address add {self.first}.0.1/16 dev br0",
                "link set br0 up",
            )
            return super().__enter__()
        except BaseException:
            must("ip", "netns", "delete", self.netns)
            raise

    def __exit__(self, *_) -> None:
        super().__exit__()
        must("ip", "netns", "delete", self.netns)

    def aws_address(self) -> tuple:
        return (f"{self.first}.0.1", AWS_PORT, self.netns)

    def have(self, address: str) -> None:
        self.batch(f"address add {address}/16 dev br0")

    def associate(self, public: str, instance) -> None:
        self.batch(f"route replace {public}/32 via {instance.address}")
        batch(instance.netns, f"address replace {public}/32 dev lo")

    def batch(self, *lines: str) -> None:
        batch(self.netns, *lines)


def batch(netns: str, *lines: str) -> None:
    """Has `ip` do all of these in a namespace."""
    command = ["ip", "-n", netns, "-batch", "-"]
    done = subprocess.run(command, input="\n".join([*lines, ""]), text=True, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
