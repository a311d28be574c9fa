"""The composition root: the only file that builds concrete parts.

Order at start: Postgres and the broker are both asked before anything is read, so that a wrong setting ends the
process with its reason instead of being tried without end. Order at the end (SIGTERM, SIGINT): stop reading, wait for
the confirms of what is in flight, store the position, report it as flushed, close the stream, end the background tasks
and with them the broker's connection, close the sessions with Postgres.
"""

import gc
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from urllib.parse import quote

from outboxkit.errors import ConfigurationProblem
from outboxkit.process.service import Stop
from relay.core.engine import Engine, Timings
from relay.core.evidence import Evidence
from relay.core.lifetime.fencing import Fencing
from relay.core.lifetime.shutdown import Shutdown
from relay.core.lifetime.supervisor import Supervisor
from relay.core.messages.routing import Router
from relay.core.observations import NotDrained, Observation, Observe
from relay.core.parking.redrives import Redrives
from relay.core.ports import Publisher, RedriveStore, Source
from relay.maintenance import audit, guardian, partitions, positions, retention, window
from relay.publishing.json_lines import JsonLinesPublisher
from relay.publishing.link import Broker
from relay.publishing.publisher import Policy, RabbitPublisher
from relay.settings import RelaySettings
from relay.shadow.live import WatchedSource
from relay.shadow.pace import Pace
from relay.shadow.polled import PolledReader
from relay.shadow.reading import Reader
from relay.shadow.shadow import INTERVALS, PATIENCE, Limits, Shadow
from relay.shadow.streamed import StreamedReader
from relay.sources import tables
from relay.sources.handover.handover import Handover, Parts, Return
from relay.sources.layout import NATIVE, Layout
from relay.sources.polling.skip_locked.source import Sessions, SharedRedrives, SkipLockedSource
from relay.sources.polling.skip_locked.source import Settings as Sharing
from relay.sources.polling.source import POLLS, PollingSource
from relay.sources.polling.source import Settings as Polls
from relay.sources.wal.decoders.decoding import Decoder
from relay.sources.wal.decoders.decoding import decoder as choose
from relay.sources.wal.decoders.relations import Relations
from relay.sources.wal.opening import Decoding
from relay.sources.wal.ownership import require_position, require_slot
from relay.sources.wal.source import WalSource
from relay.sources.wal.stream import Writing
from relay.storage.audit.recent import RecentPast
from relay.storage.checkpoint_history import CheckpointHistory
from relay.storage.facts import TableFacts
from relay.storage.fence import FenceWriter
from relay.storage.history import History
from relay.storage.leadership import Leadership
from relay.storage.parking import PostgresParking
from relay.storage.position import StoredPosition
from relay.storage.retention import OldPartitions
from relay.storage.server import Server
from relay.storage.sessions.refusals import check_failover
from relay.storage.sessions.session import Session
from relay.storage.sessions.shutdown import Address, ShutdownWatch
from relay.storage.slots.new_slot import NewSlot
from relay.storage.slots.replay_slot import ReplaySlot
from relay.storage.slots.slot import SlotView
from relay.watching.health import serve
from relay.watching.logbook import Logbook
from relay.watching.metrics import About, Metrics


async def run(fresh: Callable[[], RelaySettings], stop: Stop, *, stdout: bool = False) -> None:
    """Relay until `stop` is set; raises a Problem that trying again cannot help.

    `fresh` reads the settings; it is called again at each connect, so that a changed secret file is picked up. With
    `stdout`, messages are written as lines instead of published, and neither slot nor stored position moves.
    """
    settings = fresh()
    metrics, shutdown = Metrics(), Shutdown()
    observe = _observer(Logbook(), metrics)
    async with AsyncExitStack() as stack:
        postgres = _Postgres(fresh, settings, stack, ShutdownWatch(shutdown.announce).ended)
        # Apart, so that one that waits for a lock or for a silent server holds up none of the others.
        checkpoint = await postgres.session("checkpoint")
        upkeep = await postgres.session("upkeep")
        parking = await postgres.session("parking")
        server = Server(checkpoint, name=settings.name, slot=settings.slot, table=settings.table)
        metrics.identify(await _identity(server, settings))
        supervisor = await stack.enter_async_context(Supervisor(observe))
        fencing = Fencing()
        publisher: Publisher
        if stdout:
            publisher = JsonLinesPublisher(sys.stdout)
        else:
            publisher = await _connected(fresh, settings, stack, observe, fenced=fencing.holds)
        evidence = Evidence(recording=settings.table == NATIVE.name and not stdout)
        parked = PostgresParking(parking, relay=settings.name, outbox=settings.outboxes[0])
        sources = _Sources(settings, postgres, server, checkpoint, upkeep, evidence, observe)
        chosen = await sources.choose(parked, stdout=stdout)
        source = chosen.source
        if settings.shadow != "off" and not stdout:
            shadow = await _shadow(settings, postgres, observe)
            source = WatchedSource(source, shadow)
            supervisor.start("shadow", shadow.run())
        routes = router(settings)
        engine = Engine(
            source,
            routes,
            publisher,
            parked,
            None if stdout else Redrives(chosen.redriven, routes, publisher, observe),
            evidence=evidence,
            fencing=fencing,
            shutdown=shutdown,
            supervisor=supervisor,
            observe=observe,
            timings=Timings(release_slot_after=settings.release_slot_after, store_after=settings.max_in_flight),
            partition=settings.owner.partition,
        )
        if not stdout:
            address, ready_lag = settings.http_address, settings.ready_lag
            await stack.enter_async_context(serve(address, metrics, publisher.in_flight, ready_lag=ready_lag))
            await _Beside(settings, postgres, upkeep, supervisor, observe).start(chosen.handover, sources.require_ours)
        _tune_collector()
        stop.ready(lambda: observe(NotDrained(publisher.in_flight())))
        await engine.run(stop)


def _observer(logbook: Logbook, metrics: Metrics) -> Observe:
    def observe(seen: Observation) -> None:
        logbook(seen)
        metrics(seen)

    return observe


@dataclass(frozen=True, slots=True)
class _Postgres:
    """Opens sessions, which `stack` closes; `ended` is called when Postgres has ended one with 57P01."""

    fresh: Callable[[], RelaySettings]
    settings: RelaySettings
    stack: AsyncExitStack
    ended: Callable[[Address], None]

    def url(self) -> str:
        """Return where it is now, with its password."""
        return self.fresh().database_url.get_secret_value()

    async def session(self, purpose: str, *prepared: str) -> Session:
        """Return an open session for `purpose` that has run the queries `prepared`."""
        name, slot = f"{self.settings.name} {purpose}", self.settings.slot
        session = Session(self.url, name=name, slot=slot, ended=self.ended, prepared=prepared)
        return await self.stack.enter_async_context(session)


async def _identity(server: Server, settings: RelaySettings) -> About:
    """Return who relays, from which database; raises SourceRefused if the server cannot do RELAY_SLOT_FAILOVER."""
    facts = await server.facts()
    if settings.source != "polling":
        check_failover(facts.server_version, wanted=settings.slot_failover)
    return About(settings.name, settings.slot, facts.database, facts.system_identifier)


async def _connected(
    fresh: Callable[[], RelaySettings],
    settings: RelaySettings,
    stack: AsyncExitStack,
    observe: Observe,
    *,
    fenced: Callable[[], bool],
) -> Publisher:
    """Return what publishes to RabbitMQ, connected; with RELAY_TRACES it makes spans."""

    def broker() -> Broker:
        now = fresh()
        return Broker(now.amqp_url.get_secret_value(), now.tls())

    rabbit = RabbitPublisher(broker, publishing_policy(settings), observe, fenced=fenced)
    await rabbit.connect()
    return stack.enter_context(_traced(rabbit, settings.name)) if settings.traces else rabbit


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What a relay reads."""

    source: Source
    redriven: RedriveStore
    handover: Handover | None
    """What changes between the sources; None where pollers share the table."""


@dataclass(frozen=True, slots=True)
class _Sources:
    """Builds the source of a relay from what all of its parts share."""

    settings: RelaySettings
    postgres: _Postgres
    server: Server
    checkpoint: Session
    upkeep: Session
    evidence: Evidence
    observe: Observe

    async def choose(self, parked: PostgresParking, *, stdout: bool) -> _Chosen:
        """Return what the settings say is read; with `stdout` nothing is stored."""
        if self.settings.poll_strategy != "skip_locked":
            handover = await self._handed_over(stdout=stdout)
            return _Chosen(handover, parked, handover)
        if stdout:
            raise ConfigurationProblem(
                "`relay run --stdout` marks nothing, and pollers that share a table would print it without end",
                remedy="set RELAY_POLL_STRATEGY=snapshot for it",
            )
        session = await self.postgres.session("leader", "session_leader")
        leadership = Leadership(session, name=self.settings.name, shared=not self.settings.poll_leader)
        return _Chosen(await self._shared(leadership), SharedRedrives(parked, leadership), None)

    async def require_ours(self) -> None:
        """Raise NotOurs if the slot or the stored position is of another relay, database or server."""
        facts = await self.server.facts()
        require_slot(facts, self.settings.owner)
        require_position(facts, self.settings.owner)

    def layout(self, table: TableFacts) -> Layout:
        """Return how the rows of `table` are read."""
        return self.settings.layout(partitioned=table.partitioned)

    async def _handed_over(self, *, stdout: bool) -> Handover:
        """Return the two sources, and what changes between them; with `stdout` nothing is stored."""
        settings, observe, session = self.settings, self.observe, self.postgres.session
        stored = StoredPosition(self.checkpoint, settings.owner, self.evidence)
        wal = WalSource(
            self.postgres.url,
            self.server,
            settings.owner,
            decoding(settings),
            plugin=settings.plugin,
            writing=None if stdout else Writing(stored, FenceWriter(self.upkeep, table=settings.table)),
            observe=observe,
        )
        polling = None
        if settings.message_prefix is None:
            polling = PollingSource(
                await session("poll", *POLLS),
                self.layout,
                settings=Polls(settings.poll_interval, settings.poll_batch),
                positions=None if stdout else stored,
                listening=await self._listening(),
                observe=observe,
            )
        parts = None
        if not stdout:
            parts = Parts(
                Leadership(await session("leader", "session_leader"), name=settings.name),
                stored,
                History(self.upkeep, relay=settings.name),
                NewSlot(
                    await session("new slot", "slot_create_abandoned"),
                    self.upkeep,
                    name=settings.slot,
                    failover=settings.slot_failover,
                ),
            )
        policy = Return(settings.return_after, settings.slots_per_hour)
        return Handover(
            self.server, settings.owner, wal, polling, parts, source=settings.source, policy=policy, observe=observe
        )

    async def _shared(self, leadership: Leadership) -> SkipLockedSource:
        """Return the table that pollers share."""
        settings, session = self.settings, self.postgres.session
        sessions = Sessions(
            await session("batches", "stream_formats", "session_skip_locked"),
            self.checkpoint,
            await session("marks", "session_skip_locked"),
            await self._listening(),
        )
        how = Sharing(settings.poll_interval, settings.poll_batch, aggregates=settings.poll_lock == "advisory")
        return SkipLockedSource(
            self.server,
            settings.owner,
            sessions,
            leadership,
            self.layout,
            settings=how,
            evidence=self.evidence,
            observe=self.observe,
        )

    async def _listening(self) -> Session | None:
        return await self.postgres.session("listen", "session_listen") if self.settings.poll_notify else None


@dataclass(frozen=True, slots=True)
class _Beside:
    """Starts the small services beside the stream."""

    settings: RelaySettings
    postgres: _Postgres
    upkeep: Session
    supervisor: Supervisor
    observe: Observe

    async def start(self, handover: Handover | None, ours: Callable[[], Awaitable[None]]) -> None:
        """Start those that the settings ask for; `ours` raises NotOurs if the slot is another relay's."""
        source = self.settings.source
        self._look_after_slot(None if handover is None or source == "wal" else handover.retains_too_much)
        if handover is not None and source != "polling":
            await self._keep_window(handover.active, ours)
        await self._keep_past()

    def _look_after_slot(self, let_go: Callable[[], Awaitable[None]] | None) -> None:
        """Watch the slot, and call `let_go` when it retains too much."""
        settings = self.settings
        slot = guardian.Guardian(
            SlotView(self.upkeep, slot=settings.slot, relay=settings.name),
            self.observe,
            own_budget=settings.slot_budget,
            let_go=let_go,
        )
        self.supervisor.repeat("the state of the slot", slot.look, every=guardian.WATCH_EVERY)

    async def _keep_window(self, active: Callable[[], Awaitable[bool]], ours: Callable[[], Awaitable[None]]) -> None:
        """Keep WAL for replays, or drop what was kept."""
        settings = self.settings
        moving = await self.postgres.session("window")
        lagging = ReplaySlot(self.upkeep, moving, slot=settings.slot, relay=settings.name)
        keeps = window.Window(
            lagging,
            self.observe,
            size=settings.replay_window,
            own_budget=settings.slot_budget,
            active=active,
            ours=ours,
        )
        self.supervisor.repeat("the replay window", keeps.look, every=window.LOOK_EVERY)

    async def _keep_past(self) -> None:
        """Make and drop partitions, note positions, and audit."""
        settings, repeat = self.settings, self.supervisor.repeat
        repeat("partitions", partitions.Partitions(self.upkeep).make, every=partitions.MAKE_EVERY)
        past = positions.Positions(CheckpointHistory(self.upkeep, relay=settings.name, keep=settings.retention))
        repeat("positions", past.note, every=positions.NOTE_EVERY)
        repeat("old positions", past.thin, every=positions.THIN_EVERY)
        if settings.retention is not None and settings.table == NATIVE.name:
            old = OldPartitions(await self.postgres.session("retention", "session_retention"), settings.retention)
            repeat("retention", retention.Retention(old, self.observe).run, every=retention.RUN_EVERY)
        if settings.audit_every is not None:
            _require_record(settings)
            events = RecentPast(await self.postgres.session("audit"), relay=settings.name)
            repeat("audit", audit.Audit(events, self.observe).run, every=settings.audit_every.total_seconds())


async def _shadow(settings: RelaySettings, postgres: _Postgres, observe: Observe) -> Shadow:
    """Return what compares the source RELAY_SHADOW with the live stream."""
    asked = await postgres.session("shadow", *POLLS)
    server = Server(asked, name=settings.name, slot=settings.slot, table=settings.table)
    pace, interval = Pace(), settings.poll_interval
    reader: Reader
    if settings.shadow == "polling":
        reader = PolledReader(
            asked,
            server,
            lambda table: settings.layout(partitioned=table.partitioned),
            interval=interval,
            pace=pace,
        )
    else:
        reader = StreamedReader(postgres.url, server, settings.owner, decoding(settings), plugin=settings.plugin)
    limits = Limits(patience=max(PATIENCE, INTERVALS * interval))
    return Shadow(reader, asked, pace=pace, observe=observe, limits=limits)


def _require_record(settings: RelaySettings) -> None:
    """Raise ConfigurationProblem if the confirms of this outbox are not recorded."""
    if settings.table != NATIVE.name:
        raise ConfigurationProblem(
            f"RELAY_AUDIT_EVERY is set, and the outbox is not {NATIVE.name}: confirms are recorded for that table only",
            remedy="unset RELAY_AUDIT_EVERY",
        )


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
        spread=settings.spread,
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


def publishing_policy(settings: RelaySettings) -> Policy:
    """Return how messages are published."""
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
        )

    def examine(facts: TableFacts, plugin: str) -> None:
        table = outbox(facts) if settings.message_prefix is None else None
        tables.examine(facts, table, plugin=plugin, publication=publication)

    return Decoding(decoder, examine)
