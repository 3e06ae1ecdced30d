"""What holds for the buckets of the account: releases and documents never change, claims and records change in turn."""

from fnmatch import fnmatchcase

from . import resources, several, statements, texts
from .rights import said

# S3 writes with one of these conditions, or with none.
NEW, NEXT, PLAIN = {"s3:if-none-match"}, {"s3:if-match"}, set()

# Names that an application, an environment, a queue and a task might have, and what S3 would take them for.
NAMES = ("shop", "releases", "documents", "claims", "deployments", "environments")
# What web.yaml and worker.yaml refuse as the name of an application: `NameOfAnApplication`.
REFUSED = {"environments"}

SHA256 = "0" * 64

# The call that completes an object, and those who may delete one.
WHOLE = {"s3:ObjectCreationOperation": "true"}
NOT_PRUNERS = {"ArnNotLike": {"aws:PrincipalArn": {"Ref": "PrunerArns"}}}
PRUNERS = {"Fn::If": ["HasPruners", NOT_PRUNERS, {"Ref": "AWS::NoValue"}]}


def keys():
    """Each key that ingot and those who deploy write, with whether it may be written again."""
    for application in set(NAMES) - REFUSED:
        for environment in NAMES:
            place = f"{application}/environments/{environment}"
            yield f"{application}/releases/{environment}.tar.zst", False
            yield f"{application}/releases/{environment}.json", False
            yield f"{place}/documents/{SHA256}.yaml", False
            yield f"{place}/deployments/3.json", True
            for name in NAMES:
                claims = f"{place}/claims/cron/{application}/{environment}"
                yield f"{place}/claims/once/{application}/{environment}/commands.{name}/{SHA256}", True
                yield f"{claims}/{name}/nightly/2026-12-01T02:00:00Z", True
                yield f"{claims}/jobs/{name}/2026-12-01T02:00:00Z", True


def denied(template: dict, action: str, key: str, conditions: set[str]) -> bool:
    """Whether the bucket's policy denies it, to a role that is not a pruner's."""
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] == "*"
        and action in several(statement["Action"])
        and applies(statement, key)
        and all((name in conditions) == (null == "false") for name, null in absent(statement).items())
        for statement in statements(template["Resources"]["ReleasesPolicy"])
    )


def applies(statement: dict, key: str) -> bool:
    """To a key. In IAM as in fnmatch, `*` spans slashes."""
    patterns = several(statement.get("Resource", statement.get("NotResource")))
    return any(fnmatchcase(f"${{Releases.Arn}}/{key}", said(one)) for one in patterns) == ("Resource" in statement)


def absent(statement: dict) -> dict[str, str]:
    """What a call must lack, or have, for the statement to apply."""
    return statement.get("Condition", {}).get("Null", {})


def releases_never_change(template: dict) -> list[str]:
    wrong = []
    for key, is_written_again in keys():
        found = [denied(template, "s3:PutObject", key, with_) for with_ in (PLAIN, NEW, NEXT)]
        if found != [True, False, not is_written_again]:
            wrong.append(f"{key}: denied without, with If-None-Match and with If-Match is {found}")
        kept = "/releases/" in key.removeprefix(key.split("/")[0]) or "/documents/" in key
        if not is_written_again and kept and not denied(template, "s3:DeleteObject", key, PLAIN):
            wrong.append(f"{key} can be deleted")
    for statement in statements(template["Resources"]["ReleasesPolicy"]):
        actions, condition = several(statement["Action"]), statement.get("Condition", {})
        others = {kind: asked for kind, asked in condition.items() if kind != "Null"}
        if "s3:PutObject" in actions and others != {"Bool": WHOLE}:
            wrong.append(f"{statement['Sid']} is for more or less than the call that completes an object")
        if "s3:DeleteObject" in actions and ("s3:DeleteObjectVersion" not in actions or condition != PRUNERS):
            wrong.append("versions can be deleted, or by others than those who prune")
    return wrong


def buckets_are_private_and_versioned(template: dict) -> list[str]:
    wrong = []
    for name, bucket in resources(template, "AWS::S3::Bucket").items():
        properties = bucket["Properties"]
        if properties.get("VersioningConfiguration") != {"Status": "Enabled"}:
            wrong.append(f"{name} is not versioned")
        if list(properties.get("PublicAccessBlockConfiguration", {}).values()) != [True] * 4:
            wrong.append(f"{name} may become public")
        if "OnlyTls" not in texts(template["Resources"][f"{name}Policy"]):
            wrong.append(f"{name} is served without TLS")
    if "ExpirationInDays" not in texts(template["Resources"]["Evidence"]):
        wrong.append("evidence does not expire")
    if "ExpirationInDays" in texts(template["Resources"]["Releases"]):
        wrong.append("releases or claims expire")
    return wrong


RULES = [releases_never_change, buckets_are_private_and_versioned]
