"""Runs the demo on private servers and counts from outside.

It runs the project's own commands as processes and imports nothing of them. The committed tasks are those that the
writers report, the published ones those that arrive in a queue bound to everything, the applied ones those in an
append-only table without a unique constraint.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
from rich.console import Console

from outboxkit import sql
from outboxkit.errors import Problem
from sandbox.demo import tap
from sandbox.demo.breaking import Breaking
from sandbox.demo.result import Result, count, one, with_sources
from sandbox.demo.stage import Stage
from sandbox.demo.watching import STALLED_SECONDS, Progress, watch
from sandbox.lifetime import kept
from sandbox.lifetime.isolation import Isolated, Isolation
from sandbox.lifetime.starting import start
from sandbox.machine import commands
from sandbox.machine.waiting import until
from sandbox.settings import SandboxSettings

WRITERS = 8
CONSUMERS = ("consumer-1", "consumer-2")


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
            until(partial(stage.logged, name, "consuming"), what=f"{name} consumes", seconds=STALLED_SECONDS)
        (began,) = one(connection, "demo_now")
        stage.start("relay", "relay", "run")
        ids = stage.log("writers").with_name("ids")
        stage.start("writers", "writers", "submit", "--type", "record", "--count", str(tasks),
                    "--writers", str(WRITERS), "--ids", str(ids))  # fmt: skip
        watch(
            lambda: Progress(*one(connection, "demo_progress")),
            Breaking(stage, connection, tasks, console.print),
            tasks=tasks,
            console=console,
            stalled=partial(_stalled, stage),
        )
        published = asyncio.run(tap.drain(isolated.amqp_url, queue=queue))
        return with_sources(connection, count(connection, ids.read_text().split(), published), began=began)


def _stalled(stage: Stage, reason: str) -> Problem:
    logs = ", ".join(str(stage.log(name)) for name in ("relay", "writers", *CONSUMERS))
    return Problem(
        f"{reason}; the relay last logged: {stage.last_line('relay')}", remedy=f"run it with --keep and see {logs}"
    )


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
