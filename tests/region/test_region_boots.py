"""`ingot-fleet boots` on an environment of the region: the evidence is put into the bucket by the test, in the form in which
ingot writes it (docs/reference/evidence.md, docs/reference/exit-codes.md)."""

import json
import os
import subprocess
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta

import pytest
from harness.agent import DONE
from harness.region import Region, fleet, scripted
from harness.region.instances.scripted import Outcome
from harness.region.small import FAST
from harness.region.verbs import Operator, needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

CAUSE = "services.shop: exit status 5"


def evidence(region, instance: str, began: datetime, milliseconds: float, reason: str | None = None) -> None:
    report = {
        "version": 1,
        "outcome": "failed" if reason else "done",
        "elapsed_ms": milliseconds,
        "steps": [
            {"address": "bundles.app", "outcome": "changed", "started_ms": 10.0, "finished_ms": 10.0 + milliseconds / 2},
            {"address": "files./etc/shop", "outcome": "changed", "started_ms": 5.0, "finished_ms": 6.0},
        ],
    }
    content = {
        "version": 1,
        "moment": "end",
        "written_at": began.isoformat().replace("+00:00", "Z"),
        "reason": reason,
        "report": report,
        "journal": {},
    }
    key = f"shop/prod/{began:%Y/%m/%d/%H%M%S}Z-{instance}-0f8fad5bd9cb469fa16570867728950e-serve.json.zst"
    packed = subprocess.run(["zstd", "-q"], input=json.dumps(content).encode(), capture_output=True, check=True).stdout
    region.client("s3").put_object(Bucket=fleet.EVIDENCE, Key=key, Body=packed)


def test_boots_are_counted_by_release_and_drawn(tmp_path):
    needs_binary()
    with Region(scripted(lambda spec: Outcome(), 80), pace=FAST) as region:
        operator = Operator(tmp_path, region)
        assert operator("create", "prod", "--release", "v1").code == DONE
        first, second = region.in_service(2)
        nothing = operator("boots", "prod")
        assert nothing.code == DONE and nothing.stdout == "" and "has left evidence since" in nothing.stderr, nothing

        now = datetime.now(UTC)
        evidence(region, first.id, now, 12_000.0)
        evidence(region, second.id, now, 14_000.0)
        # Of instances that are gone, before the first deployment: nobody knows their release.
        evidence(region, "i-0fffffffffffffff1", now - timedelta(days=1), 2_000.0, CAUSE)
        evidence(region, "i-0fffffffffffffff2", now - timedelta(days=9), 2_000.0, CAUSE)

        shown = operator("boots", "prod")
        assert shown.code == DONE, shown
        rows = [line.split() for line in shown.stdout.splitlines()]
        assert rows[0][:7] == ["RELEASE", "IMAGE", "BOOTS", "FAILED", "P50", "P90", "P99"], shown
        assert rows[1][0] == "v1" and rows[1][2:] == ["2", "0", "12.0s", "14.0s", "14.0s", "bundles.app", "6.00s"], shown
        assert rows[2] == ["-", "-", "1", "1", "-", "-", "-", "-"], shown
        assert f"-: 1 failed: {CAUSE}" in shown.stdout, shown

        picture = tmp_path / "boots.svg"
        told = operator("boots", "prod", "--since", "10d", "--json", "--plot", str(picture)).json
        assert [(one["release"], one["boots"], one["failed"]) for one in told["sums"]] == [("v1", 2, 0), (None, 2, 2)], told
        assert told["sums"][1]["causes"] == [{"cause": CAUSE, "boots": 2}], told
        assert len(told["boots"]) == 4 and told["is_cut"] is False, told
        names = [element.tag.rpartition("}")[2] for element in ElementTree.parse(picture).iter()]
        assert (names.count("circle"), names.count("path")) == (2, 2), names

        unwritable = operator("boots", "prod", "--plot", str(tmp_path / "missing" / "boots.svg"))
        assert unwritable.code == 1 and "hint: name a file" in unwritable.stderr, unwritable
