"""Calls of Service Quotas: `engine.quotas` are those that were changed for the account.
<https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_Operations.html>
"""

from moto.servicequotas.responses import ServiceQuotasResponse

from ..refusal import refusal_of

RESPONSE = ServiceQuotasResponse
refused = refusal_of("servicequotas")

# What a new account has: the code, the service, AWS's words, the value.
DEFAULTS = [
    ("L-1216C47A", "ec2", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 5),
    ("L-34B43A08", "ec2", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 5),
    ("L-DB2E81BA", "ec2", "Running On-Demand G and VT instances", 0),
    ("L-0263D0A3", "ec2", "EC2-VPC Elastic IPs", 5),
    ("L-53DA6B97", "elasticloadbalancing", "Application Load Balancers per Region", 50),
    ("L-B22855CB", "elasticloadbalancing", "Target Groups per Region", 3000),
    ("L-0485CB21", "cloudformation", "Stack count", 2000),
    ("L-E79EC296", "vpc", "VPC security groups per Region", 2500),
    ("L-2AFB9258", "vpc", "Security groups per network interface", 5),
    ("L-DFE45DF3", "elasticache", "Nodes per Region", 300),
]


def corrections(engine) -> list[tuple]:
    return []


def named(given: dict) -> tuple[str, float]:
    for code, service, name, value in DEFAULTS:
        if (code, service) == (given["QuotaCode"], given["ServiceCode"]):
            return name, value
    raise refused("NoSuchResourceException", "The request failed because the specified quota does not exist")


def said(given: dict, value: float) -> dict:
    name = named(given)[0]
    return {"Quota": {"ServiceCode": given["ServiceCode"], "QuotaCode": given["QuotaCode"], "QuotaName": name, "Value": float(value)}}


def get(engine, given):
    """One that was never changed is not told here."""
    if given["QuotaCode"] not in engine.quotas:
        raise refused("NoSuchResourceException", "The request failed because the specified quota was never changed")
    return said(given, engine.quotas[given["QuotaCode"]])


def get_default(engine, given):
    return said(given, named(given)[1])


CALLS = {"GetServiceQuota": get, "GetAWSDefaultServiceQuota": get_default}
