"""docs/runbook.md, by its parts and their entries, and what the program says of the same states."""

import re

from . import ROOT

PAGE = ROOT / "docs" / "runbook.md"
COURSE = ROOT / "fleet" / "src" / "deployment" / "course.rs"

# What each entry answers, in this order.
QUESTIONS = ["Means.", "Look.", "Do.", "Undo."]


def part(name: str, page: str | None = None) -> str:
    """The text of one part: what stands below a heading of the second level."""
    text = page or PAGE.read_text()
    return re.split(r"(?m)^## ", text.split(f"\n## {name}\n", 1)[1], maxsplit=1)[0]


def entries(name: str, page: str | None = None) -> dict[str, str]:
    """The entries of one part, by the anchor that GitHub makes of their heading."""
    _, *found = re.split(r"(?m)^### (.+)\n", part(name, page))
    return {heading.lower().replace(" ", "-"): text for heading, text in zip(found[::2], found[1::2])}


def statuses(page: str | None = None) -> dict[str, str]:
    """To which entry the table of statuses leads from each."""
    rows = re.findall(r"(?m)^\| (`[A-Z].*?) \| \[.+?\]\(#(.+?)\) \|$", part("Stacks", page))
    return {status: anchor for listed, anchor in rows for status in re.findall(r"`([A-Z_]+)`", listed)}


def named_by_the_program(course: str) -> dict[str, str]:
    """What kind of hand each status needs that the program names as one that is stuck."""
    arms = re.findall(r'((?:"[A-Z_]+"(?: \| )?)+) => Phase::Stuck\(Stuck::(\w+)\)', course)
    return {status: kind for listed, kind in arms for status in re.findall(r'"([A-Z_]+)"', listed)}


def ways_out(course: str) -> dict[str, list[str]]:
    """The commands of each way out that the program shows, for `prod` of `shop`."""
    function = course.split("fn way_out", 1)[1].split("\n}\n", 1)[0]
    _, *found = re.split(r"Self::(\w+) => \(", function)
    said = {kind: re.sub(r"\\\n\s*", "", text) for kind, text in zip(found[::2], found[1::2])}
    given = {"{environment}": "prod", "{stack}": "shop-prod"}
    return {kind: [filled(one, given) for one in re.findall(r"`([a-z].+?)`", text)] for kind, text in said.items()}


def filled(text: str, given: dict[str, str]) -> str:
    for name, value in given.items():
        text = text.replace(name, value)
    return text


def disagreements(page: str | None = None, course: str | None = None) -> list[str]:
    """Where the program and the runbook do not say the same of a stack that needs a hand."""
    course = course or COURSE.read_text()
    named, ways, found, listed = named_by_the_program(course), ways_out(course), entries("Stacks", page), statuses(page)
    wrong = [f"nobody is sent to {kind}" for kind in sorted(ways.keys() ^ set(named.values()))]
    for status, kind in named.items():
        if status.lower() not in found:
            wrong.append(f"{status} has no entry")
            continue
        if listed.get(status) != status.lower():
            wrong.append(f"the table does not lead from {status} to its entry")
        said = " ".join(found[status.lower()].split())
        wrong += [f"{status} has not: {command}" for command in ways.get(kind, []) if command not in said]
    return wrong
