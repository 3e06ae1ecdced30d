#!/usr/bin/env python3
"""Reports whether a bake is due: the image was never baked, or its base image or revision has changed.

    due.py --image-name shop --os debian-12 --architecture x86_64 --revision "$(git rev-parse HEAD)" >due.json
    {"due": true, "reasons": ["base image is now ami-0b…, was ami-0a…"], "base_image": "ami-0b…", "revision": "…"}

AWS, Debian and Canonical publish the newest IDs of their images as public parameters. Accounts that read them get no
event when they change, so the pipeline polls once a day. `publish.py` records the last successful bake in a parameter:
a failed bake is still due the next day. This program changes nothing, and exits with 0 either way.
"""

import argparse
import json
import sys

import boto3
from botocore.exceptions import ClientError

from failure import Failure, code_of, end_with

# Sources: docs.aws.amazon.com/linux/al2023/ug/ec2.html, wiki.debian.org/Cloud/AmazonEC2Image/Bookworm,
# documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
# They match the filters of amazon-ebs.pkr.hcl, so the comparison is with the image that Packer would use.
BASE_IMAGES = {
    "amazon-linux-2023": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-{architecture}",
    "debian-12": "/aws/service/debian/release/12/latest/{debian}",
    "ubuntu-24.04": "/aws/service/canonical/ubuntu/server/24.04/stable/current/{debian}/hvm/ebs-gp3/ami-id",
}
DEBIAN_NAMES = {"x86_64": "amd64", "arm64": "arm64"}


def parameter_of(image_name: str, architecture: str) -> str:
    """Name of the parameter that holds the ID of the published image."""
    return f"/golden/{image_name}/{architecture}"


def baked_from(image_name: str, architecture: str) -> str:
    """Name of the parameter that records what the published image was baked from."""
    return f"{parameter_of(image_name, architecture)}/baked-from"


def newest_base_image(ssm, os: str, architecture: str) -> str:
    name = BASE_IMAGES[os].format(architecture=architecture, debian=DEBIAN_NAMES[architecture])
    try:
        return ssm.get_parameter(Name=name)["Parameter"]["Value"]
    except ClientError as error:
        hint = "allow ssm:GetParameter on it, and check that it exists in this region"
        raise Failure(f"cannot read the public parameter {name}", hint, error) from error


def last_baked(ssm, image_name: str, architecture: str) -> dict:
    try:
        text = ssm.get_parameter(Name=baked_from(image_name, architecture))["Parameter"]["Value"]
    except ClientError as error:
        if code_of(error) == "ParameterNotFound":
            return {}
        raise
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        # publish.py did not write this. The next bake overwrites it.
        return {}


def reasons(last: dict, base_image: str, revision: str) -> list[str]:
    if not last:
        return ["never baked"]
    found = []
    if last.get("base_image") != base_image:
        found.append(f"base image is now {base_image}, was {last.get('base_image')}")
    if last.get("revision") != revision:
        found.append(f"revision is now {revision}, was {last.get('revision')}")
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Report whether a bake is due.")
    parser.add_argument("--image-name", required=True)
    parser.add_argument("--os", required=True, choices=sorted(BASE_IMAGES))
    parser.add_argument("--architecture", required=True, choices=sorted(DEBIAN_NAMES))
    parser.add_argument("--revision", required=True, help="revision of the sources of the image")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    ssm = boto3.client("ssm")
    base_image = newest_base_image(ssm, args.os, args.architecture)
    why = reasons(last_baked(ssm, args.image_name, args.architecture), base_image, args.revision)
    json.dump({"due": bool(why), "reasons": why, "base_image": base_image, "revision": args.revision}, sys.stdout)
    print()


if __name__ == "__main__":
    sys.exit(end_with(main))
