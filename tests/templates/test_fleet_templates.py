"""The templates of the fleet: linted, and held to the rules of `harness.templates`."""

import json
import re

import pytest
from cfnlint.api import lint_file
from harness.templates import (
    TEMPLATES,
    Chosen,
    account,
    buckets,
    edge,
    engine,
    people,
    protection,
    resources,
    rights,
    runbook,
    template,
)
from harness.templates.protection import KEPT

ENVIRONMENTS = ["web", "worker"]
ALL = [*ENVIRONMENTS, "edge", "account"]

OF_ENVIRONMENTS = [*rights.RULES, *protection.RULES, *engine.RULES]
OF_THE_ACCOUNT = [
    *rights.NAMED,
    rights.no_role_has_a_managed_policy,
    protection.data_stays,
    protection.people_are_told_what_replaces_data,
    *account.RULES,
    *buckets.RULES,
    *people.RULES,
]

OF_EDGES = [
    protection.people_are_told_what_replaces_data,
    protection.only_clients_come_from_outside,
    engine.alarms_lead_to_the_runbook,
    engine.the_dashboard_is_json,
    *edge.RULES,
]

# Larger ones have to be uploaded to S3 first.
LARGEST = 51_200

# Both tiers have the same of these, condition and policies included.
SAME = (
    "SecretRights ParameterRights KeyRights DatabaseRights CacheRights Profile InstanceSecurityGroup ToDatabase "
    "ToCache Pool FirstScheduled SecondScheduled DatabaseSecurityGroup DatabaseSubnets Database CacheSecurityGroup "
    "CacheSubnets CacheToken Cache Topic Subscription FailedLaunch FailedLaunches FailedLaunchesPolicy Launches "
    "Refreshes Refresher"
).split()


@pytest.mark.parametrize("name", ALL)
def test_templates_are_clean(name):
    assert [str(match) for match in lint_file(TEMPLATES / f"{name}.yaml")] == []


@pytest.mark.parametrize("name", ALL)
def test_templates_are_deployed_without_a_bucket(name):
    assert len((TEMPLATES / f"{name}.yaml").read_bytes()) <= LARGEST


def test_every_template_is_known_to_these_tests():
    assert {path.stem for path in TEMPLATES.glob("*.yaml")} == set(ALL)


@pytest.mark.parametrize("rule", OF_ENVIRONMENTS, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments(name, rule):
    assert rule(template(name)) == []


@pytest.mark.parametrize("rule", OF_EDGES, ids=lambda rule: rule.__name__)
def test_edges(rule):
    assert rule(template("edge")) == []


@pytest.mark.parametrize("rule", OF_THE_ACCOUNT, ids=lambda rule: rule.__name__)
def test_the_account(rule):
    assert rule(template("account")) == []


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_described_and_checked(name):
    for key, parameter in template(name)["Parameters"].items():
        assert parameter["Description"], key
        if parameter["Type"] == "Number":
            assert parameter.keys() & {"MinValue", "AllowedValues"}, key
        elif not parameter["Type"].startswith(("AWS::", "List<AWS::")):
            assert parameter.keys() & {"AllowedPattern", "AllowedValues"}, key
        if "AllowedPattern" in parameter:
            assert parameter["ConstraintDescription"].startswith("must "), key
            if "Default" in parameter:
                assert re.fullmatch(parameter["AllowedPattern"], parameter["Default"]), key


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_condition_and_mapping_is_used(name):
    found = template(name)
    text = json.dumps({key: found[key] for key in ("Resources", "Outputs")})
    for key in found["Parameters"]:
        assert f'"Ref": "{key}"' in json.dumps(found) or f"${{{key}}}" in text, key
    for key in found.get("Conditions", {}):
        assert f'"{key}"' in text or f'"Condition": "{key}"' in json.dumps(found["Conditions"]), key


@pytest.mark.parametrize(
    ("parameter", "text", "fits"),
    [
        ("Application", "shop", True),
        ("Application", "Shop", False),
        ("Application", 'shop"\n', False),
        ("Release", "v42-1+g0a1b", True),
        ("Release", "../v41", False),
        ("Release", 'v42" }', False),
        ("Document", "0" * 63, False),
        ("ReleasesPrefix", "team/", True),
        ("ReleasesPrefix", "team", False),
        ("DatabaseName", "app_1", True),
        ("DatabaseName", 'a"', False),
        ("FirstSchedule", "0 22 * * MON-FRI", True),
        ("FirstSchedule", "22:00", False),
        ("SecretArns", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/shop/*", True),
        ("SecretArns", "*", False),
        ("SecretArns", "arn:aws:secretsmanager:*:123456789012:secret:*", False),
        ("ParameterArns", "arn:aws:ssm:eu-central-1:123456789012:parameter/prod/shop/*", True),
        ("ParameterArns", "prod/shop", False),
    ],
)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_nothing_that_breaks_user_data_or_rights_is_taken(name, parameter, text, fits):
    pattern = template(name)["Parameters"][parameter]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, text)) == fits


@pytest.mark.parametrize(
    ("name", "given", "fits"),
    [
        ("web", {}, True),
        ("web", {"Mode": "single_instance"}, False),
        ("web", {"Mode": "single_instance", "Capacity": "1"}, True),
        ("web", {"Mode": "single_instance", "Capacity": "1", "Policy": "immutable"}, False),
        ("web", {"Mode": "single_instance", "Capacity": "1", "WarmPool": "1"}, False),
        ("web", {"WarmPool": "1"}, False),
        ("web", {"WarmPool": "1", "Policy": "immutable"}, True),
        ("web", {"WarmPool": "1", "Policy": "in_place"}, False),
        ("web", {"WarmPool": "1", "Policy": "immutable", "OnDemandPercent": "50"}, False),
        ("web", {"WarmPool": "1", "Policy": "immutable", "SecondInstanceType": "m7i.large"}, False),
        ("web", {"DatabaseSnapshot": "golden"}, False),
        ("web", {"DatabaseSnapshot": "golden", "DatabaseClass": "db.t4g.micro"}, True),
        ("worker", {"Mode": "single_instance", "Capacity": "2"}, False),
        ("worker", {"Mode": "single_instance", "Policy": "immutable"}, True),
        ("worker", {"DatabaseSnapshot": "golden"}, False),
        ("worker", {"WarmPool": "1"}, False),
        ("web", {"Mode": "single_instance", "Capacity": "1", "Slot": "main-a"}, False),
        ("web", {"Slot": "main-a"}, True),
        ("edge", {"WeightA": "0"}, False),
        ("edge", {"WeightA": "0", "WeightB": "1"}, True),
        ("web", {"Policy": "rolling_with_batch", "Capacity": "4", "MaxSize": "4"}, False),
        ("web", {"Policy": "rolling_with_batch", "Capacity": "4", "MaxSize": "5"}, True),
        ("web", {"Policy": "rolling_with_batch", "Capacity": "1", "MaxSize": "1", "Mode": "single_instance"}, True),
        ("web", {"Policy": "rolling", "Capacity": "4", "MaxSize": "4"}, True),
        ("web", {"Policy": "rolling", "MinInService": "4", "MaxSize": "4"}, False),
        *[(name, {"Application": one}, False) for name in ENVIRONMENTS for one in buckets.REFUSED],
    ],
)
def test_parameters_that_do_not_go_together_are_refused(name, given, fits):
    chosen = Chosen(template(name), **{"Application": "shop", "Environment": "prod"} | given)
    rules = chosen.template["Rules"].values()
    due = [rule for rule in rules if "RuleCondition" not in rule or chosen.decided(rule["RuleCondition"])]
    assertions = [one for rule in due for one in rule["Assertions"]]
    assert all(one["AssertDescription"] for one in assertions)
    assert all(chosen.decided(one["Assert"]) for one in assertions) == fits


def test_both_tiers_have_the_same_of_what_is_the_same():
    web, worker = template("web"), template("worker")
    for name in SAME:
        assert web["Resources"][name] == worker["Resources"][name], name
    shared = web["Parameters"].keys() & worker["Parameters"].keys()
    differing = {key for key in shared if web["Parameters"][key] != worker["Parameters"][key]}
    assert differing == {"Mode", "Capacity", "MinInService", "MinSize", "CpuPercent", "Subnets"}


def test_the_stack_policy_names_all_that_holds_data():
    (_, deny) = json.loads((TEMPLATES / "stack-policy.json").read_text())["Statement"]
    assert (deny["Effect"], deny["Action"]) == ("Deny", ["Update:Replace", "Update:Delete"])
    assert set(deny["Condition"]["StringEquals"]["ResourceType"]) == set(KEPT)


def test_a_balancer_serves_tls_and_redirects():
    web = template("web")["Resources"]
    assert web["Https"]["Properties"]["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-")
    (_, redirect, forward) = web["Http"]["Properties"]["DefaultActions"][0]["Fn::If"]
    assert redirect["RedirectConfig"] == {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_302"}
    assert forward["Type"] == "forward"
    assert (web["Https"]["Condition"], web["Http"]["Condition"]) == ("HasTls", "Balanced")


@pytest.mark.parametrize("name", ["web", "edge"])
def test_a_port_has_one_listener(name):
    """Another one is refused while the first is there, which it is until the end of an update."""
    resources = template(name)["Resources"]
    listeners = [one for one in resources.values() if one["Type"] == "AWS::ElasticLoadBalancingV2::Listener"]
    assert sorted(one["Properties"]["Port"] for one in listeners) == [80, 443]
    # Where it redirects, what it redirects to is there.
    assert resources["Http"]["Metadata"]["After"] == {"Fn::If": ["HasTls", {"Ref": "Https"}, ""]}


def test_messages_that_always_fail_are_kept():
    queue = template("worker")["Resources"]["Queue"]["Properties"]
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetters", "Arn"]}


def test_every_entry_of_the_runbook_has_an_alarm():
    linked = set()
    for name in [*ENVIRONMENTS, "edge"]:
        for alarm in resources(template(name), "AWS::CloudWatch::Alarm").values():
            linked |= set(re.findall(r"#([a-z-]+)", json.dumps(alarm["Properties"]["AlarmDescription"])))
    assert runbook.entries("Alarms").keys() == linked
