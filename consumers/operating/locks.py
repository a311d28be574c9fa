"""The commands `consumers locks ...`: which scheduled jobs are held, and by whom."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated

import typer
from psycopg.rows import class_row
from rich.table import Table

from consumers.operating.connection import connected
from consumers.operating.display import console, moment, plain
from consumers.operating.options import Config, Json
from consumers.settings import ConsumerSettings
from outboxkit import sql
from outboxkit.errors import Problem
from outboxkit.settings import load
from outboxkit.text import printable

app = typer.Typer(help="The locks of scheduled jobs: who holds what, since when and until when.")


@dataclass(frozen=True, slots=True)
class Held:
    """A row of tasks.lock that has not ended."""

    name: str
    locked_by: str
    started_at: datetime
    locked_until: datetime
    epoch: int
    ended_at: datetime | None
    """When the job was done, if it was: the lock keeps it from running too early."""


@app.callback(invoke_without_command=True)
def list_(context: typer.Context, config: Config = None, *, as_json: Json = False) -> None:
    """List the locks that are held, the longest held first."""
    if context.invoked_subcommand is not None:
        return
    with connected(load(ConsumerSettings, config), "locks", class_row(Held)) as connection:
        found: list[Held] = connection.execute(sql.query("task_lock_list")).fetchall()
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], default=str))
        return
    table = Table("job", "held by", "since (UTC)", "until (UTC)", "epoch", "")
    for each in found:
        state = "runs" if each.ended_at is None else f"done at {moment(each.ended_at)}; not again before the lock ends"
        cells = (each.name, each.locked_by, moment(each.started_at), moment(each.locked_until), str(each.epoch), state)
        table.add_row(*map(plain, cells))
    console().print(table if found else "no lock is held")


@app.command()
def release(
    name: Annotated[str, typer.Argument(help="The job's name, as `consumers locks` shows it.")],
    config: Config = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Release a lock, whoever holds it: for one whose holder died. Exit code 1 if it is not held.

    A holder that lives runs on, and the job may then run twice at once.
    """
    with connected(load(ConsumerSettings, config), "locks", class_row(Held)) as connection:
        held: Held | None = connection.execute(sql.query("task_lock_show"), {"name": name}).fetchone()
        if held is not None and not yes:
            typer.confirm(f"{_described(held)}. Release it?", abort=True)
        freed: Held | None = None
        if held is not None:
            freed = connection.execute(sql.query("task_lock_free"), {"name": name}).fetchone()
    if freed is None:
        raise Problem(f"lock {name!r} is not held", remedy="`consumers locks` lists those that are")
    typer.echo(f"released: {_described(freed, verb='was')}")


def _described(held: Held, *, verb: str = "is") -> str:
    since = f"since {moment(held.started_at)}, until {moment(held.locked_until)} (UTC), epoch {held.epoch}"
    done = "" if held.ended_at is None else f"; its job was done at {moment(held.ended_at)}"
    return printable(f"lock {held.name!r} {verb} held by {held.locked_by} {since}{done}")
