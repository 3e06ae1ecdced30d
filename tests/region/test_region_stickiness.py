"""The region's balancer keeps clients where their cookies say, and takes rules by priority and by the address of the client."""

import http.client
import re

import pytest
from harness.region import Region
from harness.region.delays import Pace
from harness.region.small import Shop, boots

# Health checks every 0.1 s; an hour of stickiness is one of six minutes.
PACE = Pace(schedule=50, patience=10)


class Balanced:
    """Two target groups with an instance each, `v1` and `v2`, behind one listener."""

    def __init__(self, region):
        self.region, self.elb = region, region.client("elbv2")
        # The second stack has instances alone.
        shop = Shop(region, creation=False, HealthCheckType="EC2")
        shop.create(Release="v1", Capacity="1")
        (first,) = region.in_service(1)
        self.groups = [shop.output("Targets"), self.group("second")]
        other = region.launch('#ingot\nversion: 1\nvalues:\n  release: "v2"\n')
        other.ready()
        self.elb.register_targets(TargetGroupArn=self.groups[1], Targets=[{"Id": other.id}])
        (balancer,) = self.elb.describe_load_balancers()["LoadBalancers"]
        (listener,) = self.elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        self.listener = listener["ListenerArn"]
        self.forward(1, 1)
        for arn in self.groups:
            region.poll(lambda arn=arn: self.states(arn) == ["healthy"], "a healthy target")
        region.engine.sleep(0.3)

    def group(self, name: str) -> str:
        vpc = self.region.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
        quick = {"HealthCheckPath": "/health", "HealthCheckIntervalSeconds": 5, "HealthyThresholdCount": 2}
        made = self.elb.create_target_group(Name=name, Protocol="HTTP", Port=8080, VpcId=vpc, **quick)
        return made["TargetGroups"][0]["TargetGroupArn"]

    def states(self, arn: str) -> list[str]:
        found = self.elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return [one["TargetHealth"]["State"] for one in found]

    def action(self, first: int, second: int, seconds: int | None = None) -> list[dict]:
        weights = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in zip(self.groups, (first, second), strict=True)]
        sticky = {"Enabled": True, "DurationSeconds": seconds} if seconds else {"Enabled": False}
        return [{"Type": "forward", "ForwardConfig": {"TargetGroups": weights, "TargetGroupStickinessConfig": sticky}}]

    def forward(self, *given) -> None:
        self.elb.modify_listener(ListenerArn=self.listener, DefaultActions=self.action(*given))
        self.region.engine.sleep(0.3)

    def get(self, **headers: str) -> tuple[str, dict[str, str]]:
        """Which release answers, and the cookies that it sets."""
        connection = http.client.HTTPConnection(self.region.balancer(), 8080, timeout=30)
        connection.request("GET", "/", headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        cookies = dict(one.partition(";")[0].split("=", 1) for one in answer.headers.get_all("Set-Cookie") or [])
        connection.close()
        return (re.search(r"gen=(\w+)", text) or [str(answer.status)] * 2)[1], cookies


@pytest.fixture
def balanced():
    with Region(boots(), pace=PACE) as region:
        yield Balanced(region)


def brought(cookies: dict[str, str]) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def test_a_client_stays_with_its_group_whatever_the_weights_are(balanced):
    balanced.forward(1, 0, 3600)
    first, cookies = balanced.get()
    assert first == "v1" and cookies.keys() == {"AWSALBTG"}
    balanced.forward(0, 1, 3600)
    assert {balanced.get(**brought(cookies))[0] for _ in range(10)} == {"v1"}
    # Who has one is given none: it is not renewed.
    assert balanced.get(**brought(cookies))[1] == {}
    assert {balanced.get()[0] for _ in range(10)} == {"v2"}


def test_without_stickiness_there_are_no_cookies_and_none_counts(balanced):
    balanced.forward(1, 0, 3600)
    _, cookies = balanced.get()
    balanced.forward(0, 1)
    assert balanced.get(**brought(cookies)) == ("v2", {})


def test_a_cookie_is_valid_for_its_time(balanced):
    # A second here.
    balanced.forward(1, 0, 10)
    _, cookies = balanced.get()
    balanced.forward(0, 1, 10)
    balanced.region.poll(lambda: balanced.get(**brought(cookies))[0] == "v2", "the end of the cookie", 10)


def test_a_group_without_targets_answers_503_to_who_has_its_cookie(balanced):
    balanced.forward(1, 0, 3600)
    _, cookies = balanced.get()
    balanced.forward(0, 1, 3600)
    (gone,) = balanced.region.instances()
    balanced.elb.deregister_targets(TargetGroupArn=balanced.groups[0], Targets=[{"Id": gone.id}])
    balanced.region.poll(lambda: balanced.get(**brought(cookies))[0] == "503", "an empty group")
    assert balanced.get()[0] == "v2"


def test_a_client_stays_with_its_target_and_gets_another_one_when_that_is_gone(balanced):
    third = balanced.region.launch('#ingot\nversion: 1\nvalues:\n  release: "v3"\n')
    third.ready()
    balanced.elb.register_targets(TargetGroupArn=balanced.groups[1], Targets=[{"Id": third.id}])
    balanced.region.poll(lambda: balanced.states(balanced.groups[1]) == ["healthy"] * 2, "two healthy targets")
    given = {"stickiness.enabled": "true", "stickiness.type": "lb_cookie", "stickiness.lb_cookie.duration_seconds": "3600"}
    attributes = [{"Key": key, "Value": value} for key, value in given.items()]
    balanced.elb.modify_target_group_attributes(TargetGroupArn=balanced.groups[1], Attributes=attributes)
    balanced.forward(0, 1)
    first, cookies = balanced.get()
    assert cookies.keys() == {"AWSALB"}
    assert {balanced.get(**brought(cookies))[0] for _ in range(10)} == {first}
    assert {balanced.get()[0] for _ in range(20)} == {"v2", "v3"}
    balanced.elb.deregister_targets(TargetGroupArn=balanced.groups[1], Targets=[{"Id": third.id}])
    balanced.region.engine.sleep(0.3)
    if first == "v3":
        assert balanced.get(**brought(cookies))[0] == "v2"


def test_rules_count_by_priority_and_by_the_address_of_the_client(balanced):
    header = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Slot", "Values": ["b"]}}

    def rule(priority: int, cidr: str, first: int, second: int) -> None:
        conditions = [header, {"Field": "source-ip", "SourceIpConfig": {"Values": [cidr]}}]
        actions = balanced.action(first, second)
        balanced.elb.create_rule(ListenerArn=balanced.listener, Priority=priority, Conditions=conditions, Actions=actions)

    balanced.forward(1, 0)
    rule(3, "0.0.0.0/0", 1, 0)
    rule(2, "127.0.0.0/8", 0, 1)
    rule(1, "10.0.0.0/8", 1, 0)
    balanced.region.engine.sleep(0.3)
    assert {balanced.get(**{"X-Slot": "b"})[0] for _ in range(10)} == {"v2"}
    assert balanced.get()[0] == "v1"
