"""What `{{env x}}` writes, read back by systemd. The other readers are in tests/boot/test_quoting.py."""

import base64

import pytest
from harness.host import container
from harness.host.container import Machine
from harness.nasty import NASTY, written

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

UNIT = """\
[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/nasty.env
ExecStart=/bin/sh -c 'cat /proc/self/environ >/run/environ'
"""


@pytest.mark.parametrize("helper", ["{{env VALUE}}", '{{env VALUE "systemd"}}'])
def test_systemd_reads_back_what_env_writes(ingot, tmp_path, helper):
    texts, _ = written(tmp_path, f"{helper}\n")
    assert len(texts) >= 40
    with Machine() as machine:
        machine.write("/etc/nasty.env", "".join(f"V{number:03}={text}" for number, text in enumerate(texts.values())))
        machine.write("/etc/systemd/system/nasty.service", UNIT)
        machine.boot()
        started = machine.run("systemctl", "start", "nasty.service")
        assert started.code == 0, (started, machine.journal("-u", "nasty.service"))
        environ = base64.b64decode(machine.run("base64", "/run/environ").stdout).decode()
    found = dict(entry.split("=", 1) for entry in environ.split("\0") if "=" in entry)
    assert {name: found.get(f"V{number:03}") for number, name in enumerate(texts)} == {name: NASTY[name] for name in texts}
