"""Workers on a real systemd: started by a boot, confined, restarted with other settings, and stopped without a loss."""

import json
import time

import pytest
from harness.agent import DONE, document
from harness.host import container
from harness.host.deployed import BUCKET, LISTEN, Deployed

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

UNIT = "ingot-worker@jobs.service"

# Writes each message down when it comes and when it is done; its body is how many seconds it takes.
CONSUMER = """\
import http.server, os, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.note("came", body)
        time.sleep(float(body))
        self.note("done", body)
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def note(self, what, body):
        with open("/srv/gates/messages", "a") as log:
            log.write(f"{what} {body} {self.headers['host']} {self.client_address[0]} {os.environ['PORT']} gen={sys.argv[1]}\\n")

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def release(generation, web: str = "exec python3 -S serve.py") -> dict[str, bytes]:
    return {"Procfile": f"web: {web} {generation}\n".encode(), "serve.py": CONSUMER.encode()}


class Fed(Deployed):
    """A machine with a queue."""

    def begin(self) -> None:
        super().begin()
        self.sqs = self.aws.client("sqs")
        self.url = self.sqs.create_queue(QueueName="shop-jobs")["QueueUrl"]
        for number in (1, 2):
            self.upload(f"shop-{number}", release(number))

    def text(self, number=1, shop: dict | None = None, **fields) -> str:
        source = {"s3": f"s3://{BUCKET}/shop-{number}.tar.gz", "into": "/opt/shop", "owner": "shop"}
        application = {"bundle": "bundles.app", "user": "shop", "proxy": {"listen": LISTEN}, "ready": {"http": "/"}, **(shop or {})}
        jobs = {"queue": "shop-jobs", "to": "applications.shop", **fields}
        return document(bundles={"app": source}, applications={"shop": application}, workers={"jobs": jobs})

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def generation_of_link(self) -> str:
        """The slot that requests are led to."""
        return self.must("readlink", "/run/ingot/proxy/shop").strip()[-1]

    def messages(self) -> list[str]:
        return self.shell("cat /srv/gates/messages 2>/dev/null").stdout.splitlines()

    def came(self, count: int, what: str = "came") -> list[str]:
        attempt = lambda: len(found := [line for line in self.messages() if line.startswith(what)]) >= count and found  # noqa: E731
        return self.wait_for(attempt, 60, f"{count} messages that {what}")

    def handled(self) -> list[tuple[str, str, str]]:
        """What was noted, the body, and the release, in order."""
        return [(line.split()[0], line.split()[1], line.rpartition("=")[2]) for line in self.messages()]

    def status(self) -> dict:
        return json.loads(self.run("ingot", "status", "worker", "jobs", "--json").stdout)

    def nothing_failed(self) -> None:
        status = self.wait_for(lambda: (found := self.status())["worker"]["in_hand"] == 0 and found, 30, "an empty hand")
        assert status["status"] == "working" and status["worker"]["failed"] == {}, status
        bodies = [body for what, body, _ in self.handled() if what == "came"]
        assert len(bodies) == len(set(bodies)), "none came twice"
        self.wait_for(lambda: self.depth() == (0, 0), 30, "an empty queue")

    def depth(self) -> tuple[int, int]:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


@pytest.fixture
def machine(ingot):
    with Fed() as machine:
        machine.begin()
        yield machine


def test_a_boot_starts_it_with_its_settings_and_a_second_changes_nothing(machine):
    machine.send("0.01")
    machine.succeed(machine.text())
    assert machine.show(UNIT, "ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}
    [line] = machine.came(1)
    # Past the proxy, to the slot that serves.
    assert line == "came 0.01 localhost 127.0.0.1 15000 gen=1"
    status = machine.run("runuser", "-u", "nobody", "--", "ingot", "status", "worker", "jobs", "--json")
    assert status.code == DONE and json.loads(status.stdout)["status"] == "working", status
    user = machine.must("ps", "-o", "user=", "-p", machine.show(UNIT, "MainPID")["MainPID"]).strip()
    assert user not in ("root", "shop")

    again = machine.succeed(machine.text())
    assert set(again.outcomes().values()) == {"unchanged"}, again
    journal = machine.journal("-u", UNIT)
    assert "cannot" not in journal and "warn" not in journal.lower(), journal


def test_other_settings_restart_it_once_it_has_finished(machine):
    machine.succeed(machine.text())
    before = machine.show(UNIT, "MainPID")["MainPID"]
    machine.send("5")
    machine.came(1)
    machine.succeed(machine.text(concurrency=3))
    assert machine.show(UNIT, "MainPID")["MainPID"] != before
    assert [line.split()[0] for line in machine.messages()] == ["came", "done"], "it was not cut off"
    assert "of 3 in progress" in machine.must("ingot", "status", "worker", "jobs")


def test_a_stop_takes_as_long_as_what_is_in_hand_and_no_longer_than_the_drain(machine):
    """TimeoutStopSec= is 30 s: the worker has it extended."""
    machine.succeed(machine.text(drain="45s"))
    machine.send("40", "300")
    machine.came(2)
    begun = time.monotonic()
    machine.must("systemctl", "stop", UNIT, timeout=90)
    assert 44 < time.monotonic() - begun < 60
    assert len(machine.came(1, "done")) == 1 and machine.depth() == (1, 0)
    assert machine.show(UNIT, "Result")["Result"] == "success"


def test_a_shutdown_of_the_machine_finishes_what_is_in_hand(machine):
    """The application and the proxy serve the worker until then."""
    machine.succeed(machine.text(drain="60s"))
    assert "ingot-workers.target" in machine.show(UNIT, "After")["After"]
    machine.send("12")
    machine.came(1)
    begun = time.monotonic()
    machine.shut_down()
    assert 8 < time.monotonic() - begun < 50
    log = (machine.root / "srv/gates/messages").read_text().splitlines()
    assert [line.split()[0] for line in log] == ["came", "done"], log
    assert machine.depth() == (0, 0)


def test_variables_of_the_units_reach_it(machine):
    """Where the boot has them, too: a worker that leaves a private endpoint without a word would be a leak."""
    machine.write("/etc/ingot/environment", "AWS_USE_FIPS_ENDPOINT=true\n")
    why = machine.fail(machine.text(), "workers.jobs")
    assert "FIPS and custom endpoint are not supported" in why, why


def test_it_follows_a_switch(machine):
    machine.succeed(machine.text())
    machine.send("0.01")
    machine.came(1)
    machine.succeed(machine.text(2))
    machine.send("0.02")
    assert machine.came(2)[-1] == "came 0.02 localhost 127.0.0.1 25000 gen=2"


# While its application is replaced.

ALONE = {"overlap": False, "port": 5000}


def test_without_overlap_what_is_in_hand_is_finished_before_the_release_stops(machine):
    machine.succeed(machine.text(shop=ALONE))
    machine.send("6")
    machine.came(1)
    boot = machine.begin_deploy(machine.text(2, shop=ALONE))
    held = lambda: (found := machine.status()) and found["status"] == "paused" and found  # noqa: E731
    assert machine.wait_for(held, 30, "a held worker")["worker"]["waiting"] == "the application is being replaced"
    why = "for shop shop-1 (generation 1) to finish the messages of workers.jobs"
    machine.wait_for(lambda: why in json.dumps(machine.report()), 10, why)
    machine.send("0.1", "0.2", "0.3")
    machine.wait_until(f"! systemctl is-active --quiet {boot}", 60)
    assert machine.report()["outcome"] == "done", machine.told()
    machine.came(4, "done")
    assert machine.handled()[:2] == [("came", "6", "1"), ("done", "6", "1")]
    assert {(body, release) for _, body, release in machine.handled()[2:]} == {("0.1", "2"), ("0.2", "2"), ("0.3", "2")}
    machine.nothing_failed()


def test_with_overlap_the_release_before_finishes_what_it_has_and_the_next_one_gets_the_rest(machine):
    """Requests have two seconds to end, messages as long as the worker gives them."""
    shop = {"proxy": {"listen": LISTEN, "timeout": "2s"}}
    machine.succeed(machine.text(shop=shop))
    machine.send("12")
    machine.came(1)
    boot = machine.begin_deploy(machine.text(2, shop=shop))
    machine.wait_for(lambda: machine.generation_of_link() == "b", 30, "the switch")
    machine.send("0.1", "0.2")
    machine.came(2, "done")
    assert machine.handled() == [("came", "12", "1"), *machine.handled()[1:]] and ("done", "0.1", "2") in machine.handled()
    assert ("done", "12", "1") not in machine.handled(), "it is not what the others waited for"
    machine.wait_until(f"! systemctl is-active --quiet {boot}", 60)
    report = machine.report()
    assert report["outcome"] == "done" and not any("applications.shop" in warning for warning in report["warnings"]), report["warnings"]
    assert machine.handled()[-1] == ("done", "12", "1")
    assert machine.units() == ["shop.web-2"]
    machine.nothing_failed()


def test_a_message_that_takes_longer_than_its_worker_gives_it_does_not_hold_up_a_switch(machine):
    machine.succeed(machine.text(shop=ALONE, drain="2s"))
    machine.send("300")
    machine.came(1)
    result = machine.succeed(machine.text(2, shop=ALONE, drain="2s"))
    told = "shop shop-1 (generation 1) was still handling messages of workers.jobs after 2s: they are delivered again"
    assert f"applications.shop: {told}" in result.report["warnings"]
    assert machine.came(2)[-1].startswith("came 300 ") and machine.handled()[-1][2] == "2"


def test_a_release_that_does_not_serve_leaves_the_worker_to_the_one_before(machine):
    machine.upload("shop-bad", release("bad", "exit 5 #"))
    machine.succeed(machine.text(shop=ALONE))
    machine.send("3")
    machine.came(1)
    machine.fail(machine.text("bad", shop=ALONE))
    machine.send("0.1")
    machine.came(2, "done")
    assert [release for _, _, release in machine.handled()] == ["1"] * 4
    machine.nothing_failed()


def test_a_boot_that_is_killed_holds_nobody(machine):
    machine.succeed(machine.text(shop=ALONE))
    machine.send("8")
    machine.came(1)
    boot = machine.begin_deploy(machine.text(2, shop=ALONE))
    machine.wait_for(lambda: machine.status()["status"] == "paused", 30, "a held worker")
    machine.must("systemctl", "kill", "--signal=SIGKILL", boot)
    machine.send("0.1")
    machine.came(1, "done")
    assert machine.handled()[-1] == ("done", "0.1", "1"), "it goes on at once, with the release that still serves"
    machine.came(2, "done")
    machine.nothing_failed()


def test_a_worker_that_is_killed_holds_up_no_switch(machine):
    machine.succeed(machine.text(shop=ALONE))
    machine.send("300")
    machine.came(1)
    boot = machine.begin_deploy(machine.text(2, shop=ALONE))
    machine.wait_for(lambda: machine.status()["status"] == "paused", 30, "a held worker")
    machine.must("systemctl", "kill", "--signal=SIGKILL", UNIT)
    machine.wait_until(f"! systemctl is-active --quiet {boot}", 60)
    assert machine.report()["outcome"] == "done" and machine.generation_of_link() == "b"
    machine.send("0.1")
    machine.came(1, "done")
    assert machine.handled()[-1] == ("done", "0.1", "2")


def test_a_queue_that_is_not_there_fails_the_step_with_its_reason(machine):
    why = machine.fail(machine.text(queue="nowhere"), "workers.jobs")
    assert "GetQueueUrl nowhere" in why and "journalctl -b -u" in why
    # It is made meanwhile.
    machine.sqs.create_queue(QueueName="nowhere")
    machine.wait_until(f"systemctl is-active {UNIT}")


def test_a_worker_that_the_document_no_longer_has_is_named(machine):
    machine.succeed(machine.text())
    result = machine.deploy(document(commands={"a": {"run": ["/bin/true"]}}))
    assert f"run `systemctl stop {UNIT}`" in json.dumps(result.report["warnings"])


def test_the_unit_is_confined(machine):
    """1.2 of 10, and it works: the other tests."""
    done = machine.run("systemd-analyze", "security", "--threshold=20", "--no-pager", "ingot-worker@jobs.service")
    assert done.code == 0 and ": 1.2 OK" in done.stdout, done


def test_one_that_is_asked_to_stop_before_it_is_ready_stays_down(machine):
    """systemd took its end for a failure, and started it again: on a machine that was drained, it took messages."""
    machine.succeed(machine.text())
    settings = json.loads(machine.must("cat", "/run/ingot/workers/jobs.json"))
    machine.must("install", "--mode=644", "/dev/stdin", "/run/ingot/workers/late.json", stdin=json.dumps({**settings, "queue": "not-yet"}))
    unit = UNIT.replace("jobs", "late")
    machine.must("systemctl", "start", "--no-block", unit)
    machine.wait_until(f"journalctl -u {unit} -o cat | grep -q 'the queue is not available yet: '")
    machine.must("systemctl", "kill", "--signal=SIGTERM", unit)
    machine.wait_for(lambda: machine.show(unit, "ActiveState")["ActiveState"] in ("inactive", "failed"), 20, machine.journal("-u", unit))
    # Longer than `RestartSec=`.
    time.sleep(8)
    assert machine.show(unit, "ActiveState", "NRestarts")["NRestarts"] == "0", machine.journal("-u", unit)
