"""The SQS stand-in is as strict as SQS, and does on purpose what SQS does on a bad day."""

import time

import boto3
import botocore.exceptions
import pytest


@pytest.fixture
def client(sqs):
    return sqs.client()


def refused(code: str, message: str = ""):
    return pytest.raises(botocore.exceptions.ClientError, match=rf"\({code}\).*{message}")


def receive(client, url: str, most: int = 10, **more) -> list[dict]:
    return client.receive_message(QueueUrl=url, MaxNumberOfMessages=most, **more).get("Messages", [])


def bodies(client, url: str, **more) -> list[str]:
    return [message["Body"] for message in receive(client, url, **more)]


def test_parameters_have_the_limits_of_sqs(sqs, client):
    url = sqs.make("jobs")
    for name, values in {"MaxNumberOfMessages": (0, 11), "VisibilityTimeout": (-1, 43_201), "WaitTimeSeconds": (-1, 21)}.items():
        for value in values:
            with refused("InvalidParameterValue", name):
                client.receive_message(QueueUrl=url, **{name: value})
    with refused("InvalidAttributeName"):
        client.receive_message(QueueUrl=url, MessageSystemAttributeNames=["Sender"])
    with refused("InvalidParameterValue", "not valid for this queue type"):
        client.receive_message(QueueUrl=url, ReceiveRequestAttemptId="a")
    with refused("UnknownParameter", "DelaySeconds"):
        client.send_message(QueueUrl=url, MessageBody="a", DelaySeconds=5)
    with refused("InvalidMessageContents"):
        client.send_message(QueueUrl=url, MessageBody="\x00")
    with refused("InvalidParameterValue", "reserved|invalid"):
        client.send_message(QueueUrl=url, MessageBody="a", MessageAttributes={"AWS.x": {"DataType": "String", "StringValue": "x"}})


def test_batches_have_one_to_ten_entries_of_different_ids(sqs, client):
    url = sqs.make("jobs")
    for entries, code in {
        (): "EmptyBatchRequest",
        tuple(map(str, range(11))): "TooManyEntriesInBatchRequest",
        ("a", "b", "a"): "BatchEntryIdsNotDistinct",
        ("a b",): "InvalidBatchEntryId",
    }.items():
        with refused(code):
            client.delete_message_batch(QueueUrl=url, Entries=[{"Id": id_, "ReceiptHandle": "r"} for id_ in entries])
    answer = client.delete_message_batch(QueueUrl=url, Entries=[{"Id": "a", "ReceiptHandle": "r"}])
    [failed] = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("a", "ReceiptHandleIsInvalid", True)


def test_only_the_newest_receipt_deletes(sqs, client):
    url = sqs.make("jobs")
    sqs.send(url, "a")
    [old] = receive(client, url, VisibilityTimeout=1)
    sqs.advance(1)
    [new] = receive(client, url)
    client.delete_message(QueueUrl=url, ReceiptHandle=old["ReceiptHandle"])
    assert list(sqs.left("jobs")) == ["a"], "it says yes and does nothing"
    with refused("InvalidParameterValue", "not available for visibility timeout change"):
        client.change_message_visibility(QueueUrl=url, ReceiptHandle=old["ReceiptHandle"], VisibilityTimeout=9)
    client.delete_message(QueueUrl=url, ReceiptHandle=new["ReceiptHandle"])
    client.delete_message(QueueUrl=url, ReceiptHandle=new["ReceiptHandle"])
    assert sqs.left("jobs") == {} and sqs.state("jobs")["deleted"] == [["a", 2]]


def test_a_message_is_hidden_for_twelve_hours_in_all(sqs, client):
    url = sqs.make("jobs")
    sqs.send(url, "a")
    [message] = receive(client, url, VisibilityTimeout=30_000)
    handle = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
    sqs.advance(20_000)
    with refused("InvalidParameterValue", "Total VisibilityTimeout"):
        client.change_message_visibility(**handle, VisibilityTimeout=23_201)
    client.change_message_visibility(**handle, VisibilityTimeout=23_190)
    sqs.advance(23_190)
    with refused("InvalidParameterValue", "not available"):
        client.change_message_visibility(**handle, VisibilityTimeout=1)
    assert bodies(client, url) == ["a"]


def test_a_group_is_blocked_while_one_of_it_is_in_flight(sqs, client):
    url = sqs.make("jobs.fifo")
    sqs.send(url, *"abcdef", groups=2)
    first = receive(client, url, most=1)
    assert [message["Body"] for message in first] == ["a"]
    assert bodies(client, url, most=2) == ["b", "d"] and bodies(client, url) == []
    client.change_message_visibility(QueueUrl=url, ReceiptHandle=first[0]["ReceiptHandle"], VisibilityTimeout=0)
    [again] = receive(client, url, most=1)
    assert again["Body"] == "a" and again["ReceiptHandle"] != first[0]["ReceiptHandle"]
    with refused("InvalidParameterValue", "has expired"):
        client.delete_message(QueueUrl=url, ReceiptHandle=first[0]["ReceiptHandle"])
    client.delete_message(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    assert bodies(client, url) == ["c", "e"]


def test_the_same_attempt_brings_the_same_messages(sqs, client):
    url = sqs.make("jobs.fifo")
    sqs.send(url, "a", "b", groups=2)
    first = receive(client, url, most=1, ReceiveRequestAttemptId="one")
    assert receive(client, url, most=1, ReceiveRequestAttemptId="one") == first
    client.change_message_visibility(QueueUrl=url, ReceiptHandle=first[0]["ReceiptHandle"], VisibilityTimeout=60)
    assert bodies(client, url, most=1, ReceiveRequestAttemptId="one") == ["b"], "its visibility was changed"


def test_what_is_sent_twice_within_five_minutes_is_delivered_once(sqs, client):
    url = sqs.make("jobs.fifo")
    sent = {"QueueUrl": url, "MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    send = lambda: client.send_message(**sent)["MessageId"]  # noqa: E731
    assert send() == send()
    [message] = receive(client, url)
    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    send()
    assert bodies(client, url) == []
    sqs.advance(300)
    send()
    assert bodies(client, url) == ["a"]
    with refused("InvalidParameterValue", "ContentBasedDeduplication"):
        client.send_message(QueueUrl=url, MessageBody="a", MessageGroupId="g")
    with refused("MissingParameter", "MessageGroupId"):
        client.send_message(QueueUrl=url, MessageBody="a", MessageDeduplicationId="d")


@pytest.mark.parametrize("end", ["", ".fifo"])
def test_what_was_received_too_often_goes_to_the_dead_letters(sqs, client, end):
    url = sqs.make("jobs" + end, dead="dead" + end, after=2)
    sqs.send(url, "a", said={"color": "red"})
    for count in ("1", "2"):
        [message] = receive(client, url, MessageSystemAttributeNames=["ApproximateReceiveCount"], VisibilityTimeout=1)
        assert message["Attributes"] == {"ApproximateReceiveCount": count}
        sqs.advance(1)
    assert receive(client, url) == []
    dead = client.get_queue_url(QueueName="dead" + end)["QueueUrl"]
    [message] = receive(client, dead, MessageAttributeNames=["All"])
    assert message["MessageAttributes"]["color"]["StringValue"] == "red"


def test_a_long_poll_ends_with_the_first_message(sqs, client):
    url = sqs.make("jobs")
    sqs.send(url, "a")
    receive(client, url, VisibilityTimeout=1)
    begun = time.monotonic()
    assert bodies(client, url, WaitTimeSeconds=20) == ["a"] and 0.7 < time.monotonic() - begun < 5
    assert bodies(client, url, WaitTimeSeconds=1) == [] and time.monotonic() - begun > 1.7


def test_queues_come_and_go(sqs, client):
    url = sqs.make("jobs")
    sqs.send(url, "a", "b")
    client.purge_queue(QueueUrl=url)
    assert sqs.left("jobs") == {}
    with refused("PurgeQueueInProgress|AWS.SimpleQueueService.PurgeQueueInProgress"):
        client.purge_queue(QueueUrl=url)
    client.delete_queue(QueueUrl=url)
    with refused("QueueDoesNotExist"):
        receive(client, url)
    with refused("QueueDeletedRecently"):
        client.create_queue(QueueName="jobs")
    sqs.advance(60)
    assert client.create_queue(QueueName="jobs")["QueueUrl"] == url


def test_too_many_in_flight_are_told_to_a_short_poll_only(sqs, client):
    url = sqs.make("jobs")
    sqs.set(in_flight=2)
    sqs.send(url, "a", "b", "c")
    receive(client, url, most=2)
    with refused("OverLimit"):
        receive(client, url)
    assert bodies(client, url, WaitTimeSeconds=1) == []


def test_who_is_not_known_or_late_is_refused(sqs, client):
    sqs.make("jobs")
    with refused("InvalidClientTokenId|UnrecognizedClientException"):
        sqs.client("AKIANOBODY").get_queue_url(QueueName="jobs")
    with refused("SignatureDoesNotMatch|InvalidSignatureException"):
        sqs.client(secret="wrong").get_queue_url(QueueName="jobs")
    keys = {"aws_access_key_id": "AKIACALLER", "aws_secret_access_key": "s3cr3t"}
    elsewhere = boto3.client("sqs", region_name="eu-west-1", endpoint_url=sqs.env["AWS_ENDPOINT_URL_SQS"], **keys)
    with refused("SignatureDoesNotMatch|InvalidSignatureException", "valid region"):
        elsewhere.get_queue_url(QueueName="jobs")
    sqs.set(ahead=400)
    with refused("SignatureDoesNotMatch|InvalidSignatureException", "Signature expired"):
        client.get_queue_url(QueueName="jobs")
    sqs.set(ahead=0, expired=["AKIACALLER"])
    with refused("ExpiredToken"):
        sqs.client().get_queue_url(QueueName="jobs")


def test_faults_are_those_of_a_bad_day(sqs, client):
    url = sqs.make("jobs")
    sqs.send(url, *"abcd")
    sqs.fault("lost", operation="ReceiveMessage", times=1)
    with pytest.raises(botocore.exceptions.HTTPClientError):
        receive(client, url, most=1)
    assert [body for body, hidden in sqs.left("jobs").items() if hidden] == ["a"], "it was done"
    sqs.fault("duplicate", operation="ReceiveMessage", times=1)
    assert bodies(client, url, most=3) == ["b", "c", "d"]
    again = receive(client, url, most=3)
    assert sorted(message["Body"] for message in again) == ["b", "c", "d"]
    sqs.fault("partial", operation="DeleteMessageBatch", places=[1], times=1)
    entries = [{"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]} for at, message in enumerate(again)]
    answer = client.delete_message_batch(QueueUrl=url, Entries=entries)
    assert [failed["Id"] for failed in answer["Failed"]] == ["1"] and len(sqs.left("jobs")) == 2
    sqs.fault("late", operation="GetQueueUrl", seconds=0.5, times=1)
    begun = time.monotonic()
    client.get_queue_url(QueueName="jobs")
    assert time.monotonic() - begun > 0.4
    for kind, code in {"throttled": "RequestThrottled", "denied": "AccessDenied", "gone": "QueueDoesNotExist"}.items():
        sqs.fault(kind, operation="GetQueueUrl", times=1)
        with refused(f".*{code}.*"):
            client.get_queue_url(QueueName="jobs")
    sqs.recover()
    assert client.get_queue_url(QueueName="jobs")["QueueUrl"] == url
    assert len(sqs.calls("GetQueueUrl")) == 5 and sqs.calls("GetQueueUrl")[1]["status"] == 400
