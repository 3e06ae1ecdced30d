"""AWS on loopback: `proxy.py` in a process of its own, and words for what tests ask of it.

with Aws() as aws:
    aws.secret("prod/shop/db", {"user": "shop", "password": "hunter2"})
    aws.parameter("/prod/shop/token", "s3cr3t", type="SecureString")
    aws.fault("throttled", operation="GetParameters", times=2)
    run(env=aws.env)
    assert aws.count("BatchGetSecretValue") == 1
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from . import wire

REGION = "eu-central-1"
ACCOUNT = "123456789012"

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

SERVICE_OF = {
    "BatchGetSecretValue": "secretsmanager",
    "GetSecretValue": "secretsmanager",
    "GetParameter": "ssm",
    "GetParameters": "ssm",
    "GetParametersByPath": "ssm",
}


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
        self.rules: dict = {"latency": 0, "faults": []}
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
        return boto3.client(
            service,
            region_name=REGION,
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
        """Adds a rule: a kind of `proxy.py`, or one of `ERRORS`."""
        if kind in ERRORS:
            operation = rule.get("operation", "")
            action = f"{SERVICE_OF.get(operation, 'secretsmanager')}:{operation}"
            known = ERRORS[kind]
            rule = {**known, "message": known["message"].format(operation=action), **rule}
            kind = "error"
        self.rules["faults"].append({"kind": kind, **rule})
        self.put("/harness/rules", self.rules)

    def latency(self, seconds: float) -> None:
        """Makes each call take longer by this."""
        self.rules["latency"] = seconds
        self.put("/harness/rules", self.rules)

    def calls(self, operation: str | None = None) -> list[dict]:
        with urllib.request.urlopen(f"{self.direct}/harness/calls") as reply:
            return [call for call in json.load(reply) if operation in (None, call["operation"])]

    def count(self, operation: str | None = None) -> int:
        return len(self.calls(operation))

    def forget(self) -> None:
        """Empties the log and takes all rules back; what was made stays."""
        self.rules = {"latency": 0, "faults": []}
        self.put("/harness/forget", {})

    def reset(self) -> None:
        """Empties everything."""
        self.forget()
        request = urllib.request.Request(f"{self.direct}/moto-api/reset", method="POST")
        urllib.request.urlopen(request).close()

    def put(self, path: str, content: dict) -> None:
        request = urllib.request.Request(self.direct + path, json.dumps(content).encode(), method="PUT")
        urllib.request.urlopen(request).close()
