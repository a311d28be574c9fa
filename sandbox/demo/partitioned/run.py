"""The demo of the profile `partitioned`: orders are written, and the order of each is looked at on its way.

It runs in a container beside the others and counts from outside: by a queue that is bound to everything, and by the
metrics of the relays and of the consumers.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from outboxkit import sql
from outboxkit.errors import Problem
from sandbox.demo import tap
from sandbox.demo.partitioned.counting import Result, counted, grown
from sandbox.demo.partitioned.order import seen
from sandbox.demo.partitioned.writing import Writing, writing
from sandbox.demo.result import one
from sandbox.machine.waiting import until
from sandbox.settings import SandboxSettings

_RELAYS = [f"relay-{number}:9187" for number in range(1, 5)]
_READERS = [f"reader-{number}:9188" for number in range(4)]
_PUBLISHED, _APPLIED = "relay_events_published_total", "consumers_events_total"
_EXCHANGE, _QUEUE = "outbox", "demo.tap"
_WRITERS = 3
"""With one that looks: `outbox_owner` may have five sessions."""
_STALLED_SECONDS = 60.0
_COUNTED_SECONDS = 5.0


@dataclass(frozen=True)
class _Counters:
    published: dict[str, int]
    applied: dict[str, int]
    gaps: dict[str, int]


def demo(settings: SandboxSettings, *, orders: int, events: int) -> Result:
    """Write `events` events of each of `orders` orders, and return what was counted."""
    if settings.database_url is None or settings.amqp_url is None:
        raise Problem("no servers are named", remedy="set SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL")
    ids = [f"{secrets.token_hex(4)}-{number}" for number in range(orders)]
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(sql.example("order_view"))
        connection.execute(sql.example("order_view_begin"))
        asyncio.run(tap.remove(settings.amqp_url, queue=_QUEUE))
        asyncio.run(tap.bind(settings.amqp_url, queue=_QUEUE, exchange=_EXCHANGE))
        before, began = _look(), time.monotonic()
        with writing(settings.database_url, ids, versions=events, writers=_WRITERS) as writers:
            in_view = _wait(connection, writers, orders=orders, last=events)
        seconds = time.monotonic() - began
        after = _look_at_all(before, orders * events)
    published = asyncio.run(tap.versions(settings.amqp_url, queue=_QUEUE))
    asyncio.run(tap.remove(settings.amqp_url, queue=_QUEUE))
    return Result(
        events=orders * events,
        published=seen(published),
        by_relay=grown(before.published, after.published),
        by_queue=grown(before.applied, after.applied),
        gaps=sum(grown(before.gaps, after.gaps).values()),
        in_view=in_view,
        orders=orders,
        seconds=seconds,
    )


def show(result: Result, console: Console) -> None:
    """Print the result as a table."""
    table = Table(title=f"{result.events:,} events of {result.orders:,} orders, in {result.seconds:.0f} s")
    table.add_column("")
    table.add_column("events", justify="right")
    for name, count in (*result.by_relay.items(), *result.by_queue.items()):
        table.add_row(f"published by {name}" if name in result.by_relay else f"applied by {name}", f"{count:,}")
    table.add_row("published more than once", f"{result.published.again:,}")
    table.add_row("missing", f"{result.events - result.published.first:,}")
    table.add_row("out of order", f"{result.out_of_order:,}")
    table.add_row("orders at their last version", f"{result.in_view:,}")
    console.print(table)


def _look() -> _Counters:
    return _Counters(
        published=counted(_RELAYS, _PUBLISHED, "confirmed"),
        applied=counted(_READERS, _APPLIED, "applied"),
        gaps=counted(_READERS, _APPLIED, "gap"),
    )


def _look_at_all(before: _Counters, events: int) -> _Counters:
    """Look until all `events` are counted, for some seconds: a consumer counts an event after its commit."""
    found = _look()
    ends = time.monotonic() + _COUNTED_SECONDS

    def done() -> bool:
        nonlocal found
        found = _look()
        return sum(grown(before.applied, found.applied).values()) >= events or time.monotonic() > ends

    until(done, what="every event is counted", seconds=float("inf"), every=0.5)
    return found


def _wait(connection: psycopg.Connection[Any], writers: Writing, *, orders: int, last: int) -> int:
    """Wait until each order has its last version, or nothing goes on; return how many orders have it."""
    moved = [0, time.monotonic()]
    ended = 0

    def done() -> bool:
        nonlocal ended
        writers.check()
        ended, versions = one(connection, "partitioned_progress", {"last": last})
        if versions > moved[0]:
            moved[:] = [versions, time.monotonic()]
        return ended == orders or time.monotonic() - moved[1] > _STALLED_SECONDS

    until(done, what="every order has its last version", seconds=float("inf"), every=0.5)
    return ended
