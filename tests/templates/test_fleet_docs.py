"""What docs/fleet and the runbook have people type fits the templates and the policies of the account."""

import re

import botocore.session
import jmespath
import pytest
from harness.templates import ROOT, Chosen, depends_on, several, statements, template

PAGE = (ROOT / "docs" / "fleet" / "templates.md").read_text()
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
COSTS = (ROOT / "docs" / "fleet" / "costs.md").read_text()

# Of a month, as AWS counts.
HOURS = 730

# What commands of the AWS CLI call, where it is not an operation of their name.
CALLS = {
    "s3 ls": ["s3:ListBucket"],
    "s3 cp": ["s3:GetObject"],
    "s3api list-object-versions": ["s3:ListBucketVersions"],
    "s3api get-object": ["s3:GetObject", "s3:GetObjectVersion"],
    "s3api put-object": ["s3:PutObject"],
    "sqs start-message-move-task": [
        "sqs:StartMessageMoveTask",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:SendMessage",
    ],
}
PREFIXES = {"elbv2": "elasticloadbalancing"}


def commands() -> set[tuple[str, str]]:
    return set(re.findall(r"aws ([a-z0-9]+) ([a-z-]+)", RUNBOOK))


def calls(service: str, command: str) -> list[str]:
    if found := CALLS.get(f"{service} {command}"):
        return found
    operations = botocore.session.get_session().get_service_model(service).operation_names
    (operation,) = [one for one in operations if one.lower() == command.replace("-", "")]
    return [f"{PREFIXES.get(service, service)}:{operation}"]


@pytest.mark.parametrize(("service", "command"), sorted(commands() | {("cloudwatch", "get-dashboard")}))
def test_somebody_may_do_what_the_runbook_says(service, command):
    resources = template("account")["Resources"]
    policies = {name: statements(resources[name]) for name in ("Reader", "Deployer", "BreakGlass")}
    may = {action for policy in policies.values() for one in policy for action in several(one["Action"])}
    assert set(calls(service, command)) - may == set()


def overrides() -> list[dict[str, str]]:
    """The parameters of each of the two updates of a deployment."""
    lines = re.findall(r"(?m)^deploy (.*)$", PAGE)
    return [dict(one.split("=", 1) for one in line.split()) for line in lines]


@pytest.mark.parametrize("name", ["web", "worker"])
def test_the_first_update_of_a_deployment_sets_how_and_the_second_what(name):
    how, what = overrides()
    found = template(name)
    tags = found["Resources"]["Group"]["Properties"]["Tags"]
    (policy,) = [tag for tag in tags if tag["Key"] == "ingot:policy"]
    assert how.keys() == depends_on(found, policy) | {"Capacity"}
    assert what.keys() == {"Release", "ReleaseSha256", "Document", "Deployment"}
    assert "`Image`" in PAGE.split("The second may change", 1)[1][:100]


@pytest.mark.parametrize(("running", "capacity"), [(0, 1), (1, 1), (20, 20)])
def test_the_capacity_of_a_deployment_is_one_that_the_templates_take(running, capacity):
    (query,) = re.findall(r"CAPACITY=(?:.|\n)*?--query '(.*)'\)", PAGE)
    assert jmespath.search(query, {"AutoScalingGroups": [{"DesiredCapacity": running}]}) == capacity
    assert "max(1, data.aws_autoscaling_group" in PAGE
    assert template("worker")["Parameters"]["Capacity"]["MinValue"] == 1


def test_parameters_that_the_page_sets_are_there():
    known = template("web")["Parameters"].keys() | template("worker")["Parameters"].keys()
    named = set(re.findall(r"(?:^|[\s`])([A-Z][A-Za-z0-9]+)=", PAGE)) | set(re.findall(r"(?m)^    ([A-Z]\w+) +=", PAGE))
    assert named - known - {"RELEASE", "DOCUMENT", "CAPACITY"} == set()


def prices() -> dict[str, float]:
    rows = re.findall(r"(?m)^\| (.+?)(?:, .*?)? \| ([0-9.]+) \|", COSTS)
    return {name.strip("`"): float(price) for name, price in rows}


def idle(name: str, **given: str) -> float:
    """What an environment costs in a month: its instances and what is around them, without data."""
    chosen, price = Chosen(template(name), **given), prices()
    is_balanced = name == "web" and given.get("Mode") != "single_instance"
    instances = int(chosen.resource("Group")["Properties"]["MinSize"])
    size = int(chosen.parameters["RootVolumeGib"])
    instance = HOURS * price[chosen.parameters["InstanceType"]] + size * price["gp3"] + 7 * price["metric"]
    addresses = {"web": 2 if is_balanced else 1, "worker": 0}[name]
    balancer = HOURS * price["load balancer"] if is_balanced else 0
    polls = instances * HOURS * 3600 / 10 if name == "worker" else 0
    around = addresses * HOURS * price["public IPv4 address"] + balancer + price["dashboard"]
    around += polls / 1e6 * price["million requests to a standard queue"]
    return instances * instance + around + metrics_of_alarms(chosen) * price["metric of an alarm"]


def metrics_of_alarms(chosen: Chosen) -> int:
    """Alarms of the template, and two of each policy that tracks a target."""
    there = [one for name, one in chosen.template["Resources"].items() if chosen.is_there(name)]
    alarms = [one["Properties"] for one in there if one["Type"] == "AWS::CloudWatch::Alarm"]
    tracking = [one.get("Properties", {}).get("TargetTrackingConfiguration") for one in there]
    custom = [one.get("CustomizedMetricSpecification", {}) for one in tracking if one]
    return sum(measured(one) for one in alarms) + 2 * sum(measured(one) for one in custom)


def measured(asked: dict) -> int:
    return sum("MetricStat" in one for one in asked["Metrics"]) if "Metrics" in asked else 1


@pytest.mark.parametrize(
    ("name", "given", "row"),
    [
        ("web", {}, "`web.yaml`, `highly_available`: two"),
        ("web", {"Mode": "single_instance"}, "`web.yaml`, `single_instance`: one"),
        ("web", {"Mode": "single_instance", "InstanceType": "t4g.small"}, "`web.yaml`, `single_instance`, `Inst"),
        ("worker", {}, "`worker.yaml`, `highly_available`: one"),
        ("worker", {"MinSize": "0"}, "`worker.yaml`, `highly_available`, `MinSize=0`"),
        ("worker", {"Mode": "single_instance"}, "`worker.yaml`, `single_instance`: one"),
    ],
)
def test_an_idle_environment_costs_what_the_page_says(name, given, row):
    assert stated(row) == round(idle(name, **given))


def stated(row: str) -> int:
    (found,) = re.findall(rf"(?m)^\| {re.escape(row)}.*\| (?:\+ )?([0-9]+) \|$", COSTS)
    return int(found)


def test_data_costs_what_the_page_says():
    price = prices()
    database = HOURS * price["db.t4g.micro"] + 20 * price["gp3 of RDS"]
    cache = HOURS * price["cache.t4g.small"]
    assert stated("with a database") == round(database + price["secret"])
    assert stated("the same, with `DatabaseMultiAz`") == round(2 * database + price["secret"])
    assert stated("with a cache") == round(cache + price["secret"])
    assert stated("the same, with `CacheReplicas=1`") == round(2 * cache + price["secret"])
    assert stated("with `WarmPool=2`") == round(2 * 16 * price["gp3"])
