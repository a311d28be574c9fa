"""The composition root: the only file that builds concrete parts.

Order at start: Postgres and the broker are both asked before anything is read, so that a wrong setting ends the
process with its reason instead of being tried for ever. Order at the end (SIGTERM, SIGINT): stop reading, let what is
in flight be confirmed, report it as flushed, store the checkpoint, close the stream, close the broker's connection.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from urllib.parse import quote

from outboxkit.errors import ConfigurationProblem
from relay.core.engine import Engine
from relay.core.fencing import Fencing
from relay.core.observations import Observation
from relay.core.ports import Publisher
from relay.core.routing import Router
from relay.maintenance import guardian
from relay.publishing.json_lines import JsonLinesPublisher
from relay.publishing.publisher import Broker, Policy, RabbitPublisher
from relay.settings import RelaySettings
from relay.sources import tables
from relay.sources.layout import Layout, layout
from relay.sources.wal.decoders.decoding import Decoder
from relay.sources.wal.decoders.decoding import decoder as choose
from relay.sources.wal.source import Reading, WalSource
from relay.storage.checkpoint import CheckpointStore
from relay.storage.facts import Facts, TableFacts
from relay.storage.parking import PostgresParking
from relay.watching.logbook import Logbook
from relay.watching.metrics import Metrics, serve

# wal_sender_timeout's own default, for a server that has none.
_STANDSTILL_WITHOUT_TIMEOUT = 60.0


async def run(fresh: Callable[[], RelaySettings], *, stdout: bool = False) -> None:
    """Relay until a signal comes; raises a Problem that trying again cannot help.

    `fresh` reads the settings; it is called again at each connect, so that a changed secret file is picked up. With
    `stdout`, messages are written as lines instead of published, and neither slot nor checkpoint moves.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings = fresh()
    logbook, metrics = Logbook(), Metrics()

    def observe(seen: Observation) -> None:
        logbook(seen)
        metrics(seen)

    def database_url() -> str:
        return fresh().database_url.get_secret_value()

    def broker() -> Broker:
        now = fresh()
        return Broker(now.amqp_url.get_secret_value(), now.tls())

    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            CheckpointStore(database_url, name=settings.name, slot=settings.slot, table=settings.outbox_table)
        )
        facts = await store.facts()
        fencing = Fencing((facts.wal_sender_timeout_ms / 1000 or _STANDSTILL_WITHOUT_TIMEOUT) / 3)
        publisher: Publisher
        if stdout:
            publisher = JsonLinesPublisher(sys.stdout)
        else:
            publisher = rabbit = RabbitPublisher(broker, _policy(settings), observe, fenced=fencing.fenced)
            await rabbit.connect()
            if settings.traces:
                publisher = stack.enter_context(_traced(rabbit, settings.name))
        engine = Engine(
            WalSource(database_url, store, reading(settings, read_only=stdout), observe),
            router(settings),
            publisher,
            PostgresParking(store, relay=settings.name),
            fencing=fencing,
            observe=observe,
            release_slot_after=settings.release_slot_after,
        )
        if not stdout:
            await stack.enter_async_context(
                serve(settings.http_address, metrics, publisher.in_flight, ready_lag=settings.ready_lag)
            )
            for work in (guardian.watch(store, observe), guardian.keep_partitions(store, observe)):
                stack.callback(asyncio.create_task(work).cancel)
        _tune_collector()
        await engine.run(stop)


def _tune_collector() -> None:
    """Let the cyclic collector pass over what lives as long as the process, and look for cycles less often.

    What flows through the relay makes none, and is counted: a run for each 700 new objects costs a tenth of the CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def router(settings: RelaySettings) -> Router:
    """Return what makes messages of events."""
    source = f"/outbox/{quote(settings.name)}" if settings.format == "cloudevents" else None
    return Router(settings.exchange, settings.routing_key, cloudevents_source=source)


def _traced(publisher: Publisher, name: str) -> AbstractContextManager[Publisher]:
    try:
        from relay.publishing import tracing  # noqa: PLC0415 - an extra: whoever does without it pays nothing for it
    except ImportError as error:
        raise ConfigurationProblem(
            f"RELAY_TRACES needs OpenTelemetry, and there is no {error.name}",
            remedy="pip install 'outbox-relay[otel]', or unset RELAY_TRACES",
        ) from error
    return tracing.traced(publisher, name=name)


def _policy(settings: RelaySettings) -> Policy:
    return Policy(
        name=settings.name,
        exchange=settings.exchange,
        window=settings.max_in_flight,
        max_message_bytes=settings.max_message_bytes,
        on_return=settings.on_return,
        confirm_timeout=settings.confirm_timeout,
    )


def reading(settings: RelaySettings, *, read_only: bool) -> Reading:
    """Return how the outbox is read; with `read_only`, slot and checkpoint stay where they are."""

    def outbox(*, partitioned: bool) -> Layout:
        return layout(settings.outbox_layout, settings.outbox_table, settings.outbox_columns, partitioned=partitioned)

    def decoder(plugin: str, facts: Facts) -> tuple[Decoder, Mapping[str, str]]:
        table = outbox(partitioned=facts.partitioned)
        return choose(plugin, table, settings.message_prefix, publication=settings.slot)

    def examine(found: TableFacts | None, plugin: str) -> None:
        if settings.message_prefix is None:
            tables.check(found, outbox(partitioned=found is not None and found.partitioned), plugin=plugin)

    return Reading(
        slot=settings.slot,
        name=settings.name,
        decoder=decoder,
        examine=examine,
        plugin=settings.plugin,
        read_only=read_only,
    )
