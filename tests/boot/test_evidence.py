"""Evidence of a boot in S3: before anybody is told of a failure, complete at the end, and of bounded time and size."""

import json
import re
import signal
import subprocess
import time

import pytest
from harness.agent import BAD_DOCUMENT, DONE, FAILED, document, until, waits_for
from harness.aws.account import INSTANCE
from harness.aws.waiting import SIGNALS, waits_for_instance

BUCKET = "shop-evidence"
BAD = {"a": {"run": ["/bin/sh", "-c", "echo no good; exit 3"]}}
KEY = rf"shop/prod/\d{{4}}/\d\d/\d\d/\d{{6}}Z-{INSTANCE}-[0-9a-f]{{32}}-serve\.json\.zst"


def signals(bucket: str = BUCKET, **more) -> dict:
    return {"evidence": {"s3": f"s3://{bucket}/shop/prod/", **more}, **SIGNALS}


@pytest.fixture
def watched(agent, aws, imds):
    """ingot on an instance for which a stack and a hook wait, and a bucket for evidence."""
    waits_for_instance(aws, imds)
    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return agent


def kept(aws) -> dict[str, tuple[int, dict]]:
    """How long each object is, and what it holds, by key."""
    s3, found = aws.client("s3"), {}
    for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        packed = s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()
        unpacked = subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout
        found[one["Key"]] = len(packed), json.loads(unpacked)
    return found


def order(aws) -> list[str]:
    """What was told, in order."""
    names = ("PutObject", "SignalResource", "CompleteLifecycleAction")
    return [call["operation"] for call in sorted(aws.calls(), key=lambda call: call["time"]) if call["operation"] in names]


def test_a_failure_leaves_it_before_the_first_signal_and_again_at_the_end(watched, aws):
    result = watched.boot(document(signals=signals(logs=["no-such-unit.service"]), commands=BAD))
    assert result.code == FAILED and aws.statuses() == ["FAILURE"] and aws.results() == ["ABANDON"], result
    told = order(aws)
    assert told[0] == told[-1] == "PutObject" and told.count("PutObject") == 2, told
    [(key, (_, evidence))] = kept(aws).items()
    assert re.fullmatch(KEY, key), key
    assert (evidence["version"], evidence["moment"]) == (1, "end")
    assert evidence["reason"].startswith("commands.a: /bin/sh exited with 3") and "no good" in evidence["reason"]
    assert evidence["journal"] == {"no-such-unit.service": []} and evidence["journal_is_cut"] is False
    assert evidence["journal_left_out"] is None
    # It is the report as it is on the machine, its times of systemd apart.
    assert evidence["report"] == result.report
    assert result.step("signals.evidence")["changes"] == [f"write the evidence of this boot to s3://{BUCKET}/{key}"]


def test_what_is_there_before_the_signals_names_the_failure(watched, aws):
    aws.fault("hang", operation="SignalResource")
    aws.fault("hang", operation="CompleteLifecycleAction")
    running = watched.start_boot(document(signals=signals(), commands=BAD))
    until("signals", lambda: {"SignalResource", "CompleteLifecycleAction"} <= set(order(aws)), running)
    [(_, (_, evidence))] = kept(aws).items()
    running.kill()
    assert (evidence["moment"], evidence["report"]["outcome"]) == ("failure", "running")
    [step] = [step for step in evidence["report"]["steps"] if step["address"] == "commands.a"]
    assert step["error"]["message"] == "/bin/sh exited with 3"


def test_a_bucket_that_never_answers_delays_signals_by_less_than_six_seconds(watched, aws, tmp_path):
    failing = tmp_path / "failing"
    aws.fault("hang", operation="PutObject")
    running = watched.start_boot(document(signals=signals(), commands={"a": {"run": ["/bin/sh", "-c", f"touch {failing}; exit 1"]}}))
    until("the failure", failing.exists, running)
    began = time.monotonic()
    until("an end", lambda: aws.results() == ["ABANDON"] and aws.statuses() == ["FAILURE"], running)
    assert 4 < time.monotonic() - began < 6
    running.kill()


def test_nor_where_a_hook_is_known_to_last(watched, aws, tmp_path):
    """S3 that answers nothing and takes nothing is a black hole, however long the hook waits."""
    fail, failing = tmp_path / "fail", tmp_path / "failing"
    aws.fault("hang", operation="PutObject")
    run = ["/bin/sh", "-c", f"until [ -e {fail} ]; do sleep 0.05; done; touch {failing}; exit 1"]
    running = watched.start_boot(document(signals=signals(), commands={"a": {"run": run}}))
    until("a heartbeat", lambda: aws.count("RecordLifecycleActionHeartbeat") > 0, running)
    time.sleep(0.5)  # The heartbeat is answered.
    fail.touch()
    until("the failure", failing.exists, running)
    began = time.monotonic()
    until("an end", lambda: aws.results() == ["ABANDON"] and aws.statuses() == ["FAILURE"], running)
    assert 4 < time.monotonic() - began < 6
    running.kill()


def test_two_with_one_prefix_are_a_mistake(watched):
    both = {**signals(), "again": {"s3": f"s3://{BUCKET}/shop/prod"}}
    result = watched.boot(document(signals=both))
    assert result.code == BAD_DOCUMENT, result
    assert "signals.evidence writes its evidence to the same key as signals.again" in result.stderr, result


def test_of_secrets_that_were_not_read_no_journal_is_kept(watched, aws):
    aws.fault("denied", operation="GetSecretValue")
    aws.fault("denied", operation="BatchGetSecretValue")
    result = watched.boot(document(signals=signals(logs=["no-such-unit.service"]), secrets={"db": {"secrets_manager": "prod/db"}}))
    assert result.code == FAILED, result
    [(_, (_, evidence))] = kept(aws).items()
    assert (evidence["journal"], evidence["journal_is_cut"]) == ({}, True)
    assert evidence["journal_left_out"] == "secrets.db was not read"


def test_a_denied_bucket_is_named_and_delays_nobody(watched, aws):
    aws.fault("denied", operation="PutObject")
    result = watched.boot(document(signals=signals(), commands=BAD))
    assert result.code == FAILED and aws.results() == ["ABANDON"], result
    assert f"allow s3:PutObject on arn:aws:s3:::{BUCKET}/shop/prod/" in result.failure("signals.evidence")


def test_a_bucket_that_is_not_there(watched, aws):
    result = watched.boot(document(signals=signals("no-such-bucket"), commands=BAD))
    assert result.code == FAILED and aws.results() == ["ABANDON"], result
    assert "correct the bucket's name in the document" in result.failure("signals.evidence")


def test_a_bucket_of_another_region_is_written_to_there(watched, aws):
    aws.fault("error", operation="PutObject", times=1, type="PermanentRedirect", status=301, headers={"x-amz-bucket-region": "eu-west-1"})
    result = watched.boot(document(signals=signals(), commands=BAD))
    assert result.code == FAILED, result
    assert [call["region"] for call in aws.calls("PutObject")] == ["eu-central-1", "eu-west-1", "eu-west-1"]
    assert len(kept(aws)) == 1


@pytest.mark.parametrize("fault", ["throttled", "unavailable", "internal", "reset", "truncate"])
def test_it_is_written_until_it_is_taken(watched, aws, fault):
    aws.fault(fault, operation="PutObject", times=2)
    result = watched.boot(document(signals=signals(), commands=BAD))
    assert result.code == FAILED and len(kept(aws)) == 1 and aws.results() == ["ABANDON"], result
    assert result.step("signals.evidence")["outcome"] == "changed"


@pytest.mark.parametrize("operation, number", [("PutObject", 0), ("PutObject", 1), ("SignalResource", 0), ("CompleteLifecycleAction", 0)])
@pytest.mark.parametrize("fault", ["hang", "trickle"], ids=["not-carried-out", "carried-out"])
def test_killed_at_any_exchange_the_next_boot_tells(watched, aws, operation, number, fault):
    aws.fault(fault, operation=operation, after=number, times=1, **({"bytes_per_second": 1} if fault == "trickle" else {}))
    running = watched.start_boot(document(signals=signals(), commands=BAD))
    until("the call", lambda: aws.count(operation) > number, running)
    running.kill()
    running.wait()
    result = watched.boot(document(signals=signals(), commands=BAD))
    assert result.code == FAILED and set(aws.results()) == {"ABANDON"} and set(aws.statuses()) == {"FAILURE"}, result
    assert {evidence["moment"] for _, evidence in kept(aws).values()} >= {"end"}


def test_a_mistake_in_the_document_leaves_it_too(watched, aws, imds):
    imds.configure(user_data=document(signals=signals(), files={"/etc/a": {"contents": "x"}}))
    result = watched.boot()
    assert result.code == BAD_DOCUMENT and aws.results() == ["ABANDON"], result
    assert order(aws)[0] == "PutObject"
    [(_, (_, evidence))] = kept(aws).items()
    assert "unknown key `contents`" in evidence["reason"] and evidence["report"]["error"]["message"] == "the boot document has a mistake"


def test_a_good_boot_leaves_two_kilobytes_and_only_if_asked(watched, aws):
    aws.secret("prod/db", {"user": "shop", "password": "hunter2-correct-horse"})
    sections = {
        "secrets": {"db": {"secrets_manager": "prod/db"}},
        "files": {f"/etc/shop/{name}.conf": {"content": f"{name} {{{{instance.id}}}} {{{{secrets.db.user}}}}"} for name in "abcdef"},
        "commands": {name: {"run": ["/bin/true"]} for name in ("migrate", "register")},
    }
    assert watched.boot(document(signals=signals(), **sections)).code == DONE
    assert aws.count("PutObject") == 0
    assert watched.boot(document(signals=signals(on="always"), **sections)).code == DONE
    [(_, (length, evidence))] = kept(aws).items()
    assert evidence["report"]["outcome"] == "done" and evidence["report"]["exchanges"] and evidence["journal"] == {}
    assert length <= 2048, length


# Units that print a lot of what does not pack, and one that prints ten lines.
JOURNAL = r"""#!/bin/sh
case "$*" in
    *--sync*) ;;
    *quiet.service*) for n in 9 8 7 6 5 4 3 2 1 0; do echo "2026-12-01T00:00:00 quiet[2]: line $n"; done ;;
    *) head -c 1300000 /dev/urandom | base64 -w 100 | sed 's/^/2026-12-01T00:00:00 loud[1]: /' ;;
esac
"""


def test_a_unit_that_prints_a_lot_takes_neither_time_nor_room_of_others(watched, aws, tmp_path):
    """The lines of a unit were cleaned once those of the one before were, and halved as often."""
    journalctl = tmp_path / "journalctl"
    journalctl.write_text(JOURNAL)
    journalctl.chmod(0o755)
    prefix = ["unshare", "--mount", "sh", "-c", f'mount --bind {journalctl} /usr/bin/journalctl && exec "$0" "$@"']
    # Time is up before all of that is looked through.
    aws.secret("prod/many", {f"key{number}": f"value-{number:05}-of-a-secret" for number in range(400)})
    text = document(
        signals=signals(logs=["loud-1.service", "loud-2.service", "quiet.service"]),
        secrets={"many": {"secrets_manager": "prod/many"}},
        commands={"a": {"run": ["/bin/false"], "environment": {"KEY": "{{secrets.many.key1}}"}}},
    )
    result = watched.boot(text, prefix=prefix)
    assert result.code == FAILED, result
    [(_, (length, evidence))] = kept(aws).items()
    lines = {unit: len(lines) for unit, lines in evidence["journal"].items()}
    assert evidence["journal"]["quiet.service"] == [f"2026-12-01T00:00:00 quiet[2]: line {n}" for n in range(10)], lines
    # How many lines are cleaned in time is up to the machine.
    assert length <= 1 << 20 and evidence["journal_is_cut"] and lines["loud-2.service"] >= 50, lines
    assert abs(lines["loud-1.service"] - lines["loud-2.service"]) <= 50, lines


def test_analyze_reads_it(watched, aws, tmp_path):
    assert watched.boot(document(signals=signals(), commands=BAD)).code == FAILED
    [key] = kept(aws)
    packed = aws.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    (tmp_path / "evidence.json.zst").write_bytes(packed)
    blamed = watched.run("analyze", "blame", str(tmp_path / "evidence.json.zst"))
    assert blamed.code == DONE and "commands.a" in blamed.stdout, blamed


def test_no_secret_is_in_it(watched, aws):
    secret = "hunter2-correct-horse"
    aws.secret("prod/db", secret)
    commands = {"a": {"run": ["/bin/sh", "-c", "echo $1; exit 3", "sh", "{{secrets.db}}"]}}
    result = watched.boot(document(secrets={"db": {"secrets_manager": "prod/db"}}, signals=signals(), commands=commands))
    assert result.code == FAILED, result
    [(_, (_, evidence))] = kept(aws).items()
    assert "[redacted]" in evidence["reason"] and secret not in json.dumps(evidence)


def test_a_boot_that_is_asked_to_end_leaves_none(watched, aws, tmp_path):
    running = watched.start_boot(document(signals=signals(on="always"), commands={"slow": {"run": waits_for(tmp_path / "never")}}))
    assert running.wait_for_line("commands.slow: run"), running.lines
    running.process.send_signal(signal.SIGTERM)
    assert running.wait().code == FAILED
    assert aws.count("PutObject") == 0
