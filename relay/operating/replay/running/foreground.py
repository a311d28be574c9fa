"""Runs a job as a command: until it has ended, or a signal comes, and says how far it is."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import psycopg
import typer

from outboxkit.errors import Problem
from outboxkit.process import commands
from outboxkit.settings import reloading
from relay.core.replay import Job, Order
from relay.operating.replay.running import jobs
from relay.operating.replay.running.showing import Shown, events
from relay.settings import RelaySettings


def run_order(
    connection: psycopg.Connection[Any], settings: RelaySettings, order: Order, config: Path | None, *, as_json: bool
) -> None:
    """Make a job of `order` and run it; raises as `run` does."""
    run(jobs.create(connection, settings, order), order.events, config, as_json=as_json)


def require_destination(settings: RelaySettings, order: Order) -> None:
    """Raise a Problem if what `order` is published to does not exist."""
    from relay.operating.replay.running import destination  # noqa: PLC0415 - as below

    asyncio.run(destination.require(settings, order.destination))


def run(job: Job, left: int | None, config: Path | None, *, as_json: bool) -> None:
    """Run `job`, of which so many events are `left`; None if that is not known.

    Raises a Problem if it does not finish, and typer.Exit with 3 if events of it were parked.
    """
    # These take a third of a second to import, so only the commands that need them import them.
    from outboxkit.process import logs, service  # noqa: PLC0415 - see above
    from relay.operating.replay.running import run as running  # noqa: PLC0415 - see above

    logs.configure()
    this = running.Run(reloading(RelaySettings, config), job, running.incidents(job.number))
    shown = Shown(job.number, left, lambda: this.confirmed + this.parked, as_json=as_json, terminal=sys.stderr.isatty())

    async def work(stop: service.Stop) -> None:
        showing = asyncio.create_task(shown.run())
        try:
            await this.run(stop)
        finally:
            showing.cancel()

    try:
        asyncio.run(service.until_signal(work, prints=False))
    except running.CANNOT_GO_ON:
        raise
    except Problem as error:  # with Postgres away too, the number of the job is not lost
        remedy = f"{error.remedy}; then `relay replay resume {job.number}` goes on"
        raise Problem(f"replay {job.number} has failed: {error.what}", remedy=remedy) from error
    shown.line("finished" if this.finished else "interrupted")
    if not this.finished:
        raise Problem(f"replay {job.number} was interrupted", remedy=f"`relay replay resume {job.number}` goes on")
    if not as_json:
        typer.echo(f"replay {job.number} has finished")
    if parked := job.parked + this.parked:
        problem = Problem(f"{events(parked)} of it were parked, not published", remedy="`relay parked list` says why")
        commands.report(problem, name="relay")
        raise typer.Exit(commands.BAD_ANSWER)
