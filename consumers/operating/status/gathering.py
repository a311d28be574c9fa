"""Asks Postgres about the tasks, and RabbitMQ about the queues. Read only.

The costs are bounded whatever the table holds: a small table is counted; of a large one only rows that an index leads
to, up to a number, and the rest is estimated from what ANALYZE found.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import psycopg

from consumers.operating.connection import connected
from consumers.operating.status.document import Counted, Due, QueueDepth, Running, Status, Waiting
from consumers.settings import ConsumerSettings
from outboxkit import sql
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.errors import ChannelRefused
from outboxkit.amqp.topology import dead_letter_queue

SMALL = 32 * 1024 * 1024
"""How many bytes of tasks.task may be read each time."""
MOST = 10_000
"""How many index entries of a status are counted of a larger table."""
_RUNNING = 10


async def gather(settings: ConsumerSettings, *, small: int = SMALL, most: int = MOST) -> Status:
    """Ask both servers; raises a Problem when one of them cannot be reached."""
    with connected(settings, "status") as connection:
        counted = _counted(connection, small, most)
        pending = _rows(connection, "status_tasks_pending")
        running = _rows(connection, "status_tasks_running", limit=_RUNNING)
        ((lease_over,),) = _rows(connection, "status_tasks_lease")
        ((completed, seconds),) = _rows(connection, "status_tasks_completed", limit=most)
        due = _rows(connection, "status_tasks_due")
    queues = await _depths(settings)
    return Status(
        counted,
        next((Waiting(*row) for row in pending), None),
        [Running(*row) for row in running],
        lease_over,
        completed if seconds is None else completed * 60 / max(seconds, 0.001),
        next((Due(*row) for row in due), None),
        *queues,
    )


def _rows(connection: psycopg.Connection[Any], query: str, **parameters: object) -> list[tuple[Any, ...]]:
    return connection.execute(sql.query(query), parameters or None).fetchall()


def _counted(connection: psycopg.Connection[Any], small: int, most: int) -> Counted:
    ((countable,),) = _rows(connection, "status_tasks_small", bytes=small)
    if countable:
        tasks, types = _summed(_rows(connection, "status_tasks_exact"))
        return Counted(tasks, [], types)
    tasks, types = _summed(_rows(connection, "status_tasks_open", limit=most))
    estimates = dict(_rows(connection, "status_tasks_estimated"))
    estimated = {status for status, count in tasks.items() if count >= most} | (set(estimates) - set(tasks))
    estimated -= {"pending", "scheduled", "dead", "running", "cancelling"} - set(tasks)  # an exact 0
    for status in estimated:
        tasks[status] = max(tasks.get(status, 0), estimates.get(status, 0))
    return Counted(dict(sorted(tasks.items())), sorted(estimated), types)


def _summed(rows: Iterable[tuple[str, str, int]]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    tasks: dict[str, int] = defaultdict(int)
    types: dict[str, dict[str, int]] = defaultdict(dict)
    for status, type_, count in rows:
        tasks[status] += count
        types[status][type_] = count
    return dict(tasks), dict(types)


async def _depths(settings: ConsumerSettings) -> list[QueueDepth]:
    connection = await Connection.open(
        settings.amqp_url.get_secret_value(), name="consumers status", tls=settings.tls()
    )
    try:
        names = [settings.queue, *([] if settings.events_queue is None else [settings.events_queue])]
        return [await _depth(connection, each) for name in names for each in (name, dead_letter_queue(name))]
    finally:
        await connection.close()


async def _depth(connection: Connection, name: str) -> QueueDepth:
    channel = await connection.channel()
    try:
        answer = await connection.call(channel.queue_declare, name, passive=True)
    except ChannelRefused:
        return QueueDepth(name, None, None)
    return QueueDepth(name, answer.message_count, answer.consumer_count)
