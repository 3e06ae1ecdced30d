#!/usr/bin/env python3
"""Boots an image once and checks that it serves, before it is published.

    try_image.py --manifest golden-manifest.json --image-name shop --architecture x86_64 \\
        --instance-type m7i.large --subnet subnet-… --security-group sg-… --instance-profile golden-trial \\
        --user-data packer/pipeline/trial.yaml --status --url 'http://{address}:8080/health'

`--status` runs `ingot status` on the instance through Systems Manager, and `--url` sends requests from this machine; if
both are given, both must succeed. The instance is always terminated. If it does not serve in time, the end of its
console is printed, the image and its snapshots are removed in every region, and the exit code is 1. Run `publish.py`
next.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

import probe
from due import parameter_of
from failure import Failure, code_of, end_with, talk
from image import Image, discard, read_manifest

# Tag of the instance of a trial. Its value is the parameter under which the image would be published.
TAG = "ingot:trial"
LOOK_EVERY_S = 5
CONSOLE_LINES = 200


@dataclass(frozen=True)
class Trial:
    """Settings for the launch of the instance."""

    name: str
    instance_type: str
    subnet: str
    security_group: str
    instance_profile: str
    user_data: str
    timeout_s: int


class Clock:
    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def launch(ec2, image: Image, trial: Trial) -> str:
    tags = [{"Key": TAG, "Value": trial.name}, {"Key": "Name", "Value": f"trial of {trial.name}"}]
    try:
        reservation = ec2.run_instances(
            ImageId=image.id,
            InstanceType=trial.instance_type,
            MinCount=1,
            MaxCount=1,
            SubnetId=trial.subnet,
            SecurityGroupIds=[trial.security_group],
            IamInstanceProfile={"Name": trial.instance_profile},
            UserData=trial.user_data,
            InstanceInitiatedShutdownBehavior="terminate",
            MetadataOptions={
                "HttpEndpoint": "enabled",
                "HttpTokens": "required",
                "HttpPutResponseHopLimit": 1,
                "InstanceMetadataTags": "enabled",
            },
            TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
        )
    except ClientError as error:
        hint = "check the subnet, security group, instance profile and instance type of the trial"
        raise Failure(f"cannot launch an instance from {image}", hint, error) from error
    return reservation["Instances"][0]["InstanceId"]


def describe(ec2, instance: str) -> dict:
    """The instance, or an empty dictionary while EC2 does not show it yet, which takes some seconds."""
    try:
        found = ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    except ClientError as error:
        if code_of(error) == "InvalidInstanceID.NotFound":
            return {}
        raise
    return found[0]["Instances"][0] if found else {}


def wait_until_it_serves(ec2, instance: str, probes: list, timeout_s: int, clock: Clock) -> None:
    """Returns once every probe has passed."""
    begun = clock.now()
    left = list(probes)
    waiting_for = "the instance to run"
    while True:
        found = describe(ec2, instance)
        state = found.get("State", {}).get("Name", "pending")
        if state not in ("pending", "running"):
            reason = found.get("StateReason", {}).get("Message", "no reason given")
            hint = "read the console output above: the instance did not keep running"
            raise Failure(f"{instance} is {state} ({reason}) instead of serving", hint)
        if state == "running":
            deadline_s = timeout_s - (clock.now() - begun)
            unsatisfied = [(one, answer) for one in left if (answer := one.ask(found, deadline_s)) is not None]
            left = [one for one, _ in unsatisfied]
            if not left:
                return
            waiting_for = "; ".join(answer for _, answer in unsatisfied)
        if clock.now() - begun >= timeout_s:
            hint = "read the console output above; if the boot only needs more time, raise --timeout-s"
            raise Failure(f"{instance} does not serve after {timeout_s} s; waiting for: {waiting_for}", hint)
        clock.sleep(LOOK_EVERY_S)


def show_console(ec2, instance: str) -> None:
    """Prints the end of the serial console. If it cannot be read, the original failure still counts."""
    try:
        text = ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", "")
    except ClientError as error:
        talk(f"cannot read the console of {instance}: {error}")
        return
    lines = text.splitlines()
    talk(f"--- console of {instance}, last {min(len(lines), CONSOLE_LINES)} of {len(lines)} lines")
    for line in lines[-CONSOLE_LINES:]:
        talk(line)
    talk("---")


def terminate_leftovers(ec2, name: str) -> None:
    """Terminates the instances of trials that were killed. Only one bake runs at a time, so none of them is in use."""
    filters = [
        {"Name": f"tag:{TAG}", "Values": [name]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    found = ec2.describe_instances(Filters=filters)["Reservations"]
    for instance in [one["InstanceId"] for reservation in found for one in reservation["Instances"]]:
        talk(f"terminating {instance}, left by an earlier trial")
        ec2.terminate_instances(InstanceIds=[instance])


def try_image(ec2, image: Image, trial: Trial, probes: list, clock: Clock) -> None:
    """Returns once the instance has served. Always terminates the instance, also on a signal."""
    terminate_leftovers(ec2, trial.name)
    instance = launch(ec2, image, trial)
    talk(f"booting {image} as {instance}")
    begun = clock.now()
    try:
        wait_until_it_serves(ec2, instance, probes, trial.timeout_s, clock)
        talk(f"{image} serves after {clock.now() - begun:.0f} s")
    except BaseException:
        show_console(ec2, instance)
        raise
    finally:
        ec2.terminate_instances(InstanceIds=[instance])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Boot an image once and check that it serves.")
    parser.add_argument("--manifest", required=True, type=Path)
    parser.add_argument("--image-name", required=True)
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--instance-type", required=True)
    parser.add_argument("--subnet", required=True)
    parser.add_argument("--security-group", required=True)
    parser.add_argument("--instance-profile", required=True)
    parser.add_argument("--user-data", required=True, type=Path)
    parser.add_argument("--timeout-s", type=int, default=900)
    parser.add_argument("--status", action="store_true", help="run `ingot status` through Systems Manager")
    parser.add_argument("--url", help="request this URL; {address} is the private address of the instance")
    args = parser.parse_args()
    if not args.status and not args.url:
        parser.error("give --status, --url or both: they check that the image serves")
    return args


def main() -> None:
    args = arguments()
    session = boto3.session.Session()
    images = read_manifest(args.manifest, session.region_name)
    probes = [probe.Status(session.client("ssm"))] if args.status else []
    probes += [probe.Url(args.url)] if args.url else []
    try:
        trial = Trial(
            name=parameter_of(args.image_name, args.architecture),
            instance_type=args.instance_type,
            subnet=args.subnet,
            security_group=args.security_group,
            instance_profile=args.instance_profile,
            user_data=args.user_data.read_text(),
            timeout_s=args.timeout_s,
        )
        try_image(session.client("ec2"), images[0], trial, probes, Clock())
    except BaseException:
        discard(session.client, images)
        raise


if __name__ == "__main__":
    sys.exit(end_with(main))
