#!/usr/bin/env python3
"""Makes golden data: snapshots of loaded volumes and of a loaded database, which boot documents restore by tags.

    snapshot.py --name shop --tag app=shop --load /opt/golden/load --check /opt/golden/check \\
        --stop postgresql.service --mount /srv/data --try 'test -s PG_VERSION' --database shop-golden

The loader is the running instance with the tag `ingot:golden-data=NAME`; the snapshots are of its volumes with that
tag. The steps: load, check, stop and freeze, snapshot, thaw, wait, restore each snapshot once and check it, and only
then set the tags by which `newest_with_tags` finds it: those of `--tag` and, of a volume, its own. Until then a
snapshot has nothing but `ingot:golden-trial`; a run that fails removes it, and the next run removes what a killed one
left.
docs/guides/golden-data.md describes the loader and the permissions.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError

from failure import Failure, code_of, end_with, talk
from golden_database import Database, copy_database, make_database, publish_database, remove_trials, try_database
from loader import GOLDEN, Commands, Loader, find_loader, freeze, tags_of, thaw, try_volume
from try_image import Clock

# Tag of what a run has made and not yet tried, and of what it restores to try it.
TRIAL = "ingot:golden-trial"
LOOK_EVERY_S = 10
# Names of devices that a loader leaves free.
DEVICES = "zyxwv"


@dataclass(frozen=True)
class Plan:
    """What the user asks for."""

    name: str
    tags: dict[str, str]
    load: str | None = None
    check: str | None = None
    units: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    try_command: str = "true"
    database: str | None = None
    try_database: str = "true"
    # For each region to copy to, its KMS key; empty for the account's.
    copies: tuple[tuple[str, str], ...] = ()
    timeout_s: int = 3600


Client = Callable[[str, str | None], Any]


def make(plan: Plan, client: Client, clock: Clock, region: str, now: datetime) -> dict[str, Any]:
    """The snapshots that were made, tried and tagged. Removes them if anything fails."""
    ec2, rds = client("ec2", None), client("rds", None)
    clean(plan, ec2, rds, clock)
    loader = find_loader(ec2, plan.name, Commands(client("ssm", None), clock, plan.timeout_s))
    database = Database.described(rds, plan.database) if plan.database else None
    check_encrypted(loader, database)
    if not loader.volumes and not database:
        hint = f"tag the loader's data volumes {GOLDEN}={plan.name}, or name a --database"
        raise Failure("there is nothing to make a snapshot of", hint)
    try:
        if plan.load:
            loader.run("load the data", plan.load)
        if plan.check:
            loader.run("check the data", plan.check)
        snapshots, of_database = take(plan, loader, ec2, rds, database, now)
        wait_until_completed(ec2, list(snapshots), plan.timeout_s, clock)
        for index, snapshot in enumerate(snapshots):
            try_snapshot(plan, loader, ec2, snapshot, index, clock)
        if database and of_database:
            host, port = try_database(rds, database, of_database, plan.name, TRIAL, plan.timeout_s, clock)
            script = f"export GOLDEN_HOST={host} GOLDEN_PORT={port}\n{plan.try_database}"
            loader.run("check the restored database", script)
        publish(plan, ec2, rds, snapshots, of_database)
    finally:
        clean(plan, ec2, rds, clock)
    made: dict[str, Any] = {"snapshots": list(snapshots), "database_snapshot": of_database, "copies": []}
    for target, key in plan.copies:
        made["copies"].append(copy(plan, client, snapshots, of_database, (region, target, key)))
    return made


def check_encrypted(loader: Loader, database: Database | None) -> None:
    """A snapshot is encrypted if what it is made of is."""
    plain = [id for id, volume in loader.volumes.items() if not volume["Encrypted"]]
    plain += [database.id] if database and not database.encrypted else []
    if plain:
        raise Failure(f"not encrypted: {', '.join(plain)}", "encrypt the loader's volumes and its database")


def take(
    plan: Plan, loader: Loader, ec2: Any, rds: Any, database: Database | None, now: datetime
) -> tuple[dict[str, dict[str, str]], str | None]:
    """The snapshots with the tags that each will have, all of one moment, and that of the database."""
    trial = [{"Key": TRIAL, "Value": plan.name}]
    freeze(loader, plan.units, plan.mounts)
    try:
        found: list[dict] = []
        if loader.volumes:
            specification: dict[str, Any] = {"InstanceId": loader.instance, "ExcludeBootVolume": True}
            if loader.others:
                specification["ExcludeDataVolumeIds"] = list(loader.others)
            found = ec2.create_snapshots(
                InstanceSpecification=specification,
                Description=f"golden data of {plan.name}",
                TagSpecifications=[{"ResourceType": "snapshot", "Tags": trial}],
            )["Snapshots"]
        of_database = make_database(rds, database, plan.name, trial, now) if database else None
    finally:
        thaw(loader, plan.units, plan.mounts)
    talk(f"made {', '.join([one['SnapshotId'] for one in found] + ([of_database] if of_database else []))}")
    return {one["SnapshotId"]: final_tags(plan, loader.volumes[one["VolumeId"]]) for one in found}, of_database


def final_tags(plan: Plan, volume: dict) -> dict[str, str]:
    own = {key: value for key, value in tags_of(volume).items() if not key.startswith(("aws:", "ingot:"))}
    return {**own, **plan.tags, GOLDEN: plan.name}


def wait_until_completed(ec2: Any, snapshots: list[str], timeout_s: int, clock: Clock) -> None:
    begun = clock.now()
    while snapshots:
        states = {one["SnapshotId"]: one["State"] for one in ec2.describe_snapshots(SnapshotIds=snapshots)["Snapshots"]}
        if "error" in states.values():
            raise Failure(f"a snapshot failed: {states}", "run the same command again")
        if set(states.values()) == {"completed"}:
            return
        if clock.now() - begun >= timeout_s:
            raise Failure(f"snapshots are not complete after {timeout_s} s: {states}", "raise --timeout-s")
        clock.sleep(LOOK_EVERY_S)


def try_snapshot(plan: Plan, loader: Loader, ec2: Any, snapshot: str, index: int, clock: Clock) -> None:
    """Restores it as a volume of the loader, and checks what is there."""
    tags = [{"Key": TRIAL, "Value": plan.name}, {"Key": GOLDEN, "Value": plan.name}]
    volume = ec2.create_volume(
        SnapshotId=snapshot,
        AvailabilityZone=loader.zone,
        VolumeType="gp3",
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
    )["VolumeId"]
    wait_for_volume(ec2, volume, "available", plan.timeout_s, clock)
    device = f"/dev/sd{DEVICES[index % len(DEVICES)]}"
    ec2.attach_volume(VolumeId=volume, InstanceId=loader.instance, Device=device)
    wait_for_volume(ec2, volume, "in-use", plan.timeout_s, clock)
    try_volume(loader, volume, plan.try_command)
    remove_volume(ec2, volume, clock)
    talk(f"{snapshot} was restored as {volume} and checked")


def wait_for_volume(ec2: Any, volume: str, state: str, timeout_s: int, clock: Clock) -> None:
    begun = clock.now()
    while (now := ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"]) != state:
        if now == "error" or clock.now() - begun >= timeout_s:
            raise Failure(f"{volume} is {now} instead of {state}", "check the KMS key and the quotas of EBS")
        clock.sleep(LOOK_EVERY_S)


def remove_volume(ec2: Any, volume: str, clock: Clock) -> None:
    try:
        (found,) = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
        if found["State"] == "in-use":
            ec2.detach_volume(VolumeId=volume, InstanceId=found["Attachments"][0]["InstanceId"])
            wait_for_volume(ec2, volume, "available", 600, clock)
        ec2.delete_volume(VolumeId=volume)
    except ClientError as error:
        if code_of(error) != "InvalidVolume.NotFound":
            raise


def publish(plan: Plan, ec2: Any, rds: Any, snapshots: dict[str, dict[str, str]], of_database: str | None) -> None:
    """From here on, boot documents find them. Those with both tags were killed in between, and are kept."""
    for snapshot, tags in snapshots.items():
        ec2.create_tags(Resources=[snapshot], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    if of_database:
        publish_database(rds, of_database, {**plan.tags, GOLDEN: plan.name}, TRIAL)
    if snapshots:
        ec2.delete_tags(Resources=list(snapshots), Tags=[{"Key": TRIAL}])


def clean(plan: Plan, ec2: Any, rds: Any, clock: Clock) -> None:
    """Removes what was made for a trial, and the snapshots that did not pass it. Only one run goes on at a time."""
    filters = [{"Name": f"tag:{TRIAL}", "Values": [plan.name]}]
    for volume in ec2.describe_volumes(Filters=filters)["Volumes"]:
        remove_volume(ec2, volume["VolumeId"], clock)
    for snapshot in ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]:
        if GOLDEN not in tags_of(snapshot):
            talk(f"removing {snapshot['SnapshotId']}, which did not pass its trial")
            ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
    if plan.database:
        remove_trials(rds, plan.name, TRIAL, GOLDEN)


def copy(
    plan: Plan, client: Client, snapshots: dict[str, dict[str, str]], of_database: str | None, to: tuple[str, str, str]
) -> dict[str, Any]:
    """Copies with the same tags. A copy is found once it is complete, which this does not wait for."""
    source, region, key = to
    made: dict[str, Any] = {"region": region, "snapshots": [], "database_snapshot": None}
    encryption = {"Encrypted": True} | ({"KmsKeyId": key} if key else {})
    for snapshot, tags in snapshots.items():
        pairs = [{"Key": name, "Value": value} for name, value in tags.items()]
        copied = client("ec2", region).copy_snapshot(
            SourceRegion=source,
            SourceSnapshotId=snapshot,
            Description=f"golden data of {plan.name}",
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": pairs}],
            **encryption,
        )
        made["snapshots"].append(copied["SnapshotId"])
    if of_database:
        tags = {**plan.tags, GOLDEN: plan.name}
        arn = client("rds", None).describe_db_snapshots(DBSnapshotIdentifier=of_database)["DBSnapshots"][0]
        made["database_snapshot"] = copy_database(client("rds", region), arn["DBSnapshotArn"], source, key, tags)
    talk(f"copying to {region}: {', '.join(made['snapshots'])} {made['database_snapshot'] or ''}".rstrip())
    return made


def tag(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator or key.startswith(("aws:", "ingot:")):
        raise argparse.ArgumentTypeError("write KEY=VALUE, with a key that begins with neither aws: nor ingot:")
    return key, value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make snapshots of golden data, and try them.")
    parser.add_argument("--name", required=True, help="value of the tag ingot:golden-data")
    parser.add_argument("--tag", action="append", type=tag, default=[], metavar="KEY=VALUE", required=True)
    parser.add_argument("--load", help="command on the loader that loads the data")
    parser.add_argument("--check", help="command on the loader that checks the data")
    parser.add_argument("--stop", action="append", default=[], metavar="UNIT", help="unit to stop for the snapshot")
    parser.add_argument("--mount", action="append", default=[], metavar="DIR", help="mount to freeze for the snapshot")
    parser.add_argument("--try", dest="try_command", default="true", help="command to run in each restored filesystem")
    parser.add_argument("--database", help="RDS instance that --load fills")
    parser.add_argument("--try-database", default="true", help="command that tries $GOLDEN_HOST:$GOLDEN_PORT")
    parser.add_argument("--copy-to", action="append", default=[], metavar="REGION[=KMS-KEY]", help="region to copy to")
    parser.add_argument("--timeout-s", type=int, default=3600, help="time limit of each step (default: 3600)")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    session = boto3.session.Session()

    @cache
    def client(service: str, region: str | None) -> Any:
        return session.client(service, region_name=region or session.region_name)

    plan = Plan(
        name=args.name,
        tags=dict(args.tag),
        load=args.load,
        check=args.check,
        units=tuple(args.stop),
        mounts=tuple(args.mount),
        try_command=args.try_command,
        database=args.database,
        try_database=args.try_database,
        copies=tuple((text.partition("=")[0], text.partition("=")[2]) for text in args.copy_to),
        timeout_s=args.timeout_s,
    )
    json.dump(make(plan, client, Clock(), session.region_name, datetime.now(UTC)), sys.stdout)
    print()


if __name__ == "__main__":
    sys.exit(end_with(main))
