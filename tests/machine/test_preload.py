"""Preloading on a real disk: a loop device, whose image shows in its page cache what was read of it, and what was not."""

import ctypes
import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness.agent import DONE, binary, until
from harness.host.images import filesystem

NEEDED = ("losetup", "mount", "mkfs.xfs", "mke2fs", "xfs_io")
missing = [program for program in NEEDED if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a loop device needs root"),
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
]

MIB = 1 << 20
AT = "/srv/shop"
SMALL = {f"index/{number}.idx": os.urandom(3000 + number) for number in range(300)}
FILES = {"db/table": os.urandom(24 * MIB), "db/deep/er/rows": os.urandom(3 * MIB + 17), "index/readme": b"x" * 9000, **SMALL}
FILES["archive"] = os.urandom(64 * MIB)

# What has been read may still count as not in memory: where only a part of a large folio was.
MOST = 0.95

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def resident(path: Path) -> bytes:
    """One byte for each page of a file: 1 if it is in memory."""
    size = path.stat().st_size
    pages = (size + 4095) // 4096
    with open(path, "rb") as file:
        at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    states = (ctypes.c_ubyte * pages)()
    assert libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(size), states) == 0
    libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(size))
    return bytes(state & 1 for state in states)


def cached(path: Path) -> float:
    """The part of a file that is in memory."""
    states = resident(path)
    return sum(states) / len(states)


def forget(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def must(*command) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, errors="replace").stdout.strip()


class Volume:
    """A filesystem on a loop device, which nobody has read yet."""

    def __init__(self, image: Path, agent):
        self.image, self.agent = image, agent
        self.device = must("losetup", "--find", "--show", image)
        self.at = agent.path(AT)
        self.again()

    def again(self) -> None:
        """As it is after a boot of the machine: not mounted, and nothing of it in memory."""
        self.unmount()
        must("blockdev", "--flushbufs", self.device)
        forget(self.image)

    def mount(self) -> None:
        self.at.mkdir(parents=True, exist_ok=True)
        # Another copy of the image may still be mounted, in somebody's namespace.
        xfs = must("blkid", "--output=value", "--match-tag=TYPE", self.device) == "xfs"
        must("mount", *(["-o", "nouuid"] if xfs else []), self.device, self.at)

    def unmount(self) -> None:
        while os.path.ismount(self.at):
            must("umount", self.at)

    def remove(self) -> None:
        self.unmount()
        must("losetup", "--detach", self.device)
        self.image.unlink()

    def document(self, preload: str, more: str = "") -> str:
        return f"#ingot\nversion: 1\nmounts:\n  {AT}:\n    device: {self.device}\n    preload: {preload}\n{more}"

    def boot(self, preload: str, more: str = "", *args: str):
        return self.agent.boot(self.document(preload, more), *args)

    def status(self) -> str:
        return self.agent.run("status", "--root", str(self.agent.root)).stdout

    def fetched(self, name: str) -> float:
        """The part of a file that has been read from the disk, what the kernel read ahead of the image included."""
        held, pages = resident(self.image), set()
        for line in must("xfs_io", "-r", "-c", "fiemap", self.at / name).splitlines()[1:]:
            place = line.split()
            if ".." in place[2]:
                first, last = (int(sector) for sector in place[2].split(".."))
                pages |= set(range(first // 8, last // 8 + 1))
        return sum(held[page] for page in pages) / len(pages)

    def done(self, step: str = "") -> dict[str, int]:
        """What is recorded of a preloading."""
        [record] = self.agent.path("/var/lib/ingot/instances").glob(f"*/preload.!srv!shop{step}.json")
        [entry] = json.loads(record.read_text())["entries"].values()
        assert entry["state"] == "done"
        return {name: int(value) for name, value in (word.split("=") for word in entry["detail"].split()[1:3])}


@pytest.fixture(scope="module", params=["xfs", "ext4"])
def golden(request, tmp_path_factory):
    """An image with files. What is read of it is not written to, so that all tests share it."""
    return filesystem(tmp_path_factory.mktemp("images") / f"{request.param}.img", request.param, FILES, size_gib=0.4)


@pytest.fixture
def volume(golden, agent, tmp_path):
    image = tmp_path / "volume.img"
    must("cp", "--sparse=always", golden, image)
    volume = Volume(image, agent)
    yield volume
    volume.remove()


def test_reads_what_it_is_told_to_past_the_page_cache(volume):
    result = volume.boot('[db, "index/*.idx"]')
    assert result.code == DONE, result
    assert result.step(f"preload.{AT}")["changes"] == [f"read db, index/*.idx below {AT}"]
    for name in FILES:
        assert cached(volume.at / name) == 0, f"{name} is in the page cache"
    assert volume.fetched("db/table") > MOST and volume.fetched("db/deep/er/rows") > MOST
    assert sum(volume.fetched(name) for name in SMALL) / len(SMALL) > MOST
    assert volume.fetched("archive") < 0.5
    done = volume.done()
    assert done["files"] == 302
    assert sum(len(FILES[name]) for name in FILES if name not in ("archive", "index/readme")) <= done["bytes"] < 40 * MIB

    volume.again()
    second = volume.boot('[db, "index/*.idx"]')
    assert second.outcomes()[f"preload.{AT}"] == "unchanged", "once for a volume is enough"
    assert volume.fetched("db/table") < 0.5
    third = volume.boot('[db, "index/*.idx", archive]')
    assert third.outcomes()[f"preload.{AT}"] == "changed", "something else is meant now"
    assert volume.fetched("archive") > MOST


def test_reads_into_the_cache_where_it_is_asked_to(volume):
    result = volume.boot("{ paths: [db], into_cache: true }")
    assert result.code == DONE, result
    assert cached(volume.at / "db/table") > MOST and cached(volume.at / "db/deep/er/rows") > MOST
    assert cached(volume.at / "archive") == cached(volume.at / "index/readme") == 0
    assert volume.done() == {"files": 2, "bytes": 27 * MIB + 17}


def test_holes_are_not_read(volume):
    volume.mount()
    with open(volume.at / "sparse", "wb") as sparse:
        sparse.seek(100 << 30)
        sparse.write(b"x" * MIB)
    with open(volume.at / "promised", "wb") as promised:
        os.posix_fallocate(promised.fileno(), 0, 16 * MIB)
    (volume.at / "tiny").write_text("x")
    (volume.at / "empty").write_text("")
    (volume.at / "link").symlink_to("archive")
    os.mkfifo(volume.at / "fifo")
    volume.again()
    result = volume.boot("[sparse, promised, tiny, empty, link, fifo]")
    assert result.code == DONE, result
    done = volume.done()
    assert done["files"] == 4 and MIB <= done["bytes"] < 2 * MIB, done
    assert [warning for warning in result.report["warnings"] if "link matches no file" in warning]


def test_what_is_not_there_is_a_warning(volume):
    result = volume.boot('[db/table, gone, "gone/*.idx", "?ndex/9.idx"]')
    assert result.code == DONE, result
    assert result.report["outcome"] == "done"
    assert [warning.split(": ")[1].split(" below")[0] for warning in result.report["warnings"]] == [
        "gone matches no file",
        "gone/*.idx matches no file",
    ]
    assert volume.done()["files"] == 2


def test_the_rest_comes_afterwards_at_its_rate(volume):
    begun = time.monotonic()
    result = volume.boot("{ paths: [db], rest_mib_s: 200 }")
    took = time.monotonic() - begun
    assert result.code == DONE, result
    paths, rest = result.step(f"preload.{AT}"), result.step(f"preload.{AT}:rest")
    assert rest["started_ms"] >= paths["finished_ms"]
    assert cached(volume.image) > MOST
    left = volume.image.stat().st_size - volume.done(":rest")["bytes"]
    assert 27 * MIB <= left < 40 * MIB, "what has been read is not read again"
    assert took > 1.5
    # One second for each 200 MiB, hence nothing at all in the first half of it.
    assert rest["finished_ms"] - rest["started_ms"] > 1500


def test_the_boot_is_over_before_and_another_neither_waits_nor_reads_twice(volume):
    preload = "{ paths: [db], rest_mib_s: 1 }"
    running = volume.agent.start_boot(volume.document(preload))
    assert running.wait_for_line("rest: read the rest")
    status = volume.agent.run("status", "--root", str(volume.agent.root))
    assert status.code == 0, status
    assert status.stdout.startswith("done in") and f"still running: preload.{AT}" in status.stdout, status
    until("its rate", lambda: re.search(rf"running: preload.{AT}:rest reading .* MiB/s, ", volume.status()), running)

    second = volume.boot(preload)
    assert second.code == DONE and running.process.poll() is None, second
    assert second.outcomes()[f"preload.{AT}:rest"] == "unchanged"
    assert any("is already reading it" in warning for warning in second.report["warnings"])
    time.sleep(1.5)
    report = json.loads(volume.agent.read("/run/ingot/report.json"))
    assert report["pid"] == second.report["pid"], "the first one leaves the report of the second alone"
    running.process.send_signal(signal.SIGTERM)
    first = running.wait()
    assert first.code == DONE, "the boot itself had ended well"

    third = volume.agent.start_boot(volume.document(preload))
    assert third.wait_for_line("rest: read the rest"), "what was cut off is done again"
    until("its progress", lambda: f"running: preload.{AT}:rest reading " in volume.status(), third)
    third.kill()
    third.wait()
    status = volume.agent.run("status", "--root", str(volume.agent.root))
    assert status.code == 0 and f"cut off: preload.{AT}:rest reading " in status.stdout, status
    assert volume.agent.run("status", "--json", "--root", str(volume.agent.root)).json["beside"] == "cut off"


def test_it_is_stopped_soon(volume):
    running = volume.agent.start_boot(volume.document("{ rest_mib_s: 1 }"))
    assert running.wait_for_line("rest: read the rest")
    begun = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    result = running.wait()
    assert time.monotonic() - begun < 60
    assert result.code == DONE
    assert "stopped by SIGTERM" in result.step(f"preload.{AT}:rest")["error"]["message"]


def test_who_names_it_waits_for_it(volume):
    commands = f"commands: {{ after: {{ run: ['true'], after: ['preload.{AT}'] }}, beside: {{ run: ['true'] }} }}\n"
    result = volume.boot("{ paths: [db], in_flight: 1 }", commands)
    assert result.code == DONE, result
    preload, after = result.step(f"preload.{AT}"), result.step("commands.after")
    assert after["started_ms"] >= preload["finished_ms"]
    assert result.step("commands.beside")["finished_ms"] < preload["finished_ms"]
    assert "beside" not in preload, "the boot waits for what it needs"


def test_a_boot_that_failed_ends_at_once(volume):
    begun = time.monotonic()
    result = volume.boot("{ rest_mib_s: 1 }", "commands: { bad: { run: ['false'] } }\n")
    assert result.code == 1 and time.monotonic() - begun < 100, result
    assert result.outcomes()[f"preload.{AT}:rest"] in ("failed", "skipped")


def test_a_mount_without_a_device_is_read_by_its_files(agent):
    source = agent.path("/opt/shop")
    source.mkdir(parents=True)
    (source / "a").write_bytes(os.urandom(MIB))
    document = f"#ingot\nversion: 1\nmounts:\n  {AT}: {{ device: /opt/shop, options: [bind], preload: [a] }}\n"
    try:
        result = agent.boot(document)
        assert result.code == DONE, result
        assert result.outcomes()[f"preload.{AT}"] == "changed"
    finally:
        must("umount", agent.path(AT))


def test_what_is_recorded_is_what_is_read_the_next_time(volume):
    volume.mount()
    (volume.at / "two\nlines").write_text("x")
    recording = volume.agent.start("record-preload", str(volume.at))
    assert recording.wait_for_line("recording the files opened")
    must("cat", volume.at / "index/7.idx", volume.at / "db/deep/er/rows", volume.at / "two\nlines")
    must("cat", volume.at / "index/7.idx")
    with open(volume.at / "index/8.idx", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[0] == SMALL["index/8.idx"][0]
    must("unshare", "--mount", "cat", volume.at / "index/9.idx")
    until("the last of them", lambda: "index/9.idx" in recording.printed(), recording)
    recording.process.send_signal(signal.SIGTERM)
    recorded = recording.wait()
    assert recorded.code == DONE, recorded
    assert recorded.stdout.splitlines() == ["index/7.idx", "db/deep/er/rows", "index/8.idx", "index/9.idx"]
    assert "a list cannot contain its name" in recorded.stderr

    volume.again()
    volume.agent.write("/etc/ingot/preload/shop.list", recorded.stdout + "gone\n../etc/passwd\n")
    result = volume.boot("{ list: /etc/ingot/preload/shop.list }")
    assert result.code == DONE, result
    assert volume.done()["files"] == 4
    assert volume.fetched("db/deep/er/rows") > MOST
    assert volume.fetched("archive") < 0.5
    warnings = "\n".join(result.report["warnings"])
    assert "1 of the 5 paths" in warnings and "1 lines of" in warnings, warnings


def test_a_recording_ends_by_itself_and_needs_root(volume):
    volume.mount()
    recorded = volume.agent.run("record-preload", "--for", "300ms", "--json", str(volume.at))
    assert recorded.code == DONE and recorded.json == {"paths": []}, recorded
    nobody = ["setpriv", "--reuid=65534", "--clear-groups", str(binary()), "record-preload", "--for", "300ms", "/"]
    refused = subprocess.run(nobody, capture_output=True, text=True)
    assert refused.returncode == 1 and "hint: run this command as root" in refused.stderr, refused
    nowhere = volume.agent.run("record-preload", "--for", "300ms", "/nowhere")
    assert nowhere.code == 1 and "/nowhere" in nowhere.stderr
