"""The templates of the fleet as plain data, and what they amount to for given parameters.

The modules beside this one hold rules: functions that take a template and return what is wrong with it, one line each.
"""

import json
import re
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "fleet" / "templates"

NO_VALUE = {"Ref": "AWS::NoValue"}


def template(name: str) -> dict:
    """A copy that a test may change."""
    return json.loads(json.dumps(cfn_yaml.load(str(TEMPLATES / f"{name}.yaml"))))


def several(value) -> list:
    return value if isinstance(value, list) else [value]


def resources(template: dict, *types: str) -> dict[str, dict]:
    return {name: one for name, one in template["Resources"].items() if one["Type"] in types}


def statements(resource: dict) -> list[dict]:
    """Those of a policy or of a role's own policies, not of who may assume it. A conditional one counts as there."""
    properties = resource["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    found = [statement for document in documents for statement in document["Statement"]]
    return [statement["Fn::If"][1] if "Fn::If" in statement else statement for statement in found]


def texts(value) -> str:
    """Everything that is written in a value, for a look whether something is mentioned."""
    return json.dumps(value)


def depends_on(template: dict, value: Any) -> set[str]:
    """The parameters that decide what a value is, not those of resources that it refers to."""
    if isinstance(value, list):
        return {name for one in value for name in depends_on(template, one)}
    if not isinstance(value, dict):
        return set()
    names = {value["Ref"]} if set(value) == {"Ref"} else set()
    if "Fn::Sub" in value:
        names |= set(re.findall(r"\$\{([A-Za-z0-9]+)\}", several(value["Fn::Sub"])[0]))
    found = {name for name in names if name in template["Parameters"]}
    condition = value["Fn::If"][0] if "Fn::If" in value else value["Condition"] if set(value) == {"Condition"} else None
    if condition:
        found |= depends_on(template, template["Conditions"][condition])
    return found.union(*(depends_on(template, one) for one in value.values()))


class Chosen:
    """A template with its parameters, as CloudFormation decides its conditions. References to resources stay."""

    def __init__(self, template: dict, **parameters: str):
        defaults = {name: one["Default"] for name, one in template["Parameters"].items() if "Default" in one}
        self.template = template
        self.parameters = {name: str(value) for name, value in (defaults | parameters).items()}

    def holds(self, condition: str) -> bool:
        return self.decided(self.template["Conditions"][condition])

    def decided(self, function: dict) -> bool:
        ((name, value),) = function.items()
        if name == "Condition":
            return self.holds(value)
        if name == "Fn::Equals":
            left, right = (self.value(side) for side in value)
            return str(left) == str(right)
        if name == "Fn::Not":
            return not self.decided(value[0])
        each = [self.decided(one) for one in value]
        return {"Fn::And": all, "Fn::Or": any}[name](each)

    def value(self, value: Any) -> Any:
        """With every Fn::If decided and every parameter put in; what becomes of AWS::NoValue is left out."""
        if isinstance(value, list):
            return [self.value(one) for one in value if self.chosen(one) != NO_VALUE]
        if not isinstance(value, dict):
            return value
        if (chosen := self.chosen(value)) != value:
            return self.value(chosen)
        if set(value) == {"Ref"} and value["Ref"] in self.parameters:
            return self.parameters[value["Ref"]]
        if "Fn::Join" in value and all(isinstance(one, str) for one in several(self.value(value["Fn::Join"][1]))):
            return value["Fn::Join"][0].join(several(self.value(value["Fn::Join"][1])))
        return {key: self.value(one) for key, one in value.items() if self.chosen(one) != NO_VALUE}

    def chosen(self, value: Any) -> Any:
        while isinstance(value, dict) and "Fn::If" in value:
            condition, then, otherwise = value["Fn::If"]
            value = then if self.holds(condition) else otherwise
        return value

    def resource(self, name: str) -> dict:
        return self.value(self.template["Resources"][name])

    def is_there(self, name: str) -> bool:
        condition = self.template["Resources"][name].get("Condition")
        return condition is None or self.holds(condition)
