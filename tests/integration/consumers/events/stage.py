"""A database and a broker for handlers of events: in the test's own loop, or in `consumers run` as a process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import pika
import psycopg
from pika.frame import Method
from prometheus_client import CollectorRegistry

from consumers.events.composition import consuming
from consumers.events.declaring.event import Event
from consumers.events.declaring.registry import EventHandlers
from consumers.events.running.worker import EventWorker
from consumers.settings import ConsumerSettings
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import dead_letter_queue, declare_exchange
from sandbox import Isolated
from tests.support.commands import Command

APPLIED: LiteralString = """
    CREATE TABLE applied (number bigint GENERATED ALWAYS AS IDENTITY, handler text NOT NULL, message_id text NOT NULL,
                          aggregate_id text NOT NULL, version bigint NOT NULL, by text NOT NULL DEFAULT '')
"""
INSERT: LiteralString = (
    "INSERT INTO applied (handler, message_id, aggregate_id, version, by) VALUES (%s, %s, %s, %s, %s)"
)

# The parameters of inbox_park.sql.
PARKED = {
    "consumer": "h",
    "message_id": "2",
    "by_version": False,
    "aggregate_type": "order",
    "aggregate_id": "1",
    "aggregate_version": 2,
    "event_type": "paid",
    "routing_key": "order.paid",
    "created_at": None,
    "headers": "{}",
    "body": b"{}",
    "reason": "failed",
    "error": "e",
    "committed": False,
}


def row(handler: str, event: Event, by: str = "") -> tuple[object, ...]:
    """Return the parameters of INSERT; the table has no unique key, so that what is applied twice has two rows."""
    return handler, event.id, event.aggregate_id, event.aggregate_version, by


@dataclass(frozen=True)
class Sent:
    """A message to be published."""

    aggregate_id: str
    version: int
    kind: str = "changed"
    aggregate_type: str = "order"
    id: str | None = field(default_factory=lambda: str(uuid4()))
    body: bytes = b'{"total": 120}'
    headers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def routing_key(self) -> str:
        return f"{self.aggregate_type}.{self.kind}"

    def properties(self) -> pika.BasicProperties:
        headers = {
            "aggregate_type": self.aggregate_type,
            "aggregate_id": self.aggregate_id,
            "aggregate_version": self.version,
            "seq": 1,
            **self.headers,
        }
        return pika.BasicProperties(
            content_type="application/json",
            headers=headers,
            delivery_mode=2,
            message_id=self.id,
            timestamp=1_700_000_000,
            type=self.kind,
        )


def aggregate(name: str, versions: Iterable[int]) -> list[Sent]:
    """Return the events of one aggregate."""
    return [Sent(name, version) for version in versions]


class Stage:
    """What a test of event handlers has."""

    def __init__(self, isolated: Isolated) -> None:
        self.isolated = isolated
        self.queue = isolated.queue("events")
        isolated.queue("tasks")
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            connection.execute(APPLIED)
        self.settings: dict[str, Any] = {
            "database_url": isolated.database_url,
            "amqp_url": isolated.amqp_url,
            "exchange": isolated.name,
            "events_queue": self.queue,
        }
        self.registry = CollectorRegistry()
        self.stop = asyncio.Event()
        """Is set when the worker ends."""

    def command(self, directory: Path, *arguments: str, **settings: str) -> Command:
        """Start `consumers` with `arguments`; the caller ends it."""
        environment = {f"CONSUMERS_{name.upper()}": str(value) for name, value in {**self.settings, **settings}.items()}
        return Command(uuid4().hex, ["consumers", *arguments], environment, directory)

    @asynccontextmanager
    async def running(
        self, handlers: EventHandlers, *, grace: float = 10, **settings: object
    ) -> AsyncIterator[EventWorker]:
        """Apply events with `handlers` during the block, and drain at its end."""
        self.registry = CollectorRegistry()
        read = ConsumerSettings(**{**self.settings, **settings})
        await self.declare_exchange()
        async with consuming(lambda: read, handlers, self.registry, name="test", grace=grace) as worker:
            assert worker is not None
            stop = self.stop = asyncio.Event()
            running = asyncio.create_task(worker.run(stop))
            try:
                yield worker
            finally:
                stop.set()
                await running

    async def declare_exchange(self) -> None:
        connection = await Connection.open(self.isolated.amqp_url, name="test")
        await declare_exchange(connection, await connection.channel(), self.isolated.name)
        await connection.close()

    async def publish(self, messages: Sequence[Sent], *, queue: str | None = None) -> None:
        """Publish `messages` in this order, or put them straight into `queue`."""
        connection = await Connection.open(self.isolated.amqp_url, name="test")
        channel = await connection.channel()
        unconfirmed = set(range(1, len(messages) + 1))
        confirmed = asyncio.Event()

        def on_confirm(frame: "Method[Any]") -> None:
            tag = frame.method.delivery_tag
            unconfirmed.difference_update(range(1, tag + 1) if frame.method.multiple else [tag])
            if not unconfirmed:
                confirmed.set()

        await connection.call(channel.confirm_delivery, on_confirm)
        for message in messages:
            exchange, key = (self.isolated.name, message.routing_key) if queue is None else ("", queue)
            channel.basic_publish(exchange, key, message.body, message.properties())
        async with asyncio.timeout(30):
            await confirmed.wait()
        await connection.close()

    def rows(self, statement: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """Return what `statement` returns."""
        with psycopg.connect(self.isolated.database_url, autocommit=True) as connection:
            return connection.execute(statement, parameters).fetchall()

    def applied(self, handler: str) -> list[tuple[str, int]]:
        """Return aggregate and version of what a handler applied, in this order."""
        return self.rows("SELECT aggregate_id, version FROM applied WHERE handler = %s ORDER BY number", handler)

    def parked(self) -> list[tuple[Any, ...]]:
        """Return handler, version, reason and number of what waits in inbox.parked."""
        return self.rows(
            "SELECT consumer, aggregate_version, reason, number FROM inbox.parked"
            " WHERE applied_at IS NULL AND discarded_at IS NULL ORDER BY number"
        )

    def counted(self, handler: str, outcome: str) -> float:
        """Return a counter of the worker that ran last."""
        labels = {"handler": handler, "outcome": outcome}
        return self.registry.get_sample_value("consumers_events_total", labels) or 0.0

    async def until(self, statement: LiteralString, expected: object, *, seconds: float = 30) -> None:
        """Wait until `statement` returns one row of the one value `expected`."""
        found: list[tuple[Any, ...]] = []

        async def look() -> bool:
            found[:] = await asyncio.to_thread(self.rows, statement)
            return found == [(expected,)]

        try:
            await wait(look, seconds=seconds)
        except TimeoutError as error:
            raise AssertionError(f"{statement} returns {found} and not {expected}") from error

    async def counts(self, handler: str, outcome: str, expected: float) -> None:
        """Wait until a counter of the worker that runs is at least `expected`."""

        async def look() -> bool:
            return self.counted(handler, outcome) >= expected

        await wait(look)

    async def dead(self, expected: int) -> None:
        """Wait until so many messages were dead-lettered."""

        async def look() -> bool:
            return await self.messages() == expected

        await wait(look)

    async def messages(self, queue: str | None = None) -> int:
        """Return how many messages are ready in `queue`, by default the events' dead-letter queue."""
        connection = await Connection.open(self.isolated.amqp_url, name="test")
        try:
            channel = await connection.channel()
            name = queue or dead_letter_queue(self.queue)
            return int((await connection.call(channel.queue_declare, name, passive=True)).message_count)
        finally:
            await connection.close()


async def wait(look: Callable[[], Awaitable[bool]], *, seconds: float = 30) -> None:
    """Wait until `look` returns true."""
    async with asyncio.timeout(seconds):
        while not await look():  # noqa: ASYNC110 - a row, a queue or a metric tells nobody that it changes
            await asyncio.sleep(0.02)
