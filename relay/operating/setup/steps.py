"""The steps of `relay setup`: each creates what is missing. Safe to repeat, and to run twice at the same time.

intending.py and deciding.py say what is done about a slot and a stored position.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from outboxkit import sql
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import EXCHANGE_TYPE, declare_exchange
from outboxkit.sql import apply as schema
from relay.core.errors import RepairNeeded, WalNotLogical, WalRefused
from relay.core.position import Lsn
from relay.operating import outbox
from relay.operating.connection import connected
from relay.operating.setup import beginning, creating, extra, intending, publication, waiting
from relay.operating.setup.beginning import From
from relay.operating.setup.dividing import taking_over
from relay.operating.slot import statements as slots
from relay.operating.topology import declaring
from relay.operating.topology.topology import Topology
from relay.settings import RelaySettings
from relay.sources.polling.statements import has_tx
from relay.sources.wal.decoders import pgoutput
from relay.storage.facts import TableFacts


def setup(  # noqa: PLR0913 - what an operator may ask for
    settings: RelaySettings,
    *,
    accept_gap: bool,
    extras: extra.Extras = extra.NOTHING,
    start: From = "now",
    take_over: str | None = None,
    topology: Topology | None = None,
    timeout: float = waiting.TIMEOUT,
    say: Callable[[str], object] = lambda _: None,
) -> Iterator[str]:
    """Create what is missing, and yield a line for each step; raises a Problem at the first step that fails.

    `start` is where a relay begins that has no position, unless it takes the place of the relay `take_over`.
    `topology` is what is made behind the exchange. `say` gets a line for whom it waits; it waits for at most `timeout`
    seconds.
    """
    with connected(settings, "setup") as connection, waiting.watched(connection, settings, timeout=timeout, say=say):
        refused = intending.require_wal(connection, settings, extras)
        yield from _schema(schema.apply(connection))
        yield from extra.make(connection, settings, extras)
        if take_over is not None:
            yield taking_over.take_over(connection, settings, take_over)
        if settings.source == "polling":
            yield begin_polling(connection, settings, accept_gap=accept_gap, start=start)
        else:
            creating.take_turn(connection, settings.slot)
            yield make_slot(connection, settings, accept_gap=accept_gap, start=start, refused=refused)
    yield from asyncio.run(_broker(settings, topology))


def _schema(applied: schema.Applied) -> Iterator[str]:
    for name in applied.restored:
        yield f"schema: {name} had been dropped, and is made again; run sql/roles.sql again if its roles are used"
    if applied.files:
        yield f"schema: applied {', '.join(file.name for file in applied.files)}"
    elif not applied.restored:
        yield "schema: up to date"


def begin_polling(
    connection: psycopg.Connection[Any], settings: RelaySettings, *, accept_gap: bool = False, start: From = "now"
) -> str:
    """Store where a relay begins that only polls, unless it has a position; raises SourceRefused for what cannot be.

    An accepted gap replaces a position of another server.
    """
    found, facts = outbox.facts(connection, settings), slots.facts(connection, settings)
    outbox.require_pollable(found, settings)
    if intending.replaces(connection, settings, facts, accept_gap=accept_gap):
        beginning.replace(connection, settings, found, vacant=facts.state is None)
        return f"polling: {settings.table}, from now: the stored position was replaced"
    begun = facts.state is None and beginning.begin(connection, settings, found, start, slot=None)
    return f"polling: {settings.table}, from " + (_begin(settings, start) if begun else "the stored position")


def make_slot(
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    *,
    accept_gap: bool,
    start: From = "now",
    refused: WalNotLogical | None = None,
) -> str:
    """Create the slot and the stored position if missing, and return a line; raises SourceRefused, see `decide`.

    What keeps the slot from being made, as `refused`, is no error of a relay that polls from its position meanwhile.
    """
    facts = slots.facts(connection, settings)
    found = outbox.facts(connection, settings)
    known = facts.state is not None
    try:
        if refused is not None:
            raise refused
        intended = intending.intend(connection, settings, facts, found, accept_gap=accept_gap, start=start)
        return _made(connection, settings, found, intended, known=known, start=start)
    except (WalRefused, RepairNeeded) as problem:
        if not intending.goes_on(settings, facts, found):
            raise
        return intending.polls(settings, problem)


def _made(  # noqa: PLR0913 - what was decided, and by what
    connection: psycopg.Connection[Any],
    settings: RelaySettings,
    found: TableFacts,
    intended: intending.Intended,
    *,
    known: bool,
    start: From,
) -> str:
    if intended.slot == "drop and create":
        slots.drop(connection, settings.slot)
    if intended.begins:  # before the slot is made: what commits meanwhile is polled
        beginning.begin(connection, settings, found, start, slot=settings.slot)
    new, plugin = intended.slot != "keep", intended.plugin
    republished = not new and plugin == pgoutput.PLUGIN and publication.create(connection, settings)
    if new:
        plugin = creating.create(connection, settings, found, plugin)
    place = connection.execute(sql.query("slot_position"), {"slot": settings.slot}).fetchone()
    assert place is not None  # noqa: S101 - the slot exists by now
    if intended.set_position:
        _reset(connection, settings, found, pollable=intended.pollable)
    state = "created" if new else "exists"
    line = f"slot: {settings.slot!r} ({plugin}) {state}, from {Lsn.parse(place[0])}"
    if intended.set_position and (known or intended.begins):
        line = f"{line}; events are published from there: the stored position was replaced"
    elif intended.begins:
        line = f"{line}; events are published from {_begin(settings, start)}"
    elif known:
        line = f"{line}; events are published from the stored position"
    return f"{line}; {publication.CREATED_AGAIN}" if republished else line


def _begin(settings: RelaySettings, start: From) -> str:
    """Return from where a relay publishes events that had no position."""
    partition = settings.owner.partition
    return start if partition.whole else f"where partition {partition} begins"


def _reset(connection: psycopg.Connection[Any], settings: RelaySettings, found: TableFacts, *, pollable: bool) -> None:
    """Store the slot's place as the position."""
    if pollable and has_tx(found):
        beginning.number(connection, settings, found)
    names = {"slot": settings.slot, "name": settings.name, "outboxes": settings.outboxes}
    with connection.transaction():
        if connection.execute(sql.query("checkpoint_reset"), names).rowcount == 0:
            slots.require_ours(connection, settings)  # another database was first with this name
            raise slots.missing(settings)


async def _broker(settings: RelaySettings, topology: Topology | None) -> list[str]:
    """Declare the exchange, and what is to be behind it; return a line for each."""
    connection = await Connection.open(
        settings.amqp_url.get_secret_value(), name=f"{settings.name} setup", tls=settings.tls()
    )
    try:
        await declare_exchange(connection, await connection.channel(), settings.exchange)
        lines = [f"exchange: {settings.exchange!r} ({EXCHANGE_TYPE}, durable) exists"]
        if topology is not None:
            lines.append(await declaring.declare(connection, topology))
            if not topology.fed_by(settings.spread):
                lines.append(f"no event gets into its queues yet: {topology.needed(settings.spread)}")
        return lines
    finally:
        await connection.close()
