"""SQS on loopback: the queues of `sqs_calls.py` by signed JSON calls, and faults on purpose. `sqs.py` starts and scripts it.

One process with two ports, as `proxy.py`. Whoever is under test calls the first. Tests call the second, which asks for no
signature, is never logged or disturbed, and has `/harness/` besides:

    PUT  /harness/rules    {"faults": [rule…], "ahead": seconds, "expired": [key id…], "in_flight": a limit}
    PUT  /harness/advance  {"seconds": so far ahead the queues' clock goes: what is hidden shows again}
    PUT  /harness/fill     {"queue": name, "bodies": [messages that come all at once]}
    GET  /harness/calls    every call so far
    GET  /harness/state    what each queue was sent, what is left in it and hidden for how long, what was deleted
    GET  /harness/counts   how much of each, and when the last one was sent
    PUT  /harness/reset    no queues, no calls, no rules

It checks each signature as AWS does, with the secret of its key, and refuses one that is more than five minutes from its own
clock, which is `ahead` of this machine's, or whose key's time is over. A rule matches by `operation`. Besides the kinds of
`wire.Faults` it knows:

    error      an error of SQS's: `type`, `message`, `status` (400)
    lost       the call is done, and the connection cut before its answer
    late       the call is done, and answered after `seconds`
    deaf       a reception does not notice that its caller is gone, and hands messages out to nobody, as SQS does
    duplicate  what is received stays visible, so that the next reception brings it again
    partial    of a batch: the entries with these `places` fail with `code`; they are done all the same if `done`

Protocol: <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>. Signatures:
<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import socket
import sys
import time
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from harness import wire  # noqa: E402
from harness.aws.sqs_calls import Queues  # noqa: E402
from harness.aws.sqs_queue import REGION, Refused  # noqa: E402

# Who may call: a caller's own key, and that of the role that `imds.py` gives out.
OF_ROLE = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SECRETS = {"AKIACALLER": "s3cr3t", "ASIAIOSFODNN7EXAMPLE": OF_ROLE, "ASIANEXTEXAMPLE": OF_ROLE}
SKEW_BORNE = 300
# Errors of all services, which have another namespace than those of SQS, and other names than in its older protocol.
OF_ALL = {
    "AccessDenied": "AccessDeniedException",
    "ExpiredToken": "ExpiredTokenException",
    "IncompleteSignature": "IncompleteSignatureException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "InvalidParameterValue": "InvalidParameterValueException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
}


def error(code: str, message: str, status: int = 400) -> wire.Response:
    name = f"com.amazon.coral.service#{OF_ALL[code]}" if code in OF_ALL else f"com.amazonaws.sqs#{code}"
    body = {"__type": name, "message": message}
    headers = {"x-amzn-query-error": f"{code};{'Sender' if status < 500 else 'Receiver'}"}
    return answer_of(body, status, headers)


def answer_of(content, status: int = 200, headers: dict | None = None) -> wire.Response:
    return wire.Response(status, json.dumps(content).encode(), headers or {}, "application/x-amz-json-1.0")


def digest(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


class Signatures:
    """Whether a request is signed by somebody who is known, now, and whole."""

    def __init__(self):
        self.ahead = 0.0
        self.expired: set[str] = set()
        self.keys: dict[tuple, bytes] = {}

    def check(self, request: wire.Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("AWS4-HMAC-SHA256 ")
        fields = dict(part.strip().partition("=")[::2] for part in given.split(","))
        scope = fields.get("Credential", "").split("/")
        if len(scope) != 5 or not fields.get("SignedHeaders") or not fields.get("Signature"):
            raise Refused("IncompleteSignature", "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.")
        id_, day, region, service, _ = scope
        if id_ not in SECRETS:
            raise Refused("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        if (region, service) != (REGION, "sqs"):
            message = f"Credential should be scoped to a valid region and to service 'sqs': {region}/{service}"
            raise Refused("SignatureDoesNotMatch", message)
        at = request.headers.get("x-amz-date", "")
        key = self.keys.get((id_, day)) or digest(("AWS4" + SECRETS[id_]).encode(), day)
        self.keys[id_, day] = key
        for part in (region, service, "aws4_request"):
            key = digest(key, part)
        signed = fields["SignedHeaders"]
        headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signed.split(";"))
        body = hashlib.sha256(request.body).hexdigest()
        canonical = f"{request.method}\n{request.path}\n{request.query}\n{headers}\n{signed}\n{body}"
        scoped = f"{day}/{region}/{service}/aws4_request"
        wanted = digest(key, f"AWS4-HMAC-SHA256\n{at}\n{scoped}\n{hashlib.sha256(canonical.encode()).hexdigest()}").hex()
        if not hmac.compare_digest(wanted, fields["Signature"]):
            raise Refused("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
        late = time.time() + self.ahead - datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if abs(late) > SKEW_BORNE:
            raise Refused("SignatureDoesNotMatch", f"Signature {'expired' if late > 0 else 'not yet current'}: …")
        if id_ in self.expired:
            raise Refused("ExpiredToken", "The security token included in the request is expired", 403)


class Server:
    def __init__(self, plain: bool):
        """`plain`: for benchmarks. No signature is checked, and no call kept."""
        self.plain = plain
        self.reset()

    def reset(self) -> None:
        self.offset = 0.0
        self.queues = Queues(self.clock)
        self.signatures = Signatures()
        self.faults = wire.Faults([])
        self.calls: list[dict] = []
        self.news = asyncio.Event()

    def clock(self) -> float:
        return time.monotonic() + self.offset

    def tell(self) -> None:
        """Whoever waits for messages looks again."""
        self.news.set()
        self.news = asyncio.Event()

    async def handle(self, request: wire.Request, writer) -> bool:
        """A call of the program under test."""
        operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
        fault = self.faults.pick(lambda rule: rule.get("operation", operation) == operation)
        asked = json.loads(request.body or b"{}")
        entry = {"time": request.at, "operation": operation, "asked": asked, "fault": fault.get("kind")}
        if not self.plain:
            entry["key_id"] = request.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
            self.calls.append(entry)
        if fault.get("kind") == "delay":
            await asyncio.sleep(fault.get("seconds", 1))
        response = await self.answer(request, operation, asked, fault, writer)
        entry["status"] = response.status
        response.headers["Date"] = formatdate(time.time() + self.signatures.ahead, usegmt=True)
        if fault.get("kind") == "lost":
            wire.reset(writer)
            return False
        if fault.get("kind") == "late":
            await asyncio.sleep(fault.get("seconds", 1))
        return await wire.send(writer, response, fault, False)

    async def answer(self, request: wire.Request, operation: str, asked: dict, fault: dict, writer) -> wire.Response:
        try:
            if not self.plain:
                self.signatures.check(request)
            match fault.get("kind"):
                case "status":
                    return wire.Response(fault["status"], fault.get("body", "").encode(), fault.get("headers", {}))
                case "error":
                    return error(fault["type"], fault.get("message", ""), fault.get("status", 400))
                case "partial":
                    return answer_of(self.partial(operation, asked, fault))
            return answer_of(await self.call(operation, asked, fault, writer))
        except Refused as refused:
            return error(refused.code, refused.message, refused.status)

    async def call(self, operation: str, asked: dict, fault: dict, writer) -> dict:
        """Does what a call asks for. One that waits for a message, and whose caller is gone, brings none."""
        end = time.monotonic() + (asked.get("WaitTimeSeconds", 0) if operation == "ReceiveMessage" else 0)
        while True:
            if operation == "ReceiveMessage" and fault.get("kind") != "deaf" and wire.is_gone(writer):
                return {}
            news = self.news
            answer = self.queues.call(operation, asked)
            if operation != "ReceiveMessage":
                self.tell()
                return answer
            left = end - time.monotonic()
            if answer or left <= 0:
                if fault.get("kind") == "duplicate":
                    queue = self.queues.queue(asked)
                    for message in answer.get("Messages", []):
                        queue.hide(queue.messages[queue.of_receipt(message["ReceiptHandle"])[0]], self.clock())
                    self.tell()
                return answer
            shows = self.queues.queue(asked).next_visible()
            pause = min(left, max(0.001, shows - self.clock())) if shows is not None else left
            try:
                await asyncio.wait_for(news.wait(), pause)
            except TimeoutError:
                pass

    def partial(self, operation: str, asked: dict, fault: dict) -> dict:
        entries, places = asked["Entries"], fault["places"]
        failed = [entries[place] for place in places if place < len(entries)]
        left = entries if fault.get("done") else [entry for entry in entries if entry not in failed]
        done = self.queues.call(operation, {**asked, "Entries": left})["Successful"] if left else []
        ids = [entry["Id"] for entry in failed]
        more = {"SenderFault": fault.get("sender_fault", False), "Code": fault.get("code", "InternalError"), "Message": "on purpose"}
        self.tell()
        return {"Successful": [one for one in done if one["Id"] not in ids], "Failed": [{"Id": id_, **more} for id_ in ids]}

    async def handle_direct(self, request: wire.Request, writer) -> bool:
        """A call of the test itself."""
        content = json.loads(request.body or b"{}")
        match request.path:
            case "/harness/rules":
                self.faults = wire.Faults(content.get("faults", []), self.faults)
                self.signatures.ahead, self.signatures.expired = content.get("ahead", 0.0), set(content.get("expired", []))
                self.queues.in_flight = content.get("in_flight", self.queues.in_flight)
                response = wire.Response()
            case "/harness/advance":
                self.offset += content["seconds"]
                self.tell()
                response = wire.Response()
            case "/harness/fill":
                url = self.queues.queues[content["queue"]].url
                for body in content["bodies"]:
                    self.queues.call("SendMessage", {"QueueUrl": url, "MessageBody": body})
                self.tell()
                response = wire.Response()
            case "/harness/calls":
                response = answer_of(self.calls)
            case "/harness/state":
                response = answer_of({name: queue.state() for name, queue in self.queues.queues.items()})
            case "/harness/counts":
                response = answer_of({name: queue.counts() for name, queue in self.queues.queues.items()})
            case "/harness/reset":
                self.reset()
                response = wire.Response()
            case _:
                operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
                try:
                    response = answer_of(await self.call(operation, content, {}, writer))
                except Refused as refused:
                    response = error(refused.code, refused.message, refused.status)
        return await wire.send(writer, response, {}, False)


async def main() -> None:
    parser = argparse.ArgumentParser(description="SQS, and what disturbs it.")
    parser.add_argument("--fd", type=int, required=True, help="a bound socket for who is under test")
    parser.add_argument("--plain", action="store_true", help="check no signature and keep no call")
    arguments = parser.parse_args()
    server = Server(arguments.plain)
    direct = wire.bound()
    servers = [await wire.serve(socket.socket(fileno=arguments.fd), server.handle), await wire.serve(direct, server.handle_direct)]
    print(direct.getsockname()[1], flush=True)
    await asyncio.gather(*(each.serve_forever() for each in servers))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
