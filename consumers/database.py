"""One connection to Postgres for short statements, made again whenever it is lost.

Each statement is a transaction of its own and may be sent twice: when a connection breaks, nobody knows whether the
last one committed. Only statements for which that does no harm belong here; those of claims.py tell by the row's
version. It knows no SQL of its own.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, LiteralString, Self

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from consumers.errors import DatabaseUnavailable, SchemaMissing
from outboxkit import sql
from outboxkit.backoff import Backoff

log = structlog.get_logger()

# A dead peer is noticed within about ten seconds, whether an answer is awaited or data is on its way
# (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-KEEPALIVES).
_LIVENESS = {
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def conninfo(url: str, *, name: str) -> str:
    """Return `url` with timeouts and an application name, as far as it does not set them itself."""
    own = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    return make_conninfo(**{**_LIVENESS, "application_name": name, **own})


def reason(error: psycopg.Error) -> str:
    """Return the first line of what Postgres or libpq said; the rest may quote rows."""
    return error.diag.message_primary or (str(error).splitlines() or [type(error).__name__])[0]


class Database:
    """A connection in autocommit mode; `url` is asked at each connect, so that a changed password is picked up.

    `name` is its application name and tells its log lines apart.
    """

    def __init__(self, url: Callable[[], str], *, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._connecting = asyncio.Lock()
        self._backoff = Backoff()
        self._told = ""
        """The reason that was logged last, while there is no connection."""
        self.up = False

    async def __aenter__(self) -> Self:
        """Connect; raises DatabaseUnavailable at once, and SchemaMissing when the tables are not there."""
        try:
            connection = await self._connected()
            cursor = await connection.execute(sql.query("task_schema_exists"))
            found = await cursor.fetchone()
        except psycopg.Error as error:
            raise DatabaseUnavailable(
                f"Postgres is not reachable, or refuses the login: {reason(error)}",
                remedy="check host, port, database, user and password in CONSUMERS_DATABASE_URL",
            ) from error
        if found is None or not found[0]:
            await self.__aexit__()
            raise SchemaMissing("the database has no tables for tasks", remedy="run `relay setup` on it")
        self.up = True
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def fetch(
        self, statement: LiteralString, parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run `statement` and return its rows; while Postgres is away or refuses, wait and try again."""
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
                    conninfo(self._url(), name=self._name), autocommit=True
                )
                await self._connection.execute(sql.query("task_session"))
            return self._connection

    async def _wait_after(self, error: psycopg.Error) -> None:
        why = reason(error)
        if self.up or why != self._told:
            log.warning("database not available", connection=self._name, reason=why, remedy="trying again until it is")
        self.up, self._told = False, why
        await asyncio.sleep(self._backoff.next_delay())

    def _succeeded(self) -> None:
        if not self.up:
            log.info("database available again", connection=self._name)
        self.up = True
        self._backoff.reset()
