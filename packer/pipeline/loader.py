"""The loader: the instance that loads golden data, and on which `snapshot.py` runs commands through Systems Manager."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from botocore.exceptions import ClientError

from failure import Failure, code_of
from probe import RUNNING, SUCCEEDED
from try_image import Clock

GOLDEN = "ingot:golden-data"
LOOK_EVERY_S = 5
# After which a filesystem thaws by itself, if nothing thaws it: a snapshot begins within seconds of its call.
FROZEN_AT_MOST_S = 120
# Devices by volume: <https://docs.aws.amazon.com/ebs/latest/userguide/identify-nvme-ebs-device.html>
DEVICE = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume}"


@dataclass(frozen=True)
class Loader:
    instance: str
    zone: str
    # Volumes with the tag of the golden data, and other data volumes of the instance.
    volumes: Mapping[str, dict]
    others: tuple[str, ...]
    commands: "Commands" = field(repr=False, compare=False)

    def run(self, what: str, script: str) -> str:
        return self.commands.run(self.instance, what, script)


@dataclass(frozen=True)
class Commands:
    """Run Command: one script at a time, as root."""

    ssm: Any
    clock: Clock
    timeout_s: int

    def run(self, instance: str, what: str, script: str) -> str:
        """What it printed, of which Systems Manager keeps the first 24,000 characters."""
        parameters = {"commands": ["set -eu", script], "executionTimeout": [str(self.timeout_s)]}
        command = self.ssm.send_command(
            InstanceIds=[instance], DocumentName="AWS-RunShellScript", Parameters=parameters
        )["Command"]["CommandId"]
        found = self.wait(instance, command, what)
        if found["Status"] != SUCCEEDED:
            said = (found.get("StandardOutputContent", "") + found.get("StandardErrorContent", "")).strip()
            hint = f"fix what the output reports, or run it by hand: `aws ssm start-session --target {instance}`"
            raise Failure(f"cannot {what} on {instance} ({found['Status']}):\n{said}", hint)
        return found.get("StandardOutputContent", "")

    def wait(self, instance: str, command: str, what: str) -> dict:
        begun = self.clock.now()
        while self.clock.now() - begun < self.timeout_s + LOOK_EVERY_S:
            try:
                found = self.ssm.get_command_invocation(CommandId=command, InstanceId=instance)
                if found["Status"] not in RUNNING:
                    return found
            except ClientError as error:
                if code_of(error) != "InvocationDoesNotExist":
                    raise
            self.clock.sleep(LOOK_EVERY_S)
        raise Failure(f"{instance} did not {what} within {self.timeout_s} s", "raise --timeout-s")


def find_loader(ec2: Any, name: str, commands: Commands) -> Loader:
    filters = [{"Name": f"tag:{GOLDEN}", "Values": [name]}, {"Name": "instance-state-name", "Values": ["running"]}]
    reservations = ec2.describe_instances(Filters=filters)["Reservations"]
    found = [instance for reservation in reservations for instance in reservation["Instances"]]
    if len(found) != 1:
        hint = f"run exactly one instance with the tag {GOLDEN}={name}"
        raise Failure(f"{len(found)} running instances have the tag {GOLDEN}={name}", hint)
    (instance,) = found
    root = instance.get("RootDeviceName")
    mappings = [one for one in instance["BlockDeviceMappings"] if "Ebs" in one and one["DeviceName"] != root]
    ids = [mapping["Ebs"]["VolumeId"] for mapping in mappings]
    described = ec2.describe_volumes(VolumeIds=ids)["Volumes"] if ids else []
    tagged = {one["VolumeId"]: one for one in described if tags_of(one).get(GOLDEN) == name}
    return Loader(
        instance=instance["InstanceId"],
        zone=instance["Placement"]["AvailabilityZone"],
        volumes=tagged,
        others=tuple(id for id in ids if id not in tagged),
        commands=commands,
    )


def tags_of(described: Mapping) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}


def freeze(loader: Loader, units: Iterable[str], mounts: Iterable[str]) -> None:
    """Stops what writes and freezes the filesystems. A timer thaws them even if this program is killed."""
    thawing = "; ".join([*thaws(mounts, ":"), *starts(units)])
    lines = [f"trap '[ $? = 0 ] || {{ {thawing}; }}' EXIT"] if thawing else []
    lines += [f"systemctl stop {quote(unit)}" for unit in units] + ["sync"]
    for mount in mounts:
        timer = f"systemd-run --quiet --on-active={FROZEN_AT_MOST_S} fsfreeze --unfreeze {quote(mount)}"
        lines += [timer, f"fsfreeze --freeze {quote(mount)}"]
    loader.run("freeze the data", "\n".join(lines))


def thaw(loader: Loader, units: Iterable[str], mounts: Iterable[str]) -> None:
    """Fails for a filesystem that its timer has thawed already: the snapshot may not be consistent."""
    lines = ["late=0", *thaws(mounts, "late=1"), *starts(units), "exit $late"]
    loader.run("thaw the data in time", "\n".join(lines))


def thaws(mounts: Iterable[str], otherwise: str) -> list[str]:
    return [f"fsfreeze --unfreeze {quote(mount)} || {otherwise}" for mount in mounts]


def starts(units: Iterable[str]) -> list[str]:
    return [f"systemctl start {quote(unit)}" for unit in units]


def try_volume(loader: Loader, volume: str, command: str) -> None:
    """Mounts a restored volume read-only in an empty directory, and runs the command there."""
    device = DEVICE.format(volume=volume.replace("-", ""))
    script = f"""
for _ in $(seq 60); do [ -e {device} ] && break; sleep 1; done
options=ro
# XFS refuses a second filesystem with the same UUID.
if [ "$(blkid --output value --match-tag TYPE {device})" = xfs ]; then options=ro,nouuid; fi
directory=$(mktemp -d)
mount -o $options {device} "$directory"
trap 'cd /; umount "$directory"; rmdir "$directory"' EXIT
cd "$directory"
{command}
"""
    loader.run(f"check {volume}, restored from a snapshot", script)
