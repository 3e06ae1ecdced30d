"""`ingot show` and `when:`, as people and pipelines see them."""

import os

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, document

BASE = """\
version: 1
values: { env: test, role: "{{instance.tags.role}}", mask: 0x10, old: 1 }
files:
  /etc/shop/motd:
    content: |
      {{values.env}}
        indented "and quoted"
  /etc/shop/gone: { content: x }
signals: { stack: { cloudformation: {} } }
"""
OVER = """\
#ingot
version: 1
values: { env: "prod # not a comment", old: null }
files: { /etc/shop/gone: null, "/etc/shop/b c": { content: "tab\\there\u00e9", when: "{{eq values.role 'web'}}" } }
commands: { none: { run: [/bin/true, "no", ""], after: [] } }
"""


@pytest.fixture
def desk(agent, tmp_path):
    layers = tmp_path / "image/boot.d"
    layers.mkdir(parents=True)
    (layers / "10-base.yaml").write_text(BASE)
    (tmp_path / "over.yaml").write_text(OVER)
    return agent, str(layers), str(tmp_path / "over.yaml")


def test_each_key_is_shown_with_its_layer(desk):
    agent, layers, over = desk
    shown = agent.run("show", "--layers", layers, over)
    assert shown.code == DONE and not shown.stderr, shown
    lines = {line.split(":")[0].strip(): line for line in shown.stdout.splitlines() if "#" in line}
    assert lines["env"].endswith(f"# {over}:3") and lines["mask"].endswith(f"# {layers}/10-base.yaml:2"), shown
    assert "old" not in lines and "/etc/shop/gone" not in lines
    value = agent.run("show", "--json", "--layers", layers, over).json
    assert value["document"]["values"] == {"env": "prod # not a comment", "role": "{{instance.tags.role}}", "mask": 16}
    assert value["origins"]["files"]["/etc/shop/motd"]["content"] == f"{layers}/10-base.yaml:5"
    assert value["notes"] == []


def test_a_layer_that_is_listed_and_cannot_be_read_is_a_mistake(desk):
    """A link that led nowhere, and a name in Latin-1, were passed over: the boot was a good one, without the layer."""
    agent, layers, over = desk
    link, latin = os.path.join(layers, "20.yaml"), os.path.join(os.fsencode(layers), b"30-caf\xe9.yaml")
    for path, make in ((link, lambda: os.symlink("/nowhere/20.yaml", link)), (latin, lambda: open(latin, "w").close())):
        make()
        shown = agent.run("show", "--layers", layers, over)
        assert shown.code == BAD_DOCUMENT and "this layer is listed, but the file is missing" in shown.stdout + shown.stderr, shown
        boot = agent.boot("#ingot\nversion: 1\n", "--layers", layers)
        assert boot.code == BAD_DOCUMENT, boot
        os.remove(path)


def test_layers_that_are_named_have_to_be_there(desk, tmp_path):
    agent, _, over = desk
    nowhere = str(tmp_path / "image/boot.dd")
    shown = agent.run("show", "--layers", nowhere, over)
    assert shown.code == BAD_DOCUMENT and f"the directory {nowhere} does not exist" in shown.stdout + shown.stderr, shown
    boot = agent.boot("#ingot\nversion: 1\n", "--layers", nowhere)
    assert boot.code == BAD_DOCUMENT and f"the directory {nowhere} does not exist" in boot.stderr, boot


def test_what_is_shown_is_the_same_document(desk, tmp_path):
    agent, layers, over = desk
    shown = agent.run("show", "--layers", layers, over).stdout
    again = tmp_path / "again.yaml"
    again.write_text(shown)
    strip = lambda text: [line.rsplit("  # ", 1)[0].rstrip() for line in text.splitlines()]  # noqa: E731
    assert strip(agent.run("show", str(again)).stdout) == strip(shown)
    whole = [agent.run("check", "--json", *documents) for documents in ([f"{layers}/10-base.yaml", over], [str(again)])]
    assert [one.code for one in whole] == [DONE, DONE] and whole[0].json == whole[1].json, whole
    facts = tmp_path / "facts.yaml"
    facts.write_text("instance: { tags: { role: web } }\n")
    plans = [agent.run("dry-run", "--json", "--facts", str(facts), *documents).json for documents in ([f"{layers}/10-base.yaml", over], [str(again)])]
    assert plans[0] == plans[1]


def test_the_document_in_force_is_that_of_the_instance(agent, imds, aws):
    agent.write("/etc/ingot/boot.d/10-base.yaml", BASE)
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="shop-config", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="shop-config", Key="more.yaml", Body=b"version: 1\nvalues: { more: 1 }\n")
    imds.configure(user_data=OVER + "include: [s3://shop-config/more.yaml]\n")
    shown = agent.run("show", "--root", str(agent.root))
    assert shown.code == DONE, shown
    for origin in ("# /etc/ingot/boot.d/10-base.yaml:2", "# user data:3", "# s3://shop-config/more.yaml:2"):
        assert origin in shown.stdout, shown
    assert not agent.path("/run/ingot").exists(), "it only looks"


def test_what_cannot_be_shown_says_why(desk, tmp_path):
    agent, layers, over = desk
    broken = tmp_path / "broken.yaml"
    broken.write_text("version: [\n")
    assert agent.run("show", str(broken)).code == BAD_DOCUMENT
    assert agent.run("show", str(tmp_path / "none.yaml")).code == BAD_DOCUMENT
    broken.write_text("version: 1\ninclude: [s3://shop/b]\n")
    shown = agent.run("show", str(broken))
    assert shown.code == DONE and "note: not read: s3://shop/b" in shown.stderr, shown


def test_a_document_is_not_below_the_root_and_what_is_not_read_is_noted(agent, imds, aws, tmp_path):
    """It was looked for below the root; and why a key is not there was a warning of a boot alone."""
    layer = tmp_path / "layer.yaml"
    layer.write_text("version: 1\nvalues: { a: 1 }\n")
    shown = agent.run("show", "--json", "--root", str(agent.root), str(layer))
    assert shown.code == DONE and shown.json["document"]["values"] == {"a": 1}, shown
    assert any("must begin with the line `#ingot`" in note for note in shown.json["notes"]), shown
    imds.configure(user_data=document(values={"b": 2}))
    agent.write("/etc/ingot/boot.d/10.yml", "version: 1\nvalues: { c: 3 }\n")
    in_force = agent.run("show", "--json", "--root", str(agent.root))
    assert in_force.code == DONE and in_force.json["document"]["values"] == {"b": 2}, in_force
    assert any("/etc/ingot/boot.d/10.yml is not read" in note for note in in_force.json["notes"]), in_force


def test_an_instance_without_a_document_has_none_to_show(agent, imds):
    imds.configure(user_data=None)
    shown = agent.run("show", "--root", str(agent.root))
    assert shown.code == FAILED and "no boot document" in shown.stderr, shown


def test_steps_that_are_not_due(desk, imds, tmp_path):
    agent, layers, over = desk
    checked = agent.run("check", f"{layers}/10-base.yaml", over)
    assert checked.code == DONE and "files./etc/shop/b c is due if `{{eq values.role 'web'}}` is true" in checked.stdout, checked
    facts = tmp_path / "facts.yaml"
    facts.write_text("instance: { tags: { role: jobs } }\n")
    plan = agent.run("dry-run", "--facts", str(facts), f"{layers}/10-base.yaml", over)
    assert plan.code == DONE and "Not due, by `when:`: files./etc/shop/b c\n" in plan.stdout, plan
    plan = agent.run("dry-run", f"{layers}/10-base.yaml", over)
    note = "note: files./etc/shop/b c counts as due, assuming that `{{eq values.role 'web'}}` is true; give the facts in --facts"
    assert plan.code == DONE and note in plan.stderr, plan

    text = document(files={"/etc/a": {"content": "a", "when": "{{eq instance.tags.role 'web'}}"}})
    imds.configure(user_data=text, tags={"role": "jobs"})
    result = agent.boot()
    assert result.code == DONE and result.report["not_due"] == ["files./etc/a"] and not agent.path("/etc/a").exists(), result
    assert "not due, by `when:`: files./etc/a\n" in agent.run("status", "--root", str(agent.root)).stdout
    assert len(imds.requests("GET", "/latest/meta-data/tags/instance/role")) == 1, "nothing is asked twice"
    imds.configure(tags={"role": "web"})
    assert agent.boot().code == DONE and agent.read("/etc/a") == "a"


def test_a_command_runs_again_on_what_has_changed(agent, tmp_path):
    ran = tmp_path / "ran"

    def boot(content: str, argument: str) -> str:
        command = {"run": ["/bin/sh", "-c", f"echo $0 >>{ran}", argument], "run_on": ["files./etc/a"]}
        text = document(files={"/etc/a": {"content": content}}, commands={"build": command})
        assert agent.boot(text).code == DONE
        return ran.read_text().replace("\n", " ")

    assert boot("1", "x") == "x "
    assert boot("1", "x") == "x "
    assert boot("2", "x") == "x x "
    assert boot("2", "y") == "x x y "
    agent.write("/etc/a", "drifted")
    assert boot("2", "y") == "x x y y "
    assert boot("2", "y") == "x x y y "


def test_what_arguments_refer_to_counts_but_for_secrets(agent, aws, imds, tmp_path):
    """Beside a reference to a secret, a value that changed was not seen."""
    ran = tmp_path / "ran"

    def boot(host: str, tag: str, password: str) -> int:
        aws.secret("prod/db", password)
        imds.configure(tags={"role": tag})
        environment = {"URL": "postgres://shop:{{secrets.db}}@{{values.host}}/{{instance.tags.role}}"}
        command = {"run": ["/bin/sh", "-c", f"echo >>{ran}"], "environment": environment, "run_on": []}
        text = document(
            values={"host": host},
            secrets={"db": {"secrets_manager": "prod/db"}},
            commands={"build": command},
        )
        assert agent.boot(text).code == DONE
        return len(ran.read_text().splitlines())

    assert [boot("a", "web", "one-long-secret"), boot("a", "web", "another-long-secret")] == [1, 1]
    assert [boot("b", "web", "one-long-secret"), boot("b", "jobs", "one-long-secret")] == [2, 3]
    assert boot("b", "jobs", "one-long-secret") == 3


def test_directories_on_the_way_belong_to_whom_the_file_does(agent):
    agent.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nshop:x:1000:1000::/home/shop:/bin/sh\n")
    agent.write("/etc/group", "root:x:0:\nshop:x:1000:\nweb:x:1001:\n")
    home = agent.path("/home/shop")
    home.mkdir(parents=True)
    agent.path("/srv").mkdir()
    os.chown(home, 1000, 1000)
    file = {"content": "x", "owner": "shop"}
    files = {
        "/home/shop/.config/app/rc": file,
        "/srv/shop/a/b": file,
        "/srv/given/a/b": {**file, "directories": {"group": "web", "mode": "0750"}},
    }
    for _boot in range(2):
        assert agent.boot(document(files=files)).code == DONE
        seen = lambda path: (lambda found: (found.st_uid, found.st_gid, f"{found.st_mode & 0o7777:04o}"))(agent.path(path).stat())  # noqa: E731
        assert [seen(path) for path in ("/home/shop/.config", "/home/shop/.config/app")] == [(1000, 1000, "0755")] * 2
        assert [seen(path) for path in ("/srv/shop", "/srv/shop/a")] == [(0, 0, "0755")] * 2
        assert [seen(path) for path in ("/srv/given", "/srv/given/a")] == [(1000, 1001, "0750")] * 2
        assert seen("/home") == (0, 0, seen("/home")[2])
