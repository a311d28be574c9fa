"""The commands `relay parked ...`. They parse, call, and print; nothing else."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.settings import load
from relay.operating.display import console, plain
from relay.operating.parked import statements as parked
from relay.settings import RelaySettings

app = typer.Typer(no_args_is_help=True, help="Events that could not be published: look, redrive, discard.")

Config = Annotated[Path | None, typer.Option(help="A TOML file with settings; the environment wins.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of parked events.")]
All = Annotated[bool, typer.Option("--all", help="Every event that waits.")]


@app.command(name="list")
def list_(config: Config = None, *, as_json: Json = False) -> None:
    """List the events that wait, oldest first."""
    rows = parked.waiting(load(RelaySettings, config))
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    table = Table(Column("event", no_wrap=True), "aggregate", "version", "type", "reason", "times", "parked")
    for row in rows:
        aggregate = f"{row['aggregate_type']} {row['aggregate_id']}"
        version, times, at = str(row["aggregate_version"]), str(row["times"]), f"{row['parked_at']:%Y-%m-%d %H:%M:%S}"
        table.add_row(*map(plain, (row["id"], aggregate, version, row["event_type"], row["reason"], times, at)))
    console().print(table if rows else "nothing is parked")


@app.command()
def show(event: str, config: Config = None) -> None:
    """Print all that is kept of one event, as JSON."""
    row = parked.kept(load(RelaySettings, config), event)
    if row is None:
        raise Problem(f"event {event} is not parked", remedy="see `relay parked list`")
    typer.echo(json.dumps(row, indent=2, ensure_ascii=False, default=str))


@app.command()
def redrive(ids: Ids = None, config: Config = None, *, every: All = False, as_json: Json = False) -> None:
    """Put events back on the stream, under their own ids."""
    _require_choice(ids, every=every)
    _report("redriven", parked.redrive(load(RelaySettings, config), None if every else ids), ids, as_json=as_json)


@app.command()
def discard(
    ids: Ids = None,
    config: Config = None,
    *,
    every: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Give events up: they will not be published. The rows stay as a record."""
    _require_choice(ids, every=every)
    settings = load(RelaySettings, config)
    chosen = [row["id"] for row in parked.waiting(settings)] if every else list(ids or ())
    if not yes:
        typer.confirm(f"Give up {len(chosen)} events? They will never be published", abort=True)
    _report("discarded", parked.discard(settings, chosen), ids, as_json=as_json)


def _require_choice(ids: Sequence[str] | None, *, every: bool) -> None:
    if bool(ids) == every:
        raise ConfigurationProblem("name events, or --all", remedy="see `relay parked list` for their ids")


def _report(done: str, found: Sequence[str], ids: Sequence[str] | None, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({done: found}))
    else:
        typer.echo(f"{len(found)} {'event' if len(found) == 1 else 'events'} {done}")
    if missing := sorted(set(ids or ()) - set(found)):
        raise Problem(f"not waiting in relay.parked: {', '.join(missing)}", remedy="see `relay parked list`")
