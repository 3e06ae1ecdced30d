"""The configuration that ingot writes, given to a real nginx under systemd: what it answers, and what a switch loses.

The configuration is the snapshots of the unit tests, which are what ingot writes.
"""

import json
import re
import time
from pathlib import Path

import pytest
from harness import tls
from harness.agent import PATIENCE, REPOSITORY
from harness.host import container, load
from harness.host.container import Machine

pytestmark = pytest.mark.skipif(bool(container.unavailable()), reason=container.unavailable() or "")

SNAPSHOTS = Path(__file__).with_name("proxy")
PROXY = "/run/ingot/proxy"
PORTS = {"a": 15000, "b": 25000}
# An address from which nobody is believed, as no balancer has it.
OUTSIDE = "203.0.113.7"


def snapshot(name: str) -> str:
    """What a unit test has written, without insta's own header."""
    return (SNAPSHOTS / f"{name}.snap").read_text().split("---\n", 2)[2]


class Proxied(Machine):
    """A machine with the proxy's unit, and with releases in the two slots of `shop`."""

    def make(self) -> None:
        super().make()
        # In this harness alone, IMDS has port 80 of the machine.
        self.undo.remove(self.imds.__exit__)
        self.imds.__exit__()

    def put(self, path: str, content: str, mode: str = "644") -> None:
        done = self.run("install", "-D", f"--mode={mode}", "/dev/stdin", path, stdin=content)
        assert done.code == 0, done

    def must(self, *command: str, **more) -> str:
        done = self.run(*command, **more)
        assert done.code == 0, done
        return done.stdout

    def begin(self) -> None:
        """What ingot does before it starts the proxy."""
        self.put(f"{PROXY}/nginx.conf", snapshot("nginx.conf"))
        certificate, key = (pem.decode() for pem in tls.Authority().issue("shop.example.com"))
        self.put(f"{PROXY}/tls/shop.crt", certificate)
        self.put(f"{PROXY}/tls/shop.key", key, "600")
        for site in ("shop", "alone", "php"):
            self.put(f"{PROXY}/sites/{site}.conf", snapshot(f"{site}.conf"))
            for slot in "ab":
                self.must("mkdir", "-p", f"{PROXY}/slots/{site}-{slot}")
            self.point(site, "a")
        for slot in "ab":
            self.put(f"/opt/shop/releases/{slot}/public/assets/name.txt", f"{slot}\n")
            self.put(f"/opt/shop/releases/{slot}/public/assets/long.css", "a { color: red }\n" * 1000)
            self.put(f"/opt/shop/releases/{slot}/robots.txt", "User-agent: *\n")
            for hidden in (".env", ".git/config", "img/.cache/x", ".well-known/.env"):
                self.put(f"/opt/shop/releases/{slot}/public/assets/{hidden}", "not to be served\n")
            self.put(f"/opt/shop/releases/{slot}/secret", "not to be served\n")
            for hidden in (".env", ".git/config", "below/.htpasswd"):
                self.put(f"/opt/shop/releases/{slot}/public/assets/{hidden}", "not to be served\n")
            self.put(f"/opt/shop/releases/{slot}/public/assets/.well-known/security.txt", "Contact: us\n")
            self.put(f"/opt/shop/releases/{slot}/shared.txt", "shared\n")
            self.must("ln", "-s", "../../shared.txt", f"/opt/shop/releases/{slot}/public/assets/own")
            self.must("ln", "-s", "/etc/passwd", f"/opt/shop/releases/{slot}/public/assets/foreign")
            self.must("chown", "-hR", "games:games", f"/opt/shop/releases/{slot}")
            self.must("ln", "-s", f"/opt/shop/releases/{slot}", f"{PROXY}/slots/shop-{slot}/release")
        started = self.run("systemctl", "start", "ingot-proxy.service")
        assert started.code == 0, self.journal("-u", "ingot-proxy.service")

    def point(self, site: str, slot: str) -> None:
        """The switch: one rename."""
        new = f"{PROXY}/.{site}"
        self.must("ln", "-s", f"slots/{site}-{slot}", new)
        self.must("mv", "-T", new, f"{PROXY}/{site}")

    def start(self, port: int, generation: str) -> None:
        environment = [f"--setenv=PORT={port}", f"--setenv=GENERATION={generation}"]
        self.must("systemd-run", "--quiet", f"--unit=web-{generation}", *environment, "python3", "-S", "/opt/echo.py")
        self.wait_until(f"curl -sf http://127.0.0.1:{port}/ | grep -q gen={generation}")

    def stop(self, generation: str) -> None:
        self.must("systemctl", "stop", f"web-{generation}.service")

    def start_first_again(self, serving: str) -> None:
        """As it was before the test."""
        self.stop(serving)
        self.start(PORTS["a"], "first")
        self.point("shop", "a")

    def serves(self, slot: str) -> bool:
        """Whether somebody is served by a slot. The kernel lists TCP slowly on a busy machine, so that comes last."""
        path = re.compile(rf" 0[23] +\d+ {PROXY}/slots/shop-{slot}/http\.sock$", re.MULTILINE)
        if path.search(self.must("cat", "/proc/net/unix")):
            return True
        port = f":{PORTS[slot]:04X}"
        connection = re.compile(rf"^ *\d+: (\S+{port} \S+ 0[13]|\S+ 0100007F{port} 0[12]) ", re.MULTILINE)
        return bool(connection.search(self.must("cat", "/proc/net/tcp")))

    def curl(self, *arguments: str, **more) -> str:
        return self.must("curl", "-sS", "--max-time", "20", *arguments, **more)

    def status(self, *arguments: str, **more) -> str:
        return self.curl("-o", "/dev/null", "-w", "%{http_code}", *arguments, **more)


@pytest.fixture(scope="module")
def machine():
    with Proxied() as machine:
        for program in ("echo", "load"):
            machine.write(f"/opt/{program}.py", Path(load.__file__).with_name(f"{program}.py").read_text())
        unit = "ingot-proxy.service"
        machine.write(f"/usr/lib/systemd/system/{unit}", (REPOSITORY / "systemd" / unit).read_text())
        machine.boot()
        machine.must("ip", "address", "add", f"{OUTSIDE}/32", "dev", "lo")
        machine.begin()
        machine.start(PORTS["a"], "first")
        yield machine


def test_passes_requests_on_from_every_place_it_listens(machine):
    for url in ("http://127.0.0.1/", "http://[::1]/", "http://127.0.0.1:5000/", "https://127.0.0.1/"):
        assert "gen=first" in machine.curl("-k", url), url
    assert machine.curl("-k", "-o", "/dev/null", "-w", "%{http_version}", "https://127.0.0.1/") == "2"
    # The address for what runs on this machine is not for others.
    assert machine.run("curl", "-sS", f"http://{OUTSIDE}:5000/").code != 0


def headers(machine, *arguments: str) -> dict[str, str]:
    return dict(json.loads(machine.curl("-k", "-H", "X-Id: h", *arguments)))


def test_a_balancer_is_believed_and_a_client_is_not(machine):
    spoofed = ["-H", "X-Forwarded-For: 198.51.100.1", "-H", "X-Forwarded-Proto: https", "-H", "X-Forwarded-Port: 443"]
    spoofed += ["-H", "X-Forwarded-Host: evil.example", "-H", "Forwarded: for=198.51.100.1", "-H", "Proxy: evil"]
    seen = headers(machine, *spoofed, "http://127.0.0.1/headers")
    assert seen["x-forwarded-for"] == "198.51.100.1, 127.0.0.1"
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"], seen["x-real-ip"]) == ("https", "443", "198.51.100.1")
    assert "proxy" not in seen and seen["host"] == "127.0.0.1"
    # No balancer of AWS writes or removes these.
    assert not {"forwarded", "x-forwarded-host"} & set(seen)

    seen = headers(machine, *spoofed, "--interface", OUTSIDE, f"http://{OUTSIDE}/headers")
    assert seen["x-forwarded-for"] == seen["x-real-ip"] == OUTSIDE
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("http", "80")
    assert not {"forwarded", "x-forwarded-host", "proxy"} & set(seen)

    seen = headers(machine, "-H", "Host: shop.example.com:443", "https://127.0.0.1/headers")
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("https", "443")
    assert seen["host"] == "shop.example.com:443"
    assert seen["connection"] == "close"


def test_static_files_are_served_from_the_release_and_nothing_beside_them(machine):
    assert machine.curl("http://127.0.0.1/assets/name.txt") == "a\n"
    assert machine.curl("http://127.0.0.1/robots.txt") == "User-agent: *\n"
    assert machine.status("http://127.0.0.1/assets/missing") == "404"
    assert machine.curl("-o", "/dev/null", "-w", "%{redirect_url}", "http://127.0.0.1/assets").endswith("/assets/")
    for path in ("/.env", "/.git/config", "/%2egit/config", "/img/.cache/x", "/.well-known/.env", "/.well-known/../.env"):
        assert machine.status("--path-as-is", f"http://127.0.0.1/assets{path}") == "404", path
    for path in ("/assets../secret", "/assets/../secret", "/assets/..%2f..%2fsecret", "/assets/%2e%2e/%2e%2e/secret"):
        assert "not to be served" not in machine.curl("--path-as-is", f"http://127.0.0.1{path}"), path
    for path in (".env", ".git/config", "below/.htpasswd", "below/%2ehtpasswd", "%2Eenv"):
        assert machine.status("--path-as-is", f"http://127.0.0.1/assets/{path}") == "404", path
    assert machine.curl("http://127.0.0.1/assets/.well-known/security.txt") == "Contact: us\n"
    # A link is followed to what its own owner has.
    assert machine.curl("http://127.0.0.1/assets/own") == "shared\n"
    assert machine.status("http://127.0.0.1/assets/foreign") == "403"
    zipped = ["-D", "-", "-o", "/dev/null", "-H", "Accept-Encoding: gzip"]
    answer = machine.curl(*zipped, "http://127.0.0.1/assets/long.css")
    assert "\nContent-Encoding: gzip\n" in answer and "\nServer: nginx\n" in answer, answer


def test_a_body_has_a_limit_and_below_it_comes_whole(machine):
    machine.must("sh", "-c", "head -c 9000000 /dev/zero >/tmp/large; head -c 11000000 /dev/zero >/tmp/larger")
    assert " len=9000000 " in machine.curl("--data-binary", "@/tmp/large", "http://127.0.0.1/")
    assert machine.status("--data-binary", "@/tmp/larger", "http://127.0.0.1/") == "413"


def test_an_application_that_is_slow_or_gone_is_reported_as_such(machine):
    """`alone` has a second for its answer, and no overlap: its port is the application's own."""
    assert machine.status("http://127.0.0.1:8081/") == "502"
    assert "did not answer" in machine.curl("http://127.0.0.1:8081/")
    machine.start(5001, "alone")
    try:
        assert machine.status("http://127.0.0.1:8081/") == "200"
        assert machine.status("-H", "X-Wait: 5", "http://127.0.0.1:8081/") == "504"
        assert "did not answer" in machine.curl("-H", "X-Wait: 5", "http://127.0.0.1:8081/")
        assert machine.status("--data-binary", "x" * 1025, "http://127.0.0.1:8081/") == "413"
    finally:
        machine.stop("alone")


def test_requests_are_in_the_journal(machine):
    machine.curl("-H", "User-Agent: a \"quote\"", "http://127.0.0.1/where-is-this")
    line = machine.wait_until("journalctl --no-pager -o cat -t shop_access | grep where-is-this").stdout
    assert line.startswith('127.0.0.1 "GET /where-is-this HTTP/1.1" 200 '), line


def test_the_distributions_nginx_is_not_touched(machine):
    assert machine.show("nginx.service", "ActiveState") == {"ActiveState": "inactive"}
    unit = machine.show("ingot-proxy.service", "ActiveState", "NRestarts", "UnitFileState")
    assert unit == {"ActiveState": "active", "NRestarts": "0", "UnitFileState": "static"}
    workers = machine.must("ps", "-o", "user=", "-C", "nginx").split()
    assert workers.count("root") == 1 and workers.count("www-data") >= 1, workers


def test_a_wrong_configuration_is_refused_and_the_old_one_serves_on(machine):
    machine.put(f"{PROXY}/sites/wrong.conf", "server { listen nonsense:; }\n")
    assert machine.run("systemctl", "reload", "ingot-proxy.service").code != 0
    machine.must("rm", f"{PROXY}/sites/wrong.conf")
    assert machine.status("http://127.0.0.1/") == "200"
    machine.must("systemctl", "reload", "ingot-proxy.service")
    assert machine.status("http://127.0.0.1/") == "200"


def test_it_comes_back_after_a_kill(machine):
    main = machine.show("ingot-proxy.service", "MainPID")["MainPID"]
    machine.must("systemctl", "kill", "--signal=SIGKILL", "ingot-proxy.service")
    machine.wait_until(f"test $(systemctl show ingot-proxy.service -P MainPID) != {main} && curl -sf http://127.0.0.1/")


def test_a_stop_lets_requests_finish(machine):
    ask = ["curl", "-sS", "-H", "X-Wait: 3", "-o", "/run/slow", "http://127.0.0.1/"]
    machine.must("systemd-run", "--quiet", "--unit=slow", *ask)
    machine.wait_for(lambda: machine.serves("a"), PATIENCE, "the request to reach the application")
    machine.must("systemctl", "stop", "ingot-proxy.service")
    assert "gen=first" in machine.must("cat", "/run/slow")
    assert machine.show("ingot-proxy.service", "Result") == {"Result": "success"}
    machine.must("systemctl", "start", "ingot-proxy.service")
    assert machine.status("http://127.0.0.1/") == "200"


def begin_load(machine: Proxied, longest: float) -> None:
    run = ["systemd-run", "--quiet", "--unit=load", "-p", "LimitNOFILE=4096", "python3", "-S", "/opt/load.py"]
    machine.must(*run, f"--longest={longest}", "--websocket=/ws", "127.0.0.1", "80", "/run/load.json")
    # Every kind of client has a request with the application by then, the slowest among them.
    machine.wait_until("test $(journalctl -t shop_access -o cat --since=-5s | wc -l) -gt 300")


def end_load(machine: Proxied) -> dict:
    machine.must("systemctl", "kill", "--signal=SIGTERM", "load.service")
    machine.wait_until("! systemctl is-active --quiet load.service")
    return json.loads(machine.must("cat", "/run/load.json"))


def switch(machine: Proxied, switches: int, longest: float) -> dict:
    """Switches between two slots under load, and stops the old release once it serves nobody. What the load saw."""
    begin_load(machine, longest)
    serving, slot = "first", "a"
    for number in range(switches):
        old, old_slot = serving, slot
        serving, slot = f"g{number}", "b" if slot == "a" else "a"
        machine.start(PORTS[slot], serving)
        machine.point("shop", slot)
        assert machine.curl("http://127.0.0.1/assets/name.txt") == f"{slot}\n"
        looks, deadline = 0, time.monotonic() + 3 * longest + 2 * PATIENCE
        while looks < 3:
            looks = 0 if machine.serves(old_slot) else looks + 1
            assert time.monotonic() < deadline, f"somebody is still served by {old} in slot {old_slot}"
        # It dies with the signal: whatever it had in hand would be lost.
        machine.stop(old)
    result = end_load(machine)
    machine.start_first_again(serving)
    return result


@pytest.mark.parametrize(
    ("switches", "longest"), [(6, 2.0), pytest.param(50, 10.0, marks=pytest.mark.slow)], ids=["six", "fifty"]
)
def test_a_switch_by_rename_loses_no_request(machine, switches, longest):
    result = switch(machine, switches, longest)
    print(json.dumps({**result, "losses": len(result["losses"])}))
    assert result["lost"] == 0, result["losses"]
    assert result["sent"] > 200 * switches
    assert all(result["kinds"][kind]["sent"] > 0 for kind in [*load.KINDS, "websocket"]), result["kinds"]
    # Requests reached the releases in between, too, and none of them was told to come back.
    assert len(result["generations"]) == switches + 1


def test_the_load_notices_a_release_that_is_stopped_too_early(machine):
    """What the test above would say if nobody waited for the old release."""
    begin_load(machine, 3.0)
    machine.start(PORTS["b"], "next")
    machine.point("shop", "b")
    machine.stop("first")
    result = end_load(machine)
    machine.start_first_again("next")
    assert 0 < result["lost"] < result["sent"] / 2, result
