"""The tables of docs/reference/seal-accuracy.md, which the tests hold: what was found is what the page says.

`INGOT_UPDATE_DOCS=1` has a test write what it has found. A table is known by the heading that it is the first one below.
"""

import os

from .. import agent

PAGE = agent.REPOSITORY / "docs/reference/seal-accuracy.md"

Row = list[str]


def _parts(heading: str) -> tuple[list[str], list[str], list[str]]:
    """The lines of the page down to the first row of a table, its rows, and the rest."""
    lines = PAGE.read_text().splitlines(keepends=True)
    head = lines.index(f"## {heading}\n")
    begin = next(number for number in range(head, len(lines)) if lines[number].startswith("|---")) + 1
    end = next((number for number in range(begin, len(lines)) if not lines[number].startswith("|")), len(lines))
    return lines[:begin], lines[begin:end], lines[end:]


def rows(heading: str) -> list[Row]:
    """The rows of a table, without its head."""
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in _parts(heading)[1]]


def hold(heading: str, expected: list[Row], of: str | None = None, but: tuple[int, ...] = ()) -> None:
    """Fails unless a table has just these rows: with `of`, of those that begin so. Columns `but` may differ."""
    present = rows(heading)
    is_mine = lambda row: of is None or row[0] == of  # noqa: E731
    if os.environ.get("INGOT_UPDATE_DOCS"):
        at = next((number for number, row in enumerate(present) if is_mine(row)), len(present))
        kept = [row for row in present if not is_mine(row)]
        before, _, after = _parts(heading)
        lines = [f"| {' | '.join(row)} |\n" for row in kept[:at] + expected + kept[at:]]
        PAGE.write_text("".join([*before, *lines, *after]))
        return
    known = lambda row: [cell for number, cell in enumerate(row) if number not in but]  # noqa: E731
    mine = [known(row) for row in present if is_mine(row)]
    assert mine == [known(row) for row in expected], f"{PAGE.name}, {heading}: run this test with INGOT_UPDATE_DOCS=1"
