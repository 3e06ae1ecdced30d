"""How many instructions the pure parts take. The static binary takes the same number each time to a thousandth, whatever
else the machine does, so that a regression fails here and noise does not.

`tests/boot/instructions.json` holds what each took when it was last looked at. A change that is meant, or another compiler, is
taken over by

    INGOT_COUNTS=write .venv/bin/pytest tests/boot/test_instructions.py
"""

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.host import sized

KNOWN = Path(__file__).with_name("instructions.json")
# What another order of functions in the binary makes. What is worse, or so much better that it is to be kept, fails.
DRIFT = 0.02
# Threads read what a file is compared with. How often they wait for each other is up to the machine: less so on one
# processor that the program need not share, and in the best of up to eight runs.
WITH_THREADS = {"render": 0.15}
ATTEMPTS = 8
# What is left of the machine, and of chance.
NOISE = 0.002
# Ten times the steps may take ten times the instructions, and a little more for searches in what is sorted.
SMALL, LARGE, GROWTH = 200, 2000, 11.5
COUNT = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]


def instructions(ingot: Path, *arguments: str | Path, before: tuple[str, ...] = ()) -> int:
    command = [*before, *COUNT, str(ingot), *map(str, arguments)]
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    counted = re.search(r"I +refs: +([\d,]+)", done.stderr)
    assert done.returncode == 0 and counted, done.stderr[-2000:]
    return int(counted[1].replace(",", ""))


def least(ingot: Path, arguments: list, enough: float) -> int:
    """Of what threads have a part in: the least of runs on one processor, no more of them than it takes to be `enough`."""
    # Whoever is not root has to do without priority, and nice says so.
    alone = ("nice", "-n", "-19", "taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))
    counts: list[int] = []
    while len(counts) < ATTEMPTS and (not counts or min(counts) > enough):
        counts.append(instructions(ingot, *arguments, before=alone))
    return min(counts)


@pytest.fixture
def static(ingot):
    if "dist" not in ingot.parts:
        pytest.skip(f"{ingot} is not the static binary")
    return ingot


def layers(directory: Path) -> list[Path]:
    """Files, half of which a second layer changes."""
    base, over = directory / "base.yaml", directory / "over.yaml"
    base.write_text(sized.files(1000))
    over.write_text(sized.HEAD + sized.section("files", {f"/etc/bench/f{i}": {"mode": "0600"} for i in range(0, 1000, 2)}))
    return [base, over]


def test_the_pure_parts_take_as_many_as_they_did(static, tmp_path):
    def of(name: str) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(sized.SHAPES[name](1000))
        return path

    parts = {
        "start": ["--version"],
        "parse": ["check", of("files")],
        "merge": ["check", *layers(tmp_path)],
        "plan, a chain": ["check", of("chain")],
        "plan, services and what is behind them": ["check", of("late")],
        "compile a template": ["check", of("values")],
        "render": ["dry-run", of("files")],
    }
    with ThreadPoolExecutor(2) as pool:
        alone = {part: arguments for part, arguments in parts.items() if part not in WITH_THREADS}
        counts = dict(zip(alone, pool.map(lambda arguments: instructions(static, *arguments), alone.values())))
    known, writes = json.loads(KNOWN.read_text()), os.environ.get("INGOT_COUNTS") == "write"
    enough = {part: 0 if writes else (1 + bound) * known[part] for part, bound in WITH_THREADS.items()}
    counts |= {part: least(static, parts[part], enough[part]) for part in WITH_THREADS}
    if writes:
        KNOWN.write_text(json.dumps(counts, indent=2) + "\n")
        known = counts
    assert known.keys() == counts.keys()
    wrong = {part: (known[part], count) for part, count in counts.items() if abs(count - known[part]) > WITH_THREADS.get(part, DRIFT) * known[part]}
    assert not wrong, "instructions, known and now"


def test_it_is_the_same_number_each_time(static, tmp_path):
    counts = {instructions(static, "check", *layers(tmp_path)) for _ in range(3)}
    # Tables of the standard library hash by another key each time.
    assert max(counts) - min(counts) < NOISE * min(counts), counts


def test_nothing_grows_faster_than_the_document(static, tmp_path):
    def counted(job: tuple[str, int]) -> int:
        shape, size = job
        path = tmp_path / f"{shape}-{size}.yaml"
        path.write_text(sized.SHAPES[shape](size))
        return instructions(static, "check", path)

    start = instructions(static, "--version")
    jobs = [(shape, size) for shape in sized.SHAPES for size in (SMALL, LARGE)]
    with ThreadPoolExecutor(2) as pool:
        counts = dict(zip(jobs, pool.map(counted, jobs)))
    growth = {shape: (counts[shape, LARGE] - start) / (counts[shape, SMALL] - start) for shape in sized.SHAPES}
    assert {shape: by for shape, by in growth.items() if by > GROWTH} == {}, growth
