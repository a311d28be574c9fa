"""What is said when a second signal gives back claims and Postgres cannot be told."""

import socket

from consumers.claims.giving_back import GivenBack, give_back
from consumers.handlers.outcomes import Applied, Completed
from consumers.handlers.running.finished import Run
from outboxkit.errors import ConfigurationProblem
from tests.unit.consumers.executors import a_task


def runs() -> list[Run]:
    return [Run(a_task(), Completed(None), 0.0), Run(a_task(), Applied(), 0.0)]


def test_what_is_in_the_database_already_needs_no_session() -> None:
    def never() -> str:
        raise AssertionError

    assert give_back(never, runs()[1:], 1) == GivenBack(0)


def test_a_server_that_is_not_there_is_named() -> None:
    gave = give_back(lambda: "postgresql://127.0.0.1:1/none", runs(), 60)
    assert (gave.asked, gave.written, gave.locked) == (1, 0, 0)
    assert gave.error is not None
    assert "127.0.0.1" in gave.error


def test_a_server_that_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gave = give_back(lambda: f"postgresql://127.0.0.1:{silent.getsockname()[1]}/none", runs(), 0.1)
    assert gave == GivenBack(1, error="Postgres has not answered within 0.1 s")


def test_settings_that_cannot_be_read_any_more_are_the_reason() -> None:
    def unreadable() -> str:
        raise ConfigurationProblem("the file of the URL is gone", remedy="none")

    assert give_back(unreadable, runs(), 60) == GivenBack(1, error="the file of the URL is gone")
