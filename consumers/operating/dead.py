"""The commands `consumers dead ...`: tasks that are not tried any more, and what an operator does with them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from consumers.durations import seconds
from consumers.operating.changing import DISCARD, REDRIVE, SEE_LIST, change, print_totals
from consumers.operating.connection import connected
from consumers.operating.display import console, cut, moment, plain, tasks
from consumers.operating.options import Config, Json
from consumers.operating.selection import Dead, select, stored
from consumers.settings import ConsumerSettings
from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.settings import load

app = typer.Typer(no_args_is_help=True, help="Tasks that are not tried any more: list, show, redrive, discard.")

_LONGEST_PAYLOAD = 4096


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Ids = Annotated[list[UUID] | None, typer.Argument(help="Ids of tasks.", show_default=False)]
Types = Annotated[list[str] | None, typer.Option("--type", help="Only tasks of this type. May be repeated.")]
Reason = Annotated[
    str | None,
    typer.Option("--reason", help="Only tasks whose last error contains this text; * stands for any text."),
]
Older = Annotated[
    float | None, typer.Option(parser=_duration, metavar="DURATION", help="Only tasks that died longer ago, as 7d.")
]
Since = Annotated[
    float | None, typer.Option(parser=_duration, metavar="DURATION", help="Only tasks that died within it, as 1h.")
]
All = Annotated[bool, typer.Option("--all", help="All dead tasks.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be changed.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


@app.command(name="list")
def list_(  # noqa: PLR0913 - the options of a command
    ids: Ids = None,
    config: Config = None,
    *,
    type_: Types = None,
    reason: Reason = None,
    older: Older = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=0, help="How many tasks to list.")] = 50,
    as_json: Json = False,
) -> None:
    """List dead tasks, those that died first first, and how many there are by type and reason."""
    with connected(load(ConsumerSettings, config), "dead") as connection:
        chosen = select(connection, ids=ids, types=type_, reason=reason, older=older, since=since)
        totals, count = chosen.totals(connection)
        found = chosen.find(connection, limit)
    more = max(count - len(found), 0)
    if as_json:
        document = {"count": count, "more": more, "tasks": [*map(asdict, found)], "totals": [*map(asdict, totals)]}
        typer.echo(json.dumps(document, default=str))
        return
    if not count:
        typer.echo("no dead task matches" if any((ids, type_, reason, older, since)) else "no task is dead")
        return
    _print_tasks(found)
    print_totals(totals)
    typer.echo(tasks(count) + (f", {more} more than listed: --limit shows more" if more else ""))


@app.command()
def show(
    task_id: Annotated[UUID, typer.Argument(help="Id of a task, dead or not.")],
    config: Config = None,
    *,
    whole: Annotated[bool, typer.Option("--whole", help="Do not shorten payload and result.")] = False,
    as_json: Json = False,
) -> None:
    """Print a task as it is stored, with its payload, its errors and its history. Exit code 1 if it is not there."""
    with connected(load(ConsumerSettings, config), "dead") as connection:
        found = stored(connection, task_id)
    if found is None:
        raise Problem(f"there is no task {task_id}", remedy=f"it was removed, or the id is wrong: {SEE_LIST}")
    task, history = found
    for name in ("payload", "result"):
        if task[name] is not None:
            short = whole or len(task[name]) <= _LONGEST_PAYLOAD
            task[name] = json.loads(task[name]) if short else cut(task[name], _LONGEST_PAYLOAD)
    document = {**task, "history": history}
    if as_json:
        typer.echo(json.dumps(document, default=str))
        return
    typer.echo(json.dumps(task, indent=2, ensure_ascii=False, default=str).encode(errors="backslashreplace").decode())
    table = Table("version", "from", "to", "at (UTC)", "by", "error")
    for step in history:
        if step["dropped"]:
            table.add_row("", "", f"{step['dropped']} not kept")
        cells = (step["version"], step["from_status"], step["to_status"], moment(step["at"]), step["by_whom"])
        table.add_row(*map(plain, (*cells, step["error"])))
    console().print(table)


@app.command()
def redrive(  # noqa: PLR0913 - the options of a command
    ids: Ids = None,
    config: Config = None,
    *,
    type_: Types = None,
    reason: Reason = None,
    older: Older = None,
    since: Since = None,
    every: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run dead tasks again: each becomes pending with 0 attempts, together with its event.

    A task that is not dead any more is left as it is, so the command can be repeated.
    """
    _require_choice(ids, type_, reason, older, since, every=every)
    with connected(load(ConsumerSettings, config), "dead") as connection:
        chosen = select(connection, ids=ids, types=type_, reason=reason, older=older, since=since)
        change(connection, chosen, REDRIVE, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def discard(  # noqa: PLR0913 - the options of a command
    ids: Ids = None,
    config: Config = None,
    *,
    type_: Types = None,
    reason: Reason = None,
    older: Older = None,
    since: Since = None,
    every: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete dead tasks with their payload and history. The table tasks.discarded keeps which they were."""
    _require_choice(ids, type_, reason, older, since, every=every)
    with connected(load(ConsumerSettings, config), "dead") as connection:
        chosen = select(connection, ids=ids, types=type_, reason=reason, older=older, since=since)
        change(connection, chosen, DISCARD, dry_run=dry_run, yes=yes, as_json=as_json)


def _require_choice(ids: object, *filters: object, every: bool) -> None:
    if (bool(ids) or any(each is not None and each != [] for each in filters)) == every:
        raise ConfigurationProblem(
            "say which tasks: ids, --type, --reason, --older or --since; or --all alone", remedy=SEE_LIST
        )


def _print_tasks(found: Sequence[Dead]) -> None:
    table = Table("id", "type", "attempts", "died (UTC)", "reason")
    for each in found:
        attempts, error = f"{each.attempts} of {each.max_attempts}", (each.last_error or "").partition("\n")[0]
        table.add_row(*map(plain, (each.id, each.type, attempts, moment(each.died_at), cut(error, 200))))
    console().print(table)
