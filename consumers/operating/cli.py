"""The command `consumers`: reads options, prints results and ends with an exit code."""

import json
import os
import sys
from typing import Annotated

import typer

from consumers.errors import HandlersAbandoned, HandlersUnusable
from consumers.events.declaring.registry import event_handlers
from consumers.handlers.declaring.registry import load as load_handlers
from consumers.maintenance.declaring.registry import jobs
from consumers.operating import check as check_command
from consumers.operating import dead as dead_commands
from consumers.operating import dlq as dlq_commands
from consumers.operating import locks as lock_commands
from consumers.operating.events import parked as parked_commands
from consumers.operating.machine import Format, draw
from consumers.operating.machine import edges as ask_edges
from consumers.operating.options import Config, Json
from consumers.operating.setup import setup
from consumers.operating.status.command import status
from consumers.settings import ConsumerSettings
from outboxkit.process import commands
from outboxkit.settings import load, reloading

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Consumes tasks from RabbitMQ and applies each once, guarded by a version check; runs scheduled jobs.",
)
app.callback()(commands.options)
app.add_typer(dead_commands.app, name="dead")
app.add_typer(dlq_commands.app, name="dlq")
app.add_typer(lock_commands.app, name="locks")
app.command()(check_command.check)
app.add_typer(parked_commands.events, name="events")
app.command(name="setup")(setup)


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
    registry = load_handlers(handlers, others=lambda: len(event_handlers) > 0)
    try:
        service.run(lambda stop: application.run(fresh, registry, jobs, event_handlers, stop))
    except HandlersAbandoned as problem:
        # Python cannot end a thread from outside, and a normal exit would wait for it.
        commands.report(problem, name="consumers")
        sys.stderr.flush()
        os._exit(problem.exit_code)


app.command()(status)


@app.command()
def states(
    config: Config = None,
    *,
    form: Annotated[Format, typer.Option("--format", help="How to draw it.")] = "text",
    as_json: Json = False,
) -> None:
    """Draw the states of a task and the edges between them, as this database has them."""
    machine = ask_edges(load(ConsumerSettings, config))
    if as_json:
        sys.stdout.write(json.dumps([edge._asdict() for edge in machine]) + "\n")
    else:
        sys.stdout.write(draw(machine, form))


def main() -> None:
    """Run `consumers` as a process."""
    commands.run(app, name="consumers")
