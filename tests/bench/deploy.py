#!/usr/bin/env python3
"""From `ingot-fleet deploy` to every request answered by the new release, for each policy, under load. A stand-in for AWS.

    .venv/bin/python tests/bench/deploy.py [--policies POLICY…] [--instances N] [--seed N] [--json]

In the region of `tests/harness/region`: a load balancer, and instances that are containers with a real systemd, which ingot
boots. The application is a small one in Python. Time is from exec of the command to the last request that the release before
answered; and to the end of the command. The least that was possible is what the engine has to wait for: the launch, the boot
and the health checks of the slowest instance of each batch, as they were measured meanwhile. The load is that of
`harness/host/load.py`: connections that are kept, POST, pauses of up to 20 ms and of up to 5 s, requests of 10 s, a WebSocket;
it counts a request without a complete and correct answer as lost. `--seed` has AWS answer late and launch slowly.
Prints a Markdown table, or with `--json` one object.

Health checks come every half second, where AWS has 10 s at the least in the templates, so times of AWS are longer. Elastic
Beanstalk's times are those of one user on AWS, 3 instances and a small Python application: another place.
"""

import argparse
import json
import sys
import tempfile
import time
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


def boots(region: Region, since: float) -> list[tuple[float, float]]:
    """Of each instance launched since then: when, and when it was told that it serves."""
    with region.engine.lock:
        events = region.stack("shop-prod").events
        signalled = {event.reason.rpartition(" ")[2]: event.at.timestamp() for event in events if event.reason.startswith("Received SUCCESS")}
        activities = [one for group in region.engine.groups.values() for one in group.activities]
        launched = {one.description.rpartition(" ")[2]: one.begun.timestamp() for one in activities if one.description.startswith("Launching")}
    return sorted((begun, signalled[id]) for id, begun in launched.items() if begun >= since and id in signalled)


def least(found: list[tuple[float, float]]) -> float:
    """The slowest of each batch, one batch after the other. Who was launched before all of a batch served belongs to it."""
    batches: list[tuple[float, float]] = []
    for launched, serves in found:
        if batches and launched < batches[-1][1]:
            begun, served = batches.pop()
            batches.append((begun, max(served, serves)))
        else:
            batches.append((launched, serves))
    return sum(served - begun for begun, served in batches)


def measured(operator: Operator, policy: str, release: str, directory: Path) -> dict:
    region, (before, *_) = operator.region, runs(operator.region)
    with load(region, "prod", directory, LONGEST) as told:
        began = time.time()
        result = operator("deploy", "prod", "--release", release, "--policy", policy, "--yes")
        ended = time.time()
        time.sleep(LONGEST)
    assert result.code == 0, (result, region.told())
    assert release in told["generations"], told
    figures = {
        "policy": policy,
        "requests": told["sent"],
        "lost": told["lost"],
        "seconds": round(told["last"][before] - began, 1),
        "least_possible": round(least(boots(region, began)), 1),
        "until_the_end": round(ended - began, 1),
    }
    print(f"stand-in: {figures}", file=sys.stderr)
    return figures


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
        created = operator("create", "prod", "--release", releases[0])
        assert created.code == 0, (created, region.told())
        if arguments.seed is not None:
            drawn = Delays.as_aws(arguments.seed)
            region.engine.delays.api, region.engine.delays.launch = drawn.api, drawn.launch
        for policy, release in zip(arguments.policies, releases[1:]):
            found.append(measured(operator, policy, release, Path(directory)))
            region.in_service(count)

    if arguments.json:
        print(json.dumps({"stand_in": True, "instances": count, "seed": arguments.seed, "deployments": found}))
        return
    print(f"Stand-in for AWS, {count} instances, from `ingot-fleet deploy` until the new release answers every request\n")
    print("| Policy | Requests | Lost | Seconds | Least possible | Until the command has ended | Elastic Beanstalk, on AWS |")
    print("|---" * 7 + "|")
    for one in found:
        elsewhere = f"{BEANSTALK[one['policy']]:,}" if one["policy"] in BEANSTALK else "not known"
        print(f"| `{one['policy']}` | {one['requests']:,} | {one['lost']} | {one['seconds']} | {one['least_possible']} | {one['until_the_end']} | {elsewhere} |")


if __name__ == "__main__":
    main()
