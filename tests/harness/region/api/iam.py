"""SimulatePrincipalPolicy of IAM, which moto has not: everything is allowed but what `engine.rights` says. And of
GetAccountSummary, how many roles there may be.
<https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>,
<https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html>
"""

from moto.iam.models import iam_backends
from moto.iam.responses import IamResponse

from harness.aws.proxy import ACCOUNT

from ..refusal import refusal_of

RESPONSE = IamResponse
refused = refusal_of("iam")


def corrections(engine) -> list[tuple]:
    return []


def simulate(engine, given):
    """A role is known by its whole ARN, with its path."""
    source = given["PolicySourceArn"]
    roles = {role.arn for role in iam_backends[ACCOUNT]["aws"].roles.values()}
    if ":role/" in source and source not in roles:
        raise refused("NoSuchEntity", f"The entity {source} cannot be found")
    results = []
    for action in given["ActionNames"]:
        decision, _, missing = engine.rights.get(action, "allowed").partition(" without ")
        result = {"EvalActionName": action, "EvalResourceName": given["ResourceArns"][0], "EvalDecision": decision}
        results.append(result | ({"MissingContextValues": [missing]} if missing else {}))
    return {"EvaluationResults": results, "IsTruncated": False}


def account_summary(engine, given):
    roles = iam_backends[ACCOUNT]["aws"].roles
    return {"SummaryMap": {"Roles": len(roles), "RolesQuota": int(engine.quotas.get("L-FE177D64", 1000))}}


CALLS = {"GetAccountSummary": account_summary, "SimulatePrincipalPolicy": simulate}
