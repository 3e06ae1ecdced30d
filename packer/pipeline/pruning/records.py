"""Reads the deployment records of ingot-fleet: what runs, what ran last well, and their boot documents.

`docs/fleet/deployments.md` describes them. Of each environment, three records count: a
deployment under way, the one in force, and the one that `rollback` returns to.
"""

import json
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from .inventory import Look
from .references import search

RECORD = re.compile(r"(?P<environment>(?:.+/)?[^/]+/environments/[^/]+)/deployments/(?P<number>[1-9][0-9]*)\.json")
# The newest layout that is known: fleet/src/deployment/record.rs.
SCHEMA = 2


class NoRecord(ValueError):
    """An object that should be a record, and is not."""


def read_records(look: Look, places: Iterable[str]) -> None:
    """Records below each of `places`, such as s3://shop-releases/."""
    for place in places:
        url = urlsplit(place)
        if url.scheme != "s3" or not url.netloc:
            raise NoRecord(f"{place} is not s3://BUCKET/PREFIX")
        for environment, numbers in environments(look, url.netloc, url.path.lstrip("/")).items():
            application, _, name = environment.split("/")[-3:]
            look.recorded.add((application, name))
            read_environment(look, url.netloc, environment, sorted(numbers, reverse=True))


def environments(look: Look, bucket: str, prefix: str) -> dict[str, list[int]]:
    """The environments, as prefixes of keys, and the numbers of their records."""
    found: dict[str, list[int]] = {}
    for page in look.pages("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix):
        for listed in page.get("Contents", []):
            if match := RECORD.fullmatch(listed["Key"]):
                found.setdefault(match["environment"], []).append(int(match["number"]))
    return found


def read_environment(look: Look, bucket: str, environment: str, numbers: list[int]) -> None:
    """Follows fleet/src/deployment/history.rs, and keeps more where that looks at the terms of a deployment, too."""
    in_force: dict | None = None
    has_the_same = False
    for number in numbers:
        record = record_of(look, bucket, f"{environment}/deployments/{number}.json")
        if record["state"] not in ("under_way", "good"):
            continue
        by = f"deployment {number} of {environment.rpartition('/')[2]}"
        search(look, by, record)
        for document in (record["goal"]["document"], record.get("terms") or {}):
            if key := document.get("key"):
                search(look, f"the document of {by}", content_of(look, bucket, key))
        if record["state"] == "under_way":
            continue
        if in_force is None:
            in_force = record
        elif comes_to_the_same(in_force, record):
            has_the_same = True
        elif has_the_same or in_force.get("kind") != "rollback":
            return


def comes_to_the_same(one: dict, other: dict) -> bool:
    def replaces(record: dict) -> tuple:
        goal = record["goal"]
        return goal["release"], goal["image"], goal["document"].get("sha256")

    return replaces(one) == replaces(other)


def record_of(look: Look, bucket: str, key: str) -> dict:
    try:
        record = json.loads(content_of(look, bucket, key))
        newer = record["schema"] > SCHEMA
        complete = bool(record["state"] and record["goal"]["release"] and record["goal"]["image"])
        complete = complete and isinstance(record["goal"]["document"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise NoRecord(f"s3://{bucket}/{key} is not a deployment record") from error
    if newer or not complete:
        raise NoRecord(f"s3://{bucket}/{key} was written by a newer ingot-fleet")
    return record


def content_of(look: Look, bucket: str, key: str) -> str:
    return look.call("s3", "get_object", Bucket=bucket, Key=key)["Body"].read().decode(errors="replace")
