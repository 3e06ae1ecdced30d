"""What runs under a claim, on a real systemd with cgroups: it ends with its lease, and with it all that it has started, in whatever
session that is."""

import re

import pytest
from harness.agent import PATIENCE, document
from harness.host import container
from harness.host.container import Machine

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

# A daemon in a session of its own, then an end as /run/how says it.
PROGRAM = """\
rm -f /run/how
setsid sh -c 'echo $$ >/run/daemon.new; mv /run/daemon.new /run/daemon; exec sleep 600' >/dev/null 2>&1 &
echo $$ >/run/program
trap 'exit 0' TERM
until [ -e /run/how ]; do sleep 0.05; done
exit $(cat /run/how)
"""

GONE = """
for process in $(cat /run/program) $(cat /run/daemon); do
  case $(cut -d " " -f 3 /proc/$process/stat 2>/dev/null) in ""|Z) ;; *) exit 1 ;; esac
done
"""


class Fleet(Machine):
    # The second version, as on every instance that is supported.
    environment = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}

    def begins(self, release: str, **command) -> None:
        """A boot is under way, and its program has started the daemon."""
        values = {"application": "shop", "environment": "prod", "release": release, "release_sha256": release}
        run = {"run": ["/bin/sh", "/root/program"], "once": "release", **command}
        self.imds.configure(user_data=document(claims="s3://shop-releases/claims/", values=values, commands={"migrate": run}))
        self.shell("rm -f /run/daemon")
        # Only ingot's own process is systemd's to end: what becomes of the rest is what is tested.
        unit = ["--property=KillMode=process", "--property=Type=exec", f"--unit=deploy-{release}"]
        done = self.run("systemd-run", *unit, "ingot", "boot")
        assert done.code == 0, done
        self.wait_until("test -e /run/daemon")
        # As systemd sees it: what is read from outside shows where the container is, too.
        group = self.run("systemd-run", "--quiet", "--pipe", "--wait", "sh", "-c", "cat /proc/$(cat /run/daemon)/cgroup").stdout
        found = re.search(rf"^0::(/system\.slice/deploy-{release}\.service/claim-\d+-\d+)$", group, re.MULTILINE)
        assert found, group
        self.group = found[1]

    def is_gone(self, timeout: float = PATIENCE) -> None:
        """Neither the program nor its daemon is left, but for what waits to be reaped by an ingot that is stopped."""
        self.wait_until(GONE, timeout)
        assert self.shell(f"cat /sys/fs/cgroup{self.group}/cgroup.procs").stdout == ""

    def exit_code(self, release: str) -> str:
        """The exit code of the boot."""
        unit = f"deploy-{release}.service"
        self.wait_until(f"! systemctl is-active {unit}")
        return self.show(unit, "ExecMainStatus")["ExecMainStatus"]


@pytest.fixture(scope="module")
def fleet():
    with Fleet() as machine:
        machine.aws.client("s3").create_bucket(
            Bucket="shop-releases", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        machine.write("/root/program", PROGRAM)
        machine.install_ingot(enabled=False)
        machine.boot()
        yield machine


def test_a_program_that_fails_leaves_nothing_behind(fleet):
    fleet.begins("failed")
    fleet.shell("echo 3 >/run/how")
    fleet.is_gone()
    assert fleet.exit_code("failed") == "1"


def test_what_a_program_leaves_that_ended_well_goes_on(fleet):
    fleet.begins("well")
    fleet.shell("echo 0 >/run/how")
    assert fleet.exit_code("well") == "0"
    assert fleet.shell("kill -0 $(cat /run/daemon)").code == 0
    assert fleet.shell("kill $(cat /run/daemon)").code == 0


def test_a_program_whose_time_is_over_leaves_nothing_however_it_ends(fleet):
    fleet.begins("late", timeout="4s")
    fleet.is_gone()
    assert fleet.exit_code("late") == "1"


def test_nothing_outlives_ingot(fleet):
    fleet.begins("killed")
    fleet.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "deploy-killed.service")
    fleet.is_gone()


@pytest.mark.slow
def test_ingot_that_is_stopped_is_outlived_by_no_lease(fleet):
    """The process that watches it ends the program 45 seconds after the last renewal."""
    fleet.begins("stopped")
    fleet.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "deploy-stopped.service")
    fleet.is_gone(60)
    fleet.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "deploy-stopped.service")
