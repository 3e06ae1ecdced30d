"""Boot documents of any size: so many steps of one shape.

    sized.SHAPES["files"](1000)

Each is read fast by a person too: a step is a line.
"""

import json

HEAD = "#ingot\nversion: 1\n"


def section(name: str, entries: dict) -> str:
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}\n" for key, value in entries.items()]
    return f"{name}:\n" + "".join(lines)


def files(size: int) -> str:
    return HEAD + section("files", {f"/etc/bench/f{i}": {"content": f"file {i} {{{{instance.id}}}}\n"} for i in range(size)})


def secrets(size: int) -> str:
    return HEAD + section("secrets", {f"s{i}": {"secrets_manager": f"bench/s{i}"} for i in range(size)})


def services(size: int) -> str:
    return HEAD + section("services", {f"bench-{i}.service": {} for i in range(size)})


def commands(size: int) -> str:
    return HEAD + section("commands", {f"c{i}": {"run": ["/bin/true"]} for i in range(size)})


def chain(size: int) -> str:
    """Each command after the one before."""
    after = [{"after": [f"commands.c{i - 1}"]} if i else {} for i in range(size)]
    return HEAD + section("commands", {f"c{i}": {"run": ["/bin/true"], **after[i]} for i in range(size)})


def mounts(size: int) -> str:
    """As many mounts as files, one in each."""
    mounted = {f"/srv/m{i}": {"device": "/dev/sdf", "type": "ext4"} for i in range(size // 2)}
    return HEAD + section("mounts", mounted) + section("files", {f"{path}/f": {"content": "x"} for path in mounted})


def watched(size: int) -> str:
    """A service that restarts on all files."""
    paths = [f"/etc/bench/f{i}" for i in range(size - 1)]
    watches = {"bench.service": {"restart_on": [f"files.{path}" for path in paths]}}
    return HEAD + section("files", {path: {"content": "x"} for path in paths}) + section("services", watches)


def late(size: int) -> str:
    """As many services as commands, each of those after one of these."""
    count = size // 2
    after = {f"c{i}": {"run": ["/bin/true"], "after": [f"services.bench-{i}.service"]} for i in range(count)}
    return services(count) + section("commands", after)


def values(size: int) -> str:
    """One file that names as many values."""
    content = "".join(f"{{{{values.v{i}}}}}\n" for i in range(size))
    return HEAD + section("values", {f"v{i}": i for i in range(size)}) + section("files", {"/etc/bench/f": {"content": content}})


SHAPES = {function.__name__: function for function in (files, secrets, services, commands, chain, mounts, watched, late, values)}
