"""Reads the images, snapshots and launch template versions of one region."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .facts import VERSIONS, BinRule, Facts, Kind, Marks, Thing, Unreadable, marks_of
from .versions import read_marks

GIB = 2**30
# The largest pages that EC2 and RDS return.
EC2_PAGE = 1000
RDS_PAGE = 100
TEMPLATE_PAGE = 200


@dataclass
class Look:
    """One look at one region: its clients, what it has found so far, and what launch templates contain."""

    facts: Facts
    client: Callable[[str], Any]
    # For `NAME` or `ID` of a launch template: its ID.
    template_ids: dict[str, str] = field(default_factory=dict)
    # For `ID:VERSION`: the data of the version.
    template_data: dict[str, dict] = field(default_factory=dict)
    # For `ID`: the numbers that `$Default` and `$Latest` stand for.
    default_versions: dict[str, int] = field(default_factory=dict)
    latest_versions: dict[str, int] = field(default_factory=dict)
    # Stacks of ingot-fleet by application and environment, and those of which there are records.
    stacks: dict[tuple[str, str], str] = field(default_factory=dict)
    recorded: set[tuple[str, str]] = field(default_factory=set)

    def attempt(self, source: str, read: Callable[["Look"], None]) -> None:
        """Reads one source. If it cannot be read, that is a fact too."""
        try:
            read(self)
        except (ClientError, BotoCoreError, ValueError, KeyError, OSError) as error:
            self.facts.unreadable.append(Unreadable(source, str(error)))

    def pages(self, service: str, operation: str, **request: Any) -> Iterator[dict]:
        for page in self.client(service).get_paginator(operation).paginate(**request):
            self.facts.calls += 1
            yield page

    def call(self, service: str, operation: str, **request: Any) -> dict:
        self.facts.calls += 1
        return getattr(self.client(service), operation)(**request)


def tags_of(described: dict, key: str = "Tags") -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in described.get(key, [])}


def read_images(look: Look, accounts: Iterable[str] = ()) -> None:
    """Disabled images too, and with which of `accounts` each is shared."""
    request = {"Owners": ["self"], "IncludeDisabled": True, "IncludeDeprecated": True}
    size = {"PageSize": EC2_PAGE}
    shared: dict[str, list[str]] = {}
    for account in accounts:
        users = {"ExecutableUsers": [account]}
        for page in look.pages("ec2", "describe_images", Owners=["self"], **users, PaginationConfig=size):
            for image in page["Images"]:
                shared.setdefault(image["ImageId"], []).append(account)
    for page in look.pages("ec2", "describe_images", **request, PaginationConfig=size):
        for image in page["Images"]:
            look.facts.things.append(image_of(image, shared.get(image["ImageId"], [])))


def image_of(image: dict, accounts: list[str]) -> Thing:
    mappings = [mapping.get("Ebs", {}) for mapping in image.get("BlockDeviceMappings", [])]
    tags = tags_of(image)
    return Thing(
        kind=Kind.IMAGE,
        id=image["ImageId"],
        name=image.get("Name", ""),
        created=datetime.fromisoformat(image["CreationDate"]),
        state=image["State"],
        tags=tags,
        marks=marks_of(tags),
        related=tuple(mapping["SnapshotId"] for mapping in mappings if "SnapshotId" in mapping),
        shared_with=("all",) if image.get("Public") else tuple(accounts),
        # `disabled`, or since when and how long it protects.
        protected=image.get("DeregistrationProtection", "disabled") != "disabled",
    )


def read_snapshots(look: Look) -> None:
    """EBS snapshots, with the images that contain them. The size of an image is that of its snapshots."""
    images: dict[str, list[str]] = {}
    for thing in look.facts.things:
        for snapshot in thing.related if thing.kind is Kind.IMAGE else ():
            images.setdefault(snapshot, []).append(thing.id)
    sizes: dict[str, float] = {}
    request = {"OwnerIds": ["self"], "PaginationConfig": {"PageSize": EC2_PAGE}}
    for page in look.pages("ec2", "describe_snapshots", **request):
        for snapshot in page["Snapshots"]:
            tags, id = tags_of(snapshot), snapshot["SnapshotId"]
            full = snapshot.get("FullSnapshotSizeInBytes")
            sizes[id] = full / GIB if full else float(snapshot["VolumeSize"])
            look.facts.things.append(
                Thing(
                    kind=Kind.SNAPSHOT,
                    id=id,
                    name=tags.get("Name", ""),
                    created=snapshot["StartTime"],
                    state=snapshot["State"],
                    tags=tags,
                    marks=marks_of(tags),
                    gib=sizes[id],
                    related=tuple(images.get(id, [])),
                )
            )
    for index, thing in enumerate(look.facts.things):
        if thing.kind is Kind.IMAGE:
            size = sum(sizes.get(snapshot, 0.0) for snapshot in thing.related)
            look.facts.things[index] = replace(thing, gib=size)


def read_database_snapshots(look: Look) -> None:
    """Manual snapshots of RDS. RDS removes automated ones by itself."""
    request = {"SnapshotType": "manual", "PaginationConfig": {"PageSize": RDS_PAGE}}
    for page in look.pages("rds", "describe_db_snapshots", **request):
        for one in page["DBSnapshots"]:
            look.facts.things.append(database_snapshot(Kind.DB_SNAPSHOT, "DBSnapshot", one))
    for page in look.pages("rds", "describe_db_cluster_snapshots", **request):
        for one in page["DBClusterSnapshots"]:
            look.facts.things.append(database_snapshot(Kind.DB_CLUSTER_SNAPSHOT, "DBClusterSnapshot", one))


def database_snapshot(kind: Kind, word: str, one: dict) -> Thing:
    tags = tags_of(one, "TagList")
    return Thing(
        kind=kind,
        id=one[f"{word}Identifier"],
        # Missing until the snapshot is made.
        created=one.get("SnapshotCreateTime", datetime.max.replace(tzinfo=UTC)),
        state=one["Status"],
        tags=tags,
        marks=marks_of(tags),
        gib=float(one.get("AllocatedStorage", 0)),
        arn=one[f"{word}Arn"],
    )


def read_launch_templates(look: Look) -> None:
    """Every version of every launch template; its tags and marks are those of the template."""
    size = {"PageSize": TEMPLATE_PAGE}
    templates: dict[str, dict] = {}
    for page in look.pages("ec2", "describe_launch_templates", PaginationConfig=size):
        for template in page["LaunchTemplates"]:
            id = template["LaunchTemplateId"]
            templates[id] = template
            look.template_ids |= {id: id, template["LaunchTemplateName"]: id}
            look.default_versions[id] = template["DefaultVersionNumber"]
            look.latest_versions[id] = template["LatestVersionNumber"]
    # Templates with one version, which are many, are read in one call; of the others, the call can leave versions out.
    single = [id for id, latest in look.latest_versions.items() if latest == 1]
    requests: list[dict[str, Any]] = [{"LaunchTemplateId": id} for id in templates if id not in single]
    requests += [{"Versions": ["$Latest"]}] if single else []
    for request in requests:
        for page in look.pages("ec2", "describe_launch_template_versions", **request, PaginationConfig=size):
            for version in page["LaunchTemplateVersions"]:
                id = version["LaunchTemplateId"]
                if id not in templates or (id in single and version["VersionNumber"] != 1):
                    raise ValueError(f"{id} was changed during the look; run the same command again")
                if "LaunchTemplateId" in request or id in single:
                    add_version(look, templates[id], version)


def add_version(look: Look, template: dict, version: dict) -> None:
    id, number, tags = template["LaunchTemplateId"], version["VersionNumber"], tags_of(template)
    look.template_data[f"{id}:{number}"] = version["LaunchTemplateData"]
    look.facts.things.append(
        Thing(
            kind=Kind.TEMPLATE_VERSION,
            id=f"{id}:{number}",
            name=template["LaunchTemplateName"],
            created=version["CreateTime"],
            state="available",
            tags={key: value for key, value in tags.items() if key != VERSIONS},
            marks=read_marks(tags.get(VERSIONS, "")).get(number, Marks()),
        )
    )


def read_bin_rules(look: Look) -> None:
    """The retention rules of the Recycle Bin. A list does not show their tags."""
    kinds = {"EC2_IMAGE": Kind.IMAGE, "EBS_SNAPSHOT": Kind.SNAPSHOT}
    for resource, kind in kinds.items():
        for page in look.pages("rbin", "list_rules", ResourceType=resource):
            for listed in page["Rules"]:
                rule = look.call("rbin", "get_rule", Identifier=listed["Identifier"])
                if rule.get("Status") == "available":
                    tags, excluded = pairs(rule, "ResourceTags"), pairs(rule, "ExcludeResourceTags")
                    look.facts.bin_rules.append(BinRule(kind, tags, excluded))


def pairs(rule: dict, field: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((tag["ResourceTagKey"], tag.get("ResourceTagValue")) for tag in rule.get(field, []))
