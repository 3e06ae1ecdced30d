"""Where tests draw lots: from a seed that is the same each time, unless `INGOT_SEED` gives another.

A test that fails says which it was: `INGOT_SEED=7 .venv/bin/python -m pytest tests/boot/test_records.py` draws as it did.
"""

import os


def seed() -> int:
    return int(os.environ.get("INGOT_SEED", "1"))
