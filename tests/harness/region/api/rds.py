"""RDS is moto's, but for where a database is, who may log in, and how many of them an account may have.

<https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBInstances.html>,
<https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeAccountAttributes.html>
"""

import json

from moto.rds.models import DBInstance, MasterUserSecret, rds_backends
from moto.rds.responses import RDSResponse

from harness.aws.proxy import ACCOUNT, REGION

from ..refusal import refusal_of

RESPONSE = RDSResponse
refused = refusal_of("rds")

# What an account may have: RDS's name, and the code in `engine.quotas` with its default.
# <https://docs.aws.amazon.com/general/latest/gr/rds-service.html>
QUOTAS = {"DBInstances": ("L-7B6409FD", 40), "DBSubnetGroups": ("L-48C6BF61", 50), "AllocatedStorage": ("L-7ADDB58A", 100_000)}

# Of the master user of each database.
PASSWORD = "made by RDS: '\\\"x"


def corrections(engine) -> list[tuple]:
    address = DBInstance.address.fget

    def master_user(self) -> str:
        return json.dumps({"username": self.resource.master_username, "password": PASSWORD})

    return [
        (DBInstance, "address", property(lambda self: engine.network.database or address(self))),
        (MasterUserSecret, "_generate_secret_string", master_user),
    ]


def describe_account_attributes(engine, given):
    databases = rds_backends[ACCOUNT][REGION]
    used = {
        "DBInstances": len(databases.databases),
        "DBSubnetGroups": len(databases.subnet_groups),
        "AllocatedStorage": sum(int(one.allocated_storage or 0) for one in databases.databases.values()),
    }
    most = {name: int(engine.quotas.get(code, default)) for name, (code, default) in QUOTAS.items()}
    return {"AccountQuotas": [{"AccountQuotaName": name, "Used": used[name], "Max": most[name]} for name in QUOTAS]}


CALLS = {"DescribeAccountAttributes": describe_account_attributes}
