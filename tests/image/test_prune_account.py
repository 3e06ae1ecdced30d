"""prune.py over a made-up account of 500 images and 2,000 snapshots, against a check that goes through everything."""

import copy
import random
from collections import Counter

import pytest
from harness.aws import made_up
from harness.aws.images import ImageAccount, Killed
from harness.aws.pipeline import PIPELINE  # noqa: F401  puts packer/pipeline on the path

import prune  # isort: skip
from pruning.decide import Policy  # isort: skip
from pruning.look import Places  # isort: skip

PLACES = Places(("s3://releases/",), (made_up.FRIEND,))
TAGS = tuple((tag, None) for tag in prune.TAGS)
CALLS_FOR_100_IMAGES = 60


def look(account: ImageAccount, changes: int | None = None, apply: bool = True) -> dict:
    policy = Policy(TAGS, changes=changes)
    return prune.prune(account.region, account.client, policy, PLACES, apply, account.now)[0]


def all_of(account: ImageAccount) -> dict[str, dict]:
    """Everything that has tags of its own."""
    return {**account.images, **account.snapshots, **account.databases, **account.clusters}


class Expected:
    """What the rules say of each thing, from nothing but the looks at which it was not needed."""

    def __init__(self, account: ImageAccount):
        self.unneeded: Counter[str] = Counter()
        self.by_hand = {id for id, image in account.images.items() if image["State"] == "disabled"}
        self.before = copy.deepcopy(account.images)
        # The rules of the Recycle Bin are for this tag.
        self.in_bin = {id for id, one in all_of(account).items() if one["tags"].get("ingot:pipeline") == "shop"}

    def note(self, account: ImageAccount) -> None:
        """Before a look."""
        self.before = copy.deepcopy(account.images)
        for id, is_needed in {**made_up.needed(account), **made_up.needed_versions(account)}.items():
            self.unneeded[id] = 0 if is_needed else self.unneeded[id] + 1

    def check(self, account: ImageAccount) -> None:
        """After it."""
        for id, count in self.unneeded.items():
            if id in self.by_hand:
                assert id in account.images and account.images[id]["State"] == "disabled", id
            elif id in self.before:
                self.check_image(account, id, count)
            elif ":" in id:
                assert (id in account.deleted) == (count >= 9), (id, count)
            elif id in account.deleted:
                assert count >= 9, (id, count)
            else:
                assert count < 9 or (id.startswith("snap-") and id not in self.in_bin), (id, count)
                assert (made_up.MARKS[0] in all_of(account)[id]["tags"]) == (count >= 1), (id, count)

    def check_image(self, account: ImageAccount, id: str, count: int) -> None:
        image = self.before[id]
        shared = bool(image["permissions"]) or "ingot:shared-with" in image["tags"]
        if account.usage.get(id) and shared:
            # Another account uses it, which is known once there is a report.
            assert account.images[id]["State"] == "available", id
            return
        # A shared image waits for its report for one look.
        disabled, deleted = (4, 11) if shared else (3, 10)
        covered = {id, *image["snapshots"]} <= self.in_bin
        assert (id in account.deleted) == (count >= deleted and covered), (id, count)
        if id in account.images:
            now = account.images[id]
            assert (made_up.MARKS[0] in now["tags"]) == (count >= 1), (id, count)
            if now["State"] != "pending":
                assert (now["State"] == "disabled") == (count >= disabled), (id, count)
        else:
            assert id in account.bin
            assert all(one in account.bin for one in image["snapshots"] if one in account.deleted)


@pytest.mark.parametrize("seed", range(2))
def test_marks_and_deletes_what_a_search_of_everything_says(seed):
    account, chance = made_up.made_up(seed, 500, 2000), random.Random(seed)
    assert (len(account.images), len(account.snapshots)) == (500, 2000)
    expected = Expected(account)
    for _ in range(14):
        expected.note(account)
        assert look(account, changes=10_000)["unreadable"] == []
        expected.check(account)
        made_up.day_passes(account, chance)
    kinds = Counter(id.partition("-")[0] for id in account.deleted)
    assert kinds["ami"] > 50 and kinds["snap"] > 200 and kinds["golden"] > 5 and kinds["lt"] > 3, kinds


def test_a_look_takes_at_most_60_calls_for_100_images():
    account = made_up.made_up(3, 500, 2000)
    most = 0
    for _ in range(20):
        account.calls.clear()
        look(account)
        most = max(most, len(account.calls))
        account.now += made_up.timedelta(days=1)
    print(f"{most} calls at most in a look at 500 images and 2,000 snapshots")
    assert most <= 5 * CALLS_FOR_100_IMAGES, Counter(account.calls)
    assert len(account.deleted) > 300


def marked(account: ImageAccount) -> dict[str, tuple]:
    """How far each thing is, without the minutes in its marks."""
    return {
        id: (one["State"], *(one["tags"].get(mark, "")[:10] for mark in made_up.MARKS))
        for id, one in all_of(account).items()
    }


def run_with_kills(seed: int, kills: int, looks: int) -> tuple[ImageAccount, ImageAccount]:
    """The same account, looked at by runs that are killed and repeated, and by runs that are not."""
    account, chance = made_up.made_up(seed, 60, 240), random.Random(seed)
    whole = copy.deepcopy(account)
    for _ in range(looks):
        look(whole)
        for _ in range(kills):
            account.calls.clear()
            account.kill_at = (chance.randint(1, 40), chance.choice(["before", "after"]))
            try:
                look(account)
            except Killed:
                account.now += made_up.timedelta(minutes=1)
        account.kill_at = None
        look(account)
        whole.now += made_up.timedelta(days=1)
        account.now = whole.now
    return account, whole


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_moment_it_comes_to_the_same(seed):
    account, whole = run_with_kills(seed, kills=2, looks=24)
    assert account.deleted == whole.deleted and whole.deleted
    assert {id: state for id, (state, *_) in marked(account).items()} == {
        id: state for id, (state, *_) in marked(whole).items()
    }


def test_killed_at_each_change_of_each_look_it_comes_to_the_same():
    account = made_up.made_up(1, 20, 60)
    for _ in range(12):
        before = copy.deepcopy(account)
        account.calls.clear()
        look(account)
        changes = sum(not name.startswith(("Describe", "List", "Get")) for name in account.calls)
        for at in range(1, changes + 1):
            for when in ("before", "after"):
                again = copy.deepcopy(before)
                again.calls.clear()
                again.kill_at = (at, when)
                with pytest.raises(Killed):
                    look(again)
                again.kill_at = None
                again.now += made_up.timedelta(minutes=1)
                look(again)
                assert (again.deleted, marked(again)) == (account.deleted, marked(account)), (at, when)
        account.now += made_up.timedelta(days=1)
    assert account.deleted


def test_a_dry_run_changes_nothing():
    account = made_up.made_up(5, 60, 240)
    before = marked(account)
    found = look(account, apply=False)
    assert marked(account) == before and not account.deleted
    assert {one["verdict"] for one in found["decisions"]} == {"keep", "mark"}
    assert all(name.startswith(("Describe", "List", "Get")) for name in account.calls)
