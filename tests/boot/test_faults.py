"""Whatever goes wrong between a whole machine and AWS or IMDS: every call times every fault.

`CALLS` are the rows and `PASSING` and `FINAL` the columns. A fault that passes is met: the boot ends well, and with the
machine, the volume and the commands of one that met none. One that does not pass is named, stops only what depends on
it, and the next boot, without it, makes all good: nothing was lost, and nothing is done twice. A new call of a document
is a new row, and a row says which document it is of.
"""

import json
from dataclasses import dataclass, field, replace

import pytest
from harness import tls
from harness.agent import DONE, FAILED, UNREACHABLE, until
from harness.host.whole import RELEASES, SECRETS, WHOLE, Whole

VOLUME = ("volumes.data", "mounts./srv/data", "commands.migrate")
MIGRATE = ("files./etc/app/db.toml", "credentials.db", "commands.migrate")
DATABASE = ("databases.main", "files./etc/app/database")
BUNDLE = ("bundles.app", "files./etc/app/release")
TOKEN = ("secrets.token", "files./etc/app/token.env")
SIGNALS = ("signals.stack", "signals.hook")


@dataclass(frozen=True)
class Call:
    """A row. With a `path` it is a read of IMDS, else an action of AWS."""

    name: str
    # What fails, and is skipped, without it; nothing if the boot does not even begin.
    stops: tuple[str, ...] = ()
    # What may fail too where nobody answers: it is asked for in the same call.
    beside: tuple[str, ...] = ()
    # The action, if that is not the name; and what tells this call of it from others.
    action: str = ""
    containing: str = ""
    path: str | None = None
    method: str = "GET"
    document: str = WHOLE
    # What a fault that does not pass is said of, if that is not the action.
    said_of: str = ""
    # Columns that there are not: an answer without a body has no half. Leave for it is leave for GetObject.
    without: tuple[str, ...] = ()
    # Bytes in a second that are a trickle of this answer.
    pace: int = 800
    # What a refusal (403) is called, and what to do about it.
    refused: str = ""
    hint: str = ""
    # Columns of `FINAL` in which this row exits otherwise.
    otherwise: dict = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return self.name

    @property
    def operation(self) -> str:
        return self.action or self.name

    def is_of(self, document: str, made: dict) -> bool:
        """Whether it is this one that was made."""
        if self.document != document or (self.path is None) != ("operation" in made):
            return False
        if self.path:
            return (made["method"], made["path"]) == (self.method, self.path)
        return made["operation"] == self.operation and self.containing in f"{made['target']} {made['body']}"


def imds(name: str, path: str, **more) -> Call:
    """A read of IMDS. One that never ends well is IMDS out of reach, whatever it was."""
    otherwise = {"malformed": UNREACHABLE, **more.pop("otherwise", {})}
    return Call(name, path=f"/latest/{path}", otherwise=otherwise, **more)


ROLES, OF_TAGS = "meta-data/iam/security-credentials/", "meta-data/tags/instance"

# No credentials, no include: the boot does not even begin.
CALLS = [
    imds(
        "token",
        "api/token",
        method="PUT",
        refused="disabled for this instance",
        hint="--http-endpoint enabled",
        otherwise={"403": UNREACHABLE},
    ),
    imds("user data", "user-data", refused="refused user-data with status 403", hint="incomplete server"),
    imds("identity", "dynamic/instance-identity/document", refused="refused dynamic/instance", hint="incomplete server"),
    imds("role", ROLES, refused="no credentials", hint="role"),
    imds("credentials", f"{ROLES}shop", refused="no credentials", hint="role"),
    imds("tag", f"{OF_TAGS}/role", refused="refused meta-data/tags/instance/role", hint="incomplete server"),
    imds("lifecycle state", "meta-data/autoscaling/target-lifecycle-state", refused="refused", hint="incomplete server"),
    *(
        imds(f"tag of the {name}", f"{OF_TAGS}/aws:{tag}", refused="refused", hint="incomplete server")
        for name, tag in [
            ("stack", "cloudformation:stack-name"),
            ("resource", "cloudformation:logical-id"),
            ("group", "autoscaling:groupName"),
        ]
    ),
    Call("include from S3", action="GetObject", containing="base.yaml", refused="GetObject", hint="allow s3:GetObject on"),
    Call(
        "include from SSM", action="GetParameters", containing="/shop/boot", refused="GetParameters", hint="allow ssm:GetParameters on"
    ),
    # Without leave for it secrets are read one by one.
    Call(
        "BatchGetSecretValue",
        ("secrets.db", "secrets.session", "secrets.login", *MIGRATE, *DATABASE),
        otherwise={"403": DONE},
    ),
    Call(
        "GetSecretValue",
        ("secrets.pinned", "files./etc/app/pinned.env"),
        refused="GetSecretValue prod/db: access denied",
        hint="allow secretsmanager:GetSecretValue on prod/db",
    ),
    Call(
        "GetParameters",
        TOKEN,
        beside=BUNDLE,
        containing="/prod/token",
        refused="GetParameters /prod/token: access denied",
        hint="allow ssm:GetParameters on /prod/token",
    ),
    Call(
        "GetParameters of a bundle",
        BUNDLE,
        beside=TOKEN,
        action="GetParameters",
        containing="/shop/release",
        refused="GetParameters /shop/release: access denied",
        hint="allow ssm:GetParameters on /shop/release",
    ),
    Call(
        "GetParametersByPath",
        ("secrets.flags", "files./etc/app/flags.json"),
        refused="GetParametersByPath /prod/flags: access denied",
        hint="allow ssm:GetParametersByPath on /prod/flags",
    ),
    *(
        Call(name, VOLUME, refused=f"{name} ", hint=f"allow ec2:{name}", otherwise=otherwise)
        for name, otherwise in [
            ("DescribeVolumes", {}),
            ("DescribeSnapshots", {}),
            # Done, though the answer was lost: the next look finds it so.
            ("CreateVolume", {"timeout": DONE, "reset": DONE}),
            ("AttachVolume", {"timeout": DONE, "reset": DONE}),
            ("CreateTags", {"timeout": DONE, "reset": DONE}),
            ("ModifyInstanceAttribute", {"timeout": DONE, "reset": DONE}),
        ]
    ),
    *(
        Call(name, DATABASE, refused=f"{name} ", hint=f"allow rds:{name}", otherwise=otherwise)
        for name, otherwise in [
            ("DescribeDBInstances", {}),
            ("DescribeDBSnapshots", {}),
            ("RestoreDBInstanceFromDBSnapshot", {"timeout": DONE, "reset": DONE}),
            ("ModifyDBInstance", {"timeout": DONE, "reset": DONE}),
            ("RemoveTagsFromResource", {"timeout": DONE, "reset": DONE}),
        ]
    ),
    Call("GetObject", BUNDLE, containing="shop-1.tar.gz", refused="GetObject", hint="allow s3:GetObject on"),
    Call("SignalResource", SIGNALS[:1], refused="SignalResource", hint="allow cloudformation:SignalResource on"),
    Call("CompleteLifecycleAction", SIGNALS[1:], refused="CompleteLifecycleAction", hint="allow autoscaling:CompleteLifecycleAction on"),
    *(
        Call(name, ("bundles.large",), action=action, containing=containing, document=RELEASES, hint="allow s3:", **more)
        for name, action, containing, more in [
            ("HeadObject", "HeadObject", "large-1.tar", {"refused": "GetObject", "said_of": "large-1.tar", "without": ("malformed", "cut off")}),
            ("GetObject of the first range", "GetObject", "large-1.tar bytes=0-", {"refused": "GetObject", "pace": 1_000_000}),
            ("GetObject of the next range", "GetObject", "large-1.tar bytes=2097152-", {"refused": "GetObject", "pace": 400_000}),
        ]
    ),
    Call(
        "GET of a plain server",
        ("bundles.tools",),
        action="GetObject",
        containing="/public/tools-1.zip",
        document=RELEASES,
        said_of="tools-1.zip",
        refused="access denied",
        hint="tools-1.zip",
    ),
]


# Of all fields of a table, every fourth on each push: each row with a few columns, and each column with a few rows.
SHARES = [pytest.param(4, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]


def rows(columns: dict, column: str, share: int) -> list[Call]:
    """The calls that this column is tried with."""
    begin = list(columns).index(column) % share
    return [call for call in CALLS[begin::share] if column not in call.without]


# Faults that pass: how AWS has them, and how IMDS.
PASSING = {
    "timeout": ({"kind": "hang", "times": 1}, {"kind": "hang", "times": 1}),
    "reset": ({"kind": "reset", "times": 2}, {"kind": "reset", "times": 2}),
    "500": ({"kind": "internal", "times": 2}, {"kind": "status", "status": 500, "times": 2}),
    "503 with Retry-After": (
        {"kind": "unavailable", "times": 1},
        {"kind": "status", "status": 503, "headers": {"Retry-After": "1"}, "times": 1},
    ),
    "throttle": ({"kind": "throttled", "times": 3}, {"kind": "status", "status": 429, "times": 3}),
    "malformed": ({"kind": "malformed", "times": 2}, {"kind": "truncate", "times": 2}),
    "cut off": ({"kind": "truncate", "times": 2}, {"kind": "truncate", "bytes": 0, "times": 2}),
    "trickle": ({"kind": "trickle", "bytes_per_second": 800}, {"kind": "trickle", "bytes_per_second": 800}),
}

# Those that do not, and what such a boot exits with where the row does not say otherwise.
FINAL = {
    "403": ({"kind": "denied"}, {"kind": "status", "status": 403}, FAILED),
    "timeout": ({"kind": "hang"}, {"kind": "hang"}, UNREACHABLE),
    "reset": ({"kind": "reset"}, {"kind": "reset"}, UNREACHABLE),
    "malformed": ({"kind": "malformed"}, {"kind": "truncate"}, FAILED),
}
# The least seconds that a boot gets; "timeout" more than the longest silence that is borne in one call, which is 10 s.
LEAST = {"403": 30, "timeout": 12, "reset": 3, "malformed": 3}

# What calls itself AWS and is not: the words for it, and the exit code.
IMPOSTORS = {
    "stranger": ("certificate", FAILED),
    "expired": ("according to this machine's clock, its certificate is not valid now", UNREACHABLE),
    "mute": ("", UNREACHABLE),
}
SERVICES = {
    "SECRETS_MANAGER": "secrets.pinned",
    "SSM": "secrets.token",
    "EC2": "volumes.data",
    "RDS": "databases.main",
    "S3": "bundles.app",
    "CLOUDFORMATION": "signals.stack",
    "AUTO_SCALING": "signals.hook",
    "a plain server": "bundles.tools",
}
OF_INCLUDES = ("S3", "SSM")


def requests(place: Whole, call: Call) -> list[dict]:
    made = place.imds.requests() if call.path else place.aws.calls()
    return [one for one in made if call.is_of(call.document, one)]


def met(place: Whole, call: Call) -> bool:
    """Whether the fault happened at all. What it cut off may have been done before: it need not be asked for again."""
    return any(request["fault"] for request in requests(place, call))


def disturb(place: Whole, call: Call, fault: tuple[dict, dict]) -> None:
    of_aws, of_imds = fault
    if "bytes_per_second" in of_aws:
        of_aws = {**of_aws, "bytes_per_second": call.pace}
    if call.path:
        place.imds.configure(faults=[{**of_imds, "path": call.path, "method": call.method}])
    else:
        place.aws.fault(**of_aws, operation=call.operation, containing=call.containing)


def deadline(fault: str, whole) -> str:
    """Time for all that the fault does not stop, which is more on a machine that is busy."""
    return f"{LEAST[fault] + 5 * max(undisturbed.seconds for undisturbed in whole.values()):.0f}s"


def undisturb(place: Whole) -> None:
    place.aws.recover()
    place.imds.configure(faults=[])


def is_whole(machine, result, whole, after_failure: bool = False) -> None:
    whole = whole[machine.document]
    assert result.code == DONE, result
    assert machine.lasting() == whole.made, result
    assert machine.passwords() == whole.passwords, result
    statuses, results = machine.told()
    if after_failure:
        # A stack hears of it again, a group has ended what it abandoned.
        assert (statuses - {"FAILURE"}, {"CONTINUE" if one == "ABANDON" else one for one in results}) == whole.told, result
    else:
        assert (statuses, results) == whole.told, result
    assert machine.leaks(result, SECRETS) == []


def test_every_call_of_the_machine_is_a_row(whole):
    for document, undisturbed in whole.items():
        made = [*undisturbed.calls, *undisturbed.reads]
        # A boot that took its time may have sent a heartbeat. IMDS is read in the same way whatever the document.
        known = [*CALLS, *HEARTBEATS, *(replace(call, document=document) for call in CALLS if call.path)]
        assert [one for one in made if not any(call.is_of(document, one) for call in known)] == []
        of_it = [call for call in CALLS if call.document == document]
        assert [call for call in of_it if not any(call.is_of(document, one) for one in made)] == []


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_met_and_nothing_is_done_twice(places, whole, tmp_path, fault, share):
    def cell(place, machine, call):
        machine.use(call.document)
        disturb(place, call, PASSING[fault])
        result = machine.go("--deadline", "180s")
        is_whole(machine, result, whole)
        assert "failed" not in result.outcomes().values(), result
        assert met(place, call)

    places.each(tmp_path, rows(PASSING, fault, share), cell)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("fault", FINAL)
def test_what_does_not_pass_is_named_and_the_next_boot_makes_it_good(places, whole, tmp_path, fault, share):
    *kinds, code = FINAL[fault]

    def cell(place, machine, call):
        machine.use(call.document)
        disturb(place, call, kinds)
        result = machine.go("--deadline", deadline(fault, whole))
        assert met(place, call)
        expected = call.otherwise.get(fault, code)
        if expected == DONE:
            return is_whole(machine, result, whole)
        said = stopped(call, result, expected, fault == "403")
        assert machine.leaks(result, SECRETS) == []
        if fault == "403":
            assert call.refused in said and call.hint in said, said
        elif call.path:
            assert "waiting for IMDS" in said, said
        else:
            # Another try may be under way: then it is known what for, and not yet why again.
            assert (call.said_of or f"{call.operation} ") in said or "while waiting for " in said, said
        undisturb(place)
        is_whole(machine, machine.go(), whole, after_failure=True)

    places.each(tmp_path, rows(FINAL, fault, share), cell)


def stopped(call: Call, result, code: int, refused: bool) -> str:
    """The boot ended without what needs this call, and with all else. Why, in its words."""
    assert result.code == code, result
    outcomes = result.outcomes()
    unwell = {address for address, outcome in outcomes.items() if outcome not in ("changed", "unchanged")}
    if not call.stops:
        # Whoever waits for this instance hears of it, if they can be reached.
        assert not outcomes.keys() - unwell - set(SIGNALS) and "failed" not in {outcomes[a] for a in unwell - set(SIGNALS)}, result
        error = result.report["error"]
        said = f"{error['message']}\nhint: {error['hint']}"
    else:
        # What was asked for in one call may come alone when it is asked for again.
        bound = set(call.stops) if refused else {*call.stops, *call.beside}
        failed = next((address for address in call.stops if outcomes[address] == "failed"), None)
        assert failed and unwell <= bound, result
        said = result.failure(failed)
    assert "hint: None" not in said, said
    return said


# What only a boot of more than five seconds asks for. Nothing depends on it.
HEARTBEATS = [Call("DescribeLifecycleHooks"), Call("RecordLifecycleActionHeartbeat")]


@pytest.mark.parametrize("share", SHARES)
def test_a_heartbeat_that_fails_stops_nothing(places, whole, tmp_path, share):
    faults = {**PASSING, **{f"{name}, always": fault[:2] for name, fault in FINAL.items()}}

    def cell(place, machine, row):
        call, fault = row
        machine.hold()
        disturb(place, call, faults[fault])
        running = machine.start_boot(None, "--deadline", "180s")
        until(f"the fault of {row}", lambda: met(place, call), running)
        machine.release()
        is_whole(machine, running.wait(), whole)

    rows = [(call, fault) for call in HEARTBEATS for fault in faults]
    places.each(tmp_path, rows[::share], cell)


@pytest.mark.parametrize("kind", IMPOSTORS)
def test_who_is_not_aws_is_told_nothing(places, whole, tmp_path, kind):
    words, code = IMPOSTORS[kind]

    def cell(place, machine, row):
        with tls.Impostor(kind) as impostor:
            env = {"AWS_CA_BUNDLE": str(impostor.authority)}
            if row.document == RELEASES:
                machine.use(RELEASES, impostor.url)
            else:
                env[f"AWS_ENDPOINT_URL_{row.name}"] = impostor.url
            result = machine.go("--deadline", deadline("reset", whole), env=env)
        assert result.code == code, result
        # An include is read first of all.
        said = json.dumps(result.report["error"]) if row.name in OF_INCLUDES else result.failure(SERVICES[row.name])
        assert words in said and "hint: None" not in said, said
        machine.use(row.document)
        is_whole(machine, machine.go(), whole, after_failure=True)

    rows = [Call(name, document=RELEASES if name == "a plain server" else WHOLE) for name in SERVICES]
    places.each(tmp_path, rows, cell)
