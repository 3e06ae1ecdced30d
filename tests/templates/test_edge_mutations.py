"""Each mutation of an edge's template breaks the rule that is there for it."""

import pytest
from harness.templates import edge, engine, protection, template
from harness.templates.change import drop, put

HTTP = ("Resources", "Http", "Properties", "DefaultActions", 0, "Fn::If", 2, "ForwardConfig")
TRIAL = ("Resources", "TrialB", "Properties")
TARGETS = ("Resources", "TargetsB", "Properties")

MUTATIONS = {
    "a fixed weight": (put(0, *HTTP, "TargetGroups", 1, "Weight"), edge.the_weights_are_parameters),
    "one group alone": (drop(*HTTP, "TargetGroups", 1), edge.the_weights_are_parameters),
    "a group that a swap replaces": (
        put({"Fn::Sub": "${WeightB}"}, *TARGETS, "Tags", 2, "Value"),
        edge.a_swap_changes_listeners_alone,
    ),
    "a slot that nobody can try": (put(["c"], *TRIAL, "Conditions", 0, "HttpHeaderConfig", "Values"), edge.each_slot_can_be_tried),
    "a rule to the other slot": (put({"Ref": "TargetsA"}, *TRIAL, "Actions", 0, "TargetGroupArn"), edge.each_slot_can_be_tried),
    "a slot for everybody": (
        put(["0.0.0.0/0"], *TRIAL, "Conditions", 1, "SourceIpConfig", "Values"),
        edge.each_slot_can_be_tried,
    ),
    "a rule without TLS": (put({"Ref": "Http"}, *TRIAL, "ListenerArn"), edge.each_slot_can_be_tried),
    "sessions that a swap moves": (
        put({"Enabled": False}, *HTTP, "TargetGroupStickinessConfig"),
        edge.sessions_stay_with_slot_and_instance,
    ),
    "sessions that a swap moves with TLS": (
        drop("Resources", "Https", "Properties", "DefaultActions", 0, "ForwardConfig", "TargetGroupStickinessConfig", "Fn::If", 1, "DurationSeconds"),
        edge.sessions_stay_with_slot_and_instance,
    ),
    "sessions without an instance": (
        put("false", *TARGETS, "TargetGroupAttributes", 2, "Value"),
        edge.sessions_stay_with_slot_and_instance,
    ),
    "slots that differ": (put(5, *TARGETS, "HealthyThresholdCount"), edge.both_slots_are_the_same),
    "another health check": (
        put("/", "Resources", "TargetsA", "Properties", "HealthCheckPath"),
        edge.slots_are_as_those_of_environments,
    ),
    "another drain": (
        put(5, "Resources", "TargetsA", "Properties", "TargetGroupAttributes", 0, "Value"),
        edge.slots_are_as_those_of_environments,
    ),
    "an output that is not exported": (drop("Outputs", "LabelB", "Export"), edge.environments_find_what_they_import),
    "a door for everybody": (
        put("0.0.0.0/0", "Resources", "BalancerSecurityGroup", "Properties", "SecurityGroupIngress", 0, "CidrIp"),
        protection.only_clients_come_from_outside,
    ),
    "a name that replaces the load balancer": (
        put({"Ref": "Certificate"}, "Resources", "Balancer", "Properties", "Name"),
        protection.people_are_told_what_replaces_data,
    ),
    "an alarm without an entry": (
        put({"Fn::Sub": "Errors. ${Runbook}#nothing"}, "Resources", "UnhealthyB", "Properties", "AlarmDescription"),
        engine.alarms_lead_to_the_runbook,
    ),
    "a dashboard that CloudWatch refuses": (
        put({"Fn::Sub": '{ "widgets": [ }'}, "Resources", "Dashboard", "Properties", "DashboardBody"),
        engine.the_dashboard_is_json,
    ),
}


@pytest.mark.parametrize(("mutate", "rule"), MUTATIONS.values(), ids=list(MUTATIONS))
def test_a_mutation_is_found(mutate, rule):
    tree = template("edge")
    assert rule(tree) == []
    mutate(tree)
    assert rule(tree)


def test_every_rule_has_a_mutation():
    assert {rule.__name__ for rule in edge.RULES} <= {rule.__name__ for _, rule in MUTATIONS.values()}
