"""Values that quoting has broken on somewhere, and how ingot writes them."""

import json
import subprocess
from pathlib import Path

from harness.agent import binary

# A NUL is not among them: neither a document nor a file of facts can hold one.
NASTY = {
    "plain": "correct-horse",
    "empty": "",
    "single quote": "it's",
    "double quote": 'say "hi"',
    "both quotes": "it's \"5\"",
    "quotes at the ends": "'quoted'",
    "double quotes at the ends": '"quoted"',
    "a quote only": "'",
    "backslash": r"C:\Users\table",
    "backslash at the end": "dir\\",
    "two backslashes": r"\\server\share",
    "backslash and quote": r"it's \n",
    "backslash n": r"one\nline",
    "backslash t": r"a\tb",
    "dollar": "pa$$word $1",
    "variable": "$HOME",
    "variable in braces": "${HOME}",
    "default in braces": "${NONE:-x}",
    "command": "$(id) `id`",
    "quote and dollar": "it's $5",
    "backtick": "a`b",
    "hash": "a#b",
    "hash after a blank": "a #b",
    "hash first": "#a",
    "semicolon": "a;b ; c",
    "blank inside": "two words",
    "blank first": " a",
    "blank last": "a ",
    "blanks only": "  ",
    "tab": "a\tb",
    "tab last": "a\t",
    "line feed": "a\nb",
    "line feed last": "a\n",
    "a second setting": "a\nADMIN=yes",
    "carriage return": "a\rb",
    "CRLF": "a\r\nb",
    "equals": "a=b==",
    "equals first": "=a",
    "exclamation mark": "wow!!",
    "percent": "100% %(x)s %%",
    "tilde": "~root:~",
    "tilde inside": "a~b",
    "at, slash, colon": "p@ss:w/rd?q=1&r#f",
    "markup": "<a b=\"c\">&amp;]]></a>",
    "globs": "*?[a]{b,c}",
    "operators": "a|b&c>d<e",
    "export": "export A=b",
    "comma and brackets": "[a], {b}: c",
    "umlaut": "Grüße",
    "emoji": "a🦀b",
    "no-break space": "\u00a0a\u00a0",
    "line separator": "a\u2028b",
    "next line": "a\u0085b",
    "byte order mark": "a\ufeffb",
    "zero-width space": "a\u200bb",
    "control characters": "a\x01\x1b[0m\x7f",
    "noncharacter": "a\uffffb",
    "long": "long " * 12_000,
    "longest": "x" * 130_816,
    "too long": "x" * 130_817,
}


def quoted(text: str) -> str:
    """As YAML reads it back, whatever it is."""
    return '"' + "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text) + '"'


def written(directory: Path, content: str, values: dict[str, str] = NASTY) -> tuple[dict[str, str], dict[str, str]]:
    """Renders `content`, in which `VALUE` is the path of the value, once for each. What was written, and why not."""
    texts, refused, _ = rendered(directory, content, values)
    return texts, refused


def rendered(directory: Path, content: str, values: dict[str, str] = NASTY):
    """As `written`; besides, the values of which a note tells that systemd and shells alone read them."""
    names = {name: f"v{number}" for number, name in enumerate(values)}
    files = {
        f"/etc/{key}": {"content": content.replace("VALUE", f"secrets.s.{key}"), "required": False} for key in names.values()
    }
    document = directory / "boot.yaml"
    document.write_text("#ingot\n" + json.dumps({"version": 1, "secrets": {"s": {"secrets_manager": "s"}}, "files": files}))
    facts = directory / "facts.yaml"
    facts.write_text("secrets:\n  s:\n" + "".join(f"    {key}: {quoted(values[name])}\n" for name, key in names.items()))
    command = [binary(), "dry-run", "--json", "--facts", facts, "--out", directory / "out", document]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done
    result = json.loads(done.stdout)
    told = [note for note in result["notes"] if "only systemd and shells" in note]
    narrow = {name for name, key in names.items() if any(note.startswith(f"files./etc/{key}: secrets.s.{key} ") for note in told)}
    assert len(narrow) == len(told), told
    errors = {step["address"]: step["error"] for step in result["steps"]}
    texts, refused = {}, {}
    for name, key in names.items():
        if error := errors[f"files./etc/{key}"]:
            refused[name] = "; ".join([error["message"], *error["causes"], error["hint"]])
        else:
            texts[name] = (directory / "out/etc" / key).read_bytes().decode()
    return texts, refused, narrow
