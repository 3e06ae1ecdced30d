"""What `ingot seal` finds of the secrets that people leave in images, and what it takes for one."""

from pathlib import Path

from harness.agent import Agent
from harness.host import accuracy, lookalikes, planted

# Of sixty kinds, 56; what is not found is a debt that docs/reference/seal-accuracy.md names.
FOUND = 56 / 60


def findings(agent: Agent, root: Path | None = None) -> list[dict]:
    ran = agent.run("seal", "--root", root or agent.root, "--json")
    of_the_setup = ("ingot-", "no-systemd", "unit-", "layer")
    return [one for one in ran.json["findings"] if not one["rule"].startswith(of_the_setup)]


def rules(found: list[dict], path: str) -> str:
    """What is found at a path or below it."""
    at = {one["rule"] for one in found if one["path"] == path or one["path"].startswith(path + "/")}
    return ", ".join(f"`{rule}`" for rule in sorted(at)) or "nothing"


def test_secrets_are_found_whatever_their_kind(ingot, tmp_path):
    agent = Agent(tmp_path)
    where = planted.plant(agent.path("/"))
    found = findings(agent)
    missed = [kind for kind, path in where.items() if rules(found, path) == "nothing"]
    assert len(where) >= 90 and len(where) - len(missed) >= FOUND * len(where), missed
    doubled = {path for path in where.values() if sum(one["path"] == path for one in found) > 1}
    assert doubled == set(), [one for one in found if one["path"] in doubled]
    accuracy.hold("Planted secrets", [[kind, f"`{path}`", rules(found, path)] for kind, path in where.items()])


def test_what_only_looks_like_a_secret_is_none(ingot, tmp_path):
    agent = Agent(tmp_path)
    paths = lookalikes.lay(agent.path("/"))
    assert len(paths) >= 60
    # A history is a trace of a person, whatever is in it.
    found = [one for one in findings(agent) if one["rule"] != "history"]
    assert found == []
    accuracy.hold("Look-alikes", [[f"`{path}`", rules(found, path)] for path in paths])
