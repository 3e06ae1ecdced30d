"""`ingot-fleet releases` and `releases prune`: what there is, what is in use, and what never goes."""

import pytest
from harness.agent import DONE, FAILED, USAGE
from harness.fleet import BUCKET

# As the front calls what it has no name for: what follows the last dot of it.
DELETE_V1 = "DELETE /shop-releases/shop/releases/v1.json".rpartition(".")[2]


@pytest.fixture
def four(fleet):
    """Four releases, v1 the oldest."""
    for number in range(1, 5):
        fleet.write("app/Procfile", f"web: v{number}\n")
        assert fleet("release", "app", "--name", f"v{number}").code == DONE
        content = fleet.read(f"shop/releases/v{number}.json").decode()
        at = content.partition('"at": "')[2][:20]
        fleet.put(f"shop/releases/v{number}.json", content.replace(at, f"2026-11-0{number}T12:00:00Z").encode())
    fleet.aws.forget()
    return fleet


def names(fleet) -> list[str]:
    return [release["name"] for release in fleet("releases", "--json").json["releases"]]


def test_lists_the_newest_first_with_who_uses_them(four):
    four.record("prod", 1, "v1", "good")
    four.record("prod", 2, "v2", "good")
    four.record("prod", 3, "v4", "failed")
    four.record("stage", 1, "v3", "under_way")
    listed = four("releases", "--json")
    assert listed.code == DONE, listed
    used = {release["name"]: [(use["environment"], use["role"]) for use in release["used_by"]] for release in listed.json["releases"]}
    assert used == {"v4": [], "v3": [("stage", "under_way")], "v2": [("prod", "in_force")], "v1": [("prod", "last_good")]}
    assert list(used) == ["v4", "v3", "v2", "v1"] and listed.json["uses_are_complete"]
    shown = four("releases").stdout.splitlines()
    assert shown[0].split() == ["RELEASE", "MADE", "BY", "SIZE", "SHA-256", "USED", "BY"]
    assert shown[2].startswith("v3 ") and shown[2].endswith("stage (under way)")


def test_nothing_yet(fleet):
    result = fleet("releases")
    assert result.code == DONE and "shop has no releases" in result.stderr and result.stdout == "", result
    assert fleet("releases", "--json").json == {"application": "shop", "releases": [], "uses_are_complete": True}


def test_prune_keeps_the_newest_and_what_is_in_use(four):
    four.record("prod", 1, "v1", "good")
    four.record("prod", 2, "v4", "good")
    four.record("prod", 3, "v3", "failed")
    result = four("releases", "prune", "--keep", "1", "--yes", "--json")
    assert result.code == DONE and result.json == {"removed": ["v2"]}, result
    assert names(four) == ["v4", "v3", "v1"]
    left = four.s3.list_object_versions(Bucket=BUCKET)
    assert not [one for one in left["Versions"] + left.get("DeleteMarkers", []) if "/v2." in one["Key"]], "also no version is left"
    again = four("releases", "prune", "--keep", "1", "--yes")
    assert again.code == DONE and "nothing to remove" in again.stderr, again


def test_prune_asks_first(four):
    result = four("releases", "prune", "--keep", "3")
    assert result.code == USAGE and "would permanently remove v1" in result.stderr and "--yes" in result.stderr, result
    assert len(names(four)) == 4


@pytest.mark.parametrize("content", [b"", b'{"schema": 1, "numb', b'{"schema": 2}', b"[]"])
def test_a_record_that_nobody_understands_keeps_everything(four, content):
    four.put("shop/environments/prod/deployments/1.json", content)
    result = four("releases", "prune", "--keep", "0", "--yes")
    assert result.code == FAILED and "cannot determine the state of deployment 1 of prod" in result.stderr and "hint: " in result.stderr, result
    listed = four("releases", "--json")
    assert listed.code == DONE and len(listed.json["releases"]) == 4 and not listed.json["uses_are_complete"], listed
    assert "warning: cannot determine the state of deployment 1 of prod" in listed.stderr


def test_prune_says_what_right_is_missing(four):
    denied = {"type": "AccessDenied", "message": "Access Denied", "status": 403}
    four.aws.fault("error", operation=DELETE_V1, **denied)
    result = four("releases", "prune", "--keep", "3", "--yes")
    assert result.code == FAILED and "PrunerArns" in result.stderr and "s3:DeleteObjectVersion" in result.stderr, result
    four.aws.recover()
    assert len(names(four)) == 4


def test_prune_killed_in_the_middle_goes_on(four):
    # Its description has two versions, the older of which goes first.
    four.aws.fault("hang", operation=DELETE_V1, after=1, times=1)
    four.killed("releases", "prune", "--keep", "3", "--yes", when=lambda: ["status" in call for call in four.aws.calls(DELETE_V1)] == [True, True])
    four.aws.recover()
    [v1] = [release for release in four("releases", "--json").json["releases"] if release["name"] == "v1"]
    assert v1["state"] == "unfinished"
    # What is not described is left alone for a day: it may be an upload.
    assert four("releases", "prune", "--keep", "3", "--yes", "--json").json == {"removed": []}


def test_prune_tells_what_it_removed_before_something_went_wrong(four):
    denied = {"type": "AccessDenied", "message": "Access Denied", "status": 403}
    four.aws.fault("error", operation=DELETE_V1, containing="v2.json", **denied)
    result = four("releases", "prune", "--keep", "2", "--yes", "--json")
    assert result.code == FAILED and result.json == {"removed": ["v1"]} and "PrunerArns" in result.stderr, result
    four.aws.recover()
    assert names(four) == ["v4", "v3", "v2"]
