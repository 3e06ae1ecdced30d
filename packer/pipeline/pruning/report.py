"""Decisions for people, a line each, and for programs, as JSON."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .decide import Decision, Verdict
from .facts import DATABASE_KINDS, Facts, Kind, written

ORDER = [
    Verdict.DELETE,
    Verdict.DISABLE,
    Verdict.REPORT,
    Verdict.MARK,
    Verdict.SEE,
    Verdict.WAIT,
    Verdict.UNMARK,
    Verdict.KEEP,
]
GOING = (Verdict.MARK, Verdict.SEE, Verdict.WAIT, Verdict.REPORT, Verdict.DISABLE)


def gib_months(facts: Facts, decisions: Iterable[Decision]) -> dict[str, float]:
    """What snapshots cost a month, in GiB-months: of those that stay, that go now, and that are on their way.

    An upper limit: EBS bills the blocks that no older snapshot of the volume has. The snapshots of an image go with it.
    """
    verdicts = {decision.thing.key: decision.verdict for decision in decisions}
    sums = {"kept": 0.0, "going": 0.0, "freed": 0.0}
    for thing in facts.things:
        if thing.kind is not Kind.SNAPSHOT and thing.kind not in DATABASE_KINDS:
            continue
        owners = thing.related or (thing.key,)
        fates = {verdicts.get(owner) for owner in owners}
        if fates == {Verdict.DELETE}:
            sums["freed"] += thing.gib
        elif fates <= {Verdict.DELETE, *GOING}:
            sums["going"] += thing.gib
        elif fates != {None}:
            sums["kept"] += thing.gib
    return {name: round(gib, 1) for name, gib in sums.items()}


def lines(facts: Facts, decisions: list[Decision], applied: bool, failed: Mapping[str, str]) -> list[str]:
    counted = Counter(decision.thing.kind for decision in decisions)
    found = ", ".join(f"{count} {kind}{'s' if count != 1 else ''}" for kind, count in counted.items())
    others = len(facts.things) - len(decisions)
    text = [f"{facts.region} at {written(facts.now)}: {found or 'nothing to consider'}; {others} without the tags"]
    text += [f"cannot read {one.source}: {one.why}" for one in facts.unreadable]
    for verdict in ORDER:
        of_verdict = [decision for decision in decisions if decision.verdict is verdict]
        for decision in sorted(of_verdict, key=lambda one: (one.thing.kind, one.thing.created, one.thing.id)):
            text.append(line(decision, failed))
    gib = gib_months(facts, decisions)
    done = "freed" if applied else "would be freed"
    text.append(
        f"{gib['freed']} GiB-months a month {done} at most, {gib['going']} are on their way, {gib['kept']} are kept"
    )
    if not applied:
        text.append("dry run: nothing was changed; --apply makes these changes")
    return text


def line(decision: Decision, failed: Mapping[str, str]) -> str:
    thing = decision.thing
    named = f"{thing.id} ({thing.name})" if thing.name else thing.id
    size = f" {thing.gib:.1f} GiB" if thing.gib else ""
    failure = f" - FAILED: {failed[thing.key]}" if thing.key in failed else ""
    return f"{decision.verdict:<13} {thing.kind} {named}{size}: {decision.reason}{failure}"


def document(facts: Facts, decisions: list[Decision], applied: bool, failed: Mapping[str, str]) -> dict[str, Any]:
    return {
        "region": facts.region,
        "at": written(facts.now),
        "applied": applied,
        "unreadable": [{"source": one.source, "why": one.why} for one in facts.unreadable],
        "gib_months": gib_months(facts, decisions),
        "decisions": [
            {
                "kind": str(one.thing.kind),
                "id": one.thing.id,
                "name": one.thing.name,
                "gib": round(one.thing.gib, 1),
                "verdict": str(one.verdict),
                "reason": one.reason,
                "failed": failed.get(one.thing.key),
            }
            for one in decisions
        ],
    }
