"""One attempt to apply an event: the claim and what the handler writes, in one transaction.

    DISCARD ALL ──► BEGIN ──► claim ──► SAVEPOINT ──► handler ──► RELEASE ──► COMMIT
                                └── duplicate, stale, gap: nothing is written

The savepoint is there to find out whether the handler has ended the transaction by SQL of its own. A COMMIT without an
answer is a failure like others: the next attempt's claim finds out whether it took place. Each attempt reads the event
anew, since a handler may change the payload that it gets. It works behind PgBouncer in
transaction mode: nothing is prepared, and no transaction relies on what the session had before.

Nothing that a handler raises leaves this module, except the cancellation of the attempt.
"""

import asyncio
import traceback
from typing import Any

import psycopg
import structlog
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from consumers.errors import DatabaseFailed
from consumers.events.applying.outcomes import Applied, Failed, Outcome, Unavailable, read
from consumers.events.applying.work import Work
from consumers.events.declaring.event import decode
from consumers.handlers.outcomes import describe
from outboxkit import sql
from outboxkit.postgres import message, recovery_of
from outboxkit.sqlstates import Recovery

log = structlog.get_logger()

_SAVEPOINT = "handler"
_ENDED = (psycopg.errors.NoActiveSqlTransaction, psycopg.errors.InvalidSavepointSpecification)
# Classes of SQLSTATE that are about the values of this event, and not about the schema.
_OF_VALUES = frozenset({"22", "23", "54"})


class Attempts:
    """Makes attempts on connections of `on_loop`, for async handlers, and of `in_threads`, for others."""

    def __init__(
        self,
        on_loop: AsyncConnectionPool[psycopg.AsyncConnection[Any]],
        in_threads: ConnectionPool[psycopg.Connection[Any]],
    ) -> None:
        self._on_loop = on_loop
        self._in_threads = in_threads

    async def on_loop(self, work: Work) -> Outcome:
        """Apply `work` with its async handler; raises DatabaseFailed if no claim can ever be made."""
        stage = _Stage()
        try:
            async with self._on_loop.connection() as connection:
                _clean(connection)
                await connection.execute(sql.query("inbox_reset"))
                async with connection.transaction():
                    cursor = await connection.cursor(row_factory=tuple_row).execute(*work.claim())
                    outcome = read(await cursor.fetchone())
                    if isinstance(outcome, Applied):
                        async with connection.transaction(_SAVEPOINT):
                            stage.begun = True
                            await work.handler.function(decode(work.message), connection)
                            stage.returned = True
        except BaseException as error:  # SystemExit, too, ends the attempt and not the consumer
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            return stage.outcome(error)
        return outcome

    def in_thread(self, work: Work) -> Outcome:
        """Do the same with a handler that is not async, in the thread that calls this."""
        stage = _Stage()
        try:
            with self._in_threads.connection() as connection:
                _clean(connection)
                connection.execute(sql.query("inbox_reset"))
                with connection.transaction():
                    outcome = read(connection.cursor(row_factory=tuple_row).execute(*work.claim()).fetchone())
                    if isinstance(outcome, Applied):
                        with connection.transaction(_SAVEPOINT):
                            stage.begun = True
                            work.handler.function(decode(work.message), connection)
                            stage.returned = True
        except BaseException as error:  # noqa: BLE001 - the same
            return stage.outcome(error)
        return outcome


class _Stage:
    """How far an attempt has come."""

    def __init__(self) -> None:
        self.begun = False
        self.returned = False

    def outcome(self, error: BaseException) -> Outcome:
        """Return what `error` means at this stage."""
        if self.begun:
            return _failed(error, committed=self.returned and isinstance(error, _ENDED))
        if not isinstance(error, psycopg.Error):
            raise error  # a bug
        recovery = recovery_of(error)
        if recovery is not Recovery.FINAL:
            return Unavailable(message(error), by_operator=recovery is Recovery.OPERATOR)
        if (error.sqlstate or "")[:2] in _OF_VALUES:
            return Failed(f"it cannot be claimed: {describe(error)}", final=True)
        raise DatabaseFailed(
            f"Postgres cannot run a statement of the event consumer ({error.sqlstate}: {message(error)})",
            remedy="run `consumers setup` of this version; else find the code in appendix A of PostgreSQL's manual",
        ) from error


def _failed(error: BaseException, *, committed: bool) -> Failed:
    trace = "".join(traceback.format_exception(error))
    if committed:
        text = "the handler ended its transaction by itself (COMMIT or ROLLBACK): a part of what it did stays"
        return Failed(text, trace, final=True, committed=True)
    return Failed(describe(error), trace)


def _clean(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Undo what an earlier handler has set on the connection object; DISCARD ALL does the same in the session."""
    connection.row_factory = tuple_row
    connection.prepare_threshold = None
