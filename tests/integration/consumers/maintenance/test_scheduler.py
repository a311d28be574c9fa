"""The scheduler on a real Postgres: each run is made once, under its lock, and ends in order."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumers.errors import JobsAbandoned
from consumers.maintenance.declaring.declaration import JobContext
from consumers.maintenance.declaring.registry import Jobs
from outboxkit.errors import Problem
from sandbox import Isolated
from tests.integration.consumers.maintenance.stage import Stage, play


class Seen:
    """The runs of a job, as they come."""

    def __init__(self) -> None:
        self.runs: list[JobContext] = []
        self._more = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self, context: JobContext) -> None:
        """Note a run, from any thread."""
        self._loop.call_soon_threadsafe(self._note, context)

    def _note(self, context: JobContext) -> None:
        self.runs.append(context)
        self._more.set()

    async def reach(self, count: int) -> None:
        while len(self.runs) < count:
            self._more.clear()
            await self._more.wait()

    @property
    def gaps(self) -> list[float]:
        """Return the seconds between the begins of runs, by the database's clock: every lock is as long."""
        ends = [context.locked_until for context in self.runs]
        return [(after - before).total_seconds() for before, after in pairwise(ends)]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_three_schedulers_run_a_job_once_per_interval(kind: str, isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        seen, jobs = Seen(), Jobs()

        async def later(context: JobContext) -> None:
            seen(context)

        jobs.task_lock("job", every=0.5)(later if kind == "async" else seen)
        replicas = [await stage.replica(jobs) for _ in range(3)]
        await seen.reach(7)
        for each in replicas:
            await each.end()
        assert min(seen.gaps) >= 0.45, "0.9 times the interval, and not less"
        epochs = [context.epoch for context in seen.runs]
        assert epochs == sorted(set(epochs))
        assert sum(each.counted("job", "ran") for each in replicas) == len(epochs)
        assert sum(each.counted("job", "skipped") for each in replicas) > 0
        assert [each.held for each in replicas] == [0, 0, 0]

    play(isolated, scenario)


def test_a_job_is_not_run_early_by_a_consumer_that_has_just_started(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        seen, jobs = Seen(), Jobs()
        jobs.task_lock("job", every=3600)(seen)
        first = await stage.replica(jobs)
        await seen.reach(1)
        await first.end()
        assert await stage.lock("job") == (seen.runs[0].epoch, True, pytest.approx(3240))
        second = await stage.replica(jobs)
        await _until(lambda: second.counted("job", "skipped") == 1)
        await second.end()
        assert len(seen.runs) == 1

    play(isolated, scenario)


def test_a_lock_follows_the_interval_while_the_job_runs_and_after(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        jobs, began, go_on = Jobs(), asyncio.Event(), asyncio.Event()

        @jobs.task_lock("job", every="10 s", at_most=3, at_least=0.5)
        async def job(context: JobContext) -> None:
            del context
            began.set()
            await go_on.wait()

        replica = await stage.replica(jobs)
        await began.wait()
        assert await stage.lock("job") == (_any(), False, pytest.approx(30, abs=0.01))
        assert replica.held == 1
        go_on.set()
        await _until(lambda: replica.held == 0)
        await replica.end()
        assert await stage.lock("job") == (_any(), True, 5)

    play(isolated, scenario)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_job_that_raises_releases_its_lock_and_runs_again_at_the_next_interval(kind: str, isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        seen, jobs = Seen(), Jobs()
        errors = iter([ValueError("planted"), ValueError("again"), Problem("no disk", remedy="add one"), SystemExit(3)])

        def fails(context: JobContext) -> None:
            seen(context)
            if (error := next(errors, None)) is not None:
                raise error

        async def fails_later(context: JobContext) -> None:
            fails(context)

        jobs.task_lock("job", every=0.2, at_least=0)(fails_later if kind == "async" else fails)
        with capture_logs() as logs:
            replica = await stage.replica(jobs)
            await seen.reach(6)
            await replica.end()
        assert await stage.lock("job") is None
        assert (replica.counted("job", "failed"), replica.counted("job", "ran")) == (4, len(seen.runs) - 4)
        told = [(each["reason"], each["remedy"]) for each in logs if each["event"] == "job failed"]
        assert told == [
            ("ValueError: planted", "correct the job; it is tried again after 200ms"),
            ("no disk", "add one; it is tried again after 200ms"),
            ("SystemExit: 3", "correct the job; it is tried again after 200ms"),
        ]
        assert [each["job"] for each in logs if each["event"] == "job runs again"] == ["job"]

    play(isolated, scenario)


def test_a_job_that_runs_over_its_interval_does_not_pile_up_and_is_told_when_its_lock_ends(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        jobs, at_once, most = Jobs(), 0, 0
        rounds: asyncio.Queue[float] = asyncio.Queue()

        @jobs.task_lock("job", every=0.4, at_most=1)
        async def job(context: JobContext) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            rounds.put_nowait(context.locked_until.timestamp())
            await asyncio.sleep(0.5)  # longer than the lock; the test waits for the event below
            at_once -= 1

        with capture_logs() as logs:
            replica = await stage.replica(jobs)
            times = [await rounds.get() for _ in range(3)]
            await replica.end()
        assert most == 1
        assert all(after - before >= 0.65 for before, after in pairwise(times)), "the begin of an interval"
        told = [each for each in logs if each["event"] == "job outlives its lock"]
        assert len(told) >= 2
        assert told[0]["seconds"] == 0.4

    play(isolated, scenario)


def test_a_holder_that_vanished_is_replaced_when_its_lock_ends_and_not_before(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        seen, jobs = Seen(), Jobs()
        jobs.task_lock("job", every=2)(seen)
        await stage.rows("SELECT FROM tasks.acquire_lock('job', '4.2 s', 'a consumer that died')")
        ((ends,),) = await stage.rows("SELECT locked_until FROM tasks.lock")
        replicas = [await stage.replica(jobs) for _ in range(2)]
        await seen.reach(1)
        began = seen.runs[0].locked_until - timedelta(seconds=10)
        assert 0 <= (began - ends).total_seconds() < 1.6, "its next interval would begin 1.8 s after that"
        assert all(each.counted("job", "skipped") >= 1 for each in replicas)

    play(isolated, scenario)


def test_a_job_whose_lock_was_taken_by_hand_is_told_and_does_not_release_the_next_holders(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        jobs, began, go_on = Jobs(), asyncio.Event(), asyncio.Event()

        @jobs.task_lock("job", every=3600)
        async def job() -> None:
            began.set()
            await go_on.wait()

        with capture_logs() as logs:
            replica = await stage.replica(jobs)
            await began.wait()
            await stage.rows("SELECT FROM tasks.free_lock('job')")
            ((epoch,),) = await stage.rows("SELECT epoch FROM tasks.acquire_lock('job', '1 h', 'another')")
            go_on.set()
            await _until(lambda: replica.held == 0)
            await replica.end()
        assert [each["event"] for each in logs if each["log_level"] == "warning"] == ["job lost its lock"]
        assert await stage.lock("job") == (epoch, False, pytest.approx(3600, abs=0.01))

    play(isolated, scenario)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stop_lets_a_running_job_end_and_starts_no_other(kind: str, isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        jobs, began, go_on, ended = Jobs(), threading.Event(), threading.Event(), []

        def job() -> None:
            began.set()
            assert go_on.wait(30)
            ended.append(True)

        async def later() -> None:
            await asyncio.to_thread(job)

        jobs.task_lock("job", every=3600)(later if kind == "async" else job)
        replica = await stage.replica(jobs)
        await asyncio.to_thread(began.wait)
        ending = asyncio.create_task(replica.end())
        assert await stage.lock("job") == (_any(), False, pytest.approx(18_000, abs=0.01))
        await asyncio.wait({ending}, timeout=3)
        assert not ending.done(), "it has its grace, after the two seconds for statements"
        go_on.set()
        await ending
        assert ended == [True]
        assert await stage.lock("job") == (_any(), True, 3240)

    play(isolated, scenario)


def test_an_async_job_that_does_not_end_in_time_is_cancelled_and_its_lock_released(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        jobs, began, cleaned = Jobs(), asyncio.Event(), []

        @jobs.task_lock("job", every=3600)
        async def job() -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(True)

        replica = await stage.replica(jobs, grace=0.1)
        await began.wait()
        await replica.end()
        assert cleaned == [True]
        assert await stage.lock("job") == (_any(), True, 3240)

    play(isolated, scenario)


def test_a_thread_that_does_not_end_in_time_keeps_its_lock_and_is_named(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        jobs, began, go_on = Jobs(), threading.Event(), threading.Event()

        @jobs.task_lock("job", every=3600)
        def job() -> None:
            began.set()
            go_on.wait(30)

        replica = await stage.replica(jobs, grace=0.1)
        await asyncio.to_thread(began.wait)
        try:
            with pytest.raises(JobsAbandoned, match=r"scheduled jobs were not done within 0\.1 s: job"):
                await replica.end()
            assert await stage.lock("job") == (_any(), False, pytest.approx(18_000, abs=0.01))
        finally:
            go_on.set()

    play(isolated, scenario)


def test_a_job_takes_no_lock_while_it_waits_for_a_thread(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        jobs, began, go_on, seen = Jobs(), threading.Event(), threading.Event(), Seen()

        @jobs.task_lock("long", every=3600)
        def long() -> None:
            began.set()
            go_on.wait(30)

        jobs.task_lock("short", every=3600, initial_delay=0.2)(seen)
        busy = await stage.replica(jobs, job_threads=1)
        await asyncio.to_thread(began.wait)
        await stage.replica(jobs, job_threads=1)  # it has a thread that is free
        try:
            async with asyncio.timeout(20):  # less than the other's thread is taken
                await seen.reach(1)
            assert busy.counted("short", "ran") == 0
        finally:
            go_on.set()

    play(isolated, scenario)


def test_a_cron_job_runs_at_the_databases_seconds(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        seen, jobs = Seen(), Jobs()
        # The library has seconds, too, as a first field. A run that is late leaves the lock free for the next one.
        jobs.task_lock("job", cron="* * * * * *", at_least=0.5)(seen)
        replicas = [await stage.replica(jobs) for _ in range(3)]
        await seen.reach(3)
        for each in replicas:
            await each.end()
        starts = [context.locked_until.timestamp() - 5 for context in seen.runs]
        assert [int(after) - int(before) for before, after in pairwise(starts)] == [1] * (len(starts) - 1)
        assert len({context.epoch for context in seen.runs}) == len(starts)

    play(isolated, scenario)


def test_only_the_leader_runs_jobs_and_another_follows_when_it_ends(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        seen, jobs = Seen(), Jobs()
        jobs.task_lock("job", every=0.2)(seen)
        replicas = [await stage.replica(jobs, scheduler="leader", lease=5) for _ in range(3)]
        await seen.reach(4)
        (leader,) = [each for each in replicas if each.counted("job", "ran")]
        others = [each for each in replicas if each is not leader]
        assert [each.counted("job", "skipped") for each in others] == [0, 0]
        assert leader.held >= 1
        await leader.end()
        before = len(seen.runs)
        await seen.reach(before + 3)
        assert sorted(each.counted("job", "ran") > 0 for each in others) == [False, True]

    play(isolated, scenario)


def test_a_leader_that_vanished_is_replaced_when_its_lease_ends(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        seen, jobs = Seen(), Jobs()
        jobs.task_lock("job", every=0.2)(seen)
        await stage.rows("SELECT FROM tasks.acquire_lock('scheduler', '1.5 s', 'a consumer that died')")
        ((ends,),) = await stage.rows("SELECT locked_until FROM tasks.lock")
        await stage.replica(jobs, scheduler="leader", lease=30)
        await seen.reach(1)
        ((now,),) = await stage.rows("SELECT clock_timestamp()")
        assert 0 <= (now - ends).total_seconds() < 5

    play(isolated, scenario)


def test_a_leader_whose_lease_was_taken_stops_running_jobs(isolated: Isolated) -> None:
    async def scenario(stage: Stage) -> None:
        seen, jobs = Seen(), Jobs()
        jobs.task_lock("job", every=0.2)(seen)
        replica = await stage.replica(jobs, scheduler="leader", lease=1)
        await seen.reach(2)
        await stage.rows("SELECT FROM tasks.free_lock('scheduler')")
        await stage.rows("SELECT FROM tasks.acquire_lock('scheduler', '1 h', 'another')")
        await _until(lambda: replica.held == 0)
        runs = replica.counted("job", "ran")
        await replica.end()
        assert replica.counted("job", "ran") == runs

    play(isolated, scenario)


def test_an_answer_that_was_lost_does_not_lose_the_lock(isolated: Isolated) -> None:
    """The statement is sent again on a new connection: the lock is found to be the consumer's own."""

    async def scenario(stage: Stage) -> None:
        seen, jobs = Seen(), Jobs()
        jobs.task_lock("job", every=3600, initial_delay=0.3)(seen)
        replica = await stage.replica(jobs)
        await stage.rows("SELECT FROM tasks.acquire_lock('job', '1 h', %s)", replica.name)
        await seen.reach(1)
        assert replica.counted("job", "skipped") == 0
        await _until(lambda: replica.held == 0)
        await replica.end()
        assert await stage.lock("job") == (_any(), True, 3240)

    play(isolated, scenario)


async def _until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks of this loop do."""
    while not condition():  # noqa: ASYNC110 - a metric or a lock, which tells nobody that it changes
        await asyncio.sleep(0.005)


class _Any:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def _any() -> Any:  # noqa: ANN401 - equal to everything
    return _Any()
