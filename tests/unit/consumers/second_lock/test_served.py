"""The second lock with a server of the test's own: what handlers see when it fails, and what is said."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from consumers.errors import SecondLockRefused
from consumers.second_lock.served import ServedLock
from consumers.second_lock.server import ServerAwayError

TASK = uuid4()


class Server:
    """A server with a switch."""

    def __init__(self) -> None:
        self.up = True
        self.refused = False
        self.keeps = True
        self.asked = 0
        self.held: set[UUID] = set()
        self.forgotten = 0
        self.closed = False
        self.answer = asyncio.Event()
        self.answer.set()

    async def take(self, task_id: UUID) -> "One | None":
        await self.question()
        if task_id in self.held:
            return None
        self.held.add(task_id)
        return One(self, task_id)

    async def probe(self) -> None:
        await self.question()

    async def close(self) -> None:
        self.closed = True

    async def question(self) -> None:
        self.asked += 1
        await self.answer.wait()
        if not self.up:
            raise ServerAwayError("planted", refused=self.refused)


class One:
    """A lock of that server."""

    def __init__(self, server: Server, task_id: UUID) -> None:
        self._server = server
        self._task_id = task_id

    async def extend(self) -> bool:
        await self._server.question()
        return self._server.keeps

    async def release(self) -> bool:
        await self._server.question()
        self._server.held.discard(self._task_id)
        return self._server.keeps

    def forget(self) -> None:
        self._server.forgotten += 1
        self._server.held.discard(self._task_id)


def lock(server: Server, counted: Counter[str] | None = None, *, lease: float = 60) -> ServedLock:
    counts: Counter[str] = Counter() if counted is None else counted
    return ServedLock(server, name="redis", lease=lease, count=lambda outcome: counts.update([outcome]))


def test_releases_that_fail_are_said_once_and_reach_no_handler() -> None:
    async def run() -> None:
        server = Server()
        async with lock(server) as second:
            handlers = [AsyncExitStack() for _ in range(3)]
            for handler in handlers:
                assert await handler.enter_async_context(second.hold_async(uuid4()))
            server.up = False
            await asyncio.gather(*(handler.aclose() for handler in handlers))
            assert server.forgotten == 3

    with capture_logs() as log:
        asyncio.run(run())
    assert [line["event"] for line in log] == ["second lock not available"]
    assert log[0]["reason"] == "planted"


def test_while_it_is_away_no_handler_asks_it() -> None:
    async def run() -> None:
        server, counted = Server(), Counter[str]()
        server.up = False
        async with lock(server, counted) as second:
            asked = server.asked
            for _ in range(100):
                async with second.hold_async(TASK) as held:
                    assert held
            assert server.asked <= asked + 1  # by the timer
            assert counted == {"without": 100}

    with capture_logs() as log:
        asyncio.run(run())
    assert [line["event"] for line in log] == ["second lock not available"]


def test_a_server_that_does_not_answer_is_away() -> None:
    async def run() -> None:
        server = Server()
        async with lock(server) as second:
            server.answer.clear()
            async with asyncio.timeout(10), second.hold_async(TASK) as held:
                assert held

    with capture_logs() as log:
        asyncio.run(run())
    assert log[0]["reason"] == "no answer within 2 s"


def test_what_only_an_operator_can_correct_ends_the_start() -> None:
    async def run() -> Server:
        server = Server()
        server.up, server.refused = False, True
        with pytest.raises(SecondLockRefused, match="planted"):
            async with lock(server):
                pass
        return server

    assert asyncio.run(run()).closed


def test_the_same_while_it_runs_is_only_said() -> None:
    async def run() -> None:
        server = Server()
        async with lock(server) as second:
            server.up, server.refused = False, True
            async with second.hold_async(TASK) as held:
                assert held

    with capture_logs() as log:
        asyncio.run(run())
    assert [line["event"] for line in log] == ["second lock not available"]


def test_a_lost_lock_is_told_at_the_latest_when_the_consumer_ends() -> None:
    async def run() -> Counter[str]:
        server, counted = Server(), Counter[str]()
        async with lock(server, counted) as second:
            server.keeps = False
            async with second.hold_async(TASK):
                pass
        return counted

    with capture_logs() as log:
        assert asyncio.run(run()) == {"held": 1, "lost": 1}
    assert [(line["event"], line["tasks"]) for line in log] == [("second lock lost while handlers ran", 1)]


def test_an_abandoned_handler_that_ends_later_stays_without_a_lock_and_does_not_wait() -> None:
    begun, go_on = threading.Event(), threading.Event()
    seen: list[bool] = []

    def handler(second: ServedLock) -> None:
        with second.hold(TASK) as held:
            seen.append(held)
            begun.set()
            go_on.wait()
        with second.hold(TASK) as held:
            seen.append(held)

    async def run() -> threading.Thread:
        async with lock(Server()) as second:
            thread = threading.Thread(target=handler, args=[second], daemon=True)
            thread.start()
            await asyncio.to_thread(begun.wait)
        return thread

    thread = asyncio.run(run())
    go_on.set()
    thread.join(10)
    assert not thread.is_alive()
    assert seen == [True, False]


@pytest.mark.parametrize("raised", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
def test_a_handler_s_own_error_passes_through(raised: type[BaseException]) -> None:
    async def run() -> None:
        server = Server()
        async with lock(server) as second:

            def handler() -> None:
                with second.hold(TASK):
                    raise raised

            def check(call: Callable[[], None]) -> None:
                with pytest.raises(raised):
                    call()

            await asyncio.to_thread(check, handler)
            assert not server.held

    asyncio.run(run())
