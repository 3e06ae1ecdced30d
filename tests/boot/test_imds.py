"""IMDS as it is on a good day, late, refusing, forgetting, and off."""

import pytest
from harness.agent import BAD_DOCUMENT, DONE, UNREACHABLE
from harness.aws.imds import Imds

DOCUMENT = """\
#ingot
version: 1
files:
  /etc/id: { content: "{{instance.id}} {{instance.region}} {{instance.zone}} {{instance.type}}\\n" }
"""
EXPECTED = "i-0abc123def4567890 eu-central-1 eu-central-1a m7g.large\n"
USER_DATA = "/latest/user-data"


@pytest.fixture
def imds(imds):
    imds.configure(user_data=DOCUMENT)
    return imds


def booted(agent, result) -> None:
    assert result.code == DONE, result
    assert agent.read("/etc/id") == EXPECTED


def test_everything_is_read_once_and_with_one_token(agent, imds):
    booted(agent, agent.boot())
    assert len(imds.requests("PUT")) == 1
    paths = [entry["path"] for entry in imds.requests("GET")]
    assert sorted(paths) == sorted(set(paths)), "nothing is asked twice"
    assert not any("tags" in path for path in paths), "tags are read only when a document refers to them"
    assert all(entry["token"] for entry in imds.requests("GET"))


def test_what_does_not_wait_for_another_is_asked_at_the_same_time(agent, imds, aws):
    aws.secret("s", "x")
    text = DOCUMENT + "  /etc/s: { content: '{{secrets.s}}' }\nsecrets:\n  s: { secrets_manager: s }\n"
    imds.configure(user_data=text, latency=0.5)
    booted(agent, agent.boot())
    # The longest chain of requests of which each began after the one before had been answered.
    depth, answered = 0, 0.0
    for end, begun in sorted((entry["time"] + entry["seconds"], entry["time"]) for entry in imds.requests()):
        if begun >= answered:
            depth, answered = depth + 1, end
    assert depth == 3, "token; user data, identity and role; credentials"


def test_tags_are_read_when_referred_to(agent, imds):
    imds.configure(user_data=DOCUMENT.replace("{{instance.type}}", "{{instance.tags.app}}"), tags={"app": "m7g.large"})
    booted(agent, agent.boot())


def test_tags_that_are_off_are_said_to_be_off(agent, imds):
    imds.configure(user_data=DOCUMENT.replace("{{instance.type}}", "{{instance.tags.app}}"), tags=None)
    result = agent.boot(None, "--deadline", "10s")
    assert result.code != DONE, result
    assert "InstanceMetadataTags" in result.stderr


def test_late_is_waited_for(agent):
    # A stand-in of this test's own: it has to be late from its very start.
    with Imds(user_data=DOCUMENT, late=3) as late:
        result = agent.boot(None, env=late.env)
    booted(agent, result)
    assert 2.8 < result.seconds < 60, "asked again soon after it was there"


@pytest.mark.parametrize("path", [USER_DATA, "/latest/api/token", "/latest/dynamic/instance-identity/document"])
def test_503_is_asked_again(agent, imds, path):
    imds.configure(faults=[{"path": path, "kind": "status", "status": 503, "times": 2}])
    booted(agent, agent.boot())
    assert [entry["status"] for entry in imds.requests(path=path)] == [503, 503, 200]


def test_retry_after_is_honoured(agent, imds):
    fault = {"path": USER_DATA, "kind": "status", "status": 503, "times": 1, "headers": {"Retry-After": "2"}}
    imds.configure(faults=[fault])
    booted(agent, agent.boot())
    first, second = imds.requests(path=USER_DATA)
    assert second["time"] - first["time"] >= 2


def test_a_lost_token_is_replaced_once(agent, imds):
    imds.configure(faults=[{"path": USER_DATA, "kind": "forget-tokens", "times": 1}])
    booted(agent, agent.boot())
    assert len(imds.requests("PUT")) == 2
    assert imds.requests(path=USER_DATA)[-1]["status"] == 200


def test_a_token_that_is_never_valid_does_not_loop(agent, imds):
    imds.configure(faults=[{"path": "/latest/*", "method": "GET", "kind": "status", "status": 401}])
    result = agent.boot(None, "--deadline", "10s")
    assert result.code not in (DONE, 70), result
    assert len(imds.requests("PUT")) < 10


def test_metadata_that_is_off_stops_at_once(agent, imds):
    imds.configure(faults=[{"path": "/latest/api/token", "kind": "status", "status": 403}])
    result = agent.boot()
    assert result.code == UNREACHABLE, result
    assert "disabled" in result.stderr
    assert len(imds.requests()) == 1


def test_no_user_data_is_no_error(agent, imds):
    imds.configure(user_data=None)
    agent.write("/etc/ingot/boot.d/10-base.yaml", DOCUMENT)
    booted(agent, agent.boot())


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 500}, {"kind": "reset"}, {"kind": "hang"}])
def test_an_error_is_never_read_as_no_user_data(agent, imds, fault):
    imds.configure(faults=[{"path": USER_DATA, **fault}])
    agent.write("/etc/ingot/boot.d/10-base.yaml", DOCUMENT)
    result = agent.boot(None, "--deadline", "8s")
    assert result.code == UNREACHABLE, result
    assert not agent.path("/etc/id").exists()


@pytest.mark.parametrize("fault", [{"kind": "truncate"}, {"kind": "reset"}])
def test_half_an_answer_is_asked_for_again(agent, imds, fault):
    imds.configure(faults=[{"path": USER_DATA, "times": 1, **fault}])
    booted(agent, agent.boot())


def test_slow_is_waited_for(agent, imds):
    imds.configure(faults=[{"path": USER_DATA, "kind": "delay", "seconds": 3, "times": 1}])
    booted(agent, agent.boot())


def test_a_connection_on_which_no_answer_comes_costs_a_second(agent, imds):
    """Regression: it cost the five seconds that a request may take."""
    # Tags are read once the document is known, on a connection that has served another item.
    tag = "/latest/meta-data/tags/instance/app"
    text = DOCUMENT.replace("{{instance.type}}", "{{instance.tags.app}}")
    imds.configure(user_data=text, tags={"app": "m7g.large"}, faults=[{"path": tag, "kind": "hang", "times": 1}])
    booted(agent, agent.boot())
    first, second = imds.requests(path=tag)
    assert 0.9 < second["time"] - first["time"] < 3


def test_a_late_role_is_waited_for(agent, imds, aws):
    aws.secret("s", "x")
    text = "#ingot\nversion: 1\nsecrets:\n  s: { secrets_manager: s }\nfiles:\n  /etc/s: { content: '{{secrets.s}}' }\n"
    role = {"path": "/latest/meta-data/iam/security-credentials/*", "kind": "status", "status": 404, "times": 3}
    imds.configure(user_data=text, faults=[role])
    result = agent.boot()
    assert result.code == DONE, result
    assert agent.read("/etc/s") == "x"


def test_without_a_role_only_what_needs_one_fails(agent, imds):
    imds.configure(role=None)
    booted(agent, agent.boot())


def test_a_proxy_in_the_environment_is_not_for_imds(agent, imds):
    nowhere = "http://127.0.0.1:9"
    booted(agent, agent.boot(None, env={"http_proxy": nowhere, "HTTP_PROXY": nowhere, "ALL_PROXY": nowhere}))


def test_a_bad_document_is_its_own_exit_code(agent, imds):
    imds.configure(user_data="#ingot\nversion: 1\nfile:\n  /etc/id: { content: x }\n")
    result = agent.boot()
    assert result.code == BAD_DOCUMENT, result
    assert "files" in result.stderr, "the nearest key is named"
