"""What `ingot-fleet render` shows, against what the templates make of the same parameters on moto."""

import json
import os
import subprocess

import pytest
import yaml
from harness.aws.environments import environments
from harness.templates import ROOT

FLEET = ROOT / "tests" / "documents" / "fleet" / "every-setting.yaml"

BUILDS = ["target/debug/ingot-fleet", "target/release/ingot-fleet"]

TIERS = {"prod": "web", "blue": "web", "jobs": "worker", "mail": "worker"}

# What is known at a deployment only, as `render` stands in for it.
LATER = {
    "Release": "v1",
    "ReleaseSha256": "0" * 64,
    "Deployment": "1",
    "EvidenceBucket": "ingot-evidence",
    "PermissionsBoundary": "",
    "SecretArns": "",
    "ParameterArns": "",
    "Image": "ami-12c6146b",
}

# What moto would look for, and user data does not depend on.
NOT_THERE = {"Certificate": "", "DatabaseSnapshot": "", "ExtraSecurityGroups": "", "LoadBalancerSubnets": ""}

# What AWS names.
NAMED = {
    "signals.stack.targets",
    "drains.leave.targets",
    "addresses.public.elastic_ip",
    "values.queue",
    "values.dead_letters",
    "values.database.instance",
    "values.database.host",
    "values.database.port",
    "values.database.secret",
    "values.cache.host",
    "values.cache.port",
    "values.cache.secret",
}


@pytest.fixture(scope="module")
def program():
    if named := os.environ.get("INGOT_FLEET"):
        return named
    built = [ROOT / build for build in BUILDS if (ROOT / build).exists()]
    if not built:
        pytest.skip(f"no binary: build one of {', '.join(BUILDS)}, or name it in $INGOT_FLEET")
    return built[0]


def render(program, environment: str) -> dict:
    command = [program, "--file", FLEET, "--json", "render", environment]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def known(document: dict, above: str = "") -> dict:
    """The leaves by their paths, without the values that AWS gives."""
    leaves = {}
    for key, value in document.items():
        path = f"{above}{key}"
        leaves |= known(value, f"{path}.") if isinstance(value, dict) and value else {path: value}
    return {path: None if path in NAMED else value for path, value in leaves.items()}


@pytest.mark.parametrize("environment", TIERS)
def test_rendered_user_data_is_what_the_template_makes(program, environment):
    found = render(program, environment)
    given = {key: one["value"] for key, one in found["parameters"].items() if one["value"] is not None}
    with environments() as stacks:
        own = {key: value for key, value in (stacks.network | NOT_THERE).items() if key in given}
        later = {key: value for key, value in LATER.items() if key in found["parameters"]}
        if slot := given.get("Slot"):
            edge = slot.rpartition("-")[0]
            stacks.create("edge", f"shop-edge-{edge}", Edge=edge)
        stacks.create(TIERS[environment], found["stack"], **given | later | own)
        made = yaml.safe_load(stacks.user_data(found["stack"]))
    assert known(yaml.safe_load(found["user_data"])) == known(made)


@pytest.mark.parametrize("environment", TIERS)
def test_rendered_parameters_are_those_of_the_template(program, environment):
    found = render(program, environment)
    declared = yaml.load((ROOT / "fleet" / "templates" / found["template"]).read_text(), Loader=Loose)["Parameters"]
    assert found["parameters"].keys() <= declared.keys()
    # The others have defaults that no setting changes, or are of a part that the environment does not have.
    assert all("Default" in declared[key] for key in declared.keys() - found["parameters"].keys())


class Loose(yaml.SafeLoader):
    """Reads the short forms of functions as nothing."""


Loose.add_multi_constructor("!", lambda loader, suffix, node: None)
