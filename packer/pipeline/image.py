"""Machine images: reads them from a Packer manifest, and removes them with their snapshots.

One bake makes one image in each region that it is copied to; the first is in the region of the bake. `try_image.py`
tests the first, and `publish.py` publishes all of them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError

from failure import Failure, code_of, talk


@dataclass(frozen=True)
class Image:
    region: str
    id: str

    def __str__(self) -> str:
        return f"{self.id} in {self.region}"


def read_manifest(path: Path, home: str) -> list[Image]:
    """The images of the last run in the manifest; the one in the region `home` comes first."""
    try:
        manifest = json.loads(path.read_text())
        build = [build for build in manifest["builds"] if build["packer_run_uuid"] == manifest["last_run_uuid"]][-1]
        images = [Image(*artifact.split(":")) for artifact in build["artifact_id"].split(",")]
    except OSError as error:
        raise Failure(f"cannot read the manifest {path}", "run `packer build` first", error) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        hint = "bake with -only=amazon-ebs.golden: only its manifest names images, as REGION:AMI"
        raise Failure(f"{path} names no image of the last run", hint, error) from error
    if not any(image.region == home for image in images):
        hint = "set AWS_REGION to the region in which Packer bakes"
        raise Failure(f"no image in {home} among {', '.join(map(str, images))}", hint)
    return sorted(images, key=lambda image: image.region != home)


def remove(ec2, image_id: str) -> None:
    """Deregisters an image, and deletes its snapshots, which would otherwise remain and cost money."""
    found = ec2.describe_images(ImageIds=[image_id], Owners=["self"])["Images"]
    mappings = found[0].get("BlockDeviceMappings", []) if found else []
    if found:
        ec2.deregister_image(ImageId=image_id)
    for mapping in mappings:
        snapshot = mapping.get("Ebs", {}).get("SnapshotId")
        if not snapshot:
            continue
        try:
            ec2.delete_snapshot(SnapshotId=snapshot)
        except ClientError as error:
            # Another image may have been registered from the same snapshot.
            if code_of(error) == "InvalidSnapshot.InUse":
                talk(f"keeping {snapshot}: another image uses it")
            elif code_of(error) != "InvalidSnapshot.NotFound":
                raise


def discard(client, images: list[Image]) -> None:
    """Removes images, and continues with the other regions if one fails."""
    for image in images:
        try:
            remove(client("ec2", region_name=image.region), image.id)
            talk(f"deregistered {image}")
        except ClientError as error:
            talk(f"cannot remove {image}; remove it by hand: {error}")
