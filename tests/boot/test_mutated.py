"""Documents with random mistakes: `check` says what is wrong, or that nothing is, in a moment and in little memory."""

import random
import subprocess

import pytest
from harness import mutate
from harness.agent import BAD_DOCUMENT, DONE, REPOSITORY, USAGE, binary
from harness.chance import seed

DOCUMENTS = REPOSITORY / "tests/documents"
# So many are checked by one shell, which hands its limits on: KiB of memory, seconds of CPU. 152 is its word for who
# took more of those, 134 for an abort, which is what becomes of who took more memory; a panic is ingot's 70.
BATCH = 500
SHELL = """
ulimit -d 131072; ulimit -t 5
for document in "$1"/*; do
  "$2" check "$document" >/dev/null 2>&1; echo "${document##*/} $?"
done
"""
COUNTS = [pytest.param(1_500, id="some"), pytest.param(40_000, id="all", marks=pytest.mark.slow)]


def wrong(line: str) -> bool:
    return int(line.split()[1]) not in (DONE, USAGE, BAD_DOCUMENT)


@pytest.mark.parametrize("count", COUNTS)
def test_no_document_is_too_much_for_check(ingot, tmp_path, count):
    begun = seed()
    originals = [path.read_text() for path in sorted([*DOCUMENTS.glob("*.yaml"), *DOCUMENTS.glob("invalid/*.yaml")])]
    originals = [mutate.Original(text) for text in originals if mutate.is_tree(text)]
    codes: dict[int, int] = {}
    bad = []
    for first in range(0, count, BATCH):
        batch = tmp_path / str(first)
        batch.mkdir()
        for number in range(first, min(first + BATCH, count)):
            (batch / f"{number}.yaml").write_bytes(mutate.document(random.Random(f"{begun} {number}"), originals))
        command = ["/bin/sh", "-c", SHELL, "sh", str(batch), str(binary())]
        said = subprocess.run(command, capture_output=True, text=True, timeout=5 * BATCH, check=True).stdout.splitlines()
        assert len(said) == len(list(batch.iterdir()))
        for line in said:
            code = int(line.split()[1])
            codes[code] = codes.get(code, 0) + 1
        # Those that are too much stay, to be looked at.
        bad += [f"{batch}/{line}" for line in said if wrong(line)]
        for line in said:
            if not wrong(line):
                (batch / line.split()[0]).unlink()
    assert not bad, f"INGOT_SEED={begun}: {len(bad)} of {count}, {codes}: document, exit code\n" + "\n".join(bad)
    # Else only one half of the reader would have been tried.
    assert codes[DONE] > count / 100 and codes[BAD_DOCUMENT] > count / 100, codes
