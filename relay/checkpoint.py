"""The stored checkpoint and the facts it is judged by: a plain connection beside the stream.

The store is in the database that is read, and reconnects by itself at the next use after a failure.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import psycopg
from psycopg.rows import class_row

import sql
from relay.errors import SourceRefused
from relay.position import Lsn
from relay.sources.refusals import from_postgres


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says before the relay streams; the fields of sql/queries/source_facts.sql."""

    wal_level: str
    server_encoding: str
    wal_sender_timeout_ms: int
    database: str
    slot: str | None
    plugin: str | None
    slot_database: str | None
    wal_status: str | None
    confirmed_flush_lsn: str | None
    holder_pid: int | None
    holder_name: str | None
    holder_since: datetime | None
    checkpoint_slot: str | None
    checkpoint_lsn: str | None
    checkpoint_system: str | None
    checkpoint_timeline: int | None


class CheckpointStore:
    """Reads and writes `relay.checkpoint` for the relay `name` on `slot`."""

    def __init__(self, database_url: str, *, name: str, slot: str) -> None:
        self._database_url = database_url
        self._name = name
        self._slot = slot
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def facts(self) -> Facts:
        """Ask the server; raises SourceUnavailable or SourceRefused."""
        try:
            connection = await self._connected()
            cursor = connection.cursor(row_factory=class_row(Facts))
            await cursor.execute(sql.query("source_facts"), {"slot": self._slot, "name": self._name})
            facts = await cursor.fetchone()
        except psycopg.Error as error:
            raise from_postgres(error, slot=self._slot) from error
        if facts is None:
            raise SourceRefused("Postgres gave no facts", remedy="this is a bug in sql/queries/source_facts.sql")
        return facts

    async def save(self, position: Lsn, *, system_identifier: str, timeline: int) -> None:
        """Store `position`; raises SourceUnavailable when it cannot be stored now."""
        row = {
            "name": self._name,
            "slot": self._slot,
            "lsn": str(position),
            "system_identifier": system_identifier,
            "timeline": timeline,
        }
        try:
            connection = await self._connected()
            await connection.execute(sql.query("checkpoint_save"), row)
        except psycopg.Error as error:
            raise from_postgres(error, slot=self._slot) from error

    async def create_partitions(self) -> None:
        """Make the outbox partitions of the coming days."""
        try:
            connection = await self._connected()
            await connection.execute(sql.query("create_partitions"))
        except psycopg.Error as error:
            raise from_postgres(error, slot=self._slot) from error

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._database_url,
                autocommit=True,
                application_name=f"{self._name} checkpoint",
                connect_timeout=10,
            )
        return self._connection
