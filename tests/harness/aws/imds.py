"""The instance metadata service, version 2, as strict as the real one, with faults on request.

As a program, for example at its true address in a network namespace:

    ip netns exec N python3 imds.py --address 169.254.169.254 --port 80 --config imds.json --log imds.jsonl

In a test:

    with Imds(user_data=b"#ingot\\nversion: 1\\n", tags={"app": "shop"}) as imds:
        run(env=imds.env)
        assert len(imds.requests("GET", "/latest/user-data")) == 1

The configuration (see `DEFAULTS`) is read again whenever its file changes. A rule of `faults` matches by `path` (the
whole one, or its beginning if it ends in `*`) and `method` (any), and knows, besides the kinds of `wire.Faults`,
`forget-tokens`: every token given so far is void from here on, so this read ends in a 401.

Standard library only. What EC2 does is in its user guide, "Use the Instance Metadata Service to access instance metadata".
"""

import argparse
import asyncio
import base64
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from harness import wire  # noqa: E402

VERSIONS = ("latest", "1.0", "2009-04-04", "2016-09-02", "2018-09-24", "2019-10-01", "2020-10-27", "2021-03-23")

DEFAULTS = {
    "user_data": None,  # base64; None is a 404
    "instance": {
        "id": "i-0abc123def4567890",
        "type": "m7g.large",
        "region": "eu-central-1",
        "zone": "eu-central-1a",
        "account": "123456789012",
        "image": "ami-0123456789abcdef0",
        "architecture": "x86_64",
        "private_ip": "10.0.1.17",
        "mac": "0a:12:34:56:78:9a",
        "interface": "eni-0123456789abcdef0",
    },
    "role": "shop",  # None: the instance has no role, a 404
    "credentials_seconds": 6 * 3600,
    "key_id": "ASIAIOSFODNN7EXAMPLE",
    "tags": None,  # None: tags in metadata are off, a 404
    "lifecycle": None,  # autoscaling/target-lifecycle-state; None is a 404
    "interruption": None,  # spot/instance-action: "terminate", "stop" or "hibernate", and when; None is a 404
    "rebalance": None,  # events/recommendations/rebalance: when it was noticed; None is a 404
    "allow_v1": False,  # reads without a token: for clients that trust only EC2's DMI to offer version 2
    "ahead": 0,  # seconds that its clock, and so the time of credentials, is ahead of this machine's
    "late": 0,  # seconds until it listens; until then connections are refused
    "latency": 0,  # seconds added to every exchange
    "faults": [],
}


def metadata(config: dict) -> dict:
    """The tree below `meta-data/`: a dict is a directory, a string is an item."""
    instance = config["instance"]
    name = f"ip-{instance['private_ip'].replace('.', '-')}.{instance['region']}.compute.internal"
    tree = {
        "ami-id": instance["image"],
        "ami-launch-index": "0",
        "ami-manifest-path": "(unknown)",
        "hostname": name,
        "instance-action": "none",
        "instance-id": instance["id"],
        "instance-life-cycle": "on-demand",
        "instance-type": instance["type"],
        "local-hostname": name,
        "local-ipv4": instance["private_ip"],
        "mac": instance["mac"],
        "network": {
            "interfaces": {
                "macs": {
                    instance["mac"]: {
                        "device-number": "0",
                        "interface-id": instance["interface"],
                        "local-hostname": name,
                        "local-ipv4s": instance["private_ip"],
                        "mac": instance["mac"],
                        "subnet-ipv4-cidr-block": "10.0.1.0/24",
                    }
                }
            }
        },
        "placement": {
            "availability-zone": instance["zone"],
            "availability-zone-id": "euc1-az2",
            "region": instance["region"],
        },
        "profile": "default-hvm",
        "reservation-id": "r-0123456789abcdef0",
        "security-groups": "default",
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    }
    if config["role"]:
        account = instance["account"]
        now = datetime.now(UTC) + timedelta(seconds=config["ahead"])
        tree["iam"] = {
            "info": json.dumps(
                {
                    "Code": "Success",
                    "LastUpdated": stamp(now),
                    "InstanceProfileArn": f"arn:aws:iam::{account}:instance-profile/{config['role']}",
                    "InstanceProfileId": "AIPAABCDEFGHIJKLMN123",
                }
            ),
            "security-credentials": {
                config["role"]: json.dumps(
                    {
                        "Code": "Success",
                        "LastUpdated": stamp(now),
                        "Type": "AWS-HMAC",
                        "AccessKeyId": config["key_id"],
                        "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                        "Token": "harness-session-token",
                        "Expiration": stamp(now + timedelta(seconds=config["credentials_seconds"])),
                    }
                )
            },
        }
    if config["tags"] is not None:
        tree["tags"] = {"instance": dict(config["tags"])}
    if config["lifecycle"]:
        tree["autoscaling"] = {"target-lifecycle-state": config["lifecycle"]}
    if config["interruption"]:
        action, time_ = config["interruption"]
        tree["spot"] = {"instance-action": json.dumps({"action": action, "time": time_})}
    if config["rebalance"]:
        tree["events"] = {"recommendations": {"rebalance": json.dumps({"noticeTime": config["rebalance"]})}}
    return tree


def identity_document(config: dict) -> str:
    instance = config["instance"]
    return json.dumps(
        {
            "accountId": instance["account"],
            "architecture": instance["architecture"],
            "availabilityZone": instance["zone"],
            "billingProducts": None,
            "devpayProductCodes": None,
            "marketplaceProductCodes": None,
            "imageId": instance["image"],
            "instanceId": instance["id"],
            "instanceType": instance["type"],
            "kernelId": None,
            "pendingTime": "2026-11-22T09:00:00Z",
            "privateIp": instance["private_ip"],
            "ramdiskId": None,
            "region": instance["region"],
            "version": "2017-09-30",
        },
        indent=2,
    )


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def listing(directory: dict) -> str:
    return "\n".join(f"{name}/" if isinstance(item, dict) else name for name, item in sorted(directory.items()))


def item(tree: dict, path: list[str]) -> str | None:
    """What a path names: an item's text, a directory's listing, or nothing."""
    node: dict | str = tree
    for name in path:
        if not name:  # a trailing slash
            return listing(node) if isinstance(node, dict) else None
        if not isinstance(node, dict) or name not in node:
            return None
        node = node[name]
    return listing(node) if isinstance(node, dict) else node


class Server:
    def __init__(self, config_path: str | None, log: wire.Log, allow_v1: bool = False):
        self.path = config_path
        self.allow_v1 = allow_v1
        self.log = log
        self.stamp: int | None = None
        self.tokens: dict[str, float] = {}
        self.configure({})
        self.refresh()

    def configure(self, given: dict) -> None:
        unknown = given.keys() - DEFAULTS.keys()
        if unknown:
            raise SystemExit(f"unknown settings: {', '.join(sorted(unknown))}")
        self.config = {**DEFAULTS, **given, "instance": {**DEFAULTS["instance"], **given.get("instance", {})}}
        self.user_data = None if self.config["user_data"] is None else base64.b64decode(self.config["user_data"])
        self.faults = wire.Faults(self.config["faults"])

    def refresh(self) -> None:
        if self.path and (changed := os.stat(self.path).st_mtime_ns) != self.stamp:
            self.stamp = changed
            self.configure(json.loads(Path(self.path).read_text()))

    async def handle(self, request: wire.Request, writer) -> bool:
        self.refresh()
        fault = self.faults.pick(lambda rule: matches(rule, request))
        if fault.get("kind") == "forget-tokens":
            self.tokens.clear()
        token = request.headers.get("x-aws-ec2-metadata-token")
        valid = None if token is None else self.tokens.get(token, 0) > time.monotonic()
        await asyncio.sleep(self.config["latency"] + (fault.get("seconds", 1) if fault.get("kind") == "delay" else 0))
        if fault.get("kind") == "status":
            response = wire.Response(fault["status"], fault.get("body", "").encode(), fault.get("headers", {}))
        else:
            response = self.answer(request, valid)
        self.log.append(
            {
                "time": request.at,
                "seconds": round(time.monotonic() - request.at, 6),
                "method": request.method,
                "path": request.path,
                "status": response.status,
                "token": valid,
                "fault": fault.get("kind"),
            }
        )
        response.headers.setdefault("Server", "EC2ws")
        response.headers.setdefault("Date", formatdate(time.time() + self.config["ahead"], usegmt=True))
        return await wire.send(writer, response, fault, request.method == "HEAD")

    def answer(self, request: wire.Request, valid: bool | None) -> wire.Response:
        if "x-forwarded-for" in request.headers:
            return wire.Response(403)
        if request.method == "PUT":
            return self.give_token(request)
        if request.method not in ("GET", "HEAD"):
            return wire.Response(405, headers={"Allow": "GET, HEAD, PUT"})
        if not valid and not (valid is None and (self.allow_v1 or self.config["allow_v1"])):
            return wire.Response(401)
        content = self.content(unquote(request.path))
        return wire.Response(404, b"Not Found\n") if content is None else wire.Response(200, content)

    def give_token(self, request: wire.Request) -> wire.Response:
        if request.path != "/latest/api/token":
            return wire.Response(404)
        ttl = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not ttl.isdecimal() or not 1 <= int(ttl) <= 21_600:
            return wire.Response(400)
        token = secrets.token_urlsafe(40)
        self.tokens[token] = time.monotonic() + int(ttl)
        return wire.Response(200, token.encode(), {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": ttl})

    def content(self, path: str) -> bytes | None:
        _, version, *rest = path.split("/") if path.startswith("/") else ("", "")
        if path == "/":
            return "\n".join(VERSIONS).encode()
        if version not in VERSIONS:
            return None
        match rest:
            case [] | [""]:
                return b"dynamic\nmeta-data\nuser-data"
            case ["user-data"]:
                return self.user_data
            case ["meta-data", *names]:
                text = item(metadata(self.config), names)
            case ["dynamic", *names]:
                text = item({"instance-identity": {"document": identity_document(self.config)}}, names)
            case _:
                return None
        return None if text is None else text.encode()


def matches(rule: dict, request: wire.Request) -> bool:
    if rule.get("method", request.method) != request.method:
        return False
    path = rule.get("path", "*")
    return request.path.startswith(path[:-1]) if path.endswith("*") else request.path == path


class Imds:
    """A stand-in in a process of its own, on a free port of loopback, or at `address` in the namespace `netns`."""

    def __init__(self, *, address: str = "127.0.0.1", port: int = 0, netns: str | None = None, **config):
        self.directory = tempfile.TemporaryDirectory(prefix="imds.")
        self.config_path = Path(self.directory.name) / "config.json"
        self.log_path = Path(self.directory.name) / "log.jsonl"
        self.config: dict = {}
        self.address = (address, port, netns)
        self.configure(**config)

    def configure(self, **config) -> None:
        """Changes settings, also while it runs. `user_data` is bytes or text; fault counters start anew."""
        if "user_data" in config and config["user_data"] is not None:
            raw = config["user_data"]
            config["user_data"] = base64.b64encode(raw.encode() if isinstance(raw, str) else raw).decode()
        self.config.update(config)
        staged = self.config_path.with_suffix(".new")
        staged.write_text(json.dumps(self.config))
        staged.rename(self.config_path)

    def __enter__(self) -> "Imds":
        listener = wire.bound(*self.address)
        self.host, self.port = listener.getsockname()[:2]
        command = [sys.executable, __file__, "--fd", str(listener.fileno())]
        command += ["--config", str(self.config_path), "--log", str(self.log_path)]
        with listener:
            self.process = subprocess.Popen(command, pass_fds=[listener.fileno()], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline(), "the IMDS stand-in did not start"
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.directory.cleanup()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url}

    def requests(self, method: str | None = None, path: str | None = None) -> list[dict]:
        """Every exchange so far, in order, or those of one method and path."""
        if not self.log_path.exists():
            return []
        entries = [json.loads(line) for line in self.log_path.read_text().splitlines()]
        return [e for e in entries if method in (None, e["method"]) and path in (None, e["path"])]

    def forget(self) -> None:
        """Empties the log."""
        if self.log_path.exists():
            os.truncate(self.log_path, 0)


async def main() -> None:
    parser = argparse.ArgumentParser(description="An IMDSv2 stand-in.")
    parser.add_argument("--config", help="JSON file; read again when it changes")
    parser.add_argument("--log", help="JSONL file, one line an exchange")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fd", type=int, help="a bound socket to serve on")
    parser.add_argument("--allow-v1", action="store_true")
    arguments = parser.parse_args()
    server = Server(arguments.config, wire.Log(arguments.log), arguments.allow_v1)
    listener = wire.from_arguments(arguments)
    name = "{}:{}".format(*listener.getsockname()[:2])
    if server.config["late"]:
        print(name, flush=True)
        await asyncio.sleep(server.config["late"])
    async with await wire.serve(listener, server.handle) as running:
        print(name, flush=True)
        await running.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
