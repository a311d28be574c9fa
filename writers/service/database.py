"""The service's sessions: a pool, one transaction for each request, and errors as problems.

| what happens                          | answer                                   | the session                      |
|---------------------------------------|------------------------------------------|----------------------------------|
| every session is busy for `wait` s    | 503 overloaded                           | none                             |
| there is none for `wait` s            | 503 database-unavailable                 | the pool goes on connecting      |
| lost, or refused, before COMMIT       | 503 database-unavailable, nothing written| replaced, if it was lost         |
| lost during COMMIT                    | 503 database-unavailable, outcome unknown| replaced                         |
| the server takes no writes any more   | 503 database-unavailable, nothing written| closed: a new one finds a primary|
| another transaction has the lock      | 503 locked                               | stays                            |
| a right or a function is missing      | 503 database-refuses                     | stays                            |

A session is looked at before it is given out, so a restart of Postgres costs no request that came after it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
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
from writers.service import problems, sessions
from writers.service.incidents import Incident
from writers.service.problems import Answered
from writers.service.sessions import Session

__all__ = ["Database", "Session", "fetch"]

log = structlog.get_logger()

_READ_ONLY = "25006"
_CLOSE_SECONDS = 1.0  # a connect that is under way may take long, and is given up
_NOT_AVAILABLE = "database not available"
_NOTHING_WRITTEN = "the database failed, and nothing was written; try again"
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
    async def transaction(self) -> AsyncIterator[Session]:
        """Yield a session in a transaction, which is committed at the end of the block and rolled back by an exception.

        Raises Answered if there is no session, or when Postgres fails.
        """
        session = await self._taken()
        self._busy += 1
        try:
            async with self._guarded(session):
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
        """Return whether Postgres takes writes now. If every session is busy, it did a moment ago."""
        try:
            [facts] = await self.ask("session_facts", {})
        except Answered as problem:
            return problem.slug == "overloaded"
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
    async def _guarded(self, session: Session) -> AsyncIterator[None]:
        """Roll back after an exception, and raise what it means for the request."""
        try:
            with translated():
                yield
        except BaseException as error:
            with suppress(psycopg.Error):
                await session.rollback()
            await self._raise(session, error)
            raise

    async def _raise(self, session: Session, error: BaseException) -> None:
        """Raise Answered for an `error` before COMMIT; return if it is none of Postgres."""
        match error:
            case Refused(what=what):
                raise Answered(HTTPStatus.UNPROCESSABLE_ENTITY, "refused", what) from error
            case NotAllowed(what=what) | NotSetUp(what=what):
                self._failed(what, event="database refuses", remedy=_SET_UP)
                detail = "the service's database is not set up for it; its log has the remedy"
                raise Answered(HTTPStatus.SERVICE_UNAVAILABLE, "database-refuses", detail) from error
            case psycopg.errors.LockNotAvailable():
                raise problems.locked(
                    "another transaction holds the task, or this key, for too long; try again"
                ) from error
            case psycopg.Error() if recovery_of(error) is not Recovery.FINAL:
                await self._broken(session, error)
                raise problems.unavailable(_NOTHING_WRITTEN) from error
            case Answered():
                self._succeeded()

    async def _commit(self, session: Session) -> None:
        try:
            await session.commit()
        except psycopg.Error as error:
            lost = session.closed
            if recovery_of(error) is Recovery.FINAL and not lost:
                raise
            await self._broken(session, error)
            raise problems.unavailable(
                "the connection to the database was lost: it is not known whether the request took effect; repeat it, "
                "and if it submits a task, with its Idempotency-Key"
                if lost
                else _NOTHING_WRITTEN
            ) from error

    async def _broken(self, session: Session, error: psycopg.Error) -> None:
        what, remedy = sessions.refused(error)
        self._failed(f"{what}: {message(error)}", remedy=remedy)
        if error.sqlstate == _READ_ONLY:
            await session.close()

    async def _not_connected(self, error: psycopg.Error, conninfo: str) -> None:
        """Take a failed connect; why it failed is found out once for an incident."""
        if self._incident.failed(message(error), time.monotonic()):
            reason, remedy = await asyncio.to_thread(sessions.explained, error, conninfo)
            log.error(_NOT_AVAILABLE, reason=reason, remedy=f"{remedy}; it is tried again until it succeeds")

    def _failed(self, reason: str, *, remedy: str, event: str = _NOT_AVAILABLE) -> None:
        if self._incident.failed(reason, time.monotonic()):
            log.error(event, reason=reason, remedy=remedy)

    def _succeeded(self) -> None:
        if self._incident.succeeded(time.monotonic()):
            log.info("database available again")


async def fetch(session: Session, statement: LiteralString, parameters: dict[str, Any]) -> list[DictRow]:
    """Run the query named `statement` and return its rows."""
    return await (await session.execute(sql.query(statement), parameters)).fetchall()
