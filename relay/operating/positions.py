"""The command `relay positions`: which time is which LSN, and which snapshot."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
import typer
from psycopg.rows import class_row
from rich.table import Table

from outboxkit import sql
from outboxkit.settings import load
from relay.operating.connection import connected
from relay.operating.display import print_table
from relay.operating.options import Config, Json
from relay.operating.slot import statements as slots
from relay.operating.times import Since, Until, here, moment, shown
from relay.settings import RelaySettings
from relay.sources.preconditions import require_state
from relay.sources.wal.ownership import require_position


class Position(NamedTuple):
    """A position of the past: a row of relay.checkpoint_history."""

    at: datetime
    lsn: str
    snapshot: str
    mode: str
    published_lsn: str | None
    published_snapshot: str | None
    timeline: int


class Span(NamedTuple):
    """The times of the first and the last position; None if there is none."""

    first: datetime | None
    last: datetime | None


def positions(config: Config = None, *, since: Since = "1h", until: Until = None, as_json: Json = False) -> None:
    """List positions of the past: the time, where the WAL ended, and which transactions were committed.

    The relay notes one every ten seconds; of those older than an hour one a minute is kept, and after a day one in ten
    minutes. A time without a zone is of this machine's zone; times are printed in UTC.
    """
    settings, now = load(RelaySettings, config), here()
    start, end = (
        moment(since, now=now, option="--since"),
        (now if until is None else moment(until, now=now, option="--until")),
    )
    with connected(settings, "positions") as connection:
        facts = slots.facts(connection, settings)
        require_state(facts, settings.name)
        require_position(facts, settings.owner)
        found = _positions(connection, settings, start, end)
        if as_json:
            typer.echo(json.dumps([each._asdict() for each in found], default=str))
        elif found:
            _print(found)
        else:
            typer.echo(f"no position between {shown(start)} and {shown(end)} UTC; {_kept(connection, settings)}")


def _positions(
    connection: psycopg.Connection[Any], settings: RelaySettings, since: datetime, until: datetime
) -> list[Position]:
    cursor = connection.cursor(row_factory=class_row(Position))
    asked = {"relay": settings.name, "since": since, "until": until}
    return cursor.execute(sql.query("positions_list"), asked).fetchall()


def _kept(connection: psycopg.Connection[Any], settings: RelaySettings) -> str:
    """Say which positions there are."""
    cursor = connection.cursor(row_factory=class_row(Span))
    span = cursor.execute(sql.query("positions_span"), {"relay": settings.name}).fetchone()
    if span is None or span.first is None or span.last is None:
        return "none is stored yet: `relay run` notes one every ten seconds"
    return f"the first is of {shown(span.first)}, the last of {shown(span.last)}"


def _print(found: Sequence[Position]) -> None:
    table = Table("time (UTC)", "LSN", "snapshot", "mode", "published up to")
    for each in found:
        published = each.published_lsn if each.mode == "wal" else each.published_snapshot
        table.add_row(shown(each.at), each.lsn, each.snapshot, each.mode, published or "")
    print_table(table)
