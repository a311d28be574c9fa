"""The command `consumers`: reads options, prints results and ends with an exit code."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from consumers.errors import HandlersAbandoned, HandlersUnusable
from consumers.handlers.registry import load as load_handlers
from consumers.maintenance.declaring.registry import jobs
from consumers.operating import check as check_command
from consumers.operating import locks as lock_commands
from consumers.operating.machine import Format, draw
from consumers.operating.machine import edges as ask_edges
from consumers.operating.status import QueueDepth, Status
from consumers.operating.status import status as ask_status
from consumers.settings import ConsumerSettings
from outboxkit.process import commands
from outboxkit.settings import load, reloading
from outboxkit.text import one_line

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Consumes tasks from RabbitMQ and applies each once, guarded by a version check; runs scheduled jobs.",
)
app.callback()(commands.options)
app.add_typer(lock_commands.app, name="locks")
app.command()(check_command.check)

Config = Annotated[Path | None, typer.Option("--config", help="TOML file with settings; the environment wins.")]


@app.command()
def run(
    config: Config = None,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more.")] = False,
) -> None:
    """Run the handlers and jobs of CONSUMERS_HANDLERS until SIGTERM or SIGINT, then let those that run end."""
    from consumers import app as application  # noqa: PLC0415 - half of the start-up time; only this command needs it
    from outboxkit.process import logs, service  # noqa: PLC0415 - the same

    logs.configure(verbose=verbose)
    fresh = reloading(ConsumerSettings, config)
    handlers = fresh().handlers
    if handlers is None:
        raise HandlersUnusable(
            "CONSUMERS_HANDLERS is not set",
            remedy="name the Python module that registers your handlers, such as consumers.examples",
        )
    registry = load_handlers(handlers)
    try:
        service.run(lambda stop: application.run(fresh, registry, jobs, stop))
    except HandlersAbandoned as problem:
        # Python cannot end a thread from outside, and a normal exit would wait for it.
        commands.report(problem, name="consumers")
        sys.stderr.flush()
        os._exit(problem.exit_code)


@app.command()
def status(
    config: Config = None,
    *,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the number of tasks in each status and of messages in the queues. Exit code 3 if nobody reads the queue."""
    found = asyncio.run(ask_status(load(ConsumerSettings, config)))
    if json_:
        sys.stdout.write(json.dumps(found.as_json()) + "\n")
    else:
        Console().print(_table(found))
    if found.bad is not None:
        sys.stderr.write(f"consumers: {one_line(found.bad)}\n")
        raise typer.Exit(commands.BAD_ANSWER)


@app.command()
def states(
    config: Config = None,
    *,
    form: Annotated[Format, typer.Option("--format", help="How to draw it.")] = "text",
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw the states of a task and the edges between them, as this database has them."""
    machine = asyncio.run(ask_edges(load(ConsumerSettings, config)))
    if json_:
        sys.stdout.write(json.dumps([edge._asdict() for edge in machine]) + "\n")
    else:
        sys.stdout.write(draw(machine, form))


def _table(found: Status) -> Table:
    table = Table("", "", "count")
    for name, count in sorted(found.tasks.items()):
        table.add_row("tasks", name, str(count))
    for depth in (found.queue, found.dead_letter_queue):
        table.add_row("messages", depth.name, _ready(depth))
    return table


def _ready(depth: QueueDepth) -> str:
    return "no such queue" if depth.ready is None else f"{depth.ready} ready, {depth.consumers} consumers"


def main() -> None:
    """Run `consumers` as a process."""
    commands.run(app, name="consumers")
