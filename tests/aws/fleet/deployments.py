#!/usr/bin/env python3
"""One good and one bad deployment of each policy on AWS, under load. For a person with an account; it costs money.

    tests/aws/fleet/deployments.py --releases s3://BUCKET/ --image ssm:/golden/shop/x86_64 --vpc vpc-… --subnets subnet-… subnet-…

Makes an environment `trial` of an application `ingot-trial`: a load balancer that is reached from this machine's address only,
and `--instances` instances. Each policy gets a good release, which has to run on every instance in the end, and a bad one, of
which nothing may be left. Under load from this machine, no request may be lost but by all_at_once. In the end the environment
is deleted, also where something failed or Ctrl-C was pressed; `--keep` keeps it. `report.json` in the current directory has
what was seen.

Wants before:

- the stack `ingot-account` (docs/fleet/account.md), and credentials that may do what administrators may: the policy Deployer
  does not allow to delete an environment
- `ingot-fleet` on the PATH, or named by $INGOT_FLEET; Python with boto3
- a golden image (docs/guides/image.md) with ingot, nginx, python3 and a system user `shop`
- two subnets in two zones with a route to AWS. The load balancer is public, so they have an internet gateway, or
  `--load-balancer-subnets` names others that do

It takes one to two hours, and costs less than 2 USD of m7i.large instances, of a load balancer and of public addresses. What stays,
because nobody may delete it: releases, records and documents below `ingot-trial/` in the releases bucket, some kilobytes, and
evidence until it expires.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import boto3

ROOT = Path(__file__).resolve().parents[3]
LOAD = ROOT / "tests" / "harness" / "host" / "load.py"
ECHO = LOAD.with_name("echo.py")

APPLICATION, ENVIRONMENT = "ingot-trial", "trial"
STACK = f"{APPLICATION}-{ENVIRONMENT}"
POLICIES = ["all_at_once", "rolling", "rolling_with_batch", "immutable"]
# An outage, on purpose.
LOSES = {"all_at_once"}

DOCUMENT = """\
#ingot
version: 1
bundles:
  app: { s3: "{{values.releases}}/{{values.release}}.tar.zst", sha256: "{{values.release_sha256}}", into: /opt/shop, owner: shop }
applications:
  shop: { bundle: bundles.app, user: shop, proxy: { listen: 80 }, ready: { http: /health, timeout: 60s } }
signals:
  evidence: { logs: ["shop.*"] }
  stack: { timeout: 60s }
"""

GOOD = "web: GENERATION={name} exec python3 -S bin/echo.py\n"
BAD = "web: echo this release is bad on purpose; exit 5\n"
RELEASES = {"trial-a": GOOD, "trial-b": GOOD, "trial-bad": BAD}


class Trial:
    def __init__(self, arguments: argparse.Namespace, directory: Path):
        self.arguments, self.directory, self.report = arguments, directory, []
        self.program = os.environ.get("INGOT_FLEET", "ingot-fleet")
        self.runs = "trial-a"

    def fleet(self, *command: str) -> tuple[subprocess.CompletedProcess, float]:
        began = time.monotonic()
        print(f"==> ingot-fleet {' '.join(command)}", flush=True)
        done = subprocess.run([self.program, *command], cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        print(done.stderr, end="", flush=True)
        return done, time.monotonic() - began

    def must(self, *command: str) -> str:
        done, _ = self.fleet(*command)
        if done.returncode != 0:
            raise SystemExit(f"error: exit code {done.returncode} of ingot-fleet {' '.join(command)}")
        return done.stdout

    def write(self, path: str, content: str | bytes) -> None:
        at = self.directory / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content.encode() if isinstance(content, str) else content)
        at.chmod(0o755)

    def prepare(self) -> None:
        """fleet.yaml, the document, and the releases."""
        given = self.arguments
        network = {"vpc": given.vpc, "subnets": given.subnets, "clients": given.clients or own_address()}
        if given.load_balancer_subnets:
            network["load_balancer_subnets"] = given.load_balancer_subnets
        environment = {
            "tier": "web",
            "image": given.image,
            "network": network,
            "document": "web.yaml",
            "instances": {"types": [given.instance_type], "min": given.instances, "max": 2 * given.instances},
            "deployment": {"policy": "rolling", "batch": 1},
        }
        content = {"version": 1, "application": APPLICATION, "releases": given.releases, "environments": {ENVIRONMENT: environment}}
        # JSON is YAML.
        self.write("fleet.yaml", json.dumps(content, indent=1))
        self.write("web.yaml", DOCUMENT)
        self.must("check")
        for name, procfile in RELEASES.items():
            self.write(f"{name}/Procfile", procfile.format(name=name))
            self.write(f"{name}/bin/echo.py", ECHO.read_bytes())
            self.must("release", name, "--name", name)

    def address(self) -> tuple[str, int]:
        if self.arguments.at:
            host, _, port = self.arguments.at.partition(":")
            return host, int(port or 80)
        (stack,) = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return next(one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == "BalancerName"), 80

    @contextmanager
    def load(self):
        result, told = self.directory / "load.json", {}
        host, port = self.address()
        client = subprocess.Popen([sys.executable, str(LOAD), host, str(port), str(result), "--longest=10", "--websocket=/ws"])
        try:
            time.sleep(5)
            yield told
            ended = time.time()
            # The slowest requests that were begun meanwhile.
            time.sleep(10)
        finally:
            client.terminate()
            client.wait(90)
        told.update(json.loads(result.read_text()), ended=ended)

    def deployment(self, policy: str, release: str) -> None:
        """One deployment under load, and what has to hold after it."""
        is_good = release != "trial-bad"
        with self.load() as told:
            done, seconds = self.fleet("deploy", ENVIRONMENT, "--release", release, "--policy", policy, "--yes")
        self.runs = release if is_good else self.runs
        status = json.loads(self.must("status", ENVIRONMENT, "--json"))
        in_force = status["in_force"]["goal"]["release"]["name"]
        # Of the 10 seconds since the deployment ended.
        answered = {name for name, last in told["last"].items() if last > told["ended"]}
        problems = [f"exit code {done.returncode}"] if done.returncode != (0 if is_good else 1) else []
        problems += [f"{in_force} is in force"] if in_force != self.runs else []
        problems += [f"requests are answered by {sorted(answered)}"] if answered != {self.runs} else []
        in_service = len([one for one in status["instances"] if one["lifecycle"] == "InService"])
        problems += [f"{in_service} instances in service"] if in_service != self.arguments.instances else []
        problems += ["the message does not name the step"] if not is_good and "applications.shop" not in done.stderr else []
        problems += [f"{told['lost']} of {told['sent']} requests lost"] if told["lost"] and policy not in LOSES else []
        one = {
            "policy": policy,
            "release": release,
            "exit_code": done.returncode,
            "seconds": round(seconds, 1),
            "requests": told["sent"],
            "lost": told["lost"],
            "losses": told["losses"][:20],
            "said": done.stderr.splitlines()[-3:],
            "problems": problems,
        }
        self.report.append(one)
        print(f"==> {policy}, {release}: {'; '.join(problems) or 'as it should be'}", flush=True)

    def go(self) -> None:
        self.must("create", ENVIRONMENT, "--release", self.runs)
        for policy in self.arguments.policies:
            self.deployment(policy, "trial-b" if self.runs == "trial-a" else "trial-a")
            self.deployment(policy, "trial-bad")

    def clean_up(self) -> None:
        """Nothing that costs money stays."""
        if self.arguments.keep:
            print(f"==> kept: {STACK}. Delete it with `ingot-fleet terminate {ENVIRONMENT}` in {self.directory}")
            return
        self.must("terminate", ENVIRONMENT, "--yes")
        print(f"==> {STACK} is deleted; below {APPLICATION}/ in {self.arguments.releases}, releases, records and documents stay")


def own_address() -> str:
    """Only this machine may ask the load balancer."""
    with urllib.request.urlopen("https://checkip.amazonaws.com", timeout=10) as answer:
        return f"{answer.read().decode().strip()}/32"


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", required=True, metavar="s3://BUCKET/", help="output ReleasesBucket of ingot-account")
    parser.add_argument("--image", required=True, metavar="AMI|ssm:NAME")
    parser.add_argument("--vpc", required=True)
    parser.add_argument("--subnets", required=True, nargs="+")
    parser.add_argument("--load-balancer-subnets", nargs="+")
    parser.add_argument("--clients", metavar="CIDR", help="who may ask the load balancer [default: this machine]")
    parser.add_argument("--at", metavar="HOST[:PORT]", help="where the load balancer is asked [default: its own name]")
    parser.add_argument("--instance-type", default="m7i.large")
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES)
    parser.add_argument("--keep", action="store_true", help="do not delete the environment in the end")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser.parse_args()


def main() -> None:
    arguments = asked()
    account = boto3.client("sts").get_caller_identity()["Account"]
    region = boto3.session.Session().region_name
    print(f"This makes the environment {STACK} in account {account}, {region}, and costs less than 2 USD.")
    if not arguments.yes and input("Go on? [y/N] ").strip().lower() != "y":
        raise SystemExit("nothing was made")
    directory = Path(tempfile.mkdtemp(prefix="ingot-trial."))
    trial = Trial(arguments, directory)
    trial.prepare()
    try:
        trial.go()
    finally:
        Path("report.json").write_text(json.dumps({"account": account, "region": region, "deployments": trial.report}, indent=1) + "\n")
        trial.clean_up()
    wrong = [f"{one['policy']}, {one['release']}: {'; '.join(one['problems'])}" for one in trial.report if one["problems"]]
    raise SystemExit("\n".join(["error: not as it should be", *wrong]) if wrong else 0)


if __name__ == "__main__":
    main()
