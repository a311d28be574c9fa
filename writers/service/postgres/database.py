"""The service's sessions: a pool, one transaction for each request, and errors as problems.

| what happens                          | answer                                   | the session                      |
|---------------------------------------|------------------------------------------|----------------------------------|
| every session is busy for `wait` s    | 503 overloaded                           | none                             |
| there is none for `wait` s            | 503 database-unavailable                 | the pool goes on connecting      |
| lost, or refused, before COMMIT       | 503 database-unavailable, nothing written| replaced, if it was lost         |
| lost during COMMIT                    | 503 database-unavailable, outcome unknown| replaced                         |
| the server takes no writes any more   | 503 database-unavailable, nothing written| closed: a new one finds a primary|
| no answer of Postgres within `LIMIT` s| 503 database-unavailable, as when lost   | closed, and replaced             |
| another transaction is in the way     | 503 locked, nothing written              | stays                            |
| a right or a function is missing      | 503 database-refuses                     | stays                            |

A session is looked at before it is given out, so a restart of Postgres costs no request that came after it.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, LiteralString, Self

import psycopg
import structlog
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from outboxkit import sql
from outboxkit.postgres import message, recovery_of
from outboxkit.sqlstates import Recovery
from writers.errors import NotAllowed, NotSetUp, Refused, translated
from writers.service.contract import problems
from writers.service.contract.problems import Answered
from writers.service.postgres import sessions
from writers.service.postgres.incidents import Incident
from writers.service.postgres.sessions import Session

__all__ = ["Database", "Session", "fetch"]

log = structlog.get_logger()

LIMIT = 15.0
"""For how many seconds a transaction may go on, and its COMMIT again; without the time for which a grab works."""

_READ_ONLY = "25006"
_LOCK_NOT_AVAILABLE = "55P03"
# Another transaction was in the way, or a limit that somebody has set: the next attempt may succeed. In their order:
# serialization_failure, deadlock_detected, lock_not_available, query_canceled.
_CONFLICTS = frozenset({"40001", "40P01", "55P03", "57014"})
_LATELY = 120.0  # longer than the longest grab (60 s) and LIMIT: with every session busy, one has ended since
_CLOSE_SECONDS = 1.0  # a connect that is under way may take long, and is given up
_NOT_AVAILABLE = "database not available"
_NOTHING_WRITTEN = "the database failed, and nothing was written; try again"
_UNKNOWN = (
    "the connection to the database was lost: it is not known whether the request took effect. With its "
    "Idempotency-Key, or an event's own id, send it again; without, look first: GET /tasks?type=...&created_after=..."
)
_SLOW = "Postgres has not answered in time"
_SLOW_REMEDY = "find what the sessions called `writers ...` wait for in pg_stat_activity, and see Postgres' load"
_SET_UP = (
    "run `relay setup`, then sql/roles.sql, and connect as outbox_service; for the locking demo: "
    "GRANT outbox_demo TO outbox_service"
)


class Database:
    """At most `size` sessions, for each of which a request waits `wait` seconds at most.

    `url` is called at each connect, so that a changed password is used. `name` is their application_name.
    """

    def __init__(self, url: Callable[[], str], *, name: str, size: int, wait: float) -> None:
        self._size = size
        self._wait = wait
        self._busy = 0
        self._succeeded_at = -math.inf
        self._holding = asyncio.Semaphore(max(1, size // 2))
        self._incident = Incident()
        self._pool: AsyncConnectionPool[Session] = AsyncConnectionPool(
            lambda: sessions.address(url(), name=name), connection_class=sessions.kind(self._not_connected),
            min_size=1, max_size=size, timeout=wait, reconnect_timeout=wait, name="service", open=False,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        """Open the pool; a server that is away is waited for later, by each request."""
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close(timeout=_CLOSE_SECONDS)

    @property
    def up(self) -> bool:
        """Whether nothing has failed lately."""
        return not self._incident.lasts

    @asynccontextmanager
    async def holding(self, seconds: float) -> AsyncIterator[Session]:
        """Yield a session as `transaction` does, for a block that works for `seconds` meanwhile.

        Such blocks have half of the sessions at most, so that they do not keep other requests from theirs.
        """
        try:
            async with asyncio.timeout(self._wait):
                await self._holding.acquire()
        except TimeoutError as error:
            raise problems.overloaded("as many requests hold a session as may; try again") from error
        try:
            async with self.transaction(LIMIT + seconds) as session:
                yield session
        finally:
            self._holding.release()

    @asynccontextmanager
    async def transaction(self, limit: float | None = None) -> AsyncIterator[Session]:
        """Yield a session in a transaction, which is committed at the end of the block and rolled back by an exception.

        Raises Answered if there is no session, when Postgres fails, or if the block takes longer than `limit` seconds.
        """
        session = await self._taken()
        self._busy += 1
        try:
            async with self._guarded(session, LIMIT if limit is None else limit):
                yield session
            await self._commit(session)
            self._succeeded()
        finally:
            self._busy -= 1
            await self._pool.putconn(session)

    async def ask(self, statement: LiteralString, parameters: dict[str, Any]) -> list[DictRow]:
        """Run the query named `statement` in a transaction of its own, and return its rows."""
        async with self.transaction() as session:
            return await fetch(session, statement, parameters)

    async def alive(self) -> bool:
        """Return whether Postgres takes writes now; while every session is busy, whether one has been free lately."""
        try:
            [facts] = await self.ask("session_facts", {})
        except Answered as problem:
            return problem.slug == "overloaded" and time.monotonic() - self._succeeded_at < _LATELY
        return not (facts["standby"] or facts["read_only"])

    def statistics(self) -> dict[str, int]:
        """Return how many sessions are `busy` and `free`, and how many requests are `waiting` for one."""
        found = self._pool.get_stats()
        return {"busy": self._busy, "free": found["pool_available"], "waiting": found["requests_waiting"]}

    async def _taken(self) -> Session:
        """Return a session that is good, as far as this side knows."""
        until = time.monotonic() + self._wait
        try:
            while True:
                session = await self._pool.getconn(timeout=until - time.monotonic())
                if sessions.good(session):
                    return session
                await session.close()
                await self._pool.putconn(session)  # the pool connects anew
        except PoolTimeout as error:
            if self._busy >= self._size:
                raise problems.overloaded("every session with the database is busy; try again") from error
            raise problems.unavailable("the database cannot be reached; try again") from error
        except PoolClosed as error:
            raise problems.unavailable("this instance ends; try again, at another one") from error

    @asynccontextmanager
    async def _guarded(self, session: Session, limit: float) -> AsyncIterator[None]:
        """Roll back after an exception, and raise what it means for the request."""
        try:
            with translated():
                async with asyncio.timeout(None if math.isinf(limit) else limit):
                    yield
        except (asyncio.CancelledError, TimeoutError) as error:
            await session.close()  # which rolls back, and waits for nobody
            await self._raise(session, error)
            raise
        except BaseException as error:
            await _roll_back(session)
            await self._raise(session, error)
            raise

    async def _raise(self, session: Session, error: BaseException) -> None:
        """Raise Answered for an `error` before COMMIT; return if it is none of Postgres."""
        match error:
            case Refused(what=what):
                raise Answered(HTTPStatus.UNPROCESSABLE_ENTITY, "refused", what) from error
            case NotAllowed(what=what) | NotSetUp(what=what):
                self._failed(what, what, event="database refuses", remedy=_SET_UP)
                detail = "the service's database is not set up for it; its log has the remedy"
                raise Answered(HTTPStatus.SERVICE_UNAVAILABLE, "database-refuses", detail) from error
            case TimeoutError():
                self._failed("slow", _SLOW, remedy=_SLOW_REMEDY)
                raise problems.unavailable(_NOTHING_WRITTEN) from error
            case psycopg.Error() if _conflicts(session, error):
                raise _locked(error) from error
            case psycopg.Error() if recovery_of(error) is not Recovery.FINAL:
                await self._broken(session, error)
                raise problems.unavailable(_NOTHING_WRITTEN) from error
            case Answered():
                self._succeeded()

    async def _commit(self, session: Session) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                await session.commit()
        except TimeoutError as error:
            await session.close()
            self._failed("slow", _SLOW, remedy=_SLOW_REMEDY)
            raise problems.unavailable(_UNKNOWN) from error
        except psycopg.Error as error:
            if _conflicts(session, error):
                raise _locked(error) from error
            lost = session.closed
            if recovery_of(error) is Recovery.FINAL and not lost:
                raise
            await self._broken(session, error)
            raise problems.unavailable(_UNKNOWN if lost else _NOTHING_WRITTEN) from error

    async def _broken(self, session: Session, error: psycopg.Error) -> None:
        what, remedy = sessions.refused(error)
        self._failed(error.sqlstate or "lost", f"{what}: {message(error)}", remedy=remedy)
        if error.sqlstate == _READ_ONLY:
            await session.close()

    async def _not_connected(self, error: psycopg.Error, conninfo: str) -> None:
        """Take a failed connect; why it failed is found out once for an incident."""
        if self._incident.failed(error.sqlstate or message(error), time.monotonic()):
            reason, remedy = await asyncio.to_thread(sessions.explained, error, conninfo)
            log.error(_NOT_AVAILABLE, reason=reason, remedy=f"{remedy}; it is tried again until it succeeds")

    def _failed(self, kind: str, reason: str, *, remedy: str, event: str = _NOT_AVAILABLE) -> None:
        if self._incident.failed(kind, time.monotonic()):
            log.error(event, reason=reason, remedy=remedy)

    def _succeeded(self) -> None:
        self._succeeded_at = time.monotonic()
        if self._incident.succeeded(self._succeeded_at):
            log.info("database available again")


async def _roll_back(session: Session) -> None:
    """Roll back; a session that does not answer in time is closed."""
    try:
        async with asyncio.timeout(LIMIT):
            await session.rollback()
    except TimeoutError:
        await session.close()
    except psycopg.Error:
        pass  # it is lost, and rolled back with that


def _conflicts(session: Session, error: psycopg.Error) -> bool:
    return error.sqlstate in _CONFLICTS and not session.closed


def _locked(error: psycopg.Error) -> Answered:
    return problems.locked(
        "another transaction holds the task, or this key, for too long; try again"
        if error.sqlstate == _LOCK_NOT_AVAILABLE
        else f"another transaction, or a limit of Postgres, was in the way ({error.sqlstate}): nothing was written; "
        "try again"
    )


async def fetch(session: Session, statement: LiteralString, parameters: dict[str, Any]) -> list[DictRow]:
    """Run the query named `statement` and return its rows."""
    return await (await session.execute(sql.query(statement), parameters)).fetchall()
