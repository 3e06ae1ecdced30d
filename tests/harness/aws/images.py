"""An account with images, snapshots, launch templates and all that may refer to them, in memory, for `prune.py`.

moto knows neither references and usage reports of images, nor disabled ones, the Recycle Bin and the deletion of launch
template versions, and takes minutes for thousands of snapshots. The clients are boto3's own: requests and answers are
checked against the service models of botocore, so that no call and no field is made up. What it imitates, from the API
references of the services unless another source is named:

    DescribeImages             disabled images only if asked for; ExecutableUsers finds what is shared with an account
    DisableImage               removes the launch permissions; EnableImage does not bring them back
    DescribeImageReferences    10 images at most; instances by state, the newest versions of templates by depth,
                               parameters of the type aws:ec2:image at their newest version, recipes of Image Builder.
                               `resolve:ssm:` is not resolved: the documentation does not say that it is
    usage reports              pending for a while; other accounts only; of one image each
    DeregisterImage            with its snapshots, but those of other images ("skipped"); into the Recycle Bin by rules
    DeleteSnapshot             InvalidSnapshot.InUse for a snapshot of an image, disabled ones too
                               ("Disable an AMI", EC2 User Guide)
    DeleteLaunchTemplateVersions  never the default version
    GetParameters              10 names at most, at a version or label; what it does not find is listed apart
    pages                      of the documented sizes

`calls` counts; `kill_at` ends the process, so to say, at the call of that number, before or after it takes effect;
`refuse` names operations that are denied. `now` is the account's clock.
"""

import functools
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from . import images_calls

OWN = "123456789012"
READING = ("Describe", "List", "Get")


class Killed(BaseException):
    """No `except Exception` may hold it up, as none holds up SIGKILL."""


@dataclass
class ImageAccount:
    now: datetime = datetime(2026, 12, 1, 5, tzinfo=UTC)
    region: str = "eu-central-1"
    images: dict[str, dict] = field(default_factory=dict)
    snapshots: dict[str, dict] = field(default_factory=dict)
    databases: dict[str, dict] = field(default_factory=dict)
    clusters: dict[str, dict] = field(default_factory=dict)
    templates: dict[str, dict] = field(default_factory=dict)
    instances: list[dict] = field(default_factory=list)
    groups: list[dict] = field(default_factory=list)
    launch_configurations: list[dict] = field(default_factory=list)
    fleets: list[dict] = field(default_factory=list)
    stacks: list[dict] = field(default_factory=list)
    # Name to its values, the newest last, and label to the number of a version.
    parameters: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[tuple[str, str], int] = field(default_factory=dict)
    recipes: dict[str, str] = field(default_factory=dict)
    # Image to what other accounts have of it: account, resource type, count.
    usage: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)
    reports: list[dict] = field(default_factory=list)
    report_takes: timedelta = timedelta(hours=2)
    rules: list[dict] = field(default_factory=list)
    bin: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    objects: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    kill_at: tuple[int, str] | None = None
    refuse: set[str] = field(default_factory=set)
    # Answers by operation, as they were a moment ago.
    answers: dict[str, dict] = field(default_factory=dict)
    # The error code with which CreateTags refuses a whole call, because one of its resources is no more.
    gone: str | None = None
    numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    def client(self, service: str) -> Any:
        """A client of boto3 whose calls end here, until another account asks for one."""
        made = loaded(service, self.region)
        made._make_api_call = lambda operation, request: self.call(made.meta.service_model, operation, request)
        return made

    def call(self, model, operation: str, request: dict) -> dict:
        shapes = model.operation_model(operation)
        check(shapes.input_shape, request)
        self.calls.append(operation)
        at, when = self.kill_at or (0, "")
        # Only what changes something is counted here: a kill while reading leaves nothing behind.
        changes = sum(not name.startswith(READING) for name in self.calls)
        dies = not operation.startswith(READING) and changes == at
        if dies and when == "before":
            raise Killed
        if operation in self.refuse:
            raise refusal("UnauthorizedOperation", f"You are not authorized to perform {operation}", operation)
        if operation == "CreateTags" and self.gone:
            raise refusal(self.gone, "The ID does not exist", operation)
        answer = self.answers.get(operation) or getattr(images_calls, xform_name(operation))(self, request)
        if dies:
            raise Killed
        check(shapes.output_shape, answer)
        return answer

    def id(self, prefix: str) -> str:
        return f"{prefix}-{next(self.numbers):017x}"

    def image(self, tags: dict[str, str], age: timedelta = timedelta(days=90), **more: Any) -> str:
        """An image with a snapshot of its own, as Packer leaves it."""
        id = self.id("ami")
        snapshots = more.pop("snapshots", None) or [self.snapshot(tags, age)]
        permissions = more.pop("shared", [])
        known = {"Name": f"image {id[-4:]}", "State": "available", "created": self.now - age}
        self.images[id] = {**known, "snapshots": snapshots, "permissions": permissions, "tags": dict(tags), **more}
        return id

    def snapshot(self, tags: dict[str, str], age: timedelta = timedelta(days=90), gib: int = 8) -> str:
        id = self.id("snap")
        self.snapshots[id] = {"gib": gib, "created": self.now - age, "State": "completed", "tags": dict(tags)}
        return id

    def database(self, name: str, tags: dict[str, str], age: timedelta = timedelta(days=90), cluster=False) -> str:
        known = {"gib": 20, "created": self.now - age, "State": "available", "tags": dict(tags)}
        (self.clusters if cluster else self.databases)[name] = known
        return name

    def template(self, tags: dict[str, str], *data: dict, default: int = 1) -> str:
        """A launch template with a version of each `data`, all of them old."""
        id = self.id("lt")
        versions = dict(enumerate(data, 1))
        self.templates[id] = {
            "name": f"template-{id[-4:]}",
            "default": default,
            "versions": versions,
            "tags": dict(tags),
        }
        return id

    def parameter(self, name: str, *values: str, previous: int | None = None) -> None:
        self.parameters[name] = list(values)
        if previous:
            self.labels[name, "previous"] = previous

    def tagged(self, id: str) -> dict[str, str]:
        """The tags of an EC2 resource, to be changed."""
        for kind in (self.images, self.snapshots, self.templates):
            if id in kind:
                return kind[id]["tags"]
        raise refusal("InvalidID", f"The ID '{id}' is not valid", "CreateTags")


@functools.cache
def loaded(service: str, region: str) -> Any:
    """To read the model of EC2 takes most of a second."""
    return boto3.client(service, region_name=region, aws_access_key_id="testing", aws_secret_access_key="testing")


def check(shape, value: dict) -> None:
    """Against the service model: every field is one that AWS has, of its type."""
    if shape is not None:
        report = ParamValidator().validate(value, shape)
        assert not report.has_errors(), report.generate_report()


def refusal(code: str, message: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
