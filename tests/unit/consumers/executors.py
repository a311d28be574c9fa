"""Executors for tests: of functions from a task to its outcome, without users' handlers."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

from consumers.handlers.declaring.registry import Registry
from consumers.handlers.declaring.retries import Policy
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Outcome
from consumers.handlers.running.coroutines import Coroutines
from consumers.handlers.running.executor import Executor
from consumers.handlers.running.failures import Failures
from consumers.handlers.running.finished import Finished
from consumers.handlers.running.threads import Threads
from outboxkit.amqp.format import TaskReference

POLICY = Policy(attempts=None, base=1, factor=2, cap=100, jitter=0)


def a_task(type_: str = "t") -> Task:
    """Return a claimed task."""
    return Task(TaskReference(str(uuid4()), 2), type_, None, 1, 5, "w")


def executor_of(
    execute: Callable[[Task], Outcome],
    *,
    concurrency: int,
    on_the_loop: Callable[[Task], Awaitable[Outcome]] | None = None,
) -> Executor:
    """Return an executor of `execute` in threads; or of `on_the_loop`, if that is given."""
    finished = Finished()

    async def never(task: Task) -> Outcome:
        raise AssertionError(f"{task} belongs to a thread")

    return Executor(
        Threads(execute, finished, concurrency=concurrency),
        Coroutines(on_the_loop or never, finished, concurrency=concurrency),
        finished,
        is_async=lambda _: on_the_loop is not None,
        failures=Failures(Registry(), POLICY),
        low_water=2 * concurrency,
    )
