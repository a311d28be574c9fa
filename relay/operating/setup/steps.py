"""The steps of `relay setup`: each creates what is missing. Safe to repeat, and to run twice at the same time.

deciding.py says what is done about a slot and a stored position.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from outboxkit import sql
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import EXCHANGE_TYPE, declare_exchange
from outboxkit.sql import apply as schema
from outboxkit.sql.restoring import present
from relay.core.errors import SourceRefused
from relay.core.position import Lsn
from relay.operating import outbox
from relay.operating.connection import connected
from relay.operating.setup import beginning, creating, notify, publication, tx_column, upgrade, waiting
from relay.operating.setup.beginning import From
from relay.operating.setup.deciding import Decision, decide
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.layout import NATIVE
from relay.sources.wal.decoders import pgoutput
from relay.sources.wal.ownership import require_database, require_position
from relay.storage.sessions.refusals import check_failover, check_wal_level


@dataclass(frozen=True, slots=True)
class Extras:
    """What is made only if it is asked for."""

    add_tx_column: bool = False
    notify: bool = False
    accept_upgrade: bool = False


def setup(  # noqa: PLR0913 - what an operator may ask for
    settings: RelaySettings,
    *,
    accept_gap: bool,
    extras: Extras = Extras(),
    start: From = "now",
    timeout: float = waiting.TIMEOUT,
    say: Callable[[str], object] = lambda _: None,
) -> Iterator[str]:
    """Create what is missing, and yield a line for each step; raises a Problem at the first step that fails.

    `start` is where a relay begins that has no position. `say` gets a line for whom it waits; it waits for at most
    `timeout` seconds.
    """
    with connected(settings, "setup") as connection, waiting.watched(connection, settings, timeout=timeout, say=say):
        require_wal(connection, settings)
        yield from _schema(schema.apply(connection))
        yield from _extras(connection, settings, extras)
        if settings.source == "polling":
            yield begin_polling(connection, settings, start=start)
        else:
            creating.take_turn(connection, settings.slot)
            yield make_slot(connection, settings, accept_gap=accept_gap, start=start)
    asyncio.run(_exchange(settings))
    yield f"exchange: {settings.exchange!r} ({EXCHANGE_TYPE}, durable) exists"


def plan(settings: RelaySettings, *, accept_gap: bool, extras: Extras = Extras(), start: From = "now") -> Iterator[str]:
    """Yield the SQL that `setup` would run, and change nothing; raises what `setup` would raise about the slot."""
    with connected(settings, "setup") as connection:
        require_wal(connection, settings)
        found = outbox.facts(connection, settings)
        own = bool(schema.lacking(connection)) and settings.table == NATIVE.name  # it is made before the slot
        pollable = outbox.pollable(found, settings) or (own and settings.source != "wal")
        written = psycopg.ClientCursor(connection).mogrify
        names = {
            "slot": settings.slot,
            "name": settings.name,
            "outboxes": settings.outboxes,
            "snapshot": beginning.snapshot(start),
        }
        if settings.source == "polling":
            if not own:
                outbox.require_pollable(found, settings)
            yield from schema.script(connection)
            yield from _extra_statements(connection, settings, extras)
            yield f"{written(sql.query('checkpoint_begin'), {**names, 'slot': None})};"
            return
        decision = _decision(connection, settings, accept_gap=accept_gap)
        yield from schema.script(connection)
        yield from _extra_statements(connection, settings, extras)
        if decision.slot == "drop and create":
            yield f"{written(sql.query('slot_drop'), names)};"
        begins = _begins(decision, pollable=pollable, known=_known(connection, settings), start=start)
        if begins:
            yield f"{written(sql.query('checkpoint_begin'), names)};"
        if decision.slot != "keep":
            plugin = outbox.preferred(found, settings)
            if not own:
                outbox.require(found, settings, plugin)
            if plugin == pgoutput.PLUGIN:
                yield f"{publication.statement(settings).as_string(connection)};"
            yield f"{written(creating.statement(settings), {**names, 'plugin': plugin})};"
        if decision.set_position and not begins:
            yield f"{written(sql.query('checkpoint_reset'), names)};"


def _begins(decision: Decision, *, pollable: bool, known: bool, start: From) -> bool:
    """Return whether a relay begins by polling: then its first snapshot is stored before its slot is made.

    From now, one with a slot that is there already begins where that stands.
    """
    return decision.set_position and (decision.slot != "keep" or start == "start") and pollable and not known


def _known(connection: psycopg.Connection[Any], settings: RelaySettings) -> bool:
    """Return whether the relay has a stored position; a schema that is older, or missing, may not tell."""
    if not present(connection, ["relay"]):
        return False
    return connection.execute(sql.query("checkpoint_exists"), {"name": settings.name}).fetchone() == (True,)


def _schema(applied: schema.Applied) -> Iterator[str]:
    for name in applied.restored:
        yield f"schema: {name} had been dropped, and is made again; run sql/roles.sql again if its roles are used"
    if applied.files:
        yield f"schema: applied {', '.join(file.name for file in applied.files)}"
    elif not applied.restored:
        yield "schema: up to date"


def _decision(connection: psycopg.Connection[Any], settings: RelaySettings, *, accept_gap: bool) -> Decision:
    """Return what is done about the slot. A schema that is older, or missing, does not tell whose it is: it is kept."""
    if schema.lacking(connection):
        slot = slots.find(connection, settings.slot)
        if slot is not None:
            require_database(slot.name, slot.database, connection.info.dbname)
        known = _known(connection, settings)
        return Decision("create" if slot is None else "keep", set_position=not known)
    facts = slots.facts(connection, settings)
    pollable = outbox.pollable(outbox.facts(connection, settings), settings)
    return decide(facts, settings.owner, plugin=settings.plugin, accept_gap=accept_gap, pollable=pollable)


def require_wal(connection: psycopg.Connection[Any], settings: RelaySettings) -> None:
    """Raise SourceRefused if the server has no WAL to stream, or no slots of the kind asked for; polling needs none."""
    if settings.source == "polling":
        return
    check_failover(connection.info.server_version, wanted=settings.slot_failover)
    row = connection.execute(sql.query("wal_level")).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    check_wal_level(row[0])


def _extras(connection: psycopg.Connection[Any], settings: RelaySettings, extras: Extras) -> Iterator[str]:
    if extras.add_tx_column:
        yield from tx_column.run(connection, tx_column.steps(connection, settings))
    if extras.accept_upgrade:
        yield upgrade.accept(connection, settings)
    if extras.notify:
        made = notify.exists(connection, settings)
        for statement in [] if made else notify.statements(settings):
            connection.execute(statement)
        yield f"trigger: relay_notify on {settings.table} {'exists' if made else 'created'}; set RELAY_POLL_NOTIFY=true"


def _extra_statements(connection: psycopg.Connection[Any], settings: RelaySettings, extras: Extras) -> Iterator[str]:
    if extras.add_tx_column:
        yield from map(str, tx_column.steps(connection, settings))
    if extras.notify and not notify.exists(connection, settings):
        yield from (f"{each.as_string(connection)};" for each in notify.statements(settings))


def begin_polling(connection: psycopg.Connection[Any], settings: RelaySettings, *, start: From = "now") -> str:
    """Store where a relay begins that only polls, unless it has a position; raises SourceRefused for what cannot be."""
    found, facts = outbox.facts(connection, settings), slots.facts(connection, settings)
    outbox.require_pollable(found, settings)
    require_position(facts, settings.owner)
    begun = facts.state is None and beginning.begin(connection, settings, found, start, slot=None)
    return f"polling: {settings.table}, from " + (start if begun else "the stored position")


def make_slot(
    connection: psycopg.Connection[Any], settings: RelaySettings, *, accept_gap: bool, start: From = "now"
) -> str:
    """Create the slot and the stored position if missing, and return a line; raises SourceRefused, see `decide`."""
    facts = slots.facts(connection, settings)
    found = outbox.facts(connection, settings)
    pollable = outbox.pollable(found, settings)
    decision = decide(facts, settings.owner, plugin=settings.plugin, accept_gap=accept_gap, pollable=pollable)
    new = decision.slot != "keep"
    plugin = outbox.preferred(found, settings) if new else str(facts.plugin)
    outbox.require(found, settings, plugin)
    if decision.slot == "drop and create":
        slots.drop(connection, settings.slot)
    names = {"slot": settings.slot, "name": settings.name, "outboxes": settings.outboxes}
    begins = _begins(decision, pollable=pollable, known=facts.state is not None, start=start)
    if begins:  # before the slot is made: what commits meanwhile is polled
        beginning.begin(connection, settings, found, start, slot=settings.slot)
    elif facts.state is None and start == "start":
        outbox.require_pollable(found, settings)
        raise SourceRefused(
            "no slot has what was committed before it was made, and RELAY_SOURCE=wal reads nothing else",
            remedy="run `relay setup --from start` with RELAY_SOURCE=auto, which polls the table first",
        )
    republished = not new and plugin == pgoutput.PLUGIN and publication.create(connection, settings)
    if new:
        plugin = creating.create(connection, settings, found, plugin)
    place = connection.execute(sql.query("slot_position"), {"slot": settings.slot}).fetchone()
    assert place is not None  # noqa: S101 - the slot exists by now
    if decision.set_position and not begins:
        if pollable:
            beginning.number(connection, settings, found)
        with connection.transaction():
            if connection.execute(sql.query("checkpoint_reset"), names).rowcount == 0:
                slots.require_ours(connection, settings)  # another database was first with this name
                raise slots.missing(settings)
    state = "created" if new else "exists"
    line = f"slot: {settings.slot!r} ({plugin}) {state}, from {Lsn.parse(place[0])}"
    if begins:
        line = f"{line}; events are published from {start}"
    elif facts.state is not None:
        line = f"{line}; events are published from the stored position"
    return f"{line}; {publication.CREATED_AGAIN}" if republished else line


async def _exchange(settings: RelaySettings) -> None:
    connection = await Connection.open(
        settings.amqp_url.get_secret_value(), name=f"{settings.name} setup", tls=settings.tls()
    )
    try:
        await declare_exchange(connection, await connection.channel(), settings.exchange)
    finally:
        await connection.close()
