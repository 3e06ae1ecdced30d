"""Whatever goes wrong between a whole machine and AWS or IMDS: every call times every fault.

`CALLS` are the rows and `PASSING` and `FINAL` the columns. A fault that passes is met: the boot ends well, and with the
machine, the volume and the commands of one that met none. One that does not pass is named, stops only what depends on
it, and the next boot, without it, makes all good: nothing was lost, and nothing is done twice. A new call of a document
is a new row.
"""

from dataclasses import dataclass, field

import pytest
from harness import tls
from harness.agent import DONE, FAILED, UNREACHABLE
from harness.whole import PASSWORD, Whole

VOLUME = ("volumes.data", "mounts./srv/data", "commands.migrate")
MIGRATE = ("files./etc/app/db.toml", "credentials.db", "commands.migrate")


@dataclass(frozen=True)
class Call:
    """A row. With a `path` it is a read of IMDS, else an action of AWS."""

    name: str
    # What fails, and is skipped, without it; nothing if the boot does not even begin.
    stops: tuple[str, ...] = ()
    path: str | None = None
    method: str = "GET"
    # What a refusal (403) is called, and what to do about it.
    refused: str = ""
    hint: str = ""
    # Columns of `FINAL` in which this row exits otherwise.
    otherwise: dict = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return self.name


def imds(name: str, path: str, **more) -> Call:
    """A read of IMDS. One that never ends well is IMDS out of reach, whatever it was."""
    otherwise = {"malformed": UNREACHABLE, **more.pop("otherwise", {})}
    return Call(name, path=f"/latest/{path}", otherwise=otherwise, **more)


SECRETS = ("secrets.db", "secrets.session", "secrets.pinned", "secrets.token", "secrets.flags")
ROLES = "meta-data/iam/security-credentials/"
EVERYTHING = (
    *SECRETS, *VOLUME, "files./etc/app/pinned.env", "files./etc/app/token.env", "files./etc/app/flags.json", *MIGRATE[:2]
)  # fmt: skip

CALLS = [
    imds(
        "token",
        "api/token",
        method="PUT",
        refused="disabled for this instance",
        hint="--http-endpoint enabled",
        otherwise={"403": UNREACHABLE},
    ),
    imds("user data", "user-data", refused="refused user-data with status 403", hint="stand-in"),
    imds("identity", "dynamic/instance-identity/document", refused="refused dynamic/instance", hint="stand-in"),
    imds("tag", "meta-data/tags/instance/role", refused="refused meta-data/tags/instance/role", hint="stand-in"),
    imds("role", ROLES, stops=EVERYTHING, refused="no credentials", hint="role"),
    imds("credentials", f"{ROLES}shop", stops=EVERYTHING, refused="no credentials", hint="role"),
    # Without leave for it secrets are read one by one.
    Call("BatchGetSecretValue", ("secrets.db", "secrets.session", *MIGRATE), otherwise={"403": DONE}),
    Call(
        "GetSecretValue",
        ("secrets.pinned", "files./etc/app/pinned.env"),
        refused="GetSecretValue prod/db: access denied",
        hint="allow secretsmanager:GetSecretValue on prod/db",
    ),
    Call(
        "GetParameters",
        ("secrets.token", "files./etc/app/token.env"),
        refused="GetParameters /prod/token: access denied",
        hint="allow ssm:GetParameters on /prod/token",
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
]

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
# Longer than the longest silence that is borne in one call, which is 10 s.
DEADLINE = {"403": "30s", "timeout": "12s", "reset": "5s", "malformed": "5s"}

# What calls itself AWS and is not: the words for it, and the exit code.
IMPOSTORS = {
    "stranger": ("certificate", FAILED),
    "expired": ("by this machine's clock its certificate is of another time", UNREACHABLE),
    "mute": ("", UNREACHABLE),
}
SERVICES = {"SECRETS_MANAGER": "secrets.pinned", "SSM": "secrets.token", "EC2": "volumes.data"}


def requests(place: Whole, call: Call) -> list[dict]:
    return place.imds.requests(call.method, call.path) if call.path else place.aws.calls(call.name)


def met(place: Whole, call: Call) -> bool:
    """Whether the fault happened at all. What it cut off may have been done before: it need not be asked for again."""
    return any(request["fault"] for request in requests(place, call))


def disturb(place: Whole, call: Call, fault: tuple[dict, dict]) -> None:
    of_aws, of_imds = fault
    if call.path:
        place.imds.configure(faults=[{**of_imds, "path": call.path, "method": call.method}])
    else:
        place.aws.fault(**of_aws, operation=call.name)


def undisturb(place: Whole) -> None:
    place.aws.rules["faults"] = []
    place.aws.put("/harness/rules", place.aws.rules)
    place.imds.configure(faults=[])


def is_whole(machine, result, whole) -> None:
    assert result.code == DONE, result
    assert machine.lasting() == whole.made, result
    assert machine.leaks(result, [PASSWORD]) == []


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_met_and_nothing_is_done_twice(places, whole, tmp_path, fault):
    def cell(place, machine, call):
        disturb(place, call, PASSING[fault])
        result = machine.go("--deadline", "60s")
        is_whole(machine, result, whole)
        assert "failed" not in result.outcomes().values(), result
        assert met(place, call)

    places.each(tmp_path, CALLS, cell)


@pytest.mark.parametrize("fault", FINAL)
def test_what_does_not_pass_is_named_and_the_next_boot_makes_it_good(places, whole, tmp_path, fault):
    *kinds, code = FINAL[fault]

    def cell(place, machine, call):
        disturb(place, call, kinds)
        result = machine.go("--deadline", DEADLINE[fault])
        assert met(place, call)
        expected = call.otherwise.get(fault, code)
        if expected == DONE:
            return is_whole(machine, result, whole)
        said = stopped(call, result, expected)
        assert machine.leaks(result, [PASSWORD]) == []
        if fault == "403":
            assert call.refused in said and call.hint in said, said
        elif call.path:
            assert "waiting for IMDS" in said, said
        else:
            # Another try may be under way: then it is known what for, and not yet why again.
            assert f"{call.name} " in said or fault == "timeout" and "while it was waiting for " in said, said
        undisturb(place)
        is_whole(machine, machine.go(), whole)

    places.each(tmp_path, CALLS, cell)


def stopped(call: Call, result, code: int) -> str:
    """The boot ended without what needs this call, and with all else. Why, in its words."""
    assert result.code == code, result
    if not call.stops:
        assert set(result.outcomes().values()) <= {"pending", "skipped"}, result
        error = result.report["error"]
        said = f"{error['message']}\nhint: {error['hint']}"
    else:
        outcomes = result.outcomes()
        unwell = {address for address, outcome in outcomes.items() if outcome not in ("changed", "unchanged")}
        assert unwell == set(call.stops) and outcomes[call.stops[0]] == "failed", result
        said = result.failure(call.stops[0])
    assert "hint: None" not in said, said
    return said


@pytest.mark.parametrize("kind", IMPOSTORS)
def test_who_is_not_aws_is_told_nothing(places, whole, tmp_path, kind):
    words, code = IMPOSTORS[kind]

    def cell(place, machine, row):
        with tls.Impostor(kind) as impostor:
            env = {f"AWS_ENDPOINT_URL_{row.name}": impostor.url, "AWS_CA_BUNDLE": str(impostor.authority)}
            result = machine.go("--deadline", "5s", env=env)
        assert result.code == code, result
        said = result.failure(SERVICES[row.name])
        assert words in said and "hint: None" not in said, said
        assert result.step("commands.alone")["outcome"] == "changed"
        is_whole(machine, machine.go(), whole)

    places.each(tmp_path, [Call(name) for name in SERVICES], cell)
