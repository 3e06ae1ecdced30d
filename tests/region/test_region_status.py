"""`ingot-fleet status`, and what is told of a deployment, on an environment of the region. All times are those of a stand-in."""

import json
import os
import re
import signal
import threading

import pytest
from harness import fleet as fleets
from harness.agent import DONE, FAILED, USAGE
from harness.region import Region
from harness.region.instances.scripted import Outcome
from harness.region.small import FAST, boots
from harness.region.verbs import FLEET, Operator, needs_binary
from harness.terminal import COLORS, CTRL_C, Terminal, plain
from test_region_logs import evidence

# The template's listener has port 80.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="port 80 needs root")

UNREACHABLE = 75
OTHER = """\
  stage:
    tier: web
    image: ssm:/golden/shop
    network: {{ vpc: {vpc}, subnets: [{subnets}] }}
    document: web.yaml
    instances: {{ types: [m7i.large] }}
"""


class Lines:
    """The lines that a process writes, as they come."""

    def __init__(self, process):
        self.process, self.lines = process, []
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def take(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait(self, region, pattern: str) -> str:
        found = lambda: next((line for line in self.lines if re.search(pattern, line)), None)  # noqa: E731
        return region.poll(lambda: found() or self.process.poll() is not None and "ended", pattern)

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=30)
        self.thread.join(timeout=30)
        return code


def created(tmp_path, region, release: str = "v1") -> Operator:
    operator = Operator(tmp_path, region)
    done = operator("create", "prod", "--release", release)
    assert done.code == DONE, done
    return operator


def sicken(region, count: int = 1) -> list[str]:
    """Has instances in service fail their health checks, and nobody replace them."""
    processes = ["HealthCheck", "ReplaceUnhealthy"]
    region.client("autoscaling").suspend_processes(AutoScalingGroupName=region.group().name, ScalingProcesses=processes)
    sick = region.instances()[:count]
    for instance in sick:
        instance.end_process()
    targets = region.group().targets()[0]
    region.wait(lambda: all(targets.state(one.id) == "unhealthy" for one in sick), "unhealthy targets")
    return [one.id for one in sick]


def test_an_environment_that_is_fine(tmp_path, region):
    operator = created(tmp_path, region)
    shown = operator("status", "prod")
    lines = shown.stdout.splitlines()
    assert shown.code == DONE and not shown.stderr and "\x1b" not in shown.stdout, shown
    assert lines[0].startswith("prod runs v1 since "), shown
    assert lines[1].startswith("Ok (green): application deployment 1 (v1) completed "), shown
    assert lines[2].split() == ["INSTANCE", "ZONE", "RELEASE", "IMAGE", "STATE", "SINCE"] and len(lines) == 5, shown
    for instance in region.instances():
        row = next(line for line in lines[3:] if line.startswith(instance.id))
        assert re.fullmatch(rf"{instance.id} +eu-central-1[ab] +v1 +ami-12c6146b +serving +\d+[sm]", row), shown

    told = operator("status", "prod", "--json").json
    assert told["health"]["status"] == "Ok" and told["health"]["color"] == "green", told
    assert told["capacity"]["desired"] == 2 and told["stack"] == {"name": "shop-prod", "status": "CREATE_COMPLETE"}, told
    one = told["instances"][0]
    assert (one["release"], one["deployment"], one["image"]) == ("v1", 1, "ami-12c6146b"), told
    assert (one["state"], one["lifecycle"], one["target"]) == ("serving", "InService", {"state": "healthy", "why": None}), told
    assert one["launched"][:19] <= one["since"][:19] <= told["at"][:19] and one["cause"] is None, told
    asked = {call["operation"] for call in region.calls}
    assert {"DescribeInstances", "DescribeAlarms", "DescribeScalingActivities"} <= asked


def test_all_environments_have_a_line_each(tmp_path, region):
    operator = created(tmp_path, region)
    subnets = region.client("ec2").describe_subnets()["Subnets"][:2]
    names = ", ".join(one["SubnetId"] for one in subnets)
    network = {"vpc": subnets[0]["VpcId"], "subnets": names}
    operator.write("fleet.yaml", (FLEET + OTHER).format(policy="rolling", **network))
    shown = operator("status")
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert shown.code == DONE and rows[0][:5] == ["ENVIRONMENT", "HEALTH", "RELEASE", "INSTANCES", "DEPLOYMENT"], shown
    assert rows[1] == ["prod", "Ok", "v1", "2/2", "1"] and rows[2][:2] == ["stage", "NoData"], shown
    told = operator("status", "--json").json["environments"]
    assert [one["health"]["color"] for one in told] == ["green", "grey"] and told[0]["instances"], told


def test_without_fleet_yaml_all_that_have_a_stack_have_a_line(tmp_path, region):
    operator = created(tmp_path, region)
    (tmp_path / "fleet.yaml").unlink()
    # Of an application whose name begins so, and of nobody.
    topic = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    for name, tags in (("shop-admin-prod", [{"Key": "ingot:application", "Value": "shop-admin"}]), ("shop-topics", [])):
        region.client("cloudformation").create_stack(StackName=name, TemplateBody=topic, Tags=tags)
        region.settled(name)
    shown = operator("status", "--application", "shop")
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert shown.code == DONE and len(rows) == 2 and rows[1] == ["prod", "Ok", "v1", "2/2", "1"], shown
    listed = operator("list", "--application", "shop", "--json")
    (one,) = listed.json["environments"]
    assert (one["environment"], one["in_file"], one["release"], one["status"]) == ("prod", None, "v1", "CREATE_COMPLETE"), listed
    nobody = operator("status", "--application", "shopping")
    assert nobody.code == USAGE and "there is no environment of shopping in eu-central-1" in nobody.stderr, nobody


def test_a_deployment_that_goes_on(tmp_path):
    needs_binary()
    with Region(boots(80, v2=Outcome(boot=8)), pace=FAST) as region:
        operator = created(tmp_path, region)
        deployment = operator.start("deploy", "prod", "--release", "v2")

        def boots_v2() -> dict | None:
            told = operator("status", "prod", "--json").json
            return told if any(one["release"] == "v2" and one["state"] == "booting" for one in told["instances"]) else None

        told = region.poll(boots_v2, "an instance of v2 that boots")
        assert told["health"]["status"] == "Info" and told["health"]["color"] == "green", told
        expected = r"performing application deployment 2 \(v2\), running for \d+[sm]: [01] of 2 instances serve it"
        assert re.fullmatch(expected, told["health"]["causes"][0]), told
        assert told["in_force"]["number"] == 1 and told["newest"]["state"] == "under_way", told
        out, err = deployment.communicate(timeout=fleets.PATIENCE)
        assert deployment.returncode == DONE, (out, err)
        after = operator("status", "prod", "--json").json
        assert after["health"]["status"] == "Ok" and {one["release"] for one in after["instances"]} == {"v2"}, after


def test_an_instance_that_is_not_well_is_named_with_its_cause(tmp_path, region):
    operator = created(tmp_path, region)
    assert operator("scale", "prod", "4").code == DONE
    region.in_service(4)
    targets = region.group().targets()[0]
    region.wait(lambda: all(targets.state(one.id) == "healthy" for one in region.instances()), "four healthy targets")
    (sick,) = sicken(region)
    shown = operator("status", "prod")
    lines = shown.stdout.splitlines()
    assert lines[1] == "Warning (yellow): 1 of 4 instances does not serve", shown
    assert f"  {sick} is unhealthy: Health checks failed (Target.FailedHealthChecks)" in lines, shown
    row = next(line for line in lines if line.startswith(sick))
    assert re.search(r" unhealthy +\d+[sm] +Health checks failed \(Target\.FailedHealthChecks\)$", row), shown
    sicken(region, 3)
    assert operator("status", "prod", "--json").json["health"]["status"] == "Severe"


def test_an_alarm_is_named_and_what_may_not_be_asked_for_is_left_out(tmp_path, region):
    operator = created(tmp_path, region)
    hostile = "Threshold Crossed: 7.0 > 5.0\u202e"
    region.client("cloudwatch").set_alarm_state(AlarmName="shop-prod-5xx", StateValue="ALARM", StateReason=hostile)
    shown = operator("status", "prod")
    assert "Warning (yellow): the alarm shop-prod-5xx is in ALARM: Threshold Crossed: 7.0 > 5.0\\u{202e}" in shown.stdout, shown
    region.fault("denied", "cloudwatch", operation="DescribeAlarms", type="AccessDenied", status=403)
    denied = operator("status", "prod")
    assert denied.code == DONE and "Ok (green)" in denied.stdout, denied
    assert "warning: cannot read the alarms shop-prod-5xx" in denied.stderr, denied
    assert "allow cloudwatch:DescribeAlarms" in denied.stderr, denied


def test_what_may_not_be_asked_for_is_told_once_and_stays_on_a_terminal(tmp_path, region):
    operator = created(tmp_path, region)
    region.fault("denied", "cloudwatch", operation="DescribeAlarms", type="AccessDenied", status=403)
    process = operator.start("status", "prod", "--watch")
    lines, seen = Lines(process), looks(region)
    region.poll(lambda: looks(region) > seen + 2, "three looks")
    lines.end()
    assert process.stderr.read().count("warning: cannot read the alarms") == 1
    with Terminal() as terminal:
        process = on_terminal(terminal, operator, "status", "prod", "--watch")
        terminal.until(lambda: len(terminal.screens) > 1)
        terminal.press(CTRL_C)
        terminal.ended(process)
        screen = terminal.screens[-1]
        assert any(line.startswith("warning: cannot read the alarms") for line in screen), screen
        assert all(len(line) <= 80 for line in screen if "by arn:" not in line), screen


def test_without_ec2_it_says_how_instances_are_and_not_what_they_run(tmp_path, region):
    operator = created(tmp_path, region)
    region.fault("denied", "ec2", operation="DescribeInstances")
    shown = operator("status", "prod")
    assert shown.code == DONE and "Ok (green)" in shown.stdout and shown.stdout.count(" serving ") == 2, shown
    assert shown.stderr.count("allow ec2:DescribeInstances") == 1, shown


@pytest.mark.parametrize(
    ("service", "rule", "shown", "asks"),
    [
        ("elasticloadbalancing", {"operation": "DescribeTargetHealth"}, ["prod runs v1", "Unknown (grey)", " in service "], 1),
        ("autoscaling", {"operation": "DescribeScalingActivities"}, ["prod runs v1", "Ok (green)", " serving "], 1),
        ("autoscaling", {"operation": "DescribeAutoScalingGroups"}, ["prod runs v1", "Unknown (grey)"], 1),
        ("cloudformation", {"operation": "DescribeStackEvents"}, ["prod runs v1", "Unknown (grey)", " serving "], 1),
        ("s3", {"containing": "shop/environments/prod/deployments"}, ["is set to v1; its records", "Unknown (grey)", " serving "], 2),
    ],
    ids=["targets", "activities", "groups", "stack", "records"],
)
def test_whoever_may_not_see_one_thing_sees_the_rest(tmp_path, region, service, rule, shown, asks):
    operator = created(tmp_path, region)
    region.fault("denied", service, **rule)
    seen = operator("status", "prod")
    assert seen.code == DONE and all(one in seen.stdout for one in shown), seen
    assert seen.stderr.count("warning: cannot ") == asks and "allow " in seen.stderr, seen
    assert "has not been created yet" not in seen.stdout and len(operator("status", "prod", "--json").json["unseen"]) == asks


def test_evidence_is_read_once_however_long_it_is_watched(tmp_path, region):
    operator = created(tmp_path, region)
    (sick,) = sicken(region)
    # A delay of no time marks the calls.
    region.fault("delay", "s3", containing=evidence(region, sick, "services.a: it ended"), seconds=0)
    lines = Lines(operator.start("status", "prod", "--watch", "--json"))
    lines.wait(region, "services.a: it ended")
    seen = looks(region)
    region.poll(lambda: looks(region) > seen + 2, "three looks more")
    lines.end()
    assert sum(call["fault"] == "delay" for call in region.calls) == 1


def test_a_creation_that_failed_is_severe(tmp_path, region):
    operator = Operator(tmp_path, region)
    assert operator("create", "prod", "--release", "bad").code == FAILED
    shown = operator("status", "prod")
    assert "Severe (red): its creation failed, and nothing in it serves" in shown.stdout, shown
    assert "ingot-fleet terminate prod" in shown.stdout, shown


def test_watched_without_a_terminal_what_changes_is_appended(tmp_path):
    needs_binary()
    with Region(boots(80, v2=Outcome(boot=8)), pace=FAST) as region:
        operator = created(tmp_path, region)
        before = {one.id for one in region.instances()}
        lines = Lines(operator.start("status", "prod", "--watch"))
        lines.wait(region, "^INSTANCE ")
        assert operator("deploy", "prod", "--release", "v2").code == DONE
        lines.wait(region, r"Z  deployment 2 of prod \(v2\) is good")
        after = {one.id for one in region.in_service(2)}
        for one in after:
            lines.wait(region, rf"^\d\d:\d\d:\d\dZ  {one}  serving +v2$")
        for one in before:
            lines.wait(region, rf"^\d\d:\d\d:\d\dZ  {one}  gone$")
        told = "\n".join(lines.lines)
        assert re.search(r"Z  i-\w+  (launching|booting) +v2$", told, re.MULTILINE) and "\x1b" not in told, told
        assert re.search(r"Z  prod is Info \(green\): performing application deployment 2", told), told
        assert told.count("INSTANCE ") == 1, told
        quiet, looked = len(lines.lines), looks(region)
        region.poll(lambda: looks(region) > looked + 2, "three looks more")
        assert len(lines.lines) == quiet, "nothing has changed, and nothing is said"
        assert lines.end() == -signal.SIGINT


def looks(region) -> int:
    return sum(call["operation"] == "DescribeAutoScalingGroups" for call in region.calls)


def test_watched_as_json_it_is_an_object_a_line(tmp_path, region):
    operator = created(tmp_path, region)
    lines = Lines(operator.start("status", "prod", "--watch", "--json"))
    lines.wait(region, "^{")
    assert operator("scale", "prod", "3").code == DONE
    region.in_service(3)
    lines.wait(region, r'"desired":3.*("state":"serving".*){3}')
    lines.end()
    told = [json.loads(line) for line in lines.lines]
    assert len(told[0]["instances"]) == 2 and len(told[-1]["instances"]) == 3, told
    assert all(one["environment"] == "prod" and one["health"]["status"] for one in told)


def test_watched_while_aws_is_busy_it_goes_on(tmp_path, region):
    operator = created(tmp_path, region)
    process = operator.start("status", "prod", "--watch")
    lines = Lines(process)
    lines.wait(region, "^INSTANCE ")
    region.fault("throttled", "autoscaling", operation="DescribeAutoScalingGroups")
    once = operator("status", "prod")
    assert once.code == UNREACHABLE and "cannot read the group" in once.stderr, once
    said = region.poll(lambda: process.stderr.readline(), "what is said")
    assert "; retrying" in said and process.poll() is None, said
    region.recover()
    assert operator("scale", "prod", "3").code == DONE
    lines.wait(region, r"i-\w+  serving +v1")
    lines.end()


def on_terminal(terminal: Terminal, operator: Operator, *args, stdout: bool = True, **env: str):
    return terminal.run([str(fleets.binary()), *args], stdout, {**operator.env, **env}, operator.directory)


def test_on_a_terminal_it_is_redrawn_until_ctrl_c(tmp_path, region):
    operator = created(tmp_path, region)
    with Terminal() as terminal:
        process = on_terminal(terminal, operator, "status", "prod", "--watch")
        terminal.until(lambda: len(terminal.screens) > 1)
        assert operator("scale", "prod", "3").code == DONE
        terminal.until(lambda: sum(" serving " in line for line in terminal.screens[-1]) == 3)
        terminal.press(CTRL_C)
        assert terminal.ended(process) == -signal.SIGINT
        first, last = terminal.screens[0], terminal.screens[-1]
        assert terminal.text.startswith("\x1b[2J") and terminal.text.count("\x1b[2J") == 1, terminal.text
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ, every 5 s; press Ctrl-C to stop", first[0]), first
        assert any(line.startswith("Ok (green)") for line in first), first
        assert "\x1b[32mOk (green)" in terminal.text, terminal.text
        assert all(len(line) <= 80 for screen in terminal.screens for line in screen if "by arn:" not in line), last
        assert not process.stderr.read()


def test_colors_are_of_terminals_and_of_those_who_want_them(tmp_path, region):
    operator = created(tmp_path, region)
    (sick,) = sicken(region)

    def shown(**env: str) -> str:
        with Terminal() as terminal:
            process = on_terminal(terminal, operator, "status", "prod", **env)
            assert terminal.ended(process) == DONE
            return terminal.text

    colored = shown()
    assert "\x1b[31mDegraded (red): 1 of 2 instances does not serve\x1b[0m" in colored, colored
    assert f"\x1b[31m{sick}" in colored, colored
    for none in (shown(NO_COLOR="1"), shown(NO_COLOR="0", CLICOLOR_FORCE="1")):
        assert "Degraded (red)" in none and not COLORS.search(none), none
    assert COLORS.search(shown(NO_COLOR=""))
    assert plain(colored).replace("\r", "").splitlines()[1:4] == shown(NO_COLOR="1").replace("\r", "").splitlines()[1:4]
    forced = operator("status", "prod", CLICOLOR_FORCE="1").stdout
    assert "\x1b[31mDegraded" in forced and "\x1b" not in operator("status", "prod").stdout


def test_a_deployment_is_told_line_by_line(tmp_path, region):
    operator = created(tmp_path, region)
    told = operator("deploy", "prod", "--release", "v2")
    assert told.code == DONE and told.stdout.startswith("deployment 2 of prod (v2) is good") and "\x1b" not in told.stderr, told
    lines = told.stderr.splitlines()
    for one in region.in_service(2):
        assert any(re.fullmatch(rf"\d\d:\d\d:\d\dZ  {one.id}  serving +v2", line) for line in lines), told
    assert any(re.fullmatch(r"\d\d:\d\d:\d\dZ  replacing what runs", line) for line in lines), told
    failed = operator("deploy", "prod", "--release", "bad")
    assert failed.code == FAILED and re.search(r"Z  .*rolling back$", failed.stderr, re.MULTILINE), failed


def test_on_a_terminal_a_deployment_has_a_bar(tmp_path):
    needs_binary()
    with Region(boots(80, v2=Outcome(boot=4)), pace=FAST) as region:
        operator = created(tmp_path, region)
        with Terminal() as terminal:
            process = on_terminal(terminal, operator, "deploy", "prod", "--release", "v2", "--yes", stdout=False)
            assert terminal.ended(process) == DONE, terminal.text
            drawn = plain(terminal.text)
            assert "batch 1 of 2" in drawn and "batch 2 of 2" in drawn and " 1 of 2 " in drawn, drawn
            assert re.search(r"\x1b\[32m\d\d:\d\d:\d\dZ  i-\w+  serving +v2\x1b\[0m", terminal.text), terminal.text
            assert b"deployment 2 of prod (v2) is good" in process.stdout.read()
        with Terminal() as terminal:
            process = on_terminal(terminal, operator, "rollback", "prod", "--yes", stdout=False, NO_COLOR="1")
            assert terminal.ended(process) == DONE, terminal.text
            assert "batch 1 of 2" in plain(terminal.text) and not COLORS.search(terminal.text), terminal.text
