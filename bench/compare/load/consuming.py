"""Consumes a queue and applies what it gets: a process (`python -m bench.compare.load.consuming`).

It appends a line for each message to a file: id, when it arrived, when the transaction that applied it was committed.
A message of a peer that sets no message id has the event's id in a header; then the message id, or `-` without one, is
the fourth word of its line.
Its clock is the one of the writers, since all run on one machine.

It outlives the broker: it consumes again when that is back. What RabbitMQ delivers again because the connection was
lost is no duplicate of the relay's, and gets no second line.
"""

import asyncio
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import psycopg

from bench.compare.run.judging import NO_ID
from bench.load import programs
from outboxkit import sql
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.consuming.subscription import Subscription
from outboxkit.amqp.format import NAMES
from outboxkit.errors import Problem

_PREFETCH = 2000
_AGAIN_AFTER = 0.2
EVENT_ID = "id"
"""The header of a peer's message that has the id of the event, where its message id is another one, or none."""
SCHEDULED = "number"
"""The header of an event that a schedule has. What has none is a backlog's: it is noted, and not applied."""


class Consumer:
    """Notes what arrives in `lines`, and applies it over `connection`."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], lines: TextIO) -> None:
        self._connection = connection
        self._lines = lines
        self._seen: set[tuple[str, str]] = set()

    async def consume(self, subscription: Subscription) -> None:
        """Take deliveries until the channel is lost, which raises a Problem."""
        while True:
            deliveries = await subscription.receive(_PREFETCH)
            at = time.time()
            await self._apply(deliveries)
            applied_at = time.time()
            for delivery in deliveries:
                subscription.ack(delivery)
            self._note(deliveries, at, applied_at)

    async def _apply(self, deliveries: Sequence[Delivery]) -> None:
        headers = [each.headers for each in deliveries if each.headers is not None and SCHEDULED in each.headers]
        if headers:
            columns = {
                "aggregates": [str(each[NAMES.aggregate_id]) for each in headers],
                "versions": [each[NAMES.aggregate_version] for each in headers],
            }
            await self._connection.execute(sql.example("bench_compare_apply"), columns)

    def _note(self, deliveries: Sequence[Delivery], at: float, applied_at: float) -> None:
        for delivery in deliveries:
            event_id, other = named(delivery)
            if delivery.redelivered and (event_id, other) in self._seen:
                continue
            self._seen.add((event_id, other))
            self._lines.write(f"{event_id} {at:.6f} {applied_at:.6f}{other}\n")
        self._lines.flush()


def named(delivery: Delivery) -> tuple[str, str]:
    """Return the id of the event, and the message id as the end of a line if it is another one. Pure."""
    message_id = str(delivery.message_id or NO_ID).replace(" ", "_")
    event_id = str((delivery.headers or {}).get(EVENT_ID, message_id))
    return event_id, "" if event_id == message_id else f" {message_id}"


async def run(*, amqp_url: str, database_url: str, queue: str, lines: TextIO) -> None:
    """Consume until SIGTERM; an empty line is written as soon as the queue is consumed for the first time."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        consuming = asyncio.create_task(_consume(Consumer(connection, lines), amqp_url, queue, lines))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([consuming, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        consuming.cancel()
        with suppress(asyncio.CancelledError):
            await consuming


async def _consume(consumer: Consumer, amqp_url: str, queue: str, lines: TextIO) -> None:
    begun = False
    while True:
        with suppress(Problem):
            connection = await Connection.open(amqp_url, name="bench consuming")
            try:
                subscription = await Subscription.open(connection, queue, prefetch=_PREFETCH)
                if not begun:
                    lines.write("\n")
                    lines.flush()
                    begun = True
                await consumer.consume(subscription)
            finally:
                with suppress(Problem):
                    await connection.close()
        await asyncio.sleep(_AGAIN_AFTER)


def main(arguments: dict[str, Any]) -> None:
    """Call `run` with `arguments`, and append to the file `lines`."""
    with Path(arguments.pop("lines")).open("a", encoding="ascii") as lines:
        asyncio.run(run(**arguments, lines=lines))


if __name__ == "__main__":
    main(programs.arguments())
