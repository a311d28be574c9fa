"""The steps of `relay setup`: each creates what is missing. Safe to repeat, and to run twice at the same time.

deciding.py says what is done about a slot and a stored position.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from outboxkit import sql
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import EXCHANGE_TYPE, declare_exchange
from outboxkit.sql import apply as schema
from outboxkit.sql.restoring import present
from relay.core.position import Lsn
from relay.operating import outbox
from relay.operating.connection import connected
from relay.operating.setup import creating, publication, waiting
from relay.operating.setup.deciding import Decision, decide
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.layout import NATIVE
from relay.sources.wal.decoders import pgoutput
from relay.sources.wal.ownership import require_database
from relay.storage.refusals import check_wal_level


def setup(
    settings: RelaySettings,
    *,
    accept_gap: bool,
    timeout: float = waiting.TIMEOUT,
    say: Callable[[str], object] = lambda _: None,
) -> Iterator[str]:
    """Create what is missing, and yield a line for each step; raises a Problem at the first step that fails.

    `say` gets a line for whom it waits; it waits for at most `timeout` seconds.
    """
    with connected(settings, "setup") as connection, waiting.watched(connection, settings, timeout=timeout, say=say):
        _require_logical(connection)
        yield from _schema(schema.apply(connection))
        creating.take_turn(connection, settings.slot)
        yield make_slot(connection, settings, accept_gap=accept_gap)
    asyncio.run(_exchange(settings))
    yield f"exchange: {settings.exchange!r} ({EXCHANGE_TYPE}, durable) exists"


def plan(settings: RelaySettings, *, accept_gap: bool) -> Iterator[str]:
    """Yield the SQL that `setup` would run, and change nothing; raises what `setup` would raise about the slot."""
    with connected(settings, "setup") as connection:
        _require_logical(connection)
        decision = _decision(connection, settings, accept_gap=accept_gap)
        yield from schema.script(connection)
        written = psycopg.ClientCursor(connection).mogrify
        names = {"slot": settings.slot, "name": settings.name, "outboxes": settings.outboxes}
        if decision.slot == "drop and create":
            yield f"{written(sql.query('slot_drop'), names)};"
        if decision.slot != "keep":
            found = outbox.facts(connection, settings)
            plugin = outbox.preferred(found, settings)
            if not (schema.lacking(connection) and settings.outbox_table == NATIVE.name):
                outbox.require(found, settings, plugin)
            if plugin == pgoutput.PLUGIN:
                yield f"{publication.statement(settings).as_string(connection)};"
            yield f"{written(sql.query('slot_create'), {**names, 'plugin': plugin})};"
        if decision.set_position:
            yield f"{written(sql.query('checkpoint_reset'), names)};"


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
        known = present(connection, ["relay"]) and bool(slots.checkpoint(connection, settings.name))
        return Decision("create" if slot is None else "keep", set_position=not known)
    facts = slots.facts(connection, settings)
    return decide(facts, settings.owner, plugin=settings.plugin, accept_gap=accept_gap)


def _require_logical(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute(sql.query("wal_level")).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    check_wal_level(row[0])


def make_slot(connection: psycopg.Connection[Any], settings: RelaySettings, *, accept_gap: bool) -> str:
    """Create the slot and the stored position if missing, and return a line; raises SourceRefused, see `decide`."""
    facts = slots.facts(connection, settings)
    decision = decide(facts, settings.owner, plugin=settings.plugin, accept_gap=accept_gap)
    new = decision.slot != "keep"
    found = outbox.facts(connection, settings)
    plugin = outbox.preferred(found, settings) if new else str(facts.plugin)
    outbox.require(found, settings, plugin)
    if decision.slot == "drop and create":
        slots.drop(connection, settings.slot)
    republished = not new and plugin == pgoutput.PLUGIN and publication.create(connection, settings)
    if new:
        plugin = creating.create(connection, settings, found, plugin)
    start = connection.execute(sql.query("slot_position"), {"slot": settings.slot}).fetchone()
    assert start is not None  # noqa: S101 - the slot exists by now
    if decision.set_position:
        names = {"slot": settings.slot, "name": settings.name, "outboxes": settings.outboxes}
        with connection.transaction():
            connection.execute(sql.query("parked_wait_again"), {"relay": settings.name})
            if connection.execute(sql.query("checkpoint_reset"), names).rowcount == 0:
                slots.require_ours(connection, settings)  # another database was first with this name
                raise slots.missing(settings.slot)
    state = "created" if new else "exists"
    line = f"slot: {settings.slot!r} ({plugin}) {state}, from {Lsn.parse(start[0])}"
    return f"{line}; {publication.CREATED_AGAIN}" if republished else line


async def _exchange(settings: RelaySettings) -> None:
    connection = await Connection.open(
        settings.amqp_url.get_secret_value(), name=f"{settings.name} setup", tls=settings.tls()
    )
    try:
        await declare_exchange(connection, await connection.channel(), settings.exchange)
    finally:
        await connection.close()
