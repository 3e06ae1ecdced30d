"""Fixtures of the black-box tests, and the rule that CI skips nothing."""

import os
import signal
from types import SimpleNamespace

import pytest
from harness import agent as agents
from harness.agent import DONE, Agent
from harness.aws.account import Aws
from harness.aws.imds import Imds
from harness.aws.login import started
from harness.aws.proxy import REGION
from harness.aws.restore import TAGS
from harness.aws.sqs import Sqs
from harness.aws.store import Store
from harness.host import loop
from harness.host.consumer import Consumer
from harness.host.databases import Postgres
from harness.host.whole import DOCUMENTS, Places
from moto import mock_aws

CI = os.environ.get("CI", "").lower() in ("1", "true")

# What a shell starts in the background ignores Ctrl-C, and so would all that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"ingot: {agents.binary() or 'not built'}"


@pytest.fixture(scope="session")
def ingot():
    """The binary under test."""
    if (found := agents.binary()) is None:
        pytest.skip(f"no binary: build one of {', '.join(agents.BUILDS)}, or name it in $INGOT")
    return found


@pytest.fixture(scope="session")
def aws_server():
    with Aws() as server:
        yield server


@pytest.fixture
def aws(aws_server):
    """An empty AWS that answers at once."""
    aws_server.reset()
    return aws_server


@pytest.fixture
def imds():
    """An IMDS with nothing in it; tests say what by `imds.configure(…)`."""
    with Imds() as server:
        yield server


@pytest.fixture(scope="session")
def sqs_server():
    with Sqs() as server:
        yield server


@pytest.fixture
def sqs(sqs_server):
    """An SQS without queues, which does on a bad day what a test asks for."""
    sqs_server.reset()
    return sqs_server


@pytest.fixture
def consumer():
    """An application that takes what a worker posts."""
    with Consumer() as consumer:
        yield consumer


@pytest.fixture
def agent(ingot, tmp_path, aws, imds):
    """ingot on a bare machine, with this IMDS and this AWS."""
    return Agent(tmp_path, {**imds.env, **aws.env})


@pytest.fixture
def store():
    """An S3 with what a test puts there, and plain servers beside it."""
    with Store() as server:
        yield server


@pytest.fixture
def with_store(agent, store):
    """ingot on a bare machine whose S3 is that store."""
    agent.env.update(store.env)
    return agent


@pytest.fixture
def postgres():
    """A PostgreSQL server that has been set up and is stopped."""
    with started(Postgres) as server:
        server.stop()
        yield server


@pytest.fixture(scope="session")
def metadata():
    """An IMDS of which nothing is asked but which instance this is."""
    with Imds() as server:
        yield server


@pytest.fixture
def disks(ingot):
    """Loop devices, and a mount namespace to mount them in."""
    if why := loop.unavailable():
        pytest.skip(why)
    with loop.Disks() as disks:
        yield disks


@pytest.fixture
def machine(tmp_path, disks, metadata):
    """ingot on a bare machine that has these disks."""
    return Agent(tmp_path, metadata.env, inside=disks)


@pytest.fixture
def instance(ingot, tmp_path, aws, metadata):
    """ingot on an instance that EC2 knows, and a snapshot for it to restore."""
    agent = Agent(tmp_path, {**metadata.env, **aws.env})
    aws.instance()
    agent.snapshot = aws.snapshot(TAGS, size_gib=2, started="2026-11-20T03:00:00Z")
    return agent


@pytest.fixture(scope="session")
def places(ingot):
    """Where whole machines can boot, several at once."""
    if why := loop.unavailable():
        pytest.skip(why)
    with Places() as places:
        yield places


@pytest.fixture(scope="session")
def whole(places, tmp_path_factory):
    """A boot of each document that nothing disturbs: what it made and told, what it asked of AWS and of IMDS."""
    whole = {}

    def cell(place, machine, document):
        machine.use(document)
        result = machine.go()
        assert result.code == DONE, result
        whole[document] = SimpleNamespace(
            made=machine.lasting(),
            told=machine.told(),
            passwords=machine.passwords(),
            calls=place.aws.calls(),
            reads=place.imds.requests(),
            seconds=result.seconds,
        )

    places.each(tmp_path_factory.mktemp("whole"), list(DOCUMENTS), cell)
    return whole


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a skipped test is a failed one: it proved nothing."""
    report = yield
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {reason}"
    return report


@pytest.fixture
def cloud(monkeypatch):
    """An empty moto in this process, for code that is called and not run."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield
