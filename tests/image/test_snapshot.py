"""snapshot.py on moto: what is made of a loader, when boot documents find it, and what a failure or a kill leaves.

Run Command is a stand-in that keeps the scripts and fails where a test says so; ShellCheck reads them. Nothing here
freezes a filesystem or mounts a volume.
"""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from harness.aws.pipeline import ELSEWHERE, Clock
from harness.aws.proxy import REGION

import snapshot  # isort: skip
from failure import Failure  # isort: skip
from loader import find_loader  # isort: skip

pytestmark = pytest.mark.usefixtures("cloud")
NOW = datetime(2026, 12, 6, 3, tzinfo=UTC)
GOLDEN = {"Key": "ingot:golden-data", "Value": "shop"}
SHELLCHECK = Path(sys.executable).parent / "shellcheck"


class RunCommand:
    """Systems Manager, of which a script that contains `failing` fails. `killing` ends the program there."""

    def __init__(self):
        self.scripts: list[str] = []
        self.failing = self.killing = "nothing"

    def send_command(self, InstanceIds, DocumentName, Parameters):
        assert DocumentName == "AWS-RunShellScript" and len(InstanceIds) == 1
        self.scripts.append("\n".join(Parameters["commands"]))
        if self.killing in self.scripts[-1]:
            raise KeyboardInterrupt
        return {"Command": {"CommandId": str(len(self.scripts))}}

    def get_command_invocation(self, CommandId, InstanceId):
        failed = self.failing in self.scripts[int(CommandId) - 1]
        return {"Status": "Failed" if failed else "Success", "StandardErrorContent": "no such table" if failed else ""}


class Account:
    """A loader with a root volume, a tagged data volume, another one, and a database."""

    def __init__(self, encrypted: bool = True):
        self.ssm, self.clock = RunCommand(), Clock()
        self.ec2 = boto3.client("ec2", region_name=REGION)
        self.rds = boto3.client("rds", region_name=REGION)
        image = self.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        tags = [{"ResourceType": "instance", "Tags": [GOLDEN]}]
        made = self.ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tags)["Instances"][0]
        self.instance, zone = made["InstanceId"], made["Placement"]["AvailabilityZone"]
        self.volumes = []
        for device, tags in (("/dev/sdf", [GOLDEN, {"Key": "role", "Value": "data"}]), ("/dev/sdg", [])):
            specification = [{"ResourceType": "volume", "Tags": tags}] if tags else []
            volume = self.ec2.create_volume(
                AvailabilityZone=zone, Size=20, Encrypted=encrypted, TagSpecifications=specification
            )["VolumeId"]
            self.ec2.attach_volume(VolumeId=volume, InstanceId=self.instance, Device=device)
            self.volumes.append(volume)
        self.rds.create_db_instance(
            DBInstanceIdentifier="shop-golden",
            DBInstanceClass="db.m7g.large",
            Engine="postgres",
            AllocatedStorage=20,
            StorageEncrypted=encrypted,
            MasterUsername="shop",
            MasterUserPassword="not-a-secret",
        )

    def client(self, service: str, region: str | None):
        if service == "ssm":
            return self.ssm
        made = boto3.client(service, region_name=region or REGION)
        if service == "ec2":
            made.create_snapshots = self.create_snapshots
        return made

    def create_snapshots(self, InstanceSpecification, Description, TagSpecifications):
        """moto makes them of volumes that are excluded, too."""
        assert InstanceSpecification["InstanceId"] == self.instance and InstanceSpecification["ExcludeBootVolume"]
        found = []
        for volume in self.volumes:
            if volume not in InstanceSpecification["ExcludeDataVolumeIds"]:
                request = {"Description": Description, "TagSpecifications": TagSpecifications}
                found.append(self.ec2.create_snapshot(VolumeId=volume, **request))
        return {"Snapshots": found}

    def make(self, **more) -> dict:
        plan = snapshot.Plan(name="shop", tags={"app": "shop"}, **{**LOADING, **more})
        return snapshot.make(plan, self.client, self.clock, REGION, NOW)

    def newest_with_tags(self, **tags: str) -> list[str]:
        """As agent/src/steps/volume/find.rs: completed, of this account, the newest first."""
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
        found = self.ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]
        found = [one for one in found if one["State"] == "completed"]
        return [one["SnapshotId"] for one in sorted(found, key=lambda one: one["StartTime"], reverse=True)]

    def trials(self) -> list:
        filters = [{"Name": "tag:ingot:golden-trial", "Values": ["shop"]}]
        volumes = self.ec2.describe_volumes(Filters=filters)["Volumes"]
        snapshots = self.ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]
        databases = [one["DBInstanceIdentifier"] for one in self.rds.describe_db_instances()["DBInstances"]]
        return [*volumes, *snapshots, *(one for one in databases if one.endswith("trial"))]

    def database_snapshots(self) -> list[dict]:
        return self.rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]


LOADING = {
    "load": "/opt/load",
    "check": "/opt/check",
    "units": ("postgresql.service",),
    "mounts": ("/srv/data",),
    "try_command": "test -s PG_VERSION",
    "database": "shop-golden",
    "try_database": "pg_isready --host $GOLDEN_HOST",
}


def test_what_is_made_is_tried_and_then_found_by_its_tags():
    account = Account()
    made = account.make()
    (found,) = account.newest_with_tags(app="shop", role="data")
    assert made["snapshots"] == [found]
    (described,) = account.ec2.describe_snapshots(SnapshotIds=[found])["Snapshots"]
    assert described["VolumeId"] == account.volumes[0] and described["Encrypted"]
    assert snapshot.tags_of(described) == {"app": "shop", "role": "data", "ingot:golden-data": "shop"}
    (database,) = account.database_snapshots()
    assert database["DBSnapshotIdentifier"] == made["database_snapshot"] == "shop-golden-2026-12-06-030000"
    assert {tag["Key"]: tag["Value"] for tag in database["TagList"]} == {"app": "shop", "ingot:golden-data": "shop"}
    assert account.trials() == []


def test_the_steps_come_in_their_order():
    account = Account()
    account.make()
    words = ["/opt/load", "/opt/check", "--freeze /srv/data", "late=0", "test -s PG_VERSION", "pg_isready"]
    assert len(account.ssm.scripts) == len(words)
    assert all(word in script for word, script in zip(words, account.ssm.scripts, strict=True))
    freezing = account.ssm.scripts[2]
    order = ["systemctl stop postgresql.service", "sync", "--on-active=120", "fsfreeze --freeze"]
    assert sorted(order, key=freezing.index) == order


@pytest.mark.parametrize("step", ["/opt/load", "/opt/check", "--freeze", "late=0", "PG_VERSION", "pg_isready"])
def test_a_step_that_fails_leaves_nothing_that_is_found(step):
    account = Account()
    account.ssm.failing = step
    with pytest.raises(Failure, match="no such table"):
        account.make()
    assert account.newest_with_tags(app="shop") == [] and account.database_snapshots() == []
    assert account.trials() == []
    frozen = any("--freeze" in script for script in account.ssm.scripts) and step != "--freeze"
    assert any(script.endswith("exit $late") for script in account.ssm.scripts) == frozen


@pytest.mark.parametrize("step", ["/opt/load", "late=0", "PG_VERSION", "pg_isready"])
def test_what_a_killed_run_left_is_removed_by_the_next(step, monkeypatch):
    account = Account()
    account.ssm.killing = step
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        # SIGKILL runs no `finally`: this run cleans up before it begins, and not at its end.
        calls = iter([snapshot.clean])
        patch.setattr(
            snapshot, "clean", lambda *given, real=snapshot.clean: real(*given) if next(calls, None) else None
        )
        account.make()
    assert account.newest_with_tags(app="shop") == []
    account.ssm.killing = "nothing"
    assert account.make()["snapshots"] == account.newest_with_tags(app="shop")
    assert account.trials() == [] and len(account.database_snapshots()) == 1


def test_what_was_killed_while_it_was_published_stays():
    account = Account()
    (made,) = account.make()["snapshots"]
    account.ec2.create_tags(Resources=[made], Tags=[{"Key": "ingot:golden-trial", "Value": "shop"}])
    account.make(database=None)
    assert made in account.newest_with_tags(app="shop", role="data")


def test_a_database_that_only_has_the_name_of_a_trial_is_not_deleted():
    account = Account()
    account.rds.create_db_instance(
        DBInstanceIdentifier="shop-golden-trial",
        DBInstanceClass="db.m7g.large",
        Engine="postgres",
        AllocatedStorage=20,
        StorageEncrypted=True,
        MasterUsername="shop",
        MasterUserPassword="not-a-secret",
    )
    with pytest.raises(Failure, match="shop-golden-trial has no tag ingot:golden-trial=shop") as failure:
        account.make(database="shop-golden-trial")
    assert "another name than shop-golden-trial" in failure.value.hint
    assert "shop-golden-trial" in account.trials() and not account.ssm.scripts


def test_plain_volumes_and_databases_are_refused_before_anything_is_loaded():
    account = Account(encrypted=False)
    with pytest.raises(Failure, match=f"not encrypted: {account.volumes[0]}, shop-golden"):
        account.make()
    assert account.ssm.scripts == []


def test_copies_have_the_same_tags():
    account = Account()
    (copies,) = account.make(copies=((ELSEWHERE, ""),))["copies"]
    there = boto3.client("ec2", region_name=ELSEWHERE)
    (found,) = there.describe_snapshots(SnapshotIds=copies["snapshots"])["Snapshots"]
    assert snapshot.tags_of(found) == {"app": "shop", "role": "data", "ingot:golden-data": "shop"}
    (database,) = boto3.client("rds", region_name=ELSEWHERE).describe_db_snapshots()["DBSnapshots"]
    assert database["DBSnapshotIdentifier"] == copies["database_snapshot"]


def test_one_loader_has_to_run():
    with pytest.raises(Failure, match="0 running instances have the tag ingot:golden-data=shop"):
        find_loader(boto3.client("ec2", region_name=REGION), "shop", None)


def test_the_scripts_are_clean():
    account = Account()
    account.make()
    for script in account.ssm.scripts:
        # AWS-RunShellScript runs them with sh.
        checked = subprocess.run([SHELLCHECK, "--shell=sh", "-"], input=script, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout
