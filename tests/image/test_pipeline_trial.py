"""try_image.py on moto: one boot of an image, an instance that is ended in every case, and what does not serve.

moto's instances do not boot: an HTTP server here stands in for the service, and a fake with state for Run Command.
"""

import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from harness.aws.pipeline import ELSEWHERE, PARAMETER, PIPELINE, Clock, bake, exists, snapshots_of, with_venv
from harness.aws.proxy import REGION

import image  # isort: skip
import probe  # isort: skip
import try_image  # isort: skip
from failure import Failure  # isort: skip

pytestmark = pytest.mark.usefixtures("cloud")


class RunCommand:
    """Systems Manager's Run Command: the agent registers after `registered_after` tries, the command ends as told."""

    def __init__(self, status="Success", registered_after=0, said="", polls=0):
        self.status, self.registered_after, self.said, self.polls = status, registered_after, said, polls
        self.commands = []

    def send_command(self, **request):
        if self.registered_after > 0:
            self.registered_after -= 1
            raise ClientError(
                {"Error": {"Code": "InvalidInstanceId", "Message": "not in a valid state"}}, "SendCommand"
            )
        self.commands.append(request)
        return {"Command": {"CommandId": "c-1"}}

    def get_command_invocation(self, **_):
        if self.polls > 0:
            self.polls -= 1
            return {"Status": "InProgress"}
        return {
            "Status": self.status,
            "ResponseCode": 0 if self.status == "Success" else 1,
            "StandardOutputContent": self.said,
        }


@pytest.fixture
def ec2(cloud):
    return boto3.client("ec2", region_name=REGION)


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


def states(ec2) -> list[str]:
    found = ec2.describe_instances()["Reservations"]
    return [one["State"]["Name"] for reservation in found for one in reservation["Instances"]]


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
    with pytest.raises(Failure, match="does not serve after 60 s; waiting for: http://.*/health answers 503"):
        try_image.try_image(ec2, bake(), trial, [probe.Url(service.url)], clock)
    assert clock.time == 60
    assert states(ec2) == ["terminated"]
    assert "--- console of i-" in capsys.readouterr().err


def test_a_port_that_nobody_listens_on_is_waited_for(ec2, trial):
    with pytest.raises(Failure, match="http://127.0.0.1:9/ does not answer"):
        try_image.try_image(ec2, bake(), trial, [probe.Url("http://127.0.0.1:9/")], Clock())


def test_an_answer_that_is_not_http_is_waited_for(ec2, trial):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert probe.Url(url).ask({}, 60) == f"{url} does not answer (SSH-2.0-OpenSSH_9.2\r\n)"
        thread.join()


def test_an_instance_that_ec2_does_not_know_yet_is_waited_for(ec2, trial, service, monkeypatch):
    """DescribeInstances answers with nothing, or that there is no such instance, for seconds after RunInstances."""
    answers = [{"Reservations": []}]
    describe_instances = ec2.describe_instances

    def late(**request):
        return answers.pop() if answers and "InstanceIds" in request else describe_instances(**request)

    monkeypatch.setattr(ec2, "describe_instances", late)
    try_image.try_image(ec2, bake(), trial, [probe.Url(service.url)], Clock())
    assert answers == []


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
    ec2, trial, service, tmp_path, monkeypatch
):
    service.status = 500
    home, copy = bake(), bake(ELSEWHERE)
    snapshots = snapshots_of(ec2, home)
    with pytest.raises(Failure):
        try_by_command_line(monkeypatch, trial, manifest(tmp_path, copy, home), PIPELINE / "trial.yaml", service.url)
    assert not exists(home) and not exists(copy)
    with pytest.raises(ClientError, match="InvalidSnapshot.NotFound"):
        ec2.describe_snapshots(SnapshotIds=snapshots)
    assert boto3.client("ssm").describe_parameters()["Parameters"] == []


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
        (
            '{"builds": [{"packer_run_uuid": "new", "artifact_id": "VM"}], "last_run_uuid": "new"}',
            "no image of the last run",
        ),
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


# As programs.


@pytest.mark.parametrize("program", ["due.py", "collect.py", "try_image.py", "publish.py"])
def test_every_program_runs_alone(program, tmp_path):
    result = subprocess.run(
        [PIPELINE / program, "--help"], capture_output=True, text=True, cwd=tmp_path, env=with_venv()
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: ")


def test_a_build_that_is_stopped_unwinds():
    code = "import time, failure, sys\ndef main():\n"
    code += "  try: print('on', flush=True); time.sleep(60)\n  finally: print('off')\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code + "sys.exit(failure.end_with(main))"],
        cwd=PIPELINE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=100)[0] == "off\n"
    assert process.returncode == 128 + signal.SIGTERM
