"""Checks of schema and outbox table, by the same rules that `relay run` starts by. Pure."""

from dataclasses import dataclass

from outboxkit.errors import Problem
from relay.operating.check.finding import Check, Verdict, fail, ok
from relay.sources import tables
from relay.sources.layout import Layout
from relay.sources.wal.decoders import pgoutput
from relay.storage.facts import TableFacts


@dataclass(frozen=True, slots=True)
class Schema:
    """The files of the schema that the database lacks, or what is wrong with the applied ones."""

    pending: tuple[str, ...]
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """The publication that pgoutput reads: the columns of sql/queries/publication_exists.sql."""

    inserts: bool
    through_root: bool
    has_table: bool


@dataclass(frozen=True, slots=True)
class Outbox:
    """The outbox table in the database and in the settings."""

    layout: Layout | None
    """None if the outbox is logical messages."""
    facts: TableFacts | None
    plugin: str
    """The slot's, or the one that `relay setup` would use."""
    publication_name: str
    publication: Publication | None


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
    name = f"{outbox.layout.schema}.{outbox.layout.table}"
    try:
        tables.check(outbox.facts, outbox.layout, plugin=outbox.plugin)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, table=name)
    return ok(f"{name} has the columns of an event", table=name)


def publication(outbox: Outbox) -> Verdict:
    """Judge whether pgoutput would send the rows of the outbox."""
    name, found = outbox.publication_name, outbox.publication
    if outbox.plugin != pgoutput.PLUGIN:
        return ok(f"{outbox.plugin} needs no publication", publication=None)
    if found is None:
        return fail(f"publication {name!r} does not exist", remedy="run `relay setup`", publication=name)
    lacks = []
    if outbox.layout is not None:
        lacks += [] if found.inserts else ["no inserts"]
        lacks += [] if found.has_table else [f"no table {outbox.layout.schema}.{outbox.layout.table}"]
        lacks += [] if found.through_root or not outbox.layout.partitioned else ["partitions under their own names"]
    if lacks:
        remedy = f'DROP PUBLICATION "{name}", then run `relay setup`'
        return fail(f"publication {name!r} has {' and '.join(lacks)}", remedy=remedy, publication=name)
    return ok(f"publication {name!r} publishes the outbox", publication=name)


SCHEMA_CHECKS = (Check("schema.version", schema),)
OUTBOX_CHECKS = (Check("outbox.table", table), Check("outbox.publication", publication))
