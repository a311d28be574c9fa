"""One run of a handler, without a server: what counts as an attempt, and what is not run."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from consumers.handlers.declaring.registry import Registry
from consumers.handlers.declaring.retries import RetryPolicy
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Applied, ClaimLost, Completed, Failed, Unfinished
from consumers.handlers.running.execution import Execution
from consumers.handlers.running.failures import Failures
from consumers.handlers.transactions.transactions import Transactions
from tests.unit.consumers.executors import POLICY, a_task


class NoConnection(Transactions):
    """As when Postgres takes no more connections."""

    def __init__(self) -> None: ...

    def run(
        self, task: Task, call: Callable[[psycopg.Connection[Any]], str | None]
    ) -> Applied | ClaimLost | Unfinished:
        del task, call
        return Unfinished("no connection", started=False)


@pytest.fixture
def registry() -> Registry:
    return Registry()


def execution(registry: Registry) -> Execution:
    return Execution(registry, NoConnection(), Failures(registry, POLICY))


def test_a_handler_that_ran_and_could_not_leave_its_event_has_used_an_attempt(registry: Registry) -> None:
    @registry.task("t")
    def handle(task: Task) -> None:
        task.publish("order", "1", "paid", {})

    assert execution(registry)(a_task()) == Unfinished("no connection", started=True)


def test_a_handler_in_a_transaction_that_could_not_begin_has_not(registry: Registry) -> None:
    @registry.task("t", in_transaction=True)
    def handle(task: Task, connection: psycopg.Connection[Any]) -> None:
        raise AssertionError(f"{task} cannot run on {connection}")

    assert execution(registry)(a_task()) == Unfinished("no connection", started=False)


def test_what_used_its_attempts_up_does_not_run_again(registry: Registry) -> None:
    ran: list[int] = []
    registry.task("t", retry=RetryPolicy(attempts=2))(lambda task: ran.append(task.attempt))
    execute = execution(registry)
    for attempt, outcome in (
        (1, Completed(None)),
        (2, Completed(None)),
        (3, Failed("RuntimeError: its attempt 2 of 2 broke off")),
    ):
        task = a_task()
        task.attempt = attempt
        assert execute(task) == outcome
    assert ran == [1, 2]
