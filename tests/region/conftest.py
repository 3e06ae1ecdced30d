"""What the tests of the verbs share: a region, and an environment in it that runs v1. Other tests have regions of their own."""

import pytest
from harness.agent import DONE
from harness.region import Region
from harness.region.small import FAST, boots
from harness.region.verbs import Operator, needs_binary


@pytest.fixture
def region():
    needs_binary()
    with Region(boots(80, bad="abandons"), pace=FAST) as region:
        yield region


@pytest.fixture
def operator(tmp_path, region):
    operator = Operator(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE
    return operator
