"""`relay parked`: what could not be published, and what an operator decides about it.

Redriving writes the event into the outbox again, under its own id, in one transaction with the mark on the parked row:
it goes through the stream like every other. Discarding only marks it. Neither removes the row.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import psycopg
import typer
from psycopg.rows import dict_row
from rich.console import Console
from rich.table import Table

import sql
from relay.settings import RelaySettings
from relay.sources.refusals import from_postgres
from runtime.errors import ConfigurationProblem, Problem
from runtime.settings import load

app = typer.Typer(no_args_is_help=True, help="Events that could not be published: look, redrive, discard.")

Config = Annotated[Path | None, typer.Option(help="A TOML file with settings; the environment wins.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ids = Annotated[list[UUID] | None, typer.Argument(help="Ids of parked events.")]
All = Annotated[bool, typer.Option("--all", help="Every event that waits.")]


@app.command(name="list")
def list_(config: Config = None, *, as_json: Json = False) -> None:
    """List the events that wait, oldest first."""
    rows = _fetch(config, "parked_list", {})
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    table = Table("event", "aggregate", "version", "type", "reason", "times", "parked")
    for row in rows:
        aggregate = f"{row['aggregate_type']} {row['aggregate_id']}"
        version, times, at = str(row["aggregate_version"]), str(row["times"]), f"{row['parked_at']:%Y-%m-%d %H:%M:%S}"
        table.add_row(row["id"], aggregate, version, row["event_type"], row["reason"], times, at)
    Console().print(table if rows else "nothing is parked")


@app.command()
def show(event: UUID, config: Config = None) -> None:
    """Print all that is kept of one event, as JSON."""
    rows = _fetch(config, "parked_show", {"id": event})
    if not rows:
        raise Problem(f"event {event} is not parked", remedy="see `relay parked list`")
    typer.echo(json.dumps(rows[0]["to_jsonb"], indent=2, ensure_ascii=False))


@app.command()
def redrive(ids: Ids = None, config: Config = None, *, every: All = False, as_json: Json = False) -> None:
    """Put events back on the stream, under their own ids."""
    _require_choice(ids, every=every)
    _report("redriven", _fetch(config, "parked_redrive", {"ids": None if every else ids}), ids, as_json=as_json)


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
    if every:
        ids = [UUID(row["id"]) for row in _fetch(config, "parked_list", {})]
    if not yes:
        typer.confirm(f"Give up {len(ids or [])} events? They will never be published", abort=True)
    _report("discarded", _fetch(config, "parked_discard", {"ids": ids}), ids, as_json=as_json)


def _require_choice(ids: Sequence[UUID] | None, *, every: bool) -> None:
    if bool(ids) == every:
        raise ConfigurationProblem("name events, or --all", remedy="see `relay parked list` for their ids")


def _report(done: str, rows: Sequence[dict[str, Any]], ids: Sequence[UUID] | None, *, as_json: bool) -> None:
    found = [row["id"] for row in rows]
    if as_json:
        typer.echo(json.dumps({done: found}))
    else:
        typer.echo(f"{len(found)} {'event' if len(found) == 1 else 'events'} {done}")
    missing = sorted({str(each) for each in ids or ()} - set(found))
    if missing:
        raise Problem(f"not waiting in relay.parked: {', '.join(missing)}", remedy="see `relay parked list`")


def _fetch(config: Path | None, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    settings = load(RelaySettings, config)
    try:
        with psycopg.connect(
            settings.database_url.get_secret_value(), application_name=f"{settings.name} parked", connect_timeout=10
        ) as connection:
            return connection.cursor(row_factory=dict_row).execute(sql.query(query), parameters).fetchall()
    except psycopg.Error as error:
        raise from_postgres(error, slot=settings.slot) from error
