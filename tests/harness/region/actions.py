"""What calls are to IAM, and which of them the policies of the account allow."""

from harness.templates import several, statements, template

# What services are called in IAM: those that are called by forms, by the version in these, and others by their target.
SERVICES = {
    "2010-05-08": "iam",
    "2010-05-15": "cloudformation",
    "2010-08-01": "cloudwatch",
    "2011-01-01": "autoscaling",
    "2014-10-31": "rds",
    "2015-02-02": "elasticache",
    "2015-12-01": "elasticloadbalancing",
    "2016-11-15": "ec2",
    "AmazonSSM": "ssm",
    "CertificateManager": "acm",
    "GraniteServiceVersion20100801": "cloudwatch",
    "ServiceQuotasV20190624": "servicequotas",
}
# GetCallerIdentity of STS needs no permission.
OF_ANYBODY = "2011-06-15"


def action(call: dict) -> str | None:
    """What a call is as an action of IAM."""
    if version := call["form"].get("Version"):
        return None if version == OF_ANYBODY else f"{SERVICES[version]}:{call['operation']}"
    service, _, operation = call["target"].partition(".")
    if service in SERVICES:
        return f"{SERVICES[service]}:{operation}"
    method, path = call["target"].split()[:2]
    has_key = path.strip("/").count("/") > 0
    return {"GET": "s3:GetObject" if has_key else "s3:ListBucket", "HEAD": "s3:GetObject", "PUT": "s3:PutObject"}[method]


def allowed(*policies: str) -> set[str]:
    """What these policies of `ingot-account` allow, on some resource."""
    resources = template("account")["Resources"]
    return {action for name in policies for one in statements(resources[name]) for action in several(one["Action"])}
