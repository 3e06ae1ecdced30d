"""Each verb calls what the policies of `ingot-account` allow to who runs it, and what its help says. Scripted instances."""

import os
import re

import pytest
from harness.agent import DONE
from harness.region import Region
from harness.region.actions import action, allowed
from harness.region.small import FAST, boots
from harness.templates import ROOT
from test_region_verbs import Operator, needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

APPLICATION = ("--application", "shop")

# What only looks, which a reader may do.
LOOKING = [
    ("status",),
    ("status", "prod"),
    ("status", *APPLICATION),
    ("status", "prod", *APPLICATION),
    ("list",),
    ("list", *APPLICATION),
    ("events", "prod"),
    ("events", "prod", "--raw"),
    ("events", "prod", *APPLICATION),
    ("logs", "prod"),
    ("logs", "prod", "--failed"),
    ("releases",),
]

# What changes something, in an order in which each has something to do.
CHANGING = [
    ("plan", "prod", "--release", "v2", "--policy", "immutable"),
    ("release", "v2", "--name", "v3"),
    ("deploy", "prod", "--release", "v2", "--policy", "immutable"),
    ("set", "prod", "COLOR=red"),
    ("rollback", "prod"),
    ("rollback", "prod", *APPLICATION),
    ("scale", "prod", "3"),
    ("freeze", "prod"),
    ("freeze", "prod", "--off", *APPLICATION),
    ("abort", "prod"),
    ("terminate", "prod", "--yes"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    needs_binary()
    with Region(boots(80), pace=FAST) as region:
        operator = Operator(tmp_path_factory.mktemp("shop"), region)
        assert operator("create", "prod", "--release", "v1").code == DONE
        yield operator


def run(operator, *args):
    """How one run ended, and its calls."""
    before = len(operator.region.calls)
    ran = operator(*args)
    assert ran.code == DONE, ran
    return ran, [call for call in operator.region.calls[before:] if call["key_id"] == operator.env["AWS_ACCESS_KEY_ID"]]


def called(operator, *args) -> list[dict]:
    return run(operator, *args)[1]


def documented(operator, verb: str) -> set[str]:
    """What its help says that it needs permission for. A name without a service is of the service before it; a policy has
    names of its own."""
    help_text = " ".join(operator(verb, "--help").stdout.split())
    if policies := re.search(r"Needs the permissions of the policies (.+?) of ingot-account\.", help_text):
        return allowed(*re.findall(r"[A-Z]\w+", policies[1]))
    said = re.search(r"Needs permission for (.+?)\.(?: |$)", help_text)
    assert said, help_text
    found, service = set(), ""
    for named, operation in re.findall(r"(?:\b([a-z0-9]+):)?\b([A-Z][a-z]+[A-Z]\w+)", said[1]):
        service = named or service
        found.add(f"{service}:{operation}")
    return found


def concerns_others(call: dict) -> bool:
    """Whether a call looks at stacks that no policy of one application allows to look at."""
    name = call["form"].get("StackName", "")
    of_stacks = call["form"].get("Version") == "2010-05-15" and call["operation"] != "ListStacks"
    return of_stacks and not name.startswith("shop-") and name != "ingot-account"


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_a_reader_may_look(shop, command):
    calls = called(shop, *command)
    needed = {action(call) for call in calls} - {None}
    assert needed and needed - allowed("Reader") == set()
    assert [call for call in calls if concerns_others(call)] == []


@pytest.mark.parametrize("command", [one for one in LOOKING if one != ("releases",)], ids=" ".join)
def test_what_a_verb_asks_for_is_in_its_help(shop, command):
    assert {action(call) for call in called(shop, *command)} - {None} - documented(shop, command[0]) == set()


def keys(printed) -> set[str]:
    """What a program finds at the top, and in what is listed there."""
    below = {key for one in printed.values() if isinstance(one, list) for item in one if isinstance(item, dict) for key in item}
    return set(printed) | below


def told(verb: str) -> str:
    """What the section of a verb says, with the pages and the record that it leads to."""
    pages = ROOT / "docs" / "fleet"
    page = (pages / "verbs.md").read_text()
    section = {name: page.split(f"\n## {name}\n")[1].split("\n## ")[0] for name in (verb, "create")}
    return "".join(section.values()) + "".join((pages / f"{name}.md").read_text() for name in ("logs", "releases"))


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_json_is_documented(shop, command):
    assert undocumented(command[0], shop(*command, "--json").json) == set()


def undocumented(verb: str, printed) -> set[str]:
    # Which form this is; whose attempt it was. Of events, CloudFormation's own words.
    passed_over = {"version", "schema", "attempt", "resource", "status", "reason", "token"}
    return {key for key in keys(printed) - passed_over if f"`{key}`" not in told(verb)}


@pytest.mark.parametrize("command", CHANGING, ids=" ".join)
def test_a_deployer_may_deploy(shop, command):
    ran, calls = run(shop, *command, "--json")
    assert undocumented(command[0], ran.json) == set()
    policies = ("Reader", "Deployer", "BreakGlass") if command[0] == "terminate" else ("Reader", "Deployer")
    needed = {action(call) for call in calls} - {None}
    assert needed - allowed(*policies) == set()
    assert [call for call in calls if concerns_others(call)] == []
    assert needed - documented(shop, command[0]) == set()
