#!/usr/bin/env python3
"""Removes the images of bakes that were killed: tagged by the pipeline, older than a day, and never published.

    collect.py --image-name shop --regions eu-central-1 us-east-1

They are identified by tags: Packer sets `ingot:pipeline`, and `publish.py` adds `ingot:published`. Younger images are
kept, because a bake of another architecture may be running. A removal that fails is reported, and the exit code is
still 0. Snapshots that belong to no image are not removed.
"""

import argparse
import sys
from datetime import UTC, datetime, timedelta

import boto3

from failure import end_with
from image import Image, discard
from publish import TAG as PUBLISHED

# Tag that Packer sets for bake.sh.
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
    parser = argparse.ArgumentParser(description="Remove the images of bakes that were killed.")
    parser.add_argument("--image-name", required=True)
    parser.add_argument("--regions", required=True, nargs="+")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    collect(boto3.session.Session().client, args.regions, args.image_name, datetime.now(UTC))


if __name__ == "__main__":
    sys.exit(end_with(main))
