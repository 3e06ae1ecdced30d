"""What `ingot-fleet edge` looks at before it creates or changes an edge: its subnets, its certificate, quotas. What it calls.

Instances are scripted, and all times of AWS shortened: those of a stand-in.
"""

import os

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, USAGE
from harness.aws.proxy import REGION
from harness.region import Region
from harness.region.actions import action, allowed
from harness.region.edged import STACK, Edged
from harness.region.operated import witnesses
from harness.region.small import FAST
from harness.region.verbs import needs_binary
from test_region_ground import BALANCERS, TARGET_GROUPS, imported, listens
from test_region_rights import documented, run
from test_region_room import SECURITY_GROUPS, STACKS

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

GONE = f"arn:aws:acm:{REGION}:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
ELSEWHERE = GONE.replace(REGION, "us-east-1")
OF_ANOTHER = GONE.replace("123456789012", "210987654321")

# What is said of each quota, where there is room for one less.
SAID = [
    (STACKS, "the edge main needs more stacks than", "the edge main needs 1 more", "delete a stack that nothing uses"),
    (BALANCERS, "more load balancers than", '"Application Load Balancers per Region" is 0', "remove the edge from `edges:` in fleet.yaml"),
    (TARGET_GROUPS, "more target groups than", "the edge main needs 2 more", "remove the edge from `edges:` in fleet.yaml"),
    (SECURITY_GROUPS, "more security groups than", "the edge main needs 1 more", "delete security groups that nothing uses"),
]


@pytest.fixture
def region():
    needs_binary()
    with Region(witnesses(), pace=FAST) as region:
        yield region


@pytest.fixture
def operator(tmp_path, region):
    """Of an edge that is not there yet, and that there is just room for."""
    operator = Edged(tmp_path, region, count=1)
    stacks = region.client("cloudformation").list_stacks()["StackSummaries"]
    there = len([one for one in stacks if one["StackStatus"] != "DELETE_COMPLETE"])
    groups = len(region.client("ec2").describe_security_groups()["SecurityGroups"])
    region.engine.quotas |= {STACKS: there + 1, SECURITY_GROUPS: groups + 1, BALANCERS: 1, TARGET_GROUPS: 2}
    return operator


def orders(region) -> list[str]:
    return [call["operation"] for call in region.calls if call.get("operation") in ("CreateStack", "UpdateStack", "DeleteStack")]


def refused(operator, *said: str) -> None:
    before = orders(operator.region)
    result = operator("edge", "main", "--yes")
    assert result.code == BAD_DOCUMENT and all(words in result.stderr for words in said), result
    assert orders(operator.region) == before


@pytest.mark.parametrize(("code", "what", "why", "way_out"), SAID)
def test_one_too_many_is_found_before_anything_begins(region, operator, code, what, why, way_out):
    region.engine.quotas[code] -= 1
    refused(operator, what, why, way_out, f"raise the quota {code} in Service Quotas")
    assert orders(region)[1:] == [], "the first one is of the account"
    region.engine.quotas[code] += 1
    fine = operator("edge", "main", "--yes")
    assert fine.code == DONE and "note: " not in fine.stderr, fine
    # Nothing more is needed later.
    operator.describe(stickiness="1h")
    updated = operator("edge", "main", "--yes")
    assert updated.code == DONE and "note: " not in updated.stderr and operator.parameters()["Stickiness"] == "3600", updated


def test_a_certificate_that_cannot_be_taken_is_refused(region, operator):
    waiting = region.client("acm").request_certificate(DomainName="shop.example")["CertificateArn"]
    wrong = {
        GONE: "the certificate of the edge main does not exist",
        waiting: "the certificate of the edge main for shop.example is not issued yet",
        ELSEWHERE: f"the certificate of the edge main is in us-east-1, but the edge is in {REGION}",
        OF_ANOTHER: "belongs to the account 210987654321, but the edge to 123456789012",
    }
    field = "`load_balancer.certificate` in fleet.yaml"
    for arn, said in wrong.items():
        operator.describe(load_balancer={"certificate": arn})
        refused(operator, said, arn, field)
    operator.describe()
    operator.made("edge", "main", "--yes")
    for arn, said in wrong.items():
        operator.describe(load_balancer={"certificate": arn}, protect=True)
        refused(operator, said, arn, field)
    assert not operator.stack.protected, "all of a change, or nothing"
    operator.describe(load_balancer={"certificate": imported(region)})
    fine = operator("edge", "main", "--yes")
    assert fine.code == DONE and "note: " not in fine.stderr, fine
    assert operator("edge", "main", "--json").json["state"] == "unchanged"


def test_protection_ends_whatever_has_become_of_the_certificate(region, operator):
    arn = imported(region)
    operator.describe(load_balancer={"certificate": arn}, protect=True)
    operator.made("edge", "main", "--yes")
    region.client("acm").delete_certificate(CertificateArn=arn)
    operator.describe(load_balancer={"certificate": arn})
    ended = operator("edge", "main", "--yes")
    assert ended.code == DONE and "no longer protected from deletion" in ended.stderr, ended
    operator.describe(load_balancer={"certificate": arn}, stickiness="1h")
    refused(operator, "the certificate of the edge main does not exist")
    assert operator("edge", "main", "--delete", "--yes").code == DONE


def test_tls_comes_and_goes(region, operator):
    """A port has one listener, and an update creates before it deletes."""
    operator.made("edge", "main", "--yes")

    assert listens(region) == {80: ("forward", 3)}
    operator.describe(load_balancer={"certificate": imported(region)}, stickiness="1h")
    operator.made("edge", "main", "--yes")
    assert listens(region) == {80: ("redirect", 0), 443: ("forward", 3)}
    operator.describe()
    operator.made("edge", "main", "--yes")
    assert listens(region) == {80: ("forward", 3)}


def test_protection_is_part_of_what_is_asked(region, operator):
    operator.describe(protect=True)
    operator.made("edge", "main", "--yes")
    operator.describe(stickiness="1h")
    asked = operator("edge", "main")
    assert asked.code == USAGE and "stickiness from 0 to 3600, protection from deletion, off" in asked.stderr, asked
    assert operator.stack.protected and operator.parameters()["Stickiness"] == "0"
    operator.describe()
    asked = operator("edge", "main")
    assert asked.code == USAGE and operator.stack.protected, asked
    assert operator("edge", "main", "--yes", "--json").json["state"] == "updated" and not operator.stack.protected


def test_a_protected_one_whose_creation_failed_has_a_way_out(region, operator):
    operator.describe(protect=True)
    operator.made("edge", "main", "--yes")
    with region.engine.lock:
        operator.stack.tell(None, "UPDATE_IN_PROGRESS")
    busy = operator("edge", "main", "--delete", "--yes")
    assert busy.code == FAILED and f"{STACK} is in UPDATE_IN_PROGRESS" in busy.stderr, busy
    with region.engine.lock:
        operator.stack.tell(None, "ROLLBACK_COMPLETE")
    stuck = operator("edge", "main", "--yes")
    assert stuck.code == FAILED and "`ingot-fleet edge main --delete`" in stuck.stderr, stuck
    kept = operator("edge", "main", "--delete", "--yes")
    hint = f"aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name {STACK}"
    assert kept.code == FAILED and hint in kept.stderr, kept
    region.client("cloudformation").update_termination_protection(EnableTerminationProtection=False, StackName=STACK)
    assert operator("edge", "main", "--delete", "--yes").code == DONE
    operator.made("edge", "main", "--yes")


def test_nobody_joins_one_that_is_not_whole(region, operator):
    operator.made("edge", "main", "--yes")
    again = "run the same command again when that operation has finished"
    operator.release("v1")
    region.engine.quotas |= {STACKS: 100, SECURITY_GROUPS: 100}
    for status, hint in {"CREATE_IN_PROGRESS": again, "DELETE_IN_PROGRESS": again, "ROLLBACK_COMPLETE": "run `ingot-fleet edge main`"}.items():
        with region.engine.lock:
            operator.stack.tell(None, status)
        refused = operator("create", "blue", "--release", "v1")
        assert refused.code == FAILED and f"is in {status}" in refused.stderr and hint in refused.stderr, refused
        assert "CreateStack" not in orders(region)[2:], "of the account and the edge are the first two"
    with region.engine.lock:
        operator.stack.tell(None, "UPDATE_IN_PROGRESS")
    assert operator("create", "blue", "--release", "v1").code == DONE


def moves(operator, before: str, now: str) -> None:
    """Edge and environments have another VPC in fleet.yaml."""
    file = operator.directory / "fleet.yaml"
    file.write_text(file.read_text().replace(before, now))


def test_a_network_that_an_edge_cannot_be_in_is_refused(region, operator):
    ec2 = region.client("ec2")
    one, other = ec2.describe_subnets()["Subnets"][:2]
    elsewhere = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    # It has one from its beginning.
    region.engine.quotas[SECURITY_GROUPS] += 1
    twin = ec2.create_subnet(VpcId=one["VpcId"], CidrBlock="172.31.128.0/24", AvailabilityZone=one["AvailabilityZone"])["Subnet"]["SubnetId"]
    network = {"vpc": one["VpcId"], "subnets": [one["SubnetId"], other["SubnetId"]]}
    moves(operator, one["VpcId"], elsewhere)
    refused(operator, f"is a subnet of {one['VpcId']}, but `network.vpc` of the edge main is {elsewhere}")
    moves(operator, elsewhere, one["VpcId"])
    for wrong, said in [
        ({"subnets": [one["SubnetId"], "subnet-0123456789abcdef0"]}, "`network:` names a subnet that is not in"),
        ({"subnets": [one["SubnetId"], twin]}, f"all subnets in `network.subnets` of the edge main are in {one['AvailabilityZone']}"),
        (
            {"load_balancer_subnets": [one["SubnetId"], other["SubnetId"], twin]},
            f"are both in {one['AvailabilityZone']}, but a load balancer takes only one subnet of each zone",
        ),
    ]:
        operator.describe(network={**network, **wrong})
        refused(operator, said, "fleet.yaml")
    operator.describe()
    operator.made("edge", "main", "--yes")
    # It stays in the VPC of its creation, and its subnets have to be there.
    operator.describe(stickiness="1h")
    moves(operator, one["VpcId"], elsewhere)
    stays = operator("edge", "main", "--yes")
    assert stays.code == DONE and f"network.vpc takes effect only when an edge is created: it stays {one['VpcId']}" in stays.stderr, stays
    far = [ec2.create_subnet(VpcId=elsewhere, CidrBlock=f"10.9.{at}.0/24", AvailabilityZone=f"{REGION}{zone}") for at, zone in enumerate("ab")]
    operator.describe(network={"vpc": elsewhere, "subnets": [subnet["Subnet"]["SubnetId"] for subnet in far]}, stickiness="2h")
    refused(operator, f"is a subnet of {elsewhere}, but the edge main stays in {one['VpcId']}", "create another edge")


@pytest.mark.parametrize(
    ("service", "operation", "said"),
    [
        ("acm", "DescribeCertificate", "the certificate was not checked"),
        ("servicequotas", "GetServiceQuota", "a quota was not checked"),
        ("cloudformation", "ListStacks", "a quota was not checked"),
        ("elasticloadbalancing", "DescribeTargetGroups", "a quota was not checked"),
    ],
)
def test_what_cannot_be_asked_for_is_noted(region, operator, service, operation, said):
    operator.describe(load_balancer={"certificate": imported(region)})
    region.fault("denied", service, operation=operation)
    done = operator("edge", "main", "--yes")
    assert done.code == DONE and f"note: {said}" in done.stderr and f"allow {service}:{operation}" in done.stderr, done


def test_a_deployer_may_have_an_edge_and_its_help_says_what_it_calls(region, operator):
    # One is not changed for this account: AWS's default is asked for then.
    del region.engine.quotas[TARGET_GROUPS]
    operator.describe(load_balancer={"certificate": imported(region)})
    calls = run(operator, "edge", "main", "--yes")[1]
    for protect in (True, False):
        operator.describe(stickiness="1h", protect=protect)
        calls += run(operator, "edge", "main", "--yes")[1]
    needed = {action(call) for call in calls} - {None}
    assert {"acm:DescribeCertificate", "servicequotas:GetAWSDefaultServiceQuota", "cloudformation:UpdateStack"} <= needed
    assert needed - allowed("Reader", "Deployer") == set()
    calls += run(operator, "edge", "main", "--delete", "--yes")[1]
    needed = {action(call) for call in calls} - {None}
    assert needed - allowed("Reader", "Deployer", "BreakGlass") == set()
    # Creating a stack passes its role to CloudFormation, which is no call.
    assert documented(operator, "edge") - needed == {"iam:PassRole", "sts:GetCallerIdentity"}
    assert needed - documented(operator, "edge") == set()
    assert region.stack(STACK).status == "DELETE_COMPLETE"


def test_an_environment_behind_an_edge_needs_no_load_balancer(region, operator):
    """All that there was room for, the edge has."""
    operator.release("v1")
    operator.made("edge", "main", "--yes")
    for code in (STACKS, SECURITY_GROUPS):
        region.engine.quotas[code] += 1
    created = operator("create", "blue", "--release", "v1")
    assert created.code == DONE and "note: " not in created.stderr, created
    region.engine.quotas[STACKS] += 1
    more = operator("create", "green", "--release", "v1")
    assert more.code == BAD_DOCUMENT and "green needs more security groups than" in more.stderr and "needs 1 more" in more.stderr, more
