"""Documents that are included from S3 and SSM: what comes of them, and what becomes of a boot without them."""

import gzip
import hashlib
import json

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, UNREACHABLE
from harness.aws.store import error


@pytest.fixture
def machine(with_store):
    return with_store


def including(*includes, **sections) -> str:
    return "#ingot\n" + json.dumps({"version": 1, "include": list(includes), **sections})


def writes(name: str, text: str = "included\n") -> str:
    return json.dumps({"files": {f"/etc/{name}": {"content": text}}})


def test_goes_past_the_16_kib_of_user_data(machine, store, aws, imds):
    large = "#ingot\nversion: 1\nfiles:\n" + "".join(f"  /etc/shop/{n}: {{ content: '{'x' * 200} {n}' }}\n" for n in range(400))
    packed = gzip.compress(large.encode())
    store.put("shop-config/boot.yaml.gz", packed)
    aws.parameter("/shop/boot", writes("of-ssm"), type="SecureString")
    text = including({"s3": "s3://shop-config/boot.yaml.gz", "sha256": hashlib.sha256(packed).hexdigest()}, "ssm:/shop/boot")
    imds.configure(user_data=text.encode())
    result = machine.boot()
    assert result.code == DONE, result
    assert len(result.outcomes()) == 401 and machine.read("/etc/of-ssm") == "included\n"
    assert machine.read("/etc/shop/399").endswith(" 399")
    assert "include" in result.report["phases_ms"]


def test_whoever_includes_has_the_last_word(machine, store):
    base = b"values: {who: base}\nfiles: {/etc/who: {content: '{{values.who}}'}, /etc/gone: {content: x}}"
    store.put("config/base.yaml", base)
    store.put("config/site.yaml", b"include: [s3://config/base.yaml]\nvalues: {who: site}\n")
    result = machine.boot(including("s3://config/site.yaml", files={"/etc/gone": None}))
    assert result.code == DONE, result
    assert machine.read("/etc/who") == "site" and not machine.path("/etc/gone").exists()


@pytest.mark.parametrize(
    "include, said",
    [
        ("s3://config/gone.yaml", "upload s3://config/gone.yaml"),
        ("ssm:/gone", "not found"),
    ],
)
def test_without_it_there_is_no_boot(machine, include, said):
    result = machine.boot(including(include, files={"/etc/x": {"content": "x"}}))
    assert result.code == FAILED and said in result.stderr, result
    assert not machine.path("/etc/x").exists()


def test_a_digest_that_differs(machine, store):
    store.put("config/a.yaml", writes("a").encode())
    result = machine.boot(including({"s3": "s3://config/a.yaml", "sha256": "00" * 32}))
    assert result.code == BAD_DOCUMENT and "the SHA-256 of " in result.stderr
    assert not machine.path("/etc/a").exists()


def test_circles(machine, store):
    store.put("config/a.yaml", b"include: [s3://config/b.yaml]\n")
    store.put("config/b.yaml", b"include: [s3://config/a.yaml]\n")
    result = machine.boot(including("s3://config/a.yaml"))
    assert result.code == BAD_DOCUMENT
    assert "s3://config/a.yaml includes itself: s3://config/a.yaml → s3://config/b.yaml → s3://config/a.yaml" in result.stderr


def test_waits_for_s3(machine, store):
    store.put("config/a.yaml", writes("a").encode())
    store.fault = lambda request: error(503, "SlowDown") if request.number < 3 else None
    assert machine.boot(including("s3://config/a.yaml")).code == DONE
    store.fault = lambda request: error(503, "SlowDown")
    result = machine.boot(including("s3://config/b.yaml"), "--deadline", "10s")
    assert result.code in (FAILED, UNREACHABLE) and "s3://config/b.yaml" in result.stderr + json.dumps(result.report), result


def test_a_document_that_changes_is_booted_anew(machine, store):
    text = including("s3://config/a.yaml")
    for content in ("one\n", "two\n"):
        store.put("config/a.yaml", writes("a", content).encode())
        assert machine.boot(text).code == DONE
        assert machine.read("/etc/a") == content


def test_on_a_desk(machine, store, tmp_path):
    store.put("config/values.yaml", b"values: {who: world}\n")
    path = tmp_path / "doc.yaml"
    path.write_text(including("s3://config/values.yaml", files={"/etc/hello": {"content": "hello {{values.who}}\n"}}))
    checked = machine.run("check", path)
    assert checked.code == DONE and "no mistakes in what was read" in checked.stdout, checked
    assert "not read: s3://config/values.yaml" in checked.stderr and "unless an unread document defines it" in checked.stderr
    assert [note for note in machine.run("check", "--json", path).json["notes"] if "not read" in note]
    blind = machine.run("dry-run", path)
    assert blind.code == BAD_DOCUMENT and "--live reads it" in blind.stderr, blind
    assert not store.requests
    caller = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-central-1"}
    (tmp_path / "none").mkdir()
    seen = machine.run("dry-run", "--live", "--diff", tmp_path / "none", path, env=caller)
    assert seen.code == DONE and "+hello world" in seen.stdout, seen
    path.write_text(including("s3://config/values.yaml", files={"/etc/hello": {"contnet": "x"}}))
    assert machine.run("check", path).code == BAD_DOCUMENT
