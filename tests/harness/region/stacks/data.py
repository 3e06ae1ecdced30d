"""Databases and secrets of templates, which moto's CloudFormation reads wrongly or does not know.

A database that is deleted leaves a last snapshot where its DeletionPolicy says so:
<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html>. With
ManageMasterUserPassword, RDS keeps the password in a secret of its own:
<https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html>. `Network.database` is where a server is.
"""

import json
import secrets

from moto.rds.models import rds_backends
from moto.secretsmanager.models import secretsmanager_backends

from harness.aws.proxy import ACCOUNT, REGION

DATABASE = "AWS::RDS::DBInstance"
SECRET = "AWS::SecretsManager::Secret"

# What an update of the template may change in place: moto's name of it, and its type.
CHANGES = {
    "DBInstanceClass": ("db_instance_class", str),
    "AllocatedStorage": ("allocated_storage", int),
    "MultiAZ": ("multi_az", lambda text: str(text).lower() == "true"),
}


class StackDatabase:
    def __init__(self, name: str, given: dict):
        self.physical_resource_id = name.lower()
        self.backend = rds_backends[ACCOUNT][REGION]
        wanted = {
            "db_instance_identifier": self.physical_resource_id,
            "engine": given["Engine"],
            "db_subnet_group_name": given.get("DBSubnetGroupName"),
            "manage_master_user_password": given.get("ManageMasterUserPassword"),
            "tags": given.get("Tags", []),
            **self.changeable(given),
        }
        if snapshot := given.get("DBSnapshotIdentifier"):
            self.model = self.backend.restore_db_instance_from_db_snapshot(snapshot, wanted)
        else:
            more = {"db_name": given.get("DBName"), "master_username": given.get("MasterUsername")}
            self.model = self.backend.create_db_instance(wanted | more)

    def changeable(self, given: dict) -> dict:
        return {name: read(given[key]) for key, (name, read) in CHANGES.items() if key in given}

    def put(self, given: dict) -> None:
        self.backend.modify_db_instance(self.physical_resource_id, self.changeable(given))

    def get_cfn_attribute(self, name: str) -> str:
        found = {
            "Endpoint.Address": self.model.address,
            "Endpoint.Port": str(self.model.port),
            "MasterUserSecret.SecretArn": self.model.master_user_secret.secret_arn,
        }
        return found[name]

    def snapshot(self) -> None:
        """The one that is left."""
        name = f"{self.physical_resource_id}-snapshot-{secrets.token_hex(6)}"
        self.backend.create_db_snapshot(self.physical_resource_id, name)

    def delete(self, *_) -> None:
        self.backend.delete_db_instance(self.physical_resource_id)


class StackSecret:
    """With the value that GenerateSecretString asks for: letters and digits."""

    def __init__(self, name: str, given: dict):
        asked = given["GenerateSecretString"]
        word = secrets.token_hex(int(asked.get("PasswordLength", 32)) // 2)
        value = json.loads(asked["SecretStringTemplate"]) | {asked["GenerateStringKey"]: word}
        self.backend = secretsmanager_backends[ACCOUNT][REGION]
        made = self.backend.create_secret(
            name, json.dumps(value), None, given.get("Description"), given.get("Tags", []), None, None, [], False
        )
        self.physical_resource_id = json.loads(made)["ARN"]

    def get_cfn_attribute(self, name: str) -> str:
        return self.physical_resource_id

    def delete(self, *_) -> None:
        self.backend.delete_secret(self.physical_resource_id, None, True)
