"""The region as a test uses it."""

import base64
import threading
import time
from contextlib import ExitStack

import boto3
from botocore.config import Config
from moto.moto_api._internal.models import moto_api_backend

from harness import wire
from harness.agent import PATIENCE
from harness.aws.account import fault_of
from harness.aws.proxy import REGION

from .api import offered
from .delays import Delays, Pace
from .engine import LOOK, Engine
from .front import Endpoint
from .group import Group
from .instances.launched import specify
from .instances.scripted import scripted
from .network import Loopback, Network
from .stacks.alarms import evaluate


class Region:
    """`launch` is a function of region and `Spec` that starts an instance, in `network`. `alarms`: whether those of stacks
    are evaluated; otherwise their state is what a test sets."""

    def __init__(
        self,
        launch=None,
        network: Network | None = None,
        delays: Delays | None = None,
        pace: Pace | None = None,
        alarms: bool = False,
    ):
        self.alarms = alarms
        launch = launch or scripted()
        self.network = network or Loopback()
        self.engine = Engine(lambda spec: launch(self, spec), self.network, delays or Delays(), pace or Pace())
        self.clients: dict = {}

    # moto is one in a process.
    there = threading.Lock()

    def __enter__(self) -> "Region":
        with ExitStack() as stack:
            assert self.there.acquire(blocking=False), "one region at a time"
            stack.callback(self.there.release)
            moto_api_backend.reset()
            stack.enter_context(self.network)
            stack.enter_context(offered(self.engine))
            own = wire.bound()
            self.port = own.getsockname()[1]
            self.endpoint = stack.enter_context(
                Endpoint(self.engine.lock, self.engine.delays, [own, self.network.listener])
            )
            stack.callback(self.engine.join)
            stack.callback(self.end_instances)
            stack.callback(self.engine.end)
            self.network.balancer.serve(self.engine)
            if self.alarms:
                self.engine.start(lambda: evaluate(self.engine))
            self.ending = stack.pop_all()
        return self

    def __exit__(self, kind, *_) -> None:
        self.ending.close()
        assert kind or not self.engine.problems, "\n".join(self.engine.problems)

    def end_instances(self) -> None:
        for instance in list(self.engine.instances.values()):
            instance.kill()

    # AWS.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": "harness", "AWS_SECRET_ACCESS_KEY": "harness", "AWS_REGION": REGION}
        return {"AWS_ENDPOINT_URL": self.url, **keys}

    def client(self, service: str):
        """A boto3 client that never retries."""
        with self.engine.lock:
            if service not in self.clients:
                self.clients[service] = boto3.client(
                    service,
                    region_name=REGION,
                    endpoint_url=self.url,
                    aws_access_key_id="harness",
                    aws_secret_access_key="harness",
                    config=Config(retries={"max_attempts": 0}, max_pool_connections=50),
                )
            return self.clients[service]

    def fault(self, kind: str, service: str, **rule) -> None:
        """Has calls fail: `fault("throttled", "cloudformation", operation="UpdateStack", times=2)`. See
        `harness.aws.proxy`."""
        front = self.endpoint.front
        front.faults = wire.Faults([*front.faults.rules, fault_of(kind, service, rule)], front.faults)

    def recover(self) -> None:
        self.endpoint.front.faults = wire.Faults([])

    @property
    def calls(self) -> list[dict]:
        """Every call of AWS so far, in order."""
        return self.endpoint.front.calls

    def launch(self, user_data: str, tags: dict[str, str] | None = None):
        """An instance of no group. It has an `address`, gets `ready`, can `run_command` and `terminate`."""
        data = {"ImageId": "ami-12c6146b", "UserData": base64.b64encode(user_data.encode()).decode()}
        with self.engine.lock:
            spec = specify(self.engine, data, tags or {}, None)
        instance = self.engine.launch(spec)
        with self.engine.lock:
            self.engine.instances[instance.id] = instance
        return instance

    # What there is.

    def group(self, name: str | None = None) -> Group:
        """A group, by its name; the only one without it."""
        with self.engine.lock:
            return self.engine.groups[name] if name else next(iter(self.engine.groups.values()))

    def group_of(self, instance: str) -> Group | None:
        with self.engine.lock:
            for group in self.engine.groups.values():
                if any(member.id == instance for member in group.members):
                    return group
            return None

    def instances(self, group: str | None = None) -> list:
        """The instances in service, oldest first: what was launched."""
        with self.engine.lock:
            members = [
                one for each in self.engine.groups.values() if group in (None, each.name) for one in each.members
            ]
            return [one.instance for one in sorted(members, key=lambda one: one.born) if one.in_service]

    def stack(self, name: str):
        with self.engine.lock:
            return next(stack for stack in reversed(self.engine.stacks) if stack.name == name)

    def balancer(self) -> str:
        """The address of the only load balancer."""
        with self.engine.lock:
            (balancer,) = self.engine.elb.load_balancers.values()
            return self.network.balancer_address(balancer.arn)

    # Waiting.

    def wait(self, condition, what: str, seconds: float = PATIENCE):
        """Waits until something holds, which is looked at with the lock held."""
        with self.engine.lock:
            self.engine.until(lambda: condition() or self.engine.problems, seconds)
            found = condition()
            assert found, f"waited in vain ({seconds} s at most) for {what}\n{self.told()}"
            return found

    def poll(self, condition, what: str, seconds: float = PATIENCE):
        """Waits for what is asked of AWS, without the lock."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end and not self.engine.problems, f"waited in vain for {what}\n{self.told()}"
            time.sleep(LOOK)
        return found

    def settled(self, stack: str, seconds: float = PATIENCE) -> str:
        """The status of a stack once it does nothing any more."""
        found = self.stack(stack)
        self.wait(lambda: found.settled, f"the end of {found.status}", seconds)
        return found.status

    def in_service(self, count: int, seconds: float = PATIENCE) -> list:
        """The instances, once there are so many in service and no others."""

        def full() -> bool:
            members = [member for group in self.engine.groups.values() for member in group.members]
            return len(members) == count and all(member.in_service for member in members)

        self.wait(full, f"{count} in service", seconds)
        return self.instances()

    def told(self) -> str:
        """What happened, for a test that fails."""
        lines = [
            f"{event.at:%M:%S.%f} {event.logical} {event.status} {event.reason}"
            for stack in self.engine.stacks
            for event in stack.events
        ]
        for group in self.engine.groups.values():
            lines += [f"{group.name}: desired {group.desired}, {group.members}"]
            lines += [
                f"{one.begun:%M:%S.%f} {one.description} {one.status}: {one.cause}"
                for one in reversed(group.activities)
            ]
        for targets in self.engine.target_groups.values():
            lines += [f"target {one.id} {one.state} {one.reason} {one.code}" for one in targets.targets.values()]
        return "\n".join([*lines, *self.engine.problems])
