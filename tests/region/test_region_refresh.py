"""The region's instance refreshes."""

import base64

import pytest
from botocore.exceptions import ClientError
from harness.region.group import refresh as refreshes
from harness.region.instances.scripted import Outcome
from harness.region.small import IMPATIENT, Shop, fast


def made(region, capacity: int = 2) -> Shop:
    shop = Shop(region, creation=False)
    shop.create(Release="v1", Capacity=str(capacity))
    region.in_service(capacity)
    region.wait(lambda: len(region.group().targets()[0].routable()) == capacity, "healthy targets")
    return shop


def another_version(region, release: str) -> dict:
    """A version of the launch template with this release."""
    group = region.group()
    text = f'#ingot\nvalues:\n  release: "{release}"\n'
    data = {
        "ImageId": "ami-12c6146b",
        "InstanceType": "m7g.large",
        "UserData": base64.b64encode(text.encode()).decode(),
    }
    made = region.client("ec2").create_launch_template_version(
        LaunchTemplateId=group.launch["LaunchTemplateId"], LaunchTemplateData=data
    )
    return {
        "LaunchTemplateId": group.launch["LaunchTemplateId"],
        "Version": str(made["LaunchTemplateVersion"]["VersionNumber"]),
    }


def start(region, launch: dict, **preferences) -> dict:
    return region.client("autoscaling").start_instance_refresh(
        AutoScalingGroupName=region.group().name,
        DesiredConfiguration={"LaunchTemplate": launch},
        Preferences=preferences,
    )


def described(region) -> dict:
    name = region.group().name
    return region.client("autoscaling").describe_instance_refreshes(AutoScalingGroupName=name)["InstanceRefreshes"][0]


def end(region) -> dict:
    return region.poll(lambda: (one := described(region)) and "EndTime" in one and one, "the end of the refresh")


@pytest.mark.parametrize("bounds", [(100, 200), (50, 100)])
def test_all_instances_are_replaced(bounds):
    with fast() as region:
        shop = made(region)
        launch = another_version(region, "v2")
        start(region, launch, MinHealthyPercentage=bounds[0], MaxHealthyPercentage=bounds[1])
        with pytest.raises(ClientError, match="already in progress"):
            start(region, launch)
        said = end(region)
        assert (said["Status"], said["PercentageComplete"]) == ("Successful", 100)
        region.in_service(2)
        assert shop.releases() == ["v2", "v2"]
        assert region.group().launch["Version"] == launch["Version"]


def test_a_refresh_that_makes_no_progress_fails_and_goes_back(monkeypatch):
    monkeypatch.setattr(refreshes, "PATIENCE", 300)
    with fast(IMPATIENT, bad=Outcome("abandons")) as region:
        shop = made(region)
        start(
            region,
            another_version(region, "bad"),
            MinHealthyPercentage=100,
            MaxHealthyPercentage=150,
            AutoRollback=True,
        )
        assert end(region)["Status"] == "RollbackSuccessful"
        region.in_service(2)
        assert shop.releases() == ["v1", "v1"]
        assert region.group().launch["Version"] == "1"


def test_a_refresh_can_be_cancelled_and_stays_where_it_was():
    with fast(slow=Outcome(boot=30)) as region:
        shop = made(region)
        start(region, another_version(region, "slow"), MinHealthyPercentage=50, MaxHealthyPercentage=100)
        region.wait(lambda: len(region.instances()) == 1, "the first that is gone")
        name = {"AutoScalingGroupName": region.group().name}
        region.client("autoscaling").cancel_instance_refresh(**name)
        assert end(region)["Status"] == "Cancelled"
        assert shop.releases() == ["v1"]
        with pytest.raises(ClientError, match="No in progress or pending Instance Refresh"):
            region.client("autoscaling").cancel_instance_refresh(**name)


@pytest.mark.parametrize(("preferences", "least"), [({"MaxHealthyPercentage": 100}, 2), ({}, 1)], ids=["given", "omitted"])
def test_without_room_a_maximum_that_is_given_launches_first(preferences, least):
    with fast() as region:
        made(region)
        start(region, another_version(region, "v2"), MinHealthyPercentage=100, **preferences)
        seen: list[int] = []
        refresh = region.group().refreshes[0]
        region.wait(lambda: seen.append(len(region.instances())) or not refresh.active, "the end of the refresh")
        assert (min(seen), refresh.status) == (least, "Successful")


def test_a_refresh_may_be_rolled_back():
    with fast(slow=Outcome(boot=30)) as region:
        shop = made(region)
        launch = another_version(region, "slow")
        start(region, launch, MinHealthyPercentage=50, MaxHealthyPercentage=100)
        region.wait(lambda: len(region.instances()) == 1, "the first that is gone")
        region.client("autoscaling").rollback_instance_refresh(AutoScalingGroupName=region.group().name)
        region.poll(lambda: described(region)["Status"] == "RollbackInProgress", "the way back")
        for member in [one for one in region.group().members if one.used["Version"] == launch["Version"]]:
            region.group().terminate(member, decrement=False)
        assert end(region)["Status"] == "RollbackSuccessful"
        region.in_service(2)
        assert shop.releases() == ["v1", "v1"]


def test_instances_that_match_may_be_skipped():
    with fast() as region:
        made(region)
        before, launch = region.instances(), dict(region.group().launch)
        start(region, launch, SkipMatching=True)
        assert end(region)["Status"] == "Successful"
        assert region.instances() == before
        region.client("autoscaling").start_instance_refresh(
            AutoScalingGroupName=region.group().name, Preferences={"MinHealthyPercentage": 50}
        )
        with pytest.raises(ClientError, match="no configuration to go back from"):
            region.client("autoscaling").rollback_instance_refresh(AutoScalingGroupName=region.group().name)
        assert end(region)["Status"] == "Successful"
        region.in_service(2)
        assert set(region.instances()) & set(before) == set()


def test_a_refresh_stops_at_checkpoints_and_bakes():
    with fast() as region:
        shop = made(region)
        start(
            region,
            another_version(region, "v2"),
            MinHealthyPercentage=100,
            MaxHealthyPercentage=150,
            CheckpointPercentages=[50, 100],
            CheckpointDelay=45,
            BakeTime=30,
        )
        region.poll(lambda: described(region).get("PercentageComplete") == 50, "the checkpoint")
        region.engine.sleep(1)
        assert (described(region)["PercentageComplete"], described(region)["Status"]) == (50, "InProgress")
        region.poll(lambda: described(region)["Status"] == "Baking", "the bake")
        assert end(region)["Status"] == "Successful"
        assert shop.releases() == ["v2", "v2"]
