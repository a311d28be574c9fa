"""Runs a job: the engine of the relay, with a source that ends, and sessions and a connection of its own.

It takes no leadership, polls nothing and redrives nothing; the live stream does not notice it.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import assert_never

from psycopg.rows import scalar_row

from outboxkit.errors import Problem
from outboxkit.process.service import Stop
from relay.app import publishing_policy, router
from relay.core.engine import Engine, Timings
from relay.core.errors import NotOurs
from relay.core.evidence import Evidence
from relay.core.lifetime.fencing import Fencing
from relay.core.lifetime.shutdown import Shutdown
from relay.core.lifetime.supervisor import Supervisor
from relay.core.messages.replayed import ReplayRouter
from relay.core.observations import BrokerConnected, Confirmed, NotDrained, Observation, Observe, Parked, Stopped
from relay.core.replay import Destination, Job, RangeReader, TableRange, WalRange
from relay.operating.replay.ranges import scanning
from relay.publishing.link import Broker
from relay.publishing.publisher import RabbitPublisher
from relay.settings import RelaySettings
from relay.sources.layout import NATIVE
from relay.sources.polling.source import POLLS
from relay.sources.replay.pace import Pace
from relay.sources.replay.source import ReplaySource
from relay.sources.replay.table import TableReader, removed
from relay.sources.replay.wal import NotInSlot
from relay.storage.facts import Facts
from relay.storage.parking import PostgresParking
from relay.storage.replays import JobHeld, Progress
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.watching.logbook import Logbook, Remedies

CANNOT_GO_ON = (JobHeld, NotInSlot, NotOurs)
"""What a job fails with if resuming it does not help, or only after what its remedy names."""
_STEP = 100
"""Without a rate, there is a position every so many events."""


class Run:
    """One run of `job`; `fresh` reads the settings, again at each connect."""

    def __init__(self, fresh: Callable[[], RelaySettings], job: Job, observe: Observe) -> None:
        self._fresh = fresh
        self._settings = fresh()
        self._job = job
        self._observe = observe
        self.confirmed = 0
        """How many events this run has confirmed."""
        self.parked = 0
        self.finished = False
        """Whether all of the range is confirmed or parked."""

    async def run(self, stop: Stop) -> None:
        """Publish the events of the job until it has finished, or `stop` is set; the job can be resumed then.

        Raises JobHeld if it runs elsewhere, and any other Problem for a job that has failed: its row says so, and it
        can be resumed too.
        """
        # What goes to another place was not delivered where the live stream delivers: it is no evidence that it was.
        delivers = self._job.order.destination == Destination()
        evidence = Evidence(recording=delivers and self._settings.table == NATIVE.name)
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(self._session(""))
            progress = self._progress = Progress(session, self._job.number, evidence)
            self._count()
            await progress.save(await progress.take())
            try:
                await self._publish(stack, progress, evidence, stop)
            except JobHeld:
                raise
            except Problem as problem:
                await progress.end("failed", problem.what)
                raise
            await progress.end("finished" if self.finished else "interrupted")

    async def _publish(self, stack: AsyncExitStack, progress: Progress, evidence: Evidence, stop: Stop) -> None:
        settings, order = self._settings, self._job.order

        def ended() -> None:
            self.finished = True
            stop.set()

        reader = await self._reader(stack)
        supervisor = await stack.enter_async_context(Supervisor(self._seen))
        fencing = Fencing()
        policy = replace(
            publishing_policy(settings),
            exchange=order.destination.exchange or settings.exchange,
            connection=f"{settings.name} replay {self._job.number}",
        )
        publisher = RabbitPublisher(self._broker, policy, self._seen, fenced=fencing.holds)
        parking = await stack.enter_async_context(self._session(" parking"))
        await publisher.connect()  # the last step that may fail: from here on the engine closes it
        engine = Engine(
            ReplaySource(reader, progress, ended, rate=order.rate),
            ReplayRouter(router(settings), self._job.number, order.destination),
            publisher,
            PostgresParking(parking, relay=settings.name, outbox=settings.outboxes[0], replayed=True),
            None,
            evidence=evidence,
            fencing=fencing,
            shutdown=Shutdown(),
            supervisor=supervisor,
            observe=self._seen,
            timings=Timings(release_slot_after=settings.release_slot_after, store_after=settings.max_in_flight),
        )
        stop.ready(lambda: self._observe(NotDrained(publisher.in_flight())))
        await engine.run(stop)

    async def _reader(self, stack: AsyncExitStack) -> RangeReader:
        settings, order = self._settings, self._job.order
        session = await stack.enter_async_context(self._session(" reading", *POLLS))
        server = Server(session, name=settings.name, slot=settings.slot, table=settings.table)
        require_system(await server.facts(), self._job)
        match order.range:
            case TableRange() as of:
                if settings.table == NATIVE.name:
                    gone = await session.fetch(scalar_row, "replay_removed", {"job": self._job.number})
                    if gone != 0:
                        raise removed(gone)
                return TableReader(
                    session,
                    server,
                    lambda table: settings.layout(partitioned=table.partitioned),
                    of,
                    order.selection,
                    batch=settings.poll_batch,
                    step=_STEP if order.rate is None else Pace(order.rate).slice,
                )
            case WalRange() as of:
                return scanning.reader(
                    settings,
                    session,
                    of,
                    selection=order.selection,
                    origin=scanning.origin_of(self._job),
                    name=f"{settings.name} replay {self._job.number} stream",
                    database_url=self._database_url,
                )
            case never:
                assert_never(never)

    def _session(self, purpose: str, *prepared: str) -> Session:
        name = f"{self._settings.name} replay {self._job.number}{purpose}"
        return Session(self._database_url, name=name, slot=self._settings.slot, prepared=prepared)

    def _database_url(self) -> str:
        return self._fresh().database_url.get_secret_value()

    def _broker(self) -> Broker:
        now = self._fresh()
        return Broker(now.amqp_url.get_secret_value(), now.tls())

    def _seen(self, seen: Observation) -> None:
        if isinstance(seen, Confirmed):
            self.confirmed += seen.count
        elif isinstance(seen, Parked):
            self.parked += len(seen.ids)
        self._count()
        self._observe(seen)

    def _count(self) -> None:
        self._progress.confirmed = self._job.confirmed + self.confirmed
        self._progress.parked = self._job.parked + self.parked


def require_system(facts: Facts, job: Job) -> None:
    """Raise NotOurs if `job` was made on another system: its transactions have other numbers there."""
    if facts.system_identifier != job.system_identifier:
        raise NotOurs(
            f"replay {job.number} was made on system {job.system_identifier}, and this is {facts.system_identifier}",
            remedy="make a new one with `relay replay`",
        )


def incidents(number: int) -> Observe:
    """Return what logs incidents of job `number`, and nothing else; nothing is to be skipped in the live stream."""
    logbook = Logbook(
        remedies=Remedies(
            "or stop this replay, and begin a new one with `relay replay --from-event` and a later event",
            f"`relay replay resume {number}` publishes these messages again",
            f"`relay replay resume {number}` goes on from the position stored last; what was published after that is "
            "published again",
        )
    )

    def observe(seen: Observation) -> None:
        if not isinstance(seen, BrokerConnected | Stopped):
            logbook(seen)

    return observe
