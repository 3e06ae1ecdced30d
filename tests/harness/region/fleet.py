"""An environment of fleet/templates in the region: its buckets, releases and boot document, as an operator's program
makes them.

shop = Environment(region, "web", DOCUMENT)
shop.release("v1", release_of(1))
shop.create("v1")
shop.deploy("v2", Policy="rolling")
"""

import hashlib
from importlib import metadata
from pathlib import Path

from harness.agent import REPOSITORY
from harness.host import archives, echo
from harness.host.deployed import release_of
from harness.templates import TEMPLATES, template

RELEASES, EVIDENCE = "shop-releases", "shop-evidence"

# Of `release_of`, in a group behind a load balancer: nginx of ingot at port 80.
WEB = """\
#ingot
version: 1
bundles:
  app: { s3: "{{values.releases}}/{{values.release}}.tar.zst", sha256: "{{values.release_sha256}}", into: /opt/shop, owner: shop }
applications:
  shop: { bundle: bundles.app, user: shop, proxy: { listen: 80 }, ready: { http: /health, timeout: 60s } }
signals:
  evidence: { logs: ["ingot-*"] }
  stack: { timeout: 60s }
drains:
  leave: { grace: 20s }
"""


def image(instance) -> None:
    """What the golden root of these environments has besides ingot: a user, a directory for gates."""
    instance.write("/usr/lib/sysusers.d/shop.conf", "u shop - - /opt/shop\n")
    instance.enable("ingot-applications.service")


def good(generation: str) -> dict[str, bytes]:
    """A release that serves, and says that it is this one."""
    return release_of(generation)


def bad() -> dict[str, bytes]:
    """A release that ends as soon as it is started."""
    return release_of("bad", {"Procfile": "web: echo no database here; exit 5\n"})


EXAMPLE = REPOSITORY / "tests" / "documents" / "fleet"
# What `pip install --target lib pg8000` brings.
DEPENDENCIES = ("pg8000", "scramp", "asn1crypto", "python-dateutil", "six")


def example(version: str, **more: str) -> dict[str, bytes]:
    """A release of the application in tests/documents/fleet/app, as its build makes it; `more` are further files."""
    app = EXAMPLE / "app"
    files = {str(path.relative_to(app)): path.read_bytes() for path in app.glob("*/*") if path.is_file()}
    for name in DEPENDENCIES:
        found = [file for file in metadata.files(name) if file.suffix == ".py" or file.name == "METADATA"]
        files |= {f"lib/{file}": file.read_binary() for file in found}
    files["lib/echo.py"] = Path(echo.__file__).read_bytes()
    return files | {name: text.encode() for name, text in {"VERSION": version, **more}.items()}


def account(region, releases: str = "account-releases", evidence: str = "account-evidence") -> None:
    """The stack `ingot-account`, with these buckets."""
    pairs = {"ReleasesBucket": releases, "EvidenceBucket": evidence}
    region.client("cloudformation").create_stack(
        StackName="ingot-account",
        TemplateBody=(TEMPLATES / "account.yaml").read_text(),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in pairs.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    assert region.settled("ingot-account") == "CREATE_COMPLETE", region.told()


class Environment:
    """The stack `shop-prod`."""

    stack = "shop-prod"

    def __init__(self, region, name: str, document: str, **given: str):
        """`given`: parameters that differ from the template's own."""
        self.region, self.name, self.document = region, name, document.encode()
        self.cloudformation = region.client("cloudformation")
        s3 = region.client("s3")
        for bucket in (RELEASES, EVIDENCE):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.digest = hashlib.sha256(self.document).hexdigest()
        s3.put_object(Bucket=RELEASES, Key=f"shop/environments/prod/documents/{self.digest}.yaml", Body=self.document)
        self.digests: dict[str, str] = {}
        self.deployment = 0
        self.given = {**self.usual(), **given}

    def usual(self) -> dict[str, str]:
        subnets = self.region.client("ec2").describe_subnets()["Subnets"][:2]
        return {
            "Application": "shop",
            "Environment": "prod",
            "Document": self.digest,
            "Image": "ami-12c6146b",
            "ReleasesBucket": RELEASES,
            "EvidenceBucket": EVIDENCE,
            "Vpc": subnets[0]["VpcId"],
            "Subnets": ",".join(one["SubnetId"] for one in subnets),
        }

    def release(self, name: str, files: dict[str, bytes]) -> None:
        archive = archives.release("tar.zst", files)
        self.digests[name] = hashlib.sha256(archive).hexdigest()
        self.region.client("s3").put_object(Bucket=RELEASES, Key=f"shop/releases/{name}.tar.zst", Body=archive)

    def call(self, release: str, given: dict[str, str]) -> dict:
        self.deployment += 1
        self.given |= {
            "Release": release,
            "ReleaseSha256": self.digests[release],
            "Deployment": str(self.deployment),
            **given,
        }
        declared = template(self.name)["Parameters"]
        pairs = [{"ParameterKey": key, "ParameterValue": value} for key, value in self.given.items() if key in declared]
        body = (TEMPLATES / f"{self.name}.yaml").read_text()
        return {
            "StackName": self.stack,
            "TemplateBody": body,
            "Parameters": pairs,
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
        }

    def create(self, release: str, **given: str) -> str:
        self.cloudformation.create_stack(**self.call(release, given))
        return self.region.settled(self.stack)

    def deploy(self, release: str, **given: str) -> str:
        self.cloudformation.update_stack(**self.call(release, given))
        return self.region.settled(self.stack)

    def output(self, name: str) -> str:
        (stack,) = self.cloudformation.describe_stacks(StackName=self.stack)["Stacks"]
        return next(one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == name)

    def evidence(self) -> list[str]:
        found = self.region.client("s3").list_objects_v2(Bucket=EVIDENCE)
        return [one["Key"] for one in found.get("Contents", [])]
