"""IMDS and AWS that speak HTTP wrongly in every way there is: a boot ends in time, in little memory, and tells why.

`TARGETS` are the rows and `hostile.MODES` the columns. What is harmless does no harm; whatever else comes in place of an
answer is never one, an error of IMDS never "no user data", and no layer of the image is booted without the document.
"""

import hashlib
import json
import re
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness import hostile
from harness.agent import BAD_DOCUMENT, DONE, FAILED, UNREACHABLE, Agent, document
from harness.aws import imds
from harness.host.archives import release
from harness.hostile import GOES_ON, TOKEN, Hostile

USER_DATA, IDENTITY = "/latest/user-data", "/latest/dynamic/instance-identity/document"
ROLE = "/latest/meta-data/iam/security-credentials/"
OBJECT = "/shop/app-1.tar"
PASSWORD, KEY = "hunter2-correct-horse", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:s-AbCdEf"
SECRET = {"ARN": ARN, "Name": "s", "VersionId": "1" * 32, "SecretString": PASSWORD}
PARAMETER = {"Name": "/p", "Type": "SecureString", "Value": PASSWORD, "Version": 1}
SIGNALED = "<SignalResourceResponse><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></SignalResourceResponse>"
# Of two ranges and a bit.
LARGE = release("tar", {"data": b"x" * (5 << 20)})

ANSWERS = {
    TOKEN: b"AQAEAL-token",
    IDENTITY: imds.identity_document(imds.DEFAULTS).encode(),
    ROLE: b"shop",
    f"{ROLE}shop": imds.metadata(imds.DEFAULTS)["iam"]["security-credentials"]["shop"].encode(),
    "GetSecretValue": json.dumps(SECRET).encode(),
    "BatchGetSecretValue": json.dumps({"SecretValues": [SECRET], "Errors": []}).encode(),
    "GetParameters": json.dumps({"Parameters": [PARAMETER], "InvalidParameters": []}).encode(),
    "GetParametersByPath": json.dumps({"Parameters": [{**PARAMETER, "Name": "/tree/p"}]}).encode(),
    "SignalResource": SIGNALED.encode(),
    OBJECT: release("tar", {"VERSION": b"1\n"}),
}

ID = {"/etc/id": {"content": "{{instance.id}}\n"}}
OF_SECRET = {"secrets": {"s": {"secrets_manager": "s"}}, "files": {**ID, "/etc/s": {"content": "{{secrets.s}}"}}}
OF_PARAMETER = {"secrets": {"s": {"parameter": "/p"}}, "files": {**ID, "/etc/s": {"content": "{{secrets.s}}"}}}
OF_TREE = {"secrets": {"s": {"parameters_under": "/tree"}}, "files": {**ID, "/etc/s": {"content": "{{secrets.s.p}}"}}}
OF_OBJECT = {"bundles": {"app": {"s3": "s3://shop/app-1.tar", "into": "/opt/app"}}, "files": ID}
OF_SIGNAL = {"signals": {"stack": {"cloudformation": {"stack": "shop", "resource": "web"}}}, "files": ID}


@dataclass(frozen=True)
class Target:
    """A row: what is answered wrongly, in a boot of `document`, and the step that then fails; none if nothing begins."""

    at: str
    document: dict = field(hash=False, default_factory=lambda: {"files": ID})
    fails: str = ""
    silent: tuple = (UNREACHABLE,)
    refused: tuple = (FAILED,)
    garbage: tuple = (FAILED,)
    # Seconds for which it is tried after the deadline: whoever waits has to hear of it.
    longer: int = 0

    def ends(self, kind: str) -> tuple:
        return (DONE,) if kind == "harmless" else getattr(self, kind)


def of_aws(at: str, document: dict, fails: str, **more) -> Target:
    """What is wrong with an answer of AWS may pass: it is asked for again until the deadline."""
    return Target(at, document, fails, *[(FAILED, UNREACHABLE)] * 3, **more)


TARGETS = [
    Target(TOKEN, refused=(UNREACHABLE,), garbage=(FAILED, UNREACHABLE)),
    Target(USER_DATA, garbage=(BAD_DOCUMENT, FAILED)),
    Target(IDENTITY),
    # None yet is waited for: right after launch it may be late.
    Target(ROLE, OF_SECRET, "secrets.s", garbage=(FAILED, UNREACHABLE)),
    Target(f"{ROLE}shop", OF_SECRET, "secrets.s"),
    of_aws("GetSecretValue", OF_SECRET, "secrets.s"),
    of_aws("GetParameters", OF_PARAMETER, "secrets.s"),
    of_aws("GetParametersByPath", OF_TREE, "secrets.s"),
    of_aws(OBJECT, OF_OBJECT, "bundles.app"),
    of_aws("SignalResource", OF_SIGNAL, "signals.stack", longer=20),
]

DEADLINE = 6
# A boot is fast, and an answer that never ends must not be kept. Who takes more is killed by the kernel.
LIMITS = ["prlimit", f"--data={96 << 20}", "--cpu=3"]
# A boot waits more than it works.
AT_ONCE = 24
SHARES = [pytest.param(17, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]


def boots(directory: Path, target: Target, mode, answers: dict | None = None, most: int = 60):
    """One boot, with all that holds however it ends. It asks less often than `most`."""
    with Hostile({**ANSWERS, USER_DATA: document(**target.document).encode(), **(answers or {})}, target.at, mode) as server:
        directory.mkdir()
        agent = Agent(directory, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url, "AWS_ENDPOINT_URL": server.url})
        agent.write("/etc/ingot/boot.d/10-base.yaml", 'version: 1\nfiles: { /etc/baked: { content: "{{instance.id}}" } }\n')
        result = agent.boot(None, "--deadline", f"{DEADLINE}s", prefix=LIMITS)
        assert server.requests[target.at] > 0, (result, server.requests)
        assert server.requests[target.at] < most, server.requests
    assert result.code in (DONE, FAILED, UNREACHABLE, BAD_DOCUMENT), result
    assert result.seconds < DEADLINE + target.longer + 10, result
    assert "panicked" not in result.stderr and len(result.stderr) < 100_000, result
    assert agent.path("/run/ingot/report.json").stat().st_size < 1 << 20
    assert result.report["outcome"] == ("done" if result.code == DONE else "failed"), result
    assert agent.leaks(result, [PASSWORD, KEY]) == []
    if result.code == DONE:
        assert agent.read("/etc/id") == "i-0abc123def4567890\n" and agent.path("/etc/baked").exists(), result
        assert not agent.path("/etc/s").exists() or agent.read("/etc/s") == PASSWORD
    elif target.fails:
        said = result.failure(target.fails)
        assert "hint: None" not in said, said
        assert not agent.path("/etc/s").exists() and not agent.path("/opt/app/current").is_symlink(), result
    else:
        assert result.report["error"]["hint"], result
        assert not agent.path("/etc/id").exists() and not agent.path("/etc/baked").exists(), result
        if result.code == UNREACHABLE and "deadline" in result.report["error"]["message"]:
            assert "while waiting for IMDS" in result.report["error"]["message"], result
    return agent, result


def each(directory: Path, rows: list, cell) -> None:
    """Tries all rows, several at a time; all that fail are told."""

    def tried(numbered):
        number, row = numbered
        try:
            return cell(directory / str(number), *row)
        except Exception as error:  # also an AssertionError
            return f"{row[0].at} {row[1]}: {type(error).__name__}: {error}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        wrong = [why for why in pool.map(tried, enumerate(rows)) if why]
    assert not wrong, f"{len(wrong)} of {len(rows)}\n" + "\n".join(wrong)


@pytest.mark.parametrize("share", SHARES)
def test_whatever_comes_in_place_of_an_answer(ingot, tmp_path, share):
    def cell(directory, target, name):
        kind, mode = hostile.MODES[name]
        _, result = boots(directory, target, mode)
        expected = target.ends(kind)
        return None if result.code in expected else f"{target.at} {name}: not {expected}, but {result}"

    rows = [(target, name) for name in hostile.MODES for target in TARGETS if not target.longer]
    # Those take the longest, and are answers of AWS like the others.
    rows += [(target, name) for name in list(hostile.MODES)[::6] for target in TARGETS if target.longer]
    each(tmp_path, rows[::share], cell)


# Any number of interim responses (status 1xx) may come before the one that counts.
INTERIM = {"100": hostile.head("100 Continue"), "103": hostile.head("103 Early Hints", "Link: </x>")}


@pytest.mark.parametrize("status", INTERIM)
@pytest.mark.parametrize("at", [TOKEN, USER_DATA])
def test_interim_responses_without_an_end_cost_no_processor_time(ingot, tmp_path, at, status):
    target = next(target for target in TARGETS if target.at == at)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # As fast as this machine can.
    _, result = boots(tmp_path / "machine", target, lambda c, _: c.endless(INTERIM[status] * 4096, 0))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert result.code in target.silent, result
    # Far more than a boot takes, and far less than the 3 s that it was killed after.
    assert worked < 1, f"{worked:.2f} s of a processor in {result.seconds:.2f} s"
    assert "more than 100 interim responses (status 1xx) and no final one" in result.stderr, result


@pytest.mark.parametrize("status", INTERIM)
def test_a_hundred_interim_responses_do_no_harm(ingot, tmp_path, status):
    def cell(directory, target, count):
        _, result = boots(directory, target, lambda c, right: c.send(INTERIM[status] * count) or c.answer(right))
        return None if result.code == DONE else f"{target.at}: {result}"

    each(tmp_path, [(target, 100) for target in TARGETS if not target.longer], cell)


# What is HTTP as it should be, and still a lie: bodies by target, and whether a boot may be content.


def json_of(content):
    return hostile.body(json.dumps(content).encode())


def secret(**fields):
    return json_of({**{key: value for key, value in SECRET.items() if key != "SecretString"}, **fields})


LIES = {
    ("GetSecretValue", "no value"): secret(),
    ("GetSecretValue", "a number"): secret(SecretString=5),
    ("GetSecretValue", "a list"): secret(SecretString=["a"]),
    ("GetSecretValue", "null"): secret(SecretString=None),
    ("GetSecretValue", "bytes that are no base64"): secret(SecretBinary="!!"),
    ("GetSecretValue", "half a surrogate"): hostile.body(b'{"Name":"s","SecretString":"\\ud800"}'),
    ("GetSecretValue", "no UTF-8"): hostile.body(b'{"Name":"s","SecretString":"\xff"}'),
    ("GetSecretValue", "an error with status 200"): json_of({"__type": "InternalServiceError", "Message": "x"}),
    ("GetSecretValue", "an error of 1 MiB"): hostile.status("400 Bad Request", body=b'{"__type":"E","Message":"%s"}' % (b"x" * (1 << 20))),
    ("GetSecretValue", "an error that is no JSON"): hostile.status("400 Bad Request", body=b"<html>"),
    ("GetSecretValue", "an error of a hundred thousand brackets"): hostile.status("400 Bad Request", body=b"[" * 100_000),
    ("GetSecretValue", "an error that clears the screen"): hostile.status("400 Bad Request", body=b'{"__type":"E","Message":"\\u001b[2J"}'),
    ("GetParameters", "none"): json_of({"Parameters": [], "InvalidParameters": []}),
    ("GetParameters", "another one"): json_of({"Parameters": [{**PARAMETER, "Name": "/other", "ARN": "x"}]}),
    ("GetParameters", "one without a name"): json_of({"Parameters": [{"Value": PASSWORD}]}),
    ("GetParameters", "no list"): json_of({"Parameters": "x"}),
    ("GetParameters", "nulls"): json_of({"Parameters": [None, None]}),
    ("GetParametersByPath", "pages without an end"): json_of({"Parameters": [], "NextToken": "again"}),
    ("GetParametersByPath", "full pages without an end"): json_of({"Parameters": [{**PARAMETER, "Name": "/tree/" + "x" * 900}] * 10, "NextToken": "again"}),
    ("GetParametersByPath", "a token that is a number"): json_of({"Parameters": [], "NextToken": 5}),
    ("SignalResource", "another answer"): hostile.body(b"<Other/>"),
    ("SignalResource", "XML that expands"): hostile.body(
        b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + b"".join(b'<!ENTITY %c "%s">' % (c + 1, b"&%c;" % c * 10) for c in range(97, 115)) + b"]><a>&s;</a>"
    ),
    ("SignalResource", "XML of a hundred thousand levels"): hostile.body(b"<a>" * 100_000),
    ("SignalResource", "a file of this machine"): hostile.body(b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'),
    (f"{ROLE}shop", "Failed"): json_of({"Code": "Failed", "Message": "x"}),
    (f"{ROLE}shop", "keys that are numbers"): json_of({"Code": "Success", "AccessKeyId": 1, "SecretAccessKey": 2, "Token": 3, "Expiration": 4}),
    (f"{ROLE}shop", "keys with line breaks"): json_of({"Code": "Success", "AccessKeyId": "A\nB: c", "SecretAccessKey": "x", "Token": "a\r\nb: c", "Expiration": "2099-01-01T00:00:00Z"}),
    (f"{ROLE}shop", "an end that is no time"): json_of({"Code": "Success", "AccessKeyId": "A", "SecretAccessKey": "x", "Token": "t", "Expiration": "soon"}),
    (ROLE, "a way out"): hostile.body(b"../../../user-data"),
    (ROLE, "a role of 1 MiB less a bit"): hostile.body(b"r" * 1_000_000),
    (ROLE, "a million roles"): hostile.body(b"r\n" * 500_000),
    (ROLE, "another request"): hostile.body(b"shop HTTP/1.1\r\nHost: evil\r\n\r\nGET /"),
    (IDENTITY, "numbers"): json_of({"instanceId": 1, "region": 2, "availabilityZone": 3, "accountId": 4, "instanceType": 5}),
    (IDENTITY, "another document"): json_of({"a": "b"}),
}  # fmt: skip


def test_lies_in_good_order(ingot, tmp_path):
    """Some may be believed, as an answer in which a field is missing; none is called done."""

    def cell(directory, target, lie):
        # Pages are asked for one after the other, a thousand at most in one try.
        most = 20_000 if "pages" in lie else 60
        _, result = boots(directory, target, LIES[target.at, lie], most=most)
        shown = result.stderr + json.dumps(result.report)
        assert "\x1b" not in shown and "root:x:0" not in shown, result
        return f"{target.at} {lie}: {result}" if result.code == DONE else None

    rows = [(target, lie) for target in TARGETS for at, lie in LIES if at == target.at]
    assert len(rows) == len(LIES)
    each(tmp_path, rows, cell)


def ranges(change):
    """An object by ranges, as S3 sends it; `change(first, last, etag, number)` says what to send instead."""
    number = iter(range(1 << 30))

    def mode(c, right):
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", c.asked.get("range", ""))
        first, last = (int(asked[1]), min(int(asked[2] or len(right)), len(right) - 1)) if asked else (0, len(right) - 1)
        part = {"first": first, "last": last, "of": len(right), "etag": "1", "body": right[first : last + 1], "status": "206 Partial Content"}
        part |= change(next(number), part) or {}
        where = [f"Content-Range: bytes {part['first']}-{part['last']}/{part['of']}"] if part["status"][:3] == "206" else []
        return c.answer(part["body"], *where, f'ETag: "{part["etag"]}"', status=part["status"]) and GOES_ON

    return mode


# An object that is not what its server says it is. The digest is known, or it is not.
RANGES = {
    "another tag each time": lambda number, part: {"etag": str(number)},
    "another size each time": lambda number, part: {"of": part["of"] + number},
    "a size without an end": lambda number, part: {"of": (1 << 64) - 1},
    "a size beyond all numbers": lambda number, part: {"of": 1 << 80},
    "a size of nothing": lambda number, part: {"of": 0},
    "an unknown size": lambda number, part: {"of": "*"},
    "always the first range": lambda number, part: {"first": 0, "last": len(part["body"]) - 1},
    "the range backwards": lambda number, part: {"first": part["last"], "last": part["first"]},
    "the range of another": lambda number, part: {"first": part["first"] + 1, "last": part["last"] + 1},
    "a byte less": lambda number, part: {"body": part["body"][:-1]},
    "a byte more": lambda number, part: {"body": part["body"] + b"!"},
    "a byte of each range at a time": lambda number, part: {"body": part["body"][:1], "last": part["first"]},
    "another byte": lambda number, part: {"body": b"!" + part["body"][1:]},
    "nothing": lambda number, part: {"body": b""},
    "the whole each time": lambda number, part: {"status": "200 OK", "body": LARGE},
    "the whole from the second on": lambda number, part: {"status": "200 OK", "body": LARGE} if number else {},
    "416 from the second on": lambda number, part: {"status": "416 Range Not Satisfiable", "body": b""} if number else {},
    "412 each time": lambda number, part: {"status": "412 Precondition Failed", "body": b""},
}


@pytest.mark.parametrize("digest", [True, False], ids=["with a digest", "without"])
def test_an_object_that_is_not_what_its_server_says(ingot, tmp_path, digest):
    known = {"sha256": hashlib.sha256(LARGE).hexdigest()} if digest else {}
    target = of_aws(OBJECT, {"files": ID, "bundles": {"app": {**OF_OBJECT["bundles"]["app"], **known}}}, "bundles.app")

    def cell(directory, target, lie):
        # What comes is kept, however little, and the rest is asked for at once; several ranges at a time.
        most = 2_000 if lie == "a byte of each range at a time" else 300
        agent, result = boots(directory, target, ranges(RANGES[lie]), {OBJECT: LARGE}, most=most)
        if result.code == DONE and digest:
            assert agent.path("/opt/app/current/data").read_bytes() == b"x" * (5 << 20), result

    each(tmp_path, [(target, lie) for lie in RANGES], cell)
