"""The command `consumers status`."""

import asyncio
import json
import sys
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table

from consumers.operating.display import age, console, plain
from consumers.operating.options import Config, Json
from consumers.operating.status.document import Counted, QueueDepth, Running, Status
from consumers.operating.status.gathering import gather
from consumers.settings import ConsumerSettings
from outboxkit.process.commands import BAD_ANSWER
from outboxkit.process.watching import repeat
from outboxkit.settings import load
from outboxkit.text import one_line

_TYPES = 8


def status(
    config: Config = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between repetitions of --watch.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Show tasks by state and type, what waits and runs for longest, the throughput, what is due next, and the queues.

    Exit code 3 if tasks or events are not taken (the queue is missing, nobody reads it, or a task is pending for 5
    minutes and it is empty), or nobody releases leases that ended or makes tasks due. Of a large table, numbers with ~
    are estimates. With CONSUMERS_EVENTS_QUEUE, the queue of tasks is judged only while there are tasks to be done.
    """
    settings = load(ConsumerSettings, config)

    def look(_: Status | None) -> Status:
        return asyncio.run(gather(settings))

    show = _print_json if as_json else _print_table
    if watch:
        repeat(look, every=every, show=show, drawn=None if as_json else _shown)
        return
    found = look(None)
    show(found)
    if found.bad is not None:
        sys.stderr.write(f"consumers: {one_line(found.bad)}\n")
        raise typer.Exit(BAD_ANSWER)


def _print_json(found: Status) -> None:
    typer.echo(json.dumps(found.as_json(), default=str))


def _print_table(found: Status) -> None:
    console().print(_shown(found))


def _shown(found: Status) -> Group:
    table = Table("", "", "count")
    for status_ in found.counted.tasks:
        table.add_row("tasks", status_, plain(_count(found.counted, status_)))
    for depth in (found.queue, found.dead_letter_queue, found.events_queue, found.events_dead_letter_queue):
        if depth is not None:
            table.add_row("messages", plain(depth.name), _ready(depth))
    facts = Table(show_header=False, box=None)
    oldest, due = found.oldest_pending, found.due_next
    facts.add_row("completed", f"{found.completed_per_minute:.0f} per minute")
    facts.add_row(
        "pending for longest", plain("none" if oldest is None else f"{oldest.type} {oldest.id}, {age(oldest.seconds)}")
    )
    facts.add_row("due next", plain("none" if due is None else f"{due.type} {due.id}, {_until(due.seconds)}"))
    if found.bad is not None:
        facts.add_row("bad", plain(found.bad))
    return Group(table, facts, *([_running(found)] if found.running else []))


def _count(counted: Counted, status: str) -> str:
    about = "~" if status in counted.estimated else ""
    types = [f"{count} {type_}" for type_, count in list(counted.types.get(status, {}).items())[:_TYPES]]
    more = len(counted.types.get(status, {})) - len(types)
    of = ", ".join([*types, *([f"and {more} more types"] if more > 0 else [])])
    return f"{about}{counted.tasks[status]}" + (f" ({'of the first: ' if about else ''}{of})" if of else "")


def _running(found: Status) -> Table:
    table = Table("runs for longest", "type", "attempt", "for", "lease ends", "claimed by")
    for each in found.running:
        table.add_row(*map(plain, _cells(each)))
    counts = found.counted.tasks
    more = counts.get("running", 0) + counts.get("cancelling", 0) - len(found.running)
    if more > 0:
        table.add_row(f"and {more} more")
    return table


def _cells(each: Running) -> tuple[object, ...]:
    asked = " (asked to stop)" if each.status == "cancelling" else ""
    return each.id, each.type, each.attempts, age(each.seconds) + asked, _until(each.lease_seconds), each.claimed_by


def _until(seconds: float) -> str:
    return f"in {age(seconds)}" if seconds >= 0 else f"{age(-seconds)} ago"


def _ready(depth: QueueDepth) -> str:
    return "no such queue" if depth.ready is None else f"{depth.ready} ready, {depth.consumers} consumers"
