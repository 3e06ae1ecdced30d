#!/usr/bin/env python3
"""A release of 200 MB, fetched, verified and unpacked: by `ingot boot`, and by `curl | tar`.

    .venv/bin/python tests/bench/bundle.py [-n REPETITIONS] [--megabytes SIZE]

Both fetch from the same server on loopback, into the same filesystem, and take turns. Half of the content cannot be
compressed, half is like text. ingot speaks to the server as to S3, by ranges, and checks the digest; curl does not
check anything, and of tar and unzip nothing is asked to be on disk at the end. Beside ingot's time, which includes that
of a whole boot, stands that of curl with `sync -f` behind it, which is what ingot waits for, too.

- *curl*: `curl | gzip -dc | tar -x`, `curl | zstd -dc | tar -x`; `curl -o` and `unzip` for a zip
- *peak*: the most memory resident, of ingot, and of the largest of the other side's processes

Prints a Markdown table of medians.
"""

import argparse
import hashlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import Agent, binary, document, peak_memory  # noqa: E402
from harness.aws.imds import Imds  # noqa: E402
from harness.host import archives  # noqa: E402

SERVER = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from harness.aws.store import Store
with Store() as store:
    store.check = lambda request: None
    for path in sys.argv[2:]: store.put("shop/" + Path(path).name, Path(path))
    print(store.url, flush=True); sys.stdin.read()
"""

UNPACK = {
    "tar.gz": "curl -sf {url} | gzip -dc | tar -xC {into}",
    "tar.zst": "curl -sf {url} | zstd -qdc | tar -xC {into}",
    "zip": "curl -sf -o {into}/a.zip {url} && unzip -q {into}/a.zip -d {into} && rm {into}/a.zip",
}


def timed(command: list[str], env: dict, stdin: bytes | None = None) -> float:
    begun = time.monotonic()
    subprocess.run(command, env=env, input=stdin, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Imds() as imds:
        directory = Path(directory)
        paths = {format: archives.large(directory, format, arguments.megabytes) for format in UNPACK}
        # Not among our own threads: they would take turns with the server.
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(Path(__file__).resolve().parents[1]), *map(str, paths.values())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        url = server.stdout.readline().strip()
        print(f"{binary()}: {arguments.n} times each, medians\n")
        print("| archive | MB | ingot | curl | curl, sync | ingot / curl | ingot / curl, sync | peak of ingot | peak of curl |")
        print("|---|---|---|---|---|---|---|---|---|")
        for format, path in paths.items():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            text = document(bundles={"app": {"s3": f"s3://shop/{path.name}", "sha256": digest, "into": "/opt/shop"}}).encode()
            times: dict[str, list[float]] = {"ingot": [], "curl": [], "sync": []}
            peaks: dict[str, list[int]] = {"ingot": [], "curl": []}
            for turn in range(arguments.n + 1):
                for side in ("ingot", "curl", "sync"):
                    into = directory / "into"
                    into.mkdir()
                    subprocess.run(["sync"], check=True)
                    agent = Agent(into, {**imds.env, "AWS_ENDPOINT_URL_S3": url})
                    boot = [str(binary()), *agent.boot_args(text)]
                    shell = UNPACK[format].format(url=f"{url}/shop/{path.name}", into=into)
                    if side == "sync":
                        shell += f" && sync -f {into}"
                    if turn == 0 and side != "sync":
                        command = boot if side == "ingot" else ["sh", "-c", shell]
                        peaks[side].append(peak_memory(command, agent.env, text))
                    elif turn:
                        command, stdin = (boot, text) if side == "ingot" else (["sh", "-c", shell], None)
                        times[side].append(timed(command, agent.env, stdin))
                    shutil.rmtree(into)
            ingot, curl, sync = (statistics.median(times[side]) for side in ("ingot", "curl", "sync"))
            peak = [f"{peaks[side][0] / 1024:.0f} MiB" for side in ("ingot", "curl")]
            size = path.stat().st_size / 1e6
            print(
                f"| {format} | {size:.0f} | {ingot:.2f} s | {curl:.2f} s | {sync:.2f} s "
                f"| {ingot / curl:.2f} | {ingot / sync:.2f} | {peak[0]} | {peak[1]} |"
            )
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main()
