"""Instances of a fleet that want a claim."""

from pathlib import Path
from types import SimpleNamespace

from harness.agent import Agent

# What a document that claims needs.
VALUES = {"application": "shop", "environment": "prod", "release": "v1", "release_sha256": "9f86d081884c7d65"}

# As on an instance: not every machine that runs tests has the second version there.
WITH_CGROUPS = ["unshare", "--mount", "sh", "-c", 'mount -t cgroup2 none /sys/fs/cgroup && exec "$0" "$@"']


def instance_id(number: int) -> str:
    return f"i-{number:017x}"


def instance(number: int, directory: Path, env: dict[str, str]) -> Agent:
    """ingot on an instance with an id of its own, in a directory that is made for it."""
    directory.mkdir()
    agent = Agent(directory, env, inside=SimpleNamespace(prefix=WITH_CGROUPS, seen=lambda root: root))
    agent.write("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n")
    agent.write("/sys/class/dmi/id/board_asset_tag", f"{instance_id(number)}\n")
    return agent
