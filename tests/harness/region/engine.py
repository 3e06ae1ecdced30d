"""What all parts of the region share: one lock around everything that is true, waiting for it to change, and the time.

Whoever changes something holds the lock and calls `changed`; whoever waits calls `until`, which lets go of it
meanwhile. moto's backends are plain dictionaries, so its calls hold the lock too.
"""

import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends

from harness.aws.proxy import ACCOUNT, REGION

from .delays import Delays, Pace

# How often what nobody tells of is looked at, in seconds.
LOOK = 0.05


class Engine:
    def __init__(self, launch, network, delays: Delays, pace: Pace):
        """`launch` starts an instance; `network` is where instances and balancers have their addresses."""
        self.launch, self.network, self.delays, self.pace = launch, network, delays, pace
        self.lock = threading.Condition(threading.RLock())
        self.over = False
        self.threads: list[threading.Thread] = []
        self.problems: list[str] = []
        # By name, by ARN, by ID.
        self.groups: dict = {}
        self.target_groups: dict = {}
        self.stacks: list = []
        self.commands: dict = {}
        # Instances without an agent of Systems Manager.
        self.unmanaged: set[str] = set()
        self.instances: dict = {}
        # What was raised for the account, by code; and what IAM does not allow: actions, each with how it is decided.
        self.quotas: dict[str, float] = {"L-1216C47A": 640, "L-34B43A08": 640}
        self.rights: dict[str, str] = {}

    @property
    def ec2(self):
        return ec2_backends[ACCOUNT][REGION]

    @property
    def elb(self):
        return elbv2_backends[ACCOUNT][REGION]

    def changed(self) -> None:
        self.lock.notify_all()

    def until(self, condition: Callable[[], object], seconds: float | None = None):
        """Waits, with the lock held, until something holds, and returns it; what does not hold once the time, or the
        region, is over."""
        end = None if seconds is None else time.monotonic() + seconds
        while not (found := condition()):
            left = LOOK if end is None else min(LOOK, end - time.monotonic())
            if left <= 0 or self.over:
                return found
            self.lock.wait(left)
        return found

    def sleep(self, seconds: float) -> None:
        """Lets time pass without the lock, but not beyond the end of the region."""
        with self.lock:
            self.until(lambda: self.over, seconds)

    def start(self, what: Callable[[], None]) -> None:
        """Runs something beside everything else. What goes wrong in it fails the test at the region's end."""

        def run() -> None:
            try:
                what()
            except Exception:
                if not self.over:
                    self.problems.append(traceback.format_exc())

        thread = threading.Thread(target=run, daemon=True)
        with self.lock:
            self.threads = [one for one in self.threads if one.is_alive()] + [thread]
        thread.start()

    def end(self) -> None:
        """From here on nothing is waited for."""
        with self.lock:
            self.over = True
            self.changed()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)


def now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
