#!/usr/bin/env python3
"""One task, done by ingot and by what people use today, in turns, in one container with a real systemd.

    .venv/bin/python tests/bench/peers.py [-n REPETITIONS] [--picture FILE]

The task: user data from IMDS; 20 secrets and 10 parameters; 20 files; 2 services started. Sides: a shell script with the AWS
CLI, all its calls at once; the same as user data of Debian's cloud-init; a script with boto3, in threads; and Ignition for
what it can do, user data and files, beside ingot doing just that. Every side has to leave the same files. Time is wall time
inside the container, from exec to exit; memory is the most that one process had resident. Prints a Markdown table, and draws
it as an SVG.
"""

import argparse
import json
import math
import os
import platform
import statistics
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.first_boot import FILES, PARAMETERS, SCRIPT_TAIL, SECRETS, document  # noqa: E402
from harness.agent import LAUNCHER  # noqa: E402
from harness.host import container  # noqa: E402

# Of the first kind, systemd knows when they are up, as of nginx. Those of the second say nothing of themselves: ingot
# looks at such a unit once more a tenth of a second after its start, which nobody else does.
SERVICES = ("bench-a.service", "bench-b.service")
SILENT = ("bench-c.service", "bench-d.service")
UNIT = "[Service]\nType=forking\nExecStart=/bin/sh -c 'sleep infinity &'\n"
SILENT_UNIT = "[Service]\nExecStart=/usr/bin/sleep infinity\n"


def with_services(services: tuple[str, ...]) -> str:
    return document() + "services: {" + ", ".join(f"{service}: {{}}" for service in services) + "}\n"



# Debian's AWS CLI knows neither AWS_ENDPOINT_URL nor batch-get-secret-value: one process a secret, but all at once.
SCRIPT = (
    r"""#!/bin/bash
set -euo pipefail
umask 077
imds=http://169.254.169.254 SECRETS=@SECRETS@ PARAMETERS=@PARAMETERS@ FILES=@FILES@ ROOT=
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$imds/latest/api/token")
get() { curl -sf -H "X-aws-ec2-metadata-token: $token" "$imds/latest/meta-data/$1"; }
id=$(get instance-id)
AWS_DEFAULT_REGION=$(get placement/region)
export AWS_DEFAULT_REGION
aws() { command aws --endpoint-url @AWS@ "$@"; }
declare -A value
mkdir -p /run/bench && cd /run/bench
for i in $(seq 0 $((SECRETS - 1))); do
  aws secretsmanager get-secret-value --secret-id "bench/s$i" --query SecretString --output text >"s$i" &
done
aws ssm get-parameters --with-decryption --names $(seq -f /bench/p%g 0 $((PARAMETERS - 1))) \
  --query 'Parameters[].[Name,Value]' --output text >parameters &
wait
for i in $(seq 0 $((SECRETS - 1))); do value[s$i]=$(<"s$i"); done
while read -r name text; do value[${name#/bench/}]=$text; done <parameters
"""
    + SCRIPT_TAIL
    + "systemctl start @SERVICES@\n"
)

BOTO3 = """import concurrent.futures, os, subprocess, urllib.request
import boto3

def imds(path, method="GET", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request("http://169.254.169.254/latest/" + path, method=method, headers=headers)
    return urllib.request.urlopen(request).read().decode()

token = imds("api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="300")
identity = imds("meta-data/instance-id", X_aws_ec2_metadata_token=token)
region = imds("meta-data/placement/region", X_aws_ec2_metadata_token=token)
session = boto3.Session(region_name=region)
secrets = session.client("secretsmanager", endpoint_url="@AWS@")
parameters = session.client("ssm", endpoint_url="@AWS@")
with concurrent.futures.ThreadPoolExecutor(10) as pool:
    names = [f"/bench/p{i}" for i in range(@PARAMETERS@)]
    found = pool.submit(parameters.get_parameters, Names=names, WithDecryption=True)
    values = list(pool.map(lambda i: secrets.get_secret_value(SecretId=f"bench/s{i}")["SecretString"], range(@SECRETS@)))
    of = {each["Name"]: each["Value"] for each in found.result()["Parameters"]}
os.umask(0o077)
os.makedirs("/etc/bench", exist_ok=True)
for i in range(@FILES@):
    with open(f"/etc/bench/f{i}", "w") as file:
        secret, parameter = values[i % @SECRETS@], of[names[i % @PARAMETERS@]]
        file.write(f"instance = {identity}\\nsecret = {secret}\\nparameter = {parameter}\\n")
subprocess.run(["systemctl", "start", *"@SERVICES@".split()], check=True)
"""

CLOUD_INIT = " && ".join(
    f"cloud-init {stage}" for stage in ("init --local", "init", "modules --mode=config", "modules --mode=final")
)


def plain(i: int) -> str:
    return f"file {i}\n" * 3


def only_files() -> str:
    lines = [f"  /etc/bench/f{i}: {{ content: {json.dumps(plain(i))}, mode: '0600' }}" for i in range(FILES)]
    return "\n".join(["#ingot", "version: 1", "files:", *lines, ""])


def ignition() -> str:
    def file(i: int) -> dict:
        return {"path": f"/etc/bench/f{i}", "mode": 0o600, "contents": {"source": "data:," + quote(plain(i))}}

    return json.dumps({"ignition": {"version": "3.3.0"}, "storage": {"files": [file(i) for i in range(FILES)]}})


class Bench(container.Machine):
    packages = "awscli,python3-boto3,ignition"


@dataclass
class Side:
    name: str
    command: str
    user_data: str
    rival: str = ""  # the side it is compared with
    services: tuple[str, ...] = SERVICES
    seconds: list[float] = field(default_factory=list)
    memory: int = 0
    files: dict[str, str] = field(default_factory=dict)

    def run(self, machine: Bench, launcher: str = "") -> None:
        machine.imds.configure(user_data=self.user_data, allow_v1=True)
        machine.imds.forget()
        left = "/etc/bench /run/bench /run/ingot /var/lib/ingot /run/ignition.json /var/lib/cloud /run/cloud-init"
        machine.shell(f"systemctl stop {' '.join(SERVICES + SILENT)}; rm -rf {left}")
        machine.write("/opt/side", f"#!/bin/bash\n{self.command}\n", 0o755)
        script = f"b=$EPOCHREALTIME; {launcher} /opt/side >/run/out 2>&1; c=$?; e=$EPOCHREALTIME; echo $c $b $e"
        code, begun, ended = machine.run("bash", "-c", script, timeout=300).stdout.split()
        if code != "0":
            raise SystemExit(f"{self.name}: exit code {code}\n{machine.shell('cat /run/out').stdout}")
        if launcher:
            ended_with, memory = machine.shell("tail -n 1 /run/out").stdout.split()
            assert ended_with == "0", machine.shell("cat /run/out").stdout
            self.memory = int(memory)
        else:
            self.seconds.append(float(ended) - float(begun))
        listed = machine.shell('cd /etc/bench && for f in *; do echo "== $f"; cat $f; done').stdout
        self.files = dict(part.split("\n", 1) for part in listed.split("== ")[1:])
        assert len(self.files) == FILES, f"{self.name} left {len(self.files)} files\n{machine.shell('cat /run/out').stdout}"
        if self.services:
            active = machine.run("systemctl", "is-active", *self.services).stdout.split()
            assert active == ["active"] * len(self.services), f"{self.name}: {active}"


def filled(text: str, aws: str) -> str:
    fields = {"AWS": aws, "SECRETS": SECRETS, "PARAMETERS": PARAMETERS, "FILES": FILES, "SERVICES": " ".join(SERVICES)}
    for name, value in fields.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def sides(aws: str) -> list[Side]:
    script, boto3 = filled(SCRIPT, aws), filled(BOTO3, aws)
    fetch = "/usr/lib/dracut/modules.d/30ignition/ignition -platform=aws -config-cache=/run/ignition.json -root=/ -stage="
    return [
        Side("ingot", f"AWS_ENDPOINT_URL={aws} exec ingot boot", with_services(SERVICES)),
        Side("ingot, silent services", f"AWS_ENDPOINT_URL={aws} exec ingot boot", with_services(SILENT), services=SILENT),
        Side("boto3 script", "exec python3 /opt/with_boto3.py", boto3, rival="ingot"),
        Side("AWS CLI script", "exec bash /opt/script.sh", script, rival="ingot"),
        Side("cloud-init, AWS CLI script", CLOUD_INIT, script, rival="ingot"),
        Side("ingot, user data and files", "exec ingot boot", only_files(), services=()),
        Side("Ignition", f"{fetch}fetch && {fetch}files", ignition(), rival="ingot, user data and files", services=()),
    ]


def picture(rows: list[Side], by_name: dict[str, Side]) -> str:
    """Bars of the medians on a logarithmic scale."""
    medians = {row.name: 1000 * statistics.median(row.seconds) for row in rows}
    least, most = math.floor(math.log10(min(medians.values()))), math.log10(max(medians.values()))
    width, left, lane = 860, 230, 30
    scale, height = (width - left - 190) / (most - least), lane * len(rows) + 60
    style = (
        "svg{--ink:#1b1f24;--soft:#667;--paper:#fff;--ours:#2f6db5;--theirs:#b9c2cd}"
        "@media(prefers-color-scheme:dark){svg{--ink:#e6e9ee;--soft:#9aa4b1;--paper:#14181d;--ours:#6aa5e8;--theirs:#4a5766}}"
        "text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:var(--ink)}.soft{fill:var(--soft)}"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<style>{style}</style><rect width="100%" height="100%" style="fill:var(--paper)"/>',
        '<text x="12" y="24">wall time, logarithmic</text>',
    ]
    for number, row in enumerate(rows):
        y, median = 40 + lane * number, medians[row.name]
        ours = row.name.startswith("ingot")
        length = max(2.0, (math.log10(median) - least) * scale)
        look = "fill:var(--ours);stroke:var(--ink);stroke-width:1.5" if ours else "fill:var(--theirs)"
        told = f"{median:.0f} ms" + (f", {median / medians[row.rival]:.1f} ×" if row.rival else "")
        lines.append(f'<text x="12" y="{y + 14}">{row.name}</text>')
        lines.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="18" style="{look}"/>')
        lines.append(f'<text class="soft" x="{left + length + 8:.1f}" y="{y + 14}">{told}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=9, help="runs of each side")
    parser.add_argument("--picture", type=Path, help="where the SVG goes")
    arguments = parser.parse_args()
    if why := container.unavailable():
        raise SystemExit(why)
    with Bench() as machine:
        machine.install_ingot(enabled=False)
        rows = sides(machine.aws_url)
        for service, unit in [(service, UNIT) for service in SERVICES] + [(service, SILENT_UNIT) for service in SILENT]:
            machine.write(f"/etc/systemd/system/{service}", unit)
        user_data = {row.name: row.user_data for row in rows}
        machine.write("/opt/with_boto3.py", user_data["boto3 script"])
        machine.write("/opt/script.sh", user_data["AWS CLI script"])
        machine.write("/opt/launcher", LAUNCHER)
        # Ignition labels what it wrote, and ends badly where SELinux is not there: here that costs it nothing.
        machine.write("/etc/selinux/config", "SELINUX=disabled\nSELINUXTYPE=targeted\n")
        machine.write("/usr/sbin/setfiles", "#!/bin/sh\n", 0o755)
        machine.boot()
        for i in range(SECRETS):
            machine.aws.secret(f"bench/s{i}", f"secret-value-{i}")
        for i in range(PARAMETERS):
            machine.aws.parameter(f"/bench/p{i}", f"parameter-value-{i}", "SecureString")
        for row in rows:
            # Also the warm-up: files cached, Python's bytecode written.
            row.run(machine, "perl /opt/launcher")
        for _ in range(arguments.n):
            for row in rows:
                row.run(machine)
        by_name = {row.name: row for row in rows}
        for row in rows:
            if row.rival and row.files != by_name[row.rival].files:
                raise SystemExit(f"{row.name} left other files than {row.rival}")
        query = "dpkg-query -W -f '${Package} ${Version}, ' awscli python3-boto3 cloud-init ignition systemd; ingot --version"
        versions = machine.shell(query).stdout.strip()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores; {versions}; {arguments.n} runs\n")
    print("|  | wall time, ms | times ingot's | peak memory, MB |\n|---|---|---|---|")
    for row in rows:
        milliseconds = [1000 * seconds for seconds in row.seconds]
        spread = f"{statistics.median(milliseconds):.0f} ({min(milliseconds):.0f}–{max(milliseconds):.0f})"
        ratio = statistics.median(row.seconds) / statistics.median(by_name[row.rival or row.name].seconds)
        print(f"| {row.name} | {spread} | {ratio:.1f} | {row.memory / 1024:.1f} |")
    if arguments.picture:
        arguments.picture.write_text(picture(rows, by_name))


if __name__ == "__main__":
    main()
