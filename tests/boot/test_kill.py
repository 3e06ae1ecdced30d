"""Killed without warning at any moment and started again, a boot ends as if it had not been killed."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.agent import DONE, Agent, ends, until
from harness.chance import seed

SLOW = 0.05
# A boot waits more than it works.
AT_ONCE = 8

DOCUMENT = """\
#ingot
version: 1
secrets:
  db: { secrets_manager: prod/db }
  flags: { parameters_under: /prod/flags }
files:
  /etc/app/a.toml: { content: "p = {{toml secrets.db.password}}\\n" }
  /etc/app/b.json: { content: '{"f": {{json secrets.flags.f1}}}' }
  /etc/app/c.env: { content: "A={{env secrets.db.password}}\\n", check: [/bin/sh, -c, "sleep 0.05; test -s {path}"] }
  /etc/app/large: { content: "{{instance.id}} LARGE" }
credentials:
  db: "{{secrets.db.password}}"
commands:
  first: { run: [/bin/sh, -c, "sleep 0.05; echo done > OUT/first"], after: [files./etc/app/a.toml] }
  second: { run: [/bin/sh, -c, "sleep 0.05; echo done > OUT/second"], after: [commands.first] }
"""


@pytest.fixture
def machine(ingot, tmp_path_factory, aws, imds):
    """Makes machines on which the document can boot, each its own."""
    aws.secret("prod/db", {"password": "hunter2-correct-horse"})
    aws.tree("/prod/flags", {"f1": "on", "f2": "off"})
    # Slow enough to be killed between any two exchanges.
    aws.latency(SLOW)
    imds.configure(latency=SLOW)

    def make():
        directory = tmp_path_factory.mktemp("machine")
        agent = Agent(directory, {**imds.env, **aws.env})
        agent.document = DOCUMENT.replace("OUT", str(directory)).replace("LARGE", "x" * (1 << 20))
        return agent

    return make


def ends_equal(agent: Agent, whole: dict) -> None:
    """The boot after a kill ends well, and with the very machine of an undisturbed one."""
    result = agent.boot(agent.document)
    assert result.code == DONE, result
    assert agent.tree() == whole
    for name in ("first", "second"):
        assert (agent.root.parent / name).read_text() == "done\n"
    assert agent.leaks(result, ["hunter2-correct-horse"]) == []
    before = agent.tree(identity=True)
    after = agent.boot(agent.document)
    assert after.code == DONE, after
    assert agent.tree(identity=True) == before
    assert "changed" not in after.outcomes().values()


@pytest.mark.parametrize("kills", [pytest.param(16, id="some"), pytest.param(220, id="all", marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(machine, kills):
    """By lot, and twice in a row now and then."""
    undisturbed = machine()
    result = undisturbed.boot(undisturbed.document)
    assert result.code == DONE, result
    whole = undisturbed.tree()
    begun = seed()

    def killed(agent: Agent, number: int) -> str | None:
        chance = random.Random(f"{begun} {number}")
        moments = [chance.random() * result.seconds for _ in range(chance.choice([1, 1, 1, 2]))]
        try:
            for moment in moments:
                running = agent.start_boot(agent.document)
                time.sleep(moment)
                running.kill()
                running.wait()
            ends_equal(agent, whole)
        except AssertionError as error:
            return f"{number}, {moments}: {error}"

    agents = [machine() for _ in range(kills)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        wrong = [why for why in pool.map(killed, agents, range(kills)) if why]
    assert not wrong, f"INGOT_SEED={begun}: {len(wrong)} of {kills}\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "line", ["files./etc/app/a.toml", "files./etc/app/c.env", "credentials.db", "commands.first", "commands.second"]
)
def test_killed_right_after_a_step_speaks(machine, line):
    undisturbed = machine()
    assert undisturbed.boot(undisturbed.document).code == DONE
    agent = machine()
    running = agent.start_boot(agent.document)
    assert running.wait_for_line(line), running.lines
    running.kill()
    running.wait()
    ends_equal(agent, undisturbed.tree())


def test_killed_again_and_again_it_gets_there(machine):
    undisturbed = machine()
    result = undisturbed.boot(undisturbed.document)
    agent = machine()
    for attempt in range(6):
        running = agent.start_boot(agent.document)
        time.sleep(result.seconds * (attempt + 1) / 7)
        running.kill()
        running.wait()
    ends_equal(agent, undisturbed.tree())


def test_killed_while_a_command_runs_nothing_of_it_stays_behind(machine, tmp_path):
    pid = tmp_path / "pid"
    agent = machine()
    script = f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 300"
    text = f"#ingot\nversion: 1\ncommands:\n  slow: {{ run: [/bin/sh, -c, '{script}'] }}\n"
    running = agent.start_boot(text)
    until("the command", pid.exists, running)
    running.kill()
    running.wait()
    assert ends(pid.read_text()), "the command outlived ingot"
