"""AWS for tests: moto behind a front that logs each call, delays it, or answers it as AWS does on a bad day.

One process with two ports. Whoever is under test calls the first; tests themselves (to make secrets, to set faults)
call the second, which is never logged, delayed or faulted, and has `/harness/` besides:

    PUT  /harness/rules    {"latency": seconds, "faults": [rule…], "ec2": {setting of `ec2.py`…}, "rds": {of `rds.py`…},
                            "ahead": seconds}
    GET  /harness/calls    every call so far
    PUT  /harness/forget   empty that list, and the rules
    PUT  /harness/make     {"instance", "snapshot" or "volume": {…}}: EC2 has it, no call was made; its id.
                           {"lifecycle-action" or "complete-stack": {…}}: one waits, or waits no more.
                           {"target": {…}}: how a target group sees an instance
    GET  /harness/signals  what `signals.py` was told
    GET  /harness/events   volumes attached and detached, from `after` on; waits for one up to `wait` seconds

Its clock is `ahead` of this machine's; it says its time in each answer, and refuses what is signed more than five minutes
from it, as AWS does.

A rule matches by `operation` ("BatchGetSecretValue", or all; what reads an object is "GetObject", what asks about it
"HeadObject", what writes it "PutObject"), `key_id` (whose call it is, by the access key) and `containing` (a text in the
request's path, range or body). Objects of a bucket "public" are anybody's. Besides the kinds of `wire.Faults` it knows:

    error         an AWS error: `status` (400), `type`, `message`, `headers`
    batch-errors  of BatchGetSecretValue: `errors`, secret id to [code, message], take the place of those values
    empty-page    of GetParametersByPath: a page without parameters that has a next one
    malformed     200, and half a JSON document (of EC2: half of XML; of S3: another range than was asked for)

The JSON 1.1 protocol: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>, and EC2's own, forms in and XML
out: <https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html>.
"""

import argparse
import asyncio
import functools
import io
import json
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from harness import wire  # noqa: E402

# What AWS takes in one call at most, where moto takes any number.
LIMITS = {"BatchGetSecretValue": ("SecretIdList", 20), "GetParameters": ("Names", 10)}
EMPTY_PAGE = "harness-page-two"
SKEW_BORNE = 300
EXPIRED = "RequestExpired", "Request has expired."
NOT_VALIDATED = "AuthFailure", "AWS was not able to validate the provided access credentials", 401
ACCOUNT, REGION = "123456789012", "eu-central-1"
EC2_VERSION = b"Version=2016-11-15"
# Of IAM, CloudFormation, CloudWatch, Auto Scaling, STS and Elastic Load Balancing.
QUERY_VERSIONS = ("2010-05-08", "2010-05-15", "2010-08-01", "2011-01-01", "2011-06-15", "2015-12-01")
# Where a wait condition's handle has its URL.
WAIT_CONDITION = "/wait-condition"
PUBLIC = "/public/"
OF_OBJECTS = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject"}
SIGNALS = ("SignalResource", "CompleteLifecycleAction", "RecordLifecycleActionHeartbeat", "SetInstanceHealth")
TARGETS = "DescribeTargetHealth"
RDS_VERSION = "2014-10-31"
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'


class Moto:
    """moto's WSGI application. One thread: its backends are plain dictionaries."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self.application = DomainDispatcherApplication(create_backend_app)
        self.thread = ThreadPoolExecutor(1)

    @functools.cached_property
    def ec2(self):
        """Ours, in moto's. It takes most of a second to load, and most tests need none."""
        from harness.aws.ec2 import Ec2

        return Ec2(ACCOUNT, REGION)

    @functools.cached_property
    def signals(self):
        from harness.aws.signals import Signals

        return Signals(ACCOUNT, REGION)

    @functools.cached_property
    def targets(self):
        from harness.aws.targets import Targets

        return Targets()

    @functools.cached_property
    def rds(self):
        """As `ec2`."""
        from harness.aws.rds import Rds

        return Rds(ACCOUNT, REGION)

    def stand_in(self, call: "Call") -> wire.Response:
        """What signals and targets answer, which moto does not know."""
        match (self.targets if call.operation == TARGETS else self.signals).answer(call.form):
            case (code, message):
                return call.error(code, message)
            case inner:
                body = f"{XML}<{call.operation}Response>{inner}</{call.operation}Response>"
                return wire.Response(200, body.encode(), {}, "text/xml")

    def configure(self, rules: dict) -> None:
        for service in ("ec2", "rds"):
            if rules.get(service) or service in vars(self):
                getattr(self, service).configure(rules.get(service, {}))

    def make(self, kind: str, wanted: dict) -> str:
        if kind == "target":
            return self.targets.make(**wanted)
        maker = self.signals if kind in ("lifecycle-action", "complete-stack") else self.ec2
        return maker.make(kind, wanted)

    def forget(self) -> None:
        for stand_in in ("ec2", "rds", "signals", "targets"):
            if stand_in in vars(self):
                vars(self)[stand_in].forget()

    async def answer(self, request: wire.Request) -> wire.Response:
        return await self.do(self.call, request)

    async def do(self, function, *arguments):
        """Calls a function on moto's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)

    def call(self, request: wire.Request) -> wire.Response:
        if EC2_VERSION in request.body:
            _ = self.ec2  # from here on, moto answers in our way
        host, _, port = request.headers.get("host", "localhost").partition(":")
        environ = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query,
            "RAW_URI": request.path + (f"?{request.query}" if request.query else ""),
            "SERVER_NAME": host,
            "SERVER_PORT": port or "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": request.peer,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()},
        }
        response = wire.Response()

        def start(status: str, headers: list, _error=None) -> None:
            response.status = int(status.split(" ")[0])
            for name, value in headers:
                if name.lower() == "content-type":
                    response.content_type = value
                elif name.lower() == "content-length" and request.method == "HEAD":
                    response.length = int(value)
                elif name.lower() not in ("content-length", "connection", "server", "date"):
                    response.headers[name] = value

        response.body = b"".join(self.application(environ, start))
        return response


class Call:
    """What a request asks for: in JSON, named by a header, or of EC2 in a form, named by a field."""

    def __init__(self, request: wire.Request):
        self.form: dict[str, str] = {}
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            self.form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        target = request.headers.get("x-amz-target")
        self.of_s3 = not self.form and target is None and request.path != WAIT_CONDITION
        self.range = request.headers.get("range", "")
        read = f"{request.method} {request.path} {self.range}".rstrip()
        self.target = f"EC2.{self.form['Action']}" if "Action" in self.form else target or read
        self.operation = OF_OBJECTS[request.method] if self.of_s3 and request.method in OF_OBJECTS else self.target.rpartition(".")[2]
        self.of_anybody = self.of_s3 and request.path.startswith(PUBLIC)
        self.is_rds = self.form.get("Version") == RDS_VERSION

    def error(self, type_: str, message: str, status: int = 400, headers: dict | None = None) -> wire.Response:
        if self.form.get("Version") in QUERY_VERSIONS:
            inner = f"<Type>Sender</Type><Code>{escape(type_)}</Code><Message>{escape(message)}</Message>"
            body = f"<ErrorResponse><Error>{inner}</Error><RequestId>harness</RequestId></ErrorResponse>"
            return wire.Response(status, body.encode(), headers or {}, "text/xml")
        if self.form:
            code = f"<Code>{escape(type_)}</Code><Message>{escape(message)}</Message>"
            if self.is_rds:
                body = f"{XML}<ErrorResponse><Error><Type>Sender</Type>{code}</Error><RequestId>h</RequestId></ErrorResponse>"
                return wire.Response(status, body.encode(), headers or {}, "text/xml")
            body = f"{XML}<Response><Errors><Error>{code}</Error></Errors><RequestID>harness</RequestID></Response>"
            return wire.Response(status, body.encode(), headers or {}, "text/xml;charset=UTF-8")
        if self.of_s3:
            body = f"{XML}<Error><Code>{escape(type_)}</Code><Message>{escape(message)}</Message></Error>"
            return wire.Response(status, body.encode(), headers or {}, "application/xml")
        body = json.dumps({"__type": type_, "Message": message}).encode()
        return wire.Response(status, body, headers or {}, "application/x-amz-json-1.1")

    def malformed(self) -> wire.Response:
        if self.form:
            return wire.Response(200, f"{XML}<{self.operation}Response><requestId>ha".encode(), {}, "text/xml")
        if self.of_s3:
            return wire.Response(206, b"a range", {"Content-Range": "bytes 7-13/14"}, "application/octet-stream")
        return wire.Response(200, b'{"SecretValues": [{"Name": ', content_type="application/x-amz-json-1.1")


class Front:
    def __init__(self, moto: Moto):
        self.moto = moto
        self.forget()

    def forget(self) -> None:
        self.calls: list[dict] = []
        self.latency = self.ahead = 0.0
        self.faults = wire.Faults([])
        self.moto.forget()

    async def handle(self, request: wire.Request, writer) -> bool:
        """A call of the program under test."""
        call = Call(request)
        key_id = request.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
        fault = self.faults.pick(
            lambda rule: (
                rule.get("operation", call.operation) == call.operation
                and rule.get("key_id", key_id) == key_id
                and rule.get("containing", "").encode() in f"{request.path} {call.range} ".encode() + request.body
            )
        )
        entry = {
            "time": request.at,
            "operation": call.operation,
            "target": call.target,
            "form": call.form,
            "body": request.body.decode("utf-8", "replace"),
            "signed": request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "),
            "key_id": key_id,
            "token": request.headers.get("x-amz-security-token"),
            "region": signed_for(request),
            "fault": fault.get("kind"),
        }
        self.calls.append(entry)
        await asyncio.sleep(self.latency + (fault.get("seconds", 1) if fault.get("kind") == "delay" else 0))
        response = await self.answer(request, call, fault, writer)
        response.headers.setdefault("Date", formatdate(time.time() + self.ahead, usegmt=True))
        entry.update(status=response.status, seconds=time.monotonic() - request.at)
        return await wire.send(writer, response, fault, request.method == "HEAD")

    async def answer(self, request: wire.Request, call: Call, fault: dict, writer) -> wire.Response:
        match fault.get("kind"):
            case "status":
                return wire.Response(fault["status"], fault.get("body", "").encode(), fault.get("headers", {}))
            case "error":
                return call.error(fault["type"], fault.get("message", ""), fault.get("status", 400), fault.get("headers"))
            case "malformed":
                return call.malformed()
        if (request.method, request.path) == ("PUT", WAIT_CONDITION):
            return await self.moto.do(self.moto.signals.wait, request)
        if call.of_anybody and "authorization" not in request.headers:
            return await self.moto.answer(request)
        if "authorization" not in request.headers:
            return call.error("MissingAuthenticationTokenException", "Missing Authentication Token")
        if refusal := self.too_late(request, call):
            return refusal
        if call.operation in LIMITS:
            name, limit = LIMITS[call.operation]
            if len(json.loads(request.body).get(name, [])) > limit:
                return call.error("ValidationException", f"{name}: Member must have length less than or equal to {limit}")
        if call.operation == "GetParametersByPath":
            asked = json.loads(request.body)
            if asked.get("NextToken") == EMPTY_PAGE:
                del asked["NextToken"]
                request.body = json.dumps(asked).encode()
            elif fault.get("kind") == "empty-page":
                page = {"Parameters": [], "NextToken": EMPTY_PAGE}
                return wire.Response(200, json.dumps(page).encode(), content_type="application/x-amz-json-1.1")
        if call.operation in (*SIGNALS, TARGETS):
            return await self.moto.do(self.moto.stand_in, call)
        if call.operation == "ReceiveMessage":
            return await self.receive(request, writer)
        response = await self.moto.answer(request)
        if fault.get("kind") == "batch-errors" and call.operation == "BatchGetSecretValue":
            response.body = with_errors(response.body, fault["errors"])
        return response

    async def receive(self, request: wire.Request, writer) -> wire.Response:
        """A long poll: moto, which has one thread, would answer nobody else meanwhile. One whose caller is gone brings nothing."""
        asked = json.loads(request.body)
        end = time.monotonic() + asked.get("WaitTimeSeconds", 0)
        request.body = json.dumps({**asked, "WaitTimeSeconds": 0}).encode()
        while True:
            if wire.is_gone(writer):
                return wire.Response(503)
            response = await self.moto.answer(request)
            if response.status != 200 or b'"MessageId"' in response.body or time.monotonic() >= end:
                return response
            await asyncio.sleep(0.02)

    def too_late(self, request: wire.Request, call: Call) -> wire.Response | None:
        """What a request gets that is signed at another time than now; each kind of service has its own words."""
        signed = datetime.strptime(request.headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        late = time.time() + self.ahead - signed.timestamp()
        if abs(late) <= SKEW_BORNE:
            return None
        if call.form:
            # EC2 says of one that comes too early no more than of one by nobody.
            return call.error(*(EXPIRED if late > 0 else NOT_VALIDATED))
        if "x-amz-target" in request.headers:
            return call.error("InvalidSignatureException", f"Signature {'expired' if late > 0 else 'not yet current'}: …")
        return call.error("RequestTimeTooSkewed", "The difference between the request time and the server's time is too large.", 403)

    async def handle_direct(self, request: wire.Request, writer) -> bool:
        """A call of the test itself."""
        match request.method, request.path:
            case "PUT", "/harness/rules":
                rules = json.loads(request.body)
                self.latency, self.ahead = rules.get("latency", 0.0), rules.get("ahead", 0.0)
                self.faults = wire.Faults(rules.get("faults", []), self.faults)
                self.moto.configure(rules)
                response = wire.Response()
            case "PUT", "/harness/forget":
                self.forget()
                response = wire.Response()
            case "GET", "/harness/calls":
                response = in_json(self.calls)
            case "PUT", "/harness/make":
                [(kind, wanted)] = json.loads(request.body).items()
                response = in_json(await self.moto.do(self.moto.make, kind, wanted))
            case "GET", "/harness/signals":
                response = in_json(await self.moto.do(lambda: self.moto.signals.state()))
            case "GET", "/harness/events":
                response = in_json(await self.events(**dict(parse_qsl(request.query))))
            case _:
                response = await self.moto.answer(request)
        return await wire.send(writer, response, {}, request.method == "HEAD")

    async def events(self, after: str = "0", wait: str = "0") -> list[dict]:
        ec2 = await self.moto.do(lambda: self.moto.ec2)
        end = time.monotonic() + float(wait)
        while not (new := ec2.events[int(after) :]) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return new


def signed_for(request: wire.Request) -> str | None:
    """The region in the credential scope of a signature: `Credential=KEY/DATE/REGION/SERVICE/aws4_request`."""
    scope = request.headers.get("authorization", "").partition("Credential=")[2].split("/")
    return scope[2] if len(scope) > 3 else None


def in_json(content) -> wire.Response:
    return wire.Response(200, json.dumps(content).encode(), content_type="application/json")


def with_errors(body: bytes, errors: dict[str, list[str]]) -> bytes:
    answer = json.loads(body)
    answer["SecretValues"] = [s for s in answer["SecretValues"] if not {s["Name"], s["ARN"]} & errors.keys()]
    answer.setdefault("Errors", []).extend(
        {"SecretId": id_, "ErrorCode": code, "Message": message} for id_, (code, message) in errors.items()
    )
    return json.dumps(answer).encode()


async def main() -> None:
    parser = argparse.ArgumentParser(description="moto, and a front that logs and disturbs.")
    parser.add_argument("--fd", type=int, action="append", default=[], help="a bound socket for who is under test")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    front = Front(Moto())
    listeners = [socket.socket(fileno=fd) for fd in arguments.fd] or [wire.bound(arguments.address, arguments.port)]
    direct = wire.bound()
    servers = [await wire.serve(listener, front.handle) for listener in listeners]
    servers.append(await wire.serve(direct, front.handle_direct))
    ports = [str(listener.getsockname()[1]) for listener in (direct, *listeners)]
    print(*ports, flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "harness")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "harness")
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
