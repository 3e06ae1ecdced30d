"""The end of a machine on a real systemd: scale-in with work in hand and under load, an interruption, a shutdown."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from harness.agent import binary, document
from harness.host import balancing, container, echo
from harness.host.deployed import BUCKET, LISTEN, Deployed, release_of
from test_workers import CONSUMER

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

UNIT, WORKER = "ingot-drain.service", "ingot-worker@jobs.service"
GROUP, HOOK = "shop", "leaving"
TARGETS = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef"
RECORD = "/var/lib/ingot/instances/i-0abc123def4567890/drains.leave.json"

SCRATCH = "/srv/scratch"
REASONS = {
    "draining": "Target.DeregistrationInProgress",
    "unused": "Target.NotRegistered",
    "unhealthy": "Target.ResponseCodeMismatch",
}

# Says when it was stopped.
LATE = """\
[Service]
ExecStart=sleep infinity
ExecStop=sh -c 'date -u +%%Y-%%m-%%dT%%H:%%M:%%S.%%NZ > /srv/gates/late'
"""


class Ending(Deployed):
    """A machine that Auto Scaling, EC2 or a person ends."""

    def begin(self) -> None:
        super().begin()
        self.sqs = self.aws.client("sqs")
        self.url = self.sqs.create_queue(QueueName="shop-jobs")["QueueUrl"]
        consumer = CONSUMER.replace("gen=", f"mounted={{os.path.ismount('{SCRATCH}')}} gen=")
        self.upload("feeds", {"Procfile": b"web: exec python3 -S serve.py 1\n", "serve.py": consumer.encode()})
        self.upload("serves", release_of(1))
        self.aws.leaving(GROUP, HOOK)
        self.imds.configure(lifecycle="InService", tags={"aws:autoscaling:groupName": GROUP})

    def text(self, key: str, workers: dict | None = None, services: dict | None = None, ready: str = "/", **drain) -> str:
        source = {"s3": f"s3://{BUCKET}/{key}.tar.gz", "into": "/opt/shop", "owner": "shop"}
        application = {"bundle": "bundles.app", "user": "shop", "proxy": {"listen": LISTEN}, "ready": {"http": ready}}
        leave = {"lifecycle_hook": {"name": HOOK}, **drain}
        more = {name: steps for name, steps in {"workers": workers, "services": services}.items() if steps}
        more["mounts"] = {SCRATCH: {"type": "tmpfs"}}
        return document(bundles={"app": source}, applications={"shop": application}, drains={"leave": leave}, **more)

    def depth(self) -> tuple[int, int]:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def messages(self, what: str) -> int:
        return self.shell(f"grep -c ^{what} /srv/gates/messages").stdout.strip() or "0"

    def terminate(self) -> float:
        self.aws.lifecycle_action(GROUP, HOOK)
        self.imds.configure(lifecycle="Terminated")
        return time.monotonic()

    def is_over(self, timeout: float = 60) -> float:
        """Waits for the hook."""
        self.wait_for(lambda: self.aws.results() == ["CONTINUE"], timeout, f"the hook\n{self.journal('-u', UNIT)}")
        return time.monotonic()

    def status(self, path: str) -> str:
        return self.must("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{LISTEN}{path}")

    def balance(self) -> None:
        """A balancer between the load, this machine and another server."""
        self.aws.target_group(TARGETS)
        self.aws.target(TARGETS, "initial", "Elb.RegistrationInProgress")
        for program in (balancing, echo):
            self.write(f"/opt/{Path(program.__file__).name}", Path(program.__file__).read_text())
        run = ["systemd-run", "--quiet", "-p", "LimitNOFILE=4096"]
        self.must(*run, "--unit=other", "--setenv=PORT=9101", "--setenv=GENERATION=other", "python3", "-S", "/opt/echo.py")
        targets = [f"here=127.0.0.1:{LISTEN}", "other=127.0.0.1:9101"]
        self.must(*run, "--unit=balancer", "python3", "-S", "/opt/balancing.py", "9100", "/run/balancer.json", *targets)
        self.wait_until("test -e /run/balancer.json")
        self.listen = 9100

    def mirrored(self) -> dict:
        """What the balancer says of its targets, which AWS says from now on."""
        states = json.loads(self.must("cat", "/run/balancer.json"))
        self.aws.target(TARGETS, states["here"]["state"], REASONS.get(states["here"]["state"], ""))
        return states

    def on_record(self) -> dict:
        return json.loads(self.must("cat", RECORD))["entries"]


@pytest.fixture
def machine(ingot):
    with Ending() as machine:
        machine.begin()
        yield machine


JOBS = {"jobs": {"queue": "shop-jobs", "to": "applications.shop", "concurrency": 20}}


def test_messages_in_hand_are_finished_or_visible_at_once(machine):
    machine.succeed(machine.text("feeds", JOBS, grace="15s", deregistration="1s"))
    machine.send(*["8"] * 10, *["300"] * 10)
    machine.wait_for(lambda: machine.messages("came") == "20", 60, "20 messages in hand")
    begun = machine.terminate()
    machine.wait_for(lambda: machine.depth() == (10, 0), 40, f"ten messages to be visible\n{machine.journal('-u', UNIT, '-u', WORKER)}")
    # Noticed within 5 s, and what is not done within `grace` is others' within a second; moto and this test take their
    # time.
    assert time.monotonic() - begun < 5 + 15 + 3
    machine.is_over()
    assert machine.messages("done") == "10"
    assert {"began", "workers", "requests", "units", "hook"} == set(machine.on_record())
    assert machine.units() == []


@pytest.mark.parametrize("sign", ["managed", "unmanaged", "interrupted"])
def test_a_machine_that_ends_under_constant_load_loses_no_request(machine, sign):
    """Behind a balancer with health checks and draining of its own, from which Auto Scaling takes the machine, or nobody does."""
    machine.balance()
    grace = "30s" if sign == "interrupted" else "90s"
    machine.succeed(machine.text("serves", ready="/health", targets=[TARGETS], grace=grace))
    machine.wait_for(lambda: machine.mirrored()["here"]["state"] == "healthy", 60, "a healthy target")
    machine.begin_load(websocket=False)
    if sign == "interrupted":
        at = datetime.now(UTC) + timedelta(seconds=120)
        machine.imds.configure(interruption=["terminate", at.strftime("%Y-%m-%dT%H:%M:%SZ")])
        is_over = lambda: machine.run("sh", "-c", f"journalctl -u {UNIT} -o cat | grep -q '^drained; watching'").code == 0  # noqa: E731
    else:
        machine.terminate()
        is_over = lambda: machine.aws.results() == ["CONTINUE"]  # noqa: E731
    if sign == "managed":
        machine.must("sh", "-c", "echo here >/run/balancer.deregister")
    machine.wait_for(lambda: machine.mirrored() and is_over(), 150, f"the end\n{machine.journal('-u', UNIT)}")
    # systemd forgets a unit a little after it has stopped.
    machine.wait_for(lambda: machine.units() == [], 20, "the application to be gone")
    assert machine.show("ingot-proxy.service", "ActiveState")["ActiveState"] == "inactive"
    # It goes on, at the other one alone.
    time.sleep(3)
    load, states = machine.end_load(), machine.mirrored()
    assert load["sent"] > 500 and load["lost"] == 0, (load, states, machine.journal("-u", UNIT))
    assert states["here"]["requests"] > 200 and states["here"]["state"] == ("unused" if sign == "managed" else "unhealthy"), states


def test_without_target_groups_it_serves_as_long_as_anybody_connects(machine):
    machine.succeed(machine.text("serves", ready="/health", deregistration="5s", grace="90s"))
    machine.begin_load(websocket=False)
    machine.terminate()
    machine.wait_until(f"journalctl -u {UNIT} -o cat | grep -q 'without a new connection'")
    time.sleep(5)
    load = machine.end_load()
    ended = time.monotonic()
    assert machine.is_over() - ended > 8
    assert load["sent"] > 500 and load["lost"] == 0, load


def test_an_interruption_is_told_by_the_health_path_alone(machine):
    machine.succeed(machine.text("serves", ready="/health", grace="15s"))
    assert (machine.status("/health"), machine.status("/")) == ("200", "200")
    at = datetime.now(UTC) + timedelta(seconds=40)
    machine.imds.configure(interruption=["terminate", at.strftime("%Y-%m-%dT%H:%M:%SZ")])
    machine.wait_for(lambda: machine.status("/health") == "503", 20, "503")
    assert (machine.status("/health?deep=1"), machine.status("/"), machine.status("/healthy")) == ("503", "200", "200")
    machine.wait_until(f"journalctl -u {UNIT} -o cat | grep -q '^drained; watching'")
    # systemd forgets a unit a little after it has stopped.
    machine.wait_for(lambda: machine.units() == [], 20, "the application to be gone")
    # It was not taken away, and works again: the boot waits until that is certain.
    machine.imds.configure(interruption=None)
    machine.succeed(machine.text("serves", ready="/health", grace="15s"))
    assert (machine.status("/health"), machine.status("/")) == ("200", "200")


def test_killed_it_goes_on_by_itself(machine):
    machine.succeed(machine.text("feeds", JOBS, grace="60s", deregistration="1s"))
    machine.send("12")
    machine.wait_for(lambda: machine.messages("came") == "1", 60, "a message in hand")
    machine.terminate()
    machine.wait_until(f"test -e {RECORD}")
    for _ in range(2):
        machine.must("systemctl", "kill", "--signal=SIGKILL", UNIT)
        machine.wait_until(f"systemctl is-active {UNIT}")
    machine.is_over()
    assert machine.messages("done") == "1" and machine.depth() == (0, 0)


def test_a_deployment_that_goes_on_is_ended(machine):
    """As Run Command has it: no unit of ours. It would start what is stopped again."""
    text = machine.text("feeds", JOBS, grace="15s", deregistration="1s")
    machine.succeed(text)
    machine.write("/opt/boot.yaml", text.replace('"version": 1', '"commands": {"slow": {"run": ["/bin/sleep", "297"]}},\n "version": 1'))
    machine.must("systemd-run", "--quiet", "--unit=deployment", "ingot", "boot", "--user-data", "/opt/boot.yaml")
    machine.wait_until("pgrep -f ^/bin/sleep.297")
    machine.terminate()
    machine.is_over(120)
    said = machine.journal("-u", UNIT)
    assert "which has run for 60s" in said and "draining anyway" not in said, said
    assert machine.show("deployment.service", "ActiveState")["ActiveState"] != "active"
    assert machine.show(WORKER, "ActiveState")["ActiveState"] == "inactive"
    assert machine.run("pgrep", "-f", "^/bin/sleep.297").code == 1


def test_a_shutdown_waits_for_what_is_in_hand_and_stops_services_after_that(machine):
    machine.write("/etc/systemd/system/late.service", LATE)
    machine.must("systemctl", "daemon-reload")
    services = {"late.service": {"after": ["applications.shop"]}}
    machine.succeed(machine.text("feeds", JOBS, services, grace="60s", deregistration="1s"))
    machine.send("10")
    machine.wait_for(lambda: machine.messages("came") == "1", 60, "a message in hand")
    machine.aws.lifecycle_action(GROUP, HOOK)
    begun = time.monotonic()
    machine.shut_down(timeout=90)
    assert time.monotonic() - begun > 8
    last = machine.read("/srv/gates/messages").splitlines()[-1]
    # Nothing else orders what is mounted: it went at once, under those who have work in hand.
    assert last.startswith("done 10") and "mounted=True" in last, last
    assert machine.depth() == (0, 0) and machine.aws.results() == ["CONTINUE"]
    entries = json.loads(machine.read(RECORD))["entries"]
    assert machine.read("/srv/gates/late").strip() > entries["workers"]["at"], entries


def test_the_unit_is_confined_and_rests(machine):
    machine.succeed(machine.text("serves", ready="/health"))
    done = machine.run("systemd-analyze", "security", "--threshold=40", "--no-pager", UNIT)
    print(done.stdout.splitlines()[-1])
    assert done.code == 0, done
    again = machine.succeed(machine.text("serves", ready="/health"))
    assert set(again.outcomes().values()) == {"unchanged"}, again
    # Other settings, and no drain for that.
    machine.succeed(machine.text("serves", ready="/health", grace="3m"))
    assert machine.run("test", "-e", RECORD).code == 1
    assert machine.show(UNIT, "ActiveState")["ActiveState"] == "active"


def test_the_watcher_rests(machine):
    """Under 3 MB resident, and one wake-up in 5 s, whatever else systemd does."""
    machine.succeed(machine.text("serves", ready="/health"))
    pid = machine.show(UNIT, "MainPID")["MainPID"]
    status = lambda: dict(line.split(":", 1) for line in machine.must("cat", f"/proc/{pid}/status").splitlines())  # noqa: E731
    # It does not rest before systemd has ordered all units.
    time.sleep(45)
    woken, found = int(status()["voluntary_ctxt_switches"]), []
    wakes, begun = 0, time.monotonic()
    while time.monotonic() - begun < 30:
        machine.must("systemd-run", "--quiet", "--collect", "true")
        now = status()
        found.append(int(now["VmRSS"].split()[0]))
        wakes, woken = wakes + (int(now["voluntary_ctxt_switches"]) != woken), int(now["voluntary_ctxt_switches"])
        time.sleep(0.2)
    assert wakes <= 7, wakes
    # What a debug build has to relocate is several times as much.
    if binary().stat().st_size < 16 << 20:
        assert sorted(found)[len(found) // 2] < 3000, sorted(found)
