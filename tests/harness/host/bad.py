"""Releases that do not serve, each in its own way, beside those of `deployed.release_of`.

    bad = BAD["exits-at-once"]
    machine.upload("exits-at-once", bad.release)
    failure = machine.fail(shop("exits-at-once", ready={"http": "/health", **bad.ready}), bad.address)
    assert all(text in failure for text in bad.says)
"""

import dataclasses
import itertools

from .deployed import release_of, web

ANSWERS_500 = """\
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500)
        self.end_headers()
    def log_message(self, *_):
        pass
print("cannot read the catalog", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
ANSWERS_ONCE = ANSWERS_500.replace("500", "204").replace("serve_forever()", "handle_request()")


def dies_after(seconds: float) -> str:
    """The command of a `web` that serves as a good one does, and dies so long after it was started."""
    return f"(sleep {seconds}; kill -KILL $$) & GENERATION=bad exec python3 -S bin/echo.py"


@dataclasses.dataclass(frozen=True)
class Bad:
    """What the release is, what `ready:` of the document says besides, and what the message has to say."""

    files: dict[str, str | None] | bytes
    ready: dict = dataclasses.field(default_factory=dict)
    says: tuple[str, ...] = ()

    @property
    def release(self) -> dict[str, bytes] | bytes:
        return self.files if isinstance(self.files, bytes) else release_of("bad", self.files)

    @property
    def address(self) -> str:
        """The step that fails."""
        return "applications.shop" if self.says else "bundles.app"


def runs(command: str) -> dict[str, str]:
    return {"Procfile": f"web: {command}\njobs: exec bin/jobs\n"}


RUNS_APP = runs("exec python3 -S bin/app")
SOON = {"timeout": "3s"}

BAD = {
    "exits-at-once": Bad(runs("echo no database here; exit 5"), {}, ("web of shop", "exited with 5", "no database here")),
    "does-not-unpack": Bad(b"\x1f\x8b nothing like it"),
    "hook": Bad({".platform/hooks/predeploy/01.sh": "#!/bin/sh\necho no schema; exit 3\n"}, {}, ("predeploy/01.sh exited with 3", "no schema")),
    "build": Bad({"Buildfile": "compile: echo no compiler; exit 4\n"}, {}, ("exited with 4", "no compiler")),
    "never-ready": Bad(runs("echo still loading; exec sleep 1000"), SOON, ("not ready after", "refused", "still loading")),
    "answers-500": Bad(RUNS_APP | {"bin/app": ANSWERS_500}, SOON, ("status 500", "cannot read the catalog")),
    "ends-soon": Bad(RUNS_APP | {"bin/app": ANSWERS_ONCE}, {}, ("web of shop ends-soon", "exited with 0", "cannot read the catalog")),
    "dies-soon": Bad(
        RUNS_APP | {"bin/app": ANSWERS_ONCE + "os._exit(7)\n"}, {}, ("web of shop dies-soon", "exited with 7", "cannot read the catalog")
    ),
    "dies-later": Bad(runs(dies_after(3)), {"for": "5s"}, ("web of shop dies-later", "was killed by SIGKILL")),
    "elsewhere": Bad(runs("PORT=9123 exec python3 -S bin/echo.py"), SOON, ("listens on 127.0.0.1:9123 and not on $PORT",)),
    "without-web": Bad({"Procfile": "worker: exec bin/jobs\n"}, {}, ("Procfile", "no process is named `web`")),
    "wrong-line": Bad({"Procfile": f"web: {web(9)}\njobs exec bin/jobs\n"}, {}, ("Procfile:2", "this line has no colon")),
    "crlf": Bad({"Procfile": f"web: {web(9)}\r\njobs: exec bin/jobs\r\n"}, {}, ("Procfile:1", "CR LF")),
    "without-program": Bad({"Procfile": None, "shop.runtimeconfig.json": "{}", "shop.dll": ""}, {}, ("the image has no `dotnet`, which .NET needs",)),
}

# Those that are tried among the switches of a test and of the bench, one after the other.
AMONG_SWITCHES = ("does-not-unpack", "build", "exits-at-once", "never-ready", "answers-500", "dies-soon")


def mixed(number: int):
    """The releases of `number` switches from `shop-1`: `shop-2` and `shop-1` in turn, and after every three of those a bad one."""
    bad, good = itertools.cycle(AMONG_SWITCHES), itertools.cycle(("shop-2", "shop-1"))
    for turn in range(number):
        yield next(bad) if turn % 4 == 3 else next(good)
