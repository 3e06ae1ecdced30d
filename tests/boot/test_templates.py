"""Secrets in templates, in a boot: what helpers make of them stays secret, and a line break at the end is told."""

import base64
import json
import urllib.parse
from xml.sax.saxutils import escape

from harness.agent import DONE, document

PASSWORD = "hun<ter>2&co: p@ss/w\u00f6rd"
INNER = "correct-horse-battery"

LINES = {
    "url": "{{url secrets.db.password}}",
    "base64": "{{base64 secrets.db.password}}",
    "xml": "{{xml secrets.db.password}}",
    "properties": "{{properties secrets.db.password}}",
    "pgpass": "{{pgpass secrets.db.password}}",
    "unbase64": "{{unbase64 secrets.db.packed}}",
    "split": '{{#each (split secrets.db.packed_list ";")}}{{#if @last}}{{this}}{{/if}}{{/each}}',
    "replace": '{{replace secrets.db.password "<" "_"}}',
    "nested": "{{base64 (url (trim secrets.db.password))}}",
    "each": "{{#each secrets.list}}{{url this}}{{/each}}",
    "with": "{{#with (lookup secrets.db \"inner\")}}{{url this}}{{/with}}",
}


def test_what_helpers_make_of_a_secret_is_redacted_too(agent, aws):
    aws.secret(
        "prod/db",
        {
            "password": PASSWORD,
            "packed": base64.b64encode(INNER.encode()).decode(),
            "packed_list": "shop;last:of/them",
            "inner": "in/ner:one",
        },
    )
    aws.parameter("/prod/list", "one/of:several", "StringList")
    lines = "".join(f"{name} {line}\n" for name, line in LINES.items())
    text = document(
        secrets={"db": {"secrets_manager": "prod/db"}, "list": {"parameter": "/prod/list"}},
        files={"/etc/all": {"content": lines, "check": ["sh", "-c", "cat {path}; exit 1"], "required": False}},
        commands={
            "print": {
                "run": ["sh", "-c", 'echo "$A"'],
                "environment": {"A": lines.replace("\n", "\\n")},
                "required": False,
                "after": ["files./etc/all"],
            }
        },
    )
    result = agent.boot(text)
    assert result.code == DONE, result
    made = [
        urllib.parse.quote(PASSWORD, safe=""),
        base64.b64encode(PASSWORD.encode()).decode(),
        escape(PASSWORD),
        "hun<ter>2&co\\:\\ p@ss/w\\u00F6rd",
        "hun<ter>2&co\\: p@ss",
        INNER,
        "last:of/them",
        PASSWORD.replace("<", "_"),
        base64.b64encode(urllib.parse.quote(PASSWORD, safe="").encode()).decode(),
        "one%2Fof%3Aseveral",
        "in%2Fner%3Aone",
    ]
    assert result.outcomes()["files./etc/all"] == "failed"
    assert "its last words" in result.failure("files./etc/all") or "last lines" in result.failure("files./etc/all"), result
    assert {secret: agent.leaks(result, [secret]) for secret in made} == {secret: [] for secret in made}
    assert "[redacted]" in json.dumps(result.report)


def test_a_line_break_at_the_end_of_a_secret_is_kept_and_told_once(agent, aws):
    aws.secret("prod/plain", "hunter2-hunter2\n")
    aws.secret("prod/trimmed", "hunter3-hunter3\n")
    aws.secret("prod/clean", "hunter4-hunter4")
    names = ("plain", "trimmed", "clean")
    result = agent.boot(
        document(
            secrets={name: {"secrets_manager": f"prod/{name}"} for name in names},
            files={
                "/etc/a": {"content": "{{secrets.plain}}"},
                "/etc/b.env": {"content": "B={{env secrets.plain}}\nC={{env (trim secrets.trimmed)}}\n"},
                "/etc/c": {"content": "{{secrets.clean}}"},
            },
        )
    )
    assert result.code == DONE, result
    assert agent.read("/etc/a") == "hunter2-hunter2\n"
    assert agent.read("/etc/b.env") == "B='hunter2-hunter2\n'\nC=hunter3-hunter3\n"
    said = "secrets.plain ends with a line break, which is kept; {{trim secrets.plain}} removes it"
    assert result.report["warnings"] == [f"secrets.plain: {said}"]
    assert result.stderr.count(said) == 1, result


def test_xml_and_properties_are_parsed_before_they_are_installed(agent):
    text = document(
        values={"name": "a & b", "path": "\\users"},
        files={
            "/etc/good.xml": {"content": "<a b='{{xml values.name}}'/>\n"},
            "/etc/bad.xml": {"content": "<a b='{{values.name}}'/>\n", "required": False},
            "/etc/any.xml": {"content": "<a b='{{values.name}}'/>\n", "format": "none"},
            "/etc/good.properties": {"content": "a={{properties values.path}}\n"},
            "/etc/bad.properties": {"content": "a={{values.path}}\n", "required": False},
            "/etc/named": {"content": "{{values.name}}", "format": "xml", "required": False},
        },
    )
    result = agent.boot(text)
    assert result.code == DONE, result
    failed = {address for address, outcome in result.outcomes().items() if outcome == "failed"}
    assert failed == {"files./etc/bad.xml", "files./etc/bad.properties", "files./etc/named"}
    said = "/etc/bad.xml:1:1 is not XML: the line `<a b='a & b'/>` has an attribute that does not parse"
    assert said in result.failure("files./etc/bad.xml")
    assert "has a `\\u` without four hexadecimal digits" in result.failure("files./etc/bad.properties")
    assert agent.read("/etc/any.xml") == "<a b='a & b'/>\n"
