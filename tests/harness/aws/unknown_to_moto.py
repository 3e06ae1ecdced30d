"""Resource types that moto's CloudFormation does not know, so that a stack that has them deploys on moto as a whole.

    with known("AWS::CodeBuild::Project") as made:
        cloudformation.create_stack(...)
        made["Project"]["Environment"]         # its properties, every function of the template resolved

They only keep what they are given: nothing of what AWS would make of it is tested by them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel


@contextmanager
def known(*types: str) -> Iterator[dict[str, dict]]:
    """Makes moto know `types` for a while. What it is given of them, by logical name."""
    made: dict[str, dict] = {}
    models, names = parsing.get_model_map(), parsing.get_name_type_map()
    for type in types:
        assert type not in models, f"moto knows {type} by now: test what it makes of it"
        models[type] = stand_in(type, made)
        names[type] = ""
    try:
        yield made
    finally:
        for type in types:
            del models[type], names[type]


def stand_in(type: str, made: dict[str, dict]):
    class StandIn(CloudFormationModel):
        def __init__(self, name: str):
            self.physical_resource_id = name
            self.type = type

        @staticmethod
        def cloudformation_name_type() -> str:
            return ""

        @staticmethod
        def cloudformation_type() -> str:
            return type

        @classmethod
        def has_cfn_attr(cls, attr: str) -> bool:
            return True

        def get_cfn_attribute(self, attribute: str) -> str:
            return f"{self.physical_resource_id}.{attribute}"

        @classmethod
        def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **_):
            properties = cloudformation_json["Properties"]
            # moto's names are STACK-LOGICAL-RANDOM.
            made[resource_name.rsplit("-", 2)[1]] = properties
            return cls(resource_name)

    return StandIn
