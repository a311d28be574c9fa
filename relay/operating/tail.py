"""`relay tail`: the messages of the stream as they would be published, without publishing and without the relay's slot.

It reads a temporary slot that lives as long as its own session: a copy of the relay's, which starts with what the
relay has not confirmed, or a new one, which starts now. Neither the relay's slot nor its checkpoint is touched, and a
relay that streams is not disturbed. A broken stream ends it: nobody depends on it.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TextIO

import psycopg

from outboxkit import sql
from relay.core.errors import SlotMissing, SourceRefused
from relay.core.event import OutboxEvent
from relay.core.position import Lsn
from relay.core.routing import Router
from relay.publishing.json_lines import json_line
from relay.settings import RelaySettings
from relay.sources.wal.replication import ReplicationConnection
from relay.sources.wal.source import Reading, WalStream
from relay.storage.checkpoint import CheckpointStore
from relay.storage.facts import Facts
from relay.storage.refusals import from_postgres

_TIMEOUT = "10s"


class _TemporarySlot(ReplicationConnection):
    """A walsender session with a slot of its own, which Postgres drops when the session ends."""

    async def copy(self, slot: str, plugin: str) -> None:
        """Start where `slot` stands."""
        await self._make("slot_copy", {"slot": slot, "copy": self._slot, "plugin": plugin})

    async def create(self, plugin: str) -> None:
        """Start now; raises SourceRefused when transactions that are open do not end for ten seconds."""
        try:
            await self._make("slot_create_temporary", {"slot": self._slot, "plugin": plugin})
        except psycopg.errors.QueryCanceled as error:
            raise SourceRefused(
                f"a new slot waits for the transactions that are open, and they have not ended for {_TIMEOUT}",
                remedy="leave --from-now out; `relay check` names them",
            ) from error

    async def _make(self, query: str, parameters: dict[str, object]) -> None:
        # A walsender takes simple queries only, so the parameters are put in on this side.
        # https://www.postgresql.org/docs/current/protocol-replication.html
        cursor = psycopg.AsyncClientCursor(self._connection)
        try:
            await cursor.execute(sql.query("statement_timeout"), {"timeout": _TIMEOUT})
            await cursor.execute(sql.query(query), parameters)
        except psycopg.errors.QueryCanceled:
            raise
        except psycopg.Error as error:
            raise from_postgres(error, slot=self._slot) from error


async def tail(  # noqa: PLR0913 - called in one place, by the command
    settings: RelaySettings, reading: Reading, router: Router, *, count: int | None, from_now: bool, out: TextIO
) -> None:
    """Write messages to `out` as lines of JSON, at most `count` of them; ends when the stream does, with its Problem.

    Raises BrokenPipeError when the reader of `out` has gone.
    """
    left = count
    async with _opened(settings, reading, from_now=from_now) as stream:
        while left is None or left > 0:
            events = [item for item in await stream.receive() if isinstance(item, OutboxEvent)][:left]
            out.writelines(json_line(router.route(event)) + "\n" for event in events)
            out.flush()
            left = None if left is None else left - len(events)


@asynccontextmanager
async def _opened(settings: RelaySettings, reading: Reading, *, from_now: bool) -> AsyncIterator[WalStream]:
    def database_url() -> str:
        return settings.database_url.get_secret_value()

    name, table = f"{settings.name} tail", settings.outbox_table
    async with CheckpointStore(database_url, name=name, slot=settings.slot, table=table) as store:
        facts = await store.facts()
        plugin = _plugin(facts, settings, from_now=from_now)
        connection = await _TemporarySlot.connect(database_url(), slot=f"tail_{secrets.token_hex(6)}", name=name)
        try:
            system = await connection.identify()
            if from_now:
                await connection.create(plugin)
            else:
                await connection.copy(settings.slot, plugin)
            reading.examine(await store.table(), plugin)
            decoder, options = reading.decoder(plugin, facts)
            start = Lsn(0)  # wherever the slot stands
            await connection.start(start, options)
            stream = WalStream(connection, store, system, start, facts, decoder, lambda _: None, read_only=True)
            try:
                yield stream
            finally:
                await stream.close()
        finally:
            await connection.close()


def _plugin(facts: Facts, settings: RelaySettings, *, from_now: bool) -> str:
    """Return the plugin to read with: the slot's own, so that what is seen is what the relay sees."""
    if facts.plugin is not None:
        return facts.plugin
    if not from_now:
        raise SlotMissing(f"replication slot {settings.slot!r} does not exist", remedy="run `relay setup`")
    return "wal2json" if settings.plugin == "auto" else settings.plugin
