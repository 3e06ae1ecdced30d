"""What the API of SQS does with queues: each operation, with the checks that SQS makes of its parameters.

    queues = Queues(clock)
    url = queues.call("CreateQueue", {"QueueName": "jobs"})["QueueUrl"]
    queues.call("ReceiveMessage", {"QueueUrl": url, "MaxNumberOfMessages": 10})

The rules and where they are written: `sqs_queue.py`.
"""

import hashlib
import json
import re
import time
from itertools import islice

from harness.aws.sqs_queue import (
    ACCOUNT,
    COUNTS,
    FIVE_MINUTES,
    HIDDEN_AT_MOST,
    IN_FLIGHT,
    SETTABLE,
    SYSTEM,
    Message,
    Queue,
    Refused,
    invalid,
    text_of,
    within,
)


class Queues:
    """All queues of an account. `call` does what an operation of the API asks for, and returns its answer."""

    def __init__(self, clock):
        self.clock = clock
        self.queues: dict[str, Queue] = {}
        self.gone: dict[str, float] = {}
        self.made = 0
        # A test may wish to see the limit.
        self.in_flight = IN_FLIGHT

    def call(self, operation: str, asked: dict, sender: str = "AIDAEXAMPLE") -> dict:
        if operation not in PARAMETERS:
            raise Refused("InvalidAction", f"The action {operation} is not valid for this endpoint.")
        if unknown := asked.keys() - PARAMETERS[operation]:
            raise Refused("UnknownParameter", f"{operation} has no {', '.join(sorted(unknown))}")
        return getattr(self, "do_" + operation)(asked, sender)

    def queue(self, asked: dict) -> Queue:
        """By the last part of its URL: a stand-in has another host than SQS."""
        account, _, name = text_of(asked, "QueueUrl").rpartition("/")
        if not account.endswith(ACCOUNT) or name not in self.queues:
            raise Refused("QueueDoesNotExist", "The specified queue does not exist.")
        return self.queues[name]

    def entries(self, asked: dict) -> list[dict]:
        entries = asked.get("Entries")
        if not entries:
            raise Refused("EmptyBatchRequest", "There should be at least one entry in the request.")
        if len(entries) > 10:
            message = f"Maximum number of entries per request are 10. You have sent {len(entries)}."
            raise Refused("TooManyEntriesInBatchRequest", message)
        ids = [text_of(entry, "Id") for entry in entries]
        for id_ in ids:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", id_):
                message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores."
                raise Refused("InvalidBatchEntryId", message)
        if twice := [id_ for id_ in ids if ids.count(id_) > 1]:
            raise Refused("BatchEntryIdsNotDistinct", f"Id {twice[0]} repeated.")
        return entries

    def each(self, asked: dict, do) -> dict:
        """Does each entry of a batch; one that is refused fails alone."""
        answer: dict[str, list] = {"Successful": []}
        for entry in self.entries(asked):
            try:
                answer["Successful"].append({"Id": entry["Id"], **(do(entry) or {})})
            except Refused as refused:
                failed = {"Id": entry["Id"], "SenderFault": True, "Code": refused.code, "Message": refused.message}
                answer.setdefault("Failed", []).append(failed)
        return answer

    def do_CreateQueue(self, asked: dict, _sender: str) -> dict:
        name, attributes = text_of(asked, "QueueName"), asked.get("Attributes", {})
        if not re.fullmatch(r"[A-Za-z0-9_-]+(\.fifo)?", name) or len(name) > 80:
            message = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
            raise Refused("InvalidParameterValue", message)
        if (attributes.get("FifoQueue") == "true") != name.endswith(".fifo"):
            raise Refused("InvalidParameterValue", "The name of a FIFO queue can only … end with .fifo suffix.")
        if self.clock() < self.gone.get(name, -60) + 60:
            raise Refused("QueueDeletedRecently", "You must wait 60 seconds after deleting a queue before you can create another …")
        if name not in self.queues:
            self.made += 1
            self.queues[name] = Queue(self.made, name, {}, self.clock)
            self.set(self.queues[name], attributes)
        return {"QueueUrl": self.queues[name].url}

    def set(self, queue: Queue, attributes: dict) -> None:
        known = {*SETTABLE, "RedrivePolicy", "FifoQueue", "ContentBasedDeduplication"}
        if unknown := attributes.keys() - known:
            raise Refused("InvalidAttributeName", f"Unknown Attribute {sorted(unknown)[0]}.")
        within({"VisibilityTimeout": int(attributes.get("VisibilityTimeout", 30))}, "VisibilityTimeout", 0, HIDDEN_AT_MOST, 30)
        if attributes.get("RedrivePolicy"):
            policy = json.loads(attributes["RedrivePolicy"])
            dead = self.by_arn(policy.get("deadLetterTargetArn", ""))
            if dead is None or dead.fifo != queue.fifo or not 1 <= int(policy.get("maxReceiveCount", 0)) <= 1000:
                reason = "its dead letter queue or its maxReceiveCount is not valid"
                raise invalid("RedrivePolicy", attributes["RedrivePolicy"], reason)
        queue.attributes.update(attributes)

    def by_arn(self, arn: str) -> Queue | None:
        return next((queue for queue in self.queues.values() if queue.arn == arn), None)

    def do_SetQueueAttributes(self, asked: dict, _sender: str) -> dict:
        self.set(self.queue(asked), asked.get("Attributes", {}))
        return {}

    def do_DeleteQueue(self, asked: dict, _sender: str) -> dict:
        queue = self.queue(asked)
        del self.queues[queue.name]
        self.gone[queue.name] = self.clock()
        return {}

    def do_PurgeQueue(self, asked: dict, _sender: str) -> dict:
        self.queue(asked).purge()
        return {}

    def do_GetQueueUrl(self, asked: dict, _sender: str) -> dict:
        name = text_of(asked, "QueueName")
        if name not in self.queues or asked.get("QueueOwnerAWSAccountId", ACCOUNT) != ACCOUNT:
            raise Refused("QueueDoesNotExist", "The specified queue does not exist.")
        return {"QueueUrl": self.queues[name].url}

    def do_GetQueueAttributes(self, asked: dict, _sender: str) -> dict:
        queue, names = self.queue(asked), asked.get("AttributeNames", [])
        hidden = queue.in_flight()
        known = {**queue.attributes, "QueueArn": queue.arn, **dict(zip(COUNTS, map(str, (len(queue.messages) - hidden, hidden, 0))))}
        optional = {"RedrivePolicy", "FifoQueue", "ContentBasedDeduplication"}
        if unknown := set(names) - known.keys() - optional - {"All"}:
            raise Refused("InvalidAttributeName", f"Unknown Attribute {sorted(unknown)[0]}.")
        return {"Attributes": {name: value for name, value in known.items() if "All" in names or name in names}}

    def do_SendMessage(self, asked: dict, sender: str) -> dict:
        return self.queue(asked).send(asked, sender)

    def do_SendMessageBatch(self, asked: dict, sender: str) -> dict:
        queue = self.queue(asked)
        return self.each(asked, lambda entry: queue.send(entry, sender))

    def do_DeleteMessage(self, asked: dict, _sender: str) -> dict:
        self.queue(asked).delete(text_of(asked, "ReceiptHandle"))
        return {}

    def do_DeleteMessageBatch(self, asked: dict, _sender: str) -> dict:
        queue = self.queue(asked)
        return self.each(asked, lambda entry: queue.delete(text_of(entry, "ReceiptHandle")))

    def do_ChangeMessageVisibility(self, asked: dict, _sender: str) -> dict:
        queue = self.queue(asked)
        queue.change(text_of(asked, "ReceiptHandle"), within(asked, "VisibilityTimeout", 0, HIDDEN_AT_MOST, -1))
        return {}

    def do_ChangeMessageVisibilityBatch(self, asked: dict, _sender: str) -> dict:
        return self.each(asked, lambda entry: self.do_ChangeMessageVisibility({**entry, "QueueUrl": asked.get("QueueUrl")}, ""))

    def do_ReceiveMessage(self, asked: dict, _sender: str) -> dict:
        """What is there now: to wait is for who calls."""
        queue = self.queue(asked)
        most = within(asked, "MaxNumberOfMessages", 1, 10, 1)
        visibility = within(asked, "VisibilityTimeout", 0, HIDDEN_AT_MOST, int(queue.attributes["VisibilityTimeout"]))
        wait = within(asked, "WaitTimeSeconds", 0, 20, int(queue.attributes["ReceiveMessageWaitTimeSeconds"]))
        attempt, now = asked.get("ReceiveRequestAttemptId"), self.clock()
        if attempt is not None and not queue.fifo:
            reason = "The request include parameter that is not valid for this queue type"
            raise invalid("ReceiveRequestAttemptId", attempt, reason)
        if unknown := set(asked.get("MessageSystemAttributeNames", [])) | set(asked.get("AttributeNames", [])):
            if unknown := unknown - SYSTEM:
                raise Refused("InvalidAttributeName", f"Unknown Attribute {sorted(unknown)[0]}.")
        if len(queue.messages) >= self.in_flight and queue.in_flight() >= self.in_flight:
            if wait == 0 and not queue.fifo:
                raise Refused("OverLimit", f"Too many messages in flight: {self.in_flight}")
            return {}
        taken = self.again(queue, attempt, visibility)
        if taken is None:
            taken = [message for message in islice(self.alive(queue), most)]
            for message in taken:
                message.count += 1
                message.first_ms = message.first_ms or int(time.time() * 1000)
                message.received = now
                queue.hide(message, now + visibility)
            if attempt and taken:
                queue.attempts[attempt] = (now, [(message.number, message.count) for message in taken])
        shown = [shown_of(queue, message, asked) for message in taken]
        return {"Messages": shown} if shown else {}

    def again(self, queue: Queue, attempt: str | None, visibility: int) -> list[Message] | None:
        """What the same attempt has received before, hidden anew."""
        now = self.clock()
        begun, receptions = queue.attempts.get(attempt, (-FIVE_MINUTES, []))
        messages = [queue.messages.get(number) for number, _ in receptions]
        is_held = all(
            message and message.count == count and message.hidden_until > now for message, (_, count) in zip(messages, receptions)
        )
        if not receptions or now >= begun + FIVE_MINUTES or not is_held:
            return None
        for message in messages:
            queue.hide(message, now + visibility)
        return messages

    def alive(self, queue: Queue):
        """Visible messages; what was received too often goes to the dead-letter queue."""
        policy = queue.redrive
        for message in queue.visible():
            if policy and message.count >= int(policy["maxReceiveCount"]):
                dead = self.by_arn(policy["deadLetterTargetArn"])
                queue.remove(message)
                dead.sent += 1
                message.number, message.source, message.hidden_until = dead.sent, queue.arn, 0
                dead.put(message)
            else:
                yield message


def shown_of(queue: Queue, message: Message, asked: dict) -> dict:
    """A message as a reception shows it: with the attributes that were asked for."""
    system = {
        "SenderId": message.sender,
        "SentTimestamp": str(message.sent_ms),
        "ApproximateReceiveCount": str(message.count),
        "ApproximateFirstReceiveTimestamp": str(message.first_ms),
        "MessageGroupId": message.group,
        "MessageDeduplicationId": message.deduplication,
        "SequenceNumber": f"{message.number:020}" if queue.fifo else None,
        "DeadLetterQueueSourceArn": message.source,
    }
    names = {*asked.get("MessageSystemAttributeNames", []), *asked.get("AttributeNames", [])}
    wanted = asked.get("MessageAttributeNames", [])
    system = {name: value for name, value in system.items() if value and ("All" in names or name in names)}
    said = {name: value for name, value in message.said.items() if {"All", ".*", name} & set(wanted)}
    shown = {"MessageId": message.id, "ReceiptHandle": queue.receipt(message), "Body": message.body}
    shown["MD5OfBody"] = hashlib.md5(message.body.encode()).hexdigest()
    return {**shown, **({"Attributes": system} if system else {}), **({"MessageAttributes": said} if said else {})}


ENTRIES = {"QueueUrl", "Entries"}
SENT = {"QueueUrl", "MessageBody", "MessageAttributes", "MessageGroupId", "MessageDeduplicationId"}
PARAMETERS = {
    "CreateQueue": {"QueueName", "Attributes"},
    "SetQueueAttributes": {"QueueUrl", "Attributes"},
    "DeleteQueue": {"QueueUrl"},
    "PurgeQueue": {"QueueUrl"},
    "GetQueueUrl": {"QueueName", "QueueOwnerAWSAccountId"},
    "GetQueueAttributes": {"QueueUrl", "AttributeNames"},
    "SendMessage": SENT,
    "SendMessageBatch": ENTRIES,
    "DeleteMessage": {"QueueUrl", "ReceiptHandle"},
    "DeleteMessageBatch": ENTRIES,
    "ChangeMessageVisibility": {"QueueUrl", "ReceiptHandle", "VisibilityTimeout"},
    "ChangeMessageVisibilityBatch": ENTRIES,
    "ReceiveMessage": {
        "QueueUrl", "MaxNumberOfMessages", "VisibilityTimeout", "WaitTimeSeconds", "MessageAttributeNames",
        "MessageSystemAttributeNames", "AttributeNames", "ReceiveRequestAttemptId",
    },
}  # fmt: skip
