"""The servers that tests run on, and a part of them for each test alone. A missing server fails the run."""

import signal
from collections.abc import Iterator

import psycopg
import pytest

import sandbox
from outboxkit.sql.apply import apply


def _schema(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        apply(connection)


def pytest_configure() -> None:
    """Let SIGTERM end a run as Ctrl-C does: the test stops, and every fixture clears up.

    A run that a shell started in the background has SIGINT ignored, and would pass that on to the processes that tests
    interrupt (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html, asynchronous lists).
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded of themselves."""
    for outcome in ("passed", "failed"):
        for told in terminalreporter.getreports(outcome):
            for _, line in told.user_properties:
                terminalreporter.write_line(f"{told.nodeid.rpartition('::')[2]}: {line}")


@pytest.fixture(scope="session", name="sandbox")
def _sandbox() -> Iterator[sandbox.Sandbox]:
    """Start a private Postgres and RabbitMQ for the whole run, or for what one of several workers does of it."""
    with sandbox.start(schema=_schema) as box:
        yield box


@pytest.fixture
def isolated(sandbox: sandbox.Sandbox) -> Iterator[sandbox.Isolated]:
    """Return a database with the schema, and a name for slot, exchange and queues, for one test alone."""
    with sandbox.isolated() as part:
        yield part
