"""`relay tail`: the messages of the stream as they would be published, without publishing and without the relay's slot.

Where the relay polls, it polls too, from the stored position or from now. Otherwise it reads a temporary slot, which
lives as long as its session: a copy of the relay's slot, which starts with what the relay has not confirmed, or a new
slot, which starts now. Neither the relay's slot nor its stored position is touched, and a relay that runs is not
disturbed. A broken stream ends it: nothing depends on it.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TextIO

from psycopg.rows import scalar_row

from relay.core.errors import SlotMissing
from relay.core.event import OutboxEvent
from relay.core.messages.routing import Router
from relay.core.position import Lsn, Snapshot
from relay.core.transactions import Transactions
from relay.publishing.json_lines import json_line
from relay.settings import RelaySettings
from relay.sources.polling.source import POLLS, PollingSource
from relay.sources.polling.source import Settings as Polls
from relay.sources.polling.stream import PollingStream
from relay.sources.preconditions import require_state
from relay.sources.wal import temporary
from relay.sources.wal.connecting import connected
from relay.sources.wal.opening import Decoding, opened
from relay.sources.wal.published import Published
from relay.sources.wal.stream import Timings, WalStream
from relay.storage.facts import Facts
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.storage.state import State

_WITHOUT = "run it without --from-now; `relay check` names these transactions"
_WHEREVER_THE_SLOT_STANDS = Lsn(0)


async def tail(  # noqa: PLR0913 - called in one place, by the command
    settings: RelaySettings, decoding: Decoding, router: Router, *, count: int | None, from_now: bool, out: TextIO
) -> None:
    """Write messages to `out` as lines of JSON, at most `count` of them; ends when the stream does, with its Problem.

    Raises BrokenPipeError when the reader of `out` has gone.
    """
    left, mine = count, settings.owner.partition.has
    async with _stream(settings, decoding, from_now=from_now) as stream:
        while left is None or left > 0:
            items = await stream.receive()
            events = [item for item in items if isinstance(item, OutboxEvent) and mine(item)][:left]
            out.writelines(json_line(router.route(event)) + "\n" for event in events)
            out.flush()
            left = None if left is None else left - len(events)


@asynccontextmanager
async def _stream(
    settings: RelaySettings, decoding: Decoding, *, from_now: bool
) -> AsyncIterator[WalStream | PollingStream]:
    def database_url() -> str:
        return settings.database_url.get_secret_value()

    name = f"{settings.name} tail"
    async with Session(database_url, name=f"{name} facts", slot=settings.slot) as session:
        server = Server(session, name=settings.name, slot=settings.slot, table=settings.table)
        facts = await server.facts()
        state = facts.state
        if settings.source == "polling" or (
            settings.source == "auto" and state is not None and state.mode == "polling"
        ):
            async with _polled(settings, database_url, server, facts, from_now=from_now) as polled:
                yield polled
            return
        plugin = _plugin(facts, settings, from_now=from_now)
        table = await server.table()
        decoding.examine(table, plugin)
        slot = f"tail_{secrets.token_hex(6)}"
        connection = await connected(database_url(), server, facts, slot=slot, name=name)
        try:
            if from_now:
                await temporary.create(connection, slot, plugin, what="a new slot", remedy=_WITHOUT)
            else:
                await temporary.copy(connection, settings.slot, slot, plugin)
            async with opened(
                connection,
                _WHEREVER_THE_SLOT_STANDS,
                Published(State("wal", None, None, Transactions())),
                plugin=plugin,
                decoding=decoding,
                facts=facts,
                table=table,
                writing=None,
                timings=Timings(),
                observe=lambda _: None,
            ) as stream:
                yield stream
        finally:
            await connection.close()


@asynccontextmanager
async def _polled(
    settings: RelaySettings, database_url: Callable[[], str], server: Server, facts: Facts, *, from_now: bool
) -> AsyncIterator[PollingStream]:
    name = f"{settings.name} tail"
    async with Session(database_url, name=name, slot=settings.slot, prepared=POLLS) as session:
        state = require_state(facts, settings.name)
        if from_now:
            now = Snapshot.parse(str(await session.fetch(scalar_row, "snapshot_now", {})))
            state = State("polling", None, now, Transactions())
        source = PollingSource(
            session,
            lambda table: settings.layout(partitioned=table.partitioned),
            settings=Polls(settings.poll_interval, settings.poll_batch),
            positions=None,
            listening=None,
            observe=lambda _: None,
        )
        async with source.open(facts, await server.table(), state) as stream:
            yield stream


def _plugin(facts: Facts, settings: RelaySettings, *, from_now: bool) -> str:
    """Return the plugin to read with: the slot's own, so that `tail` shows what the relay reads."""
    if facts.plugin is not None:
        return facts.plugin
    if not from_now:
        raise SlotMissing(f"replication slot {settings.slot!r} does not exist", remedy="run `relay setup`")
    return "wal2json" if settings.plugin == "auto" else settings.plugin
