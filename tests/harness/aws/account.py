"""AWS on loopback: `proxy.py` in a process of its own, and words for what tests ask of it.

with Aws() as aws:
    aws.secret("prod/shop/db", {"user": "shop", "password": "hunter2"})
    aws.parameter("/prod/shop/token", "s3cr3t", type="SecureString")
    aws.fault("throttled", operation="GetParameters", times=2)
    run(env=aws.env)
    assert aws.count("BatchGetSecretValue") == 1

EC2 holds what it is told to, under ids of the test's own choice if that matters:

    aws.instance()                                   # the one of `Imds`
    old = aws.snapshot({"app": "shop"}, size_gib=2, started="2026-11-20T03:00:00Z")
    aws.ec2(creating=1, attaching=2, stuck=["/dev/sdf"])
    run(env=aws.env)
    assert aws.volumes(app="shop")[0]["SnapshotId"] == old
    assert aws.calls("CreateVolume")[0]["form"]["ClientToken"]
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from harness import wire

from .proxy import REGION

ZONE = "eu-central-1a"
INSTANCE = "i-0abc123def4567890"

# AWS's own wordings, by what went wrong.
ERRORS = {
    "denied": {
        "type": "AccessDeniedException",
        "message": "User: arn:aws:sts::123456789012:assumed-role/shop/i-0abc123def4567890 is not authorized to perform: "
        "{operation} because no identity-based policy allows the {operation} action",
    },
    "kms-denied": {"type": "AccessDeniedException", "message": "Access to KMS is not allowed"},
    "throttled": {"type": "ThrottlingException", "message": "Rate exceeded"},
    "expired": {
        "type": "ExpiredTokenException",
        "message": "The security token included in the request is expired",
    },
    "missing": {
        "type": "ResourceNotFoundException",
        "message": "Secrets Manager can't find the specified secret.",
    },
    "internal": {"type": "InternalServiceError", "message": "An error occurred on the server side.", "status": 500},
    "unavailable": {
        "type": "ServiceUnavailableException",
        "message": "Service Unavailable",
        "status": 503,
        "headers": {"Retry-After": "1"},
    },
}

# And those of EC2, which has names of its own for the same, and no exceptions.
EC2_ERRORS = {
    "denied": {
        "type": "UnauthorizedOperation",
        "message": "You are not authorized to perform this operation. " + ERRORS["denied"]["message"],
        "status": 403,
    },
    "throttled": {"type": "RequestLimitExceeded", "message": "Request limit exceeded.", "status": 503},
    "expired": {"type": "RequestExpired", "message": "Request has expired."},
    "internal": {"type": "InternalError", "message": "An internal error has occurred", "status": 500},
    "unavailable": {
        "type": "Unavailable",
        "message": "The server is overloaded and can't handle the request.",
        "status": 503,
    },
    "attachment-limit": {
        "type": "AttachmentLimitExceeded",
        "message": f"The instance {INSTANCE} has reached its limit of 27 volume attachments.",
    },
    "volume-limit": {
        "type": "VolumeLimitExceeded",
        "message": "You have exceeded your maximum gp3 storage limit of 50 TiB in this region. Please contact AWS "
        "Support to request an Elastic Block Store service limit increase.",
    },
    "no-capacity": {
        "type": "InsufficientVolumeCapacity",
        "message": "There is not enough capacity to fulfill your EBS volume provision request.",
    },
}

# And those of the services that speak the Query protocol.
QUERY_ERRORS = {
    "denied": {"type": "AccessDenied", "message": ERRORS["denied"]["message"], "status": 403},
    "throttled": {"type": "Throttling", "message": "Rate exceeded"},
    "expired": {"type": "ExpiredToken", "message": ERRORS["expired"]["message"], "status": 403},
    "internal": {"type": "InternalFailure", "message": "An internal error has occurred", "status": 500},
    "unavailable": {"type": "ServiceUnavailable", "message": "Service Unavailable", "status": 503},
}

# And those of S3.
S3_ERRORS = {
    "denied": {"type": "AccessDenied", "message": "Access Denied", "status": 403},
    "throttled": {"type": "SlowDown", "message": "Please reduce your request rate.", "status": 503},
    "expired": {"type": "ExpiredToken", "message": "The provided token has expired."},
    "internal": {"type": "InternalError", "message": "We encountered an internal error. Please try again.", "status": 500},
    "unavailable": {**ERRORS["unavailable"], "type": "ServiceUnavailable"},
    "conflict": {
        "type": "ConditionalRequestConflict",
        "message": "The conditional request cannot succeed due to a conflicting operation against this resource.",
        "status": 409,
    },
    "elsewhere": {
        "type": "PermanentRedirect",
        "message": "The bucket you are attempting to access must be addressed using the specified endpoint.",
        "status": 301,
    },
}

SERVICE_OF = {
    "GetObject": "s3",
    "HeadObject": "s3",
    "PutObject": "s3",
    "BatchGetSecretValue": "secretsmanager",
    "GetSecretValue": "secretsmanager",
    "GetParameter": "ssm",
    "GetParameters": "ssm",
    "GetParametersByPath": "ssm",
    "DescribeSnapshots": "ec2",
    "DescribeVolumes": "ec2",
    "CreateVolume": "ec2",
    "AttachVolume": "ec2",
    "DetachVolume": "ec2",
    "ModifyInstanceAttribute": "ec2",
    "CreateTags": "ec2",
    "DescribeTags": "ec2",
    "DescribeAddresses": "ec2",
    "AssociateAddress": "ec2",
    "DescribeTargetHealth": "elasticloadbalancing",
    "SignalResource": "cloudformation",
    "CompleteLifecycleAction": "autoscaling",
    "RecordLifecycleActionHeartbeat": "autoscaling",
    "SetInstanceHealth": "autoscaling",
    "DescribeLifecycleHooks": "autoscaling",
    "DescribeAutoScalingInstances": "autoscaling",
    "DescribeDBInstances": "rds",
    "DescribeDBClusters": "rds",
    "DescribeDBSnapshots": "rds",
    "RestoreDBInstanceFromDBSnapshot": "rds",
    "RestoreDBClusterFromSnapshot": "rds",
    "ModifyDBInstance": "rds",
    "RemoveTagsFromResource": "rds",
}


def fault_of(kind: str, service: str, rule: dict) -> dict:
    """A rule of `proxy.py`: a kind of its own, or one of `ERRORS` as the service words it."""
    query = dict.fromkeys(("rds", "cloudformation", "autoscaling", "elasticloadbalancing", "monitoring", "iam", "sts"), QUERY_ERRORS)
    errors = {"ec2": EC2_ERRORS, "s3": S3_ERRORS, **query}.get(service, ERRORS)
    if kind not in errors:
        # A rule of a kind that nobody knows would let every call pass.
        assert kind not in ERRORS, f"{service} has no words for {kind}"
        return {"kind": kind, **rule}
    action = f"{service}:{rule.get('operation', '')}"
    return {"kind": "error", **errors[kind], "message": errors[kind]["message"].format(operation=action), **rule}


class Aws:
    """One AWS. `listeners` are bound sockets (of other network namespaces, say) on which it answers too."""

    def __init__(self, listeners: list = ()):
        self.listeners = list(listeners)

    def __enter__(self) -> "Aws":
        listeners = [wire.bound(), *self.listeners]
        self.port = listeners[0].getsockname()[1]
        fds = [listener.fileno() for listener in listeners]
        command = [sys.executable, str(Path(__file__).with_name("proxy.py"))]
        for fd in fds:
            command += ["--fd", str(fd)]
        self.process = subprocess.Popen(
            command, pass_fds=fds, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for listener in listeners:
            listener.close()
        ports = self.process.stdout.readline().split()
        assert ports, "the AWS stand-in did not start"
        self.direct = f"http://127.0.0.1:{ports[0]}"
        self.rules: dict = {"latency": 0, "faults": [], "ec2": {}, "rds": {}, "ahead": 0}
        self.clients: dict = {}
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL": self.url}

    def client(self, service: str):
        """A boto3 client past the front: not logged, not disturbed."""
        if service not in self.clients:
            self.clients[service] = self.new_client(service)
        return self.clients[service]

    def new_client(self, service: str, region: str = REGION):
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.direct,
            aws_access_key_id="harness",
            aws_secret_access_key="harness",
            config=Config(retries={"max_attempts": 0}),
        )

    def secret(self, name: str, value: str | bytes | dict) -> str:
        """Makes a secret, or gives it a new version (the old one becomes AWSPREVIOUS). Its version id."""
        if isinstance(value, dict):
            value = json.dumps(value)
        content = {"SecretBinary": value} if isinstance(value, bytes) else {"SecretString": value}
        client = self.client("secretsmanager")
        try:
            return client.create_secret(Name=name, **content)["VersionId"]
        except client.exceptions.ResourceExistsException:
            return client.put_secret_value(SecretId=name, **content)["VersionId"]

    def parameter(self, name: str, value: str, type: str = "String") -> None:
        """Makes or replaces a parameter. `type`: String, StringList or SecureString."""
        self.client("ssm").put_parameter(Name=name, Value=value, Type=type, Overwrite=True)

    def tree(self, path: str, values: dict[str, str], type: str = "String") -> None:
        """Makes a parameter below `path` for each of `values`."""
        client = self.client("ssm")
        for name, value in values.items():
            client.put_parameter(Name=f"{path.rstrip('/')}/{name}", Value=value, Type=type, Overwrite=True)

    def fault(self, kind: str, **rule) -> None:
        """Adds a rule: a kind of `proxy.py`, or one of `ERRORS`, as its service words it."""
        self.rules["faults"].append(fault_of(kind, SERVICE_OF.get(rule.get("operation", ""), "secretsmanager"), rule))
        self.put("/harness/rules", self.rules)

    def recover(self) -> None:
        """Takes all faults back."""
        self.rules["faults"] = []
        self.put("/harness/rules", self.rules)

    def latency(self, seconds: float) -> None:
        """Makes each call take longer by this."""
        self.rules["latency"] = seconds
        self.put("/harness/rules", self.rules)

    def ahead(self, seconds: float) -> None:
        """Sets AWS's clock so far ahead of this machine's."""
        self.rules["ahead"] = seconds
        self.put("/harness/rules", self.rules)

    def calls(self, operation: str | None = None) -> list[dict]:
        with urllib.request.urlopen(f"{self.direct}/harness/calls") as reply:
            return [call for call in json.load(reply) if operation in (None, call["operation"])]

    def count(self, operation: str | None = None) -> int:
        return len(self.calls(operation))

    def forget(self) -> None:
        """Empties the log and takes all rules back; what was made stays."""
        self.rules = {"latency": 0, "faults": [], "ec2": {}, "rds": {}, "ahead": 0}
        self.put("/harness/forget", {})

    def reset(self) -> None:
        """Empties everything."""
        self.forget()
        request = urllib.request.Request(f"{self.direct}/moto-api/reset", method="POST")
        urllib.request.urlopen(request).close()

    def put(self, path: str, content: dict) -> bytes:
        request = urllib.request.Request(self.direct + path, json.dumps(content).encode(), method="PUT")
        with urllib.request.urlopen(request) as reply:
            return reply.read()

    # What waits for an instance.

    def stack(self, name: str, *resources: str) -> None:
        """A stack that waits for signals of its resources (queues: nothing is made of them)."""
        template = {"Resources": {resource: {"Type": "AWS::SQS::Queue"} for resource in resources}}
        self.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))

    def complete_stack(self, name: str) -> None:
        """From here on it waits for nothing."""
        self.make("complete-stack", stack=name)

    def group(self, name: str, hooks: dict[str, int], instance: str = INSTANCE) -> None:
        """A group with these launch hooks, by their heartbeat timeouts; each waits for the instance."""
        client = self.client("autoscaling")
        client.create_launch_configuration(LaunchConfigurationName=name, ImageId="ami-0123456789abcdef0", InstanceType="t3.nano")
        client.create_auto_scaling_group(
            AutoScalingGroupName=name, LaunchConfigurationName=name, MinSize=0, MaxSize=0, AvailabilityZones=[ZONE]
        )
        for hook, timeout in hooks.items():
            transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
            client.put_lifecycle_hook(
                LifecycleHookName=hook, AutoScalingGroupName=name, LifecycleTransition=transition, HeartbeatTimeout=timeout
            )
            self.lifecycle_action(name, hook, instance)

    def leaving(self, name: str, hook: str, timeout: int = 300) -> None:
        """A group with a termination hook, which does not wait for anybody yet."""
        self.group(name, {})
        self.client("autoscaling").put_lifecycle_hook(
            LifecycleHookName=hook,
            AutoScalingGroupName=name,
            LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
            HeartbeatTimeout=timeout,
        )

    def lifecycle_action(self, group: str, hook: str, instance: str = INSTANCE) -> None:
        """Has a hook wait, again if it did already."""
        self.make("lifecycle-action", group=group, hook=hook, instance=instance)

    def target_group(self, arn: str) -> str:
        """A target group without targets. Its ARN."""
        return self.make("target", group=arn)

    def target(self, arn: str, state: str, reason: str = "", description: str = "", *, instance: str = INSTANCE) -> None:
        """How a target group sees the instance from here on."""
        self.make("target", group=arn, instance=instance, state=state, reason=reason, description=description)

    def told(self) -> dict:
        """The "signals" that were taken, and those that were "waited" for, in order; the "actions" with their result and their beats."""
        with urllib.request.urlopen(f"{self.direct}/harness/signals") as reply:
            return json.load(reply)

    def statuses(self) -> list[str]:
        return [signal["Status"] for signal in self.told()["signals"]]

    def results(self) -> list[str | None]:
        return [action["result"] for action in self.told()["actions"]]

    # EC2.

    def ec2(self, **settings) -> None:
        """Changes how EC2 behaves: `DEFAULTS` of `ec2.py`."""
        self.rules["ec2"].update(settings)
        self.put("/harness/rules", self.rules)

    def make(self, kind: str, **wanted) -> str:
        return json.loads(self.put("/harness/make", {kind: wanted}))

    def instance(self, id: str = INSTANCE, zone: str = ZONE, type: str = "m7i.large") -> str:
        """A running instance, with a root volume at /dev/xvda."""
        return self.make("instance", id=id, zone=zone, type=type)

    def snapshot(
        self,
        tags: dict[str, str] | None = None,
        *,
        size_gib: int = 1,
        state: str = "completed",
        started: str | None = None,
        encrypted: bool = False,
        owner: str = "self",
        id: str | None = None,
    ) -> str:
        """A snapshot. `started` is such as "2026-11-20T03:00:00Z", or now; `owner`: self, amazon, or an account's id."""
        about = {"state": state, "started": started, "encrypted": encrypted, "owner": owner, "id": id}
        return self.make("snapshot", tags=tags or {}, size_gib=size_gib, **about)

    def volume(
        self,
        tags: dict[str, str] | None = None,
        *,
        size_gib: int = 1,
        zone: str = ZONE,
        state: str = "available",
        snapshot: str | None = None,
        attached_as: str | None = None,
        instance: str = INSTANCE,
        multi_attach: bool = False,
        id: str | None = None,
    ) -> str:
        """A volume; with `attached_as`, attached to `instance` under that device name (by the rules of `ec2`)."""
        about = {"zone": zone, "state": state, "snapshot": snapshot, "id": id, "multi_attach": multi_attach}
        about["type"] = "gp3"
        id = self.make("volume", tags=tags or {}, size_gib=size_gib, **about)
        if attached_as:
            self.client("ec2").attach_volume(VolumeId=id, InstanceId=instance, Device=attached_as)
        return id

    def elastic_ip(self, instance: str | None = None) -> str:
        """An elastic IP address, which an instance may have. Its allocation ID."""
        ec2 = self.client("ec2")
        allocation = ec2.allocate_address(Domain="vpc")["AllocationId"]
        if instance:
            ec2.associate_address(AllocationId=allocation, InstanceId=instance)
        return allocation

    def holder(self, allocation: str) -> str | None:
        """The instance that has an elastic IP address."""
        [address] = self.client("ec2").describe_addresses(AllocationIds=[allocation])["Addresses"]
        return address.get("InstanceId")

    def volumes(self, *ids: str, **tags: str) -> list[dict]:
        """The volumes with these ids and tags as DescribeVolumes shows them, their tags as a dict."""
        filters = [{"Name": f"tag:{name}", "Values": [value]} for name, value in tags.items()]
        pages = self.client("ec2").get_paginator("describe_volumes").paginate(VolumeIds=ids, Filters=filters)
        found = [volume for page in pages for volume in page["Volumes"]]
        return [{**volume, "Tags": {tag["Key"]: tag["Value"] for tag in volume.get("Tags", [])}} for volume in found]

    def attached(self, instance: str = INSTANCE) -> dict[str, str]:
        """The volumes that are an instance's, by device name."""
        attachments = [attachment for volume in self.volumes() for attachment in volume["Attachments"]]
        return {a["Device"]: a["VolumeId"] for a in attachments if a["InstanceId"] == instance}

    def events(self, after: int = 0, wait: float = 0) -> list[dict]:
        """What was attached and detached: its "event", "at" (monotonic), "volume", "instance", "device" …

        An attachment is told when AttachVolume is called, one that is stuck never.
        """
        with urllib.request.urlopen(f"{self.direct}/harness/events?after={after}&wait={wait}") as reply:
            return json.load(reply)

    # RDS.

    def rds(self, **settings) -> None:
        """Changes how RDS behaves: `DEFAULTS` of `rds.py`."""
        self.rules["rds"].update(settings)
        self.put("/harness/rules", self.rules)

    def db_snapshot(self, id: str, tags: dict[str, str] | None = None, *, engine: str = "postgres", user: str = "shop") -> None:
        """A snapshot of a database that is gone since, with `user` for its master user."""
        rds, listed = self.client("rds"), [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
        rds.create_db_instance(
            DBInstanceIdentifier="golden", Engine=engine, DBInstanceClass="db.t4g.micro", AllocatedStorage=20,
            MasterUsername=user, MasterUserPassword="of the snapshot",
        )  # fmt: skip
        rds.create_db_snapshot(DBInstanceIdentifier="golden", DBSnapshotIdentifier=id, Tags=listed)
        rds.delete_db_instance(DBInstanceIdentifier="golden", SkipFinalSnapshot=True)

    def db_cluster_snapshot(self, id: str, *, engine: str = "aurora-postgresql", user: str = "shop") -> None:
        """As `db_snapshot`, of a cluster."""
        rds = self.client("rds")
        rds.create_db_cluster(
            DBClusterIdentifier="golden", Engine=engine, MasterUsername=user, MasterUserPassword="of the snapshot"
        )
        rds.create_db_cluster_snapshot(DBClusterIdentifier="golden", DBClusterSnapshotIdentifier=id)
        rds.delete_db_cluster(DBClusterIdentifier="golden", SkipFinalSnapshot=True)

    def databases(self) -> list[dict]:
        """Instances as DescribeDBInstances shows them, their tags as a dict."""
        found = self.client("rds").describe_db_instances()["DBInstances"]
        return [{**one, "Tags": {tag["Key"]: tag["Value"] for tag in one.get("TagList", [])}} for one in found]
