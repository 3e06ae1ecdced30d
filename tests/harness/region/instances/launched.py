"""An instance as EC2 knows it, and what any kind of it can be asked.

EC2's record (DescribeInstances, tags, network interface, addresses) is moto's; what runs is a container or a process.
"""

import base64
from dataclasses import dataclass, field
from typing import Protocol

from moto.core.types import Base64EncodedString

from harness.aws.proxy import REGION
from harness.host.systemd import Done


class LaunchFailed(Exception):
    """EC2 does not launch it; says why in EC2's words."""


@dataclass(frozen=True)
class Spec:
    """What is to be launched. `address` is its private IPv4 address."""

    id: str
    address: str
    user_data: bytes
    tags: dict[str, str]
    subnet: str | None
    zone: str
    type: str
    image: str
    mac: str
    interface: str
    role: str | None
    target_groups: list[str] = field(default_factory=list)


class Instance(Protocol):
    id: str
    address: str

    def alive(self) -> bool:
        """Whether it runs, as EC2's status checks see it."""

    def terminate(self) -> None:
        """Ends it, with everything it has. More than once if need be."""

    def kill(self) -> None:
        """Ends it as a failure of its host would; nobody is told."""

    def lifecycle(self, state: str) -> None:
        """What it reads in IMDS as target-lifecycle-state."""

    def run_command(self, *command: str, timeout: float = ...) -> Done:
        """Runs a program in it."""


def specify(engine, data: dict, tags: dict[str, str], subnet: str | None) -> Spec:
    """Makes EC2's record of a new instance from a launch template's data."""
    content = str(data.get("UserData") or "")
    address = engine.network.address()
    zone = engine.ec2.get_subnet(subnet).availability_zone if subnet else f"{REGION}a"
    reservation = engine.ec2.run_instances(
        data["ImageId"],
        1,
        Base64EncodedString(content) if content else None,
        [],
        security_group_ids=data.get("SecurityGroupIds") or [],
        instance_type=data.get("InstanceType", "m7g.large"),
        is_instance_type_default=False,
        placement=zone,
        region_name=REGION,
        subnet_id=subnet,
        private_ip=address if subnet is None else None,
        tags={"instance": tags},
        nics=[],
        lifecycle=None,
        kernel_id=None,
        ramdisk_id=None,
        key_name=None,
        owner_id="123456789012",
        ebs_optimized=False,
        instance_market_options=None,
        metadata_options={},
        launch_template={},
        block_device_mappings=[],
        iam_instance_profile_name=None,
        iam_instance_profile_arn=None,
        associate_public_ip=False,
        monitoring_state="disabled",
    )
    (record,) = reservation.instances
    # moto draws an address of the subnet; ours is one that can be reached.
    (interface,) = record.nics.values()
    interface.private_ip_address = address
    for each in interface.private_ip_addresses:
        each["PrivateIpAddress"] = address
    return Spec(
        id=record.id,
        address=address,
        user_data=base64.b64decode(content) if content else b"",
        tags=tags,
        subnet=subnet,
        zone=zone,
        type=data.get("InstanceType", "m7g.large"),
        image=data["ImageId"],
        mac=interface.mac_address,
        interface=interface.id,
        role="shop",
    )
