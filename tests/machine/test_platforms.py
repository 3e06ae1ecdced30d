"""Real applications of the platforms of Elastic Beanstalk, as source bundles with hooks: run, replaced under load, and kept
while a release that does not serve is tried. Containers have tests of their own; .NET was not run."""

import pytest
from harness.host import container
from harness.host.platforms import Platform

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

# The hooks of each, whether it speaks WebSocket, variables that its process has besides those of the document, how its
# broken release fails, and a program without which it cannot run.
PLATFORMS = {
    "flask": (["predeploy"], True, {"FLASK_ENV": "production", "PYTHONUNBUFFERED": "1"}, "exited with", "python3"),
    "express": (["prebuild", "postdeploy"], True, {}, "exited with", "npm"),
    "sinatra": (["predeploy"], False, {"RACK_ENV": "production"}, "exited with", "bundle"),
    "php": (["postdeploy"], False, {}, "status 500", "php-fpm8.2"),
    "tomcat": (["predeploy"], True, {}, "status", "java"),
    "java": (["predeploy"], False, {}, "exited with", "java"),
    "binary": (["prebuild", "predeploy"], False, {}, "exited with", None),
}


# The binary needs no runtime in the image, so it is tried on each push.
@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name == "binary" else [pytest.mark.slow]) for name in PLATFORMS])
def test_a_bundle_runs_is_replaced_and_outlives_a_broken_one(ingot, name):
    hooks, has_websocket, variables, fails, program = PLATFORMS[name]
    with Platform(name) as machine:
        machine.begin()
        for release in (1, 2, "broken"):
            machine.upload_release(release)
        result = machine.succeed(machine.document(1))
        print(f"{name}: {result.seconds:.1f} s from nothing")
        assert machine.generation() == "1"
        assert machine.must("cat", f"/var/lib/hooks/{name}").split() == hooks
        [pid] = machine.pids().values()
        assert machine.must("ps", "-o", "user=", "-p", pid).strip() == "webapp"
        environment = machine.must("cat", f"/proc/{pid}/environ").split("\0")
        assert [f"{key}={value}" for key, value in variables.items() if f"{key}={value}" not in environment] == [], environment

        machine.begin_load(websocket=has_websocket)
        result = machine.succeed(machine.document(2))
        print(f"{name}: {result.seconds:.1f} s for a switch under load")
        assert machine.generation() == "2"
        failure = machine.fail(machine.document("broken", ready="30s"))
        assert machine.generation() == "2"
        load = machine.end_load()
        print(f"{name}: {load['sent']} requests, {load['lost']} lost, {load['slowest']}")
        assert load["lost"] == 0, load["losses"]
        assert load["sent"] > 300 and set(load["generations"]) == {"1", "2"}, load["generations"]

        assert fails in failure and "2 keeps serving" in failure, failure
        assert "the catalog cannot be read" in failure, failure
        assert "systemd" not in failure and "Main process exited" not in failure, failure
        # systemd may list one that was stopped until it has forgotten it.
        machine.wait_for(lambda: machine.units() == ["shop.web-2"], 30, "the units of other generations to go")
        assert machine.must("systemctl", "list-units", "--failed", "--plain", "--no-legend", "shop.*") == ""
        if name == "php":
            for path in (".env", ".platform/hooks/postdeploy/01_opcache.sh", ".ingot/php-fpm.conf", "src/../.env", "%2eenv"):
                url = f"http://127.0.0.1:{machine.listen}/{path}"
                done = machine.run("curl", "-s", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", url)
                assert done.stdout == "404", path
        if program:
            a_missing_program_is_named(machine, program)


def a_missing_program_is_named(machine, program):
    path = machine.must("sh", "-c", f"command -v {program}").strip()
    machine.must("mv", path, "/root/away")
    failure = machine.fail(machine.document(2, environment={"LOG_LEVEL": "debug"}))
    assert f"the image has no `{program.rstrip('.0123456789') if program.startswith('php') else program}`" in failure, failure
    assert machine.generation() == "2" and machine.pids().keys() == {"shop.web-2"}
    machine.must("mv", "/root/away", path)
