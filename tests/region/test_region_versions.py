"""Operators with different versions of `ingot-fleet`: records of an older and of a newer one, as they are in the bucket.
Scripted instances; all times are those of a stand-in."""

import json
import os

import pytest
from harness.agent import DONE, FAILED
from harness.region import fleet
from harness.region.small import releases

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

KEY = "shop/environments/prod/deployments/{}.json"
# What schema 1 has no words for.
LATER = ("kind", "terms", "ordered")


def rewritten(operator, number: int, **fields) -> None:
    record = json.loads(operator.read(KEY.format(number))) | fields
    operator.put(KEY.format(number), json.dumps({name: value for name, value in record.items() if value is not None}).encode())


def test_records_of_an_older_version_count(region, operator):
    assert operator("deploy", "prod", "--release", "v2").code == DONE
    for number in (1, 2):
        rewritten(operator, number, schema=1, **dict.fromkeys(LATER))
    listed = operator("releases")
    assert listed.code == DONE and "warning" not in listed.stderr, listed
    back = operator("rollback", "prod")
    assert back.code == DONE and operator.states() == ["good"] * 3, back
    region.in_service(2)
    assert releases(region) == ["v1", "v1"]


@pytest.mark.parametrize(
    "command",
    [
        ("deploy", "prod", "--release", "v2"),
        ("rollback", "prod"),
        ("abort", "prod"),
        ("set", "prod", "LEVEL=debug"),
        ("plan", "prod", "--release", "v2"),
        ("terminate", "prod", "--yes"),
    ],
    ids=lambda command: command[0],
)
def test_a_record_of_a_newer_version_is_left_alone(region, operator, command):
    record = json.loads(operator.read(KEY.format(1)))
    newer = json.dumps(record | {"schema": 3, "number": 2, "state": "paused", "waves": [1, 2]}).encode()
    operator.put(KEY.format(2), newer)
    before = region.stack("shop-prod").token
    refused = operator(*command)
    assert refused.code == FAILED and "cannot determine the state of deployment 2 of prod" in refused.stderr, refused
    assert f"s3://{fleet.RELEASES}/{KEY.format(2)}: it was written by a newer ingot-fleet (schema 3)" in refused.stderr, refused
    assert "hint: update ingot-fleet" in refused.stderr, refused
    assert region.stack("shop-prod").token == before and operator.read(KEY.format(2)) == newer, refused
    assert releases(region) == ["v1", "v1"]
