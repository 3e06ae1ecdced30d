"""How long things took, against the least that they could have taken. Times of a stand-in, not of AWS."""

import time
from contextlib import contextmanager

# Seconds beyond the least that a replacement may take: to notice, to be found healthy, to be asked again.
MORE = 10


@contextmanager
def replaced(region, killed, count: int, what: str):
    """The block kills an instance and waits for what its successor does. At the least, that is the successor's launch and
    boot. Nobody waits for drains that are still under way."""
    begun = time.monotonic()
    yield
    took = time.monotonic() - begun
    region.wait(lambda: len(region.instances()) == count, f"{count} in service")
    assert killed not in region.instances()
    with region.engine.lock:
        successor = max(region.group().members, key=lambda one: one.born)
    least = successor.since - successor.born
    print(f"stand-in: {what}: {took:.1f} s, of {least:.1f} s at the least")
    assert took <= least + MORE, region.told()
