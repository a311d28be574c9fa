"""The composition root: the only file that builds concrete parts.

Order at start: Postgres and the broker are both asked before anything is read, so that a wrong setting ends the
process with its reason instead of being tried without end. Order at the end (SIGTERM, SIGINT): stop reading, wait for
the confirms of what is in flight, store the position, report it as flushed, close the stream, end the background tasks
and with them the broker's connection, close the sessions with Postgres.
"""

import gc
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from urllib.parse import quote

from outboxkit.errors import ConfigurationProblem
from outboxkit.process.service import Stop
from relay.core.engine import Engine, Timings
from relay.core.lifetime.fencing import Fencing
from relay.core.lifetime.shutdown import Shutdown
from relay.core.lifetime.supervisor import Supervisor
from relay.core.observations import NotDrained, Observation
from relay.core.ports import Publisher
from relay.core.routing import Router
from relay.maintenance import guardian, partitions
from relay.publishing.json_lines import JsonLinesPublisher
from relay.publishing.link import Broker
from relay.publishing.publisher import Policy, RabbitPublisher
from relay.settings import RelaySettings
from relay.sources import tables
from relay.sources.layout import Layout
from relay.sources.wal.decoders.decoding import Decoder
from relay.sources.wal.decoders.decoding import decoder as choose
from relay.sources.wal.decoders.relations import Relations
from relay.sources.wal.opening import Decoding
from relay.sources.wal.source import WalSource
from relay.sources.wal.stream import Writing
from relay.storage.facts import TableFacts
from relay.storage.fence import FenceWriter
from relay.storage.parking import PostgresParking
from relay.storage.position import StoredPosition
from relay.storage.server import Server
from relay.storage.session import Session
from relay.storage.shutdown import ShutdownWatch
from relay.storage.slot import SlotView
from relay.watching.health import serve
from relay.watching.logbook import Logbook
from relay.watching.metrics import About, Metrics


async def run(fresh: Callable[[], RelaySettings], stop: Stop, *, stdout: bool = False) -> None:
    """Relay until `stop` is set; raises a Problem that trying again cannot help.

    `fresh` reads the settings; it is called again at each connect, so that a changed secret file is picked up. With
    `stdout`, messages are written as lines instead of published, and neither slot nor stored position moves.
    """
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

    shutdown = Shutdown()
    ended = ShutdownWatch(shutdown.announce).ended

    def session(purpose: str) -> Session:
        return Session(database_url, name=f"{settings.name} {purpose}", slot=settings.slot, ended=ended)

    async with AsyncExitStack() as stack:
        # Apart, so that one that waits for a lock or for a silent server holds up none of the others.
        checkpoint = await stack.enter_async_context(session("checkpoint"))
        upkeep = await stack.enter_async_context(session("upkeep"))
        parking = await stack.enter_async_context(session("parking"))
        server = Server(checkpoint, name=settings.name, slot=settings.slot, table=settings.table)
        facts = await server.facts()
        metrics.identify(About(settings.name, settings.slot, facts.database, facts.system_identifier))
        supervisor = await stack.enter_async_context(Supervisor(observe))
        fencing = Fencing()
        publisher: Publisher
        if stdout:
            publisher = JsonLinesPublisher(sys.stdout)
        else:
            publisher = rabbit = RabbitPublisher(broker, _policy(settings), observe, fenced=fencing.holds)
            await rabbit.connect()
            if settings.traces:
                publisher = stack.enter_context(_traced(rabbit, settings.name))
        source = WalSource(
            database_url,
            server,
            settings.owner,
            decoding(settings),
            plugin=settings.plugin,
            writing=None
            if stdout
            else Writing(StoredPosition(checkpoint, settings.owner), FenceWriter(upkeep, table=settings.table)),
            observe=observe,
        )
        engine = Engine(
            source,
            router(settings),
            publisher,
            PostgresParking(parking, relay=settings.name, outbox=settings.outboxes[0]),
            fencing=fencing,
            shutdown=shutdown,
            supervisor=supervisor,
            observe=observe,
            timings=Timings(release_slot_after=settings.release_slot_after, store_after=settings.max_in_flight),
        )
        if not stdout:
            address, ready_lag = settings.http_address, settings.ready_lag
            await stack.enter_async_context(serve(address, metrics, publisher.in_flight, ready_lag=ready_lag))
            look = guardian.Guardian(SlotView(upkeep, slot=settings.slot, relay=settings.name), observe).look
            supervisor.repeat("the state of the slot", look, every=guardian.WATCH_EVERY)
            supervisor.repeat("partitions", partitions.Partitions(upkeep).make, every=partitions.MAKE_EVERY)
        _tune_collector()
        stop.ready(lambda: observe(NotDrained(publisher.in_flight())))
        await engine.run(stop)


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
    return Router(
        settings.exchange,
        settings.routing_key,
        cloudevents_source=source,
        cloudevents_prefix=settings.cloudevents_prefix,
    )


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
    publication = settings.slot
    former: set[tuple[str, str]] = set()  # every partition that a stream of this process was opened with

    def outbox(facts: TableFacts) -> Layout:
        return settings.layout(partitioned=facts.partitioned)

    def decoder(plugin: str, facts: TableFacts) -> tuple[Decoder, Mapping[str, str]]:
        relations = Relations.of(outbox(facts), facts, frozenset(former))
        former.update(relations.leaves)
        return choose(
            plugin,
            outbox(facts),
            settings.message_prefix,
            publication=publication,
            relations=relations,
            relay=settings.name,
        )

    def examine(facts: TableFacts, plugin: str) -> None:
        table = outbox(facts) if settings.message_prefix is None else None
        tables.examine(facts, table, plugin=plugin, publication=publication)

    return Decoding(decoder, examine)
