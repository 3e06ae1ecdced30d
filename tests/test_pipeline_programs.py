"""The programs of the pipeline, on moto's EC2 and Systems Manager: what is due, one boot, publishing, what is removed.

moto's instances do not boot: an HTTP server here stands in for the service, and a fake with state for Run Command.
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from harness.proxy import REGION
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.ec2.models import ec2_backends

PIPELINE = Path(__file__).resolve().parent.parent / "packer" / "pipeline"
sys.path.insert(0, str(PIPELINE))

import due  # noqa: E402
import image  # noqa: E402
import probe  # noqa: E402
import publish  # noqa: E402
import try_image  # noqa: E402
from failure import Failure  # noqa: E402

ELSEWHERE = "us-east-1"
PARAMETER = "/golden/shop/x86_64"
ORIGIN = publish.Origin("ami-0base", "abc/123")


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


class RunCommand:
    """Systems Manager's Run Command: the agent registers after `registered_after` tries, the command ends as told."""

    def __init__(self, status="Success", registered_after=0, said="", polls=0):
        self.status, self.registered_after, self.said, self.polls = status, registered_after, said, polls
        self.commands = []

    def send_command(self, **request):
        if self.registered_after > 0:
            self.registered_after -= 1
            raise ClientError({"Error": {"Code": "InvalidInstanceId", "Message": "not in a valid state"}}, "SendCommand")
        self.commands.append(request)
        return {"Command": {"CommandId": "c-1"}}

    def get_command_invocation(self, **_):
        if self.polls > 0:
            self.polls -= 1
            return {"Status": "InProgress"}
        return {"Status": self.status, "ResponseCode": 0 if self.status == "Success" else 1, "StandardOutputContent": self.said}


@pytest.fixture(autouse=True)
def cloud(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


@pytest.fixture
def ec2():
    return boto3.client("ec2", region_name=REGION)


@pytest.fixture
def ssm():
    return boto3.client("ssm", region_name=REGION)


@pytest.fixture
def trial(ec2):
    subnet = ec2.describe_subnets()["Subnets"][0]
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [subnet["VpcId"]]}])
    iam = boto3.client("iam")
    iam.create_instance_profile(InstanceProfileName="golden-trial")
    return try_image.Trial(
        name=PARAMETER,
        instance_type="m5.large",
        subnet=subnet["SubnetId"],
        security_group=groups["SecurityGroups"][0]["GroupId"],
        instance_profile="golden-trial",
        user_data="#ingot\nversion: 1\n",
        timeout_s=60,
    )


@pytest.fixture
def service():
    """A service on loopback that answers with `status`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        status = 200

        def do_GET(self):
            self.send_response(Handler.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Handler.url = f"http://127.0.0.1:{server.server_port}/health"
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


def bake(region: str = REGION, name: str = "shop", month: int = 1) -> image.Image:
    """An image with a snapshot of its own, as Packer leaves it."""
    ec2 = boto3.client("ec2", region_name=region)
    volume = ec2.create_volume(AvailabilityZone=f"{region}a", Size=8)["VolumeId"]
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    mapping = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}
    made = ec2.register_image(Name=name, BlockDeviceMappings=[mapping], RootDeviceName="/dev/xvda")["ImageId"]
    ec2_backends[ACCOUNT_ID][region].amis[made].creation_date = datetime(2026, month, 1)
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


def states(ec2) -> list[str]:
    found = ec2.describe_instances()["Reservations"]
    return [one["State"]["Name"] for reservation in found for one in reservation["Instances"]]


def publish_images(*images: image.Image, keep: int = 5, origin: publish.Origin = ORIGIN) -> None:
    publish.publish(boto3.client, list(images), "shop", "x86_64", origin, keep, Clock())


def is_due(ssm, base_image: str, revision: str) -> list[str]:
    return due.reasons(due.last_baked(ssm, "shop", "x86_64"), base_image, revision)


# What is due.


def test_a_changed_base_image_is_due_once(ssm):
    assert is_due(ssm, "ami-0base", "abc/123") == ["never baked"]
    publish_images(bake())
    assert is_due(ssm, "ami-0base", "abc/123") == []
    assert is_due(ssm, "ami-1base", "abc/123") == ["base image is now ami-1base, was ami-0base"]
    publish_images(bake(name="shop-2"), origin=publish.Origin("ami-1base", "abc/123"))
    assert is_due(ssm, "ami-1base", "abc/123") == []


def test_a_changed_revision_is_due(ssm):
    publish_images(bake())
    assert is_due(ssm, "ami-0base", "def/123") == ["revision is now def/123, was abc/123"]


def test_a_record_that_nobody_can_read_is_due(ssm):
    ssm.put_parameter(Name=due.baked_from("shop", "x86_64"), Value="by hand", Type="String")
    assert is_due(ssm, "ami-0base", "abc/123") == ["never baked"]


@pytest.mark.parametrize("architecture", sorted(due.DEBIAN_NAMES))
def test_amazon_linux_is_found_by_its_public_parameter(ssm, architecture):
    # Of the three, moto has Amazon's public parameters only.
    assert due.newest_base_image(ssm, "amazon-linux-2023", architecture).startswith("ami-")


def test_a_missing_public_parameter_is_said_by_its_name(ssm):
    with pytest.raises(Failure, match="/aws/service/debian/release/12/latest/amd64"):
        due.newest_base_image(ssm, "debian-12", "x86_64")


# One boot.


def test_an_image_that_serves_is_tried_and_its_instance_ended(ec2, trial, service):
    run_command = RunCommand(registered_after=2, polls=1)
    probes = [probe.Status(run_command), probe.Url(service.url)]
    try_image.try_image(ec2, bake(), trial, probes, Clock())
    assert states(ec2) == ["terminated"]
    (command,) = run_command.commands
    assert command["Parameters"]["commands"][0].startswith("ingot status --wait --timeout ")
    # 60 s, less the two tries of 5 s in which the agent had not registered.
    assert " 50s " in command["Parameters"]["commands"][0]


def test_the_trial_speaks_imdsv2_and_is_tagged(ec2, trial, service):
    seen = {}

    class Spy(probe.Url):
        def ask(self, instance, within_s):
            seen.update(instance)
            return super().ask(instance, within_s)

    made = bake()
    try_image.try_image(ec2, made, trial, [Spy(service.url)], Clock())
    assert seen["MetadataOptions"]["HttpTokens"] == "required"
    assert seen["ImageId"] == made.id
    assert {"Key": "ingot:trial", "Value": PARAMETER} in seen["Tags"]


def test_a_service_that_never_comes_is_named_with_its_answer(ec2, trial, service, capsys):
    service.status = 503
    clock = Clock()
    with pytest.raises(Failure, match="does not serve after 60 s, waiting for: http://.*/health answers 503"):
        try_image.try_image(ec2, bake(), trial, [probe.Url(service.url)], clock)
    assert clock.time == 60
    assert states(ec2) == ["terminated"]
    assert "--- console of i-" in capsys.readouterr().err


def test_a_port_that_nobody_listens_on_is_waited_for(ec2, trial):
    with pytest.raises(Failure, match="http://127.0.0.1:9/ does not answer"):
        try_image.try_image(ec2, bake(), trial, [probe.Url("http://127.0.0.1:9/")], Clock())


def test_a_failed_boot_ends_the_trial_at_once(ec2, trial):
    clock = Clock()
    status = probe.Status(RunCommand(status="Failed", said='{"outcome": "failed"}'))
    with pytest.raises(Failure, match=r'did not boot as its document says \(Failed, exit 1\):\n{"outcome": "failed"}'):
        try_image.try_image(ec2, bake(), trial, [status], clock)
    assert clock.time < trial.timeout_s
    assert states(ec2) == ["terminated"]


def test_an_agent_that_never_registers_is_said(ec2, trial):
    with pytest.raises(Failure, match="waiting for: its Systems Manager agent to register"):
        try_image.try_image(ec2, bake(), trial, [probe.Status(RunCommand(registered_after=99))], Clock())


def test_an_instance_that_shuts_itself_down_is_not_waited_for(ec2, trial, service):
    service.status = 503
    clock = Clock()

    def shut_down():
        for reservation in ec2.describe_instances()["Reservations"]:
            ec2.stop_instances(InstanceIds=[reservation["Instances"][0]["InstanceId"]])

    clock.later = shut_down
    with pytest.raises(Failure, match="is stopped .* instead of serving"):
        try_image.try_image(ec2, bake(), trial, [probe.Url(service.url)], clock)
    assert clock.time < trial.timeout_s
    assert states(ec2) == ["terminated"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_whatever_interrupts_a_trial_ends_its_instance(ec2, trial, interruption):
    class Interrupted:
        def ask(self, *_):
            raise interruption

    with pytest.raises(interruption):
        try_image.try_image(ec2, bake(), trial, [Interrupted()], Clock())
    assert states(ec2) == ["terminated"]


def test_what_a_killed_trial_left_is_ended_by_the_next(ec2, trial, service):
    made = bake()
    left = try_image.launch(ec2, made, trial)
    other = ec2.run_instances(ImageId=made.id, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    try_image.try_image(ec2, made, trial, [probe.Url(service.url)], Clock())
    assert try_image.describe(ec2, left)["State"]["Name"] == "terminated"
    assert try_image.describe(ec2, other)["State"]["Name"] == "running"


def manifest(directory: Path, *images: image.Image) -> Path:
    path = directory / "packer-manifest.json"
    artifact = ",".join(f"{made.region}:{made.id}" for made in images)
    builds = [
        {"packer_run_uuid": "old", "artifact_id": f"{REGION}:ami-0old"},
        {"packer_run_uuid": "new", "artifact_id": artifact},
    ]
    path.write_text(json.dumps({"builds": builds, "last_run_uuid": "new"}))
    return path


def try_by_command_line(monkeypatch, trial, path: Path, user_data: Path, url: str) -> None:
    words = f"try_image.py --manifest {path} --image-name shop --architecture x86_64 --instance-type m5.large"
    words += f" --subnet {trial.subnet} --security-group {trial.security_group} --instance-profile golden-trial"
    words += f" --user-data {user_data} --timeout-s 10 --url {url}"
    monkeypatch.setattr(sys, "argv", words.split())
    monkeypatch.setattr(try_image, "Clock", Clock)
    try_image.main()


def test_an_image_that_does_not_serve_goes_in_every_region_and_nothing_is_published(
    ec2, ssm, trial, service, tmp_path, monkeypatch
):
    service.status = 500
    home, copy = bake(), bake(ELSEWHERE)
    snapshots = snapshots_of(ec2, home)
    with pytest.raises(Failure):
        try_by_command_line(monkeypatch, trial, manifest(tmp_path, copy, home), PIPELINE / "trial.yaml", service.url)
    assert not exists(home) and not exists(copy)
    with pytest.raises(ClientError, match="InvalidSnapshot.NotFound"):
        ec2.describe_snapshots(SnapshotIds=snapshots)
    assert publish.value(ssm, PARAMETER) is None


def test_an_image_that_serves_stays(trial, service, tmp_path, monkeypatch):
    made = bake()
    try_by_command_line(monkeypatch, trial, manifest(tmp_path, made), PIPELINE / "trial.yaml", service.url)
    assert exists(made)


def test_an_image_whose_trial_cannot_begin_goes_too(trial, service, tmp_path, monkeypatch):
    made = bake()
    with pytest.raises(OSError):
        try_by_command_line(monkeypatch, trial, manifest(tmp_path, made), tmp_path / "missing.yaml", service.url)
    assert not exists(made)


# The manifest.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the manifest"),
        ("{", "no image of the last run"),
        ('{"builds": [], "last_run_uuid": "new"}', "no image of the last run"),
        ('{"builds": [{"packer_run_uuid": "new", "artifact_id": "VM"}], "last_run_uuid": "new"}', "no image of the last run"),
        (
            '{"builds": [{"packer_run_uuid": "new", "artifact_id": "us-east-1:ami-1"}], "last_run_uuid": "new"}',
            "no image in eu-central-1 among ami-1 in us-east-1",
        ),
    ],
)
def test_a_manifest_without_the_image_is_refused(tmp_path, content, message):
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Failure, match=message) as refusal:
        image.read_manifest(path, "eu-central-1")
    assert refusal.value.hint


# Publishing.


def test_the_parameter_is_one_that_launch_templates_resolve(ec2, ssm):
    made = bake()
    publish_images(made)
    parameter = ssm.get_parameter(Name=PARAMETER)["Parameter"]
    assert (parameter["Value"], parameter["DataType"]) == (made.id, "aws:ec2:image")
    (described,) = ec2.describe_images(ImageIds=[made.id])["Images"]
    assert {"Key": "ingot:published", "Value": PARAMETER} in described["Tags"]


def test_the_history_stays_and_the_version_before_is_marked(ssm):
    made = [bake(name=f"shop-{number}") for number in range(3)]
    for one in made:
        publish_images(one)
    history = ssm.get_parameter_history(Name=PARAMETER)["Parameters"]
    assert [version["Value"] for version in history] == [one.id for one in made]
    assert [version["Labels"] for version in history] == [[], ["previous"], []]
    assert history[-1]["Description"] == "golden image of revision abc/123 on ami-0base"
    assert publish.value(ssm, f"{PARAMETER}:previous")["Value"] == made[1].id


def test_the_same_image_twice_is_one_version(ssm):
    made = bake()
    publish_images(made)
    publish_images(made)
    assert len(ssm.get_parameter_history(Name=PARAMETER)["Parameters"]) == 1


def test_every_region_gets_its_own_image():
    home, copy = bake(), bake(ELSEWHERE)
    publish_images(home, copy)
    for made in (home, copy):
        ssm = boto3.client("ssm", region_name=made.region)
        assert publish.value(ssm, PARAMETER)["Value"] == made.id


def test_the_oldest_images_go_with_their_snapshots(ec2):
    made = [bake(name=f"shop-{number}", month=number + 2) for number in range(4)]
    stranger = bake(name="stranger", month=1)
    snapshots = [snapshots_of(ec2, one) for one in made]
    for one in made:
        publish_images(one, keep=2)
    assert [exists(one) for one in made] == [False, False, True, True]
    for old in snapshots[:2]:
        with pytest.raises(ClientError, match="InvalidSnapshot.NotFound"):
            ec2.describe_snapshots(SnapshotIds=old)
    assert len(ec2.describe_snapshots(SnapshotIds=snapshots[2])["Snapshots"]) == 1
    assert exists(stranger)


def test_what_was_gone_back_to_is_kept_however_old(ssm):
    made = [bake(name=f"shop-{number}", month=number + 2) for number in range(4)]
    for one in made:
        publish_images(one)
    ssm.put_parameter(Name=PARAMETER, Value=made[0].id, Type="String", DataType="aws:ec2:image", Overwrite=True)
    publish_images(bake(name="shop-5", month=9), keep=2)
    # The first is what `previous` names now.
    assert [exists(one) for one in made] == [True, False, False, True]


def test_an_old_image_that_refuses_to_go_does_not_undo_the_new(ssm, monkeypatch, capsys):
    def refuse(*_):
        raise ClientError({"Error": {"Code": "OperationNotPermitted", "Message": "is protected"}}, "DeregisterImage")

    made = [bake(name=f"shop-{number}", month=number + 1) for number in range(3)]
    monkeypatch.setattr(publish, "remove", refuse)
    for one in made:
        publish_images(one, keep=1)
    assert publish.value(ssm, PARAMETER)["Value"] == made[2].id
    assert "is protected" in capsys.readouterr().err


def test_an_image_that_is_not_there_is_not_published(ssm):
    with pytest.raises((Failure, ClientError)):
        publish_images(image.Image(REGION, "ami-00000000000000000"))
    assert publish.value(ssm, PARAMETER) is None


def test_a_value_that_ssm_does_not_take_is_a_failure(ssm, monkeypatch):
    """A 200 says nothing: the id is looked at afterwards, and a value that is refused just does not appear."""
    client = boto3.client("ssm", region_name=REGION)
    monkeypatch.setattr(client, "put_parameter", lambda **_: {})
    with pytest.raises(Failure, match="does not take ami-"):
        publish.put(client, PARAMETER, bake(), ORIGIN, Clock())


# As programs.


@pytest.mark.parametrize("program", ["due.py", "try_image.py", "publish.py"])
def test_every_program_runs_alone(program, tmp_path):
    result = subprocess.run([PIPELINE / program, "--help"], capture_output=True, text=True, cwd=tmp_path, env=with_venv())
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: ")


def test_a_failure_is_told_in_three_parts(tmp_path):
    words = ["--image-name", "shop", "--architecture", "x86_64", "--base-image", "ami-1", "--revision", "abc"]
    result = subprocess.run(
        [PIPELINE / "publish.py", "--manifest", tmp_path / "missing.json", *words],
        capture_output=True,
        text=True,
        env=with_venv() | {"AWS_DEFAULT_REGION": REGION},
    )
    assert result.returncode == 1
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["error", "cause", "hint"]


def test_a_build_that_is_stopped_unwinds():
    code = "import time, failure, sys\ndef main():\n  try: print('on', flush=True); time.sleep(60)\n  finally: print('off')\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code + "sys.exit(failure.end_with(main))"], cwd=PIPELINE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "off\n"
    assert process.returncode == 128 + signal.SIGTERM


def with_venv() -> dict[str, str]:
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
