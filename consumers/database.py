"""One connection to Postgres for short statements; it is opened again whenever it is lost.

Each statement is a transaction of its own and may be sent twice: after a lost connection it is unknown whether the last
one committed. Use it only for statements that may run twice; those of claims.py compare the row's version.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, LiteralString, Self

import psycopg
import structlog

from consumers.errors import DatabaseFailed, DatabaseUnavailable, SchemaMissing
from outboxkit import sql
from outboxkit.backoff import Backoff
from outboxkit.errors import Problem
from outboxkit.postgres import conninfo, message, recovery_of
from outboxkit.sql.apply import require_current
from outboxkit.sqlstates import Recovery

log = structlog.get_logger()

_NOT_SET_UP = frozenset({"3F000", "42P01", "42703", "42883"})  # a schema, table, column or function does not exist


class Database:
    """A connection in autocommit mode; calls `url` at each connect, so that a changed password is used.

    `name` is its application name, and names it in the log.
    """

    def __init__(self, url: Callable[[], str], *, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._connecting = asyncio.Lock()
        self._backoff = Backoff()
        self._logged = ""
        """The reason that was logged last, while there is no connection."""
        self.up = False

    async def __aenter__(self) -> Self:
        """Connect; raises DatabaseUnavailable, or a Problem when the schema is missing or of another version."""
        try:
            await self._require_schema(await self._connected())
        except Problem:
            await self.__aexit__()
            raise
        except psycopg.Error as error:
            raise DatabaseUnavailable(
                f"Postgres is not reachable, or refuses the login: {message(error)}",
                remedy="check host, port, database, user and password in CONSUMERS_DATABASE_URL",
            ) from error
        self.up = True
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def fetch(
        self, statement: LiteralString, parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run `statement` and return its rows; retry until it succeeds.

        Raises DatabaseFailed or SchemaMissing for a final error.
        """
        while True:
            try:
                connection = await self._connected()
                cursor = await connection.execute(statement, parameters)
                rows: list[tuple[Any, ...]] = await cursor.fetchall()
            except psycopg.Error as error:
                await self._wait_after(error)
            else:
                self._succeeded()
                return rows

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        async with self._connecting:
            if self._connection is None or self._connection.closed:
                self._connection = await psycopg.AsyncConnection.connect(
                    conninfo(self._url(), application_name=self._name), autocommit=True
                )
                await self._connection.execute(sql.query("task_session"))
            return self._connection

    async def _require_schema(self, connection: psycopg.AsyncConnection[Any]) -> None:
        found = await (await connection.execute(sql.query("task_schema_exists"))).fetchone()
        if found is None or not found[0]:
            raise SchemaMissing(
                "the database has no tables for tasks of this version", remedy="run `relay setup` on it"
            )
        recorded = await (await connection.execute(sql.query("schema_record_list"))).fetchone()
        require_current(recorded[0] if recorded else {})

    async def _wait_after(self, error: psycopg.Error) -> None:
        recovery, reason = recovery_of(error), message(error)
        if recovery is Recovery.FINAL:
            if error.sqlstate is None:
                raise error  # psycopg's own: a bug
            raise _failed(error) from error
        report, remedy = log.warning, "it is tried again until it succeeds"
        if recovery is Recovery.OPERATOR:
            report, remedy = log.error, f"an operator must act; {remedy}"
        if self.up or reason != self._logged:
            report("database not available", connection=self._name, reason=reason, remedy=remedy)
        self.up, self._logged = False, reason
        await asyncio.sleep(self._backoff.next_delay())

    def _succeeded(self) -> None:
        if not self.up:
            log.info("database available again", connection=self._name)
        self.up = True
        self._backoff.reset()


def _failed(error: psycopg.Error) -> DatabaseFailed:
    if error.sqlstate in _NOT_SET_UP:
        return SchemaMissing(
            f"the database has no tables for tasks of this version ({message(error)})", remedy="run `relay setup` on it"
        )
    return DatabaseFailed(
        f"Postgres cannot run a statement of the consumer ({error.sqlstate}: {message(error)})",
        remedy="find the code in appendix A of PostgreSQL's manual, and the statement in the server's log",
    )
