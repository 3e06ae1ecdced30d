"""What prune.py must find in use though it is easily missed: parts of images, backups, hidden references."""

import base64
import gzip

import pytest
from harness.aws import made_up
from harness.aws.housekeeping import DAY, daily, look, verdict, with_recycle_bin
from harness.aws.images import ImageAccount
from harness.aws.made_up import FRIEND, GOLDEN, PIPELINE


@pytest.fixture
def account() -> ImageAccount:
    return with_recycle_bin()


# A snapshot is deleted with its image.


def of_a_stack(account: ImageAccount, image: str) -> None:
    account.stacks.append({"StackName": "shop", "Parameters": [{"ParameterKey": "From", "ParameterValue": image}]})


def test_an_image_stays_as_long_as_one_of_its_snapshots_is_needed_for_itself(account):
    named, kept, newest, backup = (account.snapshot(tags) for tags in (PIPELINE, PIPELINE, GOLDEN, PIPELINE))
    of_a_stack(account, named)
    account.snapshots[kept]["tags"]["ingot:keep"] = "audit"
    account.snapshots[backup]["tags"]["aws:backup:source-resource"] = "arn:aws:ec2:eu-central-1::volume/vol-1"
    images = [account.image(PIPELINE, snapshots=[one]) for one in (named, kept, newest, backup)]
    found = daily(account, 12)
    assert [verdict(found[-1], image) for image in images] == [
        ("keep", f"its {named}: used by parameter From of stack shop"),
        ("keep", f"its {kept}: tag ingot:keep: audit"),
        ("keep", f"its {newest}: one of the newest 3 with ingot:golden-data=shop ingot:pipeline=shop"),
        ("keep", f"its {backup}: a backup of AWS Backup or Data Lifecycle Manager"),
    ]
    assert not account.deleted


def test_an_image_does_not_take_a_snapshot_without_the_tags_with_it(account):
    image = account.image(PIPELINE, snapshots=[account.snapshot({"team": "web"})])
    found = daily(account, 12, without_bin=True)
    assert verdict(found[-1], image)[1].endswith("would be deleted with it, and has none of the tags")
    assert not account.deleted


def test_the_tag_of_an_application_is_for_launch_templates(account):
    """Its volumes and databases have it, and snapshots that people make of them."""
    tags = {"ingot:application": "shop", "ingot:environment": "prod"}
    for number in range(5):
        account.image(tags), account.snapshot(tags), account.database(f"shop-{number}", tags)
    template = account.template(tags, *({} for _ in range(7)), default=7)
    found = daily(account, 12, without_bin=True)
    assert {one["kind"] for one in found[0]["decisions"]} == {"template-version"}
    assert account.deleted == {f"{template}:1", f"{template}:2"}


def test_backups_of_a_loader_have_its_tags_and_neither_go_nor_count(account):
    golden = [account.snapshot(GOLDEN, age=number * DAY) for number in range(10, 14)]
    for number in range(5):
        account.snapshot({**GOLDEN, "aws:dlm:lifecycle-policy-id": "policy-1"}, age=number * DAY)
    found = daily(account, 12)
    assert account.deleted == {golden[3]}
    assert [one["reason"] for one in found[-1]["decisions"]].count(
        "a backup of AWS Backup or Data Lifecycle Manager"
    ) == 5


# Launch permissions that the look did not know.


ORGANIZATION = "arn:aws:organizations::123456789012:organization/o-1"


@pytest.mark.parametrize(
    ("shared", "hint"),
    [(FRIEND, f"it is shared with {FRIEND}: name them with --accounts"), (ORGANIZATION, "add --organization")],
)
def test_an_image_that_is_shared_with_others_than_those_named_is_not_disabled(account, shared, hint):
    image = account.image(PIPELINE, shared=[shared])
    found = daily(account, 12)
    (one,) = [one for one in found[-1]["decisions"] if one["id"] == image]
    assert one["failed"].endswith(hint)
    assert account.images[image]["State"] == "available" and account.images[image]["permissions"] == [shared]


def test_an_image_whose_launch_permissions_cannot_be_read_is_not_disabled(account):
    image = account.image(PIPELINE)
    account.refuse = {"DescribeImageAttribute"}
    daily(account, 12)
    assert account.images[image]["State"] == "available"


def test_a_report_answers_for_an_organization(account):
    image = account.image(PIPELINE, shared=[ORGANIZATION])
    daily(account, 5, organization=True)
    assert account.images[image]["State"] == "disabled"


# References that are easily missed.


def test_names_of_database_snapshots_are_found_in_any_case(account):
    account.database("golden-1", GOLDEN)
    of_a_stack(account, "Golden-1")
    assert verdict(look(account), "golden-1") == ("keep", "used by parameter From of stack shop")


def test_user_data_of_launch_configurations_is_searched(account):
    snapshot = account.snapshot(GOLDEN)
    made_up.of_a_launch_configuration(account, made_up.random.Random(1), "ami-0123456789abcdef0")
    account.launch_configurations[0]["UserData"] = base64.b64encode(f"volumes: data_{snapshot}".encode()).decode()
    assert verdict(look(account), snapshot) == ("keep", "used by launch configuration old-def0")


def test_user_data_that_is_no_gzip_after_all_holds_nothing_up(account):
    image = account.image(PIPELINE)
    account.template({}, {"UserData": base64.b64encode(gzip.compress(b"version: 1")[:10] + b"\xff" * 20).decode()})
    found = look(account)
    assert verdict(found, image)[0] == "mark" and not found["unreadable"]


def test_a_launch_template_may_name_a_parameter_by_its_arn_and_those_of_aws_are_not_read(account):
    image, other = account.image(PIPELINE), account.image(PIPELINE)
    arn = "arn:aws:ssm:eu-central-1:210987654321:parameter/shared/image"
    account.parameter(arn, image, other)
    account.template({}, {"ImageId": f"resolve:ssm:{arn}:1"})
    account.template({}, {"ImageId": "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-x86_64"})
    assert verdict(look(account), image)[1].startswith(f"used by parameter {arn}:1 of launch template lt-")
