"""Queues as SQS keeps them: standard and FIFO, with visibility, receipts, deduplication and dead letters.

Without a network, and of time it knows only what `clock` says, in seconds. Calls are in `sqs_calls.py`. It refuses what SQS
refuses, with SQS's codes:

| rule | source |
|---|---|
| 1 to 10 messages, a wait of 0 to 20 s, a visibility of 0 to 43200 s | [ReceiveMessage] |
| only the newest receipt of a message deletes it: with an older one SQS says yes and does nothing, of FIFO it says no | [DeleteMessage] |
| a message is hidden for at most 12 h from its reception; only one that is hidden can be hidden for longer | [ChangeMessageVisibility] |
| batches of 1 to 10 entries, whose ids differ, of up to 80 letters, digits, hyphens and underscores | [DeleteMessageBatch] |
| of a FIFO queue no message of a group while one of it is hidden; the same again for the same attempt within 5 minutes | [ReceiveMessage], [FIFO] |
| what has the same deduplication id within 5 minutes is accepted and not delivered | [SendMessage] |
| a message received more than maxReceiveCount times goes to the dead-letter queue, of a FIFO queue to a FIFO queue | [dead letters] |
| 120,000 messages in flight: OverLimit to a short poll, nothing to a long one | [quotas] |
| one purge in 60 s | [PurgeQueue] |

[ReceiveMessage] and the like: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
[FIFO]: …/SQSDeveloperGuide/FIFO-queues-understanding-logic.html · [dead letters]: …/sqs-dead-letter-queues.html · [quotas]: …/quotas-messages.html

Beyond SQS it refuses parameters that it does not know, so that a name with a mistake in it does not pass. It has no delays, no
server-side encryption, no tags and no MD5 of attributes.
"""

import hashlib
import heapq
import json
import re
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice, takewhile

REGION, ACCOUNT = "eu-central-1", "123456789012"
HIDDEN_AT_MOST, IN_FLIGHT, FIVE_MINUTES = 43_200, 120_000, 300
LARGEST = 1 << 20
SYSTEM = {"All", "SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "SequenceNumber",
          "MessageDeduplicationId", "MessageGroupId", "AWSTraceHeader", "DeadLetterQueueSourceArn"}  # fmt: skip
COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
SETTABLE = {"VisibilityTimeout": "30", "MessageRetentionPeriod": "345600", "ReceiveMessageWaitTimeSeconds": "0"}


class Refused(Exception):
    """What SQS does not do: the code by which it says so, and what it says."""

    def __init__(self, code: str, message: str, status: int = 400):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


def invalid(name: str, value, reason: str) -> Refused:
    return Refused("InvalidParameterValue", f"Value {value} for parameter {name} is invalid. Reason: {reason}")


def within(asked: dict, name: str, low: int, high: int, default: int) -> int:
    value = asked.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise invalid(name, value, f"Must be between {low} and {high}, if provided.")
    return value


def text_of(asked: dict, name: str) -> str:
    if not isinstance(value := asked.get(name), str) or not value:
        raise Refused("MissingParameter", f"The request must contain the parameter {name}.")
    return value


@dataclass
class Message:
    number: int
    id: str
    body: str
    said: dict
    sender: str
    sent_ms: int
    group: str | None = None
    deduplication: str | None = None
    source: str | None = None
    count: int = 0
    first_ms: int | None = None
    # The newest receipt's reception, and until when it hides the message.
    received: float = 0
    hidden_until: float = 0


class Queue:
    def __init__(self, number: int, name: str, attributes: dict, clock):
        self.number, self.name, self.clock = number, name, clock
        self.fifo = name.endswith(".fifo")
        self.attributes = {**SETTABLE, **attributes}
        self.url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
        self.arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
        self.messages: dict[int, Message] = {}
        self.sent = 0
        self.sent_at = 0.0
        # Of a standard queue: numbers that may be visible, and (until, number) of those that are hidden.
        self.ready: deque[int] = deque()
        self.hidden: list[tuple[float, int]] = []
        # Of a FIFO queue: the numbers of each group in their order.
        self.groups: dict[str, deque[int]] = {}
        self.deduplicated: dict[str, tuple[float, str, int]] = {}
        self.attempts: dict[str, tuple[float, list[tuple[int, int]]]] = {}
        self.deleted: list[Message] = []
        self.purged = -60.0

    @property
    def redrive(self) -> dict:
        return json.loads(self.attributes.get("RedrivePolicy") or "{}")

    def in_flight(self) -> int:
        now = self.clock()
        return sum(message.hidden_until > now for message in self.messages.values())

    def next_visible(self) -> float | None:
        """When the next hidden message shows, if one is."""
        if self.fifo:
            now = self.clock()
            return min((message.hidden_until for message in self.messages.values() if message.hidden_until > now), default=None)
        return self.hidden[0][0] if self.hidden else None

    def put(self, message: Message) -> None:
        self.messages[message.number] = message
        if self.fifo:
            self.groups.setdefault(message.group, deque()).append(message.number)
        else:
            self.ready.append(message.number)

    def remove(self, message: Message) -> None:
        del self.messages[message.number]
        if self.fifo:
            group = self.groups[message.group]
            group.remove(message.number)
            if not group:
                del self.groups[message.group]

    def hide(self, message: Message, until: float) -> None:
        message.hidden_until = until
        if not self.fifo:
            heapq.heappush(self.hidden, (until, message.number))

    def visible(self):
        """Messages that can be received now, in the order in which they are."""
        now = self.clock()
        if self.fifo:
            for group in list(self.groups.values()):
                # Those that were received at all are the first ones.
                begun = takewhile(lambda message: message.count, (self.messages[number] for number in group))
                if not any(message.hidden_until > now for message in begun):
                    yield from [self.messages[number] for number in islice(group, 10)]
            return
        while self.hidden and self.hidden[0][0] <= now:
            until, number = heapq.heappop(self.hidden)
            if (message := self.messages.get(number)) and message.hidden_until == until:
                self.ready.append(number)
        while self.ready:
            message = self.messages.get(self.ready.popleft())
            if message and message.hidden_until <= now:
                yield message

    def receipt(self, message: Message) -> str:
        return f"AQEB{self.number}-{message.number}-{message.count}"

    def of_receipt(self, receipt: str) -> tuple[int, int]:
        """Message and reception that it names."""
        found = re.fullmatch(r"AQEB(\d+)-(\d+)-(\d+)", receipt)
        if not found or int(found[1]) != self.number or int(found[2]) > self.sent:
            raise Refused("ReceiptHandleIsInvalid", f'The input receipt handle "{receipt}" is not a valid receipt handle.')
        return int(found[2]), int(found[3])

    def delete(self, receipt: str) -> None:
        number, reception = self.of_receipt(receipt)
        message = self.messages.get(number)
        if message is None:
            return
        if self.fifo and (message.count != reception or message.hidden_until <= self.clock()):
            raise invalid("ReceiptHandle", receipt, "The receipt handle has expired.")
        if message.count == reception:
            self.remove(message)
            self.deleted.append(message)

    def change(self, receipt: str, seconds: int) -> None:
        number, reception = self.of_receipt(receipt)
        message, now = self.messages.get(number), self.clock()
        if message is None or message.count != reception or message.hidden_until <= now:
            reason = "Message does not exist or is not available for visibility timeout change."
            raise invalid("ReceiptHandle", receipt, reason)
        if now - message.received + seconds > HIDDEN_AT_MOST:
            reason = f"Total VisibilityTimeout for the message is beyond the limit [{HIDDEN_AT_MOST} seconds]"
            raise invalid("VisibilityTimeout", seconds, reason)
        # What is asked again for the same attempt comes no more.
        self.attempts = {name: kept for name, kept in self.attempts.items() if (number, reception) not in kept[1]}
        self.hide(message, now + seconds)

    def purge(self) -> None:
        now = self.clock()
        if now < self.purged + 60:
            raise Refused("PurgeQueueInProgress", f"Only one PurgeQueue operation on {self.name} is allowed every 60 seconds.")
        self.purged = now
        self.messages.clear()
        self.groups.clear()

    def send(self, asked: dict, sender: str) -> dict:
        body, said = text_of(asked, "MessageBody"), asked.get("MessageAttributes", {})
        check_content(body, said)
        group, deduplication = asked.get("MessageGroupId"), asked.get("MessageDeduplicationId")
        if self.fifo:
            group = text_of(asked, "MessageGroupId")
            if not deduplication and self.attributes.get("ContentBasedDeduplication") == "true":
                deduplication = hashlib.sha256(body.encode()).hexdigest()
            if not deduplication:
                reason = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided"
                raise Refused("InvalidParameterValue", reason)
        elif deduplication:
            reason = "The request include parameter that is not valid for this queue type"
            raise invalid("MessageDeduplicationId", deduplication, reason)
        digest, now = hashlib.md5(body.encode()).hexdigest(), self.clock()
        if self.fifo:
            before = self.deduplicated.get(deduplication)
            if before and now < before[0] + FIVE_MINUTES:
                return {"MessageId": before[1], "MD5OfMessageBody": digest, "SequenceNumber": f"{before[2]:020}"}
        self.sent += 1
        self.sent_at = now
        id_ = f"{self.number:08x}-0000-4000-8000-{self.sent:012x}"
        self.put(Message(self.sent, id_, body, said, sender, int(time.time() * 1000), group, deduplication))
        answer = {"MessageId": id_, "MD5OfMessageBody": digest}
        if self.fifo:
            self.deduplicated[deduplication] = (now, id_, self.sent)
            answer["SequenceNumber"] = f"{self.sent:020}"
        return answer

    def counts(self) -> dict:
        return {"sent": self.sent, "sent_at": self.sent_at, "left": len(self.messages), "deleted": len(self.deleted)}

    def state(self) -> dict:
        now = self.clock()
        left = {message.body: round(max(0, message.hidden_until - now), 3) for message in self.messages.values()}
        deleted = [[message.body, message.count] for message in self.deleted]
        return {"sent": self.sent, "left": left, "deleted": deleted}


def check_content(body: str, said: dict) -> None:
    if re.search(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", body):
        raise Refused("InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | …")
    if len(said) > 10:
        raise Refused("InvalidParameterValue", f"Number of message attributes [{len(said)}] exceeds the allowed maximum [10].")
    size = len(body.encode())
    for name, value in said.items():
        reserved = name.lower().startswith(("aws.", "amazon."))
        if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", name) or len(name) > 256 or reserved:
            raise Refused("InvalidParameterValue", f"The message attribute name '{name}' is invalid.")
        kind = value.get("DataType", "").partition(".")[0]
        content = value.get("BinaryValue" if kind == "Binary" else "StringValue")
        if kind not in ("String", "Number", "Binary") or not content:
            raise Refused("InvalidParameterValue", f"The message attribute '{name}' must contain a non-empty value of its type.")
        size += len(name) + len(value["DataType"]) + len(content.encode())
    if size > LARGEST:
        message = f"One or more parameters are invalid. Reason: Message must be shorter than {LARGEST} bytes."
        raise Refused("InvalidParameterValue", message)
