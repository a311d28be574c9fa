"""Runs the demo on private servers and counts from outside.

It runs the project's own commands as processes and imports nothing of them. The committed tasks are those that the
writers and the service report, the published ones those that arrive in a queue bound to everything, the applied ones
those in a file of runs, and in an append-only table without a unique constraint.

At first a backlog is drained, as fast as this machine can: it was written before the relay was started, by
`writers submit` in large transactions, since a request for each task would take longer than all the rest. Then tasks
are submitted over HTTP, each by one request, at a seventh of that rate at most, so that their latency is the system's
and not that of a queue that grows, while processes are killed. Most tasks are short, some write in their
transaction, some fail by chance and are tried again, some take a while; tasks are cancelled at random.
"""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from outboxkit import sql
from outboxkit.errors import Problem
from outboxkit.process.commands import BAD_ANSWER
from sandbox.demo import tap
from sandbox.demo.breaking import Breaking
from sandbox.demo.result import Result, count_all, events_per_second, one
from sandbox.demo.stage import Stage
from sandbox.demo.submitting import Kind, Submitting, mixed
from sandbox.demo.watching import STALLED_SECONDS, Progress, watch
from sandbox.lifetime import kept
from sandbox.lifetime.isolation import Isolated, Isolation
from sandbox.lifetime.starting import start
from sandbox.machine import commands
from sandbox.machine.waiting import until
from sandbox.settings import SandboxSettings

CONSUMERS = ("consumer-1", "consumer-2")
SERVICE = "service"
_ENDS = ("completed", "cancelled", "dead")
_BACKLOG = 0.4
"""The share of the tasks that are drained at first."""
_PACE = 0.15
"""The pace of the others, as a share of the rate at which the first were drained."""
_MOST_OVER_HTTP = 250.0
"""The pace of the others at most: the demo is not about how fast one instance of the service is."""


def demo(settings: SandboxSettings, *, tasks: int, rate: float | None, keep: bool, console: Console) -> Result:
    """Run the demo and return what it counted; with `keep`, servers and processes go on running."""
    with (_kept if keep else _temporary)(settings, console) as (stage, isolated):
        result = _run(stage, isolated, tasks, rate, console)
        if keep:
            _explain(stage, isolated, console)
        else:
            stage.end("relay", *CONSUMERS, SERVICE)
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


def _run(stage: Stage, isolated: Isolated, tasks: int, rate: float | None, console: Console) -> Result:
    stage.call("relay", "setup")
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(sql.example("effect"))
        queue = isolated.queue("tap")
        asyncio.run(tap.bind(isolated.amqp_url, queue=queue, exchange=isolated.name))
        for name in CONSUMERS:
            stage.start(name, "consumers", "run")
        for name in CONSUMERS:  # messages published before their queue is bound would reach only the tap
            until(partial(stage.logged, name, "consuming"), what=f"{name} consumes", seconds=STALLED_SECONDS)
        backlog = round(tasks * _BACKLOG)
        url = _serve(stage)
        ids = _write_backlog(stage, backlog)
        until(lambda: _look(connection).committed >= backlog, what="a backlog is there", seconds=STALLED_SECONDS)
        (began,) = one(connection, "demo_now")
        stage.start("relay", "relay", "run")
        until(lambda: _look(connection).ended >= backlog, what="the backlog is drained", seconds=STALLED_SECONDS)
        until(partial(_streams, stage, connection), what="the relay streams", seconds=STALLED_SECONDS)
        drained = events_per_second(connection)
        pace = min(drained * _PACE, _MOST_OVER_HTTP) if rate is None else rate
        console.print(
            f"a backlog of {backlog:,} tasks drained at {drained:,.0f} tasks/s; "
            f"the others come over HTTP at {pace:,.0f}/s",
            highlight=False,
        )
        (since,) = one(connection, "demo_now")
        with Submitting(url, mixed(_kinds(stage), tasks - backlog), rate=pace) as submitting:
            watch(
                partial(_look, connection, submitting),
                Breaking(stage, connection, tasks, CONSUMERS[0], partial(console.print, highlight=False)),
                tasks=tasks,
                console=console,
                stalled=partial(_stalled, stage),
            )
        published = asyncio.run(tap.drain(isolated.amqp_url, queue=queue))
        _take_runs(stage, connection)
        committed = ids.read_text().split() + submitting.committed
        audit = until(partial(_audit, stage), what="everything is confirmed", seconds=STALLED_SECONDS)
        return count_all(
            connection, committed, published, began=began, drained=since, pace=submitting.per_second, audit=audit
        )


def _write_backlog(stage: Stage, tasks: int) -> Path:
    """Start `writers submit` for the backlog; return its file of ids."""
    ids = stage.log("writers").with_name("ids")
    words = ["--type", "note", "--payload", json.dumps({"file": str(_runs(stage))}), "--count", str(tasks)]
    stage.start("writers", "writers", "submit", *words, "--ids", str(ids), "--writers", "2", "--batch", "50")
    return ids


def _kinds(stage: Stage) -> list[Kind]:
    """Return of what the tasks after the backlog are; most are the last one."""
    return [
        Kind("flaky", 0.05, {"odds": 0.5}),
        Kind("slow", 0.005, {"seconds": 0.5}),
        Kind("record", 0.05, {}),
        Kind("note", 1, {"file": str(_runs(stage))}),
    ]


def _serve(stage: Stage) -> str:
    """Start `writers serve`, and return its URL."""
    stage.start(SERVICE, "writers", "serve")
    until(partial(stage.logged, SERVICE, '"serving"'), what="the service serves", seconds=STALLED_SECONDS)
    return _url(stage)


def _url(stage: Stage) -> str:
    return f"http://{stage.found(SERVICE, event='serving')['address']}"


def _runs(stage: Stage) -> Path:
    """Return the file to which `note` appends its runs."""
    return stage.log("relay").with_name("runs")


def _take_runs(stage: Stage, connection: psycopg.Connection[Any]) -> None:
    with connection.cursor().copy(sql.example("demo_runs")) as copy:
        copy.write(_runs(stage).read_bytes())


def _streams(stage: Stage, connection: psycopg.Connection[Any]) -> bool:
    return bool(one(connection, "demo_streams", {"slot": stage.slot})[0])


def _audit(stage: Stage) -> dict[str, int] | None:
    """Return the totals of an audit of the last hour, unless there are events that the relay has not published yet."""
    printed = stage.call("relay", "audit", "--since", "1h", "--json", answers=(0, BAD_ANSWER))
    totals: dict[str, int] = json.loads(printed)["totals"]
    return None if totals["pending"] else totals


def _look(connection: psycopg.Connection[Any], submitting: Submitting | None = None) -> Progress:
    if submitting is not None:
        submitting.check()
    states = dict(connection.execute(sql.example("demo_progress")).fetchall())
    return Progress(sum(states.values()), sum(states.get(status, 0) for status in _ENDS), states)


def _stalled(stage: Stage, reason: str) -> Problem:
    logs = ", ".join(str(stage.log(name)) for name in ("relay", "writers", SERVICE, *CONSUMERS))
    return Problem(
        f"{reason}; the relay last logged: {stage.last_line('relay')}", remedy=f"run it with --keep and see {logs}"
    )


def _explain(stage: Stage, isolated: Isolated, console: Console) -> None:
    url = _url(stage)
    directory = os.path.relpath(commands.DIRECTORY)
    lines = [
        "",
        "Everything is still running. To use it from this shell:",
        *(f"  export {name}={value}" for name, value in stage.settings.items()),
        f"  {directory}/writers submit --type greet --count 10",
        f'  curl --json \'{{"type": "greet"}}\' {url}/tasks',
        f"  {directory}/consumers status",
        f"  {directory}/consumers locks",
        f"  {directory}/consumers dead list",
        f"  {directory}/relay audit",
        f"  psql {isolated.database_url} -c 'TABLE relay.checkpoint'",
        *(f"  tail -f {stage.log(name)}" for name in ("relay", SERVICE, *CONSUMERS)),
        f"To end it: {directory}/sandbox down",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
