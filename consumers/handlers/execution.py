"""Runs one handler, in the thread that calls it, and returns its outcome.

It raises nothing: a handler is users' code. A lost connection to Postgres is not the handler's failure; its task runs
again.
"""

import time
import traceback
from typing import Any, assert_never

import psycopg
import structlog
from psycopg_pool import ConnectionPool

from consumers.handlers.outcomes import (
    Applied,
    ClaimLost,
    Completed,
    Failed,
    Outcome,
    Unfinished,
    describe,
    encode_result,
)
from consumers.handlers.registry import InTransaction, PlainHandler, Registry, TransactionHandler
from consumers.handlers.task import Task
from consumers.watching.metrics import Metrics
from outboxkit import sql

log = structlog.get_logger()


class Execution:
    """Runs handlers of `registry`; `connections` are for those that run in a transaction."""

    def __init__(
        self, registry: Registry, connections: ConnectionPool[psycopg.Connection[Any]], metrics: Metrics
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._metrics = metrics

    def __call__(self, task: Task) -> Outcome:
        """Run `task`'s handler; raises nothing."""
        started = time.perf_counter()
        with self._metrics.running.track_inprogress():
            try:
                return self._outcome(task)
            except BaseException as error:  # noqa: BLE001 - SystemExit, too, ends the task and not the consumer
                return _failed(task, error)
            finally:
                self._metrics.ran(task.type, time.perf_counter() - started)

    def _outcome(self, task: Task) -> Outcome:
        handler = self._registry.find(task.type)
        match handler:
            case PlainHandler(call):
                return Completed(encode_result(call(task)))
            case TransactionHandler(call):
                return self._in_transaction(task, call)
            case None:
                error = f"no handler is registered for tasks of type {task.type!r}"
                log.error("task failed", task=str(task.id), error=error, remedy="add one to CONSUMERS_HANDLERS")
                return Failed(error)
            case _:
                assert_never(handler)

    def _in_transaction(self, task: Task, call: InTransaction) -> Outcome:
        try:
            connection = self._connections.getconn()
        except psycopg.OperationalError as error:  # the pool had no connection in time
            return _unfinished(error, started=False)
        try:
            return _applied(connection, task, call)
        except BaseException as error:
            # A COMMIT without an answer may have taken place: the row shows it when the claim is given back.
            if connection.broken:
                return _unfinished(error, started=True)
            raise
        finally:
            self._connections.putconn(connection)


def _applied(connection: psycopg.Connection[Any], task: Task, call: InTransaction) -> Outcome:
    # In the block, commit() and rollback() raise for the handler; only the end of the block commits.
    with connection.transaction():
        parameters = {"id": task.id, "version": task.version, "result": encode_result(call(task, connection))}
        if connection.execute(sql.query("task_complete"), parameters).fetchone() is not None:
            return Applied()
        raise psycopg.Rollback
    return ClaimLost()


def _unfinished(error: BaseException, *, started: bool) -> Unfinished:
    return Unfinished(f"no connection to Postgres for a handler ({describe(error).splitlines()[0]})", started=started)


def _failed(task: Task, error: BaseException) -> Failed:
    text = describe(error)
    log.error(
        "task failed",
        task=str(task.id),
        type=task.type,
        attempts=task.attempts,
        error=text,
        traceback="".join(traceback.format_exception(error)),
    )
    return Failed(text)
