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
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import golden, shop  # noqa: E402
from harness.golden import Golden  # noqa: E402

PACKAGES = "awscli,jq,python3"

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
@RENDER@
systemctl start shop.service
until curl -sf -o /dev/null http://127.0.0.1/health; do sleep 0.1; done
"""
