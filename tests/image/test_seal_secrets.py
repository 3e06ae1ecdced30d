"""What `ingot seal` finds of the secrets that people leave in images, and what it takes for one."""

from pathlib import Path

from harness.agent import Agent
from harness.host import lookalikes, planted

# Of sixty kinds; the rest is a debt that docs/testing names.
FOUND = 56


def findings(agent: Agent, root: Path | None = None) -> list[dict]:
    ran = agent.run("seal", "--root", root or agent.root, "--json")
    of_the_setup = ("ingot-", "no-systemd", "unit-", "layer")
    return [one for one in ran.json["findings"] if not one["rule"].startswith(of_the_setup)]


def test_secrets_are_found_whatever_their_kind(ingot, tmp_path):
    agent = Agent(tmp_path)
    where = planted.plant(agent.path("/"))
    found = {one["path"] for one in findings(agent)}
    missed = [kind for kind, path in where.items() if not any(one == path or one.startswith(path + "/") for one in found)]
    assert len(where) >= 60 and len(where) - len(missed) >= FOUND * len(where) / 60, missed


def test_what_only_looks_like_a_secret_is_none(ingot, tmp_path):
    agent = Agent(tmp_path)
    paths = lookalikes.lay(agent.path("/"))
    assert len(paths) >= 40
    found = [(one["path"], one.get("line"), one["rule"]) for one in findings(agent)]
    assert found == [("/root/.bash_history", None, "history")]
