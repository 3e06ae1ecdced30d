"""What `ingot seal` says about software that others published: nothing, or nearly."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
from harness.agent import Agent
from harness.host import accuracy, trees
from test_seal_secrets import findings

# As many as a person can look at.
FALSE = 2


def secrets(agent: Agent, root: Path | None = None) -> list[dict]:
    return [one for one in findings(agent, root) if "scrub" not in one["hint"]]


def test_an_environment_of_python_is_as_it_was_published(ingot, tmp_path):
    """The one that these tests run in: Django, boto3, moto, Flask and what they need."""
    agent = Agent(tmp_path)
    site = agent.path("/opt/venv/lib/python3.11/site-packages")
    site.parent.mkdir(parents=True)
    subprocess.run(["cp", "--archive", "--reflink=auto", Path(sysconfig.get_path("purelib")), site], check=True)
    found = secrets(agent)
    assert len(found) <= FALSE, found


def test_the_page_has_every_tree():
    assert [row[0] for row in accuracy.rows("Published software")] == list(trees.TREES)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(trees.TREES))
def test_published_software_holds_no_secret(ingot, tmp_path, name):
    root = trees.made(name)
    judged = trees.judged(root, secrets(Agent(tmp_path), root))
    assert len(judged.false) <= FALSE, judged.false
    accuracy.hold("Published software", [judged.row(name)], of=name, but=(1, 2))
    accuracy.hold("Each finding", [[name, f"`{path}`", f"`{rule}`", verdict(true), why] for path, rule, true, why in judged.findings], of=name)


def verdict(is_true: bool) -> str:
    return "true" if is_true else "false"
