"""Runs the demo on private servers and counts from outside.

It runs the project's own commands as processes and imports nothing of them. The committed tasks are those that the
writers report, the published ones those that arrive in a queue bound to everything, the applied ones those in an
append-only table without a unique constraint.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from rich import progress
from rich.console import Console

from outboxkit import sql
from outboxkit.errors import Problem
from sandbox.demo import tap
from sandbox.demo.breaking import Breaking, Progress
from sandbox.demo.result import Result, count, one, with_sources
from sandbox.demo.stage import Stage
from sandbox.lifetime import kept
from sandbox.lifetime.isolation import Isolated, Isolation
from sandbox.lifetime.starting import start
from sandbox.machine import commands
from sandbox.machine.waiting import until
from sandbox.settings import SandboxSettings

WRITERS = 8
CONSUMERS = ("consumer-1", "consumer-2")
_STALLED_SECONDS = 60.0


def demo(settings: SandboxSettings, *, tasks: int, keep: bool, console: Console) -> Result:
    """Run the demo and return what it counted; with `keep`, servers and processes go on running."""
    with (_kept if keep else _temporary)(settings, console) as (stage, isolated):
        result = _run(stage, isolated, tasks, console)
        if keep:
            _explain(stage, isolated, console)
        else:
            stage.end("relay", *CONSUMERS)
    return result


@contextmanager
def _temporary(settings: SandboxSettings, console: Console) -> Iterator[tuple[Stage, Isolated]]:
    console.print("starting a private Postgres and RabbitMQ ...", highlight=False)
    with start(settings) as box, box.isolated() as isolated:
        yield Stage(box.directory, isolated), isolated


@contextmanager
def _kept(settings: SandboxSettings, console: Console) -> Iterator[tuple[Stage, Isolated]]:
    console.print("starting a private Postgres and RabbitMQ, unless this checkout has them ...", highlight=False)
    box, running = kept.up(settings)
    if running:
        console.print(f"using those that run since {box.since:%Y-%m-%d %H:%M}", highlight=False)
    isolation = Isolation(box.servers, None)
    isolated = isolation.create()
    isolation.close()
    yield Stage(box.directory, isolated), isolated


def _run(stage: Stage, isolated: Isolated, tasks: int, console: Console) -> Result:
    stage.call("relay", "setup")
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(sql.example("effect"))
        queue = isolated.queue("tap")
        asyncio.run(tap.bind(isolated.amqp_url, queue=queue, exchange=isolated.name))
        for name in CONSUMERS:
            stage.start(name, "consumers", "run")
        for name in CONSUMERS:  # messages published before their queue is bound would reach only the tap
            until(partial(stage.logged, name, "consuming"), what=f"{name} consumes", seconds=_STALLED_SECONDS)
        (began,) = one(connection, "demo_now")
        stage.start("relay", "relay", "run")
        ids = stage.log("writers").with_name("ids")
        stage.start("writers", "writers", "submit", "--type", "record", "--count", str(tasks),
                    "--writers", str(WRITERS), "--ids", str(ids))  # fmt: skip
        _watch(stage, connection, tasks, console)
        published = asyncio.run(tap.drain(isolated.amqp_url, queue=queue))
        return with_sources(connection, count(connection, ids.read_text().split(), published), began=began)


def _watch(stage: Stage, connection: psycopg.Connection[Any], tasks: int, console: Console) -> None:
    """Show the progress until every task is applied; break things meanwhile, and wait until the relay streams again."""
    columns = (progress.TextColumn("{task.description:>9}"), progress.BarColumn(), progress.MofNCompleteColumn())
    best, since = Progress(0, 0), time.monotonic()
    with progress.Progress(*columns, console=console) as shown:
        breaking = Breaking(stage, connection, tasks, shown.console.print)
        bars = [shown.add_task(name, total=tasks) for name in ("committed", "applied")]
        while best.applied < tasks or not breaking.over:
            now = Progress(*one(connection, "demo_progress"))
            for bar, number in zip(bars, (now.committed, now.applied), strict=True):
                shown.update(bar, completed=number)
            breaking.go_on(now)
            if now != best:
                best, since = now, time.monotonic()
            elif time.monotonic() - since > _STALLED_SECONDS:
                logs = ", ".join(str(stage.log(name)) for name in ("relay", "writers", *CONSUMERS))
                raise Problem(
                    f"no progress for {_STALLED_SECONDS:g} s at {best.applied:,} of {tasks:,} tasks applied; "
                    f"the relay last logged: {stage.last_line('relay')}",
                    remedy=f"run it with --keep and see {logs}",
                )
            time.sleep(0.05)


def _explain(stage: Stage, isolated: Isolated, console: Console) -> None:
    directory = os.path.relpath(commands.DIRECTORY)
    lines = [
        "",
        "Everything is still running. To use it from this shell:",
        *(f"  export {name}={value}" for name, value in stage.settings.items()),
        f"  {directory}/writers submit --type greet --count 10",
        f"  {directory}/consumers status",
        f"  psql {isolated.database_url} -c 'TABLE relay.checkpoint'",
        *(f"  tail -f {stage.log(name)}" for name in ("relay", *CONSUMERS)),
        f"To end it: {directory}/sandbox down",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
