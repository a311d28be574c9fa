"""The composition root: the only file that builds concrete parts.

Order at start: Postgres and the broker are both asked before anything is read, so that a wrong setting ends the
process with its reason instead of being tried for ever. Order at the end (SIGTERM, SIGINT): stop reading, let what is
in flight be confirmed, report it as flushed, store the checkpoint, close the stream, close the broker's connection.
"""

import asyncio
import signal
import sys

import structlog

from relay.checkpoint import CheckpointStore
from relay.engine import Engine
from relay.publishing.lines import LinePublisher
from relay.publishing.publisher import RabbitPublisher
from relay.routing import Router
from relay.settings import RelaySettings
from relay.sources.wal import WalSource
from runtime.errors import Problem

log = structlog.get_logger()

_PARTITIONS_EVERY = 3600.0


async def run(settings: RelaySettings, *, stdout: bool) -> None:
    """Relay until a signal comes; raises a Problem that trying again cannot help.

    With `stdout`, messages are written as lines instead of published, and neither slot nor checkpoint moves.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database_url = settings.database_url.get_secret_value()
    async with CheckpointStore(database_url, name=settings.name, slot=settings.slot) as store:
        await store.facts()
        source = WalSource(database_url, store, slot=settings.slot, name=settings.name, read_only=stdout)
        router = Router(settings.exchange, settings.routing_key)
        if stdout:
            await Engine(source, router, LinePublisher(sys.stdout)).run(stop)
            return
        publisher = RabbitPublisher(
            settings.amqp_url.get_secret_value(),
            name=settings.name,
            exchange=settings.exchange,
            window=settings.max_in_flight,
        )
        await publisher.connect()
        partitions = asyncio.create_task(_keep_partitions(store))
        try:
            await Engine(source, router, publisher).run(stop)
        finally:
            partitions.cancel()


async def _keep_partitions(store: CheckpointStore) -> None:
    """Keep a week of outbox partitions ahead; rows of a missing day would go to the default partition meanwhile."""
    while True:
        try:
            await store.create_partitions()
        except Problem as problem:
            log.warning("partitions not made", reason=problem.what, remedy="it is tried again within the hour")
        await asyncio.sleep(_PARTITIONS_EVERY)
