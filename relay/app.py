"""The composition root: the only file that builds concrete parts.

Order at start: Postgres and the broker are both asked before anything is read, so that a wrong setting ends the
process with its reason instead of being tried without end. Order at the end (SIGTERM, SIGINT): stop reading, wait for
the confirms of what is in flight, report it as flushed, store the position, close the stream, end the background tasks
and with them the broker's connection, close the sessions with Postgres.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from urllib.parse import quote

from outboxkit.errors import ConfigurationProblem
from relay.core.engine import Engine, Timings
from relay.core.fencing import Fencing
from relay.core.observations import Observation
from relay.core.ports import Publisher
from relay.core.routing import Router
from relay.core.supervisor import Supervisor
from relay.maintenance import guardian, partitions
from relay.publishing.json_lines import JsonLinesPublisher
from relay.publishing.link import Broker
from relay.publishing.publisher import Policy, RabbitPublisher
from relay.settings import RelaySettings
from relay.sources import tables
from relay.sources.layout import Layout, layout
from relay.sources.wal.decoders.decoding import Decoder
from relay.sources.wal.decoders.decoding import decoder as choose
from relay.sources.wal.opening import Decoding
from relay.sources.wal.source import SlotRequest, WalSource
from relay.sources.wal.stream import Writing
from relay.storage.facts import Facts, System, TableFacts
from relay.storage.fence import FenceWriter
from relay.storage.parking import PostgresParking
from relay.storage.position import Identity, StoredPosition
from relay.storage.server import Server
from relay.storage.session import Session
from relay.storage.slot import SlotView
from relay.watching.health import serve
from relay.watching.logbook import Logbook
from relay.watching.metrics import Metrics

# wal_sender_timeout's own default, for a server whose timeout is off.
_WAL_SENDER_TIMEOUT = 60.0


async def run(fresh: Callable[[], RelaySettings], *, stdout: bool = False) -> None:
    """Relay until a signal comes; raises a Problem that trying again cannot help.

    `fresh` reads the settings; it is called again at each connect, so that a changed secret file is picked up. With
    `stdout`, messages are written as lines instead of published, and neither slot nor stored position moves.
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

    def session(purpose: str) -> Session:
        return Session(database_url, name=f"{settings.name} {purpose}", slot=settings.slot)

    async with AsyncExitStack() as stack:
        # Apart, so that one that waits for a lock or for a silent server holds up none of the others.
        checkpoint = await stack.enter_async_context(session("checkpoint"))
        upkeep = await stack.enter_async_context(session("upkeep"))
        parking = await stack.enter_async_context(session("parking"))
        server = Server(checkpoint, name=settings.name, slot=settings.slot, table=settings.outbox_table)
        facts = await server.facts()
        supervisor = await stack.enter_async_context(Supervisor(observe))
        fencing = Fencing((facts.wal_sender_timeout_ms / 1000 or _WAL_SENDER_TIMEOUT) / 3)
        publisher: Publisher
        if stdout:
            publisher = JsonLinesPublisher(sys.stdout)
        else:
            publisher = rabbit = RabbitPublisher(broker, _policy(settings), observe, fenced=fencing.fenced)
            await rabbit.connect()
            if settings.traces:
                publisher = stack.enter_context(_traced(rabbit, settings.name))
        source = WalSource(
            database_url,
            server,
            SlotRequest(settings.slot, settings.name, settings.plugin),
            decoding(settings),
            writing=None if stdout else _writing(settings, StoredPosition(checkpoint), FenceWriter(upkeep)),
            observe=observe,
        )
        engine = Engine(
            source,
            router(settings),
            publisher,
            PostgresParking(parking, relay=settings.name, outbox=settings.outboxes[0]),
            fencing=fencing,
            supervisor=supervisor,
            observe=observe,
            timings=Timings(release_slot_after=settings.release_slot_after),
        )
        if not stdout:
            address, ready_lag = settings.http_address, settings.ready_lag
            await stack.enter_async_context(serve(address, metrics, publisher.in_flight, ready_lag=ready_lag))
            look = guardian.Guardian(SlotView(upkeep, slot=settings.slot, relay=settings.name), observe).look
            supervisor.repeat("the state of the slot", look, every=guardian.WATCH_EVERY)
            supervisor.repeat("partitions", partitions.Partitions(upkeep).make, every=partitions.MAKE_EVERY)
        _tune_collector()
        await engine.run(stop)


def _writing(
    settings: RelaySettings, positions: StoredPosition, fences: FenceWriter
) -> Callable[[System, str], Writing]:
    """Return what gives a stream what it writes, from the system that it reads and the slot's plugin."""

    def writing(system: System, plugin: str) -> Writing:
        identity = Identity(
            name=settings.name,
            slot=settings.slot,
            plugin=plugin,
            outboxes=settings.outboxes,
            system_identifier=system.identifier,
            timeline=system.timeline,
        )
        return Writing(identity, positions, fences)

    return writing


def _tune_collector() -> None:
    """Exclude what lives as long as the process from the cyclic collector, and run it less often.

    Events make no cycles, but they are counted: a run for each 700 new objects takes a tenth of the CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def router(settings: RelaySettings) -> Router:
    """Return what makes messages from events."""
    source = f"/outbox/{quote(settings.name)}" if settings.format == "cloudevents" else None
    return Router(settings.exchange, settings.routing_key, cloudevents_source=source)


def _traced(publisher: Publisher, name: str) -> AbstractContextManager[Publisher]:
    try:
        from relay.publishing import tracing  # noqa: PLC0415 - an extra, which takes time to load
    except ImportError as error:
        raise ConfigurationProblem(
            f"RELAY_TRACES needs OpenTelemetry, and {error.name} is not installed",
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


def decoding(settings: RelaySettings) -> Decoding:
    """Return how the outbox is decoded."""

    def outbox(*, partitioned: bool) -> Layout:
        return layout(settings.outbox_layout, settings.outbox_table, settings.outbox_columns, partitioned=partitioned)

    def decoder(plugin: str, facts: Facts) -> tuple[Decoder, Mapping[str, str]]:
        table = outbox(partitioned=facts.partitioned)
        return choose(plugin, table, settings.message_prefix, publication=settings.slot, relay=settings.name)

    def examine(found: TableFacts | None, plugin: str) -> None:
        if settings.message_prefix is None:
            tables.check(found, outbox(partitioned=found is not None and found.partitioned), plugin=plugin)

    return Decoding(decoder, examine)
