"""The shadow takes no more of the loop's time than its share, and nothing about its work is changed by that."""

import asyncio
from collections.abc import Awaitable

import pytest

from relay.shadow.pace import Pace


class Clock:
    """A clock that work moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def turn() -> None:
    await asyncio.sleep(0)


def test_the_steps_of_work_are_counted_and_its_waits_are_not() -> None:
    clock = Clock()

    async def wait() -> None:
        other = asyncio.create_task(pass_time(5.0))
        await other

    async def pass_time(seconds: float) -> None:
        clock.now += seconds
        await asyncio.sleep(0)

    async def work() -> str:
        clock.now += 0.25
        await wait()
        clock.now += 0.5
        return "done"

    pace = Pace(clock=clock)
    assert asyncio.run(pace.metered(work())) == "done"
    assert (clock.now, pace.taken) == (5.75, 0.75)


def test_work_gets_what_is_raised_and_the_caller_gets_what_it_raises() -> None:
    async def fails() -> None:
        raise LookupError

    async def work(of: Awaitable[None]) -> None:
        try:
            await of
        except LookupError:
            raise KeyError("seen") from None

    async def run() -> None:
        await Pace().metered(work(asyncio.ensure_future(fails())))

    with pytest.raises(KeyError, match="seen"):
        asyncio.run(run())


def test_work_that_is_cancelled_ends_in_order() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("in order")

    async def run() -> None:
        task = asyncio.create_task(Pace().metered(work()))
        await turn()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert ended == ["in order"]


def test_what_was_taken_is_rested_for_until_it_is_the_share() -> None:
    clock = Clock()
    pace = Pace(0.05, clock)
    worked = 0.0
    for _ in range(200):
        clock.now += 0.002
        pace.took(0.002)
        worked += 0.002
        clock.now += pace.due()
    assert worked / clock.now == pytest.approx(0.05, rel=0.05)


def test_what_was_saved_up_is_a_few_milliseconds_of_work() -> None:
    clock = Clock()
    pace = Pace(0.05, clock)
    clock.now += 3600
    assert pace.due() == 0
    pace.took(0.009)
    assert pace.due() == 0
    pace.took(0.1)
    assert pace.due() == pytest.approx((0.1 - 0.001) / 0.05)
