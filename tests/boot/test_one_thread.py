"""The one thread of the runtime makes no system call that may wait for a disk: such calls are made by threads beside."""

import re

from harness.agent import DONE, document
from harness.host.archives import release

# strace(1) without `-f` follows the first thread alone. `-D`: what it runs stays our child.
FOLLOWS = ["strace", "-D", "-qq", "-y", "-e", "trace=%file,%desc"]

CALL = re.compile(r"^(\w+)\((.*)$")

# These ask about a descriptor, or let go of one that another thread has opened.
NO_WAIT = ("close", "poll", "ioctl", "fcntl")

OF_MEMORY = ("/proc", "/sys", "/dev", "/run/systemd")

# A static program asks where it is itself before it begins. The kernel answers from memory.
ITSELF = '"/proc/self/exe"'

# The loader's, before the program begins, unless it is static.
LOADER = ("/etc/ld.so", "/lib", "/usr/lib")


def places(arguments: str, root: str) -> list[str]:
    """The files that a call names, by path or by descriptor."""
    named = re.findall(r'"(/[^"]*)"', arguments) + re.findall(r"\d+<(/[^>]*)>", arguments)
    relative = [f"{root}/…" for _ in re.findall(r'"[^"/]', arguments) if root in arguments]
    return named + relative


def test_the_first_thread_touches_no_disk(agent, aws, imds, tmp_path):
    aws.secret("db", {"password": "hunter2hunter2"})
    aws.client("s3").create_bucket(Bucket="releases", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    aws.client("s3").put_object(Bucket="releases", Key="app.tar.gz", Body=release("tar.gz"))
    agent.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    agent.write("/etc/group", "root:x:0:\n")
    agent.write("/etc/ingot/templates/app.hbs", "{{secrets.db.password}}\n")
    text = document(
        secrets={"db": {"secrets_manager": "db"}},
        files={
            "/etc/app": {"template": "/etc/ingot/templates/app.hbs", "owner": "root", "group": "root"},
            "/srv/a/b/c": {"content": "{{instance.id}}\n", "check": ["/bin/cat", "{path}"]},
        },
        credentials={"db": "{{secrets.db.password}}"},
        bundles={"app": {"s3": "s3://releases/app.tar.gz", "into": "/opt/app", "owner": "root"}},
        commands={"say": {"run": ["echo", "said"], "as": "root", "working_directory": str(tmp_path)}},
    )
    log = tmp_path / "calls"
    result = agent.boot(text, prefix=[*FOLLOWS, "-o", str(log), "--"])
    assert result.code == DONE, result
    again = agent.boot(text, prefix=[*FOLLOWS, "-o", str(log), "-A", "--"])
    assert again.code == DONE, again

    root, calls = str(agent.root), 0
    touched = []
    for line in log.read_text().splitlines():
        if not (call := CALL.match(line)) or call[1] in ("execve", "getcwd") or call[2].startswith(ITSELF):
            continue
        calls += 1
        wrong = [place for place in places(call[2], root) if not place.startswith((*OF_MEMORY, *LOADER))]
        if wrong and call[1] not in NO_WAIT:
            touched.append(line)
    assert calls > 100, "nothing was followed"
    assert not touched, "\n".join(touched[:40])
