"""What the relay stores and asks beside the stream: checkpoint, parked events, fences, the state of the slot.

One plain connection to the database that is read; it connects again by itself at the next use after a failure.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

import psycopg
from psycopg.rows import AsyncRowFactory, class_row, scalar_row, tuple_row

from outboxkit import sql
from relay.core.errors import SourceRefused
from relay.core.position import Lsn
from relay.storage.deadline import SECONDS, deadline, hang_up
from relay.storage.facts import Facts, SlotState, TableFacts
from relay.storage.refusals import check_wal_level, from_postgres

Row = TypeVar("Row")

# Parked events may be many and large.
_PARKING_SECONDS = 60.0


class CheckpointStore:
    """Reads and writes `relay.checkpoint` for the relay `name` on `slot`; `database_url` is asked at each connect."""

    def __init__(self, database_url: Callable[[], str], *, name: str, slot: str, table: str = "outbox.event") -> None:
        self._database_url = database_url
        self._name = name
        self._slot = slot
        self._table = table
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._asking: set[asyncio.Task[Any]] = set()

    async def facts(self) -> Facts:
        """Ask the server; raises SourceUnavailable or SourceRefused."""
        level = await self._fetch(scalar_row, "wal_level", {})  # by itself: it is told even where there is no schema
        check_wal_level(str(level))
        facts = await self._fetch(
            class_row(Facts), "source_facts", {"slot": self._slot, "name": self._name, "table": self._table}
        )
        if facts is None:
            raise SourceRefused("Postgres gave no facts", remedy="this is a bug in sql/queries/source_facts.sql")
        return facts

    async def table(self) -> TableFacts | None:
        """Ask what the outbox table is; None if there is none."""
        schema, _, table = self._table.partition(".")
        return await self._fetch(class_row(TableFacts), "outbox_table", {"schema": schema, "table": table})

    async def save(self, position: Lsn, *, system_identifier: str, timeline: int) -> None:
        """Store `position`; raises SourceUnavailable when it cannot be stored now."""
        row = {
            "name": self._name,
            "slot": self._slot,
            "lsn": str(position),
            "system_identifier": system_identifier,
            "timeline": timeline,
        }
        await self._fetch(tuple_row, "checkpoint_save", row)

    async def create_partitions(self) -> None:
        """Make the outbox partitions of the coming days."""
        await self._fetch(tuple_row, "create_partitions", {})

    async def park(self, events: Sequence[Mapping[str, Any]], *, relay: str, after: Lsn | None) -> None:
        """Store events in relay.parked, all of them or none; there is at least one."""
        columns = {name: [event[name] for event in events] for name in events[0]}
        after_lsn = None if after is None else str(after)
        parked = columns | {"relay": relay, "after_lsn": after_lsn}
        await self._fetch(tuple_row, "park", parked, seconds=_PARKING_SECONDS)

    async def emit_fence(self, token: str) -> None:
        """Write a fence into the WAL; it comes back through the stream."""
        await self._fetch(tuple_row, "fence_emit", {"token": token})

    async def watch(self) -> SlotState:
        """Ask how the slot stands."""
        state = await self._fetch(class_row(SlotState), "slot_watch", {"slot": self._slot})
        if state is None:
            raise SourceRefused("Postgres gave no state", remedy="this is a bug in sql/queries/slot_watch.sql")
        return state

    async def close(self) -> None:
        """Close the connection, if there is one, whatever is being asked."""
        if self._connection is not None:
            hang_up(self._connection)
            if self._asking:
                await asyncio.wait(self._asking)
            await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            made = await psycopg.AsyncConnection.connect(
                self._database_url(),
                autocommit=True,
                application_name=f"{self._name} checkpoint",
                connect_timeout=10,
            )
            if self._connection is None or self._connection.closed:
                self._connection = made
            else:  # somebody else who asked was quicker
                await made.close()
        return self._connection

    async def _fetch(
        self,
        row_factory: AsyncRowFactory[Row],
        query: str,
        parameters: Mapping[str, object],
        *,
        seconds: float = SECONDS,
    ) -> Row | None:
        """Run a query and return its first row; whoever is cancelled meanwhile does not wait for the answer."""
        asking = asyncio.create_task(self._ask(row_factory, query, parameters, seconds))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        return await asyncio.shield(asking)

    async def _ask(
        self, row_factory: AsyncRowFactory[Row], query: str, parameters: Mapping[str, object], seconds: float
    ) -> Row | None:
        try:
            connection = await self._connected()
            with deadline(connection, seconds):
                async with connection.cursor(row_factory=row_factory) as cursor:
                    await cursor.execute(sql.query(query), parameters)
                    return await cursor.fetchone() if cursor.description else None
        except psycopg.Error as error:
            raise from_postgres(error, slot=self._slot) from error
