"""The region's groups: capacity, lifecycle hooks, health, standby, and what scaling activities say."""

import time

import pytest
from botocore.exceptions import ClientError
from harness.region.delays import Pace
from harness.region.group.hooks import Action, Hook
from harness.region.instances.scripted import Outcome
from harness.region.small import FAST, IMPATIENT, Shop, fast

# Grace periods last longer.
GRACEFUL = Pace(schedule=10, patience=30)
# A heartbeat timeout of 300 s is over after 2 s.
BEATING = Pace(schedule=50, patience=150)


def made(region, release: str = "v1", **given) -> Shop:
    """A group of one, in a stack that waits for no signals."""
    shop = Shop(region, creation=False, **given)
    shop.create(Release=release, Capacity="1")
    return shop


def activities(region) -> list[dict]:
    name = region.group().name
    return region.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=name)["Activities"]


def wanted(region, count: int) -> None:
    region.client("autoscaling").set_desired_capacity(AutoScalingGroupName=region.group().name, DesiredCapacity=count)


def states(region) -> list[str]:
    with region.engine.lock:
        return [member.state for member in region.group().members]


def test_a_group_has_as_many_as_it_is_asked_for():
    with fast() as region:
        made(region)
        region.in_service(1)
        wanted(region, 3)
        region.in_service(3)
        wanted(region, 1)
        region.in_service(1)
        said = [(one["Description"].split(":")[0], one["StatusCode"]) for one in activities(region)]
        assert (
            said
            == [("Terminating EC2 instance", "Successful")] * 2 + [("Launching a new EC2 instance", "Successful")] * 3
        )
        causes = [one["Cause"] for one in activities(region)]
        assert "shrinking the capacity from 3 to 1." in causes[0]
        assert "changing the desired capacity from 1 to 3.  At " in causes[2]
        assert causes[-1].endswith("increasing the capacity from 0 to 1.")
        assert "a user request created an AutoScalingGroup changing the desired capacity from 0 to 1." in causes[-1]
        with pytest.raises(ClientError, match="is above max value 4"):
            wanted(region, 5)


def test_what_describe_says():
    with fast() as region:
        made(region)
        (instance,) = region.in_service(1)
        (group,) = region.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        (one,) = group["Instances"]
        assert (one["InstanceId"], one["LifecycleState"], one["HealthStatus"]) == (instance.id, "InService", "Healthy")
        assert one["LaunchTemplate"]["Version"] == "1"
        found = region.client("autoscaling").describe_auto_scaling_instances(InstanceIds=[instance.id])
        assert found["AutoScalingInstances"][0]["AutoScalingGroupName"] == group["AutoScalingGroupName"]
        described = region.client("ec2").describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][
            0
        ]
        assert (described["PrivateIpAddress"], described["State"]["Name"]) == (instance.address, "running")
        tags = {tag["Key"]: tag["Value"] for tag in described["Tags"]}
        assert tags["aws:autoscaling:groupName"] == group["AutoScalingGroupName"]


# Hooks.


def test_a_target_is_registered_when_the_hook_is_completed():
    with fast(v1=Outcome(boot=1)) as region:
        made(region)
        region.wait(lambda: states(region) == ["Pending:Wait"], "an instance that waits")
        assert not region.group().targets()[0].targets
        region.in_service(1)
        assert len(region.group().targets()[0].targets) == 1


def test_an_abandoned_instance_is_replaced():
    with fast(bad="abandons") as region:
        made(region, "bad")
        region.wait(lambda: len(region.group().activities) > 2, "two more launches")
        failed = activities(region)[-1]
        assert failed["StatusCode"] == "Cancelled"
        assert "was abandoned: Lifecycle Action Completed with ABANDON Result" in failed["StatusMessage"]
        assert region.instances() == []


def test_an_instance_that_nobody_hears_of_is_abandoned():
    with fast(IMPATIENT, bad="silent") as region:
        made(region, "bad")
        region.wait(lambda: len(region.group().activities) > 1, "another launch")
        assert "ABANDON" in activities(region)[-1]["StatusMessage"]


def test_a_heartbeat_gives_another_timeout():
    with fast(BEATING, slow=Outcome("silent")) as region:
        made(region, "slow")
        region.wait(lambda: states(region) == ["Pending:Wait"], "an instance that waits")
        (member,) = region.group().members
        name = {"AutoScalingGroupName": region.group().name, "LifecycleHookName": "ready", "InstanceId": member.id}
        action = member.actions[0]
        for _ in range(3):
            region.engine.sleep(0.8)
            region.client("autoscaling").record_lifecycle_action_heartbeat(**name)
        # Longer than one timeout by now.
        assert action.waits
        region.client("autoscaling").complete_lifecycle_action(**name, LifecycleActionResult="CONTINUE")
        region.in_service(1)
        with pytest.raises(ClientError, match="No active Lifecycle Action found with instance ID"):
            region.client("autoscaling").complete_lifecycle_action(**name, LifecycleActionResult="CONTINUE")


def test_a_terminating_instance_waits_for_its_hook():
    with fast(v1=Outcome(leave=1)) as region:
        made(region)
        (instance,) = region.in_service(1)
        region.client("autoscaling").terminate_instance_in_auto_scaling_group(
            InstanceId=instance.id, ShouldDecrementDesiredCapacity=False
        )
        region.wait(lambda: "Terminating:Wait" in states(region), "an instance that waits")
        assert instance.target_lifecycle_state == "Terminated"
        assert instance.alive()
        region.wait(lambda: not instance.alive(), "its end")
        (other,) = region.in_service(1)
        assert other.id != instance.id


def test_no_heartbeat_gives_more_than_100_timeouts():
    """Nor more than 48 hours."""
    for timeout, longest in ((300, 30_000), (7200, 172_800)):
        action = Action(Hook("ready", "shop", "autoscaling:EC2_INSTANCE_LAUNCHING", timeout), "i-0", patience=1)
        assert action.hook.describe()["GlobalTimeout"] == longest
        action.begun -= longest - 1
        action.beat()
        assert action.waits
        action.begun -= 2
        assert not action.waits and action.out_of_time


def test_who_abandons_a_termination_ends_the_other_hooks():
    with fast(v1=Outcome(leave=60)) as region:
        made(region)
        (instance,) = region.in_service(1)
        client, name = region.client("autoscaling"), {"AutoScalingGroupName": region.group().name}
        client.put_lifecycle_hook(
            **name, LifecycleHookName="backup", LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING"
        )
        client.terminate_instance_in_auto_scaling_group(
            InstanceId=instance.id, ShouldDecrementDesiredCapacity=False
        )
        region.wait(lambda: "Terminating:Wait" in states(region), "an instance that waits")
        client.complete_lifecycle_action(
            **name, LifecycleHookName="leaving", InstanceId=instance.id, LifecycleActionResult="ABANDON"
        )
        region.wait(lambda: not instance.alive(), "its end")


def test_a_group_with_instances_is_deleted_by_force_alone():
    """Nobody is asked to leave."""
    with fast(v1=Outcome(leave=60)) as region:
        made(region)
        (instance,) = region.in_service(1)
        client, name = region.client("autoscaling"), {"AutoScalingGroupName": region.group().name}
        with pytest.raises(ClientError, match="cannot delete an AutoScalingGroup while there are instances"):
            client.delete_auto_scaling_group(**name)
        client.delete_auto_scaling_group(**name, ForceDelete=True)
        region.wait(lambda: not region.engine.groups, "its end")
        assert not instance.alive()


def test_target_groups_are_detached_and_attached():
    with fast() as region:
        shop = made(region)
        (instance,) = region.in_service(1)
        targets = region.group().targets()[0]
        client = region.client("autoscaling")
        name = {"AutoScalingGroupName": region.group().name, "TargetGroupARNs": [shop.output("Targets")]}
        client.detach_load_balancer_target_groups(**name)
        assert (targets.state(instance.id), region.group().targets()) == ("draining", [])
        region.wait(lambda: targets.state(instance.id) == "unused", "the end of draining")
        client.attach_load_balancer_target_groups(**name)
        region.wait(lambda: targets.state(instance.id) == "healthy", "a healthy target")


def test_old_launch_templates_go_first():
    with fast() as region:
        shop = made(region, policy={"AutoScalingScheduledAction": {"IgnoreUnmodifiedGroupSizeProperties": True}})
        shop.update(Release="v2")
        wanted(region, 2)
        region.in_service(2)
        assert shop.releases() == ["v1", "v2"]
        wanted(region, 3)
        region.in_service(3)
        wanted(region, 2)
        region.in_service(2)
        assert shop.releases() == ["v2", "v2"]


def test_a_launch_that_ec2_refuses_is_told():
    with fast(big=Outcome("not launched")) as region:
        made(region, "big")
        region.poll(lambda: activities(region)[-1]["StatusCode"] == "Failed", "a failed launch")
        said = activities(region)[-1]["StatusMessage"]
        assert "do not have sufficient" in said and said.endswith("Launching EC2 instance failed.")


# Health.


def test_a_killed_instance_is_replaced():
    with fast() as region:
        made(region)
        (instance,) = region.in_service(1)
        instance.kill()
        region.wait(lambda: region.instances() and region.instances()[0].id != instance.id, "another instance")
        cause = next(
            one["Cause"]
            for one in activities(region)
            if one["Description"].endswith(instance.id) and "Terminating" in one["Description"]
        )
        assert cause.endswith("in response to an EC2 health check indicating it has been terminated or stopped.")
        assert activities(region)[0]["Cause"].endswith("in response to an unhealthy instance needing to be replaced.")


def test_an_instance_that_ec2_terminates_is_replaced():
    with fast() as region:
        made(region)
        (instance,) = region.in_service(1)
        region.client("ec2").terminate_instances(InstanceIds=[instance.id])
        region.wait(lambda: region.instances() and region.instances()[0].id != instance.id, "another instance")


def test_a_sick_instance_is_replaced_after_the_grace_period():
    with fast(v1=Outcome(sick_after=0.5)) as region:
        made(region, HealthCheckGracePeriod=30)
        (instance,) = region.in_service(1)
        region.wait(lambda: not instance.alive(), "its end")
        causes = [one["Cause"] for one in activities(region) if instance.id in one["Description"]]
        assert causes[0].endswith("in response to an ELB system health check failure.")


def test_a_sick_instance_stays_where_nobody_looks():
    with fast(v1=Outcome("sick")) as region:
        made(region, HealthCheckGracePeriod=0, HealthCheckType="EC2")
        (instance,) = region.in_service(1)
        region.wait(lambda: region.group().targets()[0].state(instance.id) == "unhealthy", "an unhealthy target")
        assert region.group().member(instance.id).health == "Healthy"


def test_a_maintenance_policy_launches_first():
    with fast(v1=Outcome(sick_after=1)) as region:
        policy = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 110}
        made(region, HealthCheckGracePeriod=0, InstanceMaintenancePolicy=policy)
        (instance,) = region.in_service(1)
        region.wait(lambda: len(region.instances()) == 2, "both in service")
        region.wait(lambda: not instance.alive(), "the end of the sick one")


def test_a_maintenance_policy_lets_the_next_one_warm_up_first():
    with fast(v1=Outcome(sick_after=1)) as region:
        policy = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 110}
        warmup = 0.5
        made(region, HealthCheckGracePeriod=0, InstanceMaintenancePolicy=policy, DefaultInstanceWarmup=int(warmup * FAST.schedule))
        (instance,) = region.in_service(1)
        old = region.group().member(instance.id)
        region.wait(lambda: old.leaving, "the sick one leaves")
        (new,) = [one for one in region.group().members if one is not old]
        assert time.monotonic() >= new.since + warmup


def test_an_application_may_call_its_instance_unhealthy():
    with fast(GRACEFUL) as region:
        made(region)
        (instance,) = region.in_service(1)
        health = {"InstanceId": instance.id, "HealthStatus": "Unhealthy"}
        region.client("autoscaling").set_instance_health(**health)
        assert region.group().member(instance.id).health == "Healthy", "the grace period is respected"
        region.client("autoscaling").set_instance_health(**health, ShouldRespectGracePeriod=False)
        region.wait(lambda: not instance.alive(), "its end")


def test_what_is_suspended_is_left_out():
    with fast() as region:
        made(region)
        (instance,) = region.in_service(1)
        name = {"AutoScalingGroupName": region.group().name}
        client = region.client("autoscaling")
        client.suspend_processes(**name, ScalingProcesses=["HealthCheck", "Launch"])
        instance.kill()
        wanted(region, 2)
        region.engine.sleep(0.5)
        assert states(region) == ["InService"]
        client.resume_processes(**name)
        region.wait(lambda: len(region.instances()) == 2 and instance not in region.instances(), "two others")


# Standby.


def test_an_instance_in_standby_gets_no_requests_and_is_not_counted():
    with fast() as region:
        shop = made(region)
        wanted(region, 2)
        first, second = region.in_service(2)
        name = {"AutoScalingGroupName": region.group().name, "InstanceIds": [first.id]}
        region.client("autoscaling").enter_standby(**name, ShouldDecrementDesiredCapacity=True)
        region.wait(lambda: region.group().member(first.id).state == "Standby", "standby")
        assert first.target_lifecycle_state == "Standby"
        region.wait(
            lambda: region.group().targets()[0].routable() == [f"{second.address}:8080"], "requests for the other"
        )
        with pytest.raises(ClientError, match="min-size=1"):
            region.client("autoscaling").enter_standby(
                AutoScalingGroupName=region.group().name, InstanceIds=[second.id], ShouldDecrementDesiredCapacity=True
            )
        region.client("autoscaling").exit_standby(**name)
        region.in_service(2)
        region.poll(lambda: shop.health() == ["healthy", "healthy"], "both healthy")


def test_protected_instances_stay():
    with fast() as region:
        made(region)
        (first,) = region.in_service(1)
        wanted(region, 2)
        region.in_service(2)
        region.client("autoscaling").set_instance_protection(
            AutoScalingGroupName=region.group().name, InstanceIds=[first.id], ProtectedFromScaleIn=True
        )
        wanted(region, 1)
        assert region.in_service(1) == [first]
