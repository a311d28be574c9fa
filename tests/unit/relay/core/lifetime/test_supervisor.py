"""The supervisor: a background task that ends or raises is never silent, and what may be tried again is."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from outboxkit.errors import Problem
from relay.core.lifetime.supervisor import Supervisor
from relay.core.observations import NotStored, Observation, Stored


def supervised(scenario: Callable[[Supervisor, list[Observation]], Awaitable[None]]) -> list[Observation]:
    """Run `scenario`, and return what was observed."""

    async def run() -> list[Observation]:
        seen: list[Observation] = []
        async with asyncio.timeout(10), Supervisor(seen.append) as supervisor:
            await scenario(supervisor, seen)
        return seen

    return asyncio.run(run())


async def _lasts() -> None:
    await asyncio.get_running_loop().create_future()


def test_a_task_that_raises_is_reported_with_its_own_error() -> None:
    async def scenario(supervisor: Supervisor, _: list[Observation]) -> None:
        async def raises() -> None:
            raise Problem("the disk is full", remedy="free space")

        supervisor.start("lasting", _lasts())
        supervisor.start("storing", raises())
        with pytest.raises(Problem, match="the disk is full"):
            await supervisor.failure

    supervised(scenario)


def test_a_task_that_returns_is_reported_by_its_name() -> None:
    async def scenario(supervisor: Supervisor, _: list[Observation]) -> None:
        async def returns() -> None:
            pass

        supervisor.start("storing", returns())
        with pytest.raises(RuntimeError, match="'storing' has returned"):
            await supervisor.failure

    supervised(scenario)


def test_what_is_repeated_goes_on_after_a_problem_and_reports_it() -> None:
    async def scenario(supervisor: Supervisor, _: list[Observation]) -> None:
        again, runs = asyncio.Event(), 0

        async def action() -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                raise Problem("not now", remedy="wait")
            again.set()

        supervisor.repeat("partitions", action, every=0.01)
        await again.wait()
        assert not supervisor.failure.done()

    failed, done = supervised(scenario)
    assert isinstance(failed, NotStored)
    assert (failed.what, failed.problem.what) == ("partitions", "not now")
    assert done == Stored("partitions")


def test_a_bug_in_what_is_repeated_is_reported() -> None:
    async def scenario(supervisor: Supervisor, _: list[Observation]) -> None:
        async def action() -> None:
            raise ZeroDivisionError

        supervisor.repeat("partitions", action, every=0.01)
        with pytest.raises(ZeroDivisionError):
            await supervisor.failure

    supervised(scenario)


def test_stopping_ends_every_task_and_waits_for_it() -> None:
    ended: list[str] = []

    async def scenario(supervisor: Supervisor, _: list[Observation]) -> None:
        running = asyncio.Event()

        async def lasts() -> None:
            running.set()
            try:
                await _lasts()
            finally:
                await asyncio.sleep(0)
                ended.append("closed in order")

        supervisor.start("publisher", lasts())
        await running.wait()

    supervised(scenario)
    assert ended == ["closed in order"]


def test_a_task_that_is_cancelled_by_itself_is_reported_by_its_name() -> None:
    async def scenario(supervisor: Supervisor, _: list[Observation]) -> None:
        async def awaits_what_is_cancelled() -> None:
            answer = asyncio.get_running_loop().create_future()
            answer.cancel()
            await answer

        supervisor.start("publisher", awaits_what_is_cancelled())
        with pytest.raises(RuntimeError, match="'publisher' was cancelled"):
            await supervisor.failure

    supervised(scenario)


@pytest.mark.parametrize(
    ("second", "logged"), [(Problem("Postgres is away", remedy="wait"), 0), (ZeroDivisionError(), 1)]
)
def test_behind_the_first_failure_only_a_bug_is_logged(second: Exception, logged: int) -> None:
    reported: list[dict[str, object]] = []

    async def scenario(supervisor: Supervisor, _: list[Observation]) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

        async def raises(error: Exception) -> None:
            raise error

        supervisor.start("storing", raises(Problem("the disk is full", remedy="free space")))
        supervisor.start("stream", raises(second))
        with pytest.raises(Problem, match="the disk is full"):
            await supervisor.failure

    supervised(scenario)
    assert [context.get("exception") for context in reported] == [second] * logged
