"""Makes the changes that `decide` decided, one region at a time. A kill between any two calls leaves what the next run
continues: a thing is marked as disabled after it is, and its marks are removed after everything else is undone.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from failure import code_of

from .decide import Decision, Verdict
from .facts import DATABASE_KINDS, DISABLED, MARKS, SEEN, SHARED_WITH, SINCE, Facts, Kind, Thing, written
from .references import batches
from .template_marks import carry_out_versions

# CreateTags and DeleteTags accept 1000 resources.
TAGGED_AT_ONCE = 500
GONE = (
    "InvalidAMIID.NotFound",
    "InvalidAMIID.Unavailable",
    "InvalidSnapshot.NotFound",
    "DBSnapshotNotFound",
    "DBClusterSnapshotNotFoundFault",
)
# What DeregisterImage says of a snapshot that is deleted, or that another image needs.
SNAPSHOT_DONE = ("success", "skipped")
# All that a usage report can count.
RESOURCE_TYPES = ["ec2:Instance", "ec2:LaunchTemplate", "imagebuilder:ImageRecipe", "imagebuilder:ContainerRecipe"]


@dataclass
class Work:
    """The changes of one run in one region, and those that failed."""

    client: Callable[[str], Any]
    now: datetime
    decisions: list[Decision]
    # Whether images may be shared with an organization, so that each waits for a usage report.
    organization: bool = False
    failed: dict[str, str] = field(default_factory=dict)

    def of(self, verdict: Verdict, *kinds: Kind) -> Iterator[Thing]:
        for decision in self.decisions:
            thing = decision.thing
            if decision.verdict is verdict and thing.kind in kinds and thing.key not in self.failed:
                yield thing

    def attempt(self, things: Iterable[Thing], change: Callable[..., object], **request: Any) -> None:
        """A failure concerns these things only: the others go on. If one of many is gone, none of them was changed."""
        things = list(things)
        try:
            change(**request)
        except (ClientError, BotoCoreError) as error:
            gone = isinstance(error, ClientError) and code_of(error) in GONE and len(things) == 1
            if not gone:
                self.failed |= {thing.key: str(error) for thing in things}


def carry_out(
    facts: Facts, decisions: list[Decision], client: Callable[[str], Any], organization: bool
) -> dict[str, str]:
    """The things that could not be changed, with the cause. First what saves something, then what removes it."""
    work = Work(client, facts.now, decisions, organization)
    undo(work)
    delete(work)
    disable(work)
    ask_for_usage(work)
    mark(work)
    work.failed |= carry_out_versions(facts, decisions, client("ec2"))
    return work.failed


def undo(work: Work) -> None:
    ec2, rds = work.client("ec2"), work.client("rds")
    for image in list(work.of(Verdict.UNMARK, Kind.IMAGE)):
        if image.state == "disabled":
            work.attempt([image], ec2.enable_image, ImageId=image.id)
        if image.tags.get(SHARED_WITH) and image.key not in work.failed:
            permissions = {"Add": permissions_of(image)}
            work.attempt([image], ec2.modify_image_attribute, ImageId=image.id, LaunchPermission=permissions)
    tag(work, list(work.of(Verdict.UNMARK, Kind.IMAGE, Kind.SNAPSHOT)), None)
    for snapshot in list(work.of(Verdict.UNMARK, *DATABASE_KINDS)):
        work.attempt([snapshot], rds.remove_tags_from_resource, ResourceName=snapshot.arn, TagKeys=list(MARKS))


def permissions_of(image: Thing) -> list[dict[str, str]]:
    """Those that the image had before it was disabled."""
    accounts = image.tags[SHARED_WITH].split()
    return [{"Group": "all"} if account == "all" else {"UserId": account} for account in accounts]


def delete(work: Work) -> None:
    ec2, rds = work.client("ec2"), work.client("rds")
    for image in list(work.of(Verdict.DELETE, Kind.IMAGE)):
        work.attempt([image], deregister, work=work, ec2=ec2, image=image)
    for snapshot in list(work.of(Verdict.DELETE, Kind.SNAPSHOT)):
        work.attempt([snapshot], ec2.delete_snapshot, SnapshotId=snapshot.id)
    for snapshot in list(work.of(Verdict.DELETE, Kind.DB_SNAPSHOT)):
        work.attempt([snapshot], rds.delete_db_snapshot, DBSnapshotIdentifier=snapshot.id)
    for snapshot in list(work.of(Verdict.DELETE, Kind.DB_CLUSTER_SNAPSHOT)):
        work.attempt([snapshot], rds.delete_db_cluster_snapshot, DBClusterSnapshotIdentifier=snapshot.id)


def deregister(work: Work, ec2: Any, image: Thing) -> None:
    answer = ec2.deregister_image(ImageId=image.id, DeleteAssociatedSnapshots=True)
    results = answer.get("DeleteSnapshotResults", [])
    left = [result["SnapshotId"] for result in results if result["ReturnCode"] not in SNAPSHOT_DONE]
    if left:
        work.failed[image.key] = f"deregistered, but EC2 did not delete {', '.join(left)}"


def disable(work: Work) -> None:
    ec2 = work.client("ec2")
    shared: dict[str, list[Thing]] = {}
    for image in list(work.of(Verdict.DISABLE, Kind.IMAGE)):
        if image.state != "disabled":
            work.attempt([image], check_permissions, work=work, ec2=ec2, image=image)
    for image in work.of(Verdict.DISABLE, Kind.IMAGE):
        if image.state != "disabled" and image.shared_with:
            shared.setdefault(" ".join(image.shared_with), []).append(image)
    for accounts, images in shared.items():
        tag(work, images, (SHARED_WITH, accounts))
    for image in list(work.of(Verdict.DISABLE, Kind.IMAGE)):
        if image.state != "disabled":
            work.attempt([image], ec2.disable_image, ImageId=image.id)
    tag(work, list(work.of(Verdict.DISABLE, Kind.IMAGE)), (DISABLED, written(work.now)))


def check_permissions(work: Work, ec2: Any, image: Thing) -> None:
    """Disabling removes launch permissions: of those that the look did not know, no usage report said anything."""
    answer = ec2.describe_image_attribute(ImageId=image.id, Attribute="launchPermission")
    having = {str(value) for permission in answer["LaunchPermissions"] for value in permission.values()}
    if "all" in image.shared_with:
        return
    accounts = sorted(one for one in having if not one.startswith("arn:") and one not in image.shared_with)
    if accounts:
        work.failed[image.key] = f"it is shared with {', '.join(accounts)}: name them with --accounts"
    elif not work.organization and any(one.startswith("arn:") for one in having):
        work.failed[image.key] = "it is shared with an organization: add --organization"


def ask_for_usage(work: Work) -> None:
    ec2 = work.client("ec2")
    types = [{"ResourceType": type} for type in RESOURCE_TYPES]
    for image in list(work.of(Verdict.REPORT, Kind.IMAGE)):
        work.attempt([image], ec2.create_image_usage_report, ImageId=image.id, ResourceTypes=types)


def mark(work: Work) -> None:
    rds = work.client("rds")
    for verdict, key in ((Verdict.SEE, SEEN), (Verdict.MARK, SINCE)):
        tag(work, list(work.of(verdict, Kind.IMAGE, Kind.SNAPSHOT)), (key, written(work.now)))
        for snapshot in list(work.of(verdict, *DATABASE_KINDS)):
            tags = [{"Key": key, "Value": written(work.now)}]
            work.attempt([snapshot], rds.add_tags_to_resource, ResourceName=snapshot.arn, Tags=tags)


def tag(work: Work, things: list[Thing], mark: tuple[str, str] | None) -> None:
    """Sets one tag, or removes all marks. EC2 changes all resources of a call or none."""
    ec2 = work.client("ec2")
    by_id = {thing.id: thing for thing in things}
    for ids in batches(by_id, TAGGED_AT_ONCE):
        some = [by_id[id] for id in ids]
        if mark:
            work.attempt(some, ec2.create_tags, Resources=ids, Tags=[{"Key": mark[0], "Value": mark[1]}])
        else:
            work.attempt(some, ec2.delete_tags, Resources=ids, Tags=[{"Key": key} for key in MARKS])
