"""RDS is moto's, but for where a database is and who may log in.

<https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBInstances.html>
"""

import json

from moto.rds.models import DBInstance, MasterUserSecret
from moto.rds.responses import RDSResponse

from ..refusal import refusal_of

RESPONSE = RDSResponse
refused = refusal_of("rds")
CALLS: dict = {}

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
