"""Templates: parameters, conditions, intrinsic functions, and in which order resources come.

<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html>,
<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html>,
<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/rules-section-structure.html>.

Not here: transforms, macros, nested stacks, Fn::Cidr, Fn::ForEach.
"""

import base64
import json
import re
from collections.abc import Callable

import yaml

NO_VALUE = object()
REFERENCE = re.compile(r"\$\{([^!}][^}]*)\}")


class Loader(yaml.CSafeLoader):
    """YAML with CloudFormation's short forms. Dates stay texts, as `Version: 2012-10-17` has to."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def short_form(loader: Loader, name: str, node: yaml.Node) -> dict:
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


Loader.add_multi_constructor("!", short_form)


def load(text: str) -> dict:
    try:
        return json.loads(text)
    except ValueError:
        try:
            return yaml.load(text, Loader)
        except yaml.YAMLError as error:
            raise ValueError(f"Template format error: YAML not well-formed. ({error})") from error


class Parameters:
    """Checked and resolved, by name: a text, or a list of them."""

    def __init__(self, declared: dict, given: dict[str, str], of_ssm: Callable[[str], str]):
        if unknown := given.keys() - declared.keys():
            raise ValueError(f"Parameters: [{', '.join(sorted(unknown))}] do not exist in the template")
        missing = [name for name, one in declared.items() if name not in given and "Default" not in one]
        if missing:
            raise ValueError(f"Parameters: [{', '.join(missing)}] must have values")
        self.texts = {name: str(given.get(name, one.get("Default"))) for name, one in declared.items()}
        self.values = {name: self.value(name, one, of_ssm) for name, one in declared.items()}

    def value(self, name: str, declared: dict, of_ssm: Callable[[str], str]) -> str | list[str]:
        text, type = self.texts[name], declared["Type"]
        if type.startswith("AWS::SSM::Parameter::Value<"):
            text = of_ssm(text)
        several = type == "CommaDelimitedList" or "List<" in type
        values = [part.strip() for part in text.split(",")] if several else [text]
        for value in values:
            check(name, declared, value)
        return ([] if text == "" else values) if several else text


def check(name: str, declared: dict, value: str) -> None:
    why = declared.get("ConstraintDescription")
    if "AllowedValues" in declared and value not in [str(one) for one in declared["AllowedValues"]]:
        allowed = ", ".join(str(one) for one in declared["AllowedValues"])
        raise ValueError(f"Parameter '{name}' must be one of AllowedValues [{allowed}]")
    if "AllowedPattern" in declared and not re.fullmatch(declared["AllowedPattern"], value):
        raise ValueError(f"Parameter {name} failed to satisfy constraint: {why or declared['AllowedPattern']}")
    if declared["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"Parameter '{name}' must be a number.") from None
        if number < float(declared.get("MinValue", number)):
            raise ValueError(f"Parameter '{name}' must be a number not less than {declared['MinValue']}")
        if number > float(declared.get("MaxValue", number)):
            raise ValueError(f"Parameter '{name}' must be a number not greater than {declared['MaxValue']}")


class Template:
    """A template with its parameters. `resource` gives the Ref (attribute None) or an attribute of a resource."""

    def __init__(self, content: dict, parameters: Parameters, pseudo: dict, exports: Callable[[str], str]):
        self.content, self.parameters, self.pseudo, self.exports = content, parameters, pseudo, exports
        self.resource: Callable = lambda name, attribute: f"{name}.{attribute}" if attribute else name
        self.check_rules()

    def check_rules(self) -> None:
        for name, rule in self.content.get("Rules", {}).items():
            if "RuleCondition" in rule and not self.holds(rule["RuleCondition"]):
                continue
            for one in rule["Assertions"]:
                if not self.holds(one["Assert"]):
                    raise ValueError(
                        f"Template error: rule '{name}' failed assertion: {one.get('AssertDescription', '')}"
                    )

    # Conditions.

    def condition(self, name: str) -> bool:
        return self.holds(self.content["Conditions"][name])

    def holds(self, function: dict) -> bool:
        ((name, value),) = function.items()
        if name == "Condition":
            return self.condition(value)
        if name == "Fn::Equals":
            left, right = (self.value(side) for side in value)
            return str(left) == str(right)
        if name == "Fn::Not":
            return not self.holds(value[0])
        if name == "Fn::Contains":
            return str(self.value(value[1])) in [str(one) for one in self.value(value[0])]
        return {"Fn::And": all, "Fn::Or": any}[name](self.holds(one) for one in value)

    def is_there(self, name: str) -> bool:
        condition = self.content["Resources"][name].get("Condition")
        return condition is None or self.condition(condition)

    # Values.

    def value(self, node):
        """What a value amounts to, every function carried out; `NO_VALUE` is left out of lists and maps."""
        if isinstance(node, list):
            return [one for one in (self.value(each) for each in node) if one is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self.function(name, argument)
        pairs = {key: self.value(each) for key, each in node.items()}
        return {key: each for key, each in pairs.items() if each is not NO_VALUE}

    def function(self, name: str, argument):
        match name:
            case "Ref":
                return self.ref(argument)
            case "Fn::GetAtt":
                resource, attribute = (
                    argument.split(".", 1) if isinstance(argument, str) else (argument[0], ".".join(argument[1:]))
                )
                return self.resource(resource, attribute)
            case "Fn::If":
                return self.value(argument[1] if self.condition(argument[0]) else argument[2])
            case "Fn::Sub":
                return self.substituted(argument)
            case "Fn::Join":
                return argument[0].join(str(one) for one in self.value(argument[1]))
            case "Fn::Split":
                return str(self.value(argument[1])).split(argument[0])
            case "Fn::Select":
                return self.value(argument[1])[int(self.value(argument[0]))]
            case "Fn::FindInMap":
                first, second, third = (self.value(one) for one in argument)
                return self.content["Mappings"][first][second][third]
            case "Fn::Base64":
                return base64.b64encode(str(self.value(argument)).encode()).decode()
            case "Fn::GetAZs":
                return [f"{self.pseudo['AWS::Region']}{zone}" for zone in "abc"]
            case "Fn::ImportValue":
                return self.exports(self.value(argument))
            case "Fn::Length":
                return len(self.value(argument))
        raise ValueError(f"Template error: the region does not know the function {name}")

    def ref(self, name: str):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters.values:
            return self.parameters.values[name]
        return self.resource(name, None)

    def substituted(self, argument) -> str:
        text, own = argument if isinstance(argument, list) else (argument, {})
        values = {key: self.value(one) for key, one in own.items()}

        def put(found: re.Match) -> str:
            name = found[1].strip()
            if name in values:
                return str(values[name])
            return str(self.function("Fn::GetAtt", name) if "." in name else self.ref(name))

        return REFERENCE.sub(put, text).replace("${!", "${")

    # Order.

    def order(self) -> list[str]:
        """The resources that are there, each after those it refers to."""
        resources, found = self.content["Resources"], []

        def visit(name: str, above: tuple[str, ...]) -> None:
            if name in above:
                raise ValueError(f"Circular dependency between resources: [{', '.join(sorted(above))}]")
            if name in found or not self.is_there(name):
                return
            for other in sorted(self.needs(name)):
                visit(other, (*above, name))
            found.append(name)

        for name in resources:
            visit(name, ())
        return found

    def needs(self, name: str) -> set[str]:
        resource = self.content["Resources"][name]
        depends = resource.get("DependsOn", [])
        needed = {depends} if isinstance(depends, str) else set(depends)
        self.collect({key: one for key, one in resource.items() if key not in ("DependsOn", "Condition")}, needed)
        return needed & self.content["Resources"].keys() - {name}

    def collect(self, node, found: set[str]) -> None:
        if isinstance(node, list):
            for one in node:
                self.collect(one, found)
        elif isinstance(node, dict):
            if "Fn::If" in node:
                condition, then, otherwise = node["Fn::If"]
                return self.collect(then if self.condition(condition) else otherwise, found)
            if isinstance(node.get("Ref"), str):
                found.add(node["Ref"])
            if attribute := node.get("Fn::GetAtt"):
                found.add(attribute.split(".")[0] if isinstance(attribute, str) else attribute[0])
            if text := node.get("Fn::Sub"):
                text = text if isinstance(text, str) else text[0]
                found |= {match.strip().split(".")[0] for match in REFERENCE.findall(text)}
            for one in node.values():
                self.collect(one, found)
        return None
