"""The commands `consumers locks ...`: which scheduled jobs are held, and by whom."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from psycopg.rows import class_row
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumers.errors import DatabaseFailed, DatabaseUnavailable, SchemaMissing
from consumers.settings import ConsumerSettings
from outboxkit import sql
from outboxkit.errors import Problem
from outboxkit.postgres import conninfo, message
from outboxkit.settings import load
from outboxkit.text import printable

app = typer.Typer(help="The locks of scheduled jobs: who holds what, since when and until when.")

Config = Annotated[Path | None, typer.Option("--config", help="TOML file with settings; the environment wins.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_WIDE = 240


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
    with _connected(load(ConsumerSettings, config)) as connection:
        found = connection.execute(sql.query("task_lock_list")).fetchall()
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], default=str))
        return
    table = Table("job", "held by", "since (UTC)", "until (UTC)", "epoch", "")
    for each in found:
        state = "runs" if each.ended_at is None else f"done at {_time(each.ended_at)}; not again before the lock ends"
        cells = (each.name, each.locked_by, _time(each.started_at), _time(each.locked_until), str(each.epoch), state)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console() if sys.stdout.isatty() else Console(width=_WIDE)  # a pipe's lines are searched
    console.print(table if found else "no lock is held")


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
    with _connected(load(ConsumerSettings, config)) as connection:
        held = connection.execute(sql.query("task_lock_show"), {"name": name}).fetchone()
        if held is not None and not yes:
            typer.confirm(f"{_described(held)}. Release it?", abort=True)
        freed = None
        if held is not None:
            freed = connection.execute(sql.query("task_lock_free"), {"name": name}).fetchone()
    if freed is None:
        raise Problem(f"lock {name!r} is not held", remedy="`consumers locks` lists those that are")
    typer.echo(f"released: {_described(freed, verb='was')}")


def _described(held: Held, *, verb: str = "is") -> str:
    since = f"since {_time(held.started_at)}, until {_time(held.locked_until)} (UTC), epoch {held.epoch}"
    done = "" if held.ended_at is None else f"; its job was done at {_time(held.ended_at)}"
    return printable(f"lock {held.name!r} {verb} held by {held.locked_by} {since}{done}")


def _time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


@contextmanager
def _connected(settings: ConsumerSettings) -> Iterator[psycopg.Connection[Held]]:
    """Connect; an error of Postgres in the block is raised as a Problem."""
    try:
        with psycopg.connect(
            conninfo(settings.database_url.get_secret_value(), application_name="consumers locks"),
            autocommit=True,
            prepare_threshold=None,  # behind a pooler, the next statement may be in another session
            row_factory=class_row(Held),
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise _problem(error) from error


def _problem(error: psycopg.Error) -> Problem:
    match error.sqlstate:
        case None:
            return DatabaseUnavailable(
                f"Postgres is not reachable, or refuses the login: {message(error)}",
                remedy="check host, port, database, user and password in CONSUMERS_DATABASE_URL",
            )
        case "3F000" | "42P01" | "42703" | "42883":
            return SchemaMissing(
                f"the database has no locks of this version ({message(error)})", remedy="run `relay setup` on it"
            )
        case "42501":
            return DatabaseFailed(
                f"the role in CONSUMERS_DATABASE_URL lacks a right: {message(error)}",
                remedy="run sql/roles.sql again, or use the role outbox_consumer",
            )
        case _:
            return DatabaseFailed(
                f"Postgres refused it ({error.sqlstate}: {message(error)})",
                remedy="find the code in appendix A of PostgreSQL's manual",
            )
