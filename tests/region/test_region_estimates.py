"""How long `ingot-fleet plan` says that a deployment takes, and how long it then takes: with late, stale and lost answers and
slow launches as AWS has them, drawn from another seed each time.

Instances are scripted and boot for 15 s. All times are those of a stand-in, from exec of `deploy` to its end.
"""

import os
import random
from contextlib import contextmanager

import pytest
from harness import fleet as fleets
from harness.agent import DONE
from harness.region import Outcome, Region
from harness.region.delays import Delays, Pace
from harness.region.operated import Operator, witnesses

# The template's listener has port 80.
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")]

# The group of an immutable deployment knows nothing of launches before it: it comes last.
POLICIES = ["all_at_once", "rolling", "rolling_with_batch", "immutable"]
# So many deployments of each.
TIMES = 2
BOOT = 15
# How much the estimate may differ: of all deployments together, and of those of one policy. A launch takes 1 to 8 s,
# and each of the thirty answers that a deployment waits for up to 2 s, so that a single one may differ by more than a
# tenth.
ALL, OF_A_POLICY = 0.1, 0.2
# A hook waits for 30 s.
TENTH = Pace(schedule=50, patience=10)


@contextmanager
def as_aws(region, seed: int):
    delays, drawn = region.engine.delays, Delays.as_aws(seed)
    names = ("api", "launch", "stale", "lost")
    before = {name: getattr(delays, name) for name in names}
    delays.lots = random.Random(seed)
    for name in names:
        setattr(delays, name, getattr(drawn, name))
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(delays, name, value)


def test_at_the_least_is_within_a_tenth_of_what_it_takes(tmp_path):
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")
    releases = [f"v{number}" for number in range(2 + TIMES * len(POLICIES))]
    with Region(witnesses(**{release: (Outcome(boot=BOOT), "") for release in releases}), pace=TENTH) as region:
        operator = Operator(tmp_path, region, prod={})
        for release in releases:
            operator.release(release)
        seeds = iter(range(1, 100))

        def run(*args: str):
            with as_aws(region, next(seeds)):
                result = operator(*args)
            assert result.code == DONE, (result, region.told())
            region.in_service(2)
            return result

        # What is known: a creation and one deployment.
        run("create", "prod", "--release", releases[0])
        run("deploy", "prod", "--release", releases[1], "--policy", "rolling_with_batch", "--yes")
        left, found = iter(releases[2:]), {}
        for policy in POLICIES:
            for release in (next(left) for _ in range(TIMES)):
                plan = run("plan", "prod", "--release", release, "--policy", policy, "--json").json
                deployed = run("deploy", "prod", "--release", release, "--policy", policy, "--yes")
                found.setdefault(policy, []).append((plan["at_least"]["seconds"], deployed.seconds))
                print(f"stand-in: {policy}: {found[policy][-1]}, {plan['at_least']}", flush=True)
    off = {policy: told(policy, pairs) for policy, pairs in found.items()}
    off["all"] = told("all", [pair for pairs in found.values() for pair in pairs])
    assert abs(off.pop("all")) <= ALL and max(map(abs, off.values())) <= OF_A_POLICY, off


def told(what: str, pairs: list[tuple[float, float]]) -> float:
    """By how much what was said of them differs from what they took, together."""
    said, taken = (sum(column) for column in zip(*pairs))
    each = ", ".join(f"{one} s and {other:.1f} s" for one, other in pairs)
    print(f"stand-in: {what}: {each}, said and taken; together {100 * (said / taken - 1):+.1f} %")
    return said / taken - 1
