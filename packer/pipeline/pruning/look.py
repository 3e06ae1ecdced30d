"""One look at one region: every source is read, and one that cannot be read is a fact as well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import inventory, records, references
from .decide import Policy
from .facts import Facts, Kind, Thing, Unreadable
from .inventory import Look


@dataclass(frozen=True)
class Places:
    """Where to look besides the region itself."""

    # Buckets and prefixes of releases, such as s3://shop-releases/.
    releases: tuple[str, ...] = ()
    # Accounts that images are shared with.
    accounts: tuple[str, ...] = ()


def look_at(region: str, client: Callable[[str], Any], policy: Policy, places: Places, now: datetime) -> Facts:
    look = Look(Facts(region, now), client)
    read_things(look, places)
    read_references(look, policy, places)
    shared = [image for image in look.facts.things if is_shared(image, policy)]
    if shared:

        def usage(look: Look) -> None:
            own = look.call("sts", "get_caller_identity")["Account"]
            references.read_usage(look, own, [image.id for image in shared])

        look.attempt("image usage reports", usage)
    return look.facts


def read_things(look: Look, places: Places) -> None:
    # Launch templates are named in references, and snapshots refer to their images: this order matters.
    look.attempt("images", lambda look: inventory.read_images(look, places.accounts))
    look.attempt("snapshots", inventory.read_snapshots)
    look.attempt("database snapshots", inventory.read_database_snapshots)
    look.attempt("launch templates", inventory.read_launch_templates)
    look.attempt("Recycle Bin rules", inventory.read_bin_rules)


def read_references(look: Look, policy: Policy, places: Places) -> None:
    sources: Sequence[tuple[str, Callable[[Look], None]]] = (
        ("instances", references.read_instances),
        ("Auto Scaling groups", references.read_groups),
        ("EC2 Fleets", references.read_fleets),
        ("versions of launch templates", references.read_templates),
        ("stacks", references.read_stacks),
        ("parameters", references.read_parameters),
        ("deployment records", lambda look: read_records(look, places)),
        ("image references", lambda look: references.read_image_references(look, policy)),
    )
    for source, read in sources:
        look.attempt(source, read)


def read_records(look: Look, places: Places) -> None:
    """Every stack of ingot-fleet has records: without any, `--releases` is missing or names another place."""
    records.read_records(look, places.releases)
    missing = sorted(name for environment, name in look.stacks.items() if environment not in look.recorded)
    if missing:
        why = f"--releases does not name the place of the records of {', '.join(missing)}, stacks of ingot-fleet"
        look.facts.unreadable.append(Unreadable("deployment records", why))


def is_shared(image: Thing, policy: Policy) -> bool:
    """Whether a report may exist, or be needed. A disabled image is shared with nobody."""
    considered = image.kind is Kind.IMAGE and policy.selects(image.kind, image.tags)
    return considered and (policy.organization or bool(image.shared_with))
