"""Looks of prune.py at a made-up account, one or one a day, and what they decided."""

from datetime import timedelta

from harness.aws.images import ImageAccount
from harness.aws.pipeline import PIPELINE  # noqa: F401  puts packer/pipeline on the path

import prune  # isort: skip
from pruning.decide import Policy  # isort: skip
from pruning.look import Places  # isort: skip

DAY = timedelta(days=1)
TAGS = tuple((tag, None) for tag in prune.TAGS)
RULES = ("EC2_IMAGE", "EBS_SNAPSHOT")


def with_recycle_bin() -> ImageAccount:
    """An account whose Recycle Bin keeps what has the tag of the pipeline."""
    account = ImageAccount()
    tag = {"ResourceTagKey": "ingot:pipeline", "ResourceTagValue": "shop"}
    account.rules = [{"Identifier": f"{one:.11}", "ResourceType": one, "ResourceTags": [tag]} for one in RULES]
    return account


def look(account: ImageAccount, apply: bool = True, places: Places = Places(), **policy) -> dict:
    return prune.prune(account.region, account.client, Policy(TAGS, **policy), places, apply, account.now)[0]


def daily(account: ImageAccount, days: int, **more) -> list[dict]:
    found = []
    for _ in range(days):
        found.append(look(account, **more))
        account.now += DAY
    return found


def verdict(found: dict, id: str) -> tuple[str, str]:
    (one,) = [one for one in found["decisions"] if one["id"] == id]
    return one["verdict"], one["reason"]
