"""Checks of schema and outbox table, by the same rules that `relay run` starts by. Pure."""

from dataclasses import dataclass

from outboxkit.checks.finding import Check, Verdict, fail, ok
from outboxkit.errors import Problem
from relay.operating.check.judging.not_needed import NOT_NEEDED
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
class Outbox:
    """The outbox table in the database and in the settings."""

    layout: Layout | None
    """None if the outbox is logical messages."""
    facts: TableFacts
    plugin: str
    """The slot's, or the one that `relay setup` would use."""
    publication_name: str
    polls: bool = False
    """Whether the relay only polls, and so decodes no stream."""


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
    if outbox.polls:
        return ok("see polling.table: RELAY_SOURCE is polling")
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
    if outbox.polls:
        return ok(NOT_NEEDED.format("polling"), publication=None)
    if outbox.plugin != pgoutput.PLUGIN:
        return ok(f"{outbox.plugin} needs no publication", publication=None)
    try:
        tables.check_publication(outbox.facts, outbox.layout, name)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, publication=name)
    return ok(f"publication {name!r} publishes the outbox", publication=name)


SCHEMA_CHECKS = (Check("schema.version", schema),)
OUTBOX_CHECKS = (Check("outbox.table", table), Check("outbox.publication", publication))
