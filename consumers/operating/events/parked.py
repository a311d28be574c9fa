"""The commands `consumers events parked ...`: events that a handler could not apply."""

import json
from collections.abc import Sequence
from typing import Annotated, Literal

import typer
from psycopg.rows import dict_row
from rich.table import Table

from consumers.operating.connection import connected
from consumers.operating.display import console, moment, plain
from consumers.operating.events import statements
from consumers.operating.events.statements import Connected, Row
from consumers.operating.options import Config, Json
from consumers.settings import ConsumerSettings
from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.settings import load
from outboxkit.text import one_line

events = typer.Typer(no_args_is_help=True, help="Events that were delivered to this application's handlers.")
app = typer.Typer(no_args_is_help=True, help="Events that a handler could not apply: list, show, redrive, discard.")
events.add_typer(app, name="parked")

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show which events it would be.")]
Numbers = Annotated[list[int] | None, typer.Argument(help="Numbers of `consumers events parked list`.")]
Every = Annotated[bool, typer.Option("--all", help="Every event that waits, up to --limit.")]
Handler = Annotated[str | None, typer.Option("--handler", help="Only those of this handler.")]
Reason = Annotated[
    Literal["failed", "gap", "unversioned"] | None, typer.Option("--reason", help="Only those parked for this reason.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many, the oldest first.")]

_LIST, _CHANGE = 100, 1000
_SHOWN = 60
_SEE_LIST = "`consumers events parked list` shows those that wait"


@app.command(name="list")
def list_(
    config: Config = None,
    *,
    handler: Handler = None,
    reason: Reason = None,
    limit: Limit = _LIST,
    as_json: Json = False,
) -> None:
    """List the events that wait, the oldest first."""
    with connected(load(ConsumerSettings, config), "events", dict_row) as connection:
        rows = statements.waiting(connection, None, consumer=handler, reason=reason, limit=limit)
        total = statements.count(connection, consumer=handler, reason=reason)
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    _print(rows)
    if total > len(rows):
        typer.echo(f"{total - len(rows)} more wait: --limit shows them", err=True)


@app.command()
def show(
    numbers: Annotated[list[int], typer.Argument(help="Numbers of `consumers events parked list`.")],
    config: Config = None,
    *,
    as_json: Json = False,
) -> None:
    """Print everything that is stored of events, as JSON: one object for each, or with --json one array."""
    with connected(load(ConsumerSettings, config), "events", dict_row) as connection:
        found = statements.stored(connection, numbers)
    documents = [_document(row) for row in found]
    if as_json:
        typer.echo(json.dumps(documents, default=str))
    for document in () if as_json else documents:
        typer.echo(json.dumps(document, indent=2, default=str))
    if missing := sorted(set(numbers) - {row["number"] for row in found}):
        raise Problem(f"not in inbox.parked: {', '.join(map(str, missing))}", remedy=_SEE_LIST)


@app.command()
def redrive(  # noqa: PLR0913 - the options of a command
    numbers: Numbers = None,
    config: Config = None,
    *,
    every: Every = False,
    handler: Handler = None,
    reason: Reason = None,
    limit: Limit = _CHANGE,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Ask for events to be applied again: a consumer that runs and has their handler takes them within a second.

    Only the handler that had parked an event gets it. An event that fails again is parked again.
    """
    with connected(load(ConsumerSettings, config), "events", dict_row) as connection:
        chosen = _choose(connection, numbers, every=every, handler=handler, reason=reason, limit=limit)
        if dry_run:
            _would("redriven", chosen, as_json=as_json)
            return
        if chosen and not yes:
            typer.confirm(f"Redrive {_events(chosen)}?", abort=True, err=as_json)
        _report("redriven", numbers, chosen, statements.ask(connection, _numbers(chosen)), as_json=as_json)


@app.command()
def discard(  # noqa: PLR0913 - the options of a command
    numbers: Numbers = None,
    config: Config = None,
    *,
    every: Every = False,
    handler: Handler = None,
    reason: Reason = None,
    limit: Limit = _CHANGE,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Discard events: their handler will never apply them. If it checks versions, later ones can be applied then."""
    with connected(load(ConsumerSettings, config), "events", dict_row) as connection:
        chosen = _choose(connection, numbers, every=every, handler=handler, reason=reason, limit=limit)
        if dry_run:
            _would("discarded", chosen, as_json=as_json)
            return
        if chosen and not yes:
            question = f"Discard {_events(chosen)}? Their handlers will never apply them"
            typer.confirm(question, abort=True, err=as_json)
        _report("discarded", numbers, chosen, statements.discard(connection, _numbers(chosen)), as_json=as_json)


def _choose(  # noqa: PLR0913 - the options of a command
    connection: Connected,
    numbers: Sequence[int] | None,
    *,
    every: bool,
    handler: str | None,
    reason: str | None,
    limit: int,
) -> list[Row]:
    if bool(numbers) == (every or handler is not None or reason is not None):
        raise ConfigurationProblem("give numbers of events, or --all, --handler or --reason alone", remedy=_SEE_LIST)
    if numbers:
        return statements.waiting(connection, numbers, consumer=None, reason=None, limit=None)
    return statements.waiting(connection, None, consumer=handler, reason=reason, limit=limit)


def _report(
    done: str, numbers: Sequence[int] | None, chosen: Sequence[Row], found: Sequence[int], *, as_json: bool
) -> None:
    document = {"dry_run": False, "matched": len(chosen), done: len(found), "numbers": list(found)}
    typer.echo(json.dumps(document) if as_json else f"{len(found)} {done}")
    if missing := sorted(set(numbers or ()) - set(found)):
        raise Problem(f"not {done}, since they do not wait: {', '.join(map(str, missing))}", remedy=_SEE_LIST)


def _would(done: str, rows: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        document = {"dry_run": True, "matched": len(rows), done: len(rows), "numbers": _numbers(rows)}
        typer.echo(json.dumps(document))
        return
    _print(rows)
    typer.echo(f"{_events(rows)} would be {done}")


def _events(rows: Sequence[Row]) -> str:
    return f"{len(rows)} parked {'event' if len(rows) == 1 else 'events'}"


def _numbers(rows: Sequence[Row]) -> list[int]:
    return [row["number"] for row in rows]


def _document(row: Row) -> Row:
    body = bytes(row["body"])
    return {**row, "headers": json.loads(row["headers"]), "body": body.decode("utf-8", "backslashreplace")}


def _print(rows: Sequence[Row]) -> None:
    columns = (
        "number",
        "handler",
        "event",
        "aggregate",
        "version",
        "reason",
        "error",
        "times",
        "parked (UTC)",
        "asked",
    )
    table = Table(*columns)
    for row in rows:
        cells = (
            row["number"],
            row["consumer"],
            row["event_type"],
            f"{row['aggregate_type']} {row['aggregate_id']}",
            row["aggregate_version"],
            row["reason"],
            one_line(row["error"])[:_SHOWN],
            row["times"],
            moment(row["parked_at"]),
            "to redrive" if row["asked_at"] else "",
        )
        table.add_row(*map(plain, cells))
    console().print(table if rows else "no parked event waits")
