"""Marks of launch template versions, in one tag of the template: `1-16,18@TIME/TIME 19@TIME`.

The first time is that of the mark, the second that of the next look. EC2 allows 256 characters in a tag: versions that
do not fit are marked once others are gone.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from .facts import Marks

LONGEST = 256
FORMAT = "%Y%m%dT%H%MZ"
PIECE = re.compile(r"(?P<versions>[0-9,-]+)@(?P<since>[0-9TZ]+)(?:/(?P<seen>[0-9TZ]+))?")


def read_marks(text: str) -> dict[int, Marks]:
    """The marks of each version. Pieces that this program did not write count as no mark."""
    found: dict[int, Marks] = {}
    for piece in text.split():
        if not (match := PIECE.fullmatch(piece)):
            continue
        try:
            marks = Marks(read_time(match["since"]), read_time(match["seen"]) if match["seen"] else None)
            found.update(dict.fromkeys(expand(match["versions"]), marks))
        except ValueError:
            continue
    return found


def write_marks(marks: Mapping[int, Marks]) -> str:
    """The text that `read_marks` reads, of as many versions as fit, those marked first before others."""
    groups: dict[tuple[datetime, datetime | None], list[int]] = {}
    for version, mark in marks.items():
        if mark.since:
            groups.setdefault((mark.since, mark.seen), []).append(version)
    text = ""
    for (since, seen), versions in sorted(groups.items(), key=lambda group: group[0][0]):
        times = f"@{since.strftime(FORMAT)}" + (f"/{seen.strftime(FORMAT)}" if seen else "")
        ordered = sorted(versions)
        while ordered and len(longer := f"{text} {contract(ordered)}{times}".strip()) > LONGEST:
            ordered.pop()
        if ordered:
            text = longer
    return text


def read_time(text: str) -> datetime:
    return datetime.strptime(text, FORMAT).replace(tzinfo=UTC)


def expand(text: str) -> Iterable[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def contract(ordered: list[int]) -> str:
    runs: list[list[int]] = []
    for version in ordered:
        if runs and version == runs[-1][-1] + 1:
            runs[-1].append(version)
        else:
            runs.append([version])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
