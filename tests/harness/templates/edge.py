"""What an edge does with requests, and what it has in common with the environments that join it."""

from . import Chosen, resources, template, texts

SLOTS = {"a": "TargetsA", "b": "TargetsB"}
LISTENER, RULE = "AWS::ElasticLoadBalancingV2::Listener", "AWS::ElasticLoadBalancingV2::ListenerRule"
GROUP = "AWS::ElasticLoadBalancingV2::TargetGroup"


def the_weights_are_parameters(template: dict) -> list[str]:
    """Of every listener that forwards: weights set beside the stack would be lost, and a swap is one update."""
    wanted = [{"TargetGroupArn": {"Ref": group}, "Weight": {"Ref": f"Weight{slot.upper()}"}} for slot, group in SLOTS.items()]
    wrong = []
    for name, listener in resources(template, LISTENER).items():
        (given,) = listener["Properties"]["DefaultActions"]
        # With TLS and without.
        for action in given.get("Fn::If", [None, given])[1:]:
            if action["Type"] == "forward" and action.get("ForwardConfig", {}).get("TargetGroups") != wanted:
                wrong.append(f"{name} forwards to {action}")
    return wrong


def a_swap_changes_listeners_alone(template: dict) -> list[str]:
    return [
        f"{name} depends on the weights"
        for name, resource in template["Resources"].items()
        if resource["Type"] != LISTENER and ("WeightA" in texts(resource) or "WeightB" in texts(resource))
    ]


def each_slot_can_be_tried(template: dict) -> list[str]:
    """By a rule of its own, which is also why an idle group is in use, and so health-checked."""
    led = {}
    for rule in resources(template, RULE).values():
        properties = rule["Properties"]
        header, source = properties["Conditions"]
        if source != {"Field": "source-ip", "SourceIpConfig": {"Values": [{"Ref": "TrialCidr"}]}}:
            return ["anybody may try a slot"]
        if properties["ListenerArn"] != {"Fn::If": ["HasTls", {"Ref": "Https"}, {"Ref": "Http"}]}:
            return ["a rule is of another listener than the one that serves"]
        assert header["HttpHeaderConfig"]["HttpHeaderName"] == "X-Ingot-Slot"
        (word,) = header["HttpHeaderConfig"]["Values"]
        (action,) = properties["Actions"]
        led[word] = action.get("TargetGroupArn", {}).get("Ref") or action["FixedResponseConfig"]["MessageBody"]
    wanted = {**SLOTS, "name": {"Ref": "AWS::StackName"}}
    return [] if led == wanted else [f"the header leads to {led}"]


def sessions_stay_with_slot_and_instance(template: dict) -> list[str]:
    wrong = []
    for seconds, enabled in (("0", False), ("3600", True)):
        chosen = Chosen(template, Stickiness=seconds)
        for name in resources(template, GROUP):
            given = {one["Key"]: one["Value"] for one in chosen.resource(name)["Properties"]["TargetGroupAttributes"]}
            if (given["stickiness.enabled"], given["stickiness.type"]) != (str(enabled).lower(), "lb_cookie"):
                wrong.append(f"{name} with {seconds} s: {given}")
            if enabled and given["stickiness.lb_cookie.duration_seconds"] != seconds:
                wrong.append(f"{name} keeps clients for another time")
        with_tls = Chosen(template, Stickiness=seconds, Certificate="arn:aws:acm:eu-central-1:123456789012:certificate/0")
        for listener in (chosen.resource("Http"), with_tls.resource("Https")):
            (action,) = listener["Properties"]["DefaultActions"]
            sticky = action["ForwardConfig"]["TargetGroupStickinessConfig"]
            if sticky != ({"Enabled": True, "DurationSeconds": seconds} if enabled else {"Enabled": False}):
                wrong.append(f"with {seconds} s: {sticky}")
    return wrong


def both_slots_are_the_same(template: dict) -> list[str]:
    one, other = (dict(template["Resources"][name]["Properties"]) for name in SLOTS.values())
    one.pop("Tags"), other.pop("Tags")
    return [] if one == other else ["the slots differ"]


def slots_are_as_those_of_environments(edge: dict) -> list[str]:
    """An environment is checked and drained in a slot as with a load balancer of its own."""
    web = template("web")["Resources"]
    own, slot = web["Targets"]["Properties"], edge["Resources"]["TargetsA"]["Properties"]
    differing = {key for key in own.keys() | slot.keys() if own.get(key) != slot.get(key)}
    wrong = [f"{key} is another one in a slot" for key in sorted(differing - {"TargetGroupAttributes", "Tags"})]
    (delay,) = own["TargetGroupAttributes"]
    return wrong + ([] if delay in slot["TargetGroupAttributes"] else ["a slot drains for another time"])


def environments_find_what_they_import(edge: dict) -> list[str]:
    """web.yaml imports by `${Application}-edge-${Slot}-…`, and the stack is called so."""
    exported = {one["Export"]["Name"]["Fn::Sub"] for one in edge["Outputs"].values() if "Export" in one}
    wanted = {f"${{AWS::StackName}}-{slot}-{what}" for slot in SLOTS for what in ("targets", "label", "balancer")}
    return [] if exported == wanted else [f"exported is {sorted(exported ^ wanted)}"]


RULES = [
    the_weights_are_parameters,
    a_swap_changes_listeners_alone,
    each_slot_can_be_tried,
    sessions_stay_with_slot_and_instance,
    both_slots_are_the_same,
    slots_are_as_those_of_environments,
    environments_find_what_they_import,
]
