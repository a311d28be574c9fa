"""The demo on the containers of docker-compose.yml: the active relay's container is killed while tasks are written.

It runs in a container beside them and counts from outside, as run.py does: by the writers' file of ids, an append-only
table, and a queue bound to everything. Which relay is active it reads from their metrics.
"""

import asyncio
import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from rich import progress
from rich.console import Console

from outboxkit import sql
from outboxkit.errors import Problem
from sandbox.demo import tap
from sandbox.demo.result import Composed, count, one
from sandbox.machine import commands, engine
from sandbox.machine.waiting import until
from sandbox.settings import SandboxSettings

_SERVICE, _PORT = "relay", 9187
_EXCHANGE, _QUEUE = "outbox", "demo.tap"
_WRITERS = 8
_STALLED_SECONDS = 60.0
_TAKEOVER_SECONDS = 60.0


def demo(settings: SandboxSettings, *, tasks: int, console: Console) -> Composed:
    """Submit `tasks` tasks, kill the active relay in the middle, and return what was counted."""
    if settings.database_url is None or settings.amqp_url is None:
        raise Problem("no servers are named", remedy="set SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL")
    with psycopg.connect(settings.database_url, autocommit=True) as connection, tempfile.TemporaryDirectory() as place:
        connection.execute(sql.example("effect"))
        connection.execute(sql.example("effect_begin"))
        asyncio.run(tap.remove(settings.amqp_url, queue=_QUEUE))
        asyncio.run(tap.bind(settings.amqp_url, queue=_QUEUE, exchange=_EXCHANGE))
        ids = Path(place) / "ids"
        ids.touch()
        words = ["writers", "submit", "--type", "record", "--count", str(tasks), "--writers", str(_WRITERS)]
        with subprocess.Popen(commands.found([*words, "--ids", str(ids)]), stdout=subprocess.DEVNULL) as writers:
            killed, successor, seconds = _watch(connection, ids, tasks, console)
        if writers.returncode:
            raise Problem(f"`writers submit` ended with exit code {writers.returncode}", remedy="see its message")
        published = asyncio.run(tap.drain(settings.amqp_url, queue=_QUEUE))
        asyncio.run(tap.remove(settings.amqp_url, queue=_QUEUE))
        counts = count(connection, ids.read_text().split(), published)
    return Composed(**vars(counts), killed=killed, taken_over_by=successor, takeover_seconds=seconds)


def _watch(connection: psycopg.Connection[Any], ids: Path, tasks: int, console: Console) -> tuple[str, str, float]:
    """Show the progress until every task is applied; kill the active relay when a quarter is committed."""
    columns = (progress.TextColumn("{task.description:>9}"), progress.BarColumn(), progress.MofNCompleteColumn())
    takeover: tuple[str, str, float] | None = None
    best, since = (0, 0), time.monotonic()
    with progress.Progress(*columns, console=console) as shown:
        bars = [shown.add_task(name, total=tasks) for name in ("committed", "applied")]
        while best[1] < tasks or takeover is None:
            now = (ids.read_bytes().count(b"\n"), int(one(connection, "demo_effects")[0]))
            for bar, number in zip(bars, now, strict=True):
                shown.update(bar, completed=number)
            if takeover is None and now[0] >= tasks // 4 and now[1]:
                takeover = _take_over()
                shown.console.print(
                    f"{now[0]:,} tasks committed: {takeover[0]} killed, {takeover[1]} active after {takeover[2]:.1f} s",
                    highlight=False,
                )
            if now != best:
                best, since = now, time.monotonic()
            elif time.monotonic() - since > _STALLED_SECONDS:
                raise Problem(
                    f"no progress for {_STALLED_SECONDS:g} s at {best[1]:,} of {tasks:,} tasks applied",
                    remedy="see the logs of relay and consumers",
                )
            time.sleep(0.05)
    return takeover


def _take_over() -> tuple[str, str, float]:
    """Kill the active relay's container, later start it again; return its name, its successor's, and the seconds."""
    project = engine.project()
    before = until(lambda: _active(project), what="one relay is active", seconds=_TAKEOVER_SECONDS)
    engine.kill(before)
    began = time.monotonic()
    after = until(lambda: _active(project), what="the other relay takes over", seconds=_TAKEOVER_SECONDS)
    seconds = time.monotonic() - began
    engine.start(before)
    return before.name, after.name, seconds


def _active(project: str) -> engine.Container | None:
    """Return the container of the active relay; None if there is none."""
    containers = engine.running(project, _SERVICE)
    for address in _addresses():
        if _leads(address):
            return next((container for container in containers if address in container.addresses), None)
    return None


def _addresses() -> Iterator[str]:
    for *_, place in socket.getaddrinfo(_SERVICE, _PORT, family=socket.AF_INET, type=socket.SOCK_STREAM):
        yield str(place[0])


def _leads(address: str) -> bool:
    connection = http.client.HTTPConnection(address, _PORT, timeout=2)
    try:
        connection.request("GET", "/metrics")
        return b"\nrelay_leader 1.0\n" in connection.getresponse().read()
    except OSError:  # it was killed
        return False
    finally:
        connection.close()
