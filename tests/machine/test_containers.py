"""Applications that are container images: real podman and runc, and a registry in the place of ECR."""

import json

import pytest
from harness.host import container, deployed
from harness.host.containers import REGISTRY, Contained, shop

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

PASSWORD = "hunter2-correct-horse"
SECRET = {
    "secrets": {"db": {"secrets_manager": "prod/shop/db"}},
    "environment": {"DATABASE_URL": "{{secrets.db.url}}", "LOG_LEVEL": "info"},
}
# A server that ends when it is asked to, and says so.
ASKED = ["/bin/sh", "-c", "trap 'echo was asked; exit 0' TERM; httpd -f -p 8080 -h /www & wait"]


@pytest.fixture(scope="module")
def machine(ingot):
    """A machine that all tests of this file have in turn; each says what it wants to serve first."""
    with Contained() as machine:
        machine.aws.secret("prod/shop/db", {"url": f"postgres://shop:{PASSWORD}@db/shop \"'$x`\\"})
        machine.begin()
        for number in (1, 2):
            machine.push(f"shop:{number}", number)
        yield machine


@pytest.fixture
def serving(machine):
    machine.succeed(shop("shop:1"))
    assert machine.generation() == "1"
    return machine.pids()


def test_an_image_is_pulled_and_runs_without_a_shell(machine):
    text = shop("shop:1", **SECRET)
    result = machine.succeed(text)
    assert machine.generation() == "1"
    [unit] = machine.units()
    assert machine.containers() == [unit]
    assert f"pull {REGISTRY}/shop:1" in json.dumps(result.report)

    # The process of the image has its environment, and nothing else shows the secret.
    environ = machine.must("cat", f"/proc/{machine.inside()}/environ").split("\0")
    assert {"PORT=8080", "LOG_LEVEL=info", f"DATABASE_URL=postgres://shop:{PASSWORD}@db/shop \"'$x`\\"} <= set(environ)
    assert PASSWORD not in machine.must("podman", "inspect", unit) + machine.must("systemctl", "show", unit)
    assert PASSWORD not in machine.must("ps", "-eo", "args") + machine.journal() + json.dumps(result.report)
    file = f"/run/ingot/applications/shop/{unit.rpartition('-')[2]}.env"
    assert machine.must("stat", "-c", "%U %a", file) == "root 600\n"
    assert machine.shell(f"grep -rlsF {PASSWORD} /run /etc /var /srv /tmp").stdout == f"{file}\n"

    # The password of the registry is gone, and nothing is left to do.
    assert machine.shell("ls /run/ingot/registries/shop").stdout == ""
    pids, pulls = machine.pids(), machine.pulls()
    again = machine.succeed(text).outcomes()
    assert again["applications.shop"] == "unchanged", again
    assert (machine.pids(), machine.pulls()) == (pids, pulls)


def test_the_next_image_is_proven_beside_the_one_that_serves(machine, serving):
    ask = "curl -sfo /dev/null http://127.0.0.1:8080/ && echo . >>/run/asked || echo . >>/run/lost"
    machine.must("systemd-run", "--quiet", "--unit=asking", "sh", "-c", f"while :; do {ask}; done")
    machine.succeed(shop("shop:2"))
    assert machine.generation() == "2"
    machine.must("systemctl", "stop", "asking.service")
    assert len(machine.must("cat", "/run/asked")) > 100 and machine.run("test", "-e", "/run/lost").code != 0
    # Of the one before there is neither a unit nor a container, and going back pulls nothing.
    assert machine.containers() == machine.units() and not set(machine.units()) & set(serving)
    pulls = machine.pulls()
    machine.succeed(shop("shop:1"))
    assert machine.generation() == "1" and machine.pulls() == pulls


def test_a_tag_is_what_it_meant_when_it_was_pulled(machine):
    first = machine.push("shop:moving", "first")
    machine.succeed(shop("shop:moving"))
    assert machine.generation() == "first"
    second = machine.push("shop:moving", "second")
    assert machine.succeed(shop("shop:moving")).outcomes()["applications.shop"] == "unchanged"
    assert machine.generation() == "first" and first != second

    # A digest says it exactly; one that is here is not pulled.
    machine.succeed(shop(f"shop@{second}"))
    assert machine.generation() == "second"
    pulls = machine.pulls()
    machine.succeed(shop(f"shop@{first}"))
    assert machine.generation() == "first" and machine.pulls() == pulls


# What the image is, what the document says besides, and what the message has to say.
BAD = {
    "no-tag": (None, {}, ["not found in the registry", "push it, or correct"]),
    "exits": ({"command": ["/bin/sh", "-c", "echo no database; exit 5"], "shell": True}, {}, ["web of shop exits", "no database"]),
    "missing-program": ({"command": ["/bin/none"]}, {}, ["cannot run /bin/none", "No such file"]),
    "elsewhere": ({"command": ["/bin/httpd", "-f", "-p", "9000", "-h", "/www"]}, {"timeout": "3s"}, ["not ready", "8080"]),
    "other-processor": ({"changes": ("ARCH",)}, {}, ["is for s390x", "build it for linux/amd64"]),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_image_gets_no_request_and_the_old_one_serves_throughout(machine, serving, bad):
    image, ready, wanted = BAD[bad]
    if bad == "other-processor":
        machine.push_foreign(f"shop:{bad}", "s390x")
    elif image is not None:
        machine.push(f"shop:{bad}", bad, **image)
    failure = machine.fail(shop(f"shop:{bad}", ready={"http": "/health", "timeout": "60s", **ready}))
    assert [text for text in wanted if text not in failure] == [], failure
    assert machine.pids() == serving and machine.containers() == machine.units()
    assert machine.shell("ls /run/ingot/registries/shop").stdout == ""


def test_a_role_that_may_not_log_in_is_told_so(machine, serving):
    machine.aws.fault("error", operation="GetAuthorizationToken", type="AccessDeniedException", message="not authorized")
    try:
        failure = machine.fail(shop("shop:unseen"))
    finally:
        machine.aws.recover()
    assert "ecr:GetAuthorizationToken" in failure, failure
    assert machine.pids() == serving


def test_a_stop_reaches_the_process_of_the_image(machine):
    machine.push("shop:asked", "asked", command=ASKED, shell=True)
    machine.succeed(shop("shop:asked", stop={"grace": "20s"}))
    [unit] = machine.units()
    machine.must("systemctl", "stop", unit)
    # The journal may get the last lines of a unit after it has stopped.
    machine.wait_for(lambda: "was asked" in machine.journal("-u", unit), 20, "the last line of the container")
    assert machine.containers() == []


# A plugin of podman's network that takes its time once the port is forwarded.
SLOW = """\
#!/bin/sh
/usr/lib/cni/portmap.own
code=$?
if [ "$CNI_COMMAND" = ADD ] && [ -e /run/slow ]; then touch /run/forwarded; sleep 2; fi
exit $code
"""


def test_a_stop_does_not_interrupt_a_start(machine, serving):
    """podman forgets a network that it is killed over, and its rules would get the requests of the next release."""
    machine.must("mv", "/usr/lib/cni/portmap", "/usr/lib/cni/portmap.own")
    machine.write("/usr/lib/cni/portmap", SLOW, 0o755)
    machine.must("touch", "/run/slow")
    [unit] = serving
    machine.must("kill", "-9", machine.inside())
    machine.wait_until("test -e /run/forwarded")
    machine.must("systemctl", "stop", unit)
    machine.must("mv", "/usr/lib/cni/portmap.own", "/usr/lib/cni/portmap")
    rules = machine.must("iptables", "-t", "nat", "-S")
    assert "--to-destination" not in rules and machine.containers() == [], rules
    assert machine.shell("ls /run/netns").stdout == ""
    machine.succeed(shop("shop:1"))
    assert machine.generation() == "1"


@pytest.mark.parametrize("killed", ["engine", *(pytest.param(killed, marks=pytest.mark.slow) for killed in ("monitor", "process"))])
def test_nothing_is_left_over_and_it_comes_back_after_a_kill(machine, serving, killed):
    [unit] = machine.units()
    inside = machine.inside()
    pid = {"engine": serving[unit], "monitor": machine.must("ps", "-o", "ppid=", "-p", inside).strip(), "process": inside}[killed]
    machine.must("kill", "-9", pid)
    machine.wait_until(f"test ! -e /proc/{inside}")
    machine.wait_for(lambda: machine.generation() == "1", 60, "the container to be back")
    assert machine.containers() == [unit] and machine.inside() != inside


@pytest.mark.slow
def test_limits_of_the_unit_hold_for_the_container(machine):
    machine.succeed(shop("shop:1", resources={"memory": "200M"}))
    [unit] = machine.units()
    group = machine.show(f"{unit}.service", "ControlGroup")["ControlGroup"]
    assert f"{group}/libpod-payload-" in machine.must("cat", f"/proc/{machine.inside()}/cgroup")
    assert machine.show(f"{unit}.service", "MemoryMax")["MemoryMax"] == str(200 << 20)


@pytest.mark.slow
def test_processes_beside_web_have_commands_of_their_own(machine):
    machine.push("shop:two", "two", shell=True)
    run = {"web": "/bin/httpd -f -p $PORT -h /www", "jobs": "/bin/sh -c 'echo working on $LOG_LEVEL; sleep 1000'"}
    machine.succeed(shop("shop:two", run=run, environment={"LOG_LEVEL": "info"}))
    assert machine.generation() == "two"
    [jobs] = [unit for unit in machine.units() if ".jobs-" in unit]
    machine.wait_until(f"journalctl -u {jobs} -o cat | grep -qx 'working on info'")
    assert len(machine.containers()) == 2


@pytest.mark.slow
def test_images_that_nobody_needs_are_removed_and_others_are_not(machine):
    machine.make_image("localhost/theirs:1", "theirs")
    for number in range(10, 15):
        machine.push(f"shop:{number}", number)
        machine.succeed(shop(f"shop:{number}"))
        assert machine.generation() == str(number)
    images = machine.must("podman", "images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert [f"{REGISTRY}/shop:{number}" for number in (12, 13, 14)] == sorted(name for name in images if "/shop:1" in name and name[-2:] > "09")
    assert "localhost/theirs:1" in images


def test_after_a_reboot_it_runs_before_anything_can_be_asked(machine, serving):
    machine.power_cut()
    machine.lose_imds()
    try:
        machine.boot()
        machine.wait_for(lambda: machine.generation() == "1", 60, "the container to be back")
    finally:
        machine.find_imds()
    assert machine.containers() == machine.units()


def test_without_an_engine_the_message_says_what_to_install(machine, serving):
    machine.must("mv", "/usr/bin/podman", "/root/podman")
    try:
        failure = machine.fail(shop("shop:unknown"))
    finally:
        machine.must("mv", "/root/podman", "/usr/bin/podman")
    assert "neither podman nor docker is installed" in failure


def bundled(key: str, **fields) -> str:
    """The document of an application whose release is the archive `key`."""
    fields = {"overlap": True, "user": None, "stop": {"grace": "1s"}, **fields}
    return deployed.shop(key, **{name: value for name, value in fields.items() if value is not None})


def dockerfile(number, more: str = "") -> dict[str, bytes]:
    text = f"FROM {REGISTRY}/shop:1\nCOPY index.html /www/index.html\n{more}"
    return {"Dockerfile": text.encode(), "index.html": f"web gen={number}\n".encode()}


@pytest.mark.slow
def test_a_dockerfile_from_ecr_is_built_once_with_its_release(machine):
    for number in ("b1", "b2"):
        machine.upload(number, dockerfile(number))
        machine.succeed(bundled(number, **SECRET))
        assert machine.generation() == number
    assert f"DATABASE_URL=postgres://shop:{PASSWORD}" in machine.must("cat", f"/proc/{machine.inside()}/environ")
    assert PASSWORD not in machine.must("podman", "inspect", *machine.containers())
    assert machine.shell("ls /run/ingot/registries/shop").stdout == ""
    made = machine.must("podman", "images", "--format", "{{.Repository}}:{{.Tag}}", "localhost/ingot/shop").split()
    assert sorted(made) == ["localhost/ingot/shop:rb1", "localhost/ingot/shop:rb2"]
    result = machine.succeed(bundled("b1", **SECRET))
    assert machine.generation() == "b1" and "build " not in json.dumps(result.report["steps"])

    # The image goes with the release.
    machine.upload("b3", dockerfile("b3"))
    machine.succeed(bundled("b3", bundle={"keep": 1}))
    machine.upload("b4", dockerfile("b4"))
    machine.succeed(bundled("b4", bundle={"keep": 1}))
    machine.succeed(shop("shop:1"))
    made = machine.must("podman", "images", "--format", "{{.Tag}}", "localhost/ingot/shop").split()
    assert "rb2" not in made, made


def test_a_dockerfile_that_does_not_build_leaves_the_old_one(machine, serving):
    machine.upload("broken", dockerfile("broken", "COPY nowhere /\n"))
    failure = machine.fail(bundled("broken"))
    assert "cannot build the Dockerfile" in failure and "nowhere" in failure, failure
    assert machine.generation() == "1" and machine.pids() == serving


# In the place of podman-compose: no network serves it here.
COMPOSE = """\
#!/bin/sh
echo "$@ for $LOG_LEVEL" >>/run/composed
case " $* " in *" up "*) echo "up with $LOG_LEVEL"; exec busybox httpd -f -p "127.0.0.1:$PORT" -h "$PWD/www";; esac
"""


@pytest.mark.slow
def test_services_of_a_compose_file_are_a_project_of_each_slot(machine):
    machine.write("/usr/local/bin/podman-compose", COMPOSE, 0o755)
    files = {"compose.yaml": b"services: { web: { image: x, ports: ['127.0.0.1:${PORT}:80'], env_file: .env }, cron: { build: . } }\n"}
    for number in ("c1", "c2"):
        page = {"www/index.html": f"web gen={number}\n".encode(), "www/health": b"fine\n"}
        machine.upload(number, files | page)
        machine.succeed(bundled(number, environment={"LOG_LEVEL": "info"}))
        assert machine.generation() == number
    [unit] = machine.units()
    number = unit.rpartition("-")[2]
    assert machine.must("readlink", "/opt/shop/current/.env").strip() == f"/run/ingot/applications/shop/{number}.env"
    ran = machine.must("cat", "/run/composed").splitlines()
    slots = {line.split()[1] for line in ran if " up " in line}
    assert len(slots) == 2 and any(" down " in line for line in ran), ran
    # Each image is built once, with what it is to run with, and has the name of its release, whatever its slot is.
    built = [line for line in ran if " build " in line]
    assert len(built) == 2 and all(" -f .ingot/compose.yaml build for info" in line for line in built), ran
    assert not any("--build" in line for line in ran), ran
    assert "localhost/ingot/shop:rc2-cron" in machine.must("cat", "/opt/shop/current/.ingot/compose.yaml")
    machine.succeed(shop("shop:1"))
    assert machine.generation() == "1"


DOCKER = """\
#!/bin/sh
[ "$1" = --version ] && exit 0
echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2
exit 1
"""


def test_docker_without_its_daemon_is_told_as_that(machine, serving):
    machine.must("mv", "/usr/bin/podman", "/root/podman")
    machine.write("/usr/local/bin/docker", DOCKER, 0o755)
    try:
        failure = machine.fail(shop("shop:unknown"))
    finally:
        machine.must("mv", "/root/podman", "/usr/bin/podman")
        machine.must("rm", "/usr/local/bin/docker")
    assert "its daemon is not running" in failure and "docker.service" in failure, failure
    assert machine.pids() == serving


@pytest.mark.slow
def test_a_pull_is_retried_until_the_registry_answers(machine, serving):
    machine.push("shop:late", "late")
    machine.must("systemctl", "stop", "docker-registry.service")
    unit = machine.begin_deploy(shop("shop:late"))
    machine.wait_until(f"journalctl -u {unit} -o cat | grep -q 'cannot pull'")
    machine.must("systemctl", "start", "docker-registry.service")
    machine.wait_for(lambda: machine.generation() == "late", 120, "the image to serve")


def test_a_password_that_a_killed_boot_has_left_is_removed_by_the_next(machine, serving):
    machine.must("install", "-D", "--mode=600", "/dev/null", "/run/ingot/registries/shop/config.json")
    machine.succeed(shop("shop:1"))
    assert machine.run("test", "-e", "/run/ingot/registries/shop/config.json").code != 0


@pytest.mark.slow
def test_a_full_disk_is_told_as_that(machine, serving):
    machine.push("shop:large", "large")
    machine.must("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/var/tmp")
    try:
        failure = machine.fail(shop("shop:large"))
    finally:
        machine.must("umount", "/var/tmp")
    assert "the disk is full" in failure, failure
    assert machine.pids() == serving


@pytest.mark.parametrize("aws", [True, False])
def test_a_container_reaches_the_metadata_service_only_if_it_may(machine, aws):
    machine.succeed(shop("shop:1", aws=aws))
    [unit] = machine.units()
    group = machine.show(f"{unit}.service", "ControlGroup")["ControlGroup"]
    # As a process of the container, in its network and its control group.
    ask = "curl -s -m 3 -o /dev/null -w '%{http_code}' http://169.254.169.254/latest/meta-data/"
    enter = f"echo $$ >$(echo /sys/fs/cgroup{group}/libpod-payload-*)/cgroup.procs"
    done = machine.shell(f"{enter}; exec nsenter --net --target {machine.inside()} {ask}")
    assert done.stdout == ("401" if aws else "000"), done
