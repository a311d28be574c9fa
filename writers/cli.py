"""The `writers` command: reads options, prints what came of it and ends with an exit code.

The work of `submit` is in load.py, that of `serve` in service/, that of `locking-demo` in locking/.

Exit codes of `submit`: 0 everything was committed, 1 not everything, 2 usage or configuration; after SIGINT or SIGTERM
128 + the signal's number (130, 143), as in shells: open transactions finish first, and the summary is printed.
"""

import asyncio
import json
import logging
import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from outboxkit.process import commands
from outboxkit.settings import load, reloading
from writers import idlog
from writers.load import Load, Plan, Summary
from writers.settings import WritersSettings

_STOPPING = (signal.SIGINT, signal.SIGTERM)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Writes tasks into the database that the relay reads, from here or over HTTP. Setting: WRITERS_DATABASE_URL.",
)
app.callback()(commands.options)


@app.command()
def submit(  # noqa: PLR0913 - a command has as many parameters as options
    *,
    task_type: Annotated[str, typer.Option("--type", help="Type of the tasks; the consumers need a handler for it.")],
    count: Annotated[int, typer.Option(min=1, help="How many tasks.")] = 1,
    payload: Annotated[str, typer.Option(metavar="JSON", help="Payload of every task.")] = "{}",
    writers: Annotated[int, typer.Option(min=1, max=1000, help="Concurrent connections.")] = 1,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Tasks per transaction.")] = 1,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Tasks per second, at most, over all connections.")
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Append the id of each committed task to FILE, one per line, right after its commit."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and no progress.")] = False,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with settings.")] = None,
) -> None:
    """Submit many tasks: load for a demo, a test or a benchmark.

    Ctrl-C lets the open transactions finish and prints the summary; a second Ctrl-C ends the command at once.
    """
    plan = Plan(task_type, count, _parsed(payload), writers, batch, math.inf if rate is None else rate)
    # psycopg logs every lost pipeline to standard error. Here a lost connection is retried or reported as a Problem.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    url = load(WritersSettings, config).database_url.get_secret_value()
    with idlog.opened(ids) as append, _progress(count, shown=sys.stderr.isatty() and not as_json) as advance:

        def committed(task_ids: Sequence[UUID]) -> None:
            append(task_ids)
            advance(len(task_ids))

        summary, stopped_by = asyncio.run(_run(Load(url, plan, committed)))
    if summary.committed or summary.failure is None:
        _print(summary, as_json=as_json)
    if summary.failure is not None:
        raise summary.failure
    if stopped_by is not None:
        raise typer.Exit(128 + stopped_by)


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with settings.")] = None,
) -> None:
    """Serve tasks and events over HTTP until SIGTERM or SIGINT, then let requests in flight end and exit with 0."""
    from outboxkit.process import logs, service  # noqa: PLC0415 - only this command needs what they import
    from writers.service import serving  # noqa: PLC0415 - the same

    logs.configure()
    fresh = reloading(WritersSettings, config)
    with logs.bugs():
        service.run(lambda stop: serving.run(fresh, stop))


@app.command()
def locking_demo(  # noqa: PLR0913 - a command has as many parameters as options
    *,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A running set, maybe behind a balancer; else one is started here."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=20, help="How many instances to start (3, unless given), or are behind URL."),
    ] = None,
    tasks: Annotated[int, typer.Option(min=1, max=10_000, help="How many tasks to make.")] = 30,
    requests: Annotated[int, typer.Option(min=1, max=500, help="How many requests grab a task at once.")] = 15,
    seconds: Annotated[float, typer.Option(min=0, max=60, help="How long a grab works on its task.")] = 2.0,
    without_skip_locked: Annotated[
        bool, typer.Option("--without-skip-locked", help="Do the same without SKIP LOCKED too, and compare.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and no progress.")] = False,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with settings.")] = None,
) -> None:
    """Let many requests grab tasks at once, and check that none gets another's; exit code 1 if something does not hold.

    It starts instances of `writers serve` and nginx as their balancer, or
    asks those at --url. Older tasks of the demo are removed; other tasks are
    left alone.
    """
    from writers.locking import demo  # noqa: PLC0415 - only this command needs what it imports
    from writers.locking.grabbing import Plan  # noqa: PLC0415 - the same
    from writers.locking.report import Report  # noqa: PLC0415 - the same

    options = demo.Options(Plan(tasks, requests, seconds), url, workers, without_skip_locked, config)
    result = demo.demo(options, Report(Console(quiet=as_json)))
    if as_json:
        typer.echo(json.dumps(result.as_json()))
    if not result.good:
        raise typer.Exit(1)


def main() -> NoReturn:
    """Run the command."""
    commands.run(app, name="writers")


def _parsed(payload: str) -> object:
    try:
        return json.loads(payload)
    except ValueError as error:
        raise typer.BadParameter(f"it is not JSON: {error}", param_hint="--payload") from error


async def _run(work: Load) -> tuple[Summary, signal.Signals | None]:
    """Run `work`. The first SIGINT or SIGTERM stops it and is returned; a second one has Python's default effect."""
    loop = asyncio.get_running_loop()
    stopped_by: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        stopped_by.append(number)
        work.stop()
        for each in _STOPPING:
            loop.remove_signal_handler(each)

    for number in _STOPPING:
        loop.add_signal_handler(number, stop, number)
    summary = await work.run()
    return summary, next(iter(stopped_by), None)


@contextmanager
def _progress(count: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances the progress bar on standard error; without `shown` there is no bar."""
    columns = (TextColumn("committed"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        bar = progress.add_task("committed", total=count)
        yield lambda tasks: progress.advance(bar, tasks)


def _print(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        numbers = {
            "committed": summary.committed,
            "unknown": summary.unknown,
            "seconds": round(summary.seconds, 3),
            "per_second": round(summary.per_second, 1),
        }
        typer.echo(json.dumps(numbers))
        return
    unknown = f", {summary.unknown} with unknown outcome" if summary.unknown else ""
    typer.echo(
        f"{summary.committed} tasks committed{unknown} in {summary.seconds:.2f} s: {summary.per_second:.0f} per second"
    )
