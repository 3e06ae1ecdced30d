"""due.py, publish.py and collect.py on moto: what is to be baked, what launch templates resolve, which images go."""

import re
import subprocess
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError
from harness.aws.pipeline import ELSEWHERE, PARAMETER, PIPELINE, Clock, bake, exists, snapshots_of, with_venv
from harness.aws.proxy import REGION

import collect  # isort: skip
import due  # isort: skip
import image  # isort: skip
import publish  # isort: skip
from failure import Failure  # isort: skip

pytestmark = pytest.mark.usefixtures("cloud")

ORIGIN = publish.Origin("ami-0base", "abc/123")


@pytest.fixture
def ec2(cloud):
    return boto3.client("ec2", region_name=REGION)


@pytest.fixture
def ssm(cloud):
    return boto3.client("ssm", region_name=REGION)


def publish_images(*images: image.Image, origin: publish.Origin = ORIGIN) -> None:
    publish.publish(boto3.client, list(images), "shop", "x86_64", origin, Clock())


def is_due(ssm, base_image: str, revision: str) -> list[str]:
    return due.reasons(due.last_baked(ssm, "shop", "x86_64"), base_image, revision)


# What is due.


def test_a_changed_base_image_is_due_once(ssm):
    assert is_due(ssm, "ami-0base", "abc/123") == ["never baked"]
    publish_images(bake())
    assert is_due(ssm, "ami-0base", "abc/123") == []
    assert is_due(ssm, "ami-1base", "abc/123") == ["base image is now ami-1base, was ami-0base"]
    publish_images(bake(name="shop-2"), origin=publish.Origin("ami-1base", "abc/123"))
    assert is_due(ssm, "ami-1base", "abc/123") == []


def test_a_changed_revision_is_due(ssm):
    publish_images(bake())
    assert is_due(ssm, "ami-0base", "def/123") == ["revision is now def/123, was abc/123"]


def test_a_record_that_nobody_can_read_is_due(ssm):
    ssm.put_parameter(Name=due.baked_from("shop", "x86_64"), Value="by hand", Type="String")
    assert is_due(ssm, "ami-0base", "abc/123") == ["never baked"]


@pytest.mark.parametrize("architecture", sorted(due.DEBIAN_NAMES))
def test_amazon_linux_is_found_by_its_public_parameter(ssm, architecture):
    # Of the three, moto has Amazon's public parameters only.
    assert due.newest_base_image(ssm, "amazon-linux-2023", architecture).startswith("ami-")


def test_amazon_linux_is_compared_by_the_kernel_that_it_is_baked_from():
    (kernel,) = set(re.findall(r"kernel-[\w.]+", due.BASE_IMAGES["amazon-linux-2023"].replace("-{", " ")))
    source = (PIPELINE.parent / "amazon-ebs.pkr.hcl").read_text()
    assert f'"al2023-ami-2023.*-{kernel}-${{var.architecture}}"' in source


def test_a_missing_public_parameter_is_said_by_its_name(ssm):
    with pytest.raises(Failure, match="/aws/service/debian/release/12/latest/amd64"):
        due.newest_base_image(ssm, "debian-12", "x86_64")


# Publishing.


def test_the_parameter_is_one_that_launch_templates_resolve(ec2, ssm):
    made = bake()
    publish_images(made)
    parameter = ssm.get_parameter(Name=PARAMETER)["Parameter"]
    assert (parameter["Value"], parameter["DataType"]) == (made.id, "aws:ec2:image")
    (described,) = ec2.describe_images(ImageIds=[made.id])["Images"]
    assert {"Key": "ingot:published", "Value": PARAMETER} in described["Tags"]


def test_the_history_stays_and_the_version_before_is_marked(ssm):
    made = [bake(name=f"shop-{number}") for number in range(3)]
    for one in made:
        publish_images(one)
    history = ssm.get_parameter_history(Name=PARAMETER)["Parameters"]
    assert [version["Value"] for version in history] == [one.id for one in made]
    assert [version["Labels"] for version in history] == [[], ["previous"], []]
    assert history[-1]["Description"] == "golden image of revision abc/123 on ami-0base"
    assert publish.value(ssm, f"{PARAMETER}:previous")["Value"] == made[1].id


def test_the_same_image_twice_is_one_version(ssm):
    made = bake()
    publish_images(made)
    publish_images(made)
    assert len(ssm.get_parameter_history(Name=PARAMETER)["Parameters"]) == 1


def test_every_region_gets_its_own_image():
    home, copy = bake(), bake(ELSEWHERE)
    publish_images(home, copy)
    for made in (home, copy):
        ssm = boto3.client("ssm", region_name=made.region)
        assert publish.value(ssm, PARAMETER)["Value"] == made.id


def test_images_that_were_published_before_stay():
    """An environment may be pinned to any of them; prune.py asks."""
    made = [bake(name=f"shop-{number}", month=number + 1) for number in range(9)]
    for one in made:
        publish_images(one)
    assert all(exists(one) for one in made)


def test_an_image_that_is_not_there_is_not_published(ssm):
    with pytest.raises((Failure, ClientError)):
        publish_images(image.Image(REGION, "ami-00000000000000000"))
    assert publish.value(ssm, PARAMETER) is None


def test_a_value_that_ssm_does_not_take_is_a_failure(ssm, monkeypatch):
    """A 200 says nothing: the id is looked at afterwards, and a value that is refused just does not appear."""
    client = boto3.client("ssm", region_name=REGION)
    monkeypatch.setattr(client, "put_parameter", lambda **_: {})
    with pytest.raises(Failure, match="does not accept ami-"):
        publish.put(client, PARAMETER, bake(), ORIGIN, Clock())


class Refusal(Exception):
    pass


def refusing(region: str):
    """Clients of moto, of which the one of SSM in `region` writes nothing."""

    def client(service: str, region_name: str):
        made = boto3.client(service, region_name=region_name)
        if (service, region_name) == ("ssm", region):

            def refuse(**_):
                raise Refusal

            made.put_parameter = refuse
        return made

    return client


def test_what_cannot_be_published_goes_with_its_snapshots(ec2):
    home, copy = bake(), bake(ELSEWHERE)
    snapshots = snapshots_of(ec2, home)
    with pytest.raises(Refusal):
        publish.publish_or_discard(refusing(ELSEWHERE), [home, copy], "shop", "x86_64", ORIGIN, Clock())
    assert not exists(home) and not exists(copy)
    with pytest.raises(ClientError, match="InvalidSnapshot.NotFound"):
        ec2.describe_snapshots(SnapshotIds=snapshots)


def test_what_a_parameter_names_already_stays_where_the_rest_fails():
    home, copy = bake(), bake(ELSEWHERE)
    with pytest.raises(Refusal):
        publish.publish_or_discard(refusing(REGION), [home, copy], "shop", "x86_64", ORIGIN, Clock())
    assert not exists(home) and exists(copy)


def test_an_image_that_was_once_published_is_not_discarded():
    made = [bake(name=f"shop-{number}") for number in range(2)]
    for one in made:
        publish_images(one)
    with pytest.raises(Refusal):
        publish.publish_or_discard(refusing(REGION), [made[0]], "shop", "x86_64", ORIGIN, Clock())
    assert exists(made[0])


# What killed bakes left.


def test_what_was_never_published_goes_after_a_day(ec2):
    made = {name: bake(name=name) for name in ("left", "published", "another", "not-ours")}
    for name, pipeline in (("left", "shop"), ("published", "shop"), ("another", "shop-2")):
        ec2.create_tags(Resources=[made[name].id], Tags=[{"Key": "ingot:pipeline", "Value": pipeline}])
    publish_images(made["published"])
    born = datetime(2026, 1, 1, tzinfo=UTC)
    collect.collect(boto3.client, [REGION, ELSEWHERE], "shop", born + timedelta(hours=23))
    assert all(exists(one) for one in made.values())
    collect.collect(boto3.client, [REGION, ELSEWHERE], "shop", born + timedelta(hours=25))
    assert [name for name, one in made.items() if not exists(one)] == ["left"]


def test_a_failure_is_told_in_three_parts(tmp_path):
    words = ["--image-name", "shop", "--architecture", "x86_64", "--base-image", "ami-1", "--revision", "abc"]
    result = subprocess.run(
        [PIPELINE / "publish.py", "--manifest", tmp_path / "missing.json", *words],
        capture_output=True,
        text=True,
        env=with_venv() | {"AWS_DEFAULT_REGION": REGION},
    )
    assert result.returncode == 1
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["error", "cause", "hint"]
