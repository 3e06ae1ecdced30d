#!/usr/bin/env python3
"""Removes images, snapshots (EBS and RDS) and launch template versions that nothing uses, in several steps over days.

    prune.py --releases s3://shop-releases/                 # dry run: every keep and every removal, with its reason
    prune.py --releases s3://shop-releases/ --apply         # once a day, from a schedule

Only what has one of the tags is considered: by default `ingot:pipeline`, `ingot:published`, `ingot:golden-data` and, of
launch templates, `ingot:application`. The tag `ingot:keep` keeps anything. Each run looks for references; what has none
is marked. After a day and two more looks, an image is disabled; after another week, it is deleted into the Recycle Bin,
with its snapshots. Snapshots and launch template versions wait as long. If a look finds a reference, the marks are
removed and the image is enabled again. If any source cannot be read, nothing is marked, disabled or deleted, and the
exit code is 1. docs/guides/housekeeping.md describes the sources and the permissions.
"""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from failure import Failure, end_with
from pruning.carry_out import carry_out
from pruning.decide import Policy, decide
from pruning.look import Places, look_at
from pruning.report import document, lines

TAGS = ("ingot:pipeline", "ingot:published", "ingot:golden-data", "ingot:application")
# The adaptive mode slows down when EC2 throttles, so that a look does not fail because of its own calls.
CONFIG = Config(retries={"mode": "adaptive", "max_attempts": 10})


def prune(
    region: str, client: Callable[[str], Any], policy: Policy, places: Places, apply: bool, now: datetime
) -> tuple[dict[str, Any], list[str]]:
    """Looks at one region and makes the changes. Returns the result as a document and as lines."""
    facts = look_at(region, client, policy, places, now)
    decisions = decide(facts, policy)
    failed = carry_out(facts, decisions, client, policy.organization) if apply else {}
    return document(facts, decisions, apply, failed), lines(facts, decisions, apply, failed)


def pair(text: str) -> tuple[str, str | None]:
    key, _, value = text.partition("=")
    if not key:
        raise argparse.ArgumentTypeError("write KEY or KEY=VALUE")
    return key, value or None


def at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return number

    return parse


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Remove images, snapshots and template versions that nothing uses.")
    parser.add_argument("--regions", nargs="+", metavar="REGION", help="default: the region of the environment")
    parser.add_argument("--apply", action="store_true", help="make the changes; without it, they are only printed")
    parser.add_argument("--json", action="store_true", help="print one JSON document for each region, one per line")
    parser.add_argument("--tag", action="append", type=pair, metavar="KEY[=VALUE]", help="consider only these")
    parser.add_argument("--releases", action="append", default=[], metavar="URL", help="s3://BUCKET/PREFIX of releases")
    parser.add_argument("--accounts", nargs="+", default=[], help="accounts that images are shared with")
    parser.add_argument("--organization", action="store_true", help="images are shared with an organization")
    parser.add_argument("--keep-images", type=at_least(2), default=5, help="newest kept per parameter (default: 5)")
    parser.add_argument("--keep-snapshots", type=at_least(1), default=3, help="newest kept per tag set (default: 3)")
    parser.add_argument("--keep-versions", type=at_least(1), default=5, help="newest kept per template (default: 5)")
    parser.add_argument(
        "--changes", type=at_least(0), help="most changes in one run (default: what 60 calls for 100 images allow)"
    )
    parser.add_argument("--without-recycle-bin", action="store_true", help="also delete without a Recycle Bin rule")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    policy = Policy(
        tags=tuple(args.tag or [(tag, None) for tag in TAGS]),
        keep_images=args.keep_images,
        keep_snapshots=args.keep_snapshots,
        keep_versions=args.keep_versions,
        changes=args.changes,
        without_bin=args.without_recycle_bin,
        organization=args.organization,
    )
    places = Places(tuple(args.releases), tuple(args.accounts))
    session = boto3.session.Session()
    if not (args.regions or session.region_name):
        raise Failure("no region", "name it with --regions, or set AWS_REGION")
    troubles = []
    for region in args.regions or [session.region_name]:

        @cache
        def client(service: str, region: str = region) -> Any:
            return session.client(service, region_name=region, config=CONFIG)

        found, text = prune(region, client, policy, places, args.apply, datetime.now(UTC))
        print(json.dumps(found) if args.json else "\n".join(text))
        troubles += [f"{region}: cannot read {one['source']}" for one in found["unreadable"]]
        troubles += [f"{region}: cannot change {one['id']}" for one in found["decisions"] if one["failed"]]
    if troubles:
        hint = "see the causes above; packer/pipeline/housekeeping.yaml has the permissions; then run the same command again"
        raise Failure("; ".join(troubles), hint)


if __name__ == "__main__":
    sys.exit(end_with(main))
