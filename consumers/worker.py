"""The pipeline: deliveries → claims → handlers → outcomes → acks.

    intake ──► claim ──► executor ──► end ──► ack        two loops, each with one statement for a whole batch
                 └───── nothing to do ──────► ack

A delivery is acked only after the database has committed what it led to. Deliveries wait in RabbitMQ, not here: no more
are received than about a second of work (intake/pace.py), and claims that wait longer all the same are given back. The
worker builds none of its parts, and knows neither SQL nor AMQP.
"""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import NamedTuple, assert_never

import structlog

from consumers.abandoning import UNFINISHED, not_given_back, rows_locked, tell_given_back
from consumers.claims import leases
from consumers.claims.claims import Claims
from consumers.claims.locked_rows import LockedRows
from consumers.claims.verdicts import Claimed, RowLocked, Skipped, Unseen, Verdict, judge
from consumers.errors import HandlersAbandoned
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Applied, Ending, Unfinished
from consumers.handlers.running.executor import Executor
from consumers.handlers.running.finished import Run
from consumers.intake.grant import Grant
from consumers.intake.intake import Intake
from consumers.intake.pace import WORK_SECONDS, Pace
from consumers.timings import Timings
from consumers.watching.executions import Executions
from consumers.watching.metrics import Metrics
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.format import TaskReference, UndecodableMessage, task_reference
from outboxkit.errors import Problem

log = structlog.get_logger()
_CLAIMED_AT_ONCE = 500


@dataclass(slots=True)
class _Arrival:
    """A delivery to be claimed; `asked` is set if its task could not be seen the last time."""

    delivery: Delivery
    reference: TaskReference
    since: float
    asked: str | None = None


class _Claim(NamedTuple):
    """A task that is claimed, and the delivery that is acked when the claim has ended."""

    task: Task
    delivery: Delivery


class _Locked(NamedTuple):
    """Runs whose outcomes could not be written, since another transaction has locked their tasks' rows."""

    first: list[Run]
    """Those that have found their row locked for the first time."""
    again: list[Run]


class Worker:
    """Applies what `intake` delivers; `ending` and `leasing` are the same claims, on connections of their own."""

    def __init__(  # noqa: PLR0913 - its parts
        self,
        intake: Intake,
        claims: Claims,
        *,
        ending: Claims,
        leasing: Claims,
        executor: Executor,
        pace: Pace,
        metrics: Metrics,
        executions: Executions,
        timings: Timings,
        grace: float,
    ) -> None:
        self._intake = intake
        self._claims = claims
        self._ending = ending
        self._leasing = leasing
        self._executor = executor
        self._pace = pace
        self._metrics = metrics
        self._executions = executions
        self._timings = timings
        self._grace = grace
        self._claimed: dict[TaskReference, _Claim] = {}
        self._waiting: list[_Arrival] = []
        """Deliveries whose tasks could not be seen, or whose rows were locked."""
        self._look_again = asyncio.Event()
        self._locked = LockedRows(told=timings.locked_told)
        self._grant = Grant(pace.prefetch)
        self._one_claim = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain.

        Raises HandlersAbandoned when handlers do not end in time, and the Problem that ended one of the loops.
        """
        try:
            await self._run(stop)
        except BaseExceptionGroup as group:
            self._executor.withdraw()
            self._executor.close()
            reason = self._reason(group)
            if reason is group:
                raise
            raise reason from group
        if self._claimed:
            await self._abandon()

    def unfinished(self) -> list[Run]:
        """Begin no more handlers, and return how each claimed task has ended by now.

        One whose handler still runs is given back. A signal may call this between any two instructions of the loop.
        """
        self._executor.withdraw()  # else a task that waits for a thread could not be told from one that runs
        known = {run.task.claim: run for run in self._executor.left()}
        return [known.get(key) or Run(claim.task, UNFINISHED, 0.0) for key, claim in self._claimed.items()]

    async def extend_leases(self) -> None:
        """Extend the leases of what is claimed now, beside the loop that does so in time."""
        await leases.extend(self._leasing, self._claimed.keys())

    async def _run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as loops:  # a loop that raises ends all others, and `run`
            claiming = loops.create_task(self._claim_arriving(), name="claiming")
            looking = loops.create_task(self._claim_waiting(stop), name="claiming again")
            ending = loops.create_task(self._end_tasks(), name="ending tasks")
            keeping = loops.create_task(
                leases.keep(
                    self._leasing,
                    self._claimed.keys,
                    times_per_lease=self._timings.extensions_per_lease,
                    again=self._timings.lease_again,
                ),
                name="keeping leases",
            )
            pacing = loops.create_task(self._keep_pace(), name="keeping pace")
            heeding = loops.create_task(self._heed_cancellations(), name="heeding cancellations")
            limiting = loops.create_task(self._end_overdue(), name="ending overdue runs")
            watched = (claiming, looking, ending, keeping, pacing, heeding, limiting)
            stopping = loops.create_task(stop.wait(), name="waiting for stop")
            ended, _ = await asyncio.wait([*watched, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                raise RuntimeError(f"a loop of the worker ended by itself: {min(task.get_name() for task in ended)}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._grace):
                    self._executor.withdraw()  # 1. no more handlers start; waiting claims are given back
                    await self._intake.stop()  # 2. no more deliveries; unread ones go back to the queue
                    await claiming  # 3. a claim statement that is under way ends; its claims are given back
                    self._look_again.set()
                    await looking
                    self._executor.close()  # 4. running handlers end; their outcomes are committed, and acked
                    await ending
            for loop in (
                claiming,
                looking,
                ending,
                pacing,
                heeding,
                limiting,
                keeping,
            ):  # 5. leases are kept until here
                loop.cancel()

    async def _abandon(self) -> None:
        """Write how each claim has ended by now, and give back those of handlers that still run.

        Raises HandlersAbandoned if that fails, too.
        """
        for task, _ in self._claimed.values():
            task.stopping = True
        runs = left = self.unfinished()
        self._executor.coroutines.cancel()
        locked = False
        try:
            async with asyncio.timeout(self._timings.abandoning):
                while left := [run for some in await self._write(left) for run in some]:
                    locked = True
                    await asyncio.sleep(self._timings.again_interval)
        except TimeoutError as error:
            raise (rows_locked(left) if locked else not_given_back(left, grace=self._grace)) from error
        finally:
            tell_given_back(runs, left, grace=self._grace)

    def _reason(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        """Return the Problem that ended the loops. Anything else is a bug, and keeps its traceback."""
        problems, others = group.split(Problem)
        if problems is None or others is not None:
            return group
        problem = _first(problems)
        if self._claimed:
            return HandlersAbandoned(
                problem.what,
                remedy=f"{problem.remedy}; the {len(self._claimed)} claimed tasks run again when their leases expire",
            )
        return problem

    async def _claim_arriving(self) -> None:
        while deliveries := await self._intake.receive(_CLAIMED_AT_ONCE):
            await self._claim([arrival for delivery in deliveries if (arrival := self._read(delivery))])
            await self._executor.room()

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
            # Read before the statement is sent: its answer may be processed after an outcome was committed.
            known = set(self._claimed)
            rows = await self._claims.claim({arrival.reference: arrival.asked for arrival in arrivals})
            tasks: list[Task] = []
            for arrival in arrivals:
                verdict = judge(arrival.reference, rows[arrival.reference], worker=self._claims.worker, known=known)
                if isinstance(verdict, Claimed):
                    known.add(verdict.task.claim)
                    tasks.append(verdict.task)
                    verdict.task.waited = rows[arrival.reference].waited or 0.0
                    self._metrics.claimed(verdict.task.type, verdict.task.waited)
                self._follow(arrival, verdict)
            self._executor.start(tasks)

    def _follow(self, arrival: _Arrival, verdict: Verdict) -> None:
        if not isinstance(verdict, RowLocked):
            self._locked.discard(arrival.delivery)
        match verdict:
            case Claimed(task):
                self._claimed[task.claim] = _Claim(task, arrival.delivery)
            case Skipped(reason, type_):
                self._metrics.count(reason, type_)
                self._executions.add(arrival.reference.task_id, type_ or "", reason)
                self._intake.ack(arrival.delivery)
            case Unseen(asked):
                self._claim_when_seen(replace(arrival, asked=asked))
            case RowLocked():
                self._locked.add(arrival.delivery, arrival.reference.task_id)
                self._claim_later(replace(arrival, since=asyncio.get_running_loop().time()))
            case _:
                assert_never(verdict)

    def _claim_when_seen(self, arrival: _Arrival) -> None:
        """Keep a delivery whose task cannot be seen, until it can be seen, does not exist, or the limit is reached."""
        if asyncio.get_running_loop().time() - arrival.since < self._timings.unseen_limit:
            self._claim_later(arrival)
            return
        log.error(
            "delivery dead-lettered: its task has not appeared",
            task=arrival.reference.task_id,
            seconds=self._timings.unseen_limit,
            remedy="an open transaction may still create it: when that has ended, move the message back to the queue",
        )
        self._metrics.count("unknown", None)
        self._intake.reject(arrival.delivery)

    def _claim_later(self, arrival: _Arrival) -> None:
        self._waiting.append(arrival)
        self._look_again.set()

    async def _keep_pace(self) -> None:
        while True:
            await asyncio.sleep(self._timings.pace_interval)
            stalled = self._executor.stalled()
            self._pace.adjust(stalled)
            if (prefetch := self._renewed_prefetch()) is not None:
                await self._intake.set_prefetch(prefetch)
            if stalled > WORK_SECONDS:
                self._executor.give_back()

    def _renewed_prefetch(self) -> int | None:
        waiting = self._locked.waiting(at_least=self._timings.again_interval)
        counted = sum(self._intake.counts(delivery) for delivery in waiting)
        return self._grant.renew(self._pace.prefetch, cap=self._pace.cap, waiting=len(waiting), counted=counted)

    async def _end_overdue(self) -> None:
        while True:
            await asyncio.sleep(self._timings.overdue_interval)
            self._executor.end_overdue()

    async def _claim_waiting(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._look_again.wait()
            self._look_again.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._timings.again_interval)
            waiting, self._waiting = self._waiting, []
            ours: list[_Arrival] = []
            for arrival in waiting:
                if self._intake.owns(arrival.delivery):
                    ours.append(arrival)
                else:  # its channel is lost: RabbitMQ delivers it again
                    self._locked.discard(arrival.delivery)
            await self._claim(ours)

    async def _heed_cancellations(self) -> None:
        """Tell handlers that run for a while when their task was asked to stop, or their claim is lost."""
        before: set[TaskReference] = set()
        while True:
            await asyncio.sleep(self._timings.cancelled_interval)
            claimed = set(self._claimed)
            long = claimed & before  # most tasks are done before anybody looks
            for reference in await self._leasing.stopping(long) if long else ():
                if (claim := self._claimed.get(reference)) is not None:
                    claim.task.stopping = True
            before = claimed

    async def _end_tasks(self) -> None:
        while runs := await self._executor.ended():
            locked = await self._write(runs)
            self._executor.put_off(locked.first, self._timings.again_at_first)
            self._executor.put_off(locked.again, self._timings.again_interval)

    async def _write(self, runs: list[Run]) -> _Locked:
        """Write the outcomes that are not written yet, and ack; return those whose tasks' rows are locked."""
        unwritten = [(run.task, run.outcome) for run in runs if not isinstance(run.outcome, Applied)]
        endings = iter(await self._ending.end(unwritten) if unwritten else [])
        locked = _Locked([], [])
        given_back: list[str] = []
        for run in runs:
            ending = "completed" if isinstance(run.outcome, Applied) else next(endings)
            if isinstance(ending, RowLocked):
                claim = self._claimed.get(run.task.claim)
                is_first = claim is not None and self._locked.add(claim.delivery, run.task.claim.task_id)
                (locked.first if is_first else locked.again).append(run)
                continue
            if isinstance(run.outcome, Unfinished):
                given_back.append(run.outcome.reason)
            self._ended(run, ending)
        if given_back:
            log.warning("claims given back", tasks=len(given_back), reasons=sorted(set(given_back)))
        return locked

    def _ended(self, run: Run, ending: Ending) -> None:
        if run.seconds:  # its handler ran
            self._pace.ran(run.seconds)
            self._metrics.ran(run.task.type, ending, run.seconds)
        error = getattr(run.outcome, "error", None) or getattr(run.outcome, "reason", None)
        self._executions.add(
            run.task.claim.task_id,
            run.task.type,
            ending,
            attempt=run.task.attempt,
            seconds=run.seconds,
            queue_wait=run.task.waited,
            error=error,
        )
        self._done(run.task, ending)

    def _done(self, task: Task, ending: Ending) -> None:
        claim = self._claimed.pop(task.claim, None)
        if claim is None:  # given back when the consumer had to end
            return
        self._locked.discard(claim.delivery)
        self._metrics.count(ending, task.type)
        self._intake.ack(claim.delivery)


def _first(group: BaseExceptionGroup[Problem]) -> Problem:
    """Return the first Problem of a group of groups."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
