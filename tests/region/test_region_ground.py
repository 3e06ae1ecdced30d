"""What is looked at before anything begins, besides image and network: quotas, certificates, rights; and where calls go.
Scripted instances; all times are those of a stand-in."""

import os

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED
from harness.aws.proxy import REGION
from harness.region import Region
from harness.region.small import FAST, boots, releases
from harness.tls import Authority
from test_region_verbs import Operator, needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

STANDARD, ADDRESSES, BALANCERS = "L-1216C47A", "L-0263D0A3", "L-53DA6B97"
TARGET_GROUPS, GROUPS = "L-B22855CB", "L-CDE20ADC"


@pytest.fixture
def region():
    needs_binary()
    with Region(boots(80), pace=FAST) as region:
        yield region


@pytest.fixture
def operator(tmp_path, region):
    """An environment of two m7i.large, of two vCPUs each."""
    operator = Operator(tmp_path, region)
    assert operator("create", "prod", "--release", "v1").code == DONE
    return operator


# Quotas.


def test_a_deployment_that_exceeds_a_quota_is_refused(region, operator):
    region.client("ec2").run_instances(ImageId="ami-12c6146b", InstanceType="m7i.large", MinCount=3, MaxCount=3)
    region.engine.quotas[STANDARD] = 13
    immutable = ("deploy", "prod", "--release", "v2", "--policy", "immutable")
    for command in (immutable, ("plan", "prod", "--release", "v2", "--policy", "immutable")):
        refused = operator(*command)
        assert refused.code == BAD_DOCUMENT and "prod does not fit into the account's quota of vCPUs" in refused.stderr, refused
        assert "instances\" is 13 vCPUs in eu-central-1; 6 are used by others, 4 by prod now, and prod needs 8 at once" in refused.stderr
        assert "deploy with `--policy rolling`" in refused.stderr and f"raise the quota {STANDARD}" in refused.stderr, refused
    assert operator.states() == ["good"]
    assert operator("deploy", "prod", "--release", "v2", "--policy", "rolling").code == DONE
    region.engine.quotas[STANDARD] = 14
    assert operator("deploy", "prod", "--release", "v1", "--policy", "immutable").code == DONE


def test_an_immutable_deployment_needs_room_for_another_group(region, operator):
    region.engine.quotas[GROUPS] = 1
    immutable = ("deploy", "prod", "--release", "v2", "--policy", "immutable")
    for command in (immutable, ("plan", "prod", "--release", "v2", "--policy", "immutable")):
        refused = operator(*command)
        assert refused.code == BAD_DOCUMENT and 'the quota "Auto Scaling groups per region" is 1' in refused.stderr, refused
        assert "deploy with `--policy rolling`, which keeps the group" in refused.stderr, refused
    region.fault("denied", "autoscaling", operation="DescribeAccountLimits")
    noted = operator("plan", "prod", "--release", "v2", "--policy", "immutable")
    assert noted.code == DONE and "allow autoscaling:DescribeAccountLimits" in noted.stderr, noted
    region.recover()
    assert operator("deploy", "prod", "--release", "v2", "--policy", "rolling").code == DONE
    region.engine.quotas[GROUPS] = 2
    assert operator("deploy", "prod", "--release", "v1", "--policy", "immutable").code == DONE


def test_a_quota_that_was_never_changed_is_the_default(region, operator):
    del region.engine.quotas[STANDARD]
    refused = operator("deploy", "prod", "--release", "v2", "--policy", "immutable")
    assert refused.code == BAD_DOCUMENT and "is 5 vCPUs" in refused.stderr, refused


@pytest.mark.parametrize(
    ("service", "operation"),
    [("servicequotas", "GetServiceQuota"), ("ec2", "DescribeInstances"), ("ec2", "DescribeInstanceTypes")],
)
def test_what_cannot_be_asked_for_is_noted(region, operator, service, operation):
    region.engine.quotas[STANDARD] = 0
    region.fault("denied", service, operation=operation)
    done = operator("plan", "prod", "--release", "v2", "--policy", "immutable")
    assert done.code == DONE and "note: " in done.stderr and f":{operation}" in done.stderr, done


def test_what_a_creation_needs_once_is_counted(tmp_path, region):
    operator = Operator(tmp_path, region)
    plain = (tmp_path / "fleet.yaml").read_text()
    for quota, value, said in [
        (STANDARD, 3, "0 are used by others, and prod needs 4 at once, as m7i.large of 2 each"),
        (BALANCERS, 0, 'the quota "Application Load Balancers per Region" is 0 in eu-central-1, and there are 0'),
        (TARGET_GROUPS, 0, 'the quota "Target Groups per Region" is 0 in eu-central-1, and there are 0'),
    ]:
        before = dict(region.engine.quotas)
        region.engine.quotas[quota] = value
        refused = operator("create", "prod", "--release", "v1")
        assert refused.code == BAD_DOCUMENT and said in refused.stderr and quota in refused.stderr, refused
        assert "in fleet.yaml" in refused.stderr, refused
        region.engine.quotas = before
    region.engine.quotas[GROUPS] = 0
    refused = operator("create", "prod", "--release", "v1")
    assert refused.code == BAD_DOCUMENT and "prod needs one more Auto Scaling group than the account may have" in refused.stderr, refused
    assert f"raise the quota {GROUPS}" in refused.stderr and operator.states() == [], refused
    del region.engine.quotas[GROUPS]
    for _ in range(5):
        region.client("ec2").allocate_address(Domain="vpc")
    single = plain.replace("    tier: web\n", "    tier: web\n    mode: single_instance\n").replace(", min: 2, max: 6", "")
    operator.write("fleet.yaml", single.replace("policy: rolling, batch: 1", "policy: rolling"))
    refused = operator("create", "prod", "--release", "v1")
    assert refused.code == BAD_DOCUMENT and "prod needs one more elastic IP address than the account may have" in refused.stderr, refused
    assert f"raise the quota {ADDRESSES}" in refused.stderr and operator.states() == [], refused
    operator.write("fleet.yaml", plain.replace("m7i.large", "m99.large"))
    unknown = operator("create", "prod", "--release", "v1")
    assert unknown.code == BAD_DOCUMENT and "there is no instance type m99.large in eu-central-1" in unknown.stderr, unknown
    assert "`instances.types`" in unknown.stderr, unknown


# Certificates.


def imported(region) -> str:
    certificate, key = Authority().issue("shop.example")
    return region.client("acm").import_certificate(Certificate=certificate, PrivateKey=key)["CertificateArn"]


def test_a_certificate_that_cannot_be_taken_is_refused(tmp_path, region):
    operator = Operator(tmp_path, region)
    plain = (tmp_path / "fleet.yaml").read_text()
    waiting = region.client("acm").request_certificate(DomainName="shop.example")["CertificateArn"]
    gone = f"arn:aws:acm:{REGION}:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
    for arn, said in [
        (gone, "the certificate of prod does not exist"),
        (waiting, "the certificate of prod for shop.example is not issued yet"),
        (gone.replace("123456789012", "210987654321"), "belongs to the account 210987654321, but the environment to 123456789012"),
    ]:
        operator.write("fleet.yaml", f"{plain}    load_balancer: {{ certificate: '{arn}' }}\n")
        for verb in ("create", "plan"):
            refused = operator(verb, "prod", "--release", "v1")
            assert refused.code == BAD_DOCUMENT and said in refused.stderr, refused
            assert "`load_balancer.certificate` in fleet.yaml" in refused.stderr, refused
    assert operator.states() == []
    operator.write("fleet.yaml", f"{plain}    load_balancer: {{ certificate: '{imported(region)}' }}\n")
    fine = operator("plan", "prod", "--release", "v1")
    assert fine.code == DONE and "note: " not in fine.stderr, fine
    operator.write("fleet.yaml", f"{plain}    load_balancer: {{ certificate: '{gone}' }}\n")
    region.fault("denied", "acm", operation="DescribeCertificate")
    noted = operator("plan", "prod", "--release", "v1")
    assert noted.code == DONE and "note: the certificate was not checked" in noted.stderr, noted
    assert "allow acm:DescribeCertificate" in noted.stderr, noted


def listens(region) -> dict[int, tuple[str, int]]:
    """By port, what the listener does, and how many rules it has."""
    elb = region.client("elbv2")
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    rules = {one["Port"]: elb.describe_rules(ListenerArn=one["ListenerArn"])["Rules"] for one in listeners}
    count = {port: len([rule for rule in rules[port] if not rule["IsDefault"]]) for port in rules}
    return {one["Port"]: (one["DefaultActions"][0]["Type"], count[one["Port"]]) for one in listeners}


def test_tls_comes_and_goes(tmp_path, region, operator):
    plain = (tmp_path / "fleet.yaml").read_text()
    assert listens(region) == {80: ("forward", 0)}
    operator.write("fleet.yaml", f"{plain}    load_balancer: {{ certificate: '{imported(region)}' }}\n")
    deployed = operator("deploy", "prod", "--release", "v1")
    assert deployed.code == DONE, (deployed, region.told())
    assert listens(region) == {80: ("redirect", 0), 443: ("forward", 0)}
    operator.write("fleet.yaml", plain)
    deployed = operator("deploy", "prod", "--release", "v1")
    assert deployed.code == DONE, (deployed, region.told())
    assert listens(region) == {80: ("forward", 0)}


def test_a_certificate_of_another_region_changes_nothing(tmp_path, region, operator):
    plain, before = (tmp_path / "fleet.yaml").read_text(), operator.keys()
    arn = "arn:aws:acm:us-east-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
    operator.write("fleet.yaml", f"{plain}    load_balancer: {{ certificate: '{arn}' }}\n")
    called = len(region.calls)
    for command in (("plan", "prod"), ("deploy", "prod", "--release", "v2"), ("set", "prod", "COLOR=red")):
        refused = operator(*command)
        assert refused.code == BAD_DOCUMENT and arn in refused.stderr, refused
        assert "us-east-1" in refused.stderr and f"`load_balancer.certificate` in fleet.yaml to a certificate of ACM in {REGION}" in refused.stderr, refused
    assert "COLOR" not in (tmp_path / "fleet.yaml").read_text()
    assert operator.keys() == before and operator.states() == ["good"]
    writes = [call["operation"] for call in region.calls[called:] if call.get("operation") in ("UpdateStack", "CreateChangeSet", "PutObject")]
    assert writes == [] and releases(region) == ["v1", "v1"]


# Rights.


@pytest.mark.parametrize("action", ["cloudformation:UpdateStack", "iam:PassRole"])
def test_a_role_that_is_too_narrow_is_told_before_anything_begins(region, operator, action):
    region.engine.rights = {action: "implicitDeny"}
    refused = operator("deploy", "prod", "--release", "v2")
    assert refused.code == FAILED and f"is not allowed to perform {action} on arn:aws:" in refused.stderr, refused
    assert f"hint: allow {action} on arn:aws:" in refused.stderr and operator.states() == ["good"], refused
    assert operator("plan", "prod", "--release", "v2").code == DONE, "it writes nothing"
    # A rollback must not need more of AWS than it takes.
    region.engine.rights = {}
    assert operator("deploy", "prod", "--release", "v2").code == DONE
    region.engine.rights = {action: "explicitDeny"}
    assert operator("rollback", "prod").code == DONE


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ({"s3:PutObject": "implicitDeny"}, "only if the policy of the bucket allows it"),
        ({"cloudformation:UpdateStack": "implicitDeny without aws:SourceIp"}, "depends on aws:SourceIp, which is not known here"),
    ],
)
def test_what_others_decide_is_noted(region, operator, rights, said):
    region.engine.rights = rights
    done = operator("deploy", "prod", "--release", "v2")
    assert done.code == DONE and "note: " in done.stderr and said in done.stderr, done


def test_rights_that_cannot_be_asked_for_are_noted(region, operator):
    region.fault("denied", "iam", operation="SimulatePrincipalPolicy")
    done = operator("deploy", "prod", "--release", "v2")
    assert done.code == DONE and "note: your permissions were not checked" in done.stderr, done
    assert "allow iam:SimulatePrincipalPolicy" in done.stderr, done


def test_a_session_is_known_by_its_role(region, operator):
    iam = region.client("iam")
    tags = [{"Key": "ingot-application", "Value": "shop"}]
    role = iam.create_role(RoleName="ci", Path="/pipelines/", AssumeRolePolicyDocument="{}", Tags=tags)["Role"]["Arn"]
    session = region.client("sts").assume_role(RoleArn=role, RoleSessionName="run-7")["Credentials"]
    keys = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }
    before = len(region.calls)
    done = operator("deploy", "prod", "--release", "v2", **keys)
    assert done.code == DONE and "note: " not in done.stderr, done
    asked = [call["form"] for call in region.calls[before:] if call["operation"] == "SimulatePrincipalPolicy"]
    assert {one["PolicySourceArn"] for one in asked} == {"arn:aws:iam::123456789012:role/pipelines/ci"}
    assert {one["ActionNames.member.1"] for one in asked} == {"cloudformation:UpdateStack", "iam:PassRole", "s3:PutObject"}
    for one in asked:
        given = {one[name]: one[name.replace("KeyName", "KeyValues.member.1")] for name in one if name.endswith(".ContextKeyName")}
        assert given["aws:PrincipalTag/ingot-application"] == "shop" and given["aws:RequestedRegion"] == REGION, given


# Where calls go.


def test_endpoints_of_a_profile_are_those_of_all_calls(tmp_path, region, operator):
    # As the SDK has them, with hyphens where the AWS CLI has underscores.
    services = ["acm", "auto-scaling", "cloudformation", "cloudwatch", "ec2", "elastic-load-balancing-v2", "iam", "s3"]
    told = "".join(f"{name} =\n  endpoint_url = {region.url}\n" for name in [*services, "service-quotas", "ssm", "sts"])
    operator.write("home/.aws/config", f"[profile region]\nregion = {REGION}\nservices = region\n[services region]\n{told}")
    del operator.env["AWS_ENDPOINT_URL"]
    before = len(region.calls)
    done = operator("deploy", "prod", "--release", "v2", "--policy", "immutable", AWS_PROFILE="region")
    assert done.code == DONE and "note: " not in done.stderr and releases(region) == ["v2", "v2"], done
    called = {call["operation"] for call in region.calls[before:]}
    assert {"DescribeImages", "GetServiceQuota", "SimulatePrincipalPolicy"} <= called


def test_what_answers_in_place_of_aws_is_shown(region, operator):
    page = {"status": 200, "body": "<!DOCTYPE html><html><head><title>Guest network of Acme</title></head></html>"}
    region.fault("status", "ec2", operation="DescribeImages", **page)
    told = operator("deploy", "prod", "--release", "v2")
    assert told.code == 75 and "status 200, text/plain, " in told.stderr and "`<!DOCTYPE html><html><head><title>Guest" in told.stderr, told
    region.recover()
    region.fault("status", "cloudformation", operation="DescribeStacks", **page)
    told = operator("status", "prod")
    assert told.code == 75 and "the response is not a valid AWS response" in told.stderr and "Guest netw" in told.stderr, told
