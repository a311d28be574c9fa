"""Second locks as advisory locks of Postgres: one connection with an open transaction for each lock that is held.

The lock ends with its transaction, so it works behind a pooler in transaction mode. It ends with its connection when
the consumer dies, and after the lease when the consumer stands still. https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from uuid import UUID, uuid4

import psycopg

from consumers.second_lock.server import ServerAwayError
from outboxkit import sql
from outboxkit.postgres import conninfo, message

_Connection = psycopg.AsyncConnection[Any]


def key(task_id: UUID) -> int:
    """Return the key of the lock: 64 bits with a sign, the same in every consumer.

    Two tasks may have the same key, and so may an advisory lock of the application: then a task only waits.
    """
    return int.from_bytes(blake2b(task_id.bytes, digest_size=8, person=b"second lock").digest(), signed=True)


class AdvisoryLocks:
    """Connections are opened when they are needed, and kept: as many as there were locks held at once.

    It calls `url` at each connect, so that a changed password is used. `name` is their application name. A lock ends
    `lease` seconds after it was taken or extended.
    """

    def __init__(self, url: Callable[[], str], *, name: str, lease: float) -> None:
        self._url = url
        self._name = name
        self._milliseconds = int(lease * 1000)
        self._idle: list[_Connection] = []
        self._used: set[_Connection] = set()

    async def take(self, task_id: UUID) -> "_HeldAdvisory | None":
        """Take the lock; None if another has it."""
        while True:
            kept = bool(self._idle)
            try:
                connection = self._idle.pop() if kept else await self._connect()
                self._used.add(connection)
                return await self._locked(connection, {"key": key(task_id), "milliseconds": self._milliseconds})
            except psycopg.Error as error:
                if not kept:  # otherwise the server closed it while it was idle
                    raise ServerAwayError(message(error)) from error

    async def _locked(self, connection: _Connection, parameters: dict[str, int]) -> "_HeldAdvisory | None":
        held = _HeldAdvisory(self, connection, parameters)
        try:
            if await held.take():
                return held
        except BaseException:
            held.forget()
            raise
        await held.release()
        return None

    async def probe(self) -> None:
        """Take and release a lock that no task has."""
        if (held := await self.take(uuid4())) is not None:
            await held.release()

    async def close(self) -> None:
        """Close its connections."""
        for connection in (*self._idle, *self._used):
            await connection.close()

    async def _connect(self) -> _Connection:
        connection = await _Connection.connect(
            conninfo(self._url(), application_name=self._name),
            # It sends simple queries. With others, the transaction keeps the portal of its last statement, and with it
            # a snapshot, which holds back vacuum; and a pooler need not know prepared statements.
            # https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
            cursor_factory=psycopg.AsyncClientCursor,
        )
        # At this level, no snapshot is kept between statements.
        await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
        return connection

    def keep(self, connection: _Connection) -> None:
        """Use a connection for the next lock."""
        self._used.discard(connection)
        self._idle.append(connection)

    def drop(self, connection: _Connection) -> None:
        """Close a connection, without waiting for it; safe to call again."""
        self._used.discard(connection)
        connection.pgconn.finish()


class _HeldAdvisory:
    """One transaction, and a lock in it."""

    def __init__(self, locks: AdvisoryLocks, connection: _Connection, parameters: dict[str, int]) -> None:
        self._locks = locks
        self._connection = connection
        self._parameters = parameters

    async def take(self) -> bool:
        """Take the lock in the transaction, and again to extend it; False if another session has it."""
        cursor = await self._connection.execute(sql.query("second_lock_take"), self._parameters)
        row = await cursor.fetchone()
        return row is not None and bool(row[0])

    async def extend(self) -> bool:
        """Let the limit for idle transactions begin again; False if the connection, and with it the lock, is gone."""
        try:
            return await self.take()
        except psycopg.Error:
            self.forget()
            return False

    async def release(self) -> bool:
        """End the transaction; False if the connection, and with it the lock, was gone."""
        try:
            await self._connection.rollback()
        except psycopg.Error:
            self.forget()
            return False
        self._locks.keep(self._connection)
        return True

    def forget(self) -> None:
        """Close the connection; Postgres ends the transaction."""
        self._locks.drop(self._connection)
