"""The commands `relay replay`, `relay replay resume` and `relay replay list`."""

import json
import sys
from datetime import datetime
from typing import Annotated, Any

import psycopg
import typer

from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.settings import load
from outboxkit.text import printable
from relay.core.replay import Job, Order, TableRange
from relay.operating import times
from relay.operating.connection import connected
from relay.operating.display import print_table
from relay.operating.options import Config, Json, Yes
from relay.operating.replay import options
from relay.operating.replay.ranges import history
from relay.operating.replay.ranges.choosing import choose
from relay.operating.replay.ranges.found import Count, Found
from relay.operating.replay.running import foreground, jobs, showing
from relay.settings import RelaySettings

app = typer.Typer(invoke_without_command=True)


@app.callback()
def replay(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    config: Config = None,
    from_lsn: options.FromLsn = None,
    from_time: options.FromTime = None,
    from_event: options.FromEvent = None,
    from_slot: options.FromSlot = None,
    to_lsn: options.ToLsn = None,
    to_time: options.ToTime = None,
    to_event: options.ToEvent = None,
    aggregate: options.Aggregate = None,
    event_type: options.Type = None,
    exchange: options.Exchange = None,
    queue: options.Queue = None,
    rate: options.Rate = None,
    *,
    dry_run: options.DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Publish the events of a range again: same ids and headers, in order, and `x-replay: JOB`.

    The range is rounded outward to stored positions, and printed before it is used. The live stream is not disturbed.
    Ctrl-C leaves a job that `relay replay resume JOB` goes on with. Exit code 3 if some of its events were parked.
    """
    if context.invoked_subcommand is not None:
        _require_none(context)
        return
    ends = options.Ends(from_lsn, from_time, from_event, from_slot, to_lsn, to_time, to_event)
    now = times.here()
    begin, end = ends.begin(now), ends.end(now)
    chosen, to = options.selection(aggregate, event_type), options.destination(exchange, queue)
    at_most = options.rate(rate)
    settings = load(RelaySettings, config)
    with connected(settings, "replay") as connection:
        found = choose(connection, settings, begin, end)
        counted = _counted(connection, settings, Order(found.range, chosen))
        order = Order(found.range, chosen, to, at_most, counted.events)
        _print_range(found, order, counted, as_json=as_json)
        if dry_run or order.events == 0:
            return
        foreground.require_destination(settings, order)
        _confirm(order, yes=yes, as_json=as_json)
        choose(connection, settings, begin, end)  # the question may have waited for long: is all of it still there?
        job = jobs.create(connection, settings, order)
    foreground.run(job, order.events, config, as_json=as_json)


@app.command()
def resume(
    number: Annotated[int, typer.Argument(metavar="JOB", help="Its number, as `relay replay list` shows it.")],
    config: Config = None,
    *,
    as_json: Json = False,
) -> None:
    """Go on with a replay that was interrupted or has failed, behind what it has published.

    What was in flight when it was killed is published again. Exit code 3 if some events were parked.
    """
    settings = load(RelaySettings, config)
    with connected(settings, "replay") as connection:
        job = jobs.find(connection, settings, number)
        if job.state == "finished":
            raise Problem(f"replay {number} has finished", remedy="give the range to `relay replay` for a new one")
        left = _counted(connection, settings, job.order, job).events
    foreground.run(job, left, config, as_json=as_json)


@app.command(name="list")
def list_(config: Config = None, *, as_json: Json = False) -> None:
    """List the replays of this relay, newest first."""
    settings = load(RelaySettings, config)
    with connected(settings, "replay") as connection:
        rows = jobs.listed(connection, settings)
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    if not rows:
        typer.echo(f"relay {settings.name!r} has replayed nothing")
        return
    print_table(showing.table(rows))
    for line in showing.resumable(rows):
        typer.echo(printable(line))


def _require_none(context: typer.Context) -> None:
    """Raise ConfigurationProblem if an option stands before the name of a subcommand, which would not see it."""
    for each in context.command.params:
        source = context.get_parameter_source(str(each.name))
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigurationProblem(
                f"{each.opts[0]} stands before {context.invoked_subcommand!r}, which does not see it",
                remedy=f"write options behind it, as `relay replay {context.invoked_subcommand} --help` names them",
            )


def _counted(
    connection: psycopg.Connection[Any], settings: RelaySettings, order: Order, job: Job | None = None
) -> Count:
    """Count the events of `order`, or those that are left of `job`; the WAL is read for that."""
    if isinstance(order.range, TableRange):
        table = history.Table(connection, settings)
        return table.count(order.range, order.selection, beyond=None if job is None else job.done.seq)
    # These take a third of a second to import, so only what needs them imports them.
    from relay.operating.replay.ranges import scanning, wal  # noqa: PLC0415 - see above

    origin = wal.origin(connection, settings) if job is None else scanning.origin_of(job)
    beyond = None if job is None else job.done.lsn
    return scanning.count(settings, order.range, order.selection, origin, beyond=beyond)


def _print_range(found: Found, order: Order, counted: Count, *, as_json: bool) -> None:
    if as_json:
        document = {
            "what": "range",
            "source": "table" if isinstance(order.range, TableRange) else "wal",
            "begin": found.begin,
            "end": found.end,
            "events": order.events,
        }
        typer.echo(json.dumps(document))
        return
    typer.echo(f"from {found.begin}\nto   {found.end}")
    if not counted.events:
        typer.echo("there is no such event in this range: nothing to replay")
    else:
        typer.echo(f"{showing.events(counted.events)}, created from {_at(counted.first)} to {_at(counted.last)}")


def _confirm(order: Order, *, yes: bool, as_json: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationProblem("there is no terminal to confirm it on", remedy="look at the range, then add --yes")
    typer.confirm(f"Publish {showing.events(order.events or 0)} again{_to(order)}?", abort=True, err=as_json)


def _to(order: Order) -> str:
    if order.destination.queue is not None:
        return f" to queue {order.destination.queue}"
    return "" if order.destination.exchange is None else f" to exchange {order.destination.exchange}"


def _at(at: datetime | int | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}" if isinstance(at, datetime) else str(at)
