"""Records streams of `tests/fleet/streams` from the region: what the calls answer that `ingot-fleet` makes for a story.

    .venv/bin/python -m harness.region.recording     # in tests/, as root; rewrites region-*.json

Each file says that it is of the stand-in. Clock times and identifiers are those of the run.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from harness import fleet as fleets
from harness.agent import REPOSITORY

from . import Region, fleet, scripted
from .instances.scripted import Outcome, release_of
from .small import FAST
from .verbs import Operator

STREAMS = REPOSITORY / "tests" / "fleet" / "streams"
STACK = "shop-prod"


def time_of(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(value):
    """As JSON, with the fields that a story does not need left out."""
    if isinstance(value, datetime):
        return time_of(value)
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        left_out = ("EventId", "StackId", "PhysicalResourceId", "Details")
        return {key: plain(one) for key, one in value.items() if key not in left_out}
    return value


class Recorder:
    """Looks at target health until it ends, and then at the rest."""

    def __init__(self, region, number: int):
        self.region, self.number = region, number
        self.health: list[dict] = []

    def look(self) -> None:
        elb = self.region.client("elbv2")
        for group in elb.describe_target_groups()["TargetGroups"]:
            found = elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
            seen = self.health[-1]["TargetHealthDescriptions"] if self.health else []
            if found != seen:
                self.health.append({"at": time_of(datetime.now().astimezone()), "TargetHealthDescriptions": found})

    def record(self) -> dict:
        region = self.region
        pages = region.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=STACK)
        read = region.client("s3").get_object(Bucket=fleet.RELEASES, Key=f"shop/environments/prod/deployments/{self.number}.json")
        record = json.loads(read["Body"].read())
        tokens = [f"ingot-{self.number}-{word}-{record['attempt']}" for word in ("create", "policy", "release")]
        began = datetime.fromisoformat(record["began"])
        events = [one for one in pages.build_full_result()["StackEvents"] if one["Timestamp"] >= began]
        activities = region.client("autoscaling").describe_scaling_activities()["Activities"]
        return {
            "stack": STACK,
            "deployment": {"number": self.number, "began": record["began"], "tokens": tokens},
            "StackEvents": plain(events),
            "Activities": plain([one for one in activities if one["StartTime"] >= began]),
            "TargetHealth": plain(self.health),
            "Evidence": [self.evidence(one["Key"]) for one in self.keys()],
        }

    def keys(self) -> list[dict]:
        return self.region.client("s3").list_objects_v2(Bucket=fleet.EVIDENCE).get("Contents", [])

    def evidence(self, key: str) -> dict:
        packed = self.region.client("s3").get_object(Bucket=fleet.EVIDENCE, Key=key)["Body"].read()
        content = subprocess.run(["zstd", "-dcq"], input=packed, capture_output=True, check=True).stdout
        return {"key": key, "deployment": self.number, "content": json.loads(content)}


# What happens, the policy, how instances of the release `next` boot, what is done meanwhile, what the stream ends in,
# and sentences that it tells. `{new}` is the first instance of the release.
SCENES: dict[str, tuple[str, str, Outcome, Callable | None, str, list[str]]] = {
    "region-rolling": ("rolling, a good release", "rolling", Outcome(), None, "the stack is updated", ["{new}: serves"]),
    "region-immutable": ("immutable, a good release", "immutable", Outcome(), None, "the stack is updated", ["Group: is replaced by a new one"]),
    "region-failure": (
        "an instance that reports a failure, and leaves no evidence",
        "rolling_with_batch",
        Outcome("abandons"),
        None,
        "{new}: reported that its boot failed, but left no evidence",
        ["{new}: reports that its boot failed", "everything is as before"],
    ),
    "region-unhealthy": (
        "instances that report nothing, and that the load balancer finds unhealthy",
        "rolling",
        Outcome("sick"),
        None,
        "{new}: the load balancer found it unhealthy: Health checks failed with these codes: [500]",
        ["{new}: the load balancer finds it unhealthy: Health checks failed with these codes: [500]"],
    ),
    "region-no-capacity": (
        "no capacity",
        "rolling_with_batch",
        Outcome("not launched"),
        None,
        "no instance could be launched: AWS has no capacity in eu-central-1a now. The release is not the cause",
        ["no instance could be launched: AWS has no capacity in eu-central-1a now"],
    ),
    "region-aborted": (
        "ended by ingot-fleet abort",
        "rolling",
        Outcome("silent"),
        lambda operator: operator("abort", "prod"),
        "the update was canceled",
        ["the update was canceled: rolling back"],
    ),
}


def scene(operator_of: Callable, name: str) -> None:
    about, policy, outcome, meanwhile, ends, tells = SCENES[name]
    new: list[str] = []

    def boots(spec) -> Outcome:
        if release_of(spec) != "next":
            return Outcome()
        new.append(spec.id)
        return outcome

    with Region(scripted(boots, 80), pace=FAST) as region, tempfile.TemporaryDirectory() as directory:
        operator = operator_of(Path(directory), region, policy)
        assert operator("create", "prod", "--release", "v1").code == 0
        operator.release("next", {"VERSION": b"next"})
        recorder = Recorder(region, 2)
        process = operator.start("deploy", "prod", "--release", "next")
        region.poll(lambda: new, "the first instance")
        if meanwhile:
            meanwhile(operator)
        region.poll(lambda: recorder.look() or process.poll() is not None, "the end", fleets.PATIENCE)
        said = process.communicate()
        stream = recorder.record()
    assert stream["StackEvents"] and f"deployment {recorder.number} of prod" in said[0], said
    named = {"{new}": new[0]}
    filled = lambda text: re.sub(r"\{new\}", lambda found: named[found[0]], text)  # noqa: E731
    source = ["recorded from the region stand-in by tests/harness/region/recording.py, not from AWS"]
    whole = {"about": about, "source": source, **stream, "tells": [filled(one) for one in tells], "ends": filled(ends)}
    whole |= {"is_aborted": True} if name == "region-aborted" else {}
    whole = {key: one for key, one in whole.items() if one != []}
    (STREAMS / f"{name}.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or SCENES:
        scene(Operator, chosen)
        print(chosen)
