"""One connection to Postgres for short statements; it is opened again whenever it is lost.

Each statement is a transaction of its own and may be sent twice: after a lost connection it is unknown whether the last
one committed. Use it only for statements that may run twice; those of claims.py compare the row's version. A session
that cannot write counts as lost: the server is a standby, or was made read-only.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, LiteralString, Self

import psycopg
import structlog

from consumers.errors import SchemaMissing
from consumers.postgres import refusals
from consumers.postgres.connecting import PREPARE_THRESHOLD, SessionFacts, address, require_writable
from outboxkit import sql
from outboxkit.backoff import Backoff
from outboxkit.errors import Problem
from outboxkit.postgres import message, recovery_of
from outboxkit.sql.apply import require_current
from outboxkit.sqlstates import Recovery

log = structlog.get_logger()

_READ_ONLY = "25006"


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
            await self.__aexit__()
            final = error.sqlstate is not None and recovery_of(error) is Recovery.FINAL
            raise refusals.failed(error) if final else await self._unavailable(error) from error
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
                if (me := asyncio.current_task()) is not None and me.cancelling():
                    raise asyncio.CancelledError from error  # a cancelled statement may raise what its connection does
                await self._wait_after(error)
            else:
                self._succeeded()
                return rows

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        async with self._connecting:
            if self._connection is None or self._connection.closed:
                self._connection = await _open(address(self._url(), name=self._name))
            return self._connection

    async def _require_schema(self, connection: psycopg.AsyncConnection[Any]) -> None:
        found = await (await connection.execute(sql.query("task_schema_exists"))).fetchone()
        if found is None or not found[0]:
            raise SchemaMissing("the database has no tables for tasks of this version", remedy=refusals.SET_UP)
        recorded = await (await connection.execute(sql.query("schema_record_list"))).fetchone()
        require_current(recorded[0] if recorded else {}, remedy=refusals.SET_UP)

    async def _wait_after(self, error: psycopg.Error) -> None:
        recovery, reason = recovery_of(error), message(error)
        if recovery is Recovery.FINAL:
            if error.sqlstate is None:
                raise error  # psycopg's own: a bug
            raise refusals.failed(error) from error
        if error.sqlstate == _READ_ONLY and self._connection is not None:
            await self._connection.close()
        new = self.up or reason != self._logged
        self.up, self._logged = False, reason
        if new:
            await self._report(error, recovery)
        await asyncio.sleep(self._backoff.next_delay())

    async def _report(self, error: psycopg.Error, recovery: Recovery) -> None:
        remedy = "it is tried again until it succeeds"
        if error.sqlstate is None or recovery is Recovery.OPERATOR:
            problem = await self._unavailable(error)
            log.error(
                "database not available",
                connection=self._name,
                reason=problem.what,
                remedy=f"{problem.remedy}; {remedy}",
            )
        else:
            log.warning("database not available", connection=self._name, reason=message(error), remedy=remedy)

    async def _unavailable(self, error: psycopg.Error) -> Problem:
        return await asyncio.to_thread(refusals.unavailable, error, address(self._url(), name=self._name))

    def _succeeded(self) -> None:
        if not self.up:
            log.info("database available again", connection=self._name)
        self.up = True
        self._backoff.reset()


async def _open(conninfo: str) -> psycopg.AsyncConnection[Any]:
    """Return a session that can write."""
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=PREPARE_THRESHOLD)
    try:
        row = await (await connection.execute(sql.query("session_facts"))).fetchone()
        assert row is not None  # noqa: S101 - the query always returns one row
        require_writable(SessionFacts(*row))
    except BaseException:
        await connection.close()
        raise
    return connection
