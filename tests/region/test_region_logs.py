"""`ingot-fleet logs` and `events`, and the cause that a deployment ends with, on an environment of the region.

Scripted instances leave the evidence that a test gives them; the last test has containers, which ingot boots. All times are
those of a stand-in.
"""

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from harness import fleet as fleets
from harness.agent import DONE, FAILED, USAGE
from harness.host.container import unavailable
from harness.host.systemd import Done
from harness.region import Region, fleet, scripted
from harness.region.delays import Delays, Pace
from harness.region.instances.container import containers
from harness.region.instances.scripted import Outcome, release_of
from harness.region.network import Bridge
from harness.region.small import FAST, boots
from harness.region.verbs import Operator, needs_binary

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

REASON = "applications.shop: web did not get ready within 60 s: GET /health answered 503"


BOOT = "0f8fad5bd9cb469fa16570867728950e"


def evidence(region, instance: str, reason: str | None, phase: str = "serve", boot: str = BOOT, **more) -> str:
    """Puts evidence into the bucket, as the instance would. Its key."""
    now = datetime.now(UTC)
    key = f"shop/prod/{now:%Y/%m/%d/%H%M%S}Z-{instance}-{boot}-{phase}.json.zst"
    content = {
        "version": 1,
        "moment": "drain" if phase == "drain" else "failure",
        "written_at": now.isoformat().replace("+00:00", "Z"),
        "reason": reason,
        "report": {"version": 1, "outcome": "failed", "instance": instance, "steps": []},
        "journal": {"shop.*": ["09:00:01 shop[7]: starting", "09:00:02 shop[7]: \x1b[2Jno database here"]},
        "journal_is_cut": False,
        "journal_left_out": None,
        **more,
    }
    packed = subprocess.run(["zstd", "-q"], input=json.dumps(content).encode(), capture_output=True, check=True).stdout
    region.client("s3").put_object(Bucket=fleet.EVIDENCE, Key=key, Body=packed)
    return key


class Scene:
    """A region whose bad instances leave evidence before they report their failure."""

    def __init__(self, reason: str | None = REASON, boot: float = 0.5, runs=None, kind: str = "abandons", **given):
        self.reason, self.boot, self.kind = reason, boot, kind
        self.left: list[tuple[float, str]] = []
        launch = scripted(self.outcome, 80, runs) if runs else scripted(self.outcome, 80)
        self.region = Region(self.launching(launch), pace=given.pop("pace", FAST), **given)

    def outcome(self, spec) -> Outcome:
        return Outcome(self.kind, boot=self.boot) if release_of(spec) == "bad" else Outcome()

    def launching(self, launch):
        def launched(region, spec):
            if release_of(spec) == "bad" and self.reason:
                evidence(region, spec.id, self.reason)
                self.left.append((time.monotonic(), spec.id))
            return launch(region, spec)

        return launched

    def __enter__(self) -> "Scene":
        self.region.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.region.__exit__(*error)


def running(tmp_path, scene: Scene) -> Operator:
    needs_binary()
    operator = Operator(tmp_path, scene.region)
    assert operator("create", "prod", "--release", "v1").code == DONE
    return operator


def test_the_cause_is_evidence_of_this_deployment_and_of_no_other(tmp_path):
    with Scene() as scene:
        operator = running(tmp_path, scene)
        old, rebooted = (one.id for one in scene.region.instances())
        # One that ends, and one of the release before that was rebooted: neither has failed in this deployment.
        begun = operator.start("deploy", "prod", "--release", "bad")
        scene.region.poll(lambda: operator.states() == ["good", "under_way"], "the record")
        evidence(scene.region, old, "Auto Scaling terminates it", phase="drain")
        evidence(scene.region, rebooted, "services.legacy: it does not start")
        _, stderr = begun.communicate(timeout=fleets.PATIENCE)
        assert begun.returncode == FAILED, stderr
        (_, bad) = scene.left[0]
        cause = next(line for line in stderr.splitlines() if line.startswith("deployment 2 of prod is failed"))
        assert f"{bad}: {REASON} (s3://{fleet.EVIDENCE}/shop/prod/" in cause, stderr
        assert "legacy" not in stderr and "Auto Scaling terminates it" not in stderr, stderr
        assert "ingot-fleet logs prod --failed" in stderr, stderr


def test_the_cause_is_found_among_much_evidence_of_others(tmp_path):
    with Scene() as scene:
        operator = running(tmp_path, scene)
        other = scene.region.instances()[0].id
        for number in range(60):
            evidence(scene.region, other, "services.legacy: it does not start", boot=f"{number:032x}")
        failed = operator("deploy", "prod", "--release", "bad")
        (_, bad) = scene.left[0]
        assert f"deployment 2 of prod is failed: {bad}: {REASON}" in failed.stderr, failed
        story = operator("events", "prod", "--since", "1h")
        assert f"{bad}: {REASON}" in story.stdout and "only the newest 50 failures are shown" in story.stderr, story


def test_ends_of_machines_alone_are_no_cause(tmp_path):
    with Scene(reason=None) as scene:
        operator = running(tmp_path, scene)
        old = scene.region.instances()[0].id
        begun = operator.start("deploy", "prod", "--release", "bad")
        scene.region.poll(lambda: operator.states() == ["good", "under_way"], "the record")
        evidence(scene.region, old, "Auto Scaling terminates it", phase="drain")
        _, stderr = begun.communicate(timeout=fleets.PATIENCE)
        assert "reported that its boot failed, but left no evidence" in stderr, stderr
        assert "Auto Scaling terminates it" not in stderr, stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_failure_is_told_within_5_seconds(tmp_path, seed):
    """Each call takes 0.1 to 2 s, and CloudFormation goes back for longer than that."""
    with Scene(boot=20) as scene:
        operator = running(tmp_path, scene)
        delays = scene.region.engine.delays
        delays.api, delays.seed = (0.1, 2.0), seed
        delays.lots.seed(seed)
        process = operator.start("deploy", "prod", "--release", "bad")
        told = None
        for line in process.stderr:
            if REASON in line:
                told = time.monotonic()
                break
        process.kill()
        process.communicate()
        assert told is not None and scene.left, "it was never told"
        seconds = told - scene.left[0][0]
        print(f"stand-in, seed {seed}: told {seconds:.1f} s after the evidence was there")
        assert seconds <= 5


def test_what_aws_lacks_is_told_and_is_not_the_releases_doing(tmp_path):
    with Scene(reason=None, kind="not launched") as scene:
        operator = running(tmp_path, scene)
        failed = operator("deploy", "prod", "--release", "bad")
        said = "no instance could be launched: AWS has no capacity in eu-central-1a now"
        assert failed.code == FAILED and failed.stderr.count(f"{said}\n") == 1, failed
        assert f"deployment 2 of prod is failed: {said}. The release is not the cause" in failed.stderr, failed


def test_events_tell_the_story(tmp_path):
    with Scene() as scene:
        operator = running(tmp_path, scene)
        assert operator("deploy", "prod", "--release", "bad").code == FAILED
        (_, bad) = scene.left[0]
        story = operator("events", "prod")
        assert story.code == DONE, story
        lines = story.stdout.splitlines()
        told = [line.partition("  ")[2] for line in lines]
        wanted = [
            "the stack is being updated",
            f"{bad}: reports that its boot failed",
            "the update failed: rolling back",
            "everything is as before",
        ]
        assert [said for said in told if said in wanted][-4:] == wanted, story
        assert any(said.startswith(f"{bad}: {REASON} (s3://") for said in told), story
        assert lines[-2].startswith("deployment 2 of prod (bad) is failed") and REASON in lines[-1], story
        assert "signal(s)" not in story.stdout and "UPDATE_" not in story.stdout, story

        raw = operator("events", "prod", "--raw")
        assert raw.code == DONE and "Unable to satisfy 100% MinSuccessfulInstancesPercent" in raw.stdout, raw
        both = operator("events", "prod", "--json").json
        assert any(event["status"] == "UPDATE_FAILED" for event in both["events"]), both
        assert both["deployment"]["number"] == 2 and REASON in both["cause"], both
        assert {"stack", "scaling", "evidence"} <= {line["source"] for line in both["story"]}, both


def test_events_are_followed(tmp_path):
    with Scene() as scene:
        operator = running(tmp_path, scene)
        follower = operator.start("events", "prod", "--follow")
        assert operator("deploy", "prod", "--release", "bad").code == FAILED
        (_, bad) = scene.left[0]
        seen = []
        for line in follower.stdout:
            seen.append(line)
            if line.startswith("deployment 2 of prod (bad) is failed"):
                break
        assert follower.poll() is None, "it goes on"
        follower.terminate()
        follower.communicate()
        assert sum(f"{bad}: {REASON}" in line for line in seen) == 1, seen
        assert any(line.endswith("everything is as before\n") for line in seen), seen


def happens(scene, what: str) -> None:
    with scene.region.engine.lock:
        scene.region.stack("shop-prod").tell(None, "UPDATE_COMPLETE", what)


def test_following_ends_when_nobody_reads_and_asks_for_news_alone(tmp_path):
    with Scene() as scene:
        operator = running(tmp_path, scene)
        for number in range(250):
            happens(scene, f"number {number}")
        follower = operator.start("events", "prod", "--follow")
        assert follower.stdout.readline(), "it has begun"
        pages = lambda: sum(call["operation"] == "DescribeStackEvents" for call in scene.region.calls)  # noqa: E731
        time.sleep(3)
        before = pages()
        time.sleep(5)
        assert pages() - before <= 3, "each look reads one page"
        follower.stdout.close()
        happens(scene, "something new")
        assert follower.wait(30) == DONE


def test_evidence_of_instances_that_are_gone_is_shown(tmp_path):
    with Scene() as scene:
        operator = running(tmp_path, scene)
        nothing = operator("logs", "prod", "--failed")
        assert nothing.code == DONE and nothing.stdout == "" and "left evidence" in nothing.stderr, nothing
        assert operator("deploy", "prod", "--release", "bad").code == FAILED
        (_, bad) = scene.left[0]
        shown = operator("logs", "prod", "--failed")
        assert shown.code == DONE, shown
        assert shown.stdout.startswith(f"{bad}, deployment 2 (bad): the boot of "), shown
        assert f"  {REASON}\n" in shown.stdout and "journal of shop.*:" in shown.stdout, shown
        assert "\x1b" not in shown.stdout and "\\x1b[2Jno database here" in shown.stdout, shown
        assert f"aws s3 cp s3://{fleet.EVIDENCE}/shop/prod/" in shown.stdout, shown

        evidence(scene.region, "i-0fffffffffffffff1", None, version=2, moments=["of tomorrow"])
        newer = operator("logs", "prod", "--failed")
        assert newer.code == DONE and newer.stdout.startswith("i-0fffffffffffffff1, since deployment 2 (bad)"), newer
        assert "cannot be shown: a newer ingot wrote it (version 2 of the format)" in newer.stdout, newer
        assert REASON in newer.stdout, newer

        found = operator("logs", "prod", bad, "--failed", "--json").json["evidence"]
        assert [(one["instance"], one["deployment"], one["reason"]) for one in found] == [(bad, 2, REASON)], found
        assert found[0]["journal"]["shop.*"][1].endswith("no database here"), found
        one = operator("logs", "prod", "--failed", "--last", "1")
        assert REASON not in one.stdout and "there are more" in one.stderr, one

        overview = operator("logs", "prod")
        assert overview.code == DONE, overview
        for member in scene.region.in_service(2):
            assert member.id in overview.stdout, overview
        assert bad in overview.stdout and "ingot-fleet logs prod --failed" in overview.stdout, overview
        listed = operator("logs", "prod", "--json").json
        assert len(listed["instances"]) == 2 and len(listed["evidence"]) == 2, listed


def runs(instance, command: tuple[str, ...]) -> Done:
    """What the document ingot-logs runs, as it was filled in."""
    script = command[-1]
    if "--unit 'silent'" in script:
        time.sleep(70)
    if "--unit 'much'" in script:
        lines = "".join(f"2026-12-01T09:00:00+0000 shop[7]: line {number:06d}\n" for number in range(600))
        return Done(0, f"done in 3.2 s\n\n--- journal\n{lines[-20_000:]}", "")
    if "--unit 'broken'" in script:
        return Done(127, "", "sh: 1: journalctl: not found\n")
    return Done(0, "done in 3.2 s: 4 changed\n\n--- journal\n09:00:02 shop[7]: \x1b[2Jhello\n", "")


def test_a_living_instance_is_asked(tmp_path):
    with Scene(runs=runs) as scene:
        operator = running(tmp_path, scene)
        instance = scene.region.instances()[0]
        said = operator("logs", "prod", instance.id, "--unit", "shop.*", "--lines", "20")
        assert said.code == DONE, said
        assert said.stdout == "done in 3.2 s: 4 changed\n09:00:02 shop[7]: \\x1b[2Jhello\n", said
        assert "--unit 'shop.*' --lines '20'" in instance.ran[-1][-1], instance.ran
        found = operator("logs", "prod", instance.id, "--json").json
        assert (found["status"], found["journal_is_cut"]) == ("done in 3.2 s: 4 changed", False), found

        much = operator("logs", "prod", instance.id, "--unit", "much", "--lines", "600")
        assert much.code == DONE and "older lines are left out: Run Command keeps 24000 characters" in much.stderr, much
        assert much.stdout.splitlines()[1].startswith("2026-12-01") and "line 000599" in much.stdout, much
        broken = operator("logs", "prod", instance.id, "--unit", "broken")
        assert broken.code == FAILED and "journalctl: not found" in broken.stderr, broken
        for unit in ("a'; reboot; '", "--file=/etc/shadow", "$(reboot)"):
            refused = operator("logs", "prod", instance.id, f"--unit={unit}")
            assert refused.code == USAGE and len(instance.ran) == 4, (refused, instance.ran)


def test_who_may_not_be_asked_is_told(tmp_path):
    with Scene(runs=runs) as scene:
        operator, region = running(tmp_path, scene), scene.region
        stranger = region.launch("", {"ingot:application": "shop", "ingot:environment": "stage"})
        other = operator("logs", "prod", stranger.id)
        assert other.code == USAGE and "it belongs to stage of shop" in other.stderr and not stranger.ran, other
        assert operator("deploy", "prod", "--release", "bad").code == FAILED
        (_, bad) = scene.left[0]
        gone = operator("logs", "prod", bad)
        assert gone.code == USAGE and f"`ingot-fleet logs prod {bad} --failed`" in gone.stderr, gone
        never = operator("logs", "prod", "i-0123456789abcdef0")
        assert never.code == USAGE and "prod has no instance i-0123456789abcdef0" in never.stderr, never
        no_id = operator("logs", "prod", "web")
        assert no_id.code == USAGE and "expected the ID of an instance" in no_id.stderr, no_id

        instance = region.in_service(2)[0]
        region.fault("denied", "ssm", operation="SendCommand")
        denied = operator("logs", "prod", instance.id)
        assert denied.code == FAILED and "allow ssm:SendCommand" in denied.stderr, denied
        region.recover()
        region.client("ssm").delete_document(Name="ingot-logs")
        older = operator("logs", "prod", instance.id)
        assert older.code == FAILED and "update the stack ingot-account" in older.stderr, older


@pytest.mark.slow
def test_an_agent_that_does_not_answer_is_told_of(tmp_path):
    """It takes a minute."""
    with Scene(runs=runs) as scene:
        operator = running(tmp_path, scene)
        first, second = scene.region.instances()
        silent = operator("logs", "prod", first.id, "--unit", "silent")
        assert silent.code == FAILED and 60 <= silent.seconds < 75, silent
        assert f"the SSM agent of {first.id} does not answer" in silent.stderr and "hint: look at" in silent.stderr, silent
        scene.region.group().suspended.add("HealthCheck")
        second.kill()
        dead = operator("logs", "prod", second.id)
        assert dead.code == FAILED and f"the SSM agent of {second.id} does not answer" in dead.stderr, dead


def test_containers_say_what_happened(tmp_path, ingot):
    """Instances that ingot boots: the journal of a running one, the evidence of one whose release ends at once, and how soon it
    is told."""
    needs_binary()
    if why := unavailable():
        pytest.skip(why)
    with Region(containers(fleet.image), Bridge(), pace=Pace(schedule=20)) as region:
        document = fleet.WEB.partition("drains:")[0].replace('logs: ["ingot-*"]', 'logs: ["shop.*"]')
        operator = Operator(tmp_path, region, document=document)
        operator.release("good", fleet.good("good"))
        operator.release("broken", fleet.bad())
        created = operator("create", "prod", "--release", "good")
        assert created.code == DONE, (created, region.told())
        instance = region.instances()[0]
        said = operator("logs", "prod", instance.id, "--json")
        assert said.code == DONE, said
        assert "done" in said.json["status"], said
        assert any("ingot" in line for line in said.json["journal"]) and len(said.json["journal"]) <= 50, said
        narrow = operator("logs", "prod", instance.id, "--unit", "shop.*", "--lines", "3", "--json").json
        assert len(narrow["journal"]) <= 3, narrow

        process = operator.start("deploy", "prod", "--release", "broken")
        told = None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if told is None and "applications.shop" in line:
                told = datetime.now(UTC)
        assert process.wait(fleets.PATIENCE) == FAILED, (lines, region.told())
        shown = operator("logs", "prod", "--failed", "--json").json["evidence"][0]
        report = shown["report"]
        (step,) = [one for one in report["steps"] if one["address"] == "applications.shop"]
        failed = datetime.fromisoformat(report["started_at"]) + timedelta(milliseconds=step["finished_ms"])
        print(f"stand-in, containers: told {(told - failed).total_seconds():.1f} s after the step had failed")
        assert shown["deployment"] == 2 and "applications.shop" in shown["reason"], shown
        assert (told - failed).total_seconds() <= 5, (lines, shown)
        text = operator("logs", "prod", shown["instance"], "--failed")
        assert "no database here" in text.stdout and "applications.shop" in text.stdout, text
