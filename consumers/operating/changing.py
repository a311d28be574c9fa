"""What `consumers dead redrive` and `consumers dead discard` have in common: a question, batches, and their result."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from consumers.operating.display import console, moment, plain, tasks
from consumers.operating.selection import BATCH, Selection, Total, statuses
from outboxkit import sql
from outboxkit.errors import Problem

SEE_LIST = "`consumers dead list` shows the dead tasks"
_TOTALS = 20
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to dead tasks, and the query that does it."""

    verb: str
    done: str
    query: str


REDRIVE = Change("redrive", "redriven", "dead_redrive")
DISCARD = Change("discard", "discarded", "dead_discard")


def change(  # noqa: PLR0913 - what the options of two commands say
    connection: psycopg.Connection[Any], chosen: Selection, what: Change, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Change the chosen tasks, or say what would be changed; raises Problem for named tasks that were not meant."""
    totals, count = chosen.totals(connection)
    if dry_run and as_json:
        document = {"dry_run": True, "matched": count, what.done: count, "totals": [*map(asdict, totals)]}
        typer.echo(json.dumps(document, default=str))
    elif dry_run:
        print_totals(totals)
        typer.echo(f"{tasks(count)} would be {what.done}")
    else:
        if count and not yes:
            typer.confirm(f"{what.verb.capitalize()} {tasks(count)} ({_by_type(totals)})?", abort=True, err=as_json)
        changed = _by_batches(connection, chosen, what, count) if count else 0
        document = {"dry_run": False, "matched": count, what.done: changed}
        typer.echo(json.dumps(document) if as_json else f"{tasks(changed)} {what.done}")
        _require_meant(connection, chosen, what)


def print_totals(totals: Sequence[Total]) -> None:
    """Print how many tasks there are by type and reason."""
    table = Table("tasks", "type", "reason", "first died (UTC)", "last")
    for each in totals[:_TOTALS]:
        table.add_row(*map(plain, (each.tasks, each.type, each.reason, moment(each.first), moment(each.last))))
    if len(totals) > _TOTALS:
        table.add_row("", "", f"and {len(totals) - _TOTALS} more")
    console().print(table)


def _by_type(totals: Sequence[Total]) -> str:
    counts: dict[str, int] = {}
    for each in totals:
        counts[each.type] = counts.get(each.type, 0) + each.tasks
    named = [f"{count} {type_}" for type_, count in list(counts.items())[:_NAMED]]
    more = len(counts) - len(named)
    return str(plain(", ".join([*named, *([f"and {more} more types"] if more else [])])))


def _by_batches(connection: psycopg.Connection[Any], chosen: Selection, what: Change, count: int) -> int:
    """Change all, and return how many were changed; long work is shown on a terminal."""
    changed = 0
    shown = count > BATCH and sys.stderr.isatty()
    try:
        with Progress(console=Console(stderr=True), disable=not shown) as progress:
            bar = progress.add_task(what.verb, total=count)
            for batch, seen in chosen.change(connection, sql.query(what.query)):
                changed += batch
                progress.advance(bar, seen)
    except (psycopg.Error, KeyboardInterrupt):
        sys.stderr.write(f"consumers: {tasks(changed)} {what.done} before this; repeat the command for the others\n")
        raise
    return changed


def _require_meant(connection: psycopg.Connection[Any], chosen: Selection, what: Change) -> None:
    """Raise a Problem for ids that cannot have been meant.

    A task that was redriven before has any status but dead, and one that was discarded is not there: that is no error.
    """
    if chosen.ids is None:
        return
    found = statuses(connection, chosen.ids)
    if what is REDRIVE and (gone := [str(each) for each in chosen.ids if each not in found]):
        raise Problem(f"not redriven, because there is no such task: {_first(gone)}", remedy=SEE_LIST)
    alive = [f"{each} is {status}" for each, status in found.items()]
    if what is DISCARD and alive:
        raise Problem(
            f"not discarded: {_first(alive)}",
            remedy="only dead tasks are discarded; SELECT tasks.cancel(id) cancels one that waits or runs",
        )


def _first(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join([*names[:_NAMED], *([f"and {more} more"] if more > 0 else [])])
