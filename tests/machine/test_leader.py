"""What one instance of a fleet does for all: `leader_only` commands and hooks, on three machines with systemd that share a bucket."""

import contextlib

import pytest
from harness.agent import document
from harness.host import container
from harness.host.deployed import BUCKET, LISTEN, Deployed, release_of

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

ORDER = "/srv/order"
# With the time, which is the same for all: they share a kernel.
NOTE = f'echo "$(date +%s%N) {{}} $EB_IS_COMMAND_LEADER" >>{ORDER}'
EXTENSIONS = f"""\
container_commands:
  01_all: {{ command: '{NOTE.format("all")}' }}
  02_migrate: {{ command: 'bin/gate migrate; {NOTE.format("migrate")}', leader_only: true }}
"""
FILES = {
    ".ebextensions/01.config": EXTENSIONS,
    ".platform/hooks/predeploy/01.sh": f"#!/bin/sh\nbin/gate hook\n{NOTE.format('hook')}\n",
}


class Member(Deployed):
    """An instance of a fleet, with an id of its own. All but the first have the AWS of the first."""

    def __init__(self, number: int, **more):
        self.instance = f"i-{number:017x}"
        super().__init__(instance={"id": self.instance}, **more)

    def make_bucket(self) -> None:
        if self.instance.endswith("1"):
            super().make_bucket()


def shop(version: int) -> str:
    return document(
        claims=f"s3://{BUCKET}/shop/environments/prod/claims/",
        values={"application": "shop", "environment": "prod", "release": f"v{version}", "release_sha256": f"9f86d08{version}"},
        bundles={"app": {"s3": f"s3://{BUCKET}/led-{version}.tar.gz", "into": "/opt/shop"}},
        applications={"shop": {"bundle": "bundles.app", "user": "shop", "proxy": {"listen": LISTEN}, "ready": {"http": "/health"}}},
    )


@pytest.fixture(scope="module")
def fleet(ingot):
    with contextlib.ExitStack() as ends:
        members = [ends.enter_context(Member(1))]
        members += [ends.enter_context(Member(number, aws=members[0].aws)) for number in (2, 3)]
        for member in members:
            member.begin()
        for version in (1, 2, 3):
            members[0].upload(f"led-{version}", release_of(version, FILES))
        yield members


@pytest.fixture(autouse=True)
def nothing_noted(fleet):
    for member in fleet:
        if member.running():
            member.must("install", "--mode=666", "/dev/null", ORDER)


def notes(fleet) -> list[tuple[int, int, str, str]]:
    """When, on which machine, what, and whether it was told that it leads; in order."""
    lines = [(line.split(), number) for number, member in enumerate(fleet) if member.running() for line in member.must("cat", ORDER).splitlines()]
    return sorted((int(time), number, what, leads) for (time, what, leads), number in lines)


def ends_well(member: Deployed, boot: str) -> None:
    member.wait_until(f"! systemctl is-active --quiet {boot}", 120)
    assert member.report()["outcome"] == "done", member.told() + member.journal("-u", boot)


def test_of_three_that_boot_at_once_one_leads(fleet):
    boots = [member.begin_deploy(shop(1)) for member in fleet]
    for member, boot in zip(fleet, boots, strict=True):
        ends_well(member, boot)
        assert member.generation() == "1"
    noted = notes(fleet)
    [(migrated, leader)] = [(time, number) for time, number, what, _ in noted if what == "migrate"]
    assert sorted((number, leads) for _, number, what, leads in noted if what == "all") == [(n, str(n == leader).lower()) for n in range(3)]
    assert migrated < min(time for time, _, what, _ in noted if what == "all"), "what is the leader's alone comes first"
    hooks = [(number, leads) for _, number, what, leads in noted if what == "hook"]
    # Of each moment anew, an instance is chosen.
    assert [leads for _, leads in hooks] == ["true", "false", "false"] and {number for number, _ in hooks} == {0, 1, 2}


def waits(member: Deployed) -> bool:
    report = member.report()
    waiting = [step["waiting"] or "" for step in report["steps"]] if report else []
    return any("which holds" in reason for reason in waiting)


@pytest.mark.parametrize("gate", ["migrate", "hook"])
def test_after_the_death_of_the_leader_another_leads_from_the_start(fleet, gate):
    version = {"migrate": 2, "hook": 3}[gate]
    leader, second, third = fleet
    if not leader.running():
        # What the test before has left of it is a machine that was switched off.
        leader.boot()
    for member in fleet:
        # Where it was switched off, one is still closed.
        member.open("migrate")
        member.close(gate)
    leader.begin_deploy(shop(version))
    leader.wait_at(gate)
    boots = [(second, begun_behind_another(second, version, gate))]
    leader.power_cut()
    # What is written now is a minute old for AWS as well, so nobody else may look until then.
    leader.aws.ahead(61)
    second.wait_at(gate)
    leader.aws.ahead(0)
    boots.append((third, begun_behind_another(third, version, gate)))
    for member in (second, third):
        member.open(gate)
    for member, boot in boots:
        ends_well(member, boot)
        assert member.generation() == str(version)
    noted = [(number, what, leads) for _, number, what, leads in notes(fleet)]
    of_gate = [(fleet[number] is second, leads) for number, what, leads in noted if what == gate]
    assert of_gate == ([(True, "true")] if gate == "migrate" else [(True, "true"), (False, "false")]), noted


def begun_behind_another(member: Deployed, version: int, gate: str) -> str:
    """The boot of one that waits for who leads."""
    boot = member.begin_deploy(shop(version))
    member.wait_for(lambda: waits(member), 60, "it to wait for the leader")
    assert member.run("test", "-e", f"/srv/gates/{gate}.reached").code != 0, "it is not its turn"
    return boot
