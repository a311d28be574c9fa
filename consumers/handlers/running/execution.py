"""Runs one handler and returns its outcome: in the thread that calls it, or on the loop.

It raises nothing: a handler is users' code. A handler in a transaction, and one that leaves events or tasks, completes
its task in its own transaction (transactions/); any other leaves that to the worker, which completes many at once.
"""

import os
import time
from dataclasses import replace
from typing import Any, Generic, TypeVar

import psycopg
from psycopg.rows import tuple_row

from consumers.handlers.declaring.registry import Handler, Registry
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Completed, Failed, Outcome, Unfinished, encode_result
from consumers.handlers.running.failures import Failures
from consumers.handlers.transactions.transactions import AsyncTransactions, Transactions
from consumers.second_lock.lock import SecondLock
from outboxkit import sql

T = TypeVar("T", Transactions, AsyncTransactions)

LOCK_HELD = "another consumer holds the second lock of this task"
LOCK_HELD_AFTER = 5.0
"""After how many seconds a task is offered again whose second lock could not be had."""


class _Execution(Generic[T]):
    """What both kinds have in common; `lock` is the second lock, if there is one."""

    def __init__(self, registry: Registry, transactions: T, failures: Failures, lock: SecondLock | None = None) -> None:
        self._registry = registry
        self._transactions: T = transactions
        self._failures = failures
        self._lock = lock
        self._one_process = _OneProcess()

    def _begin(self, task: Task) -> Handler | Failed:
        """Return the handler that may run, from now until its deadline; or how the task fails without a run."""
        handler = self._registry.find(task.type)
        if handler is None:
            return self._failures.without_handler(task)
        if (over := self._failures.over(task)) is not None:
            return over
        if handler.timeout is not None:
            task.deadline = time.monotonic() + handler.timeout
        return handler


class Execution(_Execution[Transactions]):
    """Runs handlers that are plain functions, in any thread."""

    def __call__(self, task: Task) -> Outcome:
        """Run `task`'s handler; raises nothing."""
        handler = self._begin(task)
        if isinstance(handler, Failed):
            return handler
        try:
            if self._lock is None:
                return self._run(task, handler)
            with self._lock.hold(task.id) as held:
                return self._run(task, handler) if held else Unfinished(LOCK_HELD, started=False, after=LOCK_HELD_AFTER)
        except BaseException as error:  # noqa: BLE001 - SystemExit, too, ends the task and not the consumer
            return self._failures.raised(task, error)

    def _run(self, task: Task, handler: Handler) -> Outcome:
        if handler.in_transaction:

            def call(connection: psycopg.Connection[Any]) -> str | None:
                with self._one_process:
                    result = encode_result(handler.call(task, connection))
                _leave(task, connection)
                return result

            return self._transactions.run(task, call)
        with self._one_process:
            result = encode_result(handler.call(task))
        if not task.left:
            return Completed(result)

        def complete(connection: psycopg.Connection[Any]) -> str | None:
            _leave(task, connection)
            return result

        return _has_run(self._transactions.run(task, complete))


class AsyncExecution(_Execution[AsyncTransactions]):
    """Runs handlers that are coroutine functions, on the loop."""

    async def __call__(self, task: Task) -> Outcome:
        """Run `task`'s handler; raises nothing."""
        handler = self._begin(task)
        if isinstance(handler, Failed):
            return handler
        try:
            if self._lock is None:
                return await self._run(task, handler)
            async with self._lock.hold_async(task.id) as held:
                if not held:
                    return Unfinished(LOCK_HELD, started=False, after=LOCK_HELD_AFTER)
                return await self._run(task, handler)
        except BaseException as error:  # noqa: BLE001 - CancelledError is the handler's own, or its deadline's
            return self._failures.raised(task, error)

    async def _run(self, task: Task, handler: Handler) -> Outcome:
        if handler.in_transaction:

            async def call(connection: psycopg.AsyncConnection[Any]) -> str | None:
                with self._one_process:
                    result = encode_result(await handler.call(task, connection))
                await _leave_async(task, connection)
                return result

            return await self._transactions.run(task, call)
        with self._one_process:
            result = encode_result(await handler.call(task))
        if not task.left:
            return Completed(result)

        async def complete(connection: psycopg.AsyncConnection[Any]) -> str | None:
            await _leave_async(task, connection)
            return result

        return _has_run(await self._transactions.run(task, complete))


class _OneProcess:
    """Ends the child of a handler that forked and came back: it has the parent's connections, and must not use them."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        if os.getpid() != self._process:
            os._exit(0)


def _has_run(outcome: Outcome) -> Outcome:
    """Return the outcome of a handler that ran before its transaction: without a connection it has run, too."""
    return replace(outcome, started=True) if isinstance(outcome, Unfinished) else outcome


def _leave(task: Task, connection: psycopg.Connection[Any]) -> None:
    # The cursor is psycopg's own class: the handler may have changed the connection's.
    for left in task.left or ():
        psycopg.Cursor(connection, row_factory=tuple_row).execute(sql.query(left.query), left.parameters)


async def _leave_async(task: Task, connection: psycopg.AsyncConnection[Any]) -> None:
    for left in task.left or ():
        await psycopg.AsyncCursor(connection, row_factory=tuple_row).execute(sql.query(left.query), left.parameters)
