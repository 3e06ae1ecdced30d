"""How the region evaluates templates: functions, conditions, parameters, order."""

import base64

import pytest
from harness.region.stacks.signals import seconds
from harness.region.stacks.template import Parameters, Template, load

TEXT = """\
Parameters:
  Name: { Type: String, Default: shop, AllowedPattern: "[a-z]+", ConstraintDescription: must be lower-case letters }
  Size: { Type: Number, Default: 2, MinValue: 1, MaxValue: 4 }
  Mode: { Type: String, Default: one, AllowedValues: [one, two] }
  Subnets: { Type: CommaDelimitedList, Default: "a, b" }
Rules:
  Small:
    RuleCondition: !Equals [!Ref Mode, one]
    Assertions: [{ Assert: !Not [!Equals [!Ref Size, "4"]], AssertDescription: one needs less than 4 }]
Mappings: { Engines: { postgres: { Port: 5432 } } }
Conditions:
  One: !Equals [!Ref Mode, one]
  Two: !Not [!Condition One]
  Both: !And [!Condition One, !Or [!Condition Two, !Condition One]]
Resources:
  Queue: { Type: AWS::SQS::Queue, DependsOn: Topic }
  Topic: { Type: AWS::SNS::Topic }
  Second: { Type: AWS::SNS::Topic, Condition: Two }
  User: { Type: AWS::SNS::Topic, Properties: { Text: !Sub "${Queue.Arn} ${!literal} ${Name}" } }
"""


def template(**given: str) -> Template:
    content = load(TEXT)
    parameters = Parameters(content["Parameters"], given, lambda name: f"value of {name}")
    return Template(content, parameters, {"AWS::Region": "eu-central-1"}, lambda name: f"export {name}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!Ref Name", "shop"),
        ("!Ref Subnets", ["a", "b"]),
        ("!Sub '${AWS::Region} ${Queue} ${!kept}'", "eu-central-1 Queue ${kept}"),
        ("!Sub ['${own} ${Size}', { own: !Ref Name }]", "shop 2"),
        ("!GetAtt Queue.Endpoint.Address", "Queue.Endpoint.Address"),
        ("!If [One, yes it is, no]", "yes it is"),
        ("!Join ['-', [a, !Ref Name, !If [Two, b, !Ref AWS::NoValue]]]", "a-shop"),
        ("!Select [1, !Split [',', 'a,b']]", "b"),
        ("!FindInMap [Engines, postgres, Port]", 5432),
        ("!Base64 text", base64.b64encode(b"text").decode()),
        ("!ImportValue x", "export x"),
        ("{ a: !If [Two, 1, !Ref AWS::NoValue], b: 2012-10-17 }", {"b": "2012-10-17"}),
    ],
)
def test_functions(text, value):
    assert template().value(load(f"X: {text}")["X"]) == value


def test_conditions_and_order():
    assert template().order() == ["Topic", "Queue", "User"]
    assert template(Mode="two").order() == ["Topic", "Queue", "Second", "User"]
    assert (template().condition("Both"), template(Mode="two").condition("Both")) == (True, False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Name": "Shop"}, "Parameter Name failed to satisfy constraint: must be lower-case letters"),
        ({"Size": "x"}, "Parameter 'Size' must be a number"),
        ({"Size": "0"}, "not less than 1"),
        ({"Size": "5"}, "not greater than 4"),
        ({"Mode": "three"}, "must be one of AllowedValues"),
        ({"Nobody": "1"}, r"Parameters: \[Nobody\] do not exist in the template"),
        ({"Size": "4"}, "one needs less than 4"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        template(**given)


def test_circles_are_found():
    content = {
        "Resources": {"A": {"Type": "T", "DependsOn": "B"}, "B": {"Type": "T", "Properties": {"X": {"Ref": "A"}}}}
    }
    with pytest.raises(ValueError, match="Circular dependency"):
        Template(content, Parameters({}, {}, str), {}, str).order()


def test_durations():
    assert [seconds(text) for text in ("PT15M", "PT1H30M5S", "P1D", "PT0S")] == [900, 5405, 86400, 0]
