"""The pipeline: deliveries → claims → handlers → outcomes → acks.

    intake ──► claim ──► threads ──► settle ──► ack         two loops, each with one statement for a whole batch
                 └──── nothing to do ───────────► ack

A delivery is acked only after the database has committed whatever it led to. Deliveries wait in RabbitMQ, not here:
no more is received than threads have room for. It builds none of its parts, and knows neither SQL nor AMQP.
"""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import assert_never

import structlog

from consumers.claims import leases
from consumers.claims.claims import Claims
from consumers.claims.outcomes import Applied, ClaimLost, Settlement, Unfinished
from consumers.claims.verdicts import Claimed, Skipped, Unseen, Verdict, judge
from consumers.errors import HandlersAbandoned
from consumers.handlers.task import Task
from consumers.handlers.threads import Threads
from consumers.intake.intake import Intake
from consumers.watching.metrics import Metrics
from outboxkit.amqp.format import TaskReference, UndecodableMessage, task_reference
from outboxkit.amqp.subscription import Delivery

log = structlog.get_logger()

GRACE_SECONDS = 20.0
# A commit that the WAL tells of is visible within a moment, unless a synchronous standby is slow or gone.
_ASK_AGAIN_SECONDS = 0.1
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A delivery to be claimed; `asked` is set when its task could not be seen at first."""

    delivery: Delivery
    reference: TaskReference
    since: float
    asked: str | None = None


class Worker:
    """Applies the tasks that `intake` delivers; `keeper` are the same claims on a connection of their own."""

    def __init__(self, intake: Intake, claims: Claims, keeper: Claims, threads: Threads, metrics: Metrics) -> None:
        self._intake = intake
        self._claims = claims
        self._keeper = keeper
        self._threads = threads
        self._metrics = metrics
        self._held: dict[TaskReference, Delivery] = {}
        self._unseen: list[_Arrival] = []
        self._doubt = asyncio.Event()
        self._one_claim = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain; raises HandlersAbandoned when handlers do not end in time."""
        async with asyncio.TaskGroup() as loops:
            claiming = loops.create_task(self._claim_arriving())
            asking = loops.create_task(self._ask_again(stop))
            settling = loops.create_task(self._settle_ended())
            keeping = loops.create_task(leases.keep(self._keeper, self._held.keys))
            await stop.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_SECONDS):
                    self._threads.withdraw()  # 1. no handler starts any more; claims that wait are given back
                    await self._intake.stop()  # 2. no delivery comes any more; unread ones go back to the queue
                    await claiming  # 3. a claim that is under way ends, and is given back
                    self._doubt.set()
                    await asking
                    self._threads.close()  # 4. running handlers end; what they led to is committed and acked
                    await settling
            for loop in (claiming, asking, settling, keeping):  # 5. leases are kept until here
                loop.cancel()
        if self._held:
            raise HandlersAbandoned(
                f"{len(self._held)} tasks were not done within {GRACE_SECONDS:g} s",
                remedy="they run again when their leases run out; let handlers end sooner",
            )

    async def _claim_arriving(self) -> None:
        while (room := await self._threads.room()) and (deliveries := await self._intake.receive(room)):
            await self._claim([arrival for delivery in deliveries if (arrival := self._read(delivery))])

    def _read(self, delivery: Delivery) -> _Arrival | None:
        try:
            return _Arrival(delivery, task_reference(delivery.headers), asyncio.get_running_loop().time())
        except UndecodableMessage as error:
            log.warning("undecodable delivery dead-lettered", message_id=delivery.message_id, reason=str(error))
            self._metrics.count("undecodable", None)
            self._intake.reject(delivery)
            return None

    async def _claim(self, arrivals: list[_Arrival]) -> None:
        if not arrivals:
            return
        async with self._one_claim:
            # What was held before the statement was sent: its answer may be read after an outcome was committed.
            known = set(self._held)
            rows = await self._claims.claim({arrival.reference: arrival.asked for arrival in arrivals})
            for arrival in arrivals:
                verdict = judge(arrival.reference, rows[arrival.reference], worker=self._claims.worker, known=known)
                if isinstance(verdict, Claimed):
                    known.add(_token(verdict.task))
                self._follow(arrival, verdict)

    def _follow(self, arrival: _Arrival, verdict: Verdict) -> None:
        match verdict:
            case Claimed(task):
                self._held[_token(task)] = arrival.delivery
                self._threads.start(task)
            case Skipped(reason, type_):
                self._metrics.count(reason, type_)
                self._intake.ack(arrival.delivery)
            case Unseen(asked):
                self._doubted(replace(arrival, asked=asked))
            case _:
                assert_never(verdict)

    def _doubted(self, arrival: _Arrival) -> None:
        """Keep a delivery whose task is not there, until it is there or is known not to exist."""
        if asyncio.get_running_loop().time() - arrival.since < _PATIENCE_SECONDS:
            self._unseen.append(arrival)
            self._doubt.set()
            return
        log.error(
            "delivery dead-lettered: its task has not appeared",
            task=str(arrival.reference.task_id),
            seconds=_PATIENCE_SECONDS,
            remedy="an open transaction may still bring it: move the message back to the queue when that has ended",
        )
        self._metrics.count("unknown", None)
        self._intake.reject(arrival.delivery)

    async def _ask_again(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._doubt.wait()
            self._doubt.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _ASK_AGAIN_SECONDS)
            unseen, self._unseen = self._unseen, []
            await self._claim(unseen)

    async def _settle_ended(self) -> None:
        while ended := await self._threads.ended():
            unwritten = [(task, outcome) for task, outcome in ended if not isinstance(outcome, Applied | ClaimLost)]
            settled = iter(await self._claims.settle(unwritten) if unwritten else [])
            if reasons := [outcome.reason for _, outcome in unwritten if isinstance(outcome, Unfinished)]:
                log.warning("claims given back", tasks=len(reasons), reasons=sorted(set(reasons)))
            for task, outcome in ended:
                match outcome:
                    case Applied():
                        self._done(task, "completed")
                    case ClaimLost():
                        self._done(task, "lost")
                    case _:
                        self._done(task, next(settled))

    def _done(self, task: Task, settlement: Settlement) -> None:
        delivery = self._held.pop(_token(task))
        self._metrics.count(settlement, task.type)
        self._intake.ack(delivery)


def _token(task: Task) -> TaskReference:
    """Return what tells this claim of the task from any other."""
    return TaskReference(task.id, task.version)
