"""Runs the demo on private servers and counts from outside.

It runs the project's own commands as processes and imports nothing of them. The committed tasks are those that the
writers report, the published ones those that arrive in a queue bound to everything, the applied ones those in an
append-only table without a unique constraint. Most tasks are short, some fail by chance and are tried again, some take
a while; tasks are cancelled at random.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from outboxkit import sql
from outboxkit.errors import Problem
from sandbox.demo import tap
from sandbox.demo.breaking import Breaking
from sandbox.demo.result import Result, count_all, one
from sandbox.demo.stage import Stage
from sandbox.demo.watching import STALLED_SECONDS, Progress, watch
from sandbox.lifetime import kept
from sandbox.lifetime.isolation import Isolated, Isolation
from sandbox.lifetime.starting import start
from sandbox.machine import commands
from sandbox.machine.waiting import until
from sandbox.settings import SandboxSettings

CONSUMERS = ("consumer-1", "consumer-2")
_ENDS = ("completed", "cancelled", "dead")


@dataclass(frozen=True)
class Load:
    """One `writers submit`: a share of the tasks, of one type."""

    type: str
    share: float
    payload: str
    writers: int
    batch: int = 1


LOADS = (
    Load("flaky", 0.05, '{"odds": 0.5}', writers=1),
    Load("slow", 0.005, '{"seconds": 0.5}', writers=1),
    Load("record", 1, "{}", writers=4, batch=4),  # the rest
)


def demo(settings: SandboxSettings, *, tasks: int, rate: float, keep: bool, console: Console) -> Result:
    """Run the demo and return what it counted; with `keep`, servers and processes go on running."""
    with (_kept if keep else _temporary)(settings, console) as (stage, isolated):
        result = _run(stage, isolated, tasks, rate, console)
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


def _run(stage: Stage, isolated: Isolated, tasks: int, rate: float, console: Console) -> Result:
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
        files = _submit(stage, tasks, rate)
        watch(
            partial(_look, connection),
            Breaking(stage, connection, tasks, CONSUMERS[0], partial(console.print, highlight=False)),
            tasks=tasks,
            console=console,
            stalled=partial(_stalled, stage),
        )
        published = asyncio.run(tap.drain(isolated.amqp_url, queue=queue))
        committed = [task for file in files for task in file.read_text().split()]
        return count_all(connection, committed, published, began=began)


def _submit(stage: Stage, tasks: int, rate: float) -> list[Path]:
    """Start the writers; return the files that get the ids of committed tasks."""
    files, left = [], tasks
    for load in LOADS:
        number = min(left, max(1, round(tasks * load.share)))
        left -= number
        name = f"writers-{load.type}"
        files.append(stage.log(name).with_name("ids"))
        words = ["--type", load.type, "--payload", load.payload, "--count", str(number), "--ids", str(files[-1])]
        pace = ["--writers", str(load.writers), "--batch", str(load.batch), "--rate", f"{rate * number / tasks:.3f}"]
        stage.start(name, "writers", "submit", *words, *pace)
    return files


def _look(connection: psycopg.Connection[Any]) -> Progress:
    states = dict(connection.execute(sql.example("demo_progress")).fetchall())
    return Progress(sum(states.values()), sum(states.get(status, 0) for status in _ENDS), states)


def _stalled(stage: Stage, reason: str) -> Problem:
    logs = ", ".join(
        str(stage.log(name)) for name in ("relay", *(f"writers-{load.type}" for load in LOADS), *CONSUMERS)
    )
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
        f"  {directory}/consumers locks",
        f"  {directory}/consumers dead list",
        f"  psql {isolated.database_url} -c 'TABLE relay.checkpoint'",
        *(f"  tail -f {stage.log(name)}" for name in ("relay", *CONSUMERS)),
        f"To end it: {directory}/sandbox down",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
