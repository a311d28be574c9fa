"""The demo on the containers of docker-compose.yml: the active relay's container is killed while tasks are written.

It runs in a container beside them and counts from outside, as run.py does: by the ids that the service answered with,
an append-only table, and a queue bound to everything. Which relay is active it reads from their metrics.
"""

import asyncio
import http.client
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import psycopg
from rich.console import Console

from outboxkit import sql
from outboxkit.errors import Problem
from sandbox.demo import tap
from sandbox.demo.result import Composed, count, one
from sandbox.demo.submitting import Kind, Submitting, mixed
from sandbox.demo.watching import Progress, watch
from sandbox.machine import engine
from sandbox.machine.waiting import until
from sandbox.settings import SandboxSettings

_SERVICE, _PORT = "relay", 9187
_EXCHANGE, _QUEUE = "outbox", "demo.tap"
_CLIENTS = 8
_TAKEOVER_SECONDS = 60.0


def demo(settings: SandboxSettings, *, tasks: int, url: str, console: Console) -> Composed:
    """Submit `tasks` tasks over HTTP at `url`, kill the active relay in the middle, and return what was counted."""
    if settings.database_url is None or settings.amqp_url is None:
        raise Problem("no servers are named", remedy="set SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL")
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(sql.example("effect"))
        connection.execute(sql.example("effect_begin"))
        asyncio.run(tap.remove(settings.amqp_url, queue=_QUEUE))
        asyncio.run(tap.bind(settings.amqp_url, queue=_QUEUE, exchange=_EXCHANGE))
        takeover = _Takeover(tasks, partial(console.print, highlight=False))
        with Submitting(url, mixed([Kind("record", 1, {})], tasks), clients=_CLIENTS) as submitting:

            def look() -> Progress:
                submitting.check()
                return Progress(len(submitting.committed), one(connection, "demo_effects")[0])

            watch(look, takeover, tasks=tasks, console=console, stalled=_stalled)
        published = asyncio.run(tap.drain(settings.amqp_url, queue=_QUEUE))
        asyncio.run(tap.remove(settings.amqp_url, queue=_QUEUE))
        counts = count(connection, submitting.committed, published)
    return Composed(
        **vars(counts), killed=takeover.killed, taken_over_by=takeover.successor, takeover_seconds=takeover.seconds
    )


class _Takeover:
    """Kills the active relay's container when a quarter is committed, and starts it again when another is active."""

    def __init__(self, tasks: int, say: Callable[[str], None]) -> None:
        self._tasks = tasks
        self._say = say
        self.over = False
        self.killed = self.successor = ""
        self.seconds = 0.0

    def go_on(self, progress: Progress) -> None:
        if self.over or progress.committed < self._tasks // 4 or not progress.ended:
            return
        project = engine.project()
        before = until(lambda: _active(project), what="one relay is active", seconds=_TAKEOVER_SECONDS)
        engine.kill(before)
        began = time.monotonic()
        after = until(lambda: _active(project), what="the other relay takes over", seconds=_TAKEOVER_SECONDS)
        self.seconds = time.monotonic() - began
        engine.start(before)
        self.killed, self.successor, self.over = before.name, after.name, True
        self._say(
            f"{progress.committed:,} tasks committed: {before.name} killed, "
            f"{after.name} active after {self.seconds:.1f} s"
        )


def _stalled(reason: str) -> Problem:
    return Problem(reason, remedy="see the logs of relay and consumers")


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
