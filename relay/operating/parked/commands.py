"""The commands `relay parked ...`."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Column, Table

from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.settings import load
from relay.operating.display import console, plain
from relay.operating.options import Config, Json, Yes
from relay.operating.parked import statements
from relay.settings import RelaySettings

app = typer.Typer(no_args_is_help=True, help="Events that could not be published: list, show, redrive, discard.")

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of parked events.")]
All = Annotated[bool, typer.Option("--all", help="Every event that is waiting.")]

_SEE_LIST = "`relay parked list` shows the events that are waiting"


@app.command(name="list")
def list_(config: Config = None, *, as_json: Json = False) -> None:
    """List the events that are waiting, oldest first."""
    rows = statements.waiting(load(RelaySettings, config))
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    table = Table(Column("event", no_wrap=True), "aggregate", "version", "type", "reason", "times", "parked")
    for row in rows:
        aggregate = f"{row['aggregate_type']} {row['aggregate_id']}"
        version, times, at = str(row["aggregate_version"]), str(row["times"]), f"{row['parked_at']:%Y-%m-%d %H:%M:%S}"
        table.add_row(*map(plain, (row["id"], aggregate, version, row["event_type"], row["reason"], times, at)))
    console().print(table if rows else "no parked event is waiting")


@app.command()
def show(
    event: Annotated[str, typer.Argument(help="Id of a parked event.")],
    config: Config = None,
) -> None:
    """Print everything that is stored of one event, as JSON."""
    row = statements.stored(load(RelaySettings, config), event)
    if row is None:
        raise Problem(f"event {event} is not parked", remedy=_SEE_LIST)
    typer.echo(json.dumps(row, indent=2, ensure_ascii=False, default=str))


@app.command()
def redrive(ids: Ids = None, config: Config = None, *, every: All = False, as_json: Json = False) -> None:
    """Write events into the outbox again, with the same ids."""
    _require_choice(ids, every=every)
    _report("redriven", statements.redrive(load(RelaySettings, config), None if every else ids), ids, as_json=as_json)


@app.command()
def discard(
    ids: Ids = None, config: Config = None, *, every: All = False, yes: Yes = False, as_json: Json = False
) -> None:
    """Discard events: they will never be published. Their rows stay as a record."""
    _require_choice(ids, every=every)
    settings = load(RelaySettings, config)
    chosen = [row["id"] for row in statements.waiting(settings)] if every else list(ids or ())
    if not yes:
        typer.confirm(f"Discard {_count(chosen)}? They will never be published", abort=True)
    _report("discarded", statements.discard(settings, chosen), ids, as_json=as_json)


def _require_choice(ids: Sequence[str] | None, *, every: bool) -> None:
    if bool(ids) == every:
        raise ConfigurationProblem("give ids of events, or --all, and not both", remedy=_SEE_LIST)


def _report(done: str, found: Sequence[str], ids: Sequence[str] | None, *, as_json: bool) -> None:
    typer.echo(json.dumps({done: found}) if as_json else f"{_count(found)} {done}")
    if missing := sorted(set(ids or ()) - set(found)):
        raise Problem(f"not waiting in relay.parked: {', '.join(missing)}", remedy=_SEE_LIST)


def _count(events: Sequence[str]) -> str:
    return f"{len(events)} {'event' if len(events) == 1 else 'events'}"
