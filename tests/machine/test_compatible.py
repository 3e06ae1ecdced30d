"""Releases as users of Elastic Beanstalk have them, on a real systemd and a real nginx."""

import json

import pytest
from harness.host import container
from harness.host.deployed import Deployed, release_of, shop

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

ORDER = "/srv/order"
HOOK = f"#!/bin/sh\necho {{}} >>{ORDER}\n"
EXTENSIONS = f"""\
option_settings:
  aws:elasticbeanstalk:application:environment: {{ GREETING: "it's" }}
files:
  /etc/cron.d/shop: {{ mode: "000640", owner: root, group: shop, content: "# of NUMBER\\n" }}
  /etc/shop/logo: {{ content: aGVsbG8=, encoding: base64 }}
commands:
  01_first: {{ command: "echo first $GREETING $PWD $(cat /etc/shop/logo) >>{ORDER}" }}
  02_skipped: {{ command: "echo never >>{ORDER}", test: "false" }}
  03_ignored: {{ command: [sh, -c, "echo ignored >>{ORDER}; exit 3"], ignoreErrors: true }}
container_commands:
  01_static: {{ command: "echo static >>{ORDER}", test: "test -e Procfile" }}
  02_migrate: {{ command: "echo migrate $A$GREETING $PWD >>{ORDER}", leader_only: true, env: {{ A: b }} }}
"""
FILES = {
    ".platform/hooks/prebuild/1": HOOK.format("prebuild"),
    "Buildfile": f"compile: echo build >>{ORDER}\n",
    ".platform/hooks/predeploy/1": HOOK.format("predeploy"),
    ".platform/hooks/postdeploy/1": HOOK.format("postdeploy"),
}


def extended(number: int, config: str = EXTENSIONS) -> dict[str, bytes]:
    return release_of(number, {**FILES, ".ebextensions/a.config": config.replace("NUMBER", str(number))})


@pytest.fixture(scope="module")
def machine(ingot):
    with Deployed() as machine:
        machine.begin()
        machine.upload("shop-1", release_of(1))
        machine.upload("shop-2", release_of(2))
        machine.must("useradd", "--system", "webapp")
        yield machine


@pytest.fixture
def serving(machine):
    """Release 1 serves, and nothing was written down yet."""
    machine.succeed(shop("shop-1"))
    machine.must("install", "--mode=666", "/dev/null", ORDER)
    return machine.pids()


def order(machine) -> list[str]:
    return machine.must("cat", ORDER).splitlines()


# .ebextensions.


def test_extensions_run_in_beanstalks_order_and_once_for_each_release(machine, serving):
    machine.upload("extended-1", extended(1))
    machine.succeed(shop("extended-1"))
    release = "/opt/shop/releases/extended-1"
    prepared = ["prebuild", "build", "migrate b " + release, "static", "predeploy", "postdeploy"]
    assert order(machine) == ["first it's / hello", "ignored", *prepared]
    assert machine.must("stat", "-c", "%a %U %G", "/etc/cron.d/shop") == "640 root shop\n"
    assert machine.must("cat", "/etc/cron.d/shop") == "# of 1\n"
    assert "GREETING=it's" in machine.must("cat", f"/proc/{web_pid(machine)}/environ").split("\0")

    assert "changed" not in machine.succeed(shop("extended-1")).outcomes().values()
    machine.upload("extended-2", extended(2))
    machine.succeed(shop("extended-2"))
    assert machine.must("cat", "/etc/cron.d/shop") == "# of 2\n"
    assert machine.must("ls", "-A", "/etc/cron.d").split().count("shop.bak") == 0
    machine.must("truncate", "--size=0", ORDER)
    machine.succeed(shop("extended-1"))
    assert order(machine) == ["prebuild", "predeploy", "postdeploy"]


def web_pid(machine) -> str:
    return next(pid for unit, pid in machine.pids().items() if "-web-" in unit)


BAD_EXTENSIONS = {
    "failing": ("container_commands:\n  01_migrate: { command: 'echo no schema; exit 4' }\n", ["a.config:2: `01_migrate` exited with 4", "no schema"]),
    "missing": ("commands:\n  a: { command: [no-such-program] }\n", ["a.config:2: `a` cannot be carried out", "no-such-program"]),
    "ownerless": ("files:\n  /etc/a: { content: b, owner: nobody-here }\n", ["a.config:2: `/etc/a` cannot be carried out", "no user `nobody-here`"]),
    "slow": ("commands:\n  a: { command: sleep 1000 }\n", ["a.config:2: `a` did not end in time"]),
    "wrong": ("commands:\n  a: {}\n", ["a.config:2: `a` has no `command`"]),
}


@pytest.mark.parametrize("bad", BAD_EXTENSIONS)
def test_an_entry_that_fails_is_named_and_the_old_release_serves_on(machine, serving, bad):
    config, wanted = BAD_EXTENSIONS[bad]
    machine.upload(f"bad-{bad}", release_of(bad, {".ebextensions/a.config": config}))
    failure = machine.fail(shop(f"bad-{bad}", timeout="10s"))
    assert [text for text in wanted if text not in failure] == [] and "shop-1 goes on serving" in failure, failure
    assert machine.pids() == serving and machine.generation() == "1"


def test_without_hooks_nothing_of_extensions_runs_but_variables(machine, serving):
    machine.upload("extended-3", extended(3))
    machine.succeed(shop("extended-3", hooks=False))
    assert order(machine) == ["build"]
    assert "GREETING=it's" in machine.must("cat", f"/proc/{web_pid(machine)}/environ").split("\0")


def test_extensions_that_were_killed_run_again(machine, serving):
    config = f"commands:\n  a: {{ command: 'echo a >>{ORDER}' }}\ncontainer_commands:\n  b: {{ command: 'echo b >>{ORDER}; bin/gate b' }}\n"
    machine.upload("gated", release_of("gated", {".ebextensions/a.config": config}))
    machine.close("b")
    unit = machine.begin_deploy(shop("gated"))
    machine.wait_at("b")
    machine.must("systemctl", "kill", "--signal=SIGKILL", "--kill-who=main", unit)
    machine.wait_until(f"! systemctl is-active --quiet {unit}")
    machine.open("b")
    machine.succeed(shop("gated"))
    assert order(machine) == ["a", "b", "b"] and machine.generation() == "gated"
