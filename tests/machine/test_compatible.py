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
    return next(pid for unit, pid in machine.pids().items() if ".web-" in unit)


BAD_EXTENSIONS = {
    "failing": ("container_commands:\n  01_migrate: { command: 'echo no schema; exit 4' }\n", ["a.config:2: `01_migrate` exited with 4", "no schema"]),
    "missing": ("commands:\n  a: { command: [no-such-program] }\n", ["a.config:2: `a` cannot be applied", "no-such-program"]),
    "ownerless": ("files:\n  /etc/a: { content: b, owner: nobody-here }\n", ["a.config:2: `/etc/a` cannot be applied", "the user `nobody-here` is not"]),
    "slow": ("commands:\n  a: { command: sleep 1000 }\n", ["a.config:2: `a` did not finish in time"]),
    "wrong": ("commands:\n  a: {}\n", ["a.config:2: `a` has no `command`"]),
}


@pytest.mark.parametrize("bad", BAD_EXTENSIONS)
def test_an_entry_that_fails_is_named_and_the_old_release_serves_on(machine, serving, bad):
    config, wanted = BAD_EXTENSIONS[bad]
    machine.upload(f"bad-{bad}", release_of(bad, {".ebextensions/a.config": config}))
    # What is kept for going back is less than the whole.
    soon = {"timeout": "34s", "ready": {"http": "/health", "timeout": "4s"}, "stop": {"grace": "2s"}}
    failure = machine.fail(shop(f"bad-{bad}", **soon))
    assert [text for text in wanted if text not in failure] == [] and "shop-1 keeps serving" in failure, failure
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


# compatible_with: beanstalk.

BEANSTALK = {"compatible_with": "beanstalk", "user": None, "environment": {"QUOTED": "it's \"x\" $HOME\ny", "PLAIN": "1"}}
GET = "/opt/elasticbeanstalk/bin/get-config"
SCRIPT = f"""\
#!/bin/sh
set -e
{GET} environment -k QUOTED >/srv/quoted
test "$(readlink -f /var/app/staging)" = "$PWD"
test "$({GET} platformconfig -k AppUser)" = webapp
set -a; . /opt/elasticbeanstalk/deployment/env
test "$PLAIN" = 1
"""


def compatible(key: str, **fields) -> str:
    """The document of an application that is compatible; fields of None are left out."""
    text = json.loads(shop(key, bundle={"owner": "webapp"}, **{**BEANSTALK, **fields}).removeprefix("#ingot\n"))
    application = text["applications"]["shop"]
    text["applications"]["shop"] = {name: value for name, value in application.items() if value is not None}
    return "#ingot\n" + json.dumps(text)


def test_scripts_find_what_elastic_beanstalk_has(machine, serving):
    for number in (1, 2):
        files = {".platform/hooks/predeploy/1": SCRIPT, "Procfile": "web: echo here; exec python3 -S bin/echo.py\n"}
        machine.upload(f"compatible-{number}", release_of(number, files))
    machine.succeed(compatible("compatible-1"))
    assert machine.must("cat", "/srv/quoted") == "it's \"x\" $HOME\ny\n"
    assert json.loads(machine.must(GET, "environment"))["QUOTED"] == "it's \"x\" $HOME\ny"
    assert machine.must(GET, "environment", "--output", "YAML").splitlines()[0] == '"PLAIN": "1"'
    assert machine.must("ps", "-o", "user=", "-p", web_pid(machine)).strip() == "webapp"
    assert machine.must("readlink", "-f", "/var/app/current").strip() == "/opt/shop/releases/compatible-1"
    for path in ("/opt/elasticbeanstalk/deployment/env", "/run/ingot/applications/shop/beanstalk.json"):
        assert machine.must("stat", "-L", "-c", "%a %U", path) == "600 root\n"
    assert machine.run("runuser", "-u", "nobody", "--", GET, "environment").code != 0
    machine.must("test", "-d", "/opt/elasticbeanstalk/tasks/taillogs.d")
    machine.wait_until("grep -q 'shop.web.*here' /var/log/web.stdout.log")
    print(machine.must("systemctl", "show", "-p", "MemoryCurrent,CPUUsageNSec", "ingot-log-shop.web.service"))
    print(machine.must("sh", "-c", "grep -E 'VmRSS|RssAnon|ctxt' /proc/$(systemctl show -P MainPID ingot-log-shop.web.service)/status"))

    assert "changed" not in machine.succeed(compatible("compatible-1")).outcomes().values()
    machine.succeed(compatible("compatible-2"))
    assert machine.must("readlink", "-f", "/var/app/current").strip() == "/opt/shop/releases/compatible-2"

    machine.succeed(shop("shop-1"))
    for path in ("/var/app/current", "/var/app/staging", "/opt/elasticbeanstalk/deployment/env", GET):
        assert machine.run("test", "-L", path).code != 0 and machine.run("test", "-e", path).code != 0, path
    assert machine.run("systemctl", "is-active", "ingot-log-shop.web.service").code != 0


ENV = "/opt/elasticbeanstalk/deployment/env"
# The second puts a file in the place of the link.
CHANGES = {"appends": f"echo A=b >>{ENV}", "replaces": f"sed -i s/PLAIN/PLAINER/ {ENV}"}


@pytest.mark.parametrize("change", CHANGES)
def test_variables_that_a_hook_changes_are_refused(machine, serving, change):
    machine.upload("changes", release_of("changes", {".platform/hooks/predeploy/1": f"#!/bin/sh\n{CHANGES[change]}\n"}))
    failure = machine.fail(compatible("changes"))
    assert f"hooks/predeploy/1 has changed {ENV}" in failure, failure
    assert machine.generation() == "1" and machine.pids() == serving
    assert machine.must("readlink", ENV).strip() == "/run/ingot/applications/shop/beanstalk.env"


BUILDFILE = f"""\
who: whoami >>{ORDER}; test -d "$HOME"; touch "$XDG_CACHE_HOME/a"; touch built bin/built
hooks: if mv .platform x || touch .platform/hooks/predeploy/2; then exit 9; fi; stat -c %U .platform/hooks/predeploy/1 >>{ORDER}
"""


def test_a_release_is_built_by_the_user_of_its_processes_and_is_roots_again(machine, serving):
    machine.upload("builds", release_of("builds", {"Buildfile": BUILDFILE, ".platform/hooks/predeploy/1": "#!/bin/sh\nexit 0\n"}))
    machine.succeed(compatible("builds").replace('"owner": "webapp"', '"owner": "root"'))
    assert order(machine) == ["webapp", "root"]
    release = machine.must("readlink", "-f", "/opt/shop/current").strip()
    assert machine.must("find", release, "!", "-user", "root") == ""
    assert machine.must("stat", "-c", "%U %a", release, f"{release}/built") == "root 755\nroot 644\n"
    assert machine.must("ls", f"{release}/.ingot") == ""


def test_without_the_user_nothing_is_done(machine, serving):
    machine.must("userdel", "webapp")
    try:
        failure = machine.fail(compatible("shop-2").replace('"owner": "webapp"', '"owner": "shop"'))
    finally:
        machine.must("useradd", "--system", "webapp")
    assert "the user `webapp` is not in /etc/passwd" in failure and "useradd --system webapp" in failure, failure
    assert machine.pids() == serving


def test_only_one_application_is_compatible(machine):
    text = json.loads(compatible("shop-1").removeprefix("#ingot\n"))
    text["applications"]["other"] = {**text["applications"]["shop"], "port": 5100, "proxy": {"listen": 8081}}
    done = machine.run("ingot", "check", "-", stdin="#ingot\n" + json.dumps(text))
    assert "applications.shop says `compatible_with: beanstalk`, and so does applications.other" in done.stdout + done.stderr, done


# .platform/nginx.

CONF = ".platform/nginx/conf.d"
ADDED = {
    f"{CONF}/a.conf": "client_max_body_size 1k;\nserver_tokens on;\nadd_header X-Release NUMBER;\nmap $uri $page { default page; }\n",
    f"{CONF}/elasticbeanstalk/b.conf": "location = /page { return 200 \"$page of NUMBER\\n\"; }\n",
}


def adding(number: int, **files: str) -> dict[str, bytes]:
    """A release that adds to nginx's configuration."""
    own = {name: text.replace("NUMBER", str(number)) for name, text in {**ADDED, **files}.items()}
    return release_of(number, own)


def reloads(machine) -> int:
    return machine.journal("-u", "ingot-proxy.service").count("Reloaded ingot-proxy.service")


def curl(machine, *arguments: str) -> str:
    return machine.must("curl", "-sS", "--max-time", "20", *arguments)


def page(machine) -> str:
    return curl(machine, "http://127.0.0.1:8080/page").strip()


def test_what_a_release_adds_to_nginx_comes_and_goes_with_it(machine, serving):
    for number in (1, 2):
        machine.upload(f"adding-{number}", adding(number))
    machine.upload("same-2", adding(2))
    machine.succeed(compatible("adding-1"))
    assert page(machine) == "page of 1" and machine.generation() == "1"
    head = curl(machine, "-D", "-", "-o", "/dev/null", "http://127.0.0.1:8080/")
    assert head.count("X-Release: 1") == 1 and "Server: nginx/" in head, head
    status = ["-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "x" * 1025]
    assert curl(machine, *status, "http://127.0.0.1:8080/") == "413"
    assert "changed" not in machine.succeed(compatible("adding-1")).outcomes().values()

    machine.succeed(compatible("adding-2"))
    assert page(machine) == "page of 2" and machine.generation() == "2"
    before = reloads(machine)
    machine.succeed(compatible("same-2"))
    assert reloads(machine) == before and page(machine) == "page of 2"
    machine.succeed(compatible("adding-1"))
    assert page(machine) == "page of 1" and machine.generation() == "1"
    machine.succeed(compatible("shop-2"))
    assert "page of" not in page(machine)


# To read a configuration is to create the logs that it names.
OUTSIDE = "/etc/cron.d/release"
BAD_NGINX = {
    "unknown": ({f"{CONF}/z.conf": "# a\nno_such_directive on;\n"}, [f"{CONF}/z.conf:2: nginx: unknown directive", "no_such_directive"]),
    "server": ({f"{CONF}/elasticbeanstalk/z.conf": "\n\nlocation /a { nonsense 1; }\n"}, [f"{CONF}/elasticbeanstalk/z.conf:3: nginx: unknown"]),
    "open": ({f"{CONF}/z.conf": "a {\n"}, [f"{CONF}/z.conf:1: this `{{` is not closed"]),
    "outside": ({f"{CONF}/z.conf": f"error_log {OUTSIDE};\n"}, [OUTSIDE, "Read-only file system", "below /var/log/nginx"]),
    "whole": ({".platform/nginx/nginx.conf": "user nginx;\n"}, [".platform/nginx/nginx.conf: this would replace", "conf.d/elasticbeanstalk/*.conf"]),
}


@pytest.mark.parametrize("bad", BAD_NGINX)
def test_what_nginx_does_not_read_is_named_and_nothing_is_switched(machine, bad):
    machine.upload("adding-1", adding(1))
    machine.succeed(compatible("adding-1"))
    pids, before = machine.pids(), reloads(machine)
    files, wanted = BAD_NGINX[bad]
    machine.upload(f"nginx-{bad}", adding(9, **files))
    failure = machine.fail(compatible(f"nginx-{bad}"))
    assert [text for text in wanted if text not in failure] == [] and "adding-1 keeps serving" in failure, failure
    assert machine.shell(f"test -e {OUTSIDE}").code == 1
    assert (machine.pids(), reloads(machine), page(machine)) == (pids, before, "page of 1")


def test_a_release_that_fails_after_the_switch_takes_its_configuration_back(machine):
    machine.upload("adding-1", adding(1))
    machine.succeed(compatible("adding-1"))
    machine.upload("late", adding(7, **{".platform/hooks/postdeploy/1": "#!/bin/sh\nexit 7\n"}))
    assert "postdeploy/1 exited with 7" in machine.fail(compatible("late"))
    assert page(machine) == "page of 1" and machine.generation() == "1"


def test_a_location_of_its_own_reaches_the_application(machine):
    root = "location / {\n    proxy_pass http://127.0.0.1:5000;\n    add_header X-Own yes;\n}\n"
    machine.upload("root", release_of("root", {f"{CONF}/elasticbeanstalk/00_application.conf": root}))
    machine.succeed(compatible("root"))
    for _ in range(4):
        assert "X-Own: yes" in curl(machine, "-D", "-", "-o", "/dev/null", "http://127.0.0.1:8080/")
        assert machine.generation() == machine.generation(5000) == "root"
