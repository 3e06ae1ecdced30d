"""The database of golden data: its snapshot, the instance that is restored to try it, and copies."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from failure import Failure, code_of
from try_image import Clock

LOOK_EVERY_S = 20


@dataclass(frozen=True)
class Database:
    id: str
    encrypted: bool
    instance_class: str
    subnet_group: str | None
    security_groups: tuple[str, ...]

    @staticmethod
    def described(rds: Any, id: str) -> "Database":
        try:
            (found,) = rds.describe_db_instances(DBInstanceIdentifier=id)["DBInstances"]
        except ClientError as error:
            raise Failure(f"cannot read the database {id}", "name an RDS instance of this region", error) from error
        groups = found.get("VpcSecurityGroups", [])
        return Database(
            id=id,
            encrypted=found["StorageEncrypted"],
            instance_class=found["DBInstanceClass"],
            subnet_group=(found.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
            security_groups=tuple(group["VpcSecurityGroupId"] for group in groups),
        )


def trial_of(name: str) -> str:
    return f"{name}-golden-trial"


def make_database(rds: Any, database: Database, name: str, tags: list[dict], now: datetime) -> str:
    id = f"{name}-golden-{now.strftime('%Y-%m-%d-%H%M%S')}"
    rds.create_db_snapshot(DBSnapshotIdentifier=id, DBInstanceIdentifier=database.id, Tags=tags)
    return id


def try_database(
    rds: Any, database: Database, snapshot: str, name: str, tag: str, timeout_s: int, clock: Clock
) -> tuple[str, int]:
    """Restores it, with the network of the database that it is a snapshot of. Its address, once it is available."""
    wait_for_snapshot(rds, snapshot, timeout_s, clock)
    network: dict[str, Any] = {"VpcSecurityGroupIds": list(database.security_groups)}
    if database.subnet_group:
        network["DBSubnetGroupName"] = database.subnet_group
    rds.restore_db_instance_from_db_snapshot(
        DBInstanceIdentifier=trial_of(name),
        DBSnapshotIdentifier=snapshot,
        DBInstanceClass=database.instance_class,
        PubliclyAccessible=False,
        MultiAZ=False,
        DeletionProtection=False,
        Tags=[{"Key": tag, "Value": name}],
        **network,
    )
    begun = clock.now()
    while True:
        (found,) = rds.describe_db_instances(DBInstanceIdentifier=trial_of(name))["DBInstances"]
        if found["DBInstanceStatus"] == "available":
            return found["Endpoint"]["Address"], found["Endpoint"]["Port"]
        if clock.now() - begun >= timeout_s:
            raise Failure(f"{trial_of(name)} is {found['DBInstanceStatus']} after {timeout_s} s", "raise --timeout-s")
        clock.sleep(LOOK_EVERY_S)


def wait_for_snapshot(rds: Any, snapshot: str, timeout_s: int, clock: Clock) -> None:
    begun = clock.now()
    while True:
        (found,) = rds.describe_db_snapshots(DBSnapshotIdentifier=snapshot)["DBSnapshots"]
        if found["Status"] == "available":
            return
        if found["Status"] == "failed" or clock.now() - begun >= timeout_s:
            hint = "read the events of the database in RDS, or raise --timeout-s"
            raise Failure(f"{snapshot} is {found['Status']} instead of available", hint)
        clock.sleep(LOOK_EVERY_S)


def publish_database(rds: Any, snapshot: str, tags: dict[str, str], trial: str) -> None:
    (found,) = rds.describe_db_snapshots(DBSnapshotIdentifier=snapshot)["DBSnapshots"]
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    rds.add_tags_to_resource(ResourceName=found["DBSnapshotArn"], Tags=pairs)
    rds.remove_tags_from_resource(ResourceName=found["DBSnapshotArn"], TagKeys=[trial])


def remove_trials(rds: Any, name: str, trial: str, published: str) -> None:
    """The restored instance, and the snapshots that did not pass their trial."""
    try:
        (found,) = rds.describe_db_instances(DBInstanceIdentifier=trial_of(name))["DBInstances"]
        # It is deleted without a final snapshot: the name alone does not say that a run has made it.
        if {"Key": trial, "Value": name} not in found.get("TagList", []):
            hint = f"give the golden data another --name, or the database another name than {trial_of(name)}"
            raise Failure(f"the database {trial_of(name)} has no tag {trial}={name}, so it is not a trial", hint)
        rds.delete_db_instance(DBInstanceIdentifier=trial_of(name), SkipFinalSnapshot=True, DeleteAutomatedBackups=True)
    except ClientError as error:
        if code_of(error) not in ("DBInstanceNotFound", "DBInstanceNotFoundFault", "InvalidDBInstanceState"):
            raise
    for page in rds.get_paginator("describe_db_snapshots").paginate(SnapshotType="manual"):
        for snapshot in page["DBSnapshots"]:
            tags = {tag["Key"]: tag["Value"] for tag in snapshot.get("TagList", [])}
            if tags.get(trial) == name and published not in tags:
                rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])


def copy_database(rds: Any, arn: str, source_region: str, key: str, tags: dict[str, str]) -> str:
    """An encrypted snapshot needs a key of the region that it is copied to."""
    id = arn.rpartition(":")[2]
    rds.copy_db_snapshot(
        SourceDBSnapshotIdentifier=arn,
        TargetDBSnapshotIdentifier=id,
        SourceRegion=source_region,
        KmsKeyId=key or "alias/aws/rds",
        Tags=[{"Key": name, "Value": value} for name, value in tags.items()],
    )
    return id
