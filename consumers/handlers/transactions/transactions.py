"""Runs handlers in the transaction that completes their task.

One message begins the transaction and one commits it, as plain BEGIN and COMMIT would. The message that ends it also
resets the session, so that the next handler finds a clean one, behind a pooler too; a session that cannot be reset is
closed.

* No session in time: the handler has not started, and the claim is given back.
* The session broke, by the server's doing or the handler's: it has started, and the claim is given back. A COMMIT
  without an answer may have taken place: the row shows it then.
* The handler raised, or ended its transaction: it is rolled back, and the exception comes out.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Self, TypeAlias

import psycopg
from psycopg import pq
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Applied, ClaimLost, Unfinished
from consumers.handlers.transactions import sessions
from consumers.handlers.transactions.connections import AsyncHandlerConnection, HandlerConnection, TransactionEnded
from consumers.handlers.transactions.sessions import AsyncSession, Session
from consumers.handlers.transactions.steps import Steps, take, take_async
from outboxkit import sql

Pool: TypeAlias = "ConnectionPool[Session] | AsyncConnectionPool[AsyncSession]"
Result: TypeAlias = Applied | ClaimLost | Unfinished
_CLOSE_SECONDS = 1.0


class Transactions:
    """For handlers in threads, at most `size` at once; a session is opened when it is needed.

    `address` is called at each connect, in another thread. A handler waits at most `timeout` seconds for its session;
    for so long connecting is tried again, and the next handler begins anew, without a wait that has grown meanwhile.
    """

    def __init__(self, address: Callable[[], str], *, size: int, timeout: float) -> None:
        self._pool = ConnectionPool(
            address, connection_class=Session, kwargs=sessions.OPTIONS, configure=Session.learn, min_size=0,
            max_size=size, timeout=timeout, reconnect_timeout=timeout, name="handlers", open=False,
        )  # fmt: skip

    def __enter__(self) -> Self:
        _leave_the_reasons_to_database()
        self._pool.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close(timeout=_CLOSE_SECONDS)

    def run(self, task: Task, call: Callable[[psycopg.Connection[Any]], str | None]) -> Result:
        """Run `call`, which returns the result as JSON text, and complete `task`; raises what `call` raises."""
        return _returned(take(_run(self._pool, task, HandlerConnection, call)))


class AsyncTransactions:
    """The same for handlers on the loop; `address` is called there."""

    def __init__(self, address: Callable[[], str], *, size: int, timeout: float) -> None:
        self._pool = AsyncConnectionPool(
            address, connection_class=AsyncSession, kwargs=sessions.OPTIONS, configure=AsyncSession.learn, min_size=0,
            max_size=size, timeout=timeout, reconnect_timeout=timeout, name="async handlers", open=False,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        _leave_the_reasons_to_database()
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close(timeout=_CLOSE_SECONDS)

    async def run(self, task: Task, call: Callable[[psycopg.AsyncConnection[Any]], Awaitable[str | None]]) -> Result:
        """Run `call`, which returns the result as JSON text, and complete `task`; raises what `call` raises."""
        return _returned(await take_async(_run(self._pool, task, AsyncHandlerConnection, call)))


def _run(
    pool: Pool, task: Task, given: type[HandlerConnection | AsyncHandlerConnection], call: Callable[[Any], Any]
) -> Steps[Result | BaseException]:
    """Return how the handler ended. An exception of `call` is returned too: a generator cannot raise StopIteration."""
    try:
        session = yield from _begun(pool)
    except sessions.UNAVAILABLE as error:
        return sessions.unstarted(error)
    connection = given(session.pgconn)
    try:
        result = yield partial(call, connection)
        connection.require_transaction()
        connection.end()
        return (yield from _completed(session, task, result))
    except BaseException as error:  # noqa: BLE001 - it is returned
        connection.end()
        unfinished = sessions.lost(session, error)
        yield from _cleaned(session, error)
        return unfinished or error
    finally:
        yield partial(pool.putconn, session)


def _begun(pool: Pool) -> Steps[Any]:
    """Return a session in a handler's transaction. Each idle one may have ended meanwhile; a new one is tried last."""
    deadline, others = time.monotonic() + pool.timeout, pool.max_size
    while True:
        session = yield partial(pool.getconn, timeout=max(deadline - time.monotonic(), 0))
        try:
            yield partial(session.execute, sql.query("handler_begin"))
            sessions.require_still_writable(session)
        except BaseException as error:
            session.pgconn.finish()
            yield partial(pool.putconn, session)
            others -= 1
            if others < 0 or not isinstance(error, sessions.UNAVAILABLE):
                raise
        else:
            return session


def _completed(session: Any, task: Task, result: str | None) -> Steps[Result]:  # noqa: ANN401 - of either kind
    """Complete the task and commit, or roll back if the claim is lost."""
    parameters = {"id": task.id, "version": task.version, "result": result}
    cursor = yield partial(session.execute, sql.query("task_complete"), parameters)
    if (yield cursor.fetchone) is None:
        yield from _cleaned(session)
        return ClaimLost()
    try:
        yield partial(session.execute, sessions.commit(session))
    except psycopg.errors.InvalidCursorName as error:
        raise TransactionEnded("the handler has ended its transaction by SQL, and begun another") from error
    except psycopg.Error:
        over = session.pgconn.transaction_status == pq.TransactionStatus.IDLE
        if not (over and (yield from _is_completed(session, task))):
            raise
        session.pgconn.finish()  # committed, and then not reset: a statement_timeout of the handler's, for one
    return Applied()


def _is_completed(session: Any, task: Task) -> Steps[bool]:  # noqa: ANN401 - of either kind
    cursor = yield partial(session.execute, sql.query("task_completed"), {"id": task.id, "version": task.version})
    (completed,) = yield cursor.fetchone
    return bool(completed)


def _cleaned(session: Any, error: BaseException | None = None) -> Steps[None]:  # noqa: ANN401 - of either kind
    """Roll back and reset the session after `error`, or close it."""
    clean = False
    try:
        if sessions.is_usable(session, error):
            yield partial(session.execute, sessions.rollback(session))
            clean = True
    except psycopg.Error:
        pass
    finally:
        if not clean:
            session.pgconn.finish()


def _returned(result: Result | BaseException) -> Result:
    if isinstance(result, BaseException):
        raise result
    return result


def _leave_the_reasons_to_database() -> None:
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # a pool says for each attempt what Database says once
