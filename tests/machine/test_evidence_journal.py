"""Evidence with the journal of a real systemd: what a unit said since the start of the machine, without secrets."""

import json
import subprocess

import pytest
from harness.host import container
from harness.host.container import Machine

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

PASSWORD = "hunter2-correct-horse"
BUCKET = "shop-evidence"

DOCUMENT = """\
#ingot
version: 1
secrets:
  db: { secrets_manager: prod/shop/db }
files:
  /etc/shop.env: { content: "PASSWORD={{env secrets.db}}\\n" }
services:
  shop.service: { restart_on: [files./etc/shop.env] }
signals:
  evidence: { s3: "s3://shop-evidence/shop/prod/", logs: [shop.service, "cron-*"] }
"""

UNIT = """\
[Service]
Type=oneshot
EnvironmentFile=/etc/shop.env
ExecStart=/bin/sh -c 'for n in $(seq 3000); do echo "request $n of ${PASSWORD}"; done; printf "panic\\\\n  at one\\\\n  at two\\\\n"; exit 3'
"""


@pytest.fixture
def machine(ingot):
    with Machine() as machine:
        machine.aws.secret("prod/shop/db", PASSWORD)
        machine.aws.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        machine.write("/etc/systemd/system/shop.service", UNIT)
        machine.install_ingot()
        machine.imds.configure(user_data=DOCUMENT)
        yield machine


def evidence(machine: Machine, number: int) -> tuple[bytes, str]:
    """What the boot of this number left, packed and unpacked."""
    s3 = machine.aws.client("s3")
    machine.wait_until("systemctl is-failed ingot.service")
    objects = sorted(s3.list_objects_v2(Bucket=BUCKET)["Contents"], key=lambda one: one["LastModified"])
    assert len(objects) == number
    packed = s3.get_object(Bucket=BUCKET, Key=objects[-1]["Key"])["Body"].read()
    return packed, subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout.decode()


def test_a_service_that_fails_leaves_its_journal_of_this_boot_without_secrets(machine):
    # Where this directory is, the journal outlives the machine's end.
    machine.write("/var/log/journal/README", "")
    machine.boot()
    packed, unpacked = evidence(machine, 1)
    told = json.loads(unpacked)
    assert PASSWORD not in unpacked and told["report"]["outcome"] == "failed"
    assert told["journal"]["cron-*"] == []
    lines = told["journal"]["shop.service"]
    said = [line.split("]: ", 1)[-1] for line in lines]
    requests = [line for line in said if line.startswith("request ")]
    assert requests == [f"request {n} of [redacted]" for n in range(1, 3001)], (len(requests), lines[:3])
    assert [line.strip() for line in said if "at one" in line or "at two" in line] == ["at one", "at two"]
    assert any("shop.service: Failed with result" in line for line in said), lines[-5:]
    assert len(packed) < 40_000

    machine.reboot()
    _, again = evidence(machine, 2)
    assert machine.run("sh", "-c", "journalctl --unit shop.service | grep --count request").stdout == "6000\n"
    assert PASSWORD not in again and len([line for line in json.loads(again)["journal"]["shop.service"] if "request" in line]) == 3000
