"""What there is in one region, as `decide` sees it. Plain data: nothing here calls AWS."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

# Tags that record what earlier looks found. Their values are times in UTC, except that of SHARED_WITH.
SINCE = "ingot:unused-since"
SEEN = "ingot:unused-seen-again"
DISABLED = "ingot:disabled-since"
# Accounts that could launch an image before it was disabled, which removes its launch permissions.
SHARED_WITH = "ingot:shared-with"
MARKS = (SINCE, SEEN, DISABLED, SHARED_WITH)
# The same for the versions of a launch template, which cannot be tagged themselves: see `versions.py`.
VERSIONS = "ingot:unused-versions"
# A tag for people: whatever has it is kept, and its value is shown as the reason.
KEEP = "ingot:keep"


# Tags of golden data, and the beginnings of those that AWS Backup and Data Lifecycle Manager set. Both copy the tags of
# what they back up: <https://docs.aws.amazon.com/aws-backup/latest/devguide/tags-on-backups.html>
GOLDEN = "ingot:golden-data"
MANAGED = ("aws:backup:", "aws:dlm:")


class Kind(StrEnum):
    IMAGE = "image"
    SNAPSHOT = "snapshot"
    DB_SNAPSHOT = "db-snapshot"
    DB_CLUSTER_SNAPSHOT = "db-cluster-snapshot"
    TEMPLATE_VERSION = "template-version"


DATABASE_KINDS = (Kind.DB_SNAPSHOT, Kind.DB_CLUSTER_SNAPSHOT)


@dataclass(frozen=True)
class Marks:
    """When earlier looks found a thing unused: first, once more, and when it was disabled."""

    since: datetime | None = None
    seen: datetime | None = None
    disabled: datetime | None = None

    @property
    def any(self) -> bool:
        return any((self.since, self.seen, self.disabled))


@dataclass(frozen=True)
class Thing:
    """One image, snapshot or launch template version of this account."""

    kind: Kind
    # `ami-…`, `snap-…`, `LAUNCH-TEMPLATE:VERSION`, or the name of a database snapshot.
    id: str
    created: datetime
    state: str
    tags: Mapping[str, str]
    marks: Marks = Marks()
    name: str = ""
    # Size of the full snapshot, an upper limit of what it costs: snapshots of one volume share blocks.
    gib: float = 0.0
    # Snapshots of an image, or images of a snapshot.
    related: tuple[str, ...] = ()
    # Accounts with launch permission that the look knows of; "all" for a public image.
    shared_with: tuple[str, ...] = ()
    protected: bool = False
    # ARN of a database snapshot.
    arn: str = ""

    @property
    def key(self) -> str:
        """How references name it. A database snapshot's name says nothing of its kind."""
        return f"{self.kind}:{self.id}" if self.kind in DATABASE_KINDS else self.id


@dataclass(frozen=True)
class UsageReport:
    """The newest report of EC2 on which other accounts use an image."""

    created: datetime
    state: str
    why: str = ""


@dataclass(frozen=True)
class BinRule:
    """A retention rule of the Recycle Bin. Without tags, it applies to the region."""

    kind: Kind
    tags: tuple[tuple[str, str | None], ...] = ()
    excluded: tuple[tuple[str, str | None], ...] = ()

    def keeps(self, tags: Mapping[str, str]) -> bool:
        def has(pair: tuple[str, str | None]) -> bool:
            return pair[0] in tags and pair[1] in (None, "", tags[pair[0]])

        return any(map(has, self.tags)) if self.tags else not any(map(has, self.excluded))


@dataclass(frozen=True)
class Unreadable:
    """A source that could not be read: nothing may be removed."""

    source: str
    why: str


@dataclass
class Facts:
    """Everything one look found in one region."""

    region: str
    now: datetime
    things: list[Thing] = field(default_factory=list)
    # For each `Thing.key`, who refers to it.
    references: dict[str, list[str]] = field(default_factory=dict)
    reports: dict[str, UsageReport] = field(default_factory=dict)
    bin_rules: list[BinRule] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    # Calls of AWS that the look took.
    calls: int = 0

    def refer(self, key: str, by: str) -> None:
        known = self.references.setdefault(key, [])
        if by not in known:
            known.append(by)


def moment(text: str | None) -> datetime | None:
    """The time in a tag; `None` for what this program did not write, which counts as no mark."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else None


def written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def marks_of(tags: Mapping[str, str]) -> Marks:
    return Marks(moment(tags.get(SINCE)), moment(tags.get(SEEN)), moment(tags.get(DISABLED)))
