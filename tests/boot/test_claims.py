"""What one instance of a fleet does for all of them, with real processes and the conditional writes of moto: never two at a time, whatever
becomes of the holder."""

import json
import signal
import time
from pathlib import Path

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, UNREACHABLE, Agent, document, ends, until
from harness.host.claims import VALUES, instance
from harness.host.claims import instance_id as name

PREFIX = "shop/environments/prod/claims/"
PLACE = f"s3://shop-releases/{PREFIX}"

# Fails if another runs; says who began, once its daemon has said so too, and who has ended; goes on until it is let.
PROGRAM = """
mkdir {0}/running || { echo two >> {0}/trouble; exit 9; }
trap 'rmdir {0}/running' EXIT
rm -f {0}/daemon
setsid sh -c 'echo $$ > {0}/starting && mv {0}/starting {0}/daemon; exec sleep 600' >/dev/null 2>&1 &
until [ -e {0}/daemon ]; do sleep 0.05; done
echo $$ >> {0}/began
until [ -e {0}/let ]; do sleep 0.05; done
echo done
echo $$ >> {0}/ended
"""


class Work:
    """What a fleet does once, and where it leaves its marks."""

    def __init__(self, directory: Path):
        self.directory = directory
        directory.mkdir()

    def document(self, once: str = "release", then: str = "true", **values) -> str:
        run = ["/bin/sh", "-c", PROGRAM.replace("{0}", str(self.directory)) + then]
        return document(claims=PLACE, values={**VALUES, **values}, commands={"migrate": {"run": run, "once": once}})

    def let(self) -> None:
        (self.directory / "let").touch()

    def lines(self, name: str) -> list[str]:
        path = self.directory / name
        return path.read_text().split() if path.exists() else []

    @property
    def begun(self) -> int:
        return len(self.lines("began"))

    def was_killed(self) -> None:
        """The program of a holder is gone, with what it had started."""
        assert ends(self.lines("began")[-1]) and ends(self.lines("daemon")[-1])
        # As what it held would be free once it is.
        (self.directory / "running").rmdir()

    def once_at_a_time(self) -> None:
        assert self.lines("trouble") == []


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path / "work")


@pytest.fixture
def fleet(ingot, tmp_path, aws, metadata):
    """Makes instances, each with an id of its own, that share a bucket."""
    aws.client("s3").create_bucket(Bucket="shop-releases", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

    def make(count: int) -> list[Agent]:
        return [instance(number, tmp_path / f"i-{number}", {**metadata.env, **aws.env}) for number in range(count)]

    return make


def claims(aws) -> dict[str, dict]:
    """What is claimed, by key."""
    s3 = aws.client("s3")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="shop-releases").get("Contents", [])]
    return {key: json.loads(s3.get_object(Bucket="shop-releases", Key=key)["Body"].read()) for key in keys}


def waits(agent: Agent, holder: str = "i-") -> bool:
    """Whether its report says that it waits for a holder."""
    path = agent.path("/run/ingot/report.json")
    steps = json.loads(path.read_text())["steps"] if path.exists() else []
    return any(f"for {holder}" in (step["waiting"] or "") and "which holds" in step["waiting"] for step in steps)


def test_twenty_instances_run_it_once(fleet, work, aws):
    text = work.document()
    agents = fleet(20)
    running = [agent.start_boot(text) for agent in agents]
    until("the others wait", lambda: sum(map(waits, agents)) == 19)
    work.let()
    results = [run.wait() for run in running]
    assert [result.code for result in results] == [DONE] * 20, results
    assert work.begun == len(work.lines("ended")) == 1
    work.once_at_a_time()
    [(key, claim)] = claims(aws).items()
    assert key == f"{PREFIX}once/shop/prod/commands.migrate/{VALUES['release_sha256']}"
    assert (claim["state"], claim["release"]) == ("done", "v1")
    elsewhere = [result for result in results if f"was run by {claim['holder']} for v1" in result.stderr]
    assert len(elsewhere) == 19


def test_what_is_done_is_not_asked_for_again_and_another_release_is(fleet, work, aws):
    work.let()
    one, other = fleet(2)
    assert one.boot(work.document()).code == DONE and other.boot(work.document()).code == DONE
    calls = aws.count()
    for agent in (one, other):
        assert agent.boot(work.document()).outcomes() == {"commands.migrate": "unchanged"}
    assert aws.count() == calls and work.begun == 1
    assert other.boot(work.document(release="v2", release_sha256="60303ae22b998861")).outcomes() == {"commands.migrate": "changed"}
    assert work.begun == 2
    # For the fleet it is another claim, whatever the release.
    assert one.boot(work.document("fleet")).outcomes() == {"commands.migrate": "changed"}
    again = work.document("fleet", release="v2", release_sha256="60303ae22b998861")
    assert one.boot(again).outcomes() == {"commands.migrate": "unchanged"}
    assert other.boot(again).code == DONE and work.begun == 3


def test_what_failed_fails_for_all_and_the_next_boot_tries_again(fleet, work, aws):
    agents = fleet(3)
    text = work.document(then="echo no such table >&2; exit 3")
    running = [agent.start_boot(text) for agent in agents]
    until("the others wait", lambda: sum(map(waits, agents)) == 2)
    work.let()
    results = [run.wait() for run in running]
    assert [result.code for result in results] == [FAILED] * 3
    [claim] = claims(aws).values()
    assert (claim["state"], claim["exit"], claim["said"][-1]) == ("failed", 3, "no such table")
    others = [result for result in results if claim["holder"] in result.failure("commands.migrate").split("hint:")[0]]
    assert len(others) == 2
    for result in others:
        failure = result.failure("commands.migrate")
        assert f"{claim['holder']} ran it for v1 and failed: /bin/sh exited with 3" in failure and "no such table" in failure
        assert "the next boot tries again" in failure
    time.sleep(1.1)  # S3's times are whole seconds.
    good = agents[1].boot(work.document())
    assert good.code == DONE and work.begun == 2, good
    work.once_at_a_time()


@pytest.mark.parametrize("how", ["killed", "asked to stop"])
def test_after_the_holder_is_gone_another_does_it_from_the_start(fleet, work, aws, how):
    holder, other = fleet(2)
    running = holder.start_boot(work.document())
    until("it runs", lambda: work.begun, running)
    running.process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGTERM)
    running.wait()
    work.was_killed()
    waiting = other.start_boot(work.document())
    until("it waits", lambda: waits(other, name(0)), waiting)
    assert work.begun == 1, "it is not stale yet"
    aws.ahead(61)
    until("it runs again", lambda: work.begun == 2, waiting)
    aws.ahead(0)
    work.let()
    assert waiting.wait().code == DONE
    # Whoever held it boots again: it is done.
    assert holder.boot(work.document()).code == DONE and work.begun == 2
    work.once_at_a_time()


@pytest.mark.slow
def test_a_holder_that_is_paused_has_lost_it_before_another_takes_it(fleet, work):
    holder, other = fleet(2)
    paused = holder.start_boot(work.document())
    until("it runs", lambda: work.begun, paused)
    began = time.monotonic()
    paused.process.send_signal(signal.SIGSTOP)
    waiting = other.start_boot(work.document())
    assert ends(work.lines("began")[0], 50) and time.monotonic() - began > 25
    assert work.begun == 1, "it was dead before it was taken over"
    work.was_killed()
    until("it runs again", lambda: work.begun == 2, waiting)
    time.sleep(max(0, began + 120 - time.monotonic()))
    paused.process.send_signal(signal.SIGCONT)
    result = paused.wait()
    assert result.code == FAILED and "could not be renewed for 40s" in result.failure("commands.migrate"), result
    work.let()
    assert waiting.wait().code == DONE
    work.once_at_a_time()


@pytest.mark.slow
def test_a_holder_that_is_cut_off_stops_in_time(fleet, work, aws):
    holder, other = fleet(2)
    cut = holder.start_boot(work.document())
    until("it runs", lambda: work.begun, cut)
    began = time.monotonic()
    aws.fault("hang", operation="PutObject", containing=name(0))
    result = cut.wait()
    assert 25 < time.monotonic() - began < 50
    failure = result.failure("commands.migrate")
    assert result.code == UNREACHABLE and "could not be renewed for 40s" in failure and "no response within" in failure, result
    work.was_killed()
    work.let()
    assert other.boot(work.document()).code == DONE and work.begun == 2
    work.once_at_a_time()


@pytest.mark.slow
def test_of_twenty_instances_one_goes_on_whoever_is_struck(fleet, work, aws):
    running = [agent.start_boot(work.document()) for agent in fleet(20)]
    struck = []
    for blow in ("kill", "pause", "cut"):
        until("it runs", lambda: work.begun == len(struck) + 1)
        [claim] = claims(aws).values()
        holder = running[int(claim["holder"].removeprefix("i-"), 16)]
        struck.append(holder)
        match blow:
            case "kill":
                holder.kill()
            case "pause":
                holder.process.send_signal(signal.SIGSTOP)
            case "cut":
                aws.fault("hang", operation="PutObject", containing=claim["holder"])
        work.was_killed()
    until("it runs", lambda: work.begun == 4)
    struck[1].process.send_signal(signal.SIGCONT)
    work.let()
    killed, paused, cut = struck
    expected = {killed: -signal.SIGKILL, paused: FAILED, cut: UNREACHABLE}
    for run in running:
        result = run.wait()
        assert result.code == expected.get(run, DONE), result
    assert work.begun == 4
    work.once_at_a_time()


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize(("operation", "number"), [("GetObject", 0), ("PutObject", 0), ("PutObject", 1)])
def test_killed_at_every_exchange(fleet, work, aws, operation, number, done):
    """`done`: what was asked for was carried out, and the answer was lost."""
    work.let()
    [agent] = fleet(1)
    fault = {"kind": "hang"} if done else {"kind": "status", "status": 503}
    aws.fault(**fault, operation=operation, after=number)
    running = agent.start_boot(work.document())
    until("the exchange", lambda: len([call for call in aws.calls(operation) if "status" in call]) > number, running)
    running.kill()
    running.wait()
    begun = work.begun
    assert begun == (1 if number else 0)
    aws.recover()
    aws.ahead(61)
    result = agent.boot(work.document())
    assert result.code == DONE, result
    # One whose end was not heard of runs again, if it was not written either.
    assert work.begun == begun + (0 if number and done else 1)
    work.once_at_a_time()


@pytest.mark.slow
@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_killed_while_it_renews(fleet, work, aws, done):
    holder, other = fleet(2)
    fault = {"kind": "hang"} if done else {"kind": "status", "status": 503}
    aws.fault(**fault, operation="PutObject", after=1)
    running = holder.start_boot(work.document())
    until("a renewal", lambda: aws.count("PutObject") > 1, running)
    running.kill()
    running.wait()
    work.was_killed()
    aws.recover()
    taken_over(other, work, aws)


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_killed_while_it_takes_over(fleet, work, aws, done):
    first, second, third = fleet(3)
    running = first.start_boot(work.document())
    until("it runs", lambda: work.begun, running)
    running.kill()
    running.wait()
    work.was_killed()
    aws.ahead(61)
    fault = {"kind": "hang"} if done else {"kind": "status", "status": 503}
    aws.fault(**fault, operation="PutObject", containing=name(1))
    taking = second.start_boot(work.document())
    until("the exchange", lambda: any("status" in call for call in aws.calls("PutObject")[1:]), taking)
    taking.kill()
    taking.wait()
    assert work.begun == 1
    aws.recover()
    taken_over(third, work, aws, ahead=122)


def taken_over(agent: Agent, work: Work, aws, ahead: float = 61) -> None:
    """Whoever comes next runs it again, from the start."""
    begun = work.begun
    aws.ahead(ahead)
    work.let()
    result = agent.boot(work.document())
    assert result.code == DONE and work.begun == begun + 1, result
    work.once_at_a_time()


@pytest.mark.parametrize("number", [0, 1])
def test_an_answer_that_is_lost_is_not_the_end(fleet, work, aws, number):
    """The claim is made, or ended, and nobody hears of it."""
    work.let()
    [agent] = fleet(1)
    aws.fault("hang", operation="PutObject", after=number, times=1)
    result = agent.boot(work.document())
    assert result.code == DONE and work.begun == 1, result
    [claim] = claims(aws).values()
    assert claim["state"] == "done"


@pytest.mark.parametrize("kind", ["throttled", "internal", "conflict", "unavailable"])
def test_what_passes_is_asked_for_again(fleet, work, aws, kind):
    work.let()
    [agent] = fleet(1)
    aws.fault(kind, operation="GetObject", times=2)
    aws.fault(kind, operation="PutObject", times=2)
    result = agent.boot(work.document())
    assert result.code == DONE and work.begun == 1, result


# A bad place.


def test_a_bucket_that_is_not_there(fleet, work):
    [agent] = fleet(1)
    result = agent.boot(work.document().replace("shop-releases", "shop-release"))
    failure = result.failure("commands.migrate")
    assert result.code == FAILED and "cannot claim s3://shop-release/" in failure and "bucket does not exist" in failure, result
    assert "hint: correct the bucket's name in the document" in failure and work.begun == 0


@pytest.mark.parametrize("operation", ["GetObject", "PutObject"])
def test_a_bucket_that_is_denied(fleet, work, aws, operation):
    [agent] = fleet(1)
    aws.fault("denied", operation=operation)
    result = agent.boot(work.document())
    failure = result.failure("commands.migrate")
    assert result.code == FAILED and "access denied" in failure and work.begun == 0, result
    assert f"hint: allow s3:{operation} on arn:aws:s3:::shop-releases/{PREFIX}once/shop/prod/commands.migrate/" in failure
    assert aws.count(operation) == 1


def test_a_bucket_of_another_region_is_found_if_s3_says_where(fleet, work, aws):
    work.let()
    one, other = fleet(2)
    aws.fault("elsewhere", operation="GetObject", times=1, headers={"x-amz-bucket-region": "eu-north-1"})
    result = one.boot(work.document())
    assert result.code == DONE and work.begun == 1, result
    assert {call["region"] for call in aws.calls("PutObject")} == {"eu-north-1"}
    aws.fault("elsewhere", operation="GetObject")
    result = other.boot(work.document())
    failure = result.failure("commands.migrate")
    assert result.code == FAILED and "must be addressed using the specified endpoint" in failure, result
    assert "hint: find the bucket's region" in failure and work.begun == 1


def test_an_object_that_is_not_a_claim(fleet, work, aws):
    [agent] = fleet(1)
    key = f"{PREFIX}once/shop/prod/commands.migrate/{VALUES['release_sha256']}"
    aws.client("s3").put_object(Bucket="shop-releases", Key=key, Body=b"notes")
    result = agent.boot(work.document())
    failure = result.failure("commands.migrate")
    assert result.code == FAILED and f"s3://shop-releases/{key} is not a claim" in failure and work.begun == 0, result
    assert f"hint: delete it with `aws s3 rm s3://shop-releases/{key}`" in failure


def test_a_place_that_is_not_in_s3_or_lacks_a_value(fleet, work, aws):
    [agent] = fleet(1)
    for text, said in [
        (work.document().replace(PLACE, "https://shop-releases/claims/"), "is not a prefix in S3"),
        (work.document().replace(PLACE, "s3://shop-releases/claims"), "is not a prefix in S3"),
        (work.document().replace(PLACE, "s3://shop-releases/{{instance.id}}/"), "`claims` cannot refer to instance.id"),
        (work.document(release_sha256=""), "says `once: release`, which needs `values.release_sha256`"),
        (work.document().replace('"claims"', '"values_"', 1), "values_"),
    ]:
        result = agent.boot(text)
        assert result.code == BAD_DOCUMENT and said in result.stderr, result
    assert work.begun == 0 and aws.count() == 0


def test_the_time_of_a_step_bounds_the_wait(fleet, work):
    holder, other = fleet(2)
    running = holder.start_boot(work.document())
    until("it runs", lambda: work.begun, running)
    text = json.loads(work.document().removeprefix("#ingot\n"))
    text["commands"]["migrate"]["timeout"] = "3s"
    result = other.boot("#ingot\n" + json.dumps(text))
    failure = result.failure("commands.migrate")
    assert result.code == FAILED and f"{name(0)} still holds the claim {PLACE}once/" in failure, result
    work.let()
    assert running.wait().code == DONE
