"""Builds the parts of the event consumer, as app.py builds those of the worker; nothing else in the package does.

async with consuming(fresh, event_handlers, metrics.registry, name=name, grace=grace) as events:
await events.run(stop)
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import structlog
from prometheus_client import CollectorRegistry
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from consumers.errors import HandlersUnusable
from consumers.events.applying.attempts import Attempts
from consumers.events.applying.parking import Parking
from consumers.events.declaring.registry import EventHandlers
from consumers.events.running.arrivals import Arrivals
from consumers.events.running.policy import Policy
from consumers.events.running.reading import Reading
from consumers.events.running.settling import Settling
from consumers.events.running.worker import EventWorker
from consumers.intake.intake import Intake
from consumers.intake.pace import Pace
from consumers.postgres.connecting import PREPARE_THRESHOLD, address
from consumers.postgres.database import Database
from consumers.settings import ConsumerSettings
from consumers.watching.event_metrics import EventMetrics
from outboxkit.amqp.answers import preconditions
from outboxkit.amqp.answers.answer import NOT_FOUND
from outboxkit.amqp.asking import Channel, tried
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.subscription import Subscription
from outboxkit.amqp.errors import ChannelRefused, PreconditionFailed
from outboxkit.amqp.topology import declare_queue, declare_unbound
from outboxkit.amqp.turn import Turn

log = structlog.get_logger()
_CONNECT_SECONDS = 10.0
_POOL_CLOSES_WITHIN = 1.0


@contextlib.asynccontextmanager
async def consuming(
    fresh: Callable[[], ConsumerSettings],
    handlers: EventHandlers,
    registry: CollectorRegistry,
    *,
    name: str,
    grace: float,
) -> AsyncIterator[EventWorker | None]:
    """Yield what applies events with `handlers`, subscribed to the queue; None if there are no handlers.

    Raises HandlersUnusable if there are some and CONSUMERS_EVENTS_QUEUE is not set.
    """
    settings = fresh()
    queue = settings.events_queue
    if not len(handlers):
        if queue is not None:
            log.warning(
                "no event handlers",
                queue=queue,
                remedy="CONSUMERS_EVENTS_QUEUE is set: decorate a function with @on in the module CONSUMERS_HANDLERS, "
                "or unset it; events stay in the queue meanwhile",
            )
        yield None
        return
    if queue is None:
        raise HandlersUnusable(
            f"CONSUMERS_EVENTS_QUEUE is not set, and event handlers are registered: {', '.join(_names(handlers))}",
            remedy="set it to the name of a queue for this application alone, such as billing.events: two applications "
            "with one queue would take events from each other",
        )
    patterns = list(dict.fromkeys(pattern for handler in handlers for pattern in handler.patterns))
    turn = Turn()
    metrics = EventMetrics(registry)

    async def subscribed(prefetch: int) -> Subscription:
        return await _subscribe(fresh(), queue, patterns, name=name, turn=turn, prefetch=prefetch)

    def url() -> str:
        return fresh().database_url.get_secret_value()

    def connect() -> str:
        return address(url(), name=f"consumers events {name}")

    pace = None
    if not settings.events_single_active:
        pace = Pace(concurrency=settings.concurrency, cap=max(settings.events_prefetch, settings.concurrency))
    async with (
        Database(url, name=f"consumers parked events {name}") as database,
        Intake(subscribed, prefetch=settings.events_prefetch if pace is None else pace.prefetch) as intake,
        _pools(connect, settings.concurrency) as (on_loop, in_threads),
    ):
        policy = Policy(
            settings.events_attempts, settings.events_retry_after, settings.events_retry_cap, settings.events_gap_wait
        )
        parking = Parking(database)
        log.info("consuming events", queue=queue, handlers=_names(handlers), patterns=patterns)
        yield EventWorker(
            intake,
            handlers=list(handlers),
            arrivals=Arrivals(
                intake,
                Reading(list(handlers), queue),
                metrics,
                keep_unhandled=settings.events_unhandled == "dead-letter",
            ),
            attempts=Attempts(on_loop, in_threads),
            settling=Settling(policy, parking, metrics),
            parking=parking,
            metrics=metrics,
            concurrency=settings.concurrency,
            grace=grace,
            pace=pace,
        )


async def _subscribe(  # noqa: PLR0913 - the parts of a subscription
    settings: ConsumerSettings, queue: str, patterns: list[str], *, name: str, turn: Turn, prefetch: int
) -> Subscription:
    """Connect, declare and bind the queue, and consume it; the caller closes the subscription's connection."""
    connection = await Connection.open(
        settings.amqp_url.get_secret_value(), name=f"consumers events {name}", tls=settings.tls(), turn=turn
    )
    declare = _declare if settings.events_bind else _declare_bound
    try:
        await declare(connection, settings, queue, patterns)
        return await Subscription.open(connection, queue, prefetch=prefetch)
    except BaseException:
        await connection.close()
        raise


async def _declare(connection: Connection, settings: ConsumerSettings, queue: str, patterns: list[str]) -> None:
    channel = await connection.channel()
    try:
        await declare_queue(
            connection,
            channel,
            queue,
            exchange=settings.exchange,
            binding_key=patterns[0],
            more_keys=patterns[1:],
            single_active=settings.events_single_active,
        )
    except PreconditionFailed as refused:
        raise PreconditionFailed(refused.what, remedy=preconditions.remedy_of_events(refused.what)) from refused
    channel.close()


async def _declare_bound(connection: Connection, settings: ConsumerSettings, queue: str, _: list[str]) -> None:
    """Declare a queue that others have declared and bound: nothing changes, and one of another kind is refused.

    If it is missing it is not made, since no events would come to it.
    """

    async def there(channel: Channel) -> None:
        await connection.call(channel.queue_declare, queue, passive=True)

    if (await tried(connection, there)).code == NOT_FOUND:
        raise ChannelRefused(
            f"queue {queue!r} does not exist, and CONSUMERS_EVENTS_BIND is false",
            remedy=preconditions.NO_TOPOLOGY_QUEUE,
        )
    channel = await connection.channel()
    try:
        await declare_unbound(connection, channel, queue, single_active=settings.events_single_active)
    except PreconditionFailed as refused:
        raise PreconditionFailed(refused.what, remedy=preconditions.remedy_of_topology(refused.what)) from refused
    channel.close()


def _names(handlers: EventHandlers) -> list[str]:
    return sorted(handler.name for handler in handlers)


@contextlib.asynccontextmanager
async def _pools(
    connect: Callable[[], str], size: int
) -> AsyncIterator[tuple[AsyncConnectionPool[psycopg.AsyncConnection[Any]], ConnectionPool[psycopg.Connection[Any]]]]:
    """Yield the sessions of async handlers and those of others, at most `size` of each."""

    async def fresh_address() -> str:
        return connect()

    options: dict[str, Any] = {
        "kwargs": {"autocommit": True, "prepare_threshold": PREPARE_THRESHOLD},
        "min_size": 0,
        "max_size": size,
        "timeout": _CONNECT_SECONDS,
        "reconnect_timeout": _CONNECT_SECONDS,
        "open": False,
    }
    on_loop = AsyncConnectionPool(
        fresh_address, connection_class=psycopg.AsyncConnection[Any], name="async event handlers", **options
    )
    in_threads = ConnectionPool(connect, connection_class=psycopg.Connection[Any], name="event handlers", **options)
    await on_loop.open()
    in_threads.open()
    try:
        yield on_loop, in_threads
    finally:
        in_threads.close(timeout=_POOL_CLOSES_WITHIN)
        await on_loop.close(timeout=_POOL_CLOSES_WITHIN)
