"""Environments and the account as stacks on moto: created, updated and deleted, and what user data says to ingot.

moto ignores what `harness.aws.environments` lists; that is held by the rules in test_fleet_templates.py.
"""

import re
import subprocess

import boto3
import pytest
import yaml
from harness.aws.environments import DOCUMENT, RELEASE, environments
from harness.templates import ROOT, Chosen, resources, several, statements, template

EXAMPLES = ROOT / "tests" / "documents" / "fleet"
EXAMPLE = {"web": "web.yaml", "worker": "jobs.yaml"}

# What the network of the test has.
THERE = ""

SINGLE = {"Mode": "single_instance", "Capacity": "1"}
NEW = {"DatabaseClass": "db.t4g.micro", "CacheNode": "cache.t4g.small"}
RESTORED = {"DatabaseClass": "db.t4g.micro", "DatabaseSnapshot": "shop-golden", "DatabaseEngine": "mysql"}
SECRETS = {
    "SecretArns": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/shop/*",
    "ParameterArns": "arn:aws:ssm:eu-central-1:123456789012:parameter/prod/shop/*",
    "KeyArns": "arn:aws:kms:eu-central-1:123456789012:key/0a1b",
}
MORE = {
    "WarmPool": "2",
    "Policy": "immutable",
    "FirstSchedule": "0 22 * * *",
    "SecondSchedule": "0 6 * * *",
    "Refresh": "cron(0 3 ? * TUE *)",
    "AlarmEmail": "ops@example.com",
    "ExtraSecurityGroups": THERE,
    "CacheNode": "cache.t4g.small",
    "CacheReplicas": "1",
}

CASES = {
    "web": {"web": {}},
    "web with data": {"web": NEW | SECRETS},
    "web with everything": {"web": MORE | {"RequestsPerTarget": "1000", "LoadBalancerSubnets": THERE}},
    "single web": {"web": SINGLE},
    "single web with data": {"web": SINGLE | NEW},
    "single web, restored": {"web": SINGLE | RESTORED},
    "worker": {"worker": {}},
    "worker with data": {"worker": NEW | SECRETS},
    "worker with everything": {"worker": MORE | {"Fifo": "true", "MinSize": "0", "CpuPercent": "60"}},
    "single worker, restored": {"worker": SINGLE | RESTORED},
}


# What a key of a document has ingot call: docs/reference/iam.md.
CALLS = {
    "cloudformation": ["cloudformation:SignalResource"],
    "lifecycle_hook": [
        "autoscaling:CompleteLifecycleAction",
        "autoscaling:DescribeLifecycleHooks",
        "autoscaling:RecordLifecycleActionHeartbeat",
    ],
    "targets": ["elasticloadbalancing:DescribeTargetHealth"],
    "claims": ["s3:GetObject", "s3:ListBucket", "s3:PutObject"],
    "include": ["s3:GetObject"],
    "evidence": ["s3:PutObject"],
    "secrets_manager": ["secretsmanager:GetSecretValue"],
    "databases": ["rds:DescribeDBInstances"],
    "elastic_ip": ["ec2:AssociateAddress", "ec2:DescribeAddresses"],
    "set_instance_health": ["autoscaling:SetInstanceHealth"],
    "queue": [
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:GetQueueUrl",
        "sqs:ReceiveMessage",
    ],
    "metrics": ["cloudwatch:PutMetricData"],
}


@pytest.fixture
def stacks():
    """An account with a network and with a snapshot of a database."""
    with environments() as stacks:
        subnets, vpc = stacks.network["Subnets"], stacks.network["Vpc"]
        group = boto3.client("ec2").create_security_group(GroupName="extra", Description="extra", VpcId=vpc)
        stacks.network |= {"LoadBalancerSubnets": subnets, "ExtraSecurityGroups": group["GroupId"]}
        rds = boto3.client("rds")
        rds.create_db_instance(
            DBInstanceIdentifier="golden", Engine="mysql", DBInstanceClass="db.t4g.micro", AllocatedStorage=20
        )
        rds.create_db_snapshot(DBInstanceIdentifier="golden", DBSnapshotIdentifier="shop-golden")
        yield stacks


@pytest.mark.parametrize(
    ("name", "given"), [next(iter(case.items())) for case in CASES.values()], ids=list(CASES)
)
def test_environments_come_change_and_go(stacks, ingot, tmp_path, name, given):
    given = {key: stacks.network[key] if value == THERE else value for key, value in given.items()}
    stacks.create(name, **given)
    assert stacks.status() == "CREATE_COMPLETE"
    chosen = Chosen(template(name), **stacks.parameters(name, **given))
    expected = {one for one in chosen.template["Resources"] if chosen.is_there(one)}
    assert set(stacks.resources()) == expected

    text = stacks.user_data()
    values = yaml.safe_load(text)["values"]
    assert (values["release"], values["release_sha256"]) == ("v42", RELEASE)
    assert ("database" in values, "cache" in values) == ("DatabaseClass" in given, "CacheNode" in given)
    assert check(ingot, tmp_path, text) == ""

    # moto sees a parameter that a resource refers to, and overlooks those within a text.
    deployment = {"Release": "v43", "Deployment": "2", "InstanceType": "m7g.xlarge"}
    stacks.update(name, **given | deployment)
    assert stacks.status() == "UPDATE_COMPLETE"
    assert yaml.safe_load(stacks.user_data())["values"]["release"] == "v43"
    assert stacks.resources().keys() == expected
    stacks.delete()
    with pytest.raises(stacks.cloudformation.exceptions.ClientError, match="does not exist"):
        stacks.status()


@pytest.mark.parametrize("mode", [{}, SINGLE], ids=["several", "single"])
@pytest.mark.parametrize("name", ["web", "worker"])
def test_the_examples_fit_what_the_templates_give(stacks, ingot, tmp_path, name, mode):
    stacks.create(name, **NEW, **mode)
    text = stacks.user_data()
    key = f"shop/environments/prod/documents/{DOCUMENT}.yaml"
    include = f'include:\n  - s3: "s3://shop-releases/{key}"\n    sha256: "{DOCUMENT}"\n'
    assert include in text
    # The document itself in place of its address, so that nothing is left open.
    assert check(ingot, tmp_path, text.replace(include, ""), EXAMPLES / EXAMPLE[name]) == ""
    given = {**NEW, **mode, **SECRETS}
    needed = calls(yaml.safe_load(text)) | calls(yaml.safe_load((EXAMPLES / EXAMPLE[name]).read_text()))
    assert needed - may(Chosen(template(name), **stacks.parameters(name, **given))) == set()


def calls(document) -> set[str]:
    if isinstance(document, list):
        return {call for one in document for call in calls(one)}
    if not isinstance(document, dict):
        return set()
    own = {call for key in document for call in CALLS.get(key, [])}
    return own.union(*(calls(one) for one in document.values()))


def may(chosen: Chosen) -> set[str]:
    """What the role of the instances is allowed, by the policies that are there."""
    policies = resources(chosen.template, "AWS::IAM::Role", "AWS::IAM::RolePolicy")
    there = [policy for name, policy in policies.items() if chosen.is_there(name)]
    return {action for policy in there for one in statements(policy) for action in several(one["Action"])}


def check(ingot, tmp_path, user_data: str, *layers) -> str:
    """What `ingot check` finds in user data after these layers, without what it has not read."""
    (tmp_path / "user-data").write_text(user_data)
    done = subprocess.run(
        [ingot, "check", *layers, tmp_path / "user-data"], capture_output=True, text=True, check=False
    )
    notes = [line for line in done.stderr.splitlines() if not line.startswith("note: not read: s3://shop-releases/")]
    return "\n".join(notes) if done.returncode == 0 else done.stdout + done.stderr


def test_user_data_tells_everybody_who_waits(stacks):
    stacks.create("web")
    document = yaml.safe_load(stacks.user_data())
    target = stacks.outputs()["TargetGroup"]
    assert document["signals"]["stack"] == {"cloudformation": {}, "targets": [target]}
    assert document["signals"]["hook"] == {"lifecycle_hook": {"name": "ready"}}
    assert document["signals"]["evidence"] == {"s3": "s3://shop-evidence/shop/prod/"}
    assert document["drains"]["leave"] == {
        "lifecycle_hook": {"name": "leaving"},
        "targets": [target],
        "grace": "2m30s",
    }
    assert document["claims"] == "s3://shop-releases/shop/environments/prod/claims/"


def test_a_single_instance_moves_the_address(stacks):
    stacks.create("web", **SINGLE)
    (address,) = boto3.client("ec2").describe_addresses()["Addresses"]
    document = yaml.safe_load(stacks.user_data())
    assert document["addresses"] == {"public": {"elastic_ip": address["AllocationId"]}}
    assert "targets" not in document["signals"]["stack"]
    group = stacks.group()
    assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == (1, 2, 1)
    assert group["TargetGroupARNs"] == []


def test_environments_join_an_edge_by_its_exports(stacks):
    """Updates of an edge are those of tests/region: moto changes no listener of a template with weights."""
    stacks.create("edge", "shop-edge-main")
    assert stacks.status("shop-edge-main") == "CREATE_COMPLETE"
    edge, elb = stacks.outputs("shop-edge-main"), boto3.client("elbv2")
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    (listener,) = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]

    (action,) = listener["DefaultActions"]
    weights = {one["TargetGroupArn"]: int(one["Weight"]) for one in action["ForwardConfig"]["TargetGroups"]}
    assert weights == {edge["TargetsA"]: 100, edge["TargetsB"]: 0}
    rules = elb.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
    words = {rule["Conditions"][0]["HttpHeaderConfig"]["Values"][0] for rule in rules if not rule["IsDefault"]}
    assert words == {"a", "b", "name"}

    stacks.create("web", Slot="main-b", RequestsPerTarget="1000")
    document = yaml.safe_load(stacks.user_data())
    assert document["signals"]["stack"]["targets"] == document["drains"]["leave"]["targets"] == [edge["TargetsB"]]
    assert stacks.group()["TargetGroupARNs"] == [edge["TargetsB"]]
    made = stacks.resources()
    assert not made.keys() & {"Balancer", "Targets", "Http", "Https", "BalancerSecurityGroup", "Errors", "Unhealthy"}
    assert {"FromBalancer", "ByRequests"} <= made.keys()
    tracking = stacks.made["ByRequests"]["TargetTrackingConfiguration"]["PredefinedMetricSpecification"]
    assert tracking["ResourceLabel"] == edge["LabelB"]
    assert len(elb.describe_load_balancers()["LoadBalancers"]) == 1


def test_the_balancer_serves_tls_with_a_certificate(stacks):
    certificate = boto3.client("acm").request_certificate(DomainName="shop.example.com")["CertificateArn"]
    stacks.create("web", Certificate=certificate)
    elb = boto3.client("elbv2")
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    listeners = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert {(one["Port"], one["Protocol"], one["DefaultActions"][0]["Type"]) for one in listeners} == {
        (443, "HTTPS", "forward"),
        (80, "HTTP", "redirect"),
    }


def test_several_types_and_spot_instances(stacks):
    stacks.create("web", SecondInstanceType="m7i.large", OnDemandPercent="50")
    mixed = stacks.group()["MixedInstancesPolicy"]
    assert [one["InstanceType"] for one in mixed["LaunchTemplate"]["Overrides"]] == ["m7g.large", "m7i.large"]
    assert mixed["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 50


def test_a_prefix_is_before_everything_in_the_releases_bucket(stacks):
    stacks.create("web", ReleasesPrefix="team/")
    document = yaml.safe_load(stacks.user_data())
    places = [document["include"][0]["s3"], document["claims"], document["values"]["releases"]]
    assert all(place.startswith("s3://shop-releases/team/shop/") for place in places), places


def test_messages_go_to_the_dead_letter_queue(stacks):
    stacks.create("worker", Fifo="true", Deliveries="3")
    outputs = stacks.outputs()
    assert outputs["Queue"].endswith(".fifo") and outputs["DeadLetters"].endswith(".fifo")
    found = boto3.client("sqs").get_queue_attributes(QueueUrl=outputs["Queue"], AttributeNames=["RedrivePolicy"])
    assert re.search(r'"maxReceiveCount": ?"?3', found["Attributes"]["RedrivePolicy"])
    assert yaml.safe_load(stacks.user_data())["values"]["queue"] == outputs["Queue"]


def test_a_worker_starts_from_none(stacks):
    """A multiple of no instance is none: another policy launches the first."""
    stacks.create("worker", MinSize="0")
    tracking = stacks.made["ByMessages"]["TargetTrackingConfiguration"]
    (each,) = [one for one in tracking["CustomizedMetricSpecification"]["Metrics"] if "Expression" in one]
    assert each["Expression"] == "FILL(visible, 0) / IF(instances > 1, instances, 1)"
    # More may be there by the time that it is asked for again.
    assert (stacks.made["First"]["AdjustmentType"], stacks.made["NobodyTakes"]["Threshold"]) == ("ChangeInCapacity", 0)


@pytest.mark.parametrize(
    ("given", "wakes"),
    [
        ({"MinSize": "1"}, False),
        ({"MinSize": "0"}, True),
        ({"MinSize": "0", "Mode": "single_instance"}, False),
        ({"FirstSchedule": "0 22 * * *", "FirstScheduleMinSize": "0"}, True),
        ({"SecondSchedule": "0 22 * * *", "SecondScheduleMinSize": "0"}, True),
        ({"FirstSchedule": "0 22 * * *", "FirstScheduleMinSize": "1"}, False),
        ({"FirstScheduleMinSize": "0"}, False),
    ],
)
def test_workers_that_may_be_none_are_woken(given, wakes):
    chosen = Chosen(template("worker"), **given)
    assert chosen.is_there("First") == chosen.is_there("NobodyTakes") == wakes


def test_the_account_comes_and_goes(stacks):
    stacks.create("account", "ingot-account", FurtherActions="dynamodb:GetItem")
    assert stacks.status("ingot-account") == "CREATE_COMPLETE"
    assert set(stacks.resources("ingot-account")) == set(template("account")["Resources"])
    assert {one["Name"] for one in boto3.client("s3").list_buckets()["Buckets"]} == {"shop-releases", "shop-evidence"}
    documents = boto3.client("ssm").list_documents(Filters=[{"Key": "Owner", "Values": ["Self"]}])["DocumentIdentifiers"]
    outputs = stacks.outputs("ingot-account")
    assert {one["Name"] for one in documents} == {outputs["BootCommand"], outputs["LogsCommand"]} == {"ingot-boot", "ingot-logs"}
    stacks.delete("ingot-account")
