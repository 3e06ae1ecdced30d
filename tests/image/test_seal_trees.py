"""What `ingot seal` says about software that others published: nothing, or nearly."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
from harness.agent import Agent
from harness.host import trees
from test_seal_secrets import findings

# As many as a person can look at.
FALSE = 2

# What Debian's packages make up when they are installed, so that every instance would have the same.
MADE_UP = {
    "/etc/bind/rndc.key",
    "/etc/munge/munge.key",
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/var/lib/rabbitmq/.erlang.cookie",
}


def secrets(agent: Agent, root: Path | None = None) -> list[tuple[str, str]]:
    return [(one["path"], one["rule"]) for one in findings(agent, root) if "scrub" not in one["hint"]]


def test_an_environment_of_python_is_as_it_was_published(ingot, tmp_path):
    """The one that these tests run in: Django, boto3, moto, Flask and what they need."""
    agent = Agent(tmp_path)
    site = agent.path("/opt/venv/lib/python3.11/site-packages")
    site.parent.mkdir(parents=True)
    subprocess.run(["cp", "--archive", "--reflink=auto", Path(sysconfig.get_path("purelib")), site], check=True)
    found = secrets(agent)
    assert len(found) <= FALSE, found


@pytest.mark.slow
@pytest.mark.parametrize("name", list(trees.TREES))
def test_published_software_holds_no_secret(ingot, tmp_path, name):
    false = [one for one in secrets(Agent(tmp_path), trees.made(name)) if one[0] not in MADE_UP]
    assert len(false) <= FALSE, false
