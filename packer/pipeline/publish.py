#!/usr/bin/env python3
"""Publishes a tested image: writes its ID to the parameter that stacks and launch templates read.

    publish.py --manifest golden-manifest.json --image-name shop --architecture x86_64 \\
        --base-image ami-0b… --revision "$(git rev-parse HEAD)"

In every region of the manifest, `/golden/NAME/ARCHITECTURE` is a parameter of the data type `aws:ec2:image`. Its
versions, each with a description, are the history, and the label `previous` marks the version to roll back to. Images
that were published before stay: an environment may be pinned to any of them, and `prune.py` removes what nothing uses.
If publishing fails, the new image is removed in every region whose parameter does not name it. Run `try_image.py`
first: this program does not check that the image serves.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

from due import baked_from, parameter_of
from failure import Failure, code_of, end_with, talk
from image import Image, discard, read_manifest
from try_image import Clock

# Tag of published images. Its value is the parameter that names the image, or once named it.
TAG = "ingot:published"

# The only label; it moves with each version. Parameter Store keeps 100 versions and drops the oldest for a new one, but
# never a labeled one: with a label on each version, the parameter would eventually accept no new value.
PREVIOUS = "previous"

# SSM validates an image ID after it has answered, and does not report a rejection.
ACCEPTED_WITHIN_S = 120
LOOK_EVERY_S = 2


@dataclass(frozen=True)
class Origin:
    """What an image was baked from."""

    base_image: str
    revision: str


def value(ssm, name: str) -> dict | None:
    """The parameter, at the version or label that the name may end with; `None` if it does not exist."""
    try:
        return ssm.get_parameter(Name=name)["Parameter"]
    except ClientError as error:
        if code_of(error) in ("ParameterNotFound", "ParameterVersionNotFound"):
            return None
        raise


def never_published(client, images: list[Image]) -> list[Image]:
    """The images that were never published. One that was published may still be needed for a rollback."""
    found = []
    for image in images:
        described = client("ec2", region_name=image.region).describe_images(ImageIds=[image.id], Owners=["self"])
        if not any(tag["Key"] == TAG for one in described["Images"] for tag in one.get("Tags", [])):
            found.append(image)
    return found


def discard_unnamed(client, images: list[Image], parameter: str) -> None:
    """Removes the images that the parameter of their region does not name. Keeps one if the parameter is unreadable."""
    unnamed = []
    for image in images:
        try:
            named = value(client("ssm", region_name=image.region), parameter)
        except ClientError as error:
            talk(f"keeping {image}: cannot read {parameter}: {error}")
            continue
        if named is None or named["Value"] != image.id:
            unnamed.append(image)
    discard(client, unnamed)


def check_available(ec2, image: Image) -> None:
    found = ec2.describe_images(ImageIds=[image.id], Owners=["self"])["Images"]
    state = found[0]["State"] if found else "missing"
    if state != "available":
        raise Failure(f"{image} is {state}", "wait until Packer has finished the image, and test it with try_image.py")


def put(ssm, parameter: str, image: Image, origin: Origin, clock: Clock) -> None:
    """Sets the parameter, waits until SSM has accepted it, and labels the previous version."""
    before = value(ssm, parameter)
    if before and before["Value"] == image.id:
        return
    ssm.put_parameter(
        Name=parameter,
        Value=image.id,
        Type="String",
        DataType="aws:ec2:image",
        Description=f"golden image of revision {origin.revision} on {origin.base_image}",
        Overwrite=True,
    )
    begun = clock.now()
    while (value(ssm, parameter) or {}).get("Value") != image.id:
        if clock.now() - begun >= ACCEPTED_WITHIN_S:
            hint = "allow ec2:DescribeImages to the publishing role: SSM uses it to validate the image"
            raise Failure(f"{parameter} in {image.region} does not accept {image.id}", hint)
        clock.sleep(LOOK_EVERY_S)
    if before:
        ssm.label_parameter_version(Name=parameter, ParameterVersion=before["Version"], Labels=[PREVIOUS])


def publish(client, images: list[Image], image_name: str, architecture: str, origin: Origin, clock: Clock) -> None:
    """Publishes in every region, the home region last, so that what it names exists everywhere."""
    parameter = parameter_of(image_name, architecture)
    for image in images:
        check_available(client("ec2", region_name=image.region), image)
    for image in reversed(images):
        ec2, ssm = client("ec2", region_name=image.region), client("ssm", region_name=image.region)
        ec2.create_tags(Resources=[image.id], Tags=[{"Key": TAG, "Value": parameter}])
        put(ssm, parameter, image, origin, clock)
        talk(f"{parameter} in {image.region} now names {image.id}")
    home = client("ssm", region_name=images[0].region)
    text = json.dumps({"base_image": origin.base_image, "revision": origin.revision})
    home.put_parameter(Name=baked_from(image_name, architecture), Value=text, Type="String", Overwrite=True)


def publish_or_discard(
    client, images: list[Image], image_name: str, architecture: str, origin: Origin, clock: Clock
) -> None:
    fresh = never_published(client, images)
    try:
        publish(client, images, image_name, architecture, origin, clock)
    except BaseException:
        discard_unnamed(client, fresh, parameter_of(image_name, architecture))
        raise


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Publish an image that passed its trial.")
    parser.add_argument("--manifest", required=True, type=Path)
    parser.add_argument("--image-name", required=True)
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--base-image", required=True, help="AMI that the image was baked from, as printed by due.py")
    parser.add_argument("--revision", required=True, help="revision that was given to due.py")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    session = boto3.session.Session()
    images = read_manifest(args.manifest, session.region_name)
    origin = Origin(args.base_image, args.revision)
    publish_or_discard(session.client, images, args.image_name, args.architecture, origin, Clock())


if __name__ == "__main__":
    sys.exit(end_with(main))
