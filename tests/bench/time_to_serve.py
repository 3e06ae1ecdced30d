#!/usr/bin/env python3
"""From the kernel's first line to the first good answer of a web shop, and where the time went: the golden image beside
Debian's cloud-init with a user-data script that uses the AWS CLI.

    .venv/bin/python tests/bench/time_to_serve.py [-n REPETITIONS]

Both boot in the same QEMU (TCG) with the same kernel, the same shop, the same volume from a snapshot, the same secret and
parameter, the same IMDS and the same AWS, in turns. The peer is what people do today, done well: cloud-init has EC2 as its
only source and leaves the network alone, the AWS CLI and the shop are in the image. Prints Markdown tables: medians.
"""

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.agent import REPOSITORY  # noqa: E402
from harness.host import shop  # noqa: E402
from harness.host.systemd import AWS_PORT  # noqa: E402
from harness.vm import golden  # noqa: E402
from harness.vm.golden import Golden  # noqa: E402

# What user data is when there is no ingot: fetch, restore, mount, render, start, wait. Every call of the CLI is one
# process; the waiting polls as fast as is reasonable.
SCRIPT = r"""#!/bin/bash
set -euo pipefail
umask 077
imds=http://169.254.169.254/latest
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' $imds/api/token)
get() { curl -sf -H "X-aws-ec2-metadata-token: $token" $imds/meta-data/$1; }
id=$(get instance-id)
zone=$(get placement/availability-zone)
export AWS_DEFAULT_REGION=$(get placement/region) AWS_ENDPOINT_URL=@AWS@
aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }

snapshot=$(aws ec2 describe-snapshots --filters Name=tag:app,Values=shop Name=tag:role,Values=data \
  --query 'sort_by(Snapshots,&StartTime)[-1].SnapshotId' --output text)
volume=$(aws ec2 create-volume --snapshot-id "$snapshot" --availability-zone "$zone" --volume-type gp3 \
  --query VolumeId --output text)
aws ec2 wait volume-available --volume-ids "$volume"
aws ec2 attach-volume --volume-id "$volume" --instance-id "$id" --device /dev/sdf >/dev/null
greeting=$(aws secretsmanager get-secret-value --secret-id prod/shop/web --query SecretString --output text | jq -r .greeting)
shop_token=$(aws ssm get-parameter --with-decryption --name /prod/shop/token --query Parameter.Value --output text)

device=
until [ -n "$device" ]; do
  for disk in /sys/block/nvme*; do
    read -r serial <"$disk/device/serial" || continue
    if [ "${serial// /}" = "${volume/-/}" ]; then device=/dev/${disk##*/}; fi
  done
  [ -n "$device" ] || sleep 0.1
done
mkdir -p /srv/shop
mount -o noatime "$device" /srv/shop
chown shop:shop /srv/shop
umask 022
mkdir -p /etc/shop /run/credstore
jq -n --arg greeting "$greeting" --arg instance "$id" '{$greeting, $instance, database: "/srv/shop/shop.db"}' >/etc/shop/shop.json
chown shop:shop /etc/shop/shop.json
chmod 0600 /etc/shop/shop.json
(umask 077; printf %s "$shop_token" >/run/credstore/shop-token)
systemctl start shop.service
until curl -sf -o /dev/null http://127.0.0.1/health; do sleep 0.1; done
"""

CLOUD_CFG = """\
datasource_list: [Ec2]
datasource: { Ec2: { metadata_urls: ["http://169.254.169.254"], max_wait: 60, timeout: 5 } }
network: { config: disabled }
ssh_deletekeys: false
ssh_genkeytypes: [ed25519]
locale: false
apt: { preserve_sources_list: true }
"""


def peer() -> golden.Image:
    """Debian as it comes, with cloud-init, the AWS CLI and the shop."""
    application = REPOSITORY / "packer/application"
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        for source, target in (
            (application / "root/opt/shop/shop.py", "opt/shop/shop.py"),
            (application / "units/shop.service", "etc/systemd/system/shop.service"),
        ):
            (tree / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tree / target)
        for target, content in (
            ("etc/cloud/cloud.cfg.d/99-bench.cfg", CLOUD_CFG),
            ("usr/lib/sysusers.d/shop.conf", 'u shop - "The shop" /srv/shop\n'),
        ):
            (tree / target).parent.mkdir(parents=True, exist_ok=True)
            (tree / target).write_text(content)
        return golden.base("awscli,jq,python3-minimal,libpython3-stdlib", str(tree))


def seconds(text: str) -> float:
    """systemd's microseconds of the monotonic clock."""
    return int(text) / 1e6


class Boot:
    """One boot, measured: moments are seconds since the kernel began."""

    def __init__(self, image: golden.Image, user_data: str, unit: str):
        with Golden(image, user_data=user_data) as instance:
            shop.prepare(instance)
            begun = time.monotonic()
            instance.start()
            instance.wait_for_page(timeout=600)
            served = time.monotonic()
            instance.wait_until_ended(unit, 300)
            kernel = self.kernel_began(instance)
            self.firmware = kernel - begun
            self.served = served - kernel
            manager = instance.run("systemctl", "show").stdout
            found = dict(line.split("=", 1) for line in manager.splitlines() if "=" in line)
            self.userspace = seconds(found["UserspaceTimestampMonotonic"])
            self.initrd = self.initrd_began(instance)
            times = instance.show(unit, "ExecMainStartTimestampMonotonic")
            self.began = seconds(times["ExecMainStartTimestampMonotonic"])
            times = instance.show("shop.service", "ExecMainStartTimestampMonotonic")
            self.shop_began = seconds(times["ExecMainStartTimestampMonotonic"])
            status = instance.run("ingot", "status", "--json") if unit == "ingot.service" else None
            self.report = json.loads(status.stdout)["report"] if status else None

    @staticmethod
    def kernel_began(instance: Golden) -> float:
        """On our own clock: /proc/uptime counts from there. The quickest of several answers is the most exact."""
        best = None
        for _ in range(5):
            before = time.monotonic()
            uptime = float(instance.read("/proc/uptime").split()[0])
            after = time.monotonic()
            if best is None or after - before < best[0]:
                best = (after - before, (before + after) / 2 - uptime)
        return best[1]

    @staticmethod
    def initrd_began(instance: Golden) -> float:
        """The kernel says when it starts the first program."""
        log = instance.run("journalctl", "-k", "-o", "short-monotonic", "--no-hostname").stdout
        return float(re.search(r"\[\s*([0-9.]+)\].*Run /init as init process", log).group(1))


def row(what: str, *values: float) -> str:
    return f"| {what} | " + " | ".join(f"{value:.2f} s" for value in values) + " |"


def median(boots: list[Boot], moment) -> float:
    return statistics.median(moment(boot) for boot in boots)


def table(ours: list[Boot], theirs: list[Boot]) -> list[str]:
    lines = ["| | golden image | cloud-init and the AWS CLI |", "|---|---|---|"]
    for what, moment in (
        ("firmware and boot loader, before the kernel", lambda boot: boot.firmware),
        ("kernel", lambda boot: boot.initrd),
        ("initrd", lambda boot: boot.userspace - boot.initrd),
        ("userspace until ingot, or the script's unit, starts", lambda boot: boot.began - boot.userspace),
        ("from there until the shop is started", lambda boot: boot.shop_began - boot.began),
        ("from there to the first good answer", lambda boot: boot.served - boot.shop_began),
        ("**kernel's first line to first good answer**", lambda boot: boot.served),
    ):
        lines.append(row(what, median(ours, moment), median(theirs, moment)))
    return lines


def steps(boots: list[Boot]) -> list[str]:
    """What ingot did, in the order in which it ended, of the boot in the middle."""
    boot = sorted(boots, key=lambda boot: boot.served)[len(boots) // 2]
    lines = ["| of ingot | from | to |", "|---|---|---|"]
    for phase, ms in boot.report["phases_ms"].items():
        lines.append(f"| {phase} | | {ms / 1e3:.2f} s |")
    for step in sorted(boot.report["steps"], key=lambda step: step["finished_ms"]):
        lines.append(f"| {step['address']} | {step['started_ms'] / 1e3:.2f} s | {step['finished_ms'] / 1e3:.2f} s |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3, help="boots of each side (default: 3)")
    arguments = parser.parse_args()
    if why := golden.unavailable():
        raise SystemExit(why)
    image, stock = golden.baked(), peer()
    script = SCRIPT.replace("@AWS@", f"http://{golden.HOST}:{AWS_PORT}")
    ours, theirs = [], []
    for _ in range(arguments.n):
        ours.append(Boot(image, shop.USER_DATA, "ingot.service"))
        theirs.append(Boot(stock, script, "cloud-final.service"))
    print("\n".join(table(ours, theirs)))
    print()
    print("\n".join(steps(ours)))
    ratio = median(theirs, lambda boot: boot.served) / median(ours, lambda boot: boot.served)
    after = [median(side, lambda boot: boot.served - boot.userspace) for side in (theirs, ours)]
    print(f"\n{ratio:.1f} × from the kernel on, {after[0] / after[1]:.1f} × of userspace; {arguments.n} boots each")


if __name__ == "__main__":
    main()
