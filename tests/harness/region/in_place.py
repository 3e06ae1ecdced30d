"""Scripted instances that get another release in place, by the document `ingot-boot`.

    with Region(standing(bad=Boot("fails", "applications.shop: …")), pace=FAST) as region: ...
    on(region)                 # the release that each instance in service runs

What `ingot boot --release NAME@sha256:DIGEST --json` prints, and with which exit code it ends, is what
docs/reference/exit-codes.md says of ingot. The process that serves stays as it was: whether a switch loses requests is for
tests with containers.
"""

import json
import re
import threading
from dataclasses import dataclass

from harness.host.systemd import Done, NotInTime

from .instances.scripted import Outcome, release_of
from .operated import Witness

COMMAND = re.compile(r"ingot boot --release '([^@']+)@sha256:[0-9a-f]{64}' --json")


@dataclass(frozen=True)
class Boot:
    """How the boot of a release in place ends: `good`, `fails`, `is cut off` (once)."""

    kind: str = "good"
    cause: str = ""
    seconds: float = 0.2


class Standing(Witness):
    boots: dict[str, Boot] = {}
    # Instances that a release reached, in order, by all of a region.
    reached: list[tuple[str, str]] = []

    def __init__(self, region, spec, outcome: Outcome, port: int):
        self.release, self.cut_off = release_of(spec), False
        # One boot at a time: a second one waits.
        self.turn = threading.Lock()
        super().__init__(region, spec, outcome, port)

    def run_command(self, *command: str, timeout: float = 30) -> Done:
        with self.turn:
            return self.boot_in_place(command[-1])

    def boot_in_place(self, command: str) -> Done:
        found = COMMAND.search(command)
        assert found, command
        release, boot = found[1], self.boots.get(found[1], Boot())
        self.reached.append((self.id, release))
        if self.ended.wait(boot.seconds):
            raise NotInTime("it is gone")
        if boot.kind == "is cut off" and not self.cut_off:
            self.cut_off = True
            return Done(143, "", "")
        if boot.kind == "fails":
            self.leave_evidence(boot.cause)
            return Done(1, said("failed", boot.cause, release, self.release), "")
        self.release = release
        return Done(0, said("done", None, release, release), "")


def said(outcome: str, cause: str | None, wanted: str, in_force: str) -> str:
    releases = {"wanted": wanted, "in_force": in_force, "not_kept": None}
    return json.dumps({"version": 1, "outcome": outcome, "cause": cause, "release": releases, "lines": []})


def standing(launches: dict[str, Outcome] | None = None, **kinds: Boot):
    """What `Region` launches. `launches` is how instances boot that are launched with a release."""
    Of = type("Of", (Standing,), {"boots": kinds, "reached": []})

    def launch(region, spec):
        return Of(region, spec, (launches or {}).get(release_of(spec), Outcome()), 80)

    launch.reached = Of.reached
    return launch


def on(region) -> list[str]:
    """The releases that run in service."""
    return sorted(instance.release for instance in region.instances())


def tags(region) -> list[tuple[str, str]]:
    """What the tags of the instances in service say: deployment and release."""
    ids = [instance.id for instance in region.instances()]
    found = region.client("ec2").describe_instances(InstanceIds=ids)["Reservations"]
    each = [{tag["Key"]: tag["Value"] for tag in one["Tags"]} for reservation in found for one in reservation["Instances"]]
    return sorted((one["ingot:deployment"], one["ingot:release"]) for one in each)
