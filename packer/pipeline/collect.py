#!/usr/bin/env python3
"""Removes images that a bake left behind which was killed outright: of the pipeline, a day old, and never published.

    collect.py --image-name shop --regions eu-central-1 us-east-1

Known by their tags: Packer sets `ingot:pipeline`, `publish.py` adds `ingot:published`. A day, for another architecture
of the same name may be baked meanwhile. What refuses to go is said and stays; the exit code is 0. Snapshots that no
image consists of are not looked for.
"""

import argparse
import sys
from datetime import UTC, datetime, timedelta

import boto3

from failure import end_with
from image import Image, discard
from publish import TAG as PUBLISHED

# The tag that bake.sh has Packer set.
TAG = "ingot:pipeline"
LEFT_AFTER = timedelta(days=1)


def leftovers(ec2, region: str, image_name: str, now: datetime) -> list[Image]:
    filters = [{"Name": f"tag:{TAG}", "Values": [image_name]}]
    found = []
    for image in ec2.describe_images(Owners=["self"], Filters=filters)["Images"]:
        published = any(tag["Key"] == PUBLISHED for tag in image["Tags"])
        if not published and now - datetime.fromisoformat(image["CreationDate"]) > LEFT_AFTER:
            found.append(Image(region, image["ImageId"]))
    return found


def collect(client, regions: list[str], image_name: str, now: datetime) -> None:
    for region in regions:
        discard(client, leftovers(client("ec2", region_name=region), region, image_name, now))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Remove images that killed bakes left behind.")
    parser.add_argument("--image-name", required=True)
    parser.add_argument("--regions", required=True, nargs="+")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    collect(boto3.session.Session().client, args.regions, args.image_name, datetime.now(UTC))


if __name__ == "__main__":
    sys.exit(end_with(main))
