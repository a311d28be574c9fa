"""A plain session with Postgres, for short statements beside the stream; it connects again at the next use.

Statements take turns. A statement's time limit begins when its turn comes and the connection is there, so that a long
statement does not use up the time of those behind it. A connection that cannot be made fails everything that waits.

Between statements the socket is watched: what Postgres says to an idle session is that it ends, and why.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import AsyncRowFactory, scalar_row, tuple_row

from outboxkit import sql
from outboxkit.postgres import conninfo
from relay.storage.sessions.deadline import SECONDS, deadline, hang_up
from relay.storage.sessions.refusals import from_postgres
from relay.storage.sessions.shutdown import ENDED, Address

Row = TypeVar("Row")
Result = TypeVar("Result")

# What a session's own settings may cause: read only, lock_timeout, statement_timeout. ALTER ROLE and ALTER DATABASE
# change them for new sessions only, so the next statement gets one.
_BY_SETTINGS = {"25006", "55P03", "57014"}


class Session:
    """Runs statements from `sql/queries` one at a time.

    `database_url` is asked at each connect, so that a changed password is picked up; `name` is the application name;
    `slot` is named in errors. `ended` is called when Postgres has ended the session with 57P01. `prepared` are queries
    that each new session begins with.
    """

    def __init__(
        self,
        database_url: Callable[[], str],
        *,
        name: str,
        slot: str,
        ended: Callable[[Address], None] = lambda _: None,
        prepared: Sequence[str] = (),
    ) -> None:
        self._database_url = database_url
        self._name = name
        self._slot = slot
        self._ended = ended
        self._notified: Callable[[], None] = lambda: None
        self._prepared = ("session_own_writes", *prepared)
        self._address: Address | None = None
        self._watched: int | None = None
        self._over = False
        """Whether Postgres has said that the session ends."""
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()
        self._asking: set[asyncio.Task[Any]] = set()
        self._executing: asyncio.Task[Any] | None = None
        self._failed_connects = 0
        self._failure: psycopg.Error | None = None

    async def fetch(
        self,
        row_factory: AsyncRowFactory[Row],
        query: str,
        parameters: Mapping[str, object],
        *,
        seconds: float = SECONDS,
    ) -> Row | None:
        """Run a query and return its first row; raises as `work` does."""
        return await self.work(lambda connection: _first_row(connection, row_factory, query, parameters), seconds)

    async def work(
        self, do: Callable[[psycopg.AsyncConnection[Any]], Awaitable[Result]], seconds: float = SECONDS
    ) -> Result:
        """Do something with the connection, such as a transaction; what `do` leaves open is rolled back.

        Raises SourceUnavailable, or SourceRefused for what Postgres refuses. A caller that is cancelled does not wait
        for the answer, and work whose turn has not come is dropped.
        """
        asking = asyncio.create_task(self._ask(do, seconds))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        try:
            await asyncio.wait([asking])  # from Python 3.14 on, shield() logs a failure that nobody waits for as a bug
        except asyncio.CancelledError:
            if asking is not self._executing:
                asking.cancel()
            asking.add_done_callback(_noticed)  # and asyncio would when it is collected
            raise
        return asking.result()

    async def execute(self, query: str, parameters: Mapping[str, object], *, seconds: float = SECONDS) -> None:
        """Run a query for its effect; raises as `fetch` does."""
        await self.fetch(tuple_row, query, parameters, seconds=seconds)

    def call_at_notify(self, notified: Callable[[], None]) -> None:
        """Call `notified` whenever a NOTIFY arrives that the session listens for."""
        self._notified = notified

    async def pooled(self) -> bool:
        """Return whether a connection pooler is in between: Postgres tells at login the pid that the session has."""
        pid = await self.fetch(scalar_row, "backend_pid", {})
        return self._connection is not None and self._connection.info.backend_pid != pid

    async def close(self) -> None:
        """Close the connection, if there is one; a running statement fails, and those that wait are cancelled.

        psycopg would wait for the server's answer to a cancelled statement, so the connection is cut under it.
        """
        for asking in self._asking - {self._executing}:
            asking.cancel()
        self._unwatch()
        if self._connection is not None:
            hang_up(self._connection)
        if self._asking:
            await asyncio.wait(self._asking)
        self._unwatch()
        if self._connection is not None:
            await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, do: Callable[[psycopg.AsyncConnection[Any]], Awaitable[Result]], seconds: float) -> Result:
        failed = self._failed_connects
        try:
            async with self._turn:
                if self._failed_connects > failed and self._failure is not None:
                    raise self._failure
                self._unwatch()
                connection = await self._connected()
                self._executing = asyncio.current_task()
                try:
                    with deadline(connection, seconds):
                        return await do(connection)
                except psycopg.Error as error:
                    if error.sqlstate in _BY_SETTINGS:
                        await connection.close()
                    raise
                finally:
                    if connection.info.transaction_status is not TransactionStatus.IDLE:
                        await connection.close()
                    self._watch(connection)
        except psycopg.Error as error:
            self._hear(error.sqlstate)
            raise from_postgres(error, slot=self._slot) from error

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            try:
                self._connection = await self._connect()
            except psycopg.Error as error:
                self._failed_connects += 1
                self._failure = error
                raise
            self._address = Address.of(self._connection)
            self._connection.add_notice_handler(self._noted)
            self._connection.add_notify_handler(lambda _: self._notified())
            self._over = False
        return self._connection

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        connection = await psycopg.AsyncConnection.connect(
            conninfo(self._database_url()), autocommit=True, application_name=self._name
        )
        try:
            with deadline(connection):
                for query in self._prepared:
                    await connection.execute(sql.query(query))
        except BaseException:
            await connection.close()
            raise
        return connection

    # What Postgres says by itself.

    def _watch(self, connection: psycopg.AsyncConnection[Any]) -> None:
        if not connection.closed:
            self._watched = connection.fileno()
            asyncio.get_running_loop().add_reader(self._watched, self._spoken_to, connection)

    def _unwatch(self) -> None:
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = None

    def _spoken_to(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Read what came without a question; libpq passes errors of an idle session to the notice handler."""
        with suppress(psycopg.Error):
            connection.pgconn.consume_input()
        with suppress(psycopg.Error):
            while connection.pgconn.notifies() is not None:
                self._notified()
        if self._over or connection.closed:
            self._unwatch()
            connection.pgconn.finish()

    def _noted(self, notice: psycopg.errors.Diagnostic) -> None:
        self._over = self._over or notice.severity_nonlocalized == "FATAL"
        self._hear(notice.sqlstate)

    def _hear(self, sqlstate: str | None) -> None:
        if sqlstate == ENDED and self._address is not None:
            self._ended(self._address)


def _noticed(asking: asyncio.Task[Any]) -> None:
    if not asking.cancelled():
        asking.exception()


async def _first_row(
    connection: psycopg.AsyncConnection[Any],
    row_factory: AsyncRowFactory[Row],
    query: str,
    parameters: Mapping[str, object],
) -> Row | None:
    async with connection.cursor(row_factory=row_factory) as cursor:
        await cursor.execute(sql.query(query), parameters)
        return await cursor.fetchone() if cursor.description else None
