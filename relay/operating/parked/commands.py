"""The commands `relay parked ...`: about the events that the relay of these settings has parked."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import psycopg
import typer
from rich.table import Column, Table

from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.settings import load
from relay.operating.connection import connected
from relay.operating.display import plain, print_table
from relay.operating.options import Config, Json, Yes
from relay.operating.parked import statements
from relay.operating.parked.statements import Failure, Row
from relay.settings import RelaySettings

app = typer.Typer(no_args_is_help=True, help="Events that could not be published: list, show, redrive, discard.")

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of parked events: every parked event with this id.")]
Rows = Annotated[
    list[int] | None, typer.Option("--row", metavar="N", help="A row of `relay parked list`. May be repeated.")
]
All = Annotated[bool, typer.Option("--all", help="Every event that is waiting.")]

_SEE_LIST = "`relay parked list` shows the events of this relay that are waiting"
_NAMED = 3


@app.command(name="list")
def list_(config: Config = None, *, as_json: Json = False) -> None:
    """List the events that are waiting, oldest first."""
    settings = load(RelaySettings, config)
    with connected(settings, "parked") as connection:
        rows = statements.waiting(connection, settings.name)
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    event = Column("event", no_wrap=True)
    table = Table("row", event, "aggregate", "version", "type", "reason", "times", "parked", "redrive")
    for row in rows:
        aggregate = f"{row['aggregate_type']} {row['aggregate_id']}"
        version, times, at = str(row["aggregate_version"]), str(row["times"]), f"{row['parked_at']:%Y-%m-%d %H:%M:%S}"
        asked = f"asked for at {row['asked_at']:%H:%M:%S}" if row["asked_at"] else ""
        cells = (str(row["row"]), row["id"], aggregate, version, row["event_type"], row["reason"], times, at, asked)
        table.add_row(*map(plain, cells))
    if rows:
        print_table(table)
    else:
        typer.echo("no parked event is waiting")


@app.command()
def show(ids: Ids = None, rows: Rows = None, config: Config = None, *, as_json: Json = False) -> None:
    """Print everything that is stored of events, as JSON: one object for each, or with --json one array."""
    _require_choice(ids, rows, every=False)
    settings = load(RelaySettings, config)
    with connected(settings, "parked") as connection:
        found = statements.stored(connection, settings.name, ids or (), rows or ())
    if as_json:
        typer.echo(json.dumps(found, default=str))
    for row in () if as_json else found:
        typer.echo(_text(json.dumps(row, indent=2, ensure_ascii=False, default=str)))
    _require_all(ids, rows, [Row(row["row"], row["id"], "") for row in found])


@app.command()
def redrive(
    ids: Ids = None, rows: Rows = None, config: Config = None, *, every: All = False, as_json: Json = False
) -> None:
    """Publish events again: the active relay reads them within a second, and publishes them as they were.

    They keep their ids. What was redriven already is left alone.
    """
    _require_choice(ids, rows, every=every)
    settings = load(RelaySettings, config)
    with connected(settings, "parked") as connection:
        chosen = _choose(connection, settings, ids, rows, every=every)
        done: list[Row] = []
        failed: list[Failure] = []
        if chosen.waiting:
            done, failed = statements.redrive(connection, settings, chosen.waiting)
    if as_json:
        _print_json("redriven", done, failed=failed)
    else:
        typer.echo(f"{_count(done)} redriven")
    _report(chosen, failed, done="redriven", otherwise="discarded")


@app.command()
def discard(  # noqa: PLR0913 - the options of a command
    ids: Ids = None,
    rows: Rows = None,
    config: Config = None,
    *,
    every: All = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Discard events: they will never be published. Their rows stay as a record.

    What was discarded already is left alone.
    """
    _require_choice(ids, rows, every=every)
    settings = load(RelaySettings, config)
    with connected(settings, "parked") as connection:
        chosen = _choose(connection, settings, ids, rows, every=every)
        if chosen.waiting and not yes:
            question = f"Discard {_count(chosen.waiting)} ({_names(chosen.waiting)})? They will never be published"
            typer.confirm(question, abort=True, err=as_json)
        done = statements.discard(connection, settings.name, chosen.waiting)
    if as_json:
        _print_json("discarded", done)
    else:
        typer.echo(f"{_count(done)} discarded")
    _report(chosen, (), done="discarded", otherwise="redriven")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What an operator chose, by the state in which it was found."""

    waiting: list[Row]
    settled: list[Row]
    """Rows that do not wait, of ids and rows of which none waits."""
    missing: list[str]


def _choose(
    connection: psycopg.Connection[object],
    settings: RelaySettings,
    ids: Sequence[str] | None,
    rows: Sequence[int] | None,
    *,
    every: bool,
) -> _Chosen:
    """Look up what was chosen; an id names the rows that wait, if there are any, else those that did."""
    if every:
        return _Chosen(statements.find(connection, settings.name, None, None), [], [])
    found = statements.find(connection, settings.name, ids or (), rows or ())
    wait = [row for row in found if row.state == "waiting"]
    named = {row.id for row in wait}
    settled = [row for row in found if row.state != "waiting" and (row.id not in named or row.row in (rows or ()))]
    return _Chosen(wait, settled, _missing(ids, rows, found))


def _require_choice(ids: Sequence[str] | None, rows: Sequence[int] | None, *, every: bool) -> None:
    if bool(ids or rows) == every:
        raise ConfigurationProblem("give ids of events, or --row, or --all alone", remedy=_SEE_LIST)


def _missing(ids: Sequence[str] | None, rows: Sequence[int] | None, found: Sequence[Row]) -> list[str]:
    known, numbers = {row.id for row in found}, {row.row for row in found}
    missing = [each for each in ids or () if each not in known]
    return missing + [f"row {number}" for number in rows or () if number not in numbers]


def _require_all(ids: Sequence[str] | None, rows: Sequence[int] | None, found: Sequence[Row]) -> None:
    if missing := _missing(ids, rows, found):
        raise Problem(f"not in relay.parked for this relay: {', '.join(missing)}", remedy=_SEE_LIST)


def _print_json(done: str, rows: Sequence[Row], *, failed: Sequence[Failure] | None = None) -> None:
    report: dict[str, object] = {done: [row.id for row in rows], "rows": [row.row for row in rows]}
    if failed is not None:
        report["failed"] = [asdict(failure) for failure in failed]
    typer.echo(json.dumps(report))


def _report(chosen: _Chosen, failed: Sequence[Failure], *, done: str, otherwise: str) -> None:
    """Raise a Problem for what was chosen and is not `done` now."""
    wrong = [f"row {failure.row} ({failure.id:.40}): {failure.reason}" for failure in failed[:_NAMED]]
    wrong += [f"and {len(failed) - _NAMED} more"] if len(failed) > _NAMED else []
    if wrong:
        raise Problem(
            f"{len(failed)} not {done}: {'; '.join(wrong)}",
            remedy="they wait as before: correct what is wrong, then run the command again",
        )
    if opposite := [row for row in chosen.settled if row.state == otherwise]:
        raise Problem(f"already {otherwise}, so not {done}: {_names(opposite)}", remedy=_SEE_LIST)
    if chosen.missing:
        raise Problem(f"not in relay.parked for this relay: {', '.join(chosen.missing)}", remedy=_SEE_LIST)


def _names(rows: Sequence[Row]) -> str:
    names = [f"row {row.row}: {row.id:.40}" for row in rows[:_NAMED]]
    return _text(", ".join([*names, *([f"and {len(rows) - _NAMED} more"] if len(rows) > _NAMED else [])]))


def _count(events: Sequence[object]) -> str:
    return f"{len(events)} {'event' if len(events) == 1 else 'events'}"


def _text(text: str) -> str:
    """Return `text` with an escape for what UTF-8 has no bytes for: half of a surrogate pair."""
    return text.encode(errors="backslashreplace").decode()
