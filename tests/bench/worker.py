#!/usr/bin/env python3
"""Messages a second and CPU time for each, of `ingot worker`, of the bare loop (`worker.rs`) and of a daemon with boto3.

    .venv/bin/python tests/bench/worker.py [-n MESSAGES] [--json]

All three take messages of 500 bytes from the same queue and post them to an application that answers at once, at 1, 10 and
50 connections. Prints a Markdown table: messages a second, CPU time for each, most memory, and the time from "in the queue"
to "at the application" of single messages, median of 50; the last column says what ingot misses of what it is to keep:

    at most 1.5 times the CPU time of the bare loop, and a tenth of that of boto3
    less than 12 MB at 50 connections
    at most 5 ms longer than the bare loop from the queue to the application

Exits with 1 if anything is missed.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import binary  # noqa: E402
from harness.aws.sqs import Sqs  # noqa: E402
from harness.host.handler import Handler  # noqa: E402

CONNECTIONS = (1, 10, 50)
OF_FLOOR, OF_BOTO3, MEMORY_MB, LATER_MS = 1.5, 0.1, 12, 5

# What the protocol asks for, and no more: no visibility is extended, nothing is given back.
BOTO3 = """
import sys, urllib.request, boto3
from concurrent.futures import ThreadPoolExecutor
sqs = boto3.client("sqs", region_name="eu-central-1", endpoint_url=sys.argv[1])
url, application, connections = sys.argv[3], sys.argv[2], int(sys.argv[4])
pool = ThreadPoolExecutor(connections)
NAMES = {"First-Received-At": "ApproximateFirstReceiveTimestamp", "Receive-Count": "ApproximateReceiveCount", "Sender-Id": "SenderId"}

def handle(message):
    headers = {"User-Agent": "aws-sqsd/3.0", "Content-Type": "application/json", "X-Aws-Sqsd-Msgid": message["MessageId"]}
    headers |= {f"X-Aws-Sqsd-{name}": message["Attributes"][key] for name, key in NAMES.items()}
    headers |= {f"X-Aws-Sqsd-Attr-{name}": said["StringValue"] for name, said in message.get("MessageAttributes", {}).items()}
    with urllib.request.urlopen(urllib.request.Request(application, message["Body"].encode(), headers)) as answer:
        return answer.status == 200

asked = {"QueueUrl": url, "MaxNumberOfMessages": min(10, connections), "WaitTimeSeconds": 20, "VisibilityTimeout": 300}
asked |= {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
while True:
    messages = sqs.receive_message(**asked).get("Messages", [])
    handled = list(pool.map(handle, messages))
    entries = [{"Id": str(at), "ReceiptHandle": m["ReceiptHandle"]} for at, (m, ok) in enumerate(zip(messages, handled)) if ok]
    if entries:
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
"""


class Line:
    """A queue, and the application that its messages go to."""

    def __init__(self, sqs: Sqs, handler: Handler):
        self.sqs, self.handler = sqs, handler
        self.url = sqs.make("bench", dead="dead")

    def send(self, count: int) -> None:
        sent = self.sqs.counts("bench")["sent"]
        self.sqs.fill("bench", [f"{sent + n:07}" + "x" * 493 for n in range(count)])

    def wait(self) -> None:
        while self.sqs.counts("bench")["left"]:
            time.sleep(0.01)

    def latency(self) -> float:
        """Seconds from "in the queue" to "at the application" of one message, by the clock that both have."""
        self.send(1)
        self.wait()
        return self.handler.notes()[-1].at - self.sqs.counts("bench")["sent_at"]


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6


def measured(line: Line, command: list[str], env: dict[str, str], messages: int) -> dict:
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        # The first ones find the queue, and fill caches.
        line.send(100)
        line.wait()
        before, begun = cpu(process.pid), time.monotonic()
        line.send(messages)
        line.wait()
        took, used = time.monotonic() - begun, cpu(process.pid) - before
        latencies = []
        for _ in range(50):
            time.sleep(0.15)
            latencies.append(line.latency())
        return {
            "per_second": messages / took,
            "cpu_us": 1e6 * used / messages,
            "memory_mb": memory(process.pid),
            "latency_ms": 1e3 * statistics.median(latencies),
        }
    finally:
        process.kill()
        process.wait()


def missed(rows: dict[str, dict], connections: int) -> list[str]:
    """What ingot does not keep."""
    floor, ingot, boto3 = rows["floor"], rows["ingot"], rows["boto3"]
    kept = {
        f"{ingot['cpu_us'] / floor['cpu_us']:.2f} × the floor's CPU": ingot["cpu_us"] <= OF_FLOOR * floor["cpu_us"],
        f"{boto3['cpu_us'] / ingot['cpu_us']:.1f} × less than boto3": ingot["cpu_us"] <= OF_BOTO3 * boto3["cpu_us"],
        f"{ingot['memory_mb']:.1f} MB": connections < 50 or ingot["memory_mb"] < MEMORY_MB,
        f"{ingot['latency_ms'] - floor['latency_ms']:.1f} ms later": ingot["latency_ms"] <= floor["latency_ms"] + LATER_MS,
    }
    return [what for what, is_kept in kept.items() if not is_kept]


def run(program: Path, messages: int) -> list[dict]:
    found = []
    with tempfile.TemporaryDirectory() as directory, Sqs(plain=True) as sqs, Handler(Path(directory)) as handler:
        line = Line(sqs, handler)
        floor = f"{directory}/worker"
        subprocess.run(["rustc", "--edition=2024", "-O", "-o", floor, Path(__file__).with_name("worker.rs")], check=True)
        at, to = sqs.env["AWS_ENDPOINT_URL_SQS"], f"http://127.0.0.1:{handler.port}"
        keys = {"AWS_ACCESS_KEY_ID": "AKIACALLER", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_REGION": "eu-central-1", "HOME": directory}
        env = {"PATH": os.environ["PATH"], **sqs.env, **keys}
        for connections in CONNECTIONS:
            document = Path(directory, "boot.yaml")
            worker = {"queue": "bench", "to": to, "concurrency": connections}
            document.write_text("#ingot\n" + json.dumps({"version": 1, "workers": {"jobs": worker}}))
            sides = {
                "floor": [floor, at.removeprefix("http://"), to.removeprefix("http://"), str(connections)],
                "ingot": [str(program), "worker", "jobs", "--user-data", str(document), "--root", directory],
                "boto3": [sys.executable, "-c", BOTO3, at, to, line.url, str(connections)],
            }
            counts = {"floor": messages, "ingot": messages, "boto3": messages // 5}
            rows = {side: measured(line, command, env, counts[side]) for side, command in sides.items()}
            rows["ingot"]["missed"] = missed(rows, connections)
            found += [{"connections": connections, "side": side, **row} for side, row in rows.items()]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=5000, help="messages of each run")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    program = binary()
    if program is None:
        raise SystemExit("no ingot: build it with `cargo dist`")
    found = run(program, arguments.n)
    if arguments.json:
        print(json.dumps(found))
    else:
        print("| connections | | messages/s | CPU each, µs | memory, MB | in the queue → at the application, ms | misses |")
        print("|---|---|---|---|---|---|---|")
        for row in found:
            figures = f"{row['per_second']:.0f} | {row['cpu_us']:.0f} | {row['memory_mb']:.1f} | {row['latency_ms']:.1f}"
            print(f"| {row['connections']} | {row['side']} | {figures} | {'; '.join(row.get('missed', []))} |")
    if any(row.get("missed") for row in found):
        raise SystemExit(1)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    main()
