"""User data that was meant for ingot and is not a document as it stands: never a good boot, on no form of it."""

import base64
import bz2
import gzip
import io
import lzma
import zipfile

import pytest
from harness.agent import BAD_DOCUMENT, DONE, document
from harness.aws.waiting import HOOK, waits_for_instance

SIGNALS = "signals: { stack: { cloudformation: {} }, hook: { lifecycle_hook: { name: ready } } }\n"
KEYS = f"version: 1\nfiles:\n  /etc/sent: {{ content: sent }}\n\n{SIGNALS}"
MARKED = "#ingot\n" + KEYS
BAKED = "version: 1\nfiles: { /etc/baked: { content: baked } }\n"


def mime(*parts: str) -> str:
    body = "".join(f"--b\n{part}\n" for part in parts)
    return f'Content-Type: multipart/mixed; boundary="b"\nMIME-Version: 1.0\n\n{body}--b--\n'


def part(kind: str, body: str) -> str:
    return f"Content-Type: {kind}\n\n{body}"


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def zipped(text: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("boot.yaml", text)
    return archive.getvalue()


# Forms that ingot cannot read a signal from. The layers of the image have to send it.
UNREADABLE = {
    "xz": lzma.compress(MARKED.encode()),
    "bzip2": bz2.compress(MARKED.encode()),
    "zip": zipped(MARKED),
    "base64 of xz": base64.b64encode(lzma.compress(MARKED.encode())),
    "gzip that was cut off": gzip.compress(MARKED.encode())[:-12],
    "a body of no bytes": b"",
    "white space": b" \n\n",
    "a marker alone": b"#ingot\n",
    "all in comments": b"#ingot\n" + b"".join(b"#" + line + b"\n" for line in KEYS.encode().splitlines()),
    "a part that ends nowhere": mime(part("text/x-ingot", MARKED)).removesuffix("--b--\n").encode(),
    "text": b"hello\n",
    "a program": b"\x7fELF\x00\x01",
}

# Forms whose own signals can be read, though the rest of them must not run.
READABLE = {
    "indented": indented(MARKED),
    "only the marker indented": " " + MARKED,
    "a blank in the marker": "# ingot\n" + KEYS,
    "capitals": "#Ingot\n" + KEYS,
    "a colon": "#ingot:\n" + KEYS,
    "a marker like that of a script": "#!ingot\n" + KEYS,
    "ingot as the interpreter": "#!/usr/bin/env -S ingot boot\n" + KEYS,
    "no marker": KEYS,
    "no marker, after a comment": "# Managed by Terraform\n" + KEYS,
    "the marker after keys": KEYS + "#ingot\n",
    "the marker after `---`": "---\n" + MARKED,
    "JSON": document(signals={"stack": {"cloudformation": {}}, "hook": {"lifecycle_hook": {"name": HOOK}}})[7:],
    "UTF-16": MARKED.encode("utf-16"),
    "UTF-16 without a mark": MARKED.encode("utf-16-be"),
    "gzip of UTF-16": gzip.compress(MARKED.encode("utf-16")),
    "headers that do not end": mime(f"Content-Type: text/x-ingot\n{MARKED}"),
    "headers that do not end before a key": mime(f"Content-Type: text/x-ingot\n{KEYS}"),
    "text/plain": mime(part("text/x-shellscript", "#!/bin/sh\n"), part("text/plain", MARKED)),
    "text/cloud-config": mime(part("text/cloud-config", MARKED)),
    "a cloud-config part with our key": mime(
        part("text/cloud-config", "#cloud-config\ningot:\n" + "".join(f"  {line}\n" for line in KEYS.splitlines()))
    ),
    "a misspelled type": mime(part("text/x-ignot", MARKED)),
}


@pytest.fixture
def waited_for(agent, aws, imds):
    """ingot on an instance for which a stack and a group wait."""
    waits_for_instance(aws, imds)
    return agent


def fails(agent, aws) -> None:
    result = agent.boot()
    assert result.code == BAD_DOCUMENT, result
    assert aws.statuses() == ["FAILURE"] and aws.results() == ["ABANDON"], result
    assert not agent.path("/etc/sent").exists() and not agent.path("/etc/baked").exists()
    status = agent.run("status", "--root", str(agent.root))
    assert status.code == 1 and "the boot document has " in status.stdout and "hint: " in status.stdout, status


@pytest.mark.parametrize("form", [*UNREADABLE, *READABLE])
def test_user_data_that_is_no_document_fails_the_boot_by_the_signals_of_the_image(waited_for, aws, imds, form):
    imds.configure(user_data=(UNREADABLE | READABLE)[form])
    waited_for.write("/etc/ingot/boot.d/10.yaml", BAKED + SIGNALS)
    fails(waited_for, aws)


@pytest.mark.parametrize("form", READABLE)
def test_its_own_signals_are_sent_if_they_can_be_read(waited_for, aws, imds, form):
    imds.configure(user_data=READABLE[form])
    fails(waited_for, aws)


# What a layer of an image may be as well, and what is said of it.
LAYER = "must begin with the line `#ingot`"
REFUSED = "is refused as user data"
LAYERS = {
    "no marker": LAYER,
    "no marker, after a comment": LAYER,
    "JSON": LAYER,
    "a blank in the marker": REFUSED,
    "the marker after keys": REFUSED,
    "the marker after `---`": REFUSED,
}


@pytest.mark.parametrize("form", [*UNREADABLE, *READABLE])
def test_a_desk_says_the_same(agent, tmp_path, form):
    user_data = (UNREADABLE | READABLE)[form]
    user_data = user_data.encode() if isinstance(user_data, str) else user_data
    (tmp_path / "boot").write_bytes(user_data)
    for command in ("check", "dry-run"):
        named, read = agent.run(command, tmp_path / "boot"), agent.run(command, "-", stdin=user_data)
        assert named.code == read.code == (DONE if form in LAYERS else BAD_DOCUMENT), named
        if form not in LAYERS:
            assert "hint: " in named.stdout + named.stderr, named
        elif command == "check":
            assert LAYERS[form] in named.stdout + named.stderr, named


def test_an_instance_without_any_document_is_not_called_done(waited_for, aws, imds):
    imds.configure(user_data=None)
    result = waited_for.boot(None, "--json")
    assert result.code == DONE, result
    assert (result.json["outcome"], result.json["document"], result.json["steps"]) == ("no document", None, []), result
    assert aws.statuses() == [] and aws.results() == [None]
    root = ["--root", str(waited_for.root)]
    status = waited_for.run("status", *root, "--wait")
    assert (status.code, status.stdout.split(" after ")[0]) == (4, "no document"), status
    assert "/etc/ingot/boot.d has no layers" in status.stdout
    assert waited_for.run("status", *root, "--json").json["status"] == "no document"
    # What is for another program is no document either.
    imds.configure(user_data=b"#!/bin/sh\n")
    assert waited_for.boot().report["outcome"] == "no document"
