"""`ingot-fleet`, run as an operator would run it, on AWS on loopback.

fleet = Fleet(tmp_path, aws)
fleet.write("app/index.html", "hello")
result = fleet("release", "app", "--name", "v1")
assert result.code == 0, result
"""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness.agent import REPOSITORY, until

from .aws.proxy import REGION

BUILDS = ("target/release/ingot-fleet", "target/debug/ingot-fleet")
BUCKET = "shop-releases"
PATIENCE = 120

# Complete; the document is read by `check`, `render` and `config` alone.
FLEET = """version: 1
application: shop
releases: {releases}
environments:
  prod:
    tier: web
    image: ami-0123456789abcdef0
    network: {{ vpc: vpc-0a1b2c3d, subnets: [subnet-0a1b2c3d, subnet-0e4f5a6b] }}
    document: boot.yaml
    instances: {{ types: [m7g.large] }}
"""


def binary() -> Path | None:
    """The binary under test: $INGOT_FLEET, or the first build there is."""
    if named := os.environ.get("INGOT_FLEET"):
        return Path(named).resolve()
    return next((REPOSITORY / build for build in BUILDS if (REPOSITORY / build).exists()), None)


@dataclass
class Result:
    """How one run ended. Printed whole when an assertion fails."""

    args: tuple
    code: int
    stdout: str
    stderr: str
    seconds: float

    def __str__(self) -> str:
        command = " ".join(map(str, self.args))
        return f"ingot-fleet {command}: exit code {self.code} after {self.seconds:.1f} s\n--- stdout\n{self.stdout}--- stderr\n{self.stderr}"

    @property
    def json(self):
        return json.loads(self.stdout)


class Fleet:
    """A directory with a fleet.yaml, and a bucket."""

    # The seconds that one run may take.
    patience = PATIENCE

    def __init__(self, directory: Path, aws, releases: str = f"s3://{BUCKET}/"):
        self.directory, self.aws = directory, aws
        self.env = {
            **{name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ},
            **aws.env,
            "HOME": str(directory / "home"),
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "AWS_EC2_METADATA_DISABLED": "true",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CEILING_DIRECTORIES": str(directory),
        }
        self.s3 = aws.client("s3")
        self.write("fleet.yaml", FLEET.format(releases=releases))

    def bucket(self) -> "Fleet":
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        return self

    def write(self, path: str, content: str | bytes, mode: int | None = None) -> Path:
        at = self.directory / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content.encode() if isinstance(content, str) else content)
        if mode is not None:
            at.chmod(mode)
        return at

    def git(self, *args: str) -> str:
        who = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Ann"), ("EMAIL", "ann@example.com"))}
        dates = {"GIT_AUTHOR_DATE": "2026-11-30T20:00:00Z", "GIT_COMMITTER_DATE": "2026-11-30T20:00:00Z"}
        command = ["git", "-C", str(self.directory), *args]
        return subprocess.run(command, env={**self.env, **who, **dates}, check=True, capture_output=True, text=True).stdout.strip()

    def start(self, *args, **env: str) -> subprocess.Popen:
        command = [str(binary()), *map(str, args)]
        return subprocess.Popen(
            command, cwd=self.directory, env={**self.env, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, *args, **env: str) -> Result:
        began = time.monotonic()
        process = self.start(*args, **env)
        stdout, stderr = process.communicate(timeout=self.patience)
        return Result(args, process.returncode, stdout, stderr, time.monotonic() - began)

    def killed(self, *args, when) -> None:
        """Runs it until `when()` holds, and kills it."""
        process = self.start(*args)
        until("it came so far", lambda: when() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()

    # The bucket.

    def keys(self) -> list[str]:
        return [found["Key"] for found in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def read(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def put(self, key: str, content: bytes | dict) -> None:
        body = json.dumps(content).encode() if isinstance(content, dict) else content
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def record(self, environment: str, number: int, release: str, state: str) -> dict:
        """A record of a deployment, put there past everything. Its content."""
        digest = "0" * 64
        content = {
            "schema": 1,
            "application": "shop",
            "environment": environment,
            "number": number,
            "attempt": f"{environment}-{number}",
            "goal": {
                "release": {"name": release, "sha256": digest},
                "image": "ami-0123456789abcdef0",
                "document": {"key": f"shop/environments/{environment}/documents/{digest}.yaml", "sha256": digest},
                "policy": "rolling",
                "capacity": {"min": 1, "desired": 2, "max": 4},
            },
            "by": "arn:aws:iam::123456789012:user/ann",
            "began": "2026-11-30T20:00:00Z",
            "state": state,
            **({} if state == "under_way" else {"ended": "2026-11-30T20:05:00Z"}),
        }
        self.put(f"shop/environments/{environment}/deployments/{number}.json", content)
        return content
