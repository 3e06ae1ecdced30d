#!/usr/bin/env python3
"""Publishes a tried image: its id goes into the parameter that launch templates resolve, and the oldest images go.

    publish.py --manifest golden-manifest.json --image-name shop --architecture x86_64 \\
        --base-image ami-0b… --revision "$(git rev-parse HEAD)" --keep 5

In every region of the manifest `/golden/NAME/ARCHITECTURE` is a parameter of the data type `aws:ec2:image`. Its
versions are the history, each with a description; the label `previous` marks the version before, to go back to. What
these two name is never removed. A new image that could not be published is, where no parameter names it. That the image
serves is for `try_image.py` to see, before this.
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
from image import Image, discard, read_manifest, remove
from try_image import Clock

# The tag by which published images are known: its value is the parameter that they are or were in.
TAG = "ingot:published"

# The only label, and it moves. Parameter Store keeps 100 versions and drops the oldest for a new one, but not if it has
# a label: one label a version would end in a parameter that takes no value any more.
PREVIOUS = "previous"

# SSM looks at an image id after it has answered; it says nothing if it does not take it.
ACCEPTED_WITHIN_S = 120
LOOK_EVERY_S = 2


@dataclass(frozen=True)
class Origin:
    """What an image was baked from."""

    base_image: str
    revision: str


def value(ssm, name: str) -> dict | None:
    """The parameter, of the version or label that the name may end with; `None` where there is none."""
    try:
        return ssm.get_parameter(Name=name)["Parameter"]
    except ClientError as error:
        if code_of(error) in ("ParameterNotFound", "ParameterVersionNotFound"):
            return None
        raise


def never_published(client, images: list[Image]) -> list[Image]:
    """Those that are not known as published: what was once may be what somebody wants to go back to."""
    found = []
    for image in images:
        described = client("ec2", region_name=image.region).describe_images(ImageIds=[image.id], Owners=["self"])
        if not any(tag["Key"] == TAG for one in described["Images"] for tag in one.get("Tags", [])):
            found.append(image)
    return found


def discard_unnamed(client, images: list[Image], parameter: str) -> None:
    """Removes those that their region's parameter does not name; one that nobody can tell of stays."""
    unnamed = []
    for image in images:
        try:
            named = value(client("ssm", region_name=image.region), parameter)
        except ClientError as error:
            talk(f"{image} stays, {parameter} cannot be read: {error}")
            continue
        if named is None or named["Value"] != image.id:
            unnamed.append(image)
    discard(client, unnamed)


def check_available(ec2, image: Image) -> None:
    found = ec2.describe_images(ImageIds=[image.id], Owners=["self"])["Images"]
    state = found[0]["State"] if found else "missing"
    if state != "available":
        raise Failure(f"{image} is {state}", "publish only what Packer has finished and try_image.py has seen serve")


def put(ssm, parameter: str, image: Image, origin: Origin, clock: Clock) -> None:
    """Sets the parameter, sees that it is accepted, and marks the version before."""
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
            hint = "allow ec2:DescribeImages to the role that publishes: SSM looks for the image with it"
            raise Failure(f"{parameter} in {image.region} does not take {image.id}", hint)
        clock.sleep(LOOK_EVERY_S)
    if before:
        ssm.label_parameter_version(Name=parameter, ParameterVersion=before["Version"], Labels=[PREVIOUS])


def remove_old(ec2, ssm, parameter: str, keep: int) -> None:
    """Leaves the `keep` newest images, and what the parameter and its label name. Says what refuses to go."""
    in_use = {one["Value"] for one in (value(ssm, parameter), value(ssm, f"{parameter}:{PREVIOUS}")) if one}
    filters = [{"Name": f"tag:{TAG}", "Values": [parameter]}]
    images = ec2.describe_images(Owners=["self"], Filters=filters)["Images"]
    images.sort(key=lambda image: image["CreationDate"], reverse=True)
    for old in images[keep:]:
        if old["ImageId"] in in_use:
            continue
        try:
            remove(ec2, old["ImageId"])
            talk(f"{old['ImageId']} of {old['CreationDate']} is removed")
        except ClientError as error:
            talk(f"cannot remove {old['ImageId']} of {old['CreationDate']}: {error}")


def publish(
    client, images: list[Image], image_name: str, architecture: str, origin: Origin, keep: int, clock: Clock
) -> None:
    """Publishes in every region, home last: what others see at home is then true everywhere."""
    parameter = parameter_of(image_name, architecture)
    for image in images:
        check_available(client("ec2", region_name=image.region), image)
    for image in reversed(images):
        ec2, ssm = client("ec2", region_name=image.region), client("ssm", region_name=image.region)
        ec2.create_tags(Resources=[image.id], Tags=[{"Key": TAG, "Value": parameter}])
        put(ssm, parameter, image, origin, clock)
        talk(f"{parameter} in {image.region} is {image.id}")
    home = client("ssm", region_name=images[0].region)
    text = json.dumps({"base_image": origin.base_image, "revision": origin.revision})
    home.put_parameter(Name=baked_from(image_name, architecture), Value=text, Type="String", Overwrite=True)
    for image in images:
        region = {"region_name": image.region}
        remove_old(client("ec2", **region), client("ssm", **region), parameter, keep)


def publish_or_discard(
    client, images: list[Image], image_name: str, architecture: str, origin: Origin, keep: int, clock: Clock
) -> None:
    fresh = never_published(client, images)
    try:
        publish(client, images, image_name, architecture, origin, keep, clock)
    except BaseException:
        discard_unnamed(client, fresh, parameter_of(image_name, architecture))
        raise


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Publish a tried image.")
    parser.add_argument("--manifest", required=True, type=Path)
    parser.add_argument("--image-name", required=True)
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--base-image", required=True, help="as due.py said it")
    parser.add_argument("--revision", required=True, help="as due.py was given it")
    parser.add_argument("--keep", type=int, default=5, help="images that are kept, in each region")
    args = parser.parse_args()
    if args.keep < 2:
        parser.error("--keep has to be 2 or more: there is to be one to go back to")
    return args


def main() -> None:
    args = arguments()
    session = boto3.session.Session()
    images = read_manifest(args.manifest, session.region_name)
    origin = Origin(args.base_image, args.revision)
    publish_or_discard(session.client, images, args.image_name, args.architecture, origin, args.keep, Clock())


if __name__ == "__main__":
    sys.exit(end_with(main))
