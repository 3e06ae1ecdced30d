"""What EC2 does with volumes and moto does not: states that take their time, refusals, idempotency, pages.

`Ec2` changes moto's own classes, in the process of `proxy.py`. What each piece stands in for, from the EC2 API Reference
unless another source is named:

    create_volume      a ClientToken is a promise: the same request gives the same volume, another one
                       IdempotentParameterMismatch ("Ensuring idempotency"). `creating` comes before `available`. A
                       volume is not smaller than its snapshot, and a snapshot that is not `completed` gives none.
                       VolumeInitializationRate is 100 to 300 MiB/s, of a snapshot only.
    attach_volume      `attaching` comes before `attached`, or for ever: a device name that the instance's kernel still
                       holds, as the EBS CSI driver met it. VolumeInUse, InvalidVolume.ZoneMismatch, IncorrectState; a
                       device name that is taken, or none at all ("Device names for volumes", EC2 User Guide).
    detach_volume      `detaching` comes before `available`; IncorrectState where there is nothing to detach.
    modify_attribute   DeleteOnTermination is seen in DescribeVolumes too; it is false for what is attached later.
    addresses          one that a network interface has is its instance's.
    describe_…         Owners; pages, of five at the least, and none where ids are given; what was made just now may
                       not be seen yet ("Eventual consistency").

The wordings are those that users have posted. Not here: Multi-Attach (a second attachment), quotas and permissions
(rules of `proxy.py`), deletion at an instance's end.
"""

import base64
import itertools
import re
import time
from datetime import UTC, datetime

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends, elastic_block_store, elastic_ip_addresses, instances
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import generic_filter, random_snapshot_id, random_volume_id

# What `/dev/` may be followed by, for instances with hardware virtualisation.
DEVICE_NAME = re.compile(r"(/dev/)?(sd[a-z]([1-9]|1[0-5])?|xvd([a-z]|[b-d][a-z]))")
AMAZON = "137112412989"

DEFAULTS = {
    "creating": 0,  # seconds until a new volume is `available`
    "attaching": 0,  # seconds until an attachment is `attached`
    "detaching": 0,  # seconds until a volume is `available` again
    "unseen": 0,  # seconds in which DescribeVolumes does not know a new volume
    "stuck": [],  # volume ids and device names that stay `attaching`; "*" is all of them
    "page": 1000,  # entries of a page at most, whatever MaxResults asks for
}


class Ec2:
    """One for a process. `settings` are `DEFAULTS` and what a test changes of them."""

    def __init__(self, account: str, region: str):
        self.account, self.region = account, region
        self.owners = {"self": account, "amazon": AMAZON}
        self.forget()
        self.install()

    def forget(self) -> None:
        """Back to the settings of the beginning; what was made, and what was told of it, stays."""
        self.settings = dict(DEFAULTS)

    def configure(self, settings: dict) -> None:
        if unknown := settings.keys() - DEFAULTS.keys():
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        self.settings = {**DEFAULTS, **settings}

    @property
    def backend(self):
        """moto's. What we keep with it is forgotten when moto is reset."""
        return ec2_backends[self.account][self.region]

    @property
    def events(self) -> list[dict]:
        return vars(self.backend).setdefault("events", [])

    def install(self) -> None:
        """Puts methods of ours in the place of moto's. They are called with moto's own objects first."""
        replaced = {
            "create_volume": self.create_volume,
            "attach_volume": self.attach_volume,
            "detach_volume": self.detach_volume,
            "describe_volumes": self.describe_volumes,
            "describe_snapshots": self.describe_snapshots,
        }
        for name, method in replaced.items():
            setattr(ElasticBlockStore, name, lambda call, method=method: method(call))
        modify_attribute = InstanceResponse.modify_instance_attribute
        InstanceResponse.modify_instance_attribute = lambda call: self.modify_attribute(call, modify_attribute)
        elastic_block_store.Volume.status = property(volume_state)
        elastic_ip_addresses.ElasticAddress.instance_id = property(instance_of)
        elastic_block_store.VolumeAttachment.delete_on_termination = property(
            lambda attachment: attachment.instance.block_device_mapping[attachment.device].delete_on_termination
        )

    # What a test makes, without a call of AWS.

    def make(self, kind: str, wanted: dict) -> str:
        made = {"instance": self.make_instance, "snapshot": self.make_snapshot, "volume": self.make_volume}
        return made[kind](**wanted)

    def make_instance(self, id: str, zone: str, type: str) -> str:
        """An instance with this very id (moto would draw one) and a root volume at /dev/xvda."""
        drawn, instances.random_instance_id = instances.random_instance_id, lambda: id
        try:
            self.backend.run_instances(
                "ami-0123456789abcdef0", 1, None, [], placement=zone, region_name=self.region, instance_type=type,
                is_instance_type_default=False,
                block_device_mappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8, "DeleteOnTermination": True}}],
            )  # fmt: skip
        finally:
            instances.random_instance_id = drawn
        return id

    def make_snapshot(
        self, size_gib: int, tags: dict, state: str, started: str | None, encrypted: bool, owner: str, id: str | None
    ) -> str:
        """A snapshot of a volume that is no more."""
        id = id or random_snapshot_id()
        volume = elastic_block_store.Volume(self.backend, random_volume_id(), size_gib, None, encrypted=encrypted)
        snapshot = elastic_block_store.Snapshot(self.backend, id, volume, "", encrypted, None, self.owners.get(owner, owner))
        snapshot.status = state
        snapshot.start_time = datetime.fromisoformat(started) if started else datetime.now(UTC)
        self.backend.snapshots[id] = snapshot
        snapshot.add_tags(tags)
        return id

    def make_volume(
        self,
        size_gib: int,
        tags: dict,
        zone: str,
        state: str,
        snapshot: str | None,
        id: str | None,
        type: str,
        multi_attach: bool,
    ) -> str:
        """A volume as it is after a while. `state` stays what it is, unless it is "available"."""
        volume = self.backend.create_volume(size_gib, zone, snapshot, volume_type=type)
        volume.multi_attach_enabled = multi_attach
        if id:
            volume = self.backend.volumes.setdefault(id, self.backend.volumes.pop(volume.id))
            volume.id = id
        volume.forced = None if state == "available" else state
        volume.add_tags(tags)
        return volume.id

    # What is called.

    def create_volume(self, call) -> ActionResult:
        asked = {name: value for name, value in call.params.items() if name != "ClientToken"}
        call.error_on_dryrun()
        tokens = vars(self.backend).setdefault("client_tokens", {})
        token = call.params.get("ClientToken")
        if token and token in tokens:
            before, volume = tokens[token]
            if before != asked:
                raise EC2ClientError(
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
                )
            return ActionResult(volume)
        self.refuse_new_volume(asked)
        volume = self.backend.create_volume(
            size=asked.get("Size"),
            zone_name=asked.get("AvailabilityZone"),
            snapshot_id=asked.get("SnapshotId"),
            encrypted=asked.get("Encrypted", False),
            kms_key_id=asked.get("KmsKeyId"),
            volume_type=asked.get("VolumeType"),
            iops=asked.get("Iops"),
            throughput=asked.get("Throughput"),
            multi_attach_enabled=asked.get("MultiAttachEnabled"),
        )
        now = time.monotonic()
        volume.available_at = now + self.settings["creating"]
        volume.seen_at = now + self.settings["unseen"]
        for specification in asked.get("TagSpecifications", []):
            volume.add_tags({tag["Key"]: tag.get("Value", "") for tag in specification.get("Tags", [])})
        if token:
            tokens[token] = (asked, volume)
        return ActionResult(volume)

    def refuse_new_volume(self, asked: dict) -> None:
        zone = asked.get("AvailabilityZone")
        if zone not in {known.name for known in self.backend.zones[self.region]}:
            raise EC2ClientError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
        snapshot = asked.get("SnapshotId")
        rate = asked.get("VolumeInitializationRate")
        if not snapshot and rate:
            raise EC2ClientError(
                "InvalidParameterCombination", "The parameter VolumeInitializationRate requires the parameter SnapshotId"
            )
        if rate and not 100 <= rate <= 300:
            raise invalid(f"Value ({rate}) for parameter VolumeInitializationRate is invalid.")
        if not snapshot:
            return
        if snapshot not in self.backend.snapshots:
            raise no_snapshot(snapshot)
        source = self.backend.snapshots[snapshot]
        if source.status != "completed":
            raise EC2ClientError("IncorrectState", f"Snapshot is in invalid state - {source.status}")
        if (size := asked.get("Size")) and size < source.volume_size:
            raise invalid(
                f"Volume of {size}GiB is smaller than snapshot '{snapshot}', expect size >= {source.volume_size}GiB"
            )

    def attach_volume(self, call) -> ActionResult:
        call.error_on_dryrun()
        self.settle()
        volume = self.volume(call.params["VolumeId"])
        instance = self.backend.get_instance(call.params["InstanceId"])
        device = call.params["Device"]
        if not DEVICE_NAME.fullmatch(device):
            raise invalid(f"Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name.")
        if volume.zone.name != instance.placement.zone:
            raise EC2ClientError(
                "InvalidVolume.ZoneMismatch",
                f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
            )
        if volume.attachment:
            raise EC2ClientError("VolumeInUse", f"{volume.id} is already attached to an instance")
        if volume.status != "available":
            raise EC2ClientError("IncorrectState", f"{volume.id} is not 'available'.")
        if device in instance.block_device_mapping:
            raise invalid(f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use")
        stuck = not {"*", volume.id, device}.isdisjoint(self.settings["stuck"])
        attachment = self.backend.attach_volume(volume.id, instance.id, device)
        attachment.status = "attaching"
        attachment.due = float("inf") if stuck else time.monotonic() + self.settings["attaching"]
        if not stuck:
            self.tell("attach", volume, attachment)
        return ActionResult(described(attachment))

    def detach_volume(self, call) -> ActionResult:
        call.error_on_dryrun()
        self.settle()
        volume = self.volume(call.params["VolumeId"])
        attachment = volume.attachment
        if not attachment:
            raise EC2ClientError("IncorrectState", f"Volume '{volume.id}' is in the '{volume.status}' state.")
        asked = (
            call.params.get("InstanceId", attachment.instance.id),
            call.params.get("Device", attachment.device),
        )
        if asked != (attachment.instance.id, attachment.device):
            raise EC2ClientError(
                "InvalidAttachment.NotFound",
                f"The volume '{volume.id}' is not attached to instance '{asked[0]}' as device '{asked[1]}'",
            )
        if attachment.status != "detaching":
            attachment.status = "detaching"
            attachment.due = time.monotonic() + self.settings["detaching"]
            self.tell("detach", volume, attachment)
        return ActionResult(described(attachment))

    def modify_attribute(self, call, modify) -> ActionResult | EmptyResult:
        instance = self.backend.get_instance(call.params["InstanceId"])
        for mapping in call.params.get("BlockDeviceMappings", []):
            if (name := mapping.get("DeviceName")) not in instance.block_device_mapping:
                raise EC2ClientError("InvalidInstanceAttributeValue", f"No device is currently mapped at {name}")
        return modify(call)

    def describe_volumes(self, call) -> ActionResult:
        self.settle()
        now = time.monotonic()
        seen = {id: v for id, v in self.backend.volumes.items() if getattr(v, "seen_at", 0) <= now}
        ids = call.params.get("VolumeIds", [])
        if missing := [id for id in ids if id not in seen]:
            raise no_volume(missing[0])
        chosen = [volume for id, volume in seen.items() if not ids or id in ids]
        return self.page(call, "Volumes", generic_filter(call._filters_from_querystring(), chosen), bool(ids))

    def describe_snapshots(self, call) -> ActionResult:
        ids = call.params.get("SnapshotIds", [])
        if missing := [id for id in ids if id not in self.backend.snapshots]:
            raise no_snapshot(missing[0])
        owners = {self.owners.get(owner, owner) for owner in call.params.get("OwnerIds", [])}
        chosen = [
            snapshot
            for id, snapshot in self.backend.snapshots.items()
            if (not ids or id in ids) and (not owners or snapshot.owner_id in owners)
        ]
        return self.page(call, "Snapshots", generic_filter(call._filters_from_querystring(), chosen), bool(ids))

    # How it goes on.

    def settle(self) -> None:
        """Brings every attachment to where it is by now."""
        now = time.monotonic()
        for volume in self.backend.volumes.values():
            attachment = volume.attachment
            if not attachment or getattr(attachment, "due", float("inf")) > now:
                continue
            if attachment.status == "detaching":
                self.backend.detach_volume(volume.id, attachment.instance.id, attachment.device)
            else:
                attachment.status = "attached"

    def page(self, call, name: str, chosen: list, by_id: bool) -> ActionResult:
        asked = call.params.get("MaxResults")
        if asked is not None and by_id:
            raise EC2ClientError(
                "InvalidParameterCombination",
                f"The parameter {name[:-1].lower()}Set cannot be used with the parameter maxResults",
            )
        if asked is not None and asked < 5:
            raise invalid(f"Value ( {asked} ) for parameter maxResults is invalid. Expecting a value greater than 5.")
        begin = 0
        if token := call.params.get("NextToken"):
            try:
                begin = int(base64.b64decode(token, validate=True).decode().removeprefix("from "))
            except ValueError:
                raise invalid(f"Invalid value '{token}' for nextToken") from None
        end = len(chosen) if by_id else begin + min(asked or 1000, self.settings["page"])
        more = {"NextToken": base64.b64encode(f"from {end}".encode()).decode()} if end < len(chosen) else {}
        return ActionResult({name: list(itertools.islice(chosen, begin, end)), **more})

    def volume(self, id: str):
        if id not in self.backend.volumes:
            raise no_volume(id)
        return self.backend.volumes[id]

    def tell(self, event: str, volume, attachment) -> None:
        """An event is what the hypervisor is told: a machine that listens plugs a disk in, or out."""
        self.events.append(
            {
                "at": time.monotonic(),
                "event": event,
                "volume": volume.id,
                "instance": attachment.instance.id,
                "device": attachment.device,
                "size_gib": volume.size,
                "snapshot": volume.snapshot_id,
            }
        )


def volume_state(volume) -> str:
    """In the place of moto's `Volume.status`, which knows two states."""
    if volume.attachment:
        return "in-use"
    if getattr(volume, "available_at", 0) > time.monotonic():
        return "creating"
    return getattr(volume, "forced", None) or "available"


def instance_of(address) -> str:
    instance = address.instance or (address.eni and address.eni.instance)
    return instance.id if instance else ""


def described(attachment) -> dict:
    return {
        "VolumeId": attachment.volume.id,
        "InstanceId": attachment.instance.id,
        "Device": attachment.device,
        "State": attachment.status,
        "AttachTime": attachment.attach_time,
        "DeleteOnTermination": attachment.delete_on_termination,
    }


def invalid(message: str) -> EC2ClientError:
    return EC2ClientError("InvalidParameterValue", message)


def no_volume(id: str) -> EC2ClientError:
    return EC2ClientError("InvalidVolume.NotFound", f"The volume '{id}' does not exist.")


def no_snapshot(id: str) -> EC2ClientError:
    return EC2ClientError("InvalidSnapshot.NotFound", f"The snapshot '{id}' does not exist.")
