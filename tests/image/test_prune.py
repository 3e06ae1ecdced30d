"""prune.py, rule by rule: how far a thing gets by which look, what keeps it, and what the report says."""

import json
import sys
from datetime import timedelta

import pytest
from harness.aws import images_calls, made_up
from harness.aws.housekeeping import DAY, daily, look, verdict, with_recycle_bin
from harness.aws.images import ImageAccount
from harness.aws.made_up import FRIEND, GOLDEN, PARAMETER, PIPELINE, PUBLISHED
from harness.aws.pipeline import PIPELINE as DIRECTORY

import prune  # isort: skip
from pruning import versions  # isort: skip
from pruning.facts import Marks  # isort: skip
from pruning.look import Places  # isort: skip


@pytest.fixture
def account() -> ImageAccount:
    return with_recycle_bin()


# How far it gets.


def test_an_image_is_marked_seen_again_disabled_and_a_week_later_deleted_into_the_recycle_bin(account):
    image = account.image(PIPELINE)
    found = daily(account, 10)
    assert [verdict(one, image)[0] for one in found] == ["mark", "see again", "disable", *["wait"] * 6, "delete"]
    assert (
        verdict(found[5], image)[1]
        == "unused since 2026-12-01, disabled since 2026-12-03; to be deleted from 2026-12-10"
    )
    assert not account.images and not account.snapshots and len(account.bin) == 2


def test_looks_of_one_hour_count_as_one(account):
    image = account.image(PIPELINE)
    for _ in range(20):
        look(account)
        account.now += timedelta(minutes=2)
    assert set(account.images[image]["tags"]) == {"ingot:pipeline", "ingot:unused-since"}
    # A day and one look later, it is seen once more, and not disabled.
    account.now += 2 * DAY
    assert verdict(look(account), image)[0] == "see again"


def test_a_reference_at_any_look_enables_the_image_again_and_its_time_starts_anew(account):
    image = account.image(PIPELINE)
    daily(account, 5)
    assert account.images[image]["State"] == "disabled"
    account.stacks.append({"StackName": "shop", "Parameters": [{"ParameterKey": "Image", "ParameterValue": image}]})
    assert verdict(look(account), image) == ("unmark", "used by parameter Image of stack shop")
    assert account.images[image]["State"] == "available" and account.images[image]["tags"] == PIPELINE
    account.stacks.clear()
    assert verdict(look(account), image)[0] == "mark"


def test_the_launch_permissions_that_disabling_removes_come_back(account):
    image = account.image(PIPELINE, shared=[FRIEND])
    daily(account, 5, places=Places(accounts=(FRIEND,)))
    assert account.images[image]["permissions"] == []
    account.images[image]["tags"]["ingot:keep"] = "needed in another account"
    assert verdict(look(account), image) == ("unmark", "tag ingot:keep: needed in another account")
    assert account.images[image]["permissions"] == [FRIEND]


def test_what_was_disabled_or_enabled_by_hand_is_respected(account):
    by_hand = account.image(PIPELINE, State="disabled")
    enabled = account.image(PIPELINE)
    found = daily(account, 4)
    assert verdict(found[-1], by_hand) == ("keep", "disabled by hand")
    account.images[enabled]["State"] = "available"
    assert verdict(look(account), enabled) == ("unmark", "enabled by hand, so its time starts anew")


def test_another_account_keeps_a_shared_image(account):
    used, free = (account.image(PIPELINE, shared=[FRIEND]) for _ in range(2))
    account.usage[used] = [(FRIEND, "ec2:LaunchTemplate", 1)]
    found = daily(account, 12, places=Places(accounts=(FRIEND,)))
    assert verdict(found[2], used) == ("ask for usage", "unused since 2026-12-01; other accounts may use it")
    assert verdict(found[3], used) == ("unmark", f"used by account {FRIEND} (ec2:LaunchTemplate)")
    assert [image for image in account.images] == [used] and free in account.bin


def test_a_usage_report_that_is_late_is_waited_for(account):
    image = account.image(PIPELINE, shared=[FRIEND])
    account.report_takes = 3 * DAY
    found = daily(account, 6, places=Places(accounts=(FRIEND,)))
    assert verdict(found[4], image) == ("wait", "unused since 2026-12-01; its usage report is pending")
    assert verdict(found[5], image)[0] == "disable" and len(account.reports) == 1


def test_an_organization_may_use_every_image(account):
    image = account.image(PIPELINE)
    found = daily(account, 3, organization=True)
    assert verdict(found[2], image)[0] == "ask for usage"


def test_what_no_recycle_bin_rule_keeps_is_not_deleted_unless_that_is_chosen(account):
    image = account.image({"ingot:published": "/golden/other/arm64"})
    for number in range(5):
        account.image({"ingot:published": "/golden/other/arm64"}, number * DAY)
    found = daily(account, 12)
    assert verdict(found[-1], image)[1].endswith("; no Recycle Bin rule applies to it")
    look(account, without_bin=True)
    assert image in account.deleted


def test_snapshots_wait_as_long_as_images_and_the_newest_of_their_tags_stay(account):
    snapshots = [account.snapshot(GOLDEN, age=number * DAY) for number in range(10, 15)]
    databases = [account.database(f"golden-{number}", GOLDEN, age=number * DAY) for number in range(10, 15)]
    found = daily(account, 9, changes=9)
    assert list(account.snapshots) == snapshots[:3] and list(account.databases) == databases[:3]
    words = "one of the newest 3 with ingot:golden-data=shop ingot:pipeline=shop"
    assert verdict(found[0], snapshots[0]) == ("keep", words)


# What keeps it.


def test_nothing_without_the_tags_is_considered(account):
    account.image({"team": "web"}), account.snapshot({}), account.database("orders", {})
    assert [one["decisions"] for one in daily(account, 12)] == [[]] * 12


@pytest.mark.parametrize("refer", made_up.REFERENCES)
def test_each_kind_of_reference_is_said_in_one_line(account, refer):
    chance = made_up.random.Random(1)
    account.image(PIPELINE), account.template({}, {})
    image = account.image(PIPELINE)
    while not made_up.needed(account)[image]:
        refer(account, chance, image)
    why = verdict(look(account, places=Places(("s3://releases/",))), image)[1]
    assert why.startswith("used by ") and "\n" not in why and len(why) < 120


def test_an_image_recipe_keeps_its_base_image(account):
    image = account.image(PIPELINE)
    account.recipes[image] = "base"
    assert verdict(look(account), image) == ("keep", "used by image-recipe/base")


def test_a_rollback_keeps_what_it_can_return_to(account):
    """v3 was bad and rolled back to v2: the next rollback goes to v1, and nothing to v3."""
    images = [account.image(PIPELINE) for _ in range(4)]
    for number, (index, kind) in enumerate([(0, "deploy"), (1, "deploy"), (2, "deploy"), (1, "rollback")], 1):
        goal = {"release": f"v{index}", "image": images[index], "document": {"key": "d", "sha256": "0"}}
        record = {"schema": 2, "kind": kind, "state": "good", "goal": goal}
        account.objects[f"x/shop/environments/prod/deployments/{number}.json"] = json.dumps(record)
    account.objects["d"] = ""
    found = look(account, places=Places(("s3://releases/x/",)))
    assert verdict(found, images[0]) == ("keep", "used by deployment 1 of prod")
    assert verdict(found, images[1])[0] == "keep" and verdict(found, images[3])[0] == "mark"


def test_newest_images_of_a_parameter_stay_and_version_10_is_newer_than_version_9(account):
    images = [account.image(PUBLISHED, age=number * DAY) for number in range(1, 8)]
    template = account.template(PIPELINE, *({} for _ in range(12)), default=1)
    found = look(account)
    assert [verdict(found, image)[0] for image in images] == ["keep"] * 5 + ["mark"] * 2
    assert verdict(found, images[0])[1] == f"one of the newest 5 of {PARAMETER}"
    marked = [one["id"] for one in found["decisions"] if one["verdict"] == "mark" and ":" in one["id"]]
    assert marked == [f"{template}:{number}" for number in (7, 6, 5, 4, 3, 2)]


# Sources that cannot be read.

SOURCES = [
    "DescribeImages",
    "DescribeSnapshots",
    "DescribeDBSnapshots",
    "DescribeDBClusterSnapshots",
    "DescribeLaunchTemplates",
    "DescribeLaunchTemplateVersions",
    "DescribeImageReferences",
    "DescribeInstances",
    "DescribeAutoScalingGroups",
    "DescribeLaunchConfigurations",
    "DescribeFleets",
    "DescribeSpotFleetRequests",
    "DescribeStacks",
    "DescribeParameters",
    "GetParameters",
    "ListObjectsV2",
    "GetObject",
    "ListRules",
    "GetRule",
    "DescribeImageUsageReports",
    "DescribeImageUsageReportEntries",
    "GetCallerIdentity",
]


def test_every_call_that_reads_is_a_source():
    account = made_up.made_up(1, 60, 240)
    daily(account, 4, places=Places(("s3://releases/",), (FRIEND,)))
    reading = {call for call in account.calls if call.startswith(("Describe", "List", "Get"))}
    # Asked of an image that is about to be disabled: without an answer, it is not.
    assert reading == {*SOURCES, "DescribeImageAttribute"}


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_that_cannot_be_read_stops_all_but_what_saves(source):
    account = made_up.made_up(1, 60, 240)
    places = Places(("s3://releases/",), (FRIEND,))
    daily(account, 9, places=places)
    saved = next((id for id, one in account.images.items() if "ingot:disabled-since" in one["tags"]), None)
    account.images[saved]["tags"]["ingot:keep"] = "found out"
    account.calls.clear()
    account.refuse = {source}
    found = look(account, places=places)
    assert found["unreadable"] and found["unreadable"][0]["why"].startswith("An error occurred (UnauthorizedOperation)")
    changes = {call for call in account.calls if not call.startswith(("Describe", "List", "Get"))}
    assert changes <= {"EnableImage", "ModifyImageAttribute", "DeleteTags", "RemoveTagsFromResource"}
    assert {one["verdict"] for one in found["decisions"]} <= {"keep", "unmark", "wait"}
    if source != "DescribeImages":
        assert account.images[saved]["State"] == "available"


@pytest.mark.parametrize("places", [Places(), Places(("s3://releases/typo/",)), Places(("s3://other/",))])
def test_stacks_of_ingot_fleet_without_their_records_are_a_source_that_cannot_be_read(account, places):
    account.image(PIPELINE)
    tags = {"ingot:application": "shop", "ingot:environment": "prod"}
    tags = [{"Key": key, "Value": value} for key, value in tags.items()]
    account.stacks.append({"StackName": "shop-prod", "Tags": tags})
    account.stacks.append({"StackName": "shop-edge-main", "Tags": [*tags[:1], {"Key": "ingot:edge", "Value": "main"}]})
    record = {"schema": 2, "state": "good", "goal": {"release": "v1", "image": "ami-1", "document": {"key": ""}}}
    # One of another environment, and one of the same name in another application.
    prefix = places.releases[0].partition("//")[2].partition("/")[2] if places.releases else ""
    for other in ("shop/environments/next", "till/environments/prod"):
        account.objects[f"{prefix}{other}/deployments/1.json"] = json.dumps(record)
    found = look(account, places=places)
    (unreadable,) = found["unreadable"]
    assert unreadable["source"] == "deployment records" and "--releases" in unreadable["why"]
    assert "shop-prod" in unreadable["why"] and "edge" not in unreadable["why"]
    assert {one["verdict"] for one in found["decisions"]} == {"wait", "keep"}
    account.objects[f"{prefix}shop/environments/prod/deployments/1.json"] = json.dumps(record)
    assert bool(look(account, places=places)["unreadable"]) == (not places.releases)


def test_a_launch_template_that_gets_another_version_during_the_look_is_a_source_that_cannot_be_read(account):
    id = account.template({}, {})
    answer = images_calls.describe_launch_templates(account, {})
    account.templates[id]["versions"][2] = {"ImageId": account.image(PIPELINE)}
    account.answers["DescribeLaunchTemplates"] = answer
    assert look(account)["unreadable"][0]["why"] == f"{id} was changed during the look; run the same command again"


@pytest.mark.parametrize(
    "record", ["", "[]", '{"schema": 3, "state": "good", "goal": {}}', '{"schema": 2, "state": "good"}']
)
def test_a_record_that_cannot_be_read_is_a_source_that_cannot_be_read(account, record):
    account.objects["shop/environments/prod/deployments/1.json"] = record
    found = look(account, places=Places(("s3://releases/",)))
    assert [one["source"] for one in found["unreadable"]] == ["deployment records"]


# Failures, sizes, the program.


def test_a_change_that_fails_is_said_and_the_others_go_on(account):
    images = [account.image(PIPELINE) for _ in range(2)]
    daily(account, 9)
    account.images[images[0]]["protection"] = "disabled"
    account.refuse = {"DeregisterImage"}
    found = look(account)
    assert [one["failed"].split(" when")[0] for one in found["decisions"] if one["kind"] == "image"] == [
        "An error occurred (UnauthorizedOperation)"
    ] * 2
    account.refuse = set()
    assert [one["failed"] for one in look(account)["decisions"]] == [None] * 4 and not account.images


def test_a_shared_image_is_not_disabled_if_what_remembers_its_permissions_was_not_written(account):
    images = [account.image(PIPELINE, shared=[FRIEND]) for _ in range(2)]
    places = Places(accounts=(FRIEND,))
    daily(account, 3, places=places)
    account.gone = "InvalidAMIID.NotFound"
    found = look(account, places=places)
    assert {one["verdict"] for one in found["decisions"] if one["kind"] == "image"} == {"disable"}
    assert all(account.images[image]["permissions"] == [FRIEND] for image in images)
    assert all(one["failed"] for one in found["decisions"] if one["kind"] == "image")
    account.gone = None
    look(account, places=places)
    assert all(account.images[image]["tags"]["ingot:shared-with"] == FRIEND for image in images)


def test_sizes_are_counted_once(account):
    shared = account.snapshot(PIPELINE, gib=10)
    account.image(PIPELINE, snapshots=[shared]), account.image(PIPELINE, snapshots=[shared])
    account.snapshot({**PIPELINE, "ingot:keep": ""}, gib=7)
    found = daily(account, 10)
    assert found[0]["gib_months"] == {"kept": 7.0, "going": 10.0, "freed": 0.0}
    assert found[9]["gib_months"] == {"kept": 7.0, "going": 0.0, "freed": 10.0}


def test_marks_of_versions_fit_into_one_tag():
    now = ImageAccount().now
    marks = {number: Marks(now, now + DAY) for number in (1, 2, 3, 7)} | {9: Marks(now + DAY)}
    text = versions.write_marks(marks)
    assert text == "1-3,7@20261201T0500Z/20261202T0500Z 9@20261202T0500Z"
    assert versions.read_marks(text) == marks
    many = {number: Marks(now) for number in range(1, 2000, 2)}
    text = versions.write_marks(many)
    assert len(text) <= versions.LONGEST and set(versions.read_marks(text)) == set(
        list(many)[: len(versions.read_marks(text))]
    )
    assert versions.read_marks("by hand 1-x@1 3@20261201T0500Z") == {3: Marks(now)}


def test_the_program_prints_a_line_for_each_thing_and_fails_if_a_source_was_unreadable(account, monkeypatch, capsys):
    image, kept = account.image(PIPELINE), account.image({**PIPELINE, "ingot:keep": "audit"})
    monkeypatch.setattr(prune.boto3.session, "Session", lambda: FakeSession(account))
    monkeypatch.setattr(sys, "argv", ["prune.py"])
    prune.main()
    text = capsys.readouterr().out.splitlines()
    assert f"mark          image {image} (image {image[-4:]}) 8.0 GiB: nothing refers to it" in text
    assert f"keep          image {kept} (image {kept[-4:]}) 8.0 GiB: tag ingot:keep: audit" in text
    assert text[-1] == "dry run: nothing was changed; --apply makes these changes"
    account.refuse = {"DescribeStacks"}
    monkeypatch.setattr(sys, "argv", ["prune.py", "--json", "--apply"])
    with pytest.raises(prune.Failure, match="eu-central-1: cannot read stacks"):
        prune.main()
    assert json.loads(capsys.readouterr().out)["unreadable"][0]["source"] == "stacks"


class FakeSession:
    def __init__(self, account: ImageAccount):
        self.account, self.region_name = account, account.region

    def client(self, service: str, **_):
        return self.account.client(service)


def test_the_guide_lists_every_call():
    guide = (DIRECTORY.parents[1] / "docs" / "guides" / "housekeeping.md").read_text()
    policy = (DIRECTORY / "housekeeping.yaml").read_text()
    account = made_up.made_up(2, 60, 240)
    daily(account, 14, places=Places(("s3://releases/",), (FRIEND,)))
    names = {"ListObjectsV2": "ListBucket", "ListRules": "ListRules"}
    for call in set(account.calls) - {"GetCallerIdentity"}:
        assert f":{names.get(call, call)}" in policy, call
    assert "housekeeping.yaml" in guide
