"""The region's stacks: creation, rolling and replacing updates by signals, cancel, and the way back from each."""

import json
import re

import pytest
from botocore.exceptions import ClientError
from harness.region.instances.scripted import Outcome, Scripted, release_of
from harness.region.small import FAST, IMPATIENT, REPLACING, Shop, fast

WITH_BATCH = {"MinInstancesInService": 2, "MaxBatchSize": 1}


def failing(reasons: list[str]) -> list[str]:
    return [reason for reason in reasons if "Unable to satisfy" in reason]


def test_a_stack_is_complete_with_the_last_signal():
    a_stack_is_complete_with_the_last_signal()


def a_stack_is_complete_with_the_last_signal(pace=FAST) -> None:
    with fast(pace) as region:
        shop = Shop(region)
        assert shop.create(Release="v1") == "CREATE_COMPLETE"
        ids = [instance.id for instance in region.instances()]
        signals = [reason for reason in shop.reasons() if "signal" in reason]
        assert sorted(signals) == sorted(f"Received SUCCESS signal with UniqueId {id}" for id in ids)
        assert shop.health() == ["healthy", "healthy"]
        tags = region.instances()[0].spec.tags
        assert (tags["aws:cloudformation:stack-name"], tags["aws:cloudformation:logical-id"]) == ("shop", "Group")


@pytest.mark.parametrize(
    ("kind", "pace", "reason"),
    [
        ("abandons", FAST, r"Received [12] FAILURE signal\(s\) out of 2\.  "),
        ("silent", IMPATIENT, r"Received 0 SUCCESS signal\(s\) out of 2\.  "),
    ],
)
def test_a_creation_that_fails_is_rolled_back(kind, pace, reason):
    with fast(pace, bad=kind) as region:
        shop = Shop(region)
        assert shop.create(Release="bad") == "ROLLBACK_COMPLETE"
        (failed,) = failing(shop.reasons())
        assert re.match(reason, failed)
        assert region.stack("shop").reason == ""
        assert "The following resource(s) failed to create: [Group]. Rollback requested by user." in shop.reasons(
            "shop"
        )
        assert (region.engine.groups, region.instances()) == ({}, [])
        with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
            shop.update(Release="v1")
        shop.cloudformation.delete_stack(StackName="shop")
        assert region.settled("shop") == "DELETE_COMPLETE"


def test_a_creation_that_fails_may_delete_the_stack():
    with fast(bad="abandons") as region:
        assert Shop(region).create(Release="bad", more={"OnFailure": "DELETE"}) == "DELETE_COMPLETE"


def test_a_rolling_update_replaces_a_batch_at_a_time():
    with fast() as region:
        shop = Shop(region, rolling={"MinInstancesInService": 2, "MaxBatchSize": 2})
        shop.create(Release="v1", Capacity="4")
        assert shop.update(Release="v2", Capacity="4") == "UPDATE_COMPLETE"
        assert shop.releases() == ["v2"] * 4
        reasons = shop.reasons()
        assert (
            "Rolling update initiated. Terminating 4 obsolete instance(s) in batches of 2, while keeping at least 2 instance(s) "
            "in service. Waiting on resource signals with a timeout of PT5M when new instances are added to the autoscaling group."
        ) in reasons
        assert [reason for reason in reasons if "Progress" in reason][-1].endswith("(Progress 100%).")
        waits = "New instance(s) added to autoscaling group - Waiting on 2 resource signal(s) with a timeout of PT5M."
        assert reasons.count(waits) == 2
        assert (region.group().smallest, region.group().largest, region.group().desired) == (1, 4, 4)
        assert region.group().suspended == set()


def test_an_additional_batch_keeps_the_capacity():
    with fast() as region:
        shop = Shop(region, rolling=WITH_BATCH)
        shop.create(Release="v1")
        seen: list[int] = []
        update_counting(shop, seen, Release="v2")
        assert min(seen) >= 2
        assert shop.releases() == ["v2", "v2"]
        assert "Temporarily setting autoscaling group MinSize and DesiredCapacity to 3." in shop.reasons()
        assert [one for one in shop.reasons() if "replacing with" in one][-1].endswith(
            "replacing with 0 new instance(s)."
        )
        assert (region.group().smallest, region.group().desired) == (1, 2)


def update_counting(shop: Shop, seen: list[int], **given: str) -> str:
    """Updates, and counts how many are in service meanwhile."""
    region = shop.region
    shop.update(wait=False, **given)
    stack = region.stack("shop")

    def ended() -> bool:
        seen.append(len(region.instances()))
        return stack.settled

    region.wait(ended, "the end of the update")
    return stack.status


def test_a_desired_capacity_of_the_template_is_set_again_on_the_way_back():
    """Without one, the room that was made for the update stays."""
    for given, left in (
        ({"DesiredCapacity": {"Ref": "Capacity"}}, 2),
        ({"DesiredCapacity": {"Ref": "AWS::NoValue"}, "MinSize": 2}, 3),
    ):
        with fast(bad="abandons") as region:
            shop = Shop(region, rolling=WITH_BATCH, **given)
            shop.template["Resources"]["Group"]["UpdatePolicy"]["AutoScalingScheduledAction"] = {
                "IgnoreUnmodifiedGroupSizeProperties": True
            }
            shop.create(Release="v1")
            assert shop.update(Release="bad") == "UPDATE_ROLLBACK_COMPLETE"
            assert (region.group().smallest, region.group().desired) == (2 if "MinSize" in given else 1, left)


@pytest.mark.parametrize("rolling", [{}, WITH_BATCH], ids=["rolling", "with batch"])
def test_a_bad_release_ends_as_before(rolling):
    a_bad_release_ends_as_before(rolling)


def a_bad_release_ends_as_before(rolling: dict, pace=FAST) -> None:
    with fast(pace, bad="abandons") as region:
        shop = Shop(region, rolling=rolling)
        shop.create(Release="v1")
        before = len(region.group().activities)
        assert shop.update(Release="bad") == "UPDATE_ROLLBACK_COMPLETE"
        region.in_service(2)
        assert shop.releases() == ["v1", "v1"]
        (reason,) = failing(shop.reasons())
        assert re.match(r"Received [12] FAILURE signal\(s\) out of 2\.  ", reason)
        assert "The following resource(s) failed to update: [Group]. " in shop.reasons("shop")
        assert shop.statuses()[-5:] == [
            "CREATE_COMPLETE",
            "UPDATE_IN_PROGRESS",
            "UPDATE_ROLLBACK_IN_PROGRESS",
            "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
            "UPDATE_ROLLBACK_COMPLETE",
        ]
        # The first that fails is the last one, but for those that its group launches before the way back begins.
        failed = [one for one in region.group().activities[:-before] if one.status == "Cancelled"]
        assert 1 <= len(failed) <= 2
        assert "Lifecycle Action Completed with ABANDON Result" in failed[0].message


def test_a_signal_that_does_not_come_is_a_failure():
    with fast(IMPATIENT, bad="silent") as region:
        shop = Shop(region)
        shop.create(Release="v1")
        assert shop.update(Release="bad") == "UPDATE_ROLLBACK_COMPLETE"
        missing = "Failed to receive 1 resource signal(s) for the current batch.  Each resource signal timeout is counted as a FAILURE."
        assert missing in shop.reasons()


def test_some_failures_may_be_allowed():
    with fast(IMPATIENT, flaky=Outcome("silent")) as region:
        shop = Shop(region, rolling={"MinSuccessfulInstancesPercent": 0})
        shop.create(Release="v1")
        shop.update(wait=False, Release="flaky")
        assert region.settled("shop") == "UPDATE_COMPLETE"


def test_an_update_can_be_cancelled():
    an_update_can_be_cancelled()


def an_update_can_be_cancelled() -> None:
    with fast(slow=Outcome(boot=1.5)) as region:
        shop = Shop(region)
        shop.create(Release="v1")
        shop.update(wait=False, Release="slow")
        region.wait(lambda: region.stack("shop").waiting, "an update that waits for signals")
        shop.cloudformation.cancel_update_stack(StackName="shop")
        assert region.settled("shop") == "UPDATE_ROLLBACK_COMPLETE"
        assert "Resource update cancelled" in shop.reasons()
        region.in_service(2)
        assert shop.releases() == ["v1", "v1"]
        with pytest.raises(ClientError, match="CancelUpdateStack cannot be called from current stack status"):
            shop.cloudformation.cancel_update_stack(StackName="shop")


def test_a_way_back_that_fails_goes_on_when_asked():
    """The old release does not boot any more: UPDATE_ROLLBACK_FAILED, until it does again."""
    kinds = {"v1": "good"}
    with fast(bad="abandons") as region:
        shop = Shop(region)
        shop.create(Release="v1")
        # From here on instances of v1 fail, too.
        good, region.engine.launch = region.engine.launch, launching_by(region, kinds)
        kinds["v1"] = "abandons"
        assert shop.update(Release="bad") == "UPDATE_ROLLBACK_FAILED"
        with pytest.raises(ClientError, match="is in UPDATE_ROLLBACK_FAILED state and can not be updated"):
            shop.update(Release="v3")
        region.engine.launch = good
        shop.cloudformation.continue_update_rollback(StackName="shop")
        assert region.settled("shop") == "UPDATE_ROLLBACK_COMPLETE"
        region.in_service(2)
        assert shop.releases() == ["v1", "v1"]


def launching_by(region, kinds: dict[str, str]):
    return lambda spec: Scripted(region, spec, Outcome(kinds.get(release_of(spec), "abandons")), 8080)


# Replacing updates.


def test_a_replacing_update_makes_another_group():
    with fast() as region:
        shop = Shop(region, policy=REPLACING)
        shop.create(Release="v1")
        old = region.group().name
        assert shop.update(Release="v2") == "UPDATE_COMPLETE"
        assert list(region.engine.groups) != [old]
        region.in_service(2)
        assert shop.releases() == ["v2", "v2"]
        assert (
            "Requested update requires the creation of a new physical resource; hence creating one." in shop.reasons()
        )
        assert shop.statuses()[-2:] == ["UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"]


def test_a_replacing_update_is_all_or_nothing():
    with fast(bad="abandons") as region:
        shop = Shop(region, policy=REPLACING)
        shop.create(Release="v1")
        group, ids = region.group().name, {one.id for one in region.instances()}
        assert shop.update(Release="bad") == "UPDATE_ROLLBACK_COMPLETE"
        assert list(region.engine.groups) == [group]
        assert {one.id for one in region.instances()} == ids


# What is refused, and what is left alone.


def test_what_is_refused():
    with fast() as region:
        shop = Shop(region)
        client = shop.cloudformation
        with pytest.raises(ClientError, match=r"Parameters: \[Release\] must have values"):
            shop.create()
        shop.create(Release="v1", Capacity="1", more={"EnableTerminationProtection": True})
        with pytest.raises(client.exceptions.AlreadyExistsException):
            shop.create(Release="v1")
        with pytest.raises(ClientError, match="No updates are to be performed."):
            shop.update(Release="v1")
        with pytest.raises(ClientError, match="cannot be deleted while TerminationProtection is enabled"):
            client.delete_stack(StackName="shop")
        with pytest.raises(ClientError, match="does not exist"):
            client.describe_stacks(StackName="nobody")
        signal = {"LogicalResourceId": "Group", "UniqueId": "i-1", "Status": "SUCCESS"}
        with pytest.raises(ClientError, match="is in CREATE_COMPLETE state and cannot be signaled"):
            client.signal_resource(StackName="shop", **signal)
        with pytest.raises(ClientError, match="Stack nobody does not exist"):
            client.signal_resource(StackName="nobody", **signal)


def test_min_in_service_has_to_be_below_max_size():
    with fast() as region:
        shop = Shop(region, rolling={"MinInstancesInService": 4})
        shop.create(Release="v1")
        assert shop.update(Release="v2") == "UPDATE_ROLLBACK_COMPLETE"
        assert "MinInstancesInService must be less than the autoscaling group's MaxSize" in shop.reasons()


def test_a_change_of_the_size_alone_replaces_nobody():
    with fast() as region:
        shop = Shop(region)
        shop.create(Release="v1")
        ids = {one.id for one in region.instances()}
        assert shop.update(Capacity="3") == "UPDATE_COMPLETE"
        assert ids < {one.id for one in region.in_service(3)}


def test_unmodified_sizes_are_ignored_where_that_is_asked_for():
    with fast() as region:
        policy = {"AutoScalingScheduledAction": {"IgnoreUnmodifiedGroupSizeProperties": True}}
        shop = Shop(region, policy=policy)
        shop.create(Release="v1")
        region.client("autoscaling").set_desired_capacity(AutoScalingGroupName=region.group().name, DesiredCapacity=3)
        region.in_service(3)
        shop.template["Resources"]["Group"]["Properties"]["MaxSize"] = 5
        assert shop.update() == "UPDATE_COMPLETE"
        assert (region.group().largest, region.group().desired) == (5, 3)


def test_a_change_set_shows_what_would_change():
    with fast() as region:
        shop = Shop(region)
        shop.create(Release="v1")
        client = shop.cloudformation
        client.create_change_set(ChangeSetName="next", **shop.call({"Release": "v2"}))
        shown = client.describe_change_set(ChangeSetName="next", StackName="shop")
        changes = {one["ResourceChange"]["LogicalResourceId"]: one["ResourceChange"] for one in shown["Changes"]}
        assert set(changes) == {"Launch", "Group"}
        assert changes["Group"]["Replacement"] == "False"
        assert changes["Group"]["Details"][0]["Evaluation"] == "Dynamic"
        client.execute_change_set(ChangeSetName="next", StackName="shop")
        assert region.settled("shop") == "UPDATE_COMPLETE"
        assert shop.releases() == ["v2", "v2"]
        client.create_change_set(ChangeSetName="none", **shop.call({"Release": "v2"}))
        shown = client.describe_change_set(ChangeSetName="none", StackName="shop")
        assert (shown["Status"], shown["Changes"]) == ("FAILED", [])
        assert "didn't contain changes" in shown["StatusReason"]


def test_a_stack_without_a_group_comes_changes_and_goes():
    bucket = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "Properties": {"BucketName": "kept"}}
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 30}}
    with fast() as region:
        client = region.client("cloudformation")
        template = {"Resources": {"Kept": bucket, "Queue": queue}, "Outputs": {"Url": {"Value": {"Ref": "Queue"}}}}
        client.create_stack(StackName="data", TemplateBody=json.dumps(template))
        assert region.settled("data") == "CREATE_COMPLETE"
        queue["Properties"]["VisibilityTimeout"] = 60
        client.update_stack(StackName="data", TemplateBody=json.dumps(template))
        assert region.settled("data") == "UPDATE_COMPLETE"
        url = client.describe_stacks(StackName="data")["Stacks"][0]["Outputs"][0]["OutputValue"]
        found = region.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
        assert found["Attributes"]["VisibilityTimeout"] == "60"
        client.delete_stack(StackName="data")
        assert region.settled("data") == "DELETE_COMPLETE"
        assert [one["Name"] for one in region.client("s3").list_buckets()["Buckets"]] == ["kept"]


def test_what_failed_is_found_by_its_operation():
    with fast(bad="abandons") as region:
        shop = Shop(region)
        shop.create(Release="v1")
        assert shop.update(Release="bad") == "UPDATE_ROLLBACK_COMPLETE"
        found = shop.cloudformation.describe_events(StackName="shop", Filters={"FailedEvents": True})["OperationEvents"]
        (failed,) = found
        assert (failed["LogicalResourceId"], failed["EventType"]) == ("Group", "PROVISIONING_ERROR")
        assert failed["OperationType"] == "UPDATE_STACK"
        whole = shop.cloudformation.describe_events(OperationId=failed["OperationId"])["OperationEvents"]
        assert whole[-1]["ResourceStatus"] == "UPDATE_IN_PROGRESS"


def test_a_stack_that_is_not_rolled_back_by_itself():
    with fast(bad="abandons") as region:
        shop = Shop(region)
        shop.create(Release="v1")
        shop.cloudformation.update_stack(**shop.call({"Release": "bad"}), DisableRollback=True)
        assert region.settled("shop") == "UPDATE_FAILED"
        shop.cloudformation.rollback_stack(StackName="shop")
        assert region.settled("shop") == "UPDATE_ROLLBACK_COMPLETE"
        region.in_service(2)
        assert shop.releases() == ["v1", "v1"]
