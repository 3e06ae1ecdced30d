#!/usr/bin/env python3
"""What `ingot drain` costs while it watches, beside a process that a timer starts for each look.

    .venv/bin/python tests/bench/drain.py [-n SECONDS] [--json]

It watches a metadata service in which nothing happens. After a minute of settling, n seconds are measured: its memory by
/proc/PID/smaps_rollup, ten times a second; wake-ups, which are times at which a sleeping process ran, however long and in
however many turns; and its CPU time. Beside it, what a timer that fires every 5 seconds would run: the same program from exec
to the answers of its first look, and a shell script with curl. What systemd itself does to start a unit comes on top of those
two and is not counted.

Prints two Markdown tables, and what is missed of what it is to keep:

    less than 3 MB resident, at rest (the median)
    one wake-up in 5 seconds

Exits with 1 if anything is missed.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import binary, until  # noqa: E402
from harness.aws.imds import Imds  # noqa: E402

MEMORY_MB, LOOK_EVERY = 3, 5
SETTLED, SAMPLES, LOOKS = 60, 10, 20
STATE = "/latest/meta-data/autoscaling/target-lifecycle-state"
NOTICE = "/latest/meta-data/spot/instance-action"
SETTINGS = {"address": "drains.leave", "record": "i-0abc123def4567890", "hook": None, "grace_ms": 120_000}
SETTINGS |= {"deregistration_ms": 30_000, "targets": [], "spot": True, "rebalance": False, "serving": [], "evidence": []}
CURL = """
imds=$AWS_EC2_METADATA_SERVICE_ENDPOINT
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$imds/latest/api/token")
for path in autoscaling/target-lifecycle-state spot/instance-action
do curl -s -o /dev/null -H "X-aws-ec2-metadata-token: $token" "$imds/latest/meta-data/$path"
done
"""


def memory(pid: int) -> dict[str, float]:
    """Megabytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    known = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines}
    return {"resident": known["Rss"], "proportional": known["Pss"], "of its own": known["Anonymous"]}


def switches(pid: int) -> int:
    """How often its threads have gone to sleep."""
    statuses = [path.read_text().splitlines() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(line.split()[1]) for status in statuses for line in status if line.startswith("voluntary_ctxt"))


def cpu(pid: int) -> float:
    """Seconds, by the scheduler's own clock: ticks are too coarse."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def watching(command: list[str], env: dict[str, str], imds: Imds, seconds: int) -> dict:
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(SETTLED)
        imds.forget()
        begun, slept, used, woken, found = time.monotonic(), switches(process.pid), cpu(process.pid), 0, []
        known = slept
        while time.monotonic() - begun < seconds:
            time.sleep(1 / SAMPLES)
            found.append(memory(process.pid))
            now = switches(process.pid)
            woken, known = woken + (now != known), now
        took, used, slept = time.monotonic() - begun, cpu(process.pid) - used, known - slept
        looks = len(imds.requests("GET", STATE))
        at_rest = {f"{name}_mb": statistics.median(each[name] for each in found) for name in found[0]}
        return {
            **{name.replace(" ", "_"): figure for name, figure in at_rest.items()},
            "most_resident_mb": max(each["resident"] for each in found),
            "threads": len(list(Path(f"/proc/{process.pid}/task").iterdir())),
            "wakeups_each_5s": woken * LOOK_EVERY / took,
            "switches_each_look": slept / looks,
            "cpu_ms_each_look": 1e3 * used / looks,
            "cpu_s_an_hour": 3600 * used / took,
        }
    finally:
        process.kill()
        process.wait()


def starting(command: list[str], env: dict[str, str], imds: Imds) -> dict:
    """What it costs to start a process for each look."""
    used = []
    for _ in range(LOOKS):
        imds.forget()
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("a look", lambda: {STATE, NOTICE} <= {request["path"] for request in imds.requests("GET")})
        # `Popen.kill` would wait for one that has ended, and take what it has used with it.
        os.kill(process.pid, signal.SIGKILL)
        _, process.returncode, usage = os.wait4(process.pid, 0)
        used.append(usage.ru_utime + usage.ru_stime)
    mean = statistics.mean(used)
    return {"cpu_ms_each_look": 1e3 * mean, "cpu_s_an_hour": mean * 3600 / LOOK_EVERY}


def run(program: Path, seconds: int) -> dict[str, dict]:
    with Imds(lifecycle="InService") as imds, tempfile.TemporaryDirectory() as directory:
        settings = Path(directory, "run/ingot/drain.json")
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(SETTINGS))
        env = {"PATH": os.environ["PATH"], **imds.env}
        command = [str(program), "drain", "--root", directory]
        found = {"a process that stays": watching(command, env, imds, seconds)}
        found["ingot, started for each look"] = starting(command, env, imds)
        found["curl, started for each look"] = starting(["sh", "-c", CURL], env, imds)
        return found


def missed(stays: dict) -> list[str]:
    kept = {
        f"{stays['resident_mb']:.1f} MB resident": stays["resident_mb"] < MEMORY_MB,
        f"{stays['wakeups_each_5s']:.2f} wake-ups in 5 s": stays["wakeups_each_5s"] < 1.1,
    }
    return [what for what, is_kept in kept.items() if not is_kept]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=120, help="seconds to measure")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    program = binary()
    if program is None:
        raise SystemExit("no ingot: build it with `cargo dist`")
    found = run(program, arguments.n)
    stays = found["a process that stays"]
    if arguments.json:
        print(json.dumps(found))
    else:
        print("| resident, MB | proportional, MB | its own, MB | most, MB | threads | wake-ups in 5 s | turns each look |")
        print("|---|---|---|---|---|---|---|")
        sizes = " | ".join(f"{stays[f'{name}_mb']:.1f}" for name in ("resident", "proportional", "of_its_own", "most_resident"))
        print(f"| {sizes} | {stays['threads']} | {stays['wakeups_each_5s']:.2f} | {stays['switches_each_look']:.1f} |")
        print("\n| | CPU each look, ms | CPU an hour, s |")
        print("|---|---|---|")
        for name, row in found.items():
            print(f"| {name} | {row['cpu_ms_each_look']:.1f} | {row['cpu_s_an_hour']:.1f} |")
    if why := missed(stays):
        raise SystemExit(f"missed: {'; '.join(why)}")


if __name__ == "__main__":
    main()
