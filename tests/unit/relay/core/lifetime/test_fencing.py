"""After a standstill nothing leaves, until the source has answered a question that was asked after it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from outboxkit.errors import Problem
from relay.core.lifetime.fencing import STANDSTILL, Fencing

Scenario = Callable[["Relay"], Awaitable[None]]


class Relay:
    """A process with a clock that the test moves, and a source that answers when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fencing = Fencing(clock=lambda: self.now)
        self.asked: asyncio.Queue[asyncio.Future[bool]] = asyncio.Queue()

    def stands_still(self, seconds: float = 2 * STANDSTILL) -> None:
        self.now += seconds

    async def ours(self) -> bool:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(answer)
        return await answer

    async def decided(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


def play(scenario: Scenario) -> None:
    async def run() -> None:
        relay = Relay()
        proving = asyncio.create_task(relay.fencing.prove(relay.ours))
        async with asyncio.timeout(5):
            await scenario(relay)
        proving.cancel()

    asyncio.run(run())


def test_a_process_that_runs_is_not_held_up() -> None:
    async def scenario(relay: Relay) -> None:
        for _ in range(10):
            relay.stands_still(STANDSTILL / 2)
            assert not relay.fencing.holds()
        await relay.decided()
        assert relay.asked.empty()

    play(scenario)


def test_nothing_leaves_after_a_standstill_before_the_source_has_said_yes() -> None:
    async def scenario(relay: Relay) -> None:
        relay.stands_still()
        assert relay.fencing.holds()
        answer = await relay.asked.get()
        assert relay.fencing.holds()
        answer.set_result(True)
        await relay.decided()
        assert not relay.fencing.holds()
        assert not relay.fencing.fenced()

    play(scenario)


def test_what_is_held_is_dropped_when_the_source_says_no() -> None:
    async def scenario(relay: Relay) -> None:
        relay.stands_still()
        assert relay.fencing.holds()
        (await relay.asked.get()).set_result(False)
        await relay.fencing.noticed()
        assert relay.fencing.fenced()
        assert relay.fencing.holds()
        relay.fencing.reset()
        assert not relay.fencing.fenced()
        assert not relay.fencing.holds()

    play(scenario)


def test_an_answer_from_before_another_standstill_proves_nothing() -> None:
    async def scenario(relay: Relay) -> None:
        relay.stands_still()
        assert relay.fencing.holds()
        old = await relay.asked.get()
        old.set_result(True)
        relay.stands_still()
        await relay.decided()
        assert relay.fencing.holds()
        (await relay.asked.get()).set_result(False)
        await relay.fencing.noticed()

    play(scenario)


def test_an_error_is_no_answer_and_the_source_is_asked_again() -> None:
    async def scenario(relay: Relay) -> None:
        relay.stands_still()
        assert relay.fencing.holds()
        (await relay.asked.get()).set_exception(Problem("the session is gone", remedy="wait"))
        (await relay.asked.get()).set_result(True)
        await relay.decided()
        assert not relay.fencing.holds()

    play(scenario)


@pytest.mark.parametrize("during", [True, False])
def test_a_stream_is_asked_about_if_the_process_stood_still_while_it_opened(*, during: bool) -> None:
    async def scenario(relay: Relay) -> None:
        before = relay.fencing.standstills()
        if during:
            relay.stands_still()
            assert relay.fencing.holds()
            (await relay.asked.get()).set_result(True)  # nothing was held then
            await relay.decided()
        relay.fencing.doubt(before)
        assert relay.fencing.holds() is during

    play(scenario)
