"""AWS for tests: moto behind a front that logs each call, delays it, or answers it as AWS does on a bad day.

One process with two ports. Whoever is under test calls the first; tests themselves (to make secrets, to set faults)
call the second, which is never logged, delayed or faulted, and has `/harness/` besides:

    PUT  /harness/rules    {"latency": seconds, "faults": [rule…]}
    GET  /harness/calls    every call so far
    PUT  /harness/forget   empty that list, and the rules

A rule matches by `operation` ("BatchGetSecretValue", or all) and `containing` (a text in the request's body). Besides
the kinds of `wire.Faults` it knows:

    error         an AWS error: `status` (400), `type`, `message`, `headers`
    batch-errors  of BatchGetSecretValue: `errors`, secret id to [code, message], take the place of those values
    empty-page    of GetParametersByPath: a page without parameters that has a next one
    malformed     200, and half a JSON document

The JSON 1.1 protocol: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>.
"""

import argparse
import asyncio
import io
import json
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import wire  # noqa: E402

# What AWS takes in one call at most, where moto takes any number.
LIMITS = {"BatchGetSecretValue": ("SecretIdList", 20), "GetParameters": ("Names", 10)}
EMPTY_PAGE = "harness-page-two"


class Moto:
    """moto's WSGI application. One thread: its backends are plain dictionaries."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self.application = DomainDispatcherApplication(create_backend_app)
        self.thread = ThreadPoolExecutor(1)

    async def answer(self, request: wire.Request) -> wire.Response:
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.call, request)

    def call(self, request: wire.Request) -> wire.Response:
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
                elif name.lower() not in ("content-length", "connection", "server", "date"):
                    response.headers[name] = value

        response.body = b"".join(self.application(environ, start))
        return response


def error(type_: str, message: str, status: int = 400, headers: dict | None = None) -> wire.Response:
    body = json.dumps({"__type": type_, "Message": message}).encode()
    return wire.Response(status, body, headers or {}, "application/x-amz-json-1.1")


class Front:
    def __init__(self, moto: Moto):
        self.moto = moto
        self.forget()

    def forget(self) -> None:
        self.calls: list[dict] = []
        self.latency = 0.0
        self.faults = wire.Faults([])

    async def handle(self, request: wire.Request, writer) -> bool:
        """A call of the program under test."""
        target = request.headers.get("x-amz-target", f"{request.method} {request.path}")
        operation = target.rpartition(".")[2]
        fault = self.faults.pick(
            lambda rule: (
                rule.get("operation", operation) == operation and rule.get("containing", "").encode() in request.body
            )
        )
        call = {
            "time": request.at,
            "operation": operation,
            "target": target,
            "body": request.body.decode("utf-8", "replace"),
            "signed": request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "),
            "token": request.headers.get("x-amz-security-token"),
            "fault": fault.get("kind"),
        }
        self.calls.append(call)
        await asyncio.sleep(self.latency + (fault.get("seconds", 1) if fault.get("kind") == "delay" else 0))
        response = await self.answer(request, operation, fault)
        call.update(status=response.status, seconds=time.monotonic() - request.at)
        return await wire.send(writer, response, fault, request.method == "HEAD")

    async def answer(self, request: wire.Request, operation: str, fault: dict) -> wire.Response:
        match fault.get("kind"):
            case "status":
                return wire.Response(fault["status"], fault.get("body", "").encode(), fault.get("headers", {}))
            case "error":
                return error(fault["type"], fault.get("message", ""), fault.get("status", 400), fault.get("headers"))
            case "malformed":
                return wire.Response(200, b'{"SecretValues": [{"Name": ', content_type="application/x-amz-json-1.1")
        if "authorization" not in request.headers:
            return error("MissingAuthenticationTokenException", "Missing Authentication Token")
        if operation in LIMITS:
            name, limit = LIMITS[operation]
            if len(json.loads(request.body).get(name, [])) > limit:
                return error("ValidationException", f"{name}: Member must have length less than or equal to {limit}")
        if operation == "GetParametersByPath":
            asked = json.loads(request.body)
            if asked.get("NextToken") == EMPTY_PAGE:
                del asked["NextToken"]
                request.body = json.dumps(asked).encode()
            elif fault.get("kind") == "empty-page":
                page = {"Parameters": [], "NextToken": EMPTY_PAGE}
                return wire.Response(200, json.dumps(page).encode(), content_type="application/x-amz-json-1.1")
        response = await self.moto.answer(request)
        if fault.get("kind") == "batch-errors" and operation == "BatchGetSecretValue":
            response.body = with_errors(response.body, fault["errors"])
        return response

    async def handle_direct(self, request: wire.Request, writer) -> bool:
        """A call of the test itself."""
        match request.method, request.path:
            case "PUT", "/harness/rules":
                rules = json.loads(request.body)
                self.latency = rules.get("latency", 0.0)
                self.faults = wire.Faults(rules.get("faults", []), self.faults)
                response = wire.Response()
            case "PUT", "/harness/forget":
                self.forget()
                response = wire.Response()
            case "GET", "/harness/calls":
                response = wire.Response(200, json.dumps(self.calls).encode(), content_type="application/json")
            case _:
                response = await self.moto.answer(request)
        return await wire.send(writer, response, {}, request.method == "HEAD")


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
