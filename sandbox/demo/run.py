"""`sandbox demo`: the whole path on private servers, with a crash in the middle, counted from outside.

It drives the project's own commands as real processes and knows nothing of their insides. What was committed is the
writers' own log; what was applied is an append-only table without a unique constraint; what was published is what a
queue bound to everything received.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from outboxkit import sql
from outboxkit.errors import Problem
from sandbox.demo import tap
from sandbox.lifetime import kept
from sandbox.lifetime.directories import COMPANIONS
from sandbox.lifetime.isolation import Isolated, Isolation
from sandbox.lifetime.starting import start
from sandbox.machine import processes
from sandbox.machine.accounts import caller
from sandbox.machine.waiting import until
from sandbox.settings import SandboxSettings

WRITERS = 8
CONSUMERS = ("consumer-1", "consumer-2")
_STALLED_SECONDS = 60.0
_COMMANDS = Path(sys.executable).parent


@dataclass(frozen=True)
class Result:
    """What the demo counted; latencies are milliseconds from a task's commit to its effect's."""

    committed: int
    published: int
    duplicates_absorbed: int
    applied_exactly_once: int
    applied_twice: int
    lost: int
    latency_p50: float | None
    latency_p95: float | None
    latency_p99: float | None
    events_per_second: float

    @property
    def clean(self) -> bool:
        """Whether every committed task was applied, and none of them twice."""
        return self.committed > 0 and self.lost == 0 and self.applied_twice == 0


class Stage:
    """The processes of one demo: they belong to the sandbox's directory and end with it, whatever ends the demo."""

    def __init__(self, directory: Path, isolated: Isolated) -> None:
        self._directory = directory
        self._isolated = isolated
        self.environment = {
            "RELAY_DATABASE_URL": isolated.database_url,
            "RELAY_AMQP_URL": isolated.amqp_url,
            "RELAY_SLOT": isolated.name,
            "RELAY_EXCHANGE": isolated.name,
            "RELAY_HTTP_ADDRESS": "",
            "CONSUMERS_DATABASE_URL": isolated.database_url,
            "CONSUMERS_AMQP_URL": isolated.amqp_url,
            "CONSUMERS_EXCHANGE": isolated.name,
            "CONSUMERS_QUEUE": isolated.name,
            "CONSUMERS_HANDLERS": "consumers.examples",
            "WRITERS_DATABASE_URL": isolated.database_url,
        }

    def call(self, *command: str) -> None:
        """Run a command to its end; raises Problem with its own words when it fails."""
        done = subprocess.run(
            self._found(command), env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Problem(f"`{' '.join(command)}` failed: {done.stderr.strip()}", remedy="see its message")

    def start(self, name: str, *command: str) -> None:
        """Start a process beside the servers."""
        place = self.place(name)
        place.mkdir(parents=True, exist_ok=True)
        processes.spawn(
            place, self._found(command), account=caller(), environment=self._environment(), log=self.log(name)
        )

    def says(self, name: str, word: str) -> bool:
        """Whether a process has logged `word` so far."""
        return word in self.log(name).read_text(errors="replace")

    def kill(self, name: str) -> None:
        """End a process with SIGKILL, and return when it is gone."""
        processes.send(self.place(name), signal.SIGKILL, patience=10)

    def end(self, *names: str) -> None:
        """Ask processes to end, and wait until they have drained."""
        for name in names:
            processes.end(self.place(name), ask=signal.SIGTERM, patience=30)

    def place(self, name: str) -> Path:
        """Return the directory that process `name` belongs to."""
        return self._directory / COMPANIONS / f"{self._isolated.name}-{name}"

    def log(self, name: str) -> Path:
        """Return where process `name` writes its log."""
        return self.place(name) / "log"

    def _environment(self) -> Mapping[str, str]:
        ours = ("RELAY_", "CONSUMERS_", "WRITERS_", "SANDBOX")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | self.environment

    def _found(self, command: tuple[str, ...]) -> list[str]:
        return [str(_COMMANDS / command[0]), *command[1:]]


def demo(settings: SandboxSettings, *, tasks: int, keep: bool, console: Console) -> Result:
    """Run the demo and return what was counted; with `keep`, servers and processes stay as they are."""
    console.print("starting a private Postgres and RabbitMQ", highlight=False)
    with (_kept if keep else _passing)(settings) as (stage, isolated):
        result = _run(stage, isolated, tasks, console)
        if keep:
            _explain(stage, isolated, console)
        else:
            stage.end("relay", *CONSUMERS)
    return result


def show(result: Result, console: Console) -> None:
    """Print the table."""
    table = Table(title="from a commit to an applied task, the relay killed in the middle", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in asdict(result).items():
        label = f"{name.replace('_', ' ')} (ms)" if name.startswith("latency") else name.replace("_", " ")
        label = label.replace("latency", "commit → applied")
        text = "unknown" if value is None else f"{value:,.0f}" if isinstance(value, float) else f"{value:,}"
        table.add_row(label, text)
    console.print(table)


@contextmanager
def _passing(settings: SandboxSettings) -> Iterator[tuple[Stage, Isolated]]:
    with start(settings) as box, box.isolated() as isolated:
        yield Stage(box.directory, isolated), isolated


@contextmanager
def _kept(settings: SandboxSettings) -> Iterator[tuple[Stage, Isolated]]:
    box = kept.up(settings)
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
        for name in CONSUMERS:  # a message that comes before their queue is bound would reach the tap alone
            until(partial(stage.says, name, "consuming"), what=f"{name} consumes", seconds=_STALLED_SECONDS)
        stage.start("relay", "relay", "run")
        ids = stage.log("writers").with_name("ids")
        stage.start("writers", "writers", "submit", "--type", "record", "--count", str(tasks),
                    "--writers", str(WRITERS), "--ids", str(ids))  # fmt: skip
        _watch(stage, connection, tasks, console)
        published = asyncio.run(tap.drain(isolated.amqp_url, queue=queue))
        return _count(connection, ids.read_text().split(), published)


def _watch(stage: Stage, connection: psycopg.Connection[Any], tasks: int, console: Console) -> None:
    """Follow the progress until every task is applied; kill the relay a third of the way, and start it again."""
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn())
    killed, best, since = False, (0, 0), time.monotonic()
    with Progress(*columns, console=console) as progress:
        bars = [progress.add_task(name, total=tasks) for name in ("committed", "applied")]
        while best[1] < tasks:
            numbers = _one(connection, "demo_progress")
            for bar, number in zip(bars, numbers, strict=True):
                progress.update(bar, completed=number)
            if not killed and numbers[1] >= tasks // 3:
                stage.kill("relay")
                progress.console.print(f"relay killed with SIGKILL at {numbers[1]:,} applied, and started again")
                stage.start("relay", "relay", "run")
                killed = True
            if numbers != best:
                best, since = numbers, time.monotonic()
            elif time.monotonic() - since > _STALLED_SECONDS:
                logs = ", ".join(str(stage.log(name)) for name in ("relay", "writers", *CONSUMERS))
                raise Problem(
                    f"nothing has moved at {best[1]:,} of {tasks:,} applied; the relay's last words: {_tail(stage)}",
                    remedy=f"run with --keep and read {logs}",
                )
            time.sleep(0.05)


def _tail(stage: Stage) -> str:
    lines = stage.log("relay").read_text(errors="replace").splitlines()
    return lines[-1] if lines else "the relay has logged nothing"


def _count(connection: psycopg.Connection[Any], committed: list[str], published: list[str]) -> Result:
    effects = {str(task): number for task, number in connection.execute(sql.example("demo_applied")).fetchall()}
    times: tuple[float | None, ...] = (None, None, None)
    if _one_setting(connection, "track_commit_timestamp") == "on":
        times = tuple(_one(connection, "demo_latency")[0])
    (seconds,) = _one(connection, "demo_span")
    return Result(
        committed=len(committed),
        published=len(published),
        duplicates_absorbed=len(published) - len(set(published)),
        applied_exactly_once=sum(effects.get(task) == 1 for task in committed),
        applied_twice=sum(number > 1 for number in effects.values()),
        lost=sum(task not in effects for task in committed),
        latency_p50=times[0],
        latency_p95=times[1],
        latency_p99=times[2],
        events_per_second=len(effects) / seconds if seconds else 0.0,
    )


def _one(connection: psycopg.Connection[Any], name: str) -> tuple[Any, ...]:
    row = connection.execute(sql.example(name)).fetchone()
    if row is None:
        raise Problem(f"{name}.sql gave no row", remedy="this is a bug in it")
    return tuple(row)


def _one_setting(connection: psycopg.Connection[Any], name: LiteralString) -> str | None:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return row[0] if row else None


def _explain(stage: Stage, isolated: Isolated, console: Console) -> None:
    console.print("\nEverything still runs. To look at it:", highlight=False)
    for name, value in stage.environment.items():
        console.print(f"  export {name}={value}", highlight=False, soft_wrap=True)
    bin_directory = os.path.relpath(_COMMANDS)
    console.print(f"  {bin_directory}/writers submit --type greet --count 10", highlight=False)
    console.print(f"  {bin_directory}/consumers status", highlight=False)
    console.print(f"  psql {isolated.database_url} -c 'TABLE relay.checkpoint'", highlight=False, soft_wrap=True)
    for name in ("relay", *CONSUMERS):
        console.print(f"  tail -f {stage.log(name)}", highlight=False, soft_wrap=True)
    console.print(f"To end it all: {bin_directory}/sandbox down", highlight=False)
