"""What is checked of schema, outbox table and stored position, by the rules that the relay starts by. Pure."""

from dataclasses import dataclass

from outboxkit.errors import Problem
from relay.operating.check.finding import Check, Verdict, fail, ok, unknown, warn
from relay.sources import tables
from relay.sources.layout import Layout
from relay.sources.wal.decoders import pgoutput
from relay.sources.wal.replication import System
from relay.sources.wal.starting import start_position
from relay.storage.facts import Facts, TableFacts


@dataclass(frozen=True, slots=True)
class Schema:
    """Which files of the schema the database lacks, or what is wrong with those that it has."""

    pending: tuple[str, ...]
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """What pgoutput would be given; the fields of sql/queries/publication_exists.sql."""

    inserts: bool
    through_root: bool
    has_table: bool


@dataclass(frozen=True, slots=True)
class Outbox:
    """The outbox table as it is and as the settings describe it."""

    layout: Layout | None
    """None where the outbox is messages without a table."""
    facts: TableFacts | None
    plugin: str
    """The slot's, or the one that `relay setup` would take."""
    publication_name: str
    publication: Publication | None


@dataclass(frozen=True, slots=True)
class Position:
    """What decides where the relay would start."""

    facts: Facts
    relay: str
    slot: str
    system: System | None
    """None where the server was not asked."""


def schema(found: Schema) -> Verdict:
    """Judge whether the schema is the one that this version of the relay works with."""
    if found.problem is not None:
        return fail(found.problem.what, remedy=found.problem.remedy, pending=[])
    if found.pending:
        return fail(
            f"the schema lacks {', '.join(found.pending)}", remedy="run `relay setup`", pending=list(found.pending)
        )
    return ok("the schema is up to date", pending=[])


def table(outbox: Outbox) -> Verdict:
    """Judge whether the outbox has the columns and partitions that can be streamed."""
    if outbox.layout is None:
        return ok("the outbox is logical messages, and needs no table")
    name = f"{outbox.layout.schema}.{outbox.layout.table}"
    try:
        tables.check(outbox.facts, outbox.layout, plugin=outbox.plugin)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, table=name)
    return ok(f"{name} has what an event needs", table=name)


def publication(outbox: Outbox) -> Verdict:
    """Judge whether pgoutput would send the outbox's rows."""
    name, found = outbox.publication_name, outbox.publication
    if outbox.plugin != pgoutput.PLUGIN:
        return ok(f"{outbox.plugin} needs no publication", publication=None)
    remedy = f"DROP PUBLICATION IF EXISTS {name}, then `relay setup`; see sql/queries/publication_create.sql"
    if found is None:
        return fail(f"publication {name!r} does not exist", remedy=remedy, publication=name)
    lacks = []
    if outbox.layout is not None:
        lacks += [] if found.inserts else ["no inserts"]
        lacks += [] if found.has_table else [f"no table {outbox.layout.schema}.{outbox.layout.table}"]
        lacks += [] if found.through_root or not outbox.layout.partitioned else ["partitions under their own names"]
    if lacks:
        return fail(f"publication {name!r} has {' and '.join(lacks)}", remedy=remedy, publication=name)
    return ok(f"publication {name!r} has the outbox", publication=name)


def position(found: Position) -> Verdict:
    """Judge whether the relay may start from the position that it stored."""
    facts = found.facts
    told = {"lsn": facts.checkpoint_lsn, "slot": facts.checkpoint_slot, "system_identifier": facts.checkpoint_system}
    if facts.checkpoint_lsn is None:
        return warn(
            f"relay {found.relay!r} has stored no position: it starts where its slot stands",
            remedy="run `relay setup`; check RELAY_NAME if this relay has run before",
            **told,
        )
    if facts.slot is None or facts.wal_status == "lost":
        return fail(
            f"events were published up to {facts.checkpoint_lsn}, and what was committed since is in no slot",
            remedy="set RELAY_SLOT back if it was changed; else `relay setup`, which says what to compare",
            **told,
        )
    if found.system is None:
        return unknown(
            "whether the position belongs to this system is not told", remedy="see postgres.replication", **told
        )
    try:
        start = start_position(facts, found.system, found.slot, None)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, **told)
    return ok(f"the relay starts after {start}", start=str(start), **told)


SCHEMA_CHECKS = (Check("schema.version", schema),)
OUTBOX_CHECKS = (Check("outbox.table", table), Check("outbox.publication", publication))
POSITION_CHECKS = (Check("checkpoint.position", position),)
