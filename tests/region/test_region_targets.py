"""The region's target groups and balancer: states, thresholds, draining, fail-open, weights and rules. Stickiness is in
test_region_stickiness.py."""

import http.client
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from harness.host import load
from harness.region.balancing.targets import Targets
from harness.region.delays import Pace
from harness.region.instances.scripted import Outcome
from harness.region.small import Shop, fast

# A check every second; 20 s of draining are 2 s.
SLOWER = Pace(schedule=5, patience=10)


def made(region, release: str = "v1", capacity: int = 1) -> Shop:
    shop = Shop(region, creation=False, HealthCheckType="EC2")
    shop.create(Release=release, Capacity=str(capacity))
    region.in_service(capacity)
    return shop


def get(region, path: str = "/", wait: float = 0, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(region.balancer(), 8080, timeout=30)
    connection.request("GET", path, headers={**({"X-Wait": str(wait)} if wait else {}), **headers})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def targets(region):
    return next(iter(region.engine.target_groups.values()))


def state(region, instance) -> dict:
    arn = targets(region).settings.arn
    described = region.client("elbv2").describe_target_health(TargetGroupArn=arn, Targets=[{"Id": instance.id}])
    return described["TargetHealthDescriptions"][0]["TargetHealth"]


def test_a_target_is_initial_until_its_threshold():
    a_target_is_initial_until_its_threshold()


def a_target_is_initial_until_its_threshold() -> None:
    seen: list[tuple] = []
    judge = Targets.judge

    def recorded(self, target, *told) -> None:
        judge(self, target, *told)
        seen.append((target.row, target.describe()["TargetHealth"], self.routable()))

    with pytest.MonkeyPatch.context() as patch, fast() as region:
        patch.setattr(Targets, "judge", recorded)
        made(region)
        (instance,) = region.instances()
        region.poll(lambda: get(region)[0] == 200, "an answer")
        assert get(region) == (200, "id=- len=0 crc=0 gen=v1\n")
        assert state(region, instance) == {"State": "healthy"}
    good = [one for one in seen if one[0] > 0]
    initial = {
        "State": "initial",
        "Reason": "Elb.InitialHealthChecking",
        "Description": "Initial health checks in progress",
    }
    assert good[0] == (1, initial, [])
    assert good[1][:2] == (2, {"State": "healthy"})


def test_without_a_target_the_answer_is_503():
    with fast(bad="silent") as region:
        Shop(region, creation=False).create(Release="bad", Capacity="1")
        region.poll(lambda: region.engine.network.balancer.told, "routes")
        assert get(region)[0] == 503


def test_an_unhealthy_target_says_why():
    with fast(bad="sick") as region:
        made(region, "bad")
        (instance,) = region.instances()
        region.wait(lambda: targets(region).state(instance.id) == "unhealthy", "an unhealthy target")
        assert state(region, instance) == {
            "State": "unhealthy",
            "Reason": "Target.ResponseCodeMismatch",
            "Description": "Health checks failed with these codes: [500]",
        }


def test_a_group_of_unhealthy_targets_fails_open():
    """Requests go to all of them, and a healthy one is the only one again."""
    with fast(v1=Outcome(sick_after=0)) as region:
        made(region)
        (instance,) = region.instances()
        region.wait(lambda: targets(region).routable() == [f"{instance.address}:8080"], "fail-open")
        region.engine.sleep(0.2)
        assert get(region)[0] == 200


def test_a_target_group_that_nobody_listens_for_is_unused():
    with fast() as region:
        made(region)
        (instance,) = region.instances()
        vpc = region.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
        other = region.client("elbv2").create_target_group(Name="other", Protocol="HTTP", Port=8080, VpcId=vpc)
        arn = other["TargetGroups"][0]["TargetGroupArn"]
        region.client("elbv2").register_targets(TargetGroupArn=arn, Targets=[{"Id": instance.id}])
        second = region.engine.target_groups[arn]
        region.wait(lambda: second.state(instance.id) == "unused", "an unused target")
        (one,) = region.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        assert one["TargetHealth"]["Reason"] == "Target.NotInUse"
        with pytest.raises(ClientError, match="not found"):
            region.client("elbv2").describe_target_health(TargetGroupArn=arn + "x")
        with pytest.raises(ClientError, match="not in a running state"):
            region.client("elbv2").register_targets(TargetGroupArn=arn, Targets=[{"Id": "i-0"}])


def test_a_refused_connection_is_a_502_and_is_not_tried_elsewhere():
    with fast(SLOWER) as region:
        made(region, capacity=2)
        region.wait(lambda: len(targets(region).routable()) == 2, "two healthy targets")
        region.engine.sleep(0.2)
        region.instances()[0].end_process()
        assert {get(region)[0] for _ in range(4)} == {200, 502}
        region.wait(lambda: len(targets(region).routable()) == 1, "an unhealthy target")
        region.engine.sleep(0.2)
        assert {get(region)[0] for _ in range(4)} == {200}


# Draining.


def test_requests_in_flight_end_while_a_target_drains():
    requests_in_flight_end()


def requests_in_flight_end() -> None:
    """One of a second outlives its target's deregistration; nothing new reaches it."""
    with fast(SLOWER) as region:
        made(region, capacity=2)
        region.wait(lambda: len(targets(region).routable()) == 2, "two healthy targets")
        region.engine.sleep(0.2)
        found: list = []
        asking = [threading.Thread(target=lambda: found.append(get(region, wait=1))) for _ in range(4)]
        for thread in asking:
            thread.start()
        instance = region.instances()[0]
        region.poll(lambda: region.network.balancer.busy(f"{instance.address}:8080"), "a request in flight")
        arn = targets(region).settings.arn
        region.client("elbv2").deregister_targets(TargetGroupArn=arn, Targets=[{"Id": instance.id}])
        assert state(region, instance)["State"] == "draining"
        assert targets(region).routable() == [f"{region.instances()[1].address}:8080"]
        for thread in asking:
            thread.join()
        assert [status for status, _ in found] == [200] * 4
        region.wait(
            lambda: not targets(region).has(instance.id) and instance.id not in targets(region).targets,
            "the end of the delay",
        )
        assert state(region, instance)["Reason"] == "Target.NotRegistered"


def test_what_does_not_end_within_the_delay_is_cut():
    with fast() as region:
        made(region)
        region.wait(lambda: targets(region).routable(), "a healthy target")
        region.engine.sleep(0.2)
        found: list = []
        asking = threading.Thread(target=lambda: found.append(get(region, wait=20)))
        asking.start()
        instance = region.instances()[0]
        region.poll(lambda: region.network.balancer.busy(f"{instance.address}:8080"), "a request in flight")
        arn = targets(region).settings.arn
        region.client("elbv2").deregister_targets(TargetGroupArn=arn, Targets=[{"Id": instance.id}])
        asking.join(15)
        assert found == [(502, "")]


# Rules.


def test_listeners_route_by_weight_and_by_header():
    with fast() as region:
        made(region)
        elb = region.client("elbv2")
        vpc = region.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
        empty = elb.create_target_group(Name="empty", Protocol="HTTP", Port=8080, VpcId=vpc)["TargetGroups"][0][
            "TargetGroupArn"
        ]
        region.wait(lambda: targets(region).routable(), "a healthy target")
        full = targets(region).settings.arn
        (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
        (listener,) = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]

        def weights(first: int, second: int) -> list[dict]:
            groups = [{"TargetGroupArn": full, "Weight": first}, {"TargetGroupArn": empty, "Weight": second}]
            return [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]

        elb.modify_listener(ListenerArn=listener["ListenerArn"], DefaultActions=weights(0, 1))
        condition = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Slot", "Values": ["test"]}}
        elb.create_rule(ListenerArn=listener["ListenerArn"], Priority=1, Conditions=[condition], Actions=weights(1, 0))
        region.engine.sleep(0.3)
        assert get(region)[0] == 503
        assert get(region, **{"X-Slot": "test"})[0] == 200
        elb.modify_listener(ListenerArn=listener["ListenerArn"], DefaultActions=weights(1, 1))
        region.engine.sleep(0.3)
        assert {get(region)[0] for _ in range(40)} == {200, 503}


def test_an_update_under_load_loses_nothing(tmp_path):
    an_update_under_load_loses_nothing(tmp_path)


def an_update_under_load_loses_nothing(directory: Path) -> None:
    """GET, POST, kept-alive connections, slow requests, a WebSocket: none is lost while all instances are replaced."""
    # 20 s of draining are 2.5 s.
    with fast(Pace(schedule=20, patience=8)) as region:
        shop = Shop(region, rolling={"MinInstancesInService": 2, "PauseTime": "PT20M"})
        shop.create(Release="v1")
        region.engine.sleep(0.3)
        result = directory / "load.json"
        command = [
            sys.executable,
            load.__file__,
            region.balancer(),
            "8080",
            str(result),
            "--longest=1",
            "--websocket=/ws",
        ]
        client = subprocess.Popen(command)
        time.sleep(1.5)
        status = shop.update(Release="v2")
        time.sleep(1)
        client.terminate()
        assert client.wait(60) == 0
        told = json.loads(result.read_text())
        assert status == "UPDATE_COMPLETE"
        assert told["lost"] == 0, (told["losses"][:10], region.told())
        assert told["sent"] > 300 and set(told["generations"]) == {"v1", "v2"}
