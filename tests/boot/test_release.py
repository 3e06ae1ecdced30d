"""`ingot boot --release`: another release in place. Fetched and verified first, kept once all went well, by the last who asks."""

import hashlib
import json
import signal

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, USAGE, Agent, comes, document, waits_for
from harness.host.archives import release

NAMES = ("v1", "v2", "v3")
ARCHIVES = {name: release("tar.gz", {"VERSION": name.encode()}) for name in NAMES}
INSTANCE = "/var/lib/ingot/instances/i-0abc123def4567890"
KEPT = f"{INSTANCE}/release.yaml"
# What Systems Manager keeps is more than this.
LONGEST = 20_000


def digest(name: str) -> str:
    return hashlib.sha256(ARCHIVES[name]).hexdigest()


def named(name: str) -> str:
    return name if name == "launched" else f"{name}@sha256:{digest(name)}"


def shop(**sections) -> str:
    """A document that was launched with v1."""
    bundle = {"s3": "s3://shop-releases/{{values.release}}.tar.gz", "sha256": "{{values.release_sha256}}", "into": "/opt/shop"}
    return document(
        values={"release": "v1", "release_sha256": digest("v1")},
        bundles={"app": bundle},
        files={"/etc/shop/release": {"content": "{{values.release}} of {{bundles.app.version}}\n"}},
        **sections,
    )


@pytest.fixture
def releases(aws, imds):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="shop-releases", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for name, content in ARCHIVES.items():
        s3.put_object(Bucket="shop-releases", Key=f"{name}.tar.gz", Body=content)
    imds.configure(user_data=shop())
    return s3


@pytest.fixture
def launched(agent, releases):
    """An instance that runs what it was launched with."""
    assert agent.boot().code == DONE
    runs(agent, "v1", "launched")
    return agent


def change(agent: Agent, name: str, *args: str):
    return agent.boot(None, "--release", named(name), *args)


def runs(agent: Agent, name: str, kept: str) -> None:
    """All of one release is on the machine, and the next boot has the one that is kept."""
    assert agent.read("/opt/shop/current/VERSION") == name
    assert agent.read("/etc/shop/release") == f"{name} of {name}-{digest(name)[:8]}\n"
    path = agent.path(KEPT)
    assert path.exists() == (kept != "launched")
    if path.exists():
        assert agent.mode(KEPT) == "0600" and digest(kept) in path.read_text() and f'"{kept}"' in path.read_text()


def test_a_release_is_kept_until_another_is_asked_for(launched):
    result = change(launched, "v2")
    assert result.code == DONE, result
    assert result.stdout.startswith(f"done\nrelease: {named('v2')}\n\nbundles.app: "), result
    runs(launched, "v2", "v2")
    assert launched.boot().report["release"] == {"wanted": named("v2"), "in_force": named("v2")}
    runs(launched, "v2", "v2")
    status = launched.run("status", "--root", str(launched.root))
    assert f"release: {named('v2')}\n" in status.stdout
    shown = launched.run("show", "--root", str(launched.root))
    assert shown.code == DONE and f"# {KEPT}:4" in shown.stdout, shown
    assert change(launched, "v3").code == DONE
    runs(launched, "v3", "v3")
    back = change(launched, "launched", "--json")
    assert back.code == DONE, back
    assert back.json["release"] == {"wanted": "launched", "in_force": "launched"} and back.json["cause"] is None
    runs(launched, "v1", "launched")
    again = launched.boot()
    assert "release" not in again.report and "changed" not in again.outcomes().values()
    assert "release:" not in launched.run("status", "--root", str(launched.root)).stdout


def test_another_instance_of_the_image_runs_what_it_was_launched_with(launched, imds):
    assert change(launched, "v2").code == DONE
    imds.configure(instance={"id": "i-0fff123def4567890"})
    assert launched.boot().code == DONE
    assert launched.read("/opt/shop/current/VERSION") == "v1"


def test_an_image_does_not_keep_it(launched):
    assert change(launched, "v2").code == DONE
    sealed = launched.run("seal", "--root", str(launched.root), "--json")
    assert "/var/lib/ingot" in {one["path"] for one in sealed.json["findings"]}, sealed
    scrubbed = launched.run("seal", "--root", str(launched.root), "--scrub", "--json")
    assert "/var/lib/ingot" in {one["path"] for one in scrubbed.json["removed"]}, scrubbed
    assert not launched.path(KEPT).exists()
    # Not even the very instance would know of it.
    assert launched.boot().code == DONE
    runs(launched, "v1", "launched")


@pytest.mark.parametrize("kept", ["launched", "v2"])
@pytest.mark.parametrize("bad", ["gone", "another"])
def test_a_bad_release_changes_nothing(launched, releases, kept, bad):
    assert change(launched, kept).code == DONE
    if bad == "gone":
        releases.delete_object(Bucket="shop-releases", Key="v3.tar.gz")
    else:
        releases.put_object(Bucket="shop-releases", Key="v3.tar.gz", Body=ARCHIVES["v1"])
    before, record = launched.tree(identity=True), launched.path(f"{INSTANCE}")
    records = {path.name: path.read_bytes() for path in record.iterdir()}
    result = change(launched, "v3", "--json")
    assert result.code == FAILED, result
    assert launched.tree(identity=True) == before
    assert {path.name: path.read_bytes() for path in record.iterdir()} == records
    assert result.outcomes() == {"bundles.app": "failed", "files./etc/shop/release": "skipped"}
    assert result.json["outcome"] == "failed" and result.json["release"] == {"wanted": named("v3"), "in_force": named(kept)}
    cause = result.json["cause"]
    assert cause.startswith("bundles.app: ") and "hint: " in cause, cause
    assert ("The specified key does not exist" if bad == "gone" else "SHA-256") in cause, cause
    assert change(launched, "v3").stdout.startswith("failed: bundles.app: ")
    status = launched.run("status", "--root", str(launched.root)).stdout
    assert f"release: {named(kept)} is in force, {named('v3')} was requested\n" in status
    assert launched.boot().code == DONE
    runs(launched, "v1" if kept == "launched" else kept, kept)


def test_a_release_that_fails_later_is_not_kept(launched, imds):
    prove = {"run": ["/bin/test", "{{values.release}}", "=", "v1"], "once": "always", "after": ["files./etc/shop/release"]}
    imds.configure(user_data=shop(commands={"prove": prove}))
    result = change(launched, "v2")
    assert result.code == FAILED and result.stdout.startswith("failed: commands.prove: "), result
    assert not launched.path(KEPT).exists()
    assert launched.boot().code == DONE
    runs(launched, "v1", "launched")


def test_a_command_runs_again_for_a_bundle_and_for_what_an_argument_refers_to(launched, imds, tmp_path):
    """The version of a bundle was not seen as a change of the arguments."""
    ran, seen = tmp_path / "ran", tmp_path / "seen"
    build = {"run": ["/bin/sh", "-c", f"echo $0 >>{ran}", "{{bundles.app.version}}"], "run_on": []}
    assets = {"run": ["/bin/sh", "-c", f"cat {launched.path('/opt/shop/current/VERSION')} >>{seen}; echo >>{seen}"], "run_on": ["bundles.app"]}
    imds.configure(user_data=shop(commands={"build": build, "assets": assets}))
    for name in ("launched", "v2", "v2", "launched"):
        assert change(launched, name).code == DONE
    assert ran.read_text().split() == [f"{name}-{digest(name)[:8]}" for name in ("v1", "v2", "v1")]
    assert seen.read_text().split() == ["v1", "v2", "v1"]


def test_what_is_printed_is_short_and_begins_with_the_cause(launched, imds):
    script = "i=0; while [ $i -lt 9000 ]; do echo 'line '$i' of many, with \"quotes\"'; i=$((i+1)); done; echo the reason; exit 3"
    imds.configure(user_data=shop(commands={"prove": {"run": ["/bin/sh", "-c", script]}}))
    for args in ([], ["--json"]):
        result = change(launched, "v2", *args)
        assert result.code == FAILED and len(result.stdout) <= LONGEST + 1, len(result.stdout)
        assert "line 8999 of many" in result.stdout and "line 10 of many" not in result.stdout
        cause = result.json["cause"] if args else result.stdout.removeprefix("failed: ")
        assert cause.startswith("commands.prove: /bin/sh exited with 3") and "the reason" in cause


def test_what_has_to_be_escaped_is_short_as_well(launched, imds):
    script = "i=0; while [ $i -lt 3000 ]; do printf '\\001\\033\\042\\342\\200\\256\\n'; i=$((i+1)); done; exit 3"
    imds.configure(user_data=shop(commands={"prove": {"run": ["/bin/sh", "-c", script]}}))
    for args in ([], ["--json"]):
        result = change(launched, "v2", *args)
        assert result.code == FAILED and len(result.stdout.encode()) <= LONGEST + 1, len(result.stdout)


@pytest.mark.parametrize("wrong", ["v2", "v2@sha256:12", "v 2@sha256:" + "0" * 64, "../v2@sha256:" + "0" * 64, "", "Launched"])
def test_what_is_no_release_is_a_usage_error(launched, wrong):
    before = launched.tree(identity=True)
    result = launched.boot(None, "--release", wrong)
    assert result.code == USAGE and launched.tree(identity=True) == before, result
    assert launched.boot(None, "--release", named("v2"), "--only", "bundles.app").code == USAGE


def test_a_document_that_does_not_refer_to_a_release_is_wrong(agent, imds, releases):
    imds.configure(user_data=document(values={"release": "v1"}, files={"/etc/a": {"content": "{{values.release}}"}}))
    result = change(agent, "v2")
    assert result.code == BAD_DOCUMENT and "values.release_sha256" in result.stderr and not agent.path("/etc/a").exists(), result


def test_of_three_at_once_the_last_one_wins(launched, imds, tmp_path):
    """The first one is held up, and the two others wait. The second is stopped, so that the third has its turn before it."""
    go = tmp_path / "go"
    imds.configure(user_data=shop(commands={"wait": {"run": waits_for(go), "once": "always"}}))
    first = launched.start_boot(None, "--release", named("v2"))
    assert first.wait_for_line("commands.wait")
    second = launched.start_boot(None, "--release", named("v3"))
    assert second.wait_for_line("another ingot process is running")
    third = launched.start_boot(None, "--release", "launched")
    assert third.wait_for_line("another ingot process is running")
    second.process.send_signal(signal.SIGSTOP)
    go.touch()
    assert (first.wait().code, third.wait().code) == (DONE, DONE)
    second.process.send_signal(signal.SIGCONT)
    overtaken = second.wait()
    assert overtaken.code == FAILED, overtaken
    assert overtaken.stdout.startswith(f"superseded: launched was requested after {named('v3')}, and is in force"), overtaken
    runs(launched, "v1", "launched")


def test_one_that_was_asked_for_before_another_that_had_its_turn_does_nothing(launched):
    assert change(launched, "v2").code == DONE
    last = launched.path("/run/ingot/release.json")
    turn = json.loads(last.read_text())
    last.write_text(json.dumps({**turn, "asked_us": turn["asked_us"] + 10**9}))
    before = launched.tree(identity=True)
    result = change(launched, "v3", "--json")
    assert result.code == FAILED and result.json["outcome"] == "superseded", result
    assert launched.tree(identity=True) == before
    last.write_text(json.dumps({**turn, "boot_id": "another"}))
    assert change(launched, "v3").code == DONE
    runs(launched, "v3", "v3")


def test_the_same_document_just_now_is_not_that_of_another_release(launched, imds, tmp_path):
    go = tmp_path / "go"
    imds.configure(user_data=shop(commands={"wait": {"run": waits_for(go), "once": "always"}}))
    first = launched.start_boot(None, "--release", named("v2"))
    assert first.wait_for_line("commands.wait")
    same = launched.start_boot(None, "--release", named("v2"))
    plain = launched.start_boot(None)
    for running in (same, plain):
        assert running.wait_for_line("another ingot process is running")
    go.touch()
    assert first.wait().code == DONE
    same, plain = same.wait(), plain.wait()
    assert (same.code, plain.code) == (DONE, DONE)
    assert same.stdout.startswith("done: another ingot process has just completed this boot") and "just completed this boot" in plain.stderr
    runs(launched, "v2", "v2")


def test_killed_at_every_exchange(ingot, tmp_path, aws, imds, releases):
    """Then it is one whole release with the next boot, and the one that is asked for when that is done again."""

    def machine(name: str) -> Agent:
        (tmp_path / name).mkdir()
        agent = Agent(tmp_path / name, {**imds.env, **aws.env})
        assert agent.boot().code == DONE
        return agent

    whole = machine("whole")
    calls, reads = aws.count(), len(imds.requests())
    assert change(whole, "v2").code == DONE
    calls, reads = aws.count() - calls, len(imds.requests()) - reads
    assert calls >= 1 and reads >= 4
    rows = [(True, number, kind) for number in range(calls) for kind in ("hang", "status")] + [(False, number, "hang") for number in range(reads)]
    for of_aws, number, kind in rows:
        agent = machine(f"{of_aws}-{number}-{kind}")
        if of_aws:
            begun = aws.count()
            aws.fault(**({"kind": "hang", "times": 1} if kind == "hang" else {"kind": "status", "status": 503}), after=number)
            reached = lambda: aws.count() > begun + number  # noqa: E731, B023
        else:
            begun = len(imds.requests())
            imds.configure(faults=[{"kind": "hang", "after": number, "times": 1}])
            reached = lambda: len(imds.requests()) > begun + number  # noqa: E731, B023
        running = agent.start_boot(None, "--release", named("v2"))
        comes(reached, running)
        running.kill()
        running.wait()
        aws.recover()
        imds.configure(faults=[])
        result = agent.boot()
        assert result.code == DONE, (of_aws, number, kind, result)
        kept = "v2" if agent.path(KEPT).exists() else "launched"
        runs(agent, "v2" if kept == "v2" else "v1", kept)
        result = change(agent, "v2")
        assert result.code == DONE, (of_aws, number, kind, result)
        runs(agent, "v2", "v2")


def test_in_a_warm_pool_the_process_ends_and_nothing_is_kept(launched, imds):
    """It waited for the end of the pool, and had kept what was never started."""
    late = {"run": ["/bin/touch", str(launched.path("/etc/shop/late"))], "phase": "serve"}
    imds.configure(user_data=shop(commands={"late": late}), lifecycle="Warmed:Running")
    result = change(launched, "v2", "--json")
    assert result.code == DONE, result
    assert result.json["release"]["in_force"] == "launched" and "warm pool" in result.json["release"]["not_kept"]
    assert not launched.path(KEPT).exists() and not launched.path("/etc/shop/late").exists()
    imds.configure(lifecycle="InService")
    assert launched.boot().code == DONE
    runs(launched, "v1", "launched")
