#!/usr/bin/env python3
"""From `ingot-fleet deploy` to every request answered by the new release, for each policy, under load. A stand-in for AWS.

    .venv/bin/python tests/bench/deploy.py [--policies POLICY…] [--instances N] [--seed N] [--json]

In the region of `tests/harness/region`: a load balancer, and instances that are containers with a real systemd, which ingot
boots. The application is a small one in Python. Of each policy, a good release and one that ends as soon as it is started:

- Seconds: from exec of the command to the last request that the release before answered, or that was lost; and to the end of
  the command. Where an instance ends before the next one is launched, the last batch boots after that.
- Least possible: what the engine has to wait for, which is the launch, the boot and the health checks of the slowest instance
  of each batch, as they were measured meanwhile.
- Own, a batch: what only ingot-fleet is waited for, which is from exec until CloudFormation has begun the first update, from
  its end until it has begun the second, and from the end of that to the end of the command; divided by batches.
- Told after: from the failure of the step, by the report in the instance's evidence, until the line with its cause is there.

The load is that of `harness/host/load.py`: connections that are kept, POST, pauses of up to 20 ms and of up to 5 s, requests
of 10 s, a WebSocket; it counts a request without a complete and correct answer as lost. `--seed` has AWS answer late and launch
slowly; the own part has those answers in it then, and no bound.
Prints a Markdown table, or with `--json` one object. It exits with 1 if the own part is 2 s a batch or more, if a failure is
told later than after 5 s, or if a request was lost by a policy that keeps instances in service.

Health checks come every half second, where AWS has 10 s at the least in the templates, so times of AWS are longer. Elastic
Beanstalk's times are those of one user on AWS, 3 instances and a small Python application: another place.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import agent, fleet as fleets  # noqa: E402
from harness.host import container  # noqa: E402
from harness.region import Region, fleet  # noqa: E402
from harness.region.delays import Delays, Pace  # noqa: E402
from harness.region.instances.container import containers  # noqa: E402
from harness.region.network import Bridge  # noqa: E402
from harness.region.operated import BOOTED, Operator, load, runs  # noqa: E402

POLICIES = ["all_at_once", "rolling", "rolling_with_batch", "immutable"]
# Seconds from the command to its end, one run each.
BEANSTALK = {"all_at_once": 79, "rolling": 488, "immutable": 1090}
# Health checks every half second; all else as on AWS.
PACE = Pace(schedule=20)
LONGEST = 10.0

# Bounds, in seconds.
OWN, TOLD = 2.0, 5.0
# What the application of the bad release prints before it ends.
CAUSE = "no database here"


def boots(region: Region, since: float) -> list[tuple[float, float]]:
    """Of each instance launched since then: when, and when it was told that it serves."""
    with region.engine.lock:
        events = region.stack("shop-prod").events
        signalled = {event.reason.rpartition(" ")[2]: event.at.timestamp() for event in events if event.reason.startswith("Received SUCCESS")}
        activities = [one for group in region.engine.groups.values() for one in group.activities]
        launched = {one.description.rpartition(" ")[2]: one.begun.timestamp() for one in activities if one.description.startswith("Launching")}
    return sorted((begun, signalled[id]) for id, begun in launched.items() if begun >= since and id in signalled)


def batches(found: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """One after the other. Who was launched before all of a batch served belongs to it."""
    batches: list[tuple[float, float]] = []
    for launched, serves in found:
        if batches and launched < batches[-1][1]:
            begun, served = batches.pop()
            batches.append((begun, max(served, serves)))
        else:
            batches.append((launched, serves))
    return batches


def own(region: Region, began: float, ended: float) -> float:
    """How long only ingot-fleet was waited for."""
    with region.engine.lock:
        told = [event for event in region.stack("shop-prod").events if event.logical == "shop-prod" and event.at.timestamp() >= began]
    at = [event.at.timestamp() for event in told if event.status in ("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE")]
    begins, ends = [began, *at[1::2]], [*at[::2], ended]
    assert len(at) in (2, 4), [event.status for event in told]
    return sum(end - begin for begin, end in zip(begins, ends))


def measured(operator: Operator, policy: str, release: str, directory: Path) -> dict:
    region, (before, *_) = operator.region, runs(operator.region)
    with load(region, "prod", directory, LONGEST) as told:
        began = time.time()
        result = operator("deploy", "prod", "--release", release, "--policy", policy, "--yes")
        ended = time.time()
        time.sleep(LONGEST)
    assert result.code == 0, (result, region.told())
    assert release in told["generations"], told
    found = batches(boots(region, began))
    return {
        "policy": policy,
        "requests": told["sent"],
        "lost": told["lost"],
        "seconds": round(max(told["last"][before], told["last_lost"] or 0) - began, 1),
        "least_possible": round(sum(serves - launched for launched, serves in found), 1),
        "until_the_end": round(ended - began, 1),
        "batches": len(found),
        "own_a_batch": round(own(region, began, ended) / len(found), 2),
    }


def told_after(operator: Operator, policy: str) -> float:
    """How long it takes from an instance's failure until its cause is told."""
    known, lines = set(evidence(operator.region)), []
    process = operator.start("deploy", "prod", "--release", "bad", "--policy", policy, "--yes")
    reader = threading.Thread(target=lambda: lines.extend((time.time(), line) for line in process.stderr))
    reader.start()
    code = process.wait(operator.patience)
    reader.join()
    assert code == 1, (lines, operator.region.told())
    told = next(at for at, line in lines if CAUSE in line)
    failed = min(failure(operator.region, key) for key in evidence(operator.region) if key not in known)
    return round(told - failed, 1)


def evidence(region: Region) -> list[str]:
    found = region.client("s3").list_objects_v2(Bucket=fleet.EVIDENCE).get("Contents", [])
    return [one["Key"] for one in found if one["Key"].endswith("-serve.json.zst")]


def failure(region: Region, key: str) -> float:
    """When the first step failed, by the report of an instance."""
    body = region.client("s3").get_object(Bucket=fleet.EVIDENCE, Key=key)["Body"].read()
    content = subprocess.run(["zstd", "-dcq"], input=body, capture_output=True, check=True).stdout
    report = json.loads(content)["report"]
    failed = [step["finished_ms"] for step in report["steps"] if step["outcome"] == "failed"]
    return datetime.fromisoformat(report["started_at"]).timestamp() + min(failed) / 1000


def missed(found: list[dict], is_seeded: bool) -> list[str]:
    """The bounds that do not hold."""
    why = []
    for one in found:
        policy = one["policy"]
        if one["lost"] and policy != "all_at_once":
            why.append(f"{policy}: {one['lost']} requests lost")
        if one["own_a_batch"] >= OWN and not is_seeded:
            why.append(f"{policy}: {one['own_a_batch']} s of ingot-fleet's own a batch, {OWN} s at the most")
        if one["told_after"] > TOLD:
            why.append(f"{policy}: a failure is told after {one['told_after']} s, {TOLD} s at the most")
    return why


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES)
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--seed", type=int, help="draws late answers and slow launches from it; without it AWS answers at once")
    parser.add_argument("--json", action="store_true", help="print one object in place of the table")
    arguments = parser.parse_args()
    if why := container.unavailable():
        raise SystemExit(why)
    if not agent.binary() or not fleets.binary():
        raise SystemExit("no ingot or no ingot-fleet: build them with `cargo dist` and `cargo build --release --package ingot-fleet`")
    count = arguments.instances
    environment = {"instances": {"min": count, "max": 2 * count}, "deployment": {"policy": "rolling", "batch": 1}}
    found = []
    with tempfile.TemporaryDirectory() as directory, Region(containers(fleet.image), Bridge(), pace=PACE) as region:
        operator = Operator(Path(directory), region, document=BOOTED, prod=environment)
        releases = [f"v{number}" for number in range(len(arguments.policies) + 1)]
        for release in releases:
            operator.release(release, fleet.good(release))
        operator.release("bad", fleet.bad())
        created = operator("create", "prod", "--release", releases[0])
        assert created.code == 0, (created, region.told())
        if arguments.seed is not None:
            drawn = Delays.as_aws(arguments.seed)
            region.engine.delays.api, region.engine.delays.launch = drawn.api, drawn.launch
        for policy, release in zip(arguments.policies, releases[1:]):
            found.append(measured(operator, policy, release, Path(directory)))
            region.in_service(count)
        # Afterwards: an update that goes back leaves another version of the launch template behind, and the next one
        # begins with it.
        for figures in found:
            figures["told_after"] = told_after(operator, figures["policy"])
            region.in_service(count)
            print(f"stand-in: {figures}", file=sys.stderr)

    why = missed(found, arguments.seed is not None)
    if arguments.json:
        print(json.dumps({"stand_in": True, "instances": count, "seed": arguments.seed, "deployments": found, "missed": why}))
    else:
        table(found, count)
    if why:
        raise SystemExit(f"missed: {'; '.join(why)}")


def table(found: list[dict], count: int) -> None:
    print(f"Stand-in for AWS, {count} instances, from `ingot-fleet deploy` until the new release answers every request\n")
    names = ["Policy", "Requests", "Lost", "Seconds", "Least possible", "Until the command has ended", "Own, a batch"]
    names += ["A failure told after", "Elastic Beanstalk, on AWS"]
    print(f"| {' | '.join(names)} |\n{'|---' * len(names)}|")
    for one in found:
        elsewhere = f"{BEANSTALK[one['policy']]:,}" if one["policy"] in BEANSTALK else "not known"
        figures = [f"{one['requests']:,}", one["lost"], one["seconds"], one["least_possible"], one["until_the_end"]]
        figures += [one["own_a_batch"], one["told_after"], elsewhere]
        print(f"| `{one['policy']}` | {' | '.join(map(str, figures))} |")


if __name__ == "__main__":
    main()
