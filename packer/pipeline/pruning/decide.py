"""Decides the next step for each thing: takes facts, and returns one decision with a reason of one line. Calls nothing.

A thing that nothing refers to is marked. A day and two looks later, an image is disabled, which can be undone; a week
after that it is deleted. Snapshots and launch template versions cannot be disabled, and wait as long. Any reference
that any look finds removes the marks, and enables the image again.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from .facts import GOLDEN, KEEP, MANAGED, MARKS, BinRule, Facts, Kind, Thing

# A thing younger than that may be part of a bake or a deployment that is under way.
YOUNG = timedelta(days=1)
# Looks closer together than that count as one: the second may be the rest of one that was killed.
APART = timedelta(hours=1)
MARKED = timedelta(days=1)
DISABLED = timedelta(days=7)

# EC2 throttles each account and region: a run takes its share and leaves the rest to a later one.
CALLS_FOR_100_IMAGES = 60
# Of these, what tagging many things at once takes.
FOR_TAGS = 20
LEAST_CHANGES = 25

PUBLISHED = "ingot:published"
APPLICATION = "ingot:application"
SETTLED = ("available", "completed", "disabled")
BACKUP = "a backup of AWS Backup or Data Lifecycle Manager"


class Verdict(StrEnum):
    KEEP = "keep"
    UNMARK = "unmark"
    MARK = "mark"
    SEE = "see again"
    WAIT = "wait"
    REPORT = "ask for usage"
    DISABLE = "disable"
    DELETE = "delete"


# One call each, so that one run makes only some of them.
COUNTED = (Verdict.REPORT, Verdict.DISABLE, Verdict.DELETE)
# Not without knowing every reference.
RISKY = (Verdict.MARK, Verdict.SEE, *COUNTED)


@dataclass(frozen=True)
class Policy:
    """What the user asks for."""

    # Key and value of tags; a thing is considered if it has one of them. No value stands for any.
    tags: tuple[tuple[str, str | None], ...]
    keep_images: int = 5
    keep_snapshots: int = 3
    keep_versions: int = 5
    # Changes in one run of those that need a call each.
    changes: int | None = None
    without_bin: bool = False
    # Every image may be shared, with an organization, which cannot be listed.
    organization: bool = False

    def selects(self, kind: Kind, tags: Mapping[str, str]) -> bool:
        """Volumes and databases of applications have the tag of launch templates, and so have their backups."""
        wanted = (tag for tag in self.tags if tag[0] != APPLICATION or kind is Kind.TEMPLATE_VERSION)
        return any(key in tags and value in (None, tags[key]) for key, value in wanted)


@dataclass(frozen=True)
class Decision:
    thing: Thing
    verdict: Verdict
    reason: str


def decide(facts: Facts, policy: Policy) -> list[Decision]:
    """One decision for each thing that the policy selects, in the order of the facts."""
    selected = [thing for thing in facts.things if policy.selects(thing.kind, thing.tags)]
    newest = newest_of_their_kind(selected, policy)
    parts = parts_needed(facts, newest)
    decisions = [decide_one(thing, facts, policy, newest | parts) for thing in selected]
    if facts.unreadable:
        sources = ", ".join(unreadable.source for unreadable in facts.unreadable)
        decisions = [held(decision, f"cannot read {sources}") for decision in decisions]
    calls_to_disable = 1 if policy.changes is not None else 2
    return within_limit(decisions, changes_allowed(facts, policy), calls_to_disable)


def decide_one(thing: Thing, facts: Facts, policy: Policy, newest: Mapping[str, str]) -> Decision:
    if why := kept_by(thing, facts, newest):
        return Decision(thing, Verdict.UNMARK if thing.marks.any else Verdict.KEEP, why)
    if thing.state == "disabled" and not (thing.marks.since and thing.marks.seen):
        return Decision(thing, Verdict.KEEP, "disabled by hand")
    if thing.state != "disabled" and thing.marks.disabled:
        return Decision(thing, Verdict.UNMARK, "enabled by hand, so its time starts anew")
    return unused(thing, facts, policy)


def kept_by(thing: Thing, facts: Facts, newest: Mapping[str, str]) -> str:
    """Why it is needed, in a few words; empty if nothing needs it."""
    if KEEP in thing.tags:
        return f"tag {KEEP}: {thing.tags[KEEP]}".rstrip(": ")
    if is_backup(thing):
        return BACKUP
    if by := facts.references.get(thing.key):
        return used(by)
    if thing.kind is Kind.SNAPSHOT and thing.related:
        return f"part of {', '.join(thing.related)}"
    if thing.key in newest:
        return newest[thing.key]
    if thing.protected:
        return "deregistration protection is on"
    if thing.state not in SETTLED:
        return f"is {thing.state}"
    if facts.now - thing.created < YOUNG:
        return "less than a day old"
    return ""


def is_backup(thing: Thing) -> bool:
    return any(tag.startswith(MANAGED) for tag in thing.tags)


def used(by: list[str]) -> str:
    others = f" and {len(by) - 1} more" if len(by) > 1 else ""
    return f"used by {by[0]}{others}"


def parts_needed(facts: Facts, newest: Mapping[str, str]) -> dict[str, str]:
    """The images whose snapshots are needed for themselves, with the reason: a snapshot is deleted with its image."""
    found: dict[str, str] = {}
    for snapshot in facts.things:
        if snapshot.kind is not Kind.SNAPSHOT or not snapshot.related:
            continue
        why = newest.get(snapshot.key, "")
        if KEEP in snapshot.tags:
            why = f"tag {KEEP}: {snapshot.tags[KEEP]}".rstrip(": ")
        elif by := facts.references.get(snapshot.key):
            why = used(by)
        elif is_backup(snapshot):
            why = BACKUP
        if why:
            found |= dict.fromkeys(snapshot.related, f"its {snapshot.id}: {why}")
    return found


def unused(thing: Thing, facts: Facts, policy: Policy) -> Decision:
    """The next step of a thing that nothing needs."""
    now, marks = facts.now, thing.marks
    if not marks.since:
        return Decision(thing, Verdict.MARK, "nothing refers to it")
    since = f"unused since {day(marks.since)}"
    if not marks.seen:
        again = now - marks.since >= APART
        return Decision(thing, Verdict.SEE if again else Verdict.WAIT, f"{since}; one more look before it counts")
    if now - marks.since < MARKED or now - marks.seen < APART:
        return Decision(thing, Verdict.WAIT, f"{since}; the next step comes after a day and two looks")
    if thing.kind is Kind.IMAGE:
        if thing.state != "disabled":
            return disabling(thing, facts, policy, since)
        if not marks.disabled:
            return Decision(thing, Verdict.DISABLE, f"{since}; disabled, but the time is not recorded")
        since = f"{since}, disabled since {day(marks.disabled)}"
    due = (marks.disabled if thing.kind is Kind.IMAGE and marks.disabled else marks.since + MARKED) + DISABLED
    if now < due:
        return Decision(thing, Verdict.WAIT, f"{since}; to be deleted from {day(due)}")
    if why := unprotected(thing, facts, policy):
        return Decision(thing, Verdict.WAIT, f"{since}; {why}")
    return Decision(thing, Verdict.DELETE, since)


def disabling(thing: Thing, facts: Facts, policy: Policy, since: str) -> Decision:
    """Other accounts lose a disabled image, so a shared one needs a report that is newer than its mark."""
    if thing.shared_with or policy.organization:
        report = facts.reports.get(thing.id)
        if report is None or report.created < (thing.marks.since or facts.now):
            return Decision(thing, Verdict.REPORT, f"{since}; other accounts may use it")
        if report.state == "error":
            return Decision(thing, Verdict.WAIT, f"{since}; its usage report failed: {report.why or 'no cause given'}")
        if report.state != "available":
            return Decision(thing, Verdict.WAIT, f"{since}; its usage report is {report.state}")
    return Decision(thing, Verdict.DISABLE, since)


def unprotected(thing: Thing, facts: Facts, policy: Policy) -> str:
    """Why it may not be deleted. The Recycle Bin takes no database snapshots and no launch template versions."""
    tags = {other.id: other.tags for other in facts.things if other.kind is Kind.SNAPSHOT}
    for snapshot in thing.related if thing.kind is Kind.IMAGE else ():
        if snapshot in tags and not policy.selects(Kind.SNAPSHOT, tags[snapshot]):
            return f"its {snapshot} would be deleted with it, and has none of the tags"
    if policy.without_bin or thing.kind not in (Kind.IMAGE, Kind.SNAPSHOT):
        return ""
    if not kept_in_bin(facts.bin_rules, thing.kind, thing.tags):
        return "no Recycle Bin rule applies to it"
    for snapshot in thing.related if thing.kind is Kind.IMAGE else ():
        if not kept_in_bin(facts.bin_rules, Kind.SNAPSHOT, tags.get(snapshot, {})):
            return f"no Recycle Bin rule applies to its {snapshot}"
    return ""


def kept_in_bin(rules: Iterable[BinRule], kind: Kind, tags: Mapping[str, str]) -> bool:
    return any(rule.kind is kind and rule.keeps(tags) for rule in rules)


def newest_of_their_kind(things: Iterable[Thing], policy: Policy) -> dict[str, str]:
    """The newest of each family, which a rollback, a document or the next launch may ask for, with the reason."""
    families: dict[tuple, list[Thing]] = {}
    for thing in things:
        if (family := family_of(thing)) and thing.state in SETTLED:
            families.setdefault(family, []).append(thing)
    found = {}
    for family, members in families.items():
        keep, words = words_of(family, policy)
        for member in sorted(members, key=age_of, reverse=True)[:keep]:
            found[member.key] = words
    return found


def family_of(thing: Thing) -> tuple | None:
    if thing.kind is Kind.IMAGE:
        return (thing.kind, thing.tags[PUBLISHED]) if PUBLISHED in thing.tags else None
    if thing.kind is Kind.TEMPLATE_VERSION:
        return thing.kind, thing.id.partition(":")[0]
    if (thing.related and GOLDEN not in thing.tags) or is_backup(thing):
        return None
    # `newest_with_tags` of a boot document may name any of them, and a subset of them finds one of these families.
    tags = (tag for tag in thing.tags.items() if tag[0] not in (KEEP, *MARKS) and not tag[0].startswith("aws:"))
    return thing.kind, tuple(sorted(tags))


def age_of(thing: Thing) -> tuple:
    """Greater means newer. Versions of a template are numbered, and version 10 is newer than version 9."""
    version = thing.id.partition(":")[2]
    return int(version or 0), thing.created, thing.id


def words_of(family: tuple, policy: Policy) -> tuple[int, str]:
    if family[0] is Kind.IMAGE:
        return policy.keep_images, f"one of the newest {policy.keep_images} of {family[1]}"
    if family[0] is Kind.TEMPLATE_VERSION:
        return policy.keep_versions, f"one of the newest {policy.keep_versions} versions"
    tags = " ".join(f"{key}={value}" for key, value in family[1])
    return policy.keep_snapshots, f"one of the newest {policy.keep_snapshots} with {tags}"


def held(decision: Decision, why: str) -> Decision:
    if decision.verdict not in RISKY:
        return decision
    return replace(decision, verdict=Verdict.WAIT, reason=f"{decision.reason}; {why}")


def changes_allowed(facts: Facts, policy: Policy) -> int:
    """What one run makes of calls is limited, and so is what it can break."""
    if policy.changes is not None:
        return policy.changes
    images = sum(thing.kind is Kind.IMAGE for thing in facts.things)
    return max(LEAST_CHANGES, CALLS_FOR_100_IMAGES * math.ceil(images / 100) - facts.calls - FOR_TAGS)


def within_limit(decisions: list[Decision], allowed: int, calls_to_disable: int) -> list[Decision]:
    """The rest waits for the next run. Those that have waited longest come first.

    To disable an image takes two calls, of which the first reads its launch permissions.
    """
    counted = [decision for decision in decisions if needs_a_call(decision)]
    counted.sort(key=lambda decision: (decision.thing.marks.since or decision.thing.created, decision.thing.key))
    late, taken = set(), 0
    for decision in counted:
        taken += calls_to_disable if decision.verdict is Verdict.DISABLE else 1
        if taken > allowed:
            late.add(decision.thing.key)
    why = f"left for the next run: this one makes {allowed} changes"
    return [held(one, why) if one.thing.key in late and needs_a_call(one) else one for one in decisions]


def needs_a_call(decision: Decision) -> bool:
    """Images and snapshots of EBS are tagged many in one call; database snapshots and templates are not."""
    one_by_one = decision.thing.kind not in (Kind.IMAGE, Kind.SNAPSHOT)
    return decision.verdict in COUNTED or (one_by_one and decision.verdict in RISKY)


def day(time: datetime) -> str:
    return time.strftime("%Y-%m-%d")
