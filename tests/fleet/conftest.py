"""Fixtures of the operator's program."""

import pytest
from harness import fleet as fleets


@pytest.fixture
def fleet(tmp_path, aws):
    """`ingot-fleet` in a directory with a fleet.yaml, and a bucket of its own."""
    if fleets.binary() is None:
        pytest.skip("no binary: `cargo build -p ingot-fleet`, or name it in $INGOT_FLEET")
    return fleets.Fleet(tmp_path, aws).bucket()
