"""The service's sessions: a pool, one transaction for each request, and errors as problems.

A session is tried before it is given out, so that a restart of Postgres costs no request. No statement is prepared:
behind a pooler in transaction mode, the next one may be in another session.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, LiteralString, Self

import psycopg
import structlog
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from outboxkit import sql
from outboxkit.postgres import conninfo, message, recovery_of
from outboxkit.sqlstates import Recovery
from writers.errors import NotAllowed, NotSetUp, Refused, translated
from writers.service import problems
from writers.service.problems import Answered

log = structlog.get_logger()

_REMEDY = (
    "run `relay setup`, then sql/roles.sql, and connect as outbox_service; for the locking demo: "
    "GRANT outbox_demo TO outbox_service"
)
Session = psycopg.AsyncConnection[DictRow]


class Database:
    """At most `size` sessions, for each of which a request waits `wait` seconds at most.

    `url` is called at each connect, so that a changed password is used. `name` is their application_name.
    """

    def __init__(self, url: Callable[[], str], *, name: str, size: int, wait: float) -> None:
        self._pool: AsyncConnectionPool[Session] = AsyncConnectionPool(
            lambda: conninfo(url(), application_name=name, target_session_attrs="read-write"),
            connection_class=psycopg.AsyncConnection[DictRow],
            kwargs={"row_factory": dict_row, "prepare_threshold": None},
            check=AsyncConnectionPool.check_connection,
            min_size=1, max_size=size, timeout=wait, reconnect_timeout=wait, name="service", open=False,
        )  # fmt: skip
        self.up = False

    async def __aenter__(self) -> Self:
        """Open the pool; a server that is away is waited for later, by each request."""
        logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # the pool says at each attempt what is said here once
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Yield a session in a transaction, which is committed at the end of the block and rolled back by an exception.

        Raises Answered if there is no session, or when Postgres fails.
        """
        try:
            async with self._pool.connection() as session:
                with translated():
                    yield session
        except PoolTimeout as error:
            raise self._no_session() from error
        except PoolClosed as error:
            raise problems.unavailable("this instance ends") from error
        except Refused as error:
            raise Answered(HTTPStatus.UNPROCESSABLE_ENTITY, "refused", error.what) from error
        except (NotAllowed, NotSetUp) as error:
            log.error("database refuses", reason=error.what, remedy=_REMEDY)  # noqa: TRY400 - no bug
            detail = "the service's database is not set up for it; its log has the remedy"
            raise Answered(HTTPStatus.SERVICE_UNAVAILABLE, "database-refuses", detail) from error
        except psycopg.Error as error:
            if recovery_of(error) is Recovery.FINAL:
                raise
            self._down(message(error))
            raise problems.unavailable(
                "the connection to the database was lost: it is not known whether the request took effect; repeat it, "
                "and if it submits a task, with its Idempotency-Key"
            ) from error
        else:
            self._available()

    async def ask(self, statement: LiteralString, parameters: dict[str, Any]) -> list[DictRow]:
        """Run the query named `statement` in a transaction of its own, and return its rows."""
        async with self.transaction() as session:
            return await fetch(session, statement, parameters)

    async def alive(self) -> bool:
        """Return whether Postgres answers now. If every session is busy, it did a moment ago."""
        try:
            await self.ask("backend_pid", {})
        except Answered as problem:
            return problem.slug == "overloaded"
        return True

    def statistics(self) -> dict[str, int]:
        """Return the pool's numbers (https://www.psycopg.org/psycopg3/docs/advanced/pool.html#pool-stats)."""
        return self._pool.get_stats()

    def _no_session(self) -> Answered:
        statistics = self._pool.get_stats()
        if statistics.get("pool_size", 0) - statistics.get("pool_available", 0) >= self._pool.max_size and self.up:
            return problems.overloaded("every session with the database is busy; try again")
        self._down("no session within the wait")
        return problems.unavailable("the database cannot be reached; try again")

    def _down(self, reason: str) -> None:
        if self.up:
            log.error("database not available", reason=reason, remedy="requests are answered with 503 until it is back")
        self.up = False

    def _available(self) -> None:
        if not self.up:
            log.info("database available")
        self.up = True


async def fetch(session: Session, statement: LiteralString, parameters: dict[str, Any]) -> list[DictRow]:
    """Run the query named `statement` and return its rows."""
    return await (await session.execute(sql.query(statement), parameters)).fetchall()
