"""A call of a deployment that AWS throttles, or that is made when the credentials have just expired: each kind of call at every
push, and with `slow` each single call. Scripted instances; all times are those of a stand-in.

Throttled twice, a deployment ends as if nothing had been. Credentials that expire and are renewed do not end a deployment that
is only watched; anywhere else `ingot-fleet` ends, says that somebody has to log in, and the same command goes on. Only if it
cannot look for a freeze right after its record is made does it end the record, before anything is ordered.
"""

import os
from collections import Counter

import pytest
from harness.agent import DONE, FAILED
from harness.fleet import Result
from harness.region import Region
from harness.region.actions import SERVICES
from harness.region.operated import Operator, runs, witnesses
from harness.region.small import FAST
from harness.region.verbs import needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

# Of 60 calls, how many may come once less in another deployment: those that look whether it has ended.
POLLED = 8
# How often the SDK makes a call that AWS throttles.
ATTEMPTS = 4
# Asked for after scaling activities; if these come late, or not at all, the deployment may end before.
UNHURRIED = {("autoscaling", "DescribeInstanceRefreshes")}


@pytest.fixture
def region():
    needs_binary()
    with Region(witnesses(), pace=FAST) as region:
        yield region


def kind(call: dict) -> tuple[str, str]:
    """Service and operation, as faults name them."""
    service, _, _ = call["target"].partition(".")
    names = {**SERVICES, "2010-08-01": "monitoring", "2011-06-15": "sts"}
    return names.get(call["form"].get("Version") or service, "s3"), call["operation"]


class Swept(Operator):
    """An environment of two instances that runs v1 or v2, and is deployed to from one to the other."""

    def __init__(self, directory, region, policy: str = "rolling"):
        super().__init__(directory, region, prod={"deployment": {"policy": policy}})
        for release in ("v1", "v2"):
            self.release(release)
        created = self("create", "prod", "--release", "v1")
        assert created.code == DONE, (created, region.told())
        # The first deployment after a creation may make other calls than those after it.
        self.whole("v2")

    def deploy(self, release: str) -> Result:
        return self("deploy", "prod", "--release", release, "--yes")

    def whole(self, release: str) -> Counter:
        """How often an undisturbed deployment makes each kind of call."""
        before = len(self.region.calls)
        done = self.deploy(release)
        assert done.code == DONE and "note: " not in done.stderr, done
        return Counter(kind(call) for call in self.region.calls[before:] if self.is_own(call))

    def is_own(self, call: dict) -> bool:
        return call["key_id"] == self.env["AWS_ACCESS_KEY_ID"]

    def fault(self, what: str, service: str, operation: str, times: int = 1, after: int = 0) -> None:
        """Has calls of `ingot-fleet` fail, and not those of its instances."""
        self.region.fault(what, service, operation=operation, key_id=self.env["AWS_ACCESS_KEY_ID"], times=times, after=after)

    def failed(self, since: int) -> Counter:
        """Which kinds of calls have failed, and how often."""
        return Counter(kind(call) for call in self.region.calls[since:] if call["fault"])

    def next(self) -> str:
        return "v2" if runs(self.region) == ["v1", "v1"] else "v1"

    def as_if_nothing_was(self, told: str) -> None:
        """A deployment while calls are throttled."""
        release, before = self.next(), self.states()
        done = self.deploy(release)
        assert done.code == DONE and "note: " not in done.stderr and "warning: " not in done.stderr, (told, done)
        self.is_whole(release, before, (told, done))

    def goes_on(self, told: str) -> Result:
        """A deployment while credentials expire: how it ended at first."""
        release, before = self.next(), self.states()
        result = first = self.deploy(release)
        for _ in range(30):
            if result.code == DONE:
                break
            said = (told, result, self.region.told())
            assert result.code == FAILED and "expired" in result.stderr and "log in with `aws sso login`" in result.stderr, said
            begun = self.states()[len(before) :]
            if begun == ["undone"]:
                # It could not look whether somebody has frozen the environment, and has ordered nothing.
                assert self.ordered() == before.count("good") - 1, said
                before, begun = [*before, "undone"], []
            assert begun in ([], ["under_way"]), said
            number, result = len(before) + 1, self.deploy(release)
            assert not begun or f"deployment {number} of prod ({release}) is under way: following it" in result.stderr, (said, result)
        self.is_whole(release, before, (told, first, result))
        return first

    def ordered(self) -> int:
        """How many releases were deployed, by the orders to CloudFormation."""
        parameters = [call["form"] for call in self.region.calls if call["operation"] == "UpdateStack"]
        return len({form["ClientRequestToken"] for form in parameters if "-release" in form["ClientRequestToken"]})

    def is_whole(self, release: str, before: list[str], told: tuple) -> None:
        """It is one deployment, and it has ended well."""
        assert self.states() == [*before, "good"], told
        self.region.in_service(2)
        assert runs(self.region) == [release, release], (told, self.region.told())


def test_each_kind_of_call_is_throttled_in_one_deployment(tmp_path, region):
    operator = Swept(tmp_path, region)
    kinds = operator.whole("v1")
    for one in kinds:
        operator.fault("throttled", *one, times=2)
    since = len(region.calls)
    operator.as_if_nothing_was("each kind of call, twice")
    failed = operator.failed(since)
    assert set(kinds) - set(failed) <= UNHURRIED and set(failed.values()) <= {1, 2}, failed


def test_credentials_expire_at_each_kind_of_call(tmp_path, region):
    operator = Swept(tmp_path, region)
    kinds = operator.whole("v1")
    for one in kinds:
        operator.fault("expired", *one)
    since = len(region.calls)
    first = operator.goes_on("each kind of call, once")
    failed = operator.failed(since)
    assert first.code == FAILED and set(failed.values()) == {1}, first
    assert set(kinds) - set(failed) <= UNHURRIED, failed


@pytest.mark.parametrize(("what", "times"), [("expired", 1), ("expired", 3), ("throttled", 3 * ATTEMPTS)])
def test_what_passes_does_not_end_the_watch(tmp_path, region, what, times):
    """Credentials are renewed, or AWS throttles for longer than the SDK tries."""
    operator = Swept(tmp_path, region)
    since = len(region.calls)
    before = operator.states()
    operator.fault(what, "cloudformation", "DescribeStackEvents", times, after=2)
    done = operator.deploy("v1")
    assert done.code == DONE and "; retrying" in done.stderr, (done, region.told())
    assert operator.failed(since) == {("cloudformation", "DescribeStackEvents"): times}
    operator.is_whole("v1", before, (done,))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["rolling", "all_at_once", "immutable"])
@pytest.mark.parametrize("what", ["throttled", "expired"])
def test_each_call_by_itself(tmp_path, region, what, policy):
    operator = Swept(tmp_path, region, policy)
    calls, missed, ends = operator.whole("v1"), Counter(), Counter()
    for (service, operation), count in calls.items():
        for nth in range(count):
            times = 1 + nth % 2 if what == "throttled" else 1
            told = f"{what}, {times} times: {service}:{operation} number {nth + 1} of {count}"
            since = len(region.calls)
            operator.fault(what, service, operation, times, nth)
            if what == "throttled":
                operator.as_if_nothing_was(told)
            else:
                ends[operator.goes_on(told).code] += 1
            missed[operation] += not operator.failed(since)
            region.recover()
    print(f"{policy}, {what}: {calls.total()} calls, ended {dict(ends)}, not made {dict(+missed)}")
    assert missed.total() <= POLLED, missed
