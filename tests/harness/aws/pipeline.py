"""The pipeline's programs, to be called in tests, on a moto in this process: images as Packer leaves them, and time.

Importing this puts packer/pipeline on the path.
"""

import os
import sys
from datetime import datetime
from pathlib import Path

import boto3
from botocore.exceptions import ClientError
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from .proxy import REGION

PIPELINE = Path(__file__).resolve().parents[3] / "packer" / "pipeline"
sys.path.insert(0, str(PIPELINE))

import image  # noqa: E402

ELSEWHERE = "us-east-1"
PARAMETER = "/golden/shop/x86_64"


class Clock:
    """Time that passes only where somebody sleeps; what is to happen then is called."""

    def __init__(self):
        self.time = 0.0
        self.later = lambda: None

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.later()


def bake(region: str = REGION, name: str = "shop", month: int = 1) -> image.Image:
    """An image with a snapshot of its own, as Packer leaves it."""
    ec2 = boto3.client("ec2", region_name=region)
    volume = ec2.create_volume(AvailabilityZone=f"{region}a", Size=8)["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}
    made = ec2.register_image(Name=name, BlockDeviceMappings=[mapping], RootDeviceName="/dev/xvda")["ImageId"]
    ec2_backends[DEFAULT_ACCOUNT_ID][region].amis[made].creation_date = datetime(2026, month, 1)
    return image.Image(region, made)


def snapshots_of(ec2, made: image.Image) -> list[str]:
    mappings = ec2.describe_images(ImageIds=[made.id])["Images"][0]["BlockDeviceMappings"]
    return [mapping["Ebs"]["SnapshotId"] for mapping in mappings]


def exists(made: image.Image) -> bool:
    try:
        return bool(boto3.client("ec2", region_name=made.region).describe_images(ImageIds=[made.id])["Images"])
    except ClientError as error:
        assert error.response["Error"]["Code"].startswith("InvalidAMIID")
        return False


def with_venv() -> dict[str, str]:
    """The environment in which the programs, run as such, find boto3."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
