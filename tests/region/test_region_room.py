"""What a stack makes besides instances and load balancer, and the quotas of that: found before anything begins. Scripted
instances; all times are those of a stand-in."""

import os

import pytest
from harness.agent import BAD_DOCUMENT, DONE
from test_region_verbs import Operator

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

STACKS, SECURITY_GROUPS, OF_AN_INTERFACE, ROLES = "L-0485CB21", "L-E79EC296", "L-2AFB9258", "L-FE177D64"
DATABASES, SUBNET_GROUPS, STORAGE, NODES = "L-7B6409FD", "L-48C6BF61", "L-7ADDB58A", "L-DFE45DF3"
DATA = "    database: { class: db.t4g.micro, storage_gib: 100 }\n    cache: { node: cache.t4g.small, replicas: 1 }\n"

# What is said of each, where there is room for one less.
SAID = [
    (STACKS, "prod needs more stacks than", 'the quota "Stack count" is', "delete a stack that nothing uses"),
    (SECURITY_GROUPS, "more security groups than", "prod needs 4 more", "delete security groups that nothing uses"),
    (ROLES, "more roles than", 'the quota "Roles per account" is', "delete a role that nothing uses"),
    (DATABASES, "more databases than", 'the quota "DB instances" is 0', "leave `database` out of fleet.yaml"),
    (SUBNET_GROUPS, "more DB subnet groups than", 'the quota "DB subnet groups" is 0', "leave `database` out of fleet.yaml"),
    (STORAGE, "more GiB of databases than", "prod needs 100 more", "lower `database.storage_gib` in fleet.yaml"),
    (NODES, "more cache nodes than", "prod needs 2 more", "lower `cache.replicas` in fleet.yaml"),
]
ASKED = [
    ("cloudformation", "ListStacks"),
    ("ec2", "DescribeSecurityGroups"),
    ("iam", "GetAccountSummary"),
    ("rds", "DescribeAccountAttributes"),
    ("elasticache", "DescribeCacheClusters"),
]


@pytest.fixture
def new(tmp_path, region):
    """An environment that is not there yet, with a database and a cache, and all that is there of what it needs."""
    operator = Operator(tmp_path, region)
    operator.write("fleet.yaml", (tmp_path / "fleet.yaml").read_text() + DATA)
    stacks = region.client("cloudformation").list_stacks()["StackSummaries"]
    used = {
        STACKS: len([one for one in stacks if one["StackStatus"] != "DELETE_COMPLETE"]),
        SECURITY_GROUPS: len(region.client("ec2").describe_security_groups()["SecurityGroups"]),
        ROLES: len(region.client("iam").list_roles()["Roles"]),
        **dict.fromkeys((DATABASES, SUBNET_GROUPS, STORAGE, NODES), 0),
    }
    needed = {STACKS: 1, SECURITY_GROUPS: 4, ROLES: 1, DATABASES: 1, SUBNET_GROUPS: 1, STORAGE: 100, NODES: 2}
    region.engine.quotas |= {code: used[code] + more for code, more in needed.items()}
    return operator


@pytest.mark.parametrize(("code", "what", "why", "way_out"), SAID)
def test_one_too_many_is_found_before_anything_begins(region, new, code, what, why, way_out):
    fine = new("plan", "prod", "--release", "v1")
    assert fine.code == DONE and "note: " not in fine.stderr, fine
    region.engine.quotas[code] -= 1
    for verb in ("plan", "create"):
        refused = new(verb, "prod", "--release", "v1")
        assert refused.code == BAD_DOCUMENT and what in refused.stderr and why in refused.stderr, refused
        assert way_out in refused.stderr and f"raise the quota {code} in Service Quotas" in refused.stderr, refused
    assert new.states() == [] and [one for one in region.engine.stacks if one.name == "shop-prod"] == []


@pytest.mark.parametrize(("service", "operation"), ASKED)
def test_what_cannot_be_counted_is_noted(region, new, service, operation):
    region.fault("denied", service, operation=operation)
    noted = new("plan", "prod", "--release", "v1")
    assert noted.code == DONE and f"allow {service}:{operation}" in noted.stderr, noted
    assert "note: a quota was not checked" in noted.stderr, noted


def test_an_interface_has_so_many_security_groups(tmp_path, region):
    operator = Operator(tmp_path, region)
    groups = ", ".join(f"sg-0123456789abcde{number}" for number in range(5))
    named = (tmp_path / "fleet.yaml").read_text().replace("] }\n    document", f"], security_groups: [{groups}] }}\n    document")
    operator.write("fleet.yaml", named)
    for verb in ("plan", "create"):
        refused = operator(verb, "prod", "--release", "v1")
        assert refused.code == BAD_DOCUMENT and "each instance of prod would have 6 security groups, one of them from its stack" in refused.stderr, refused
        assert "list fewer `network.security_groups` in fleet.yaml" in refused.stderr and OF_AN_INTERFACE in refused.stderr, refused
    assert operator.states() == []
    region.engine.quotas[OF_AN_INTERFACE] = 6
    assert operator("plan", "prod", "--release", "v1").code == DONE


def test_a_database_that_is_added_later_is_counted(tmp_path, region):
    operator = Operator(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE
    region.engine.quotas |= {DATABASES: 0, STACKS: 0, ROLES: 0}
    assert operator("plan", "prod", "--release", "v2").code == DONE, "all that it needs is there"
    operator.write("fleet.yaml", (tmp_path / "fleet.yaml").read_text() + DATA)
    for command in (("plan", "prod"), ("deploy", "prod", "--release", "v2")):
        refused = operator(*command)
        assert refused.code == BAD_DOCUMENT and f"raise the quota {DATABASES}" in refused.stderr, refused
    assert operator.states() == ["good"]
