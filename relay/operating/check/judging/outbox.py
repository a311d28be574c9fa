"""Checks of schema, outbox table and stored position, by the same rules that `relay run` starts by. Pure."""

from dataclasses import dataclass

from outboxkit.errors import Problem
from relay.operating.check.finding import Check, Verdict, fail, ok, unknown, warn
from relay.sources import tables
from relay.sources.layout import Layout
from relay.sources.wal.decoders import pgoutput
from relay.sources.wal.starting import start_position
from relay.storage.facts import Facts, System, TableFacts


@dataclass(frozen=True, slots=True)
class Schema:
    """The files of the schema that the database lacks, or what is wrong with the applied ones."""

    pending: tuple[str, ...]
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Outbox:
    """The outbox table in the database and in the settings."""

    layout: Layout | None
    """None if the outbox is logical messages."""
    facts: TableFacts
    plugin: str
    """The slot's, or the one that `relay setup` would use."""
    publication_name: str


@dataclass(frozen=True, slots=True)
class Position:
    """What determines the position from which the relay would start."""

    facts: Facts
    relay: str
    slot: str
    system: System | None
    """None if it is unknown."""


def schema(found: Schema) -> Verdict:
    """Judge whether the schema has the version that this relay needs."""
    if found.problem is not None:
        return fail(found.problem.what, remedy=found.problem.remedy, pending=[])
    if found.pending:
        return fail(
            f"the schema lacks {', '.join(found.pending)}", remedy="run `relay setup`", pending=list(found.pending)
        )
    return ok("the schema is up to date", pending=[])


def table(outbox: Outbox) -> Verdict:
    """Judge whether the relay can decode the columns and partitions of the outbox table."""
    if outbox.layout is None:
        return ok("the outbox is logical messages, and needs no table")
    name = outbox.layout.name
    try:
        tables.check(outbox.facts, outbox.layout, plugin=outbox.plugin)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, table=name)
    return ok(f"{name} has the columns of an event", table=name)


def publication(outbox: Outbox) -> Verdict:
    """Judge whether pgoutput would send the rows of the outbox."""
    name = outbox.publication_name
    if outbox.plugin != pgoutput.PLUGIN:
        return ok(f"{outbox.plugin} needs no publication", publication=None)
    try:
        tables.check_publication(outbox.facts, outbox.layout, name)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, publication=name)
    return ok(f"publication {name!r} publishes the outbox", publication=name)


def position(found: Position) -> Verdict:
    """Judge whether the relay can start from its stored position."""
    facts = found.facts
    stored = {"lsn": facts.checkpoint_lsn, "slot": facts.checkpoint_slot, "system_identifier": facts.checkpoint_system}
    if facts.checkpoint_lsn is None:
        return warn(
            f"relay {found.relay!r} has stored no position: it starts from the position of its slot",
            remedy="if this relay has run before, correct RELAY_NAME; otherwise run `relay setup`",
            **stored,
        )
    if facts.slot is None or facts.wal_status == "lost":
        return fail(
            f"events were published up to {facts.checkpoint_lsn}, and no slot has what was committed since",
            remedy="if RELAY_SLOT was changed, set it back; otherwise run `relay setup`, which says what to compare",
            **stored,
        )
    if found.system is None:
        return unknown("this server's system identifier is unknown", remedy="see postgres.replication", **stored)
    try:
        start = start_position(facts, found.system, found.slot, None)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, **stored)
    return ok(f"the relay starts after {start}", start=str(start), **stored)


SCHEMA_CHECKS = (Check("schema.version", schema),)
OUTBOX_CHECKS = (Check("outbox.table", table), Check("outbox.publication", publication))
POSITION_CHECKS = (Check("checkpoint.position", position),)
