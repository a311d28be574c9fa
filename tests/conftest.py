"""The servers of a test run, and a database of its own for each test. A missing server fails the run."""

import signal
from collections.abc import Iterator

import psycopg
import pytest
import structlog
from hypothesis import settings

import sandbox
from outboxkit.sql.apply import apply

# A busy machine is slow, which is no failure: hypothesis limits an example to 200 ms otherwise.
settings.register_profile("busy machines", deadline=None)
settings.load_profile("busy machines")


def _schema(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        apply(connection)


def pytest_configure() -> None:
    """Let SIGTERM end a run as Ctrl-C does: the test stops, and every fixture is torn down.

    A shell starts background commands with SIGINT ignored, and the processes that tests interrupt would inherit that
    (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html, asynchronous lists).
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the lines that tests recorded with the fixture `report`."""
    for outcome in ("passed", "failed"):
        for test in terminalreporter.getreports(outcome):
            for _, line in test.user_properties:
                terminalreporter.write_line(f"{test.nodeid.rpartition('::')[2]}: {line}")


@pytest.fixture(scope="session", name="sandbox")
def _sandbox() -> Iterator[sandbox.Sandbox]:
    """Start a private Postgres and RabbitMQ, once for each worker."""
    with sandbox.start(schema=_schema) as box:
        yield box


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """Undo what a command that ran in this process configured: its standard error ends with its test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Undo what a command that ran in this process left: after its work a second signal would end the process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def isolated(sandbox: sandbox.Sandbox) -> Iterator[sandbox.Isolated]:
    """Return a database with the schema, and a name for slot, exchange and queues, for one test alone."""
    with sandbox.isolated() as part:
        yield part


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of this run; pytest prints it at the start, and `--randomly-seed=...` repeats it."""
    return int(request.config.getoption("randomly_seed"))
