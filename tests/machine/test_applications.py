"""Applications on a real systemd and a real nginx: the first release, the next ones, bad ones, kills, and a reboot."""

import json

import pytest
from harness.host import container
from harness.host.bad import AMONG_SWITCHES, BAD, dies_after, mixed, runs
from harness.host.deployed import GATES, LISTEN, Deployed, release_of, shop
from harness.host.deployed import web as web_of

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

PASSWORD = "hunter2-correct-horse"
SECRETS = {"db": {"secrets_manager": "prod/shop/db"}}
SECRET = {"secrets": SECRETS, "environment": {"DATABASE_URL": "{{secrets.db.url}}", "LOG_LEVEL": "info"}}


def begin(machine: Deployed) -> Deployed:
    machine.aws.secret("prod/shop/db", {"url": f"postgres://shop:{PASSWORD}@db/shop"})
    machine.begin()
    for number in (1, 2):
        machine.upload(f"shop-{number}", release_of(number))
    return machine


@pytest.fixture(scope="module")
def machine(ingot):
    """A machine that all tests of this file have in turn; each says what it wants to serve first."""
    with Deployed() as machine:
        yield begin(machine)


@pytest.fixture
def bare(ingot):
    """A machine on which nothing was ever deployed."""
    with Deployed() as machine:
        yield begin(machine)


@pytest.fixture
def serving(machine):
    """Release 1 serves. Its units, and the process of each."""
    machine.succeed(shop("shop-1"))
    assert machine.generation() == "1"
    assert names(machine.units()) == ["shop.jobs", "shop.web"]
    return machine.pids()


def names(units: list[str]) -> list[str]:
    return [unit.rpartition("-")[0] for unit in units]


def nothing_lost(result: dict, *generations: str) -> None:
    assert result["lost"] == 0, result["losses"]
    assert result["sent"] > 300 and set(result["generations"]) == set(generations), result["generations"]


# What runs, and who can read what it is run with.


def test_a_first_boot_runs_a_procfile_and_a_second_changes_nothing(bare):
    text = shop("shop-1", **SECRET)
    result = bare.succeed(text)
    assert bare.units() == ["shop.jobs-1", "shop.web-1"]
    assert bare.generation() == "1" and bare.generation(5000) == "1"
    pids = bare.pids()
    for pid in pids.values():
        assert bare.must("ps", "-o", "user=", "-p", pid).strip() == "shop"
        environment = bare.must("cat", f"/proc/{pid}/environ").split("\0")
        assert {"PORT=15000", "LOG_LEVEL=info", f"DATABASE_URL=postgres://shop:{PASSWORD}@db/shop"} <= set(environment)
        assert bare.run("runuser", "-u", "nobody", "--", "cat", f"/proc/{pid}/environ").code != 0

    # Nothing of ingot is left beside them.
    assert bare.run("pgrep", "-x", "ingot").stdout == ""

    # Root and the user of the processes can read the secret, and nobody else.
    file = "/run/ingot/applications/shop/1.env"
    assert bare.must("stat", "-c", "%U %a", file) == "root 600\n"
    assert bare.run("runuser", "-u", "shop", "--", "cat", file).code != 0
    assert bare.shell(f"grep -rlsF {PASSWORD} /run /etc /var /opt /srv /tmp").stdout == f"{file}\n"
    assert PASSWORD not in bare.must("systemctl", "show", "shop.web-1.service", "shop.jobs-1.service")
    assert PASSWORD not in bare.must("ps", "-eo", "args") + bare.journal() + bare.console()
    assert PASSWORD not in result.stdout + result.stderr + json.dumps(result.report)
    assert bare.must("ls", "/var/lib/ingot/instances/i-0abc123def4567890/applications") == "shop.json\n"

    again = bare.succeed(text).outcomes()
    assert again["applications.shop"] == "unchanged" and "changed" not in again.values(), again
    assert bare.pids() == pids


def test_another_environment_alone_replaces_the_processes(machine, serving):
    result = machine.succeed(shop("shop-1", environment={"LOG_LEVEL": "debug"}))
    assert result.outcomes()["bundles.app"] == "unchanged", result
    pids = machine.pids()
    assert names(pids) == ["shop.jobs", "shop.web"] and not set(pids) & set(serving)
    for pid in pids.values():
        assert "LOG_LEVEL=debug" in machine.must("cat", f"/proc/{pid}/environ").split("\0")


# Switches.


def test_a_switch_under_load_loses_no_request(machine, serving):
    machine.begin_load()
    machine.succeed(shop("shop-2"))
    assert machine.generation() == "2"
    nothing_lost(machine.end_load(), "1", "2")
    units = machine.units()
    assert names(units) == ["shop.jobs", "shop.web"] and not set(units) & set(serving), "the old ones are gone"
    assert {machine.show(f"{unit}.service", "ActiveState")["ActiveState"] for unit in units} == {"active"}
    assert machine.must("readlink", "-f", "/opt/shop/current").strip().endswith("/shop-2")


def test_status_shows_what_serves_and_what_did_before(machine, serving):
    machine.succeed(shop("shop-2"))
    shown = json.loads(machine.must("ingot", "status", "--json"))["applications"]
    assert [(one["name"], one["version"], one["is_led"], one["before"]["version"]) for one in shown] == [("shop", "shop-2", True, "shop-1")]
    processes = {process["name"]: process for process in shown[0]["processes"]}
    assert {name: (one["state"], one["restarts"]) for name, one in processes.items()} == {"jobs": ("active", 0), "web": ("active", 0)}
    assert all(one["since"] for one in [*processes.values(), shown[0]])
    text = machine.must("ingot", "status")
    assert "applications.shop: shop-2 since " in text and ", previously shop-1 until " in text and "\n  web: active since " in text, text
    # What is remembered of applications is root's.
    assert "previously" not in machine.must("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ingot", "status")


def test_going_back_to_a_kept_release_downloads_and_builds_nothing(machine):
    for number in (1, 2):
        files = {"Buildfile": "compile: echo built >>compiled\n"}
        machine.upload(f"built-{number}", release_of(number, files))
        machine.succeed(shop(f"built-{number}"))
    asked = machine.aws.count("GetObject")
    machine.succeed(shop("built-1"))
    assert machine.generation() == "1"
    assert machine.aws.count("GetObject") == asked
    assert machine.must("cat", "/opt/shop/releases/built-1/compiled") == "built\n"


# Releases that do not serve.


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_release_gets_no_request_and_the_old_one_serves_throughout(machine, serving, bad):
    release = BAD[bad]
    machine.upload(bad, release.release)
    machine.begin_load()
    failure = machine.fail(shop(bad, ready={"http": "/health", "timeout": "60s", **release.ready}), release.address)
    nothing_lost(machine.end_load(), "1")
    assert [text for text in release.says if text not in failure] == [], failure
    assert "systemd" not in failure.partition("hint:")[0] and "Main process" not in failure, "nothing but its own last words"
    # Neither restarted nor joined by anything, and the document that names it has nothing to change.
    assert machine.pids() == serving
    assert machine.must("readlink", "/opt/shop/current") == "releases/shop-1\n"
    machine.succeed(shop("shop-1"))
    assert machine.pids() == serving


def test_with_the_defaults_a_release_that_dies_within_two_seconds_is_followed_by_the_one_before(machine, serving):
    """Until then it has had requests: `for` of `ready`, which "dies-later" has above, is what keeps them from it."""
    machine.upload("dies-within", release_of("bad", runs(dies_after(1.5))))
    machine.begin_load()
    failure = machine.fail(shop("dies-within"))
    result = machine.end_load()
    assert "web of shop dies-within" in failure and "was killed by SIGKILL" in failure and "shop-1 keeps serving" in failure, failure
    assert set(result["generations"]) == {"1", "bad"}, result["generations"]
    print(f"lost {result['lost']} of {result['sent']}, {result['generations']}")
    left = machine.pids()
    assert {unit: pid for unit, pid in left.items() if ".web-" in unit} == {unit: pid for unit, pid in serving.items() if ".web-" in unit}
    assert names(left) == ["shop.jobs", "shop.web"] and machine.must("readlink", "/opt/shop/current") == "releases/shop-1\n"
    machine.begin_load()
    nothing_lost(machine.end_load(), "1")


def test_two_processes_on_one_port_are_told_by_the_one_that_does_not_get_it(machine, serving):
    machine.upload("one-port", release_of("bad", {"Procfile": f"web: {web_of('bad')}\napi: exec python3 -S bin/echo.py\n"}))
    machine.begin_load()
    failure = machine.fail(shop("one-port"))
    # The one that has it serves until that is seen, and is drained.
    nothing_lost(machine.end_load(), "1", "bad")
    assert "api of shop one-port" in failure and "address already in use" in failure and "shop-1 keeps serving" in failure, failure
    assert machine.generation() == "1" and names(machine.units()) == ["shop.jobs", "shop.web"]


@pytest.mark.slow
def test_fifty_switches_with_bad_releases_among_them_lose_no_request(machine, serving):
    for bad in AMONG_SWITCHES:
        machine.upload(bad, BAD[bad].release)
    machine.begin_load(longest=10)
    current = "1"
    for release in mixed(50):
        if release in BAD:
            machine.fail(shop(release, ready={"http": "/health", "timeout": "60s", **BAD[release].ready}), BAD[release].address)
        else:
            machine.succeed(shop(release))
            current = release.removeprefix("shop-")
        assert machine.generation() == current
    nothing_lost(machine.end_load(), "1", "2")
    assert names(machine.units()) == ["shop.jobs", "shop.web"]


def test_bad_releases_in_a_row_leave_the_one_that_serves_on_the_disk(machine, serving):
    for bad in ("bad-1", "bad-2", "bad-3"):
        machine.upload(bad, release_of("bad", {"Procfile": "worker: exec bin/jobs\n"}))
        machine.fail(shop(bad, bundle={"keep": 1}))
    assert machine.must("readlink", "/opt/shop/current") == "releases/shop-1\n"
    # It is as whole as it was: a process of it that ends is started again.
    [web] = [unit for unit in serving if ".web-" in unit]
    machine.must("systemctl", "restart", f"{web}.service")
    machine.wait_for(lambda: machine.generation() == "1", 60, "the release that served to answer again")


def test_without_overlap_a_bad_release_is_followed_by_the_one_before(bare):
    alone = {"overlap": False, "port": 5000}
    bare.succeed(shop("shop-1", **alone))
    assert bare.generation() == "1"
    bare.upload("bad", release_of("bad", runs("echo no database here; exit 5")))
    failure = bare.fail(shop("bad", **alone))
    assert "no database here" in failure and "shop-1 keeps serving" in failure, failure
    assert bare.generation() == "1" and bare.units() == ["shop.jobs-1", "shop.web-1"], bare.told()
    bare.succeed(shop("shop-2", **alone))
    assert bare.generation() == "2"


def test_overlap_can_be_given_up_and_taken_up_again(machine, serving):
    machine.succeed(shop("shop-2", overlap=False))
    assert machine.generation() == machine.generation(5000) == "2"
    machine.succeed(shop("shop-1"))
    assert machine.generation() == machine.generation(5000) == "1"


# What is wrong with the machine.


@pytest.mark.parametrize("port", [LISTEN, 5000])
def test_a_port_in_use_is_named_with_who_has_it(bare, port):
    bare.must("systemd-run", "--quiet", "--unit=other", "python3", "-m", "http.server", str(port))
    bare.wait_until(f"curl -sf http://127.0.0.1:{port}/")
    failure = bare.fail(shop("shop-1"))
    pid = bare.show("other.service", "MainPID")["MainPID"]
    assert f"port {port} is in use by python3 (pid {pid}, other.service)" in failure
    bare.must("systemctl", "stop", "other.service")
    bare.succeed(shop("shop-1"))
    assert bare.generation() == "1"


def test_a_port_in_use_is_named_while_the_proxy_serves(machine, serving):
    machine.must("systemd-run", "--quiet", "--unit=other", "python3", "-m", "http.server", "8082")
    machine.wait_until("curl -sf http://127.0.0.1:8082/")
    try:
        failure = machine.fail(shop("shop-1", proxy={"listen": [LISTEN, 8082]}))
    finally:
        machine.must("systemctl", "stop", "other.service")
    assert "port 8082 is in use by python3" in failure
    assert machine.generation() == "1"


def test_the_port_of_a_slot_in_use_is_named(machine, serving):
    """Whoever has it would answer in place of the release that is to prove itself."""
    [web] = [pid for unit, pid in serving.items() if ".web-" in unit]
    free = "25000" if "PORT=15000" in machine.must("cat", f"/proc/{web}/environ").split("\0") else "15000"
    environment = [f"--setenv=PORT={free}", "--setenv=GENERATION=other"]
    machine.must("systemd-run", "--quiet", "--unit=other", *environment, "python3", "-S", "/opt/shop/current/bin/echo.py")
    machine.wait_until(f"curl -sf http://127.0.0.1:{free}/")
    try:
        failure = machine.fail(shop("shop-2"))
        assert machine.generation() == "1" and machine.pids() == serving
    finally:
        machine.must("systemctl", "stop", "other.service")
    assert f"port {free} is in use by python3" in failure and "other.service" in failure, failure


def test_without_nginx_nothing_is_switched(bare):
    bare.must("mv", "/usr/sbin/nginx", "/root/nginx")
    assert "install nginx in the image" in bare.fail(shop("shop-1"))
    assert bare.units() == [] and bare.run("test", "-e", "/run/ingot/proxy/shop").code != 0
    bare.must("mv", "/root/nginx", "/usr/sbin/nginx")
    bare.succeed(shop("shop-1"))
    assert bare.generation() == "1"


# Kills and reboots.


def test_a_reboot_brings_back_what_needs_no_secret(bare):
    other = {"bundle": "bundles.vault", "user": "shop", "port": 5100, "proxy": {"listen": 8081}, "environment": SECRET["environment"]}
    text = json.loads(shop("shop-1", secrets=SECRETS).removeprefix("#ingot\n"))
    text["bundles"]["vault"] = {**text["bundles"]["app"], "into": "/opt/vault"}
    text["applications"]["vault"] = other
    text = "#ingot\n" + json.dumps(text)
    bare.succeed(text)
    assert bare.generation() == bare.generation(8081) == "1"

    bare.lose_imds()
    bare.reboot()
    assert bare.wait_until_ended("ingot-applications.service")["Result"] == "success", bare.journal()
    bare.wait_for(lambda: bare.generation() == "1", 60, "the application to answer")
    assert bare.units() == ["shop.jobs-1", "shop.web-1"] and bare.units("vault") == []
    assert "applications.vault waits for ingot.service, which reads the secrets in DATABASE_URL" in bare.journal()
    pids = bare.pids()

    bare.find_imds()
    bare.succeed(text)
    assert bare.generation(8081) == "1" and bare.pids() == pids
    assert bare.units("vault") == ["vault.jobs-1", "vault.web-1"]


def test_after_a_reboot_a_release_with_a_secret_serves_while_the_next_one_is_built(bare):
    bare.succeed(shop("shop-1", **SECRET))
    bare.upload("built", release_of("built", {"Buildfile": "compile: bin/gate build\n"}))
    bare.close("build")
    bare.reboot()
    bare.wait_until_ended("ingot-applications.service")
    bare.begin_deploy(shop("built", **SECRET))
    bare.wait_at("build")
    bare.wait_for(lambda: bare.generation() == "1", 60, "the release before to answer")
    assert bare.must("readlink", "/opt/shop/current") == "releases/shop-1\n"
    bare.open("build")
    bare.wait_for(lambda: bare.generation() == "built", 60, "the next release to answer")


def test_after_a_reboot_a_release_with_a_secret_serves_though_the_next_one_is_not_there(bare):
    bare.succeed(shop("shop-1", **SECRET))
    bare.reboot()
    bare.wait_until_ended("ingot-applications.service")
    bare.fail(shop("missing", **SECRET), "bundles.app")
    bare.wait_for(lambda: bare.generation() == "1", 60, "the release before to answer")
    assert bare.units() == ["shop.jobs-1", "shop.web-1"]


HOOK = "#!/bin/sh\nexec bin/gate {}\n"
GATED = {
    "Buildfile": "compile: bin/gate build\n",
    ".platform/hooks/predeploy/1": HOOK.format("predeploy"),
    ".platform/hooks/postdeploy/1": HOOK.format("postdeploy"),
}
# The gates of a switch, in its order: `stop` is that of the old release's jobs, after requests were led to the new one.
MOMENTS = ["build", "predeploy", "start", "stop", "postdeploy"]


@pytest.mark.slow
def test_a_switch_that_is_killed_ends_on_one_whole_release(machine, serving):
    machine.begin_load()
    before = "1"
    for moment in MOMENTS:
        machine.upload(f"killed-{moment}", release_of(moment, GATED))
        text = shop(f"killed-{moment}")
        machine.close(moment)
        unit = machine.begin_deploy(text)
        machine.wait_at(moment)
        assert machine.generation() == (before if moment in ("build", "predeploy", "start") else moment)
        machine.must("systemctl", "kill", "--signal=SIGKILL", "--kill-who=main", unit)
        machine.wait_until(f"! systemctl is-active --quiet {unit}")
        assert machine.show(unit, "Result")["Result"] == "signal", machine.journal("-u", unit)
        machine.open(moment)
        machine.succeed(text)
        assert machine.generation() == moment
        assert names(machine.units()) == ["shop.jobs", "shop.web"], moment
        assert len({unit.rpartition("-")[2] for unit in machine.units()}) == 1, "of one generation"
        before = moment
    nothing_lost(machine.end_load(), "1", *MOMENTS)


@pytest.mark.slow
def test_a_switch_that_is_killed_while_it_drains_loses_nothing(machine, serving):
    machine.begin_load(8.0)
    unit = machine.begin_deploy(shop("shop-2"))
    machine.wait_until(f"journalctl --no-pager -o cat -u {unit} | grep -q 'drain and stop'")
    machine.must("systemctl", "kill", "--signal=SIGKILL", "--kill-who=main", unit)
    machine.wait_until(f"! systemctl is-active --quiet {unit}")
    assert machine.show(unit, "Result")["Result"] == "signal", machine.journal("-u", unit)
    machine.succeed(shop("shop-2"))
    assert machine.generation() == "2"
    nothing_lost(machine.end_load(), "1", "2")
    assert names(machine.units()) == ["shop.jobs", "shop.web"]


def test_after_a_kill_the_release_before_is_as_good_as_any(machine, serving):
    machine.begin_load()
    machine.upload("left", release_of("left", GATED))
    machine.close("start")
    unit = machine.begin_deploy(shop("left"))
    machine.wait_at("start")
    machine.must("systemctl", "kill", "--signal=SIGKILL", "--kill-who=main", unit)
    machine.wait_until(f"! systemctl is-active --quiet {unit}")
    machine.succeed(shop("shop-1"))
    machine.open("start")
    assert machine.pids() == serving
    nothing_lost(machine.end_load(), "1")


@pytest.mark.parametrize("moment", ["start", "stop"])
def test_power_fails_during_a_switch(bare, moment):
    bare.succeed(shop("shop-1"))
    bare.upload("cut", release_of("cut", GATED))
    bare.close(moment)
    bare.begin_deploy(shop("cut"))
    bare.wait_at(moment)
    bare.power_cut()
    (bare.root / f"{GATES}/{moment}".lstrip("/")).unlink()
    bare.boot()
    assert bare.wait_until_ended("ingot-applications.service")["Result"] == "success", bare.journal()
    # Without the document, and without IMDS: what served last, whole.
    serving = "1" if moment == "start" else "cut"
    bare.wait_for(lambda: bare.generation() == serving, 60, "the application to answer")
    assert bare.units() == [f"shop.{process}-{'1' if moment == 'start' else '2'}" for process in ("jobs", "web")]
    bare.succeed(shop("cut"))
    assert bare.generation() == "cut" and names(bare.units()) == ["shop.jobs", "shop.web"]
