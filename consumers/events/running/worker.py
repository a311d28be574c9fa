"""The pipeline of events: deliveries → lanes → attempts → acks.

    intake ──► read ──► one lane for each handler and aggregate ──► attempt ──► settled by all handlers ──► ack
                                             ▲                          └── failed, gap: the lane waits, or parks it
                              parked events that were asked for

A delivery is acked only after the database has committed what each of its handlers led to. Lanes run beside each other,
at most `concurrency` attempts at once; the events of one lane one after another.

It stops without cancelling its subscription: RabbitMQ lets the next consumer begin when this one's channel has ended
and has given back, in order, what was not settled. If it were cancelled first, the next one would overtake it.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from consumers.errors import HandlersAbandoned
from consumers.events.applying.attempts import Attempts
from consumers.events.applying.outcomes import Outcome
from consumers.events.applying.parking import Parking
from consumers.events.applying.work import Work
from consumers.events.declaring.event import Event, Message, decode
from consumers.events.declaring.registry import Handler
from consumers.events.running.arrivals import Arrivals
from consumers.events.running.lanes import Lane
from consumers.events.running.settling import Settling
from consumers.intake.intake import Intake
from consumers.intake.pace import Pace
from consumers.watching.event_metrics import EventMetrics
from outboxkit.amqp.consuming.deliveries import Delivery

_AT_ONCE = 500
_LOOK_FOR_ASKED = 1.0
_PACE_SECONDS = 0.1
_CANCELLED_WITHIN = 2.0

Aggregate = tuple[str, str, str]


class EventWorker:
    """Applies what `intake` delivers, and what is asked for of the parked events, with `handlers`.

    `pace` is for a queue that several consumers read at once: then each holds about a second of work, and no more.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        intake: Intake,
        *,
        handlers: Sequence[Handler],
        arrivals: Arrivals,
        attempts: Attempts,
        settling: Settling,
        parking: Parking,
        metrics: EventMetrics,
        concurrency: int,
        grace: float,
        pace: Pace | None = None,
    ) -> None:
        self._intake = intake
        self._handlers = {handler.name: handler for handler in handlers}
        self._arrivals = arrivals
        self._attempts = attempts
        self._settling = settling
        self._parking = parking
        self._metrics = metrics
        self._grace = grace
        self._pace = pace
        self._executor = ThreadPoolExecutor(concurrency, thread_name_prefix="event")
        self._slots = asyncio.Semaphore(concurrency)
        self._lanes: dict[Aggregate, Lane] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._underway: set[int] = set()
        """Rows of inbox.parked."""
        self._stopping = False
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        metrics.waiting.set_function(lambda: sum(map(len, self._lanes.values())))

    @property
    def up(self) -> bool:
        """Whether RabbitMQ and Postgres can be reached."""
        return self._intake.up and self._settling.up

    def unfinished(self) -> int:
        """Return how many events are being applied."""
        return sum(lane.busy is not None for lane in self._lanes.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Apply events until `stop` is set, then let running handlers end.

        Raises HandlersAbandoned when some do not end in time, and the Problem that ended a part of it.
        """
        loops = [self._start(self._receive(), "receiving events"), self._start(self._redrive(), "redriving events")]
        if self._pace is not None:
            loops.append(self._start(self._keep_pace(self._pace), "keeping pace"))
        stopping = asyncio.ensure_future(_until(stop))
        try:
            await asyncio.wait({stopping, self._failure}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()  # if a part of it has failed, the process ends
            stopping.cancel()
            await self._drain(loops)
        if self._failure.done():
            self._failure.result()
        if unfinished := self.unfinished():
            raise HandlersAbandoned(
                f"{unfinished} event handlers were not done within {self._grace:g} s",
                remedy="their events are delivered again; let handlers end sooner, or raise CONSUMERS_GRACE",
            )

    async def _drain(self, loops: Sequence[asyncio.Task[None]]) -> None:
        self._stopping = True
        for loop in loops:  # 1. nothing more is received
            loop.cancel()
        for lane in self._lanes.values():  # 2. no attempt begins; lanes that wait end
            lane.wake()
        if self._following:  # 3. attempts that run end, and are acked
            await asyncio.wait(self._following, timeout=self._grace)
        for task in self._following:  # 4. async handlers are cancelled, and rolled back; a thread goes on
            task.cancel()
        if self._following:
            await asyncio.wait(self._following, timeout=_CANCELLED_WITHIN)
        self._executor.shutdown(wait=False)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._following.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._following.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def _receive(self) -> None:
        while deliveries := await self._intake.receive(_AT_ONCE):
            for delivery in deliveries:
                self._arrived(delivery)

    def _arrived(self, delivery: Delivery) -> None:
        if self._arrivals.on_new_channel(delivery):
            for lane in self._lanes.values():
                lane.drop(self._comes_again)
        if (found := self._arrivals.read(delivery)) is not None:
            event, message, takers = found
            for handler in takers:
                self._add(handler, event, message, delivery=delivery)

    def _comes_again(self, work: Work) -> bool:
        """Return whether `work` came on a channel that is lost: it is delivered again, in order."""
        return work.delivery is not None and work.delivery.generation != self._arrivals.generation

    async def _keep_pace(self, pace: Pace) -> None:
        while True:
            await asyncio.sleep(_PACE_SECONDS)
            if pace.adjust():
                await self._intake.set_prefetch(pace.prefetch)

    async def _redrive(self) -> None:
        while True:
            for number, consumer, message in await self._parking.asked(sorted(self._handlers), self._underway):
                self._underway.add(number)
                self._add(self._handlers[consumer], decode(message), message, parked=number)
            await asyncio.sleep(_LOOK_FOR_ASKED)

    def _add(
        self,
        handler: Handler,
        event: Event,
        message: Message,
        *,
        delivery: Delivery | None = None,
        parked: int | None = None,
    ) -> None:
        work = Work(handler, event, message, asyncio.get_running_loop().time(), delivery=delivery, parked=parked)
        lane = self._lanes.get(work.aggregate)
        if lane is None:
            lane = self._lanes[work.aggregate] = Lane(by_version=handler.by == "version")
            self._start(self._follow(work.aggregate, lane), f"events of {work.aggregate}")
        lane.add(work)

    async def _follow(self, aggregate: Aggregate, lane: Lane) -> None:
        """Settle the work of a lane until none is left."""
        while lane.first() is not None and not self._stopping:
            async with self._slots:
                work = lane.first()  # it may have changed meanwhile
                if work is None or self._stopping:
                    break
                lane.busy = work
                wait = None
                if work.unversioned:
                    await self._settling.unversioned(work)
                else:
                    wait = await self._settling(work, await self._attempt(work))
                lane.busy = None
            if wait is None:
                lane.done(work)
                self._settled(work)
            elif not self._stopping:
                await lane.pause(wait.seconds, for_more=wait.for_more)
        del self._lanes[aggregate]

    async def _attempt(self, work: Work) -> Outcome:
        began = time.perf_counter()
        try:
            if work.handler.is_async:
                return await self._attempts.on_loop(work)
            return await asyncio.wrap_future(self._executor.submit(self._attempts.in_thread, work))
        finally:
            took = time.perf_counter() - began
            self._metrics.took(work.handler.name, took)
            if self._pace is not None:
                self._pace.ran(took)

    def _settled(self, work: Work) -> None:
        if work.parked is not None:
            self._underway.discard(work.parked)
        if work.delivery is not None:
            self._arrivals.settled(work.delivery)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
