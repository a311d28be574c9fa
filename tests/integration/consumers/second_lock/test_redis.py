"""Second locks in a real Redis: they exclude each other, and whatever becomes of Redis, handlers go on."""

import asyncio
import re
import signal
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from consumers.errors import SecondLockRefused
from consumers.second_lock import address
from consumers.second_lock.redis import PREFIX, RedisLocks
from sandbox.lifetime import private
from sandbox.machine import processes
from sandbox.servers.redis import Redis
from tests.integration.consumers.second_lock.consumer import comes, consumer, holding, on_a_loop
from tests.support.commands import ROOT

LEASE = 2.0
LONG = 60.0
GONE = "second lock not available"
BACK = "second lock available again"
PAGE = (ROOT / "docs" / "second-lock.md").read_text(encoding="utf-8")
(DOCUMENTED,) = re.findall("^ACL SETUSER .*$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with private.redis() as server:
        yield server


@pytest.fixture
def redis(server: Redis) -> Redis:
    """Return a running Redis that is empty."""
    server.start()
    server.command("FLUSHALL")
    return server


def locks(redis: Redis, *, ttl: float = LONG, url: str = "") -> RedisLocks:
    return RedisLocks(lambda: address.read(url or redis.url), ttl=ttl)


def password(url: str) -> str:
    return urlsplit(url).password or ""


def keys(redis: Redis) -> int:
    """Return how many keys there are."""
    return int(redis.command("DBSIZE").removeprefix(":"))


def left(redis: Redis, task_id: UUID) -> int:
    """Return for how many milliseconds a lock is held; less than 0 if it is not held, or without end."""
    return int(redis.command(f"PTTL {PREFIX}{task_id}").removeprefix(":"))


def events(log: list[MutableMapping[str, Any]]) -> list[str]:
    return [line["event"] for line in log]


@on_a_loop
async def test_one_handler_of_a_task_runs_at_a_time(redis: Redis) -> None:
    task, other = uuid4(), uuid4()
    async with consumer(locks(redis), lease=LONG) as first, consumer(locks(redis), lease=LONG) as second:
        async with first.lock.hold_async(task) as held:
            assert held
            assert 0 < left(redis, task) <= LONG * 1000
            assert not await second.held(task)
            assert not await asyncio.to_thread(second.held_in_thread, task)
            assert await second.held(other)
        assert await asyncio.to_thread(second.held_in_thread, task)
        assert (first.counted, second.counted) == ({"held": 1}, {"held": 2, "busy": 2})
    assert keys(redis) == 0


@on_a_loop
async def test_a_lock_is_released_when_its_handler_raises(redis: Redis) -> None:
    task = uuid4()
    async with consumer(locks(redis), lease=LONG) as one:
        with pytest.raises(ZeroDivisionError):
            async with one.lock.hold_async(task):
                raise ZeroDivisionError
        assert left(redis, task) < 0


@on_a_loop
async def test_a_lock_outlives_its_ttl_while_its_handler_runs(redis: Redis) -> None:
    task = uuid4()
    async with consumer(locks(redis, ttl=LEASE), lease=LEASE) as one, one.lock.hold_async(task):
        await asyncio.sleep(LEASE * 2)  # what is waited for is that nothing happens
        assert 0 < left(redis, task) <= LEASE * 1000
        assert one.counted == {"held": 1}


@on_a_loop
async def test_a_lock_that_another_has_by_now_is_left_to_it(redis: Redis) -> None:
    task = uuid4()
    with capture_logs() as log:
        async with consumer(locks(redis), lease=LONG) as one:
            async with one.lock.hold_async(task):
                redis.command(f"SET {PREFIX}{task} another PX 60000")
            assert one.counted == {"held": 1, "lost": 1}
    assert redis.command(f"GET {PREFIX}{task}") == "$7\r\nanother\r\n"
    assert events(log) == ["second lock lost while handlers ran"]


@on_a_loop
async def test_a_flush_is_said_once_for_all_locks(redis: Redis) -> None:
    tasks = [uuid4() for _ in range(8)]
    with capture_logs() as log:
        async with consumer(locks(redis, ttl=LEASE), lease=LEASE) as one, AsyncExitStack() as stack:
            await one.holds(stack, *tasks)
            redis.command("FLUSHALL")
            await one.counts(held=8, lost=8)
            await comes(lambda: log, "a line")
            assert await one.held(tasks[0])  # who comes now gets the lock again
    assert events(log) == ["second lock lost while handlers ran"]
    assert log[0]["tasks"] == 8


@on_a_loop
async def test_handlers_go_on_while_redis_is_dead_and_lock_again_when_it_is_back(redis: Redis) -> None:
    task = uuid4()
    with capture_logs() as log:
        async with consumer(locks(redis), lease=LONG) as first, consumer(locks(redis), lease=LONG) as second:
            async with first.lock.hold_async(task) as held:
                assert held
                redis.kill()
                assert [await second.held(task) for _ in range(20)] == [True] * 20
            assert second.counted == {"without": 20}
            redis.start()
            await comes(lambda: events(log).count(BACK) == 2, "both lock again")
            async with first.lock.hold_async(task):
                assert not await second.held(task)
    assert events(log).count(GONE) == 2  # one of each consumer


@on_a_loop
async def test_idle_connections_that_a_restart_closed_are_no_incident(redis: Redis) -> None:
    with capture_logs() as log:
        async with consumer(locks(redis), lease=LONG) as one:
            assert await one.held(uuid4())
            await asyncio.to_thread(redis.kill)
            await asyncio.to_thread(redis.start)
            assert await one.held(uuid4())
            assert one.counted == {"held": 2}
    assert log == []


@on_a_loop
async def test_a_redis_that_stands_still_delays_handlers_once(redis: Redis) -> None:
    loop = asyncio.get_running_loop()
    with capture_logs() as log:
        async with consumer(locks(redis), lease=LONG) as one:
            assert await one.held(uuid4())
            processes.send(redis.home, signal.SIGSTOP)
            try:
                started = loop.time()
                held = await asyncio.gather(*(one.held(uuid4()) for _ in range(300)))
                held += await asyncio.gather(*(asyncio.to_thread(one.held_in_thread, uuid4()) for _ in range(5)))
                waited = loop.time() - started
                assert events(log) == [GONE]
            finally:
                processes.send(redis.home, signal.SIGCONT)
            assert all(held)
            assert waited < 8
            await comes(lambda: BACK in events(log), "it is back")
            assert log[1]["tasks_without"] == 305
            assert await one.held(uuid4())


@on_a_loop
async def test_a_consumer_starts_without_redis(redis: Redis) -> None:
    redis.kill()
    with capture_logs() as log:
        async with consumer(locks(redis), lease=LONG) as one:
            assert await one.held(uuid4())
            redis.start()
            await comes(lambda: BACK in events(log), "it is back")
            assert await one.held(uuid4())
            assert one.counted == {"without": 1, "held": 1}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@on_a_loop
async def test_a_holder_that_is_killed_or_stands_still_is_replaced_when_its_ttl_ends(
    redis: Redis, number: signal.Signals
) -> None:
    task = uuid4()
    async with consumer(locks(redis), lease=LONG) as one:
        with holding("redis", redis.url, task, lease=3) as process:
            assert not await one.held(task)
            process.send_signal(number)
            await comes(lambda: left(redis, task) < 0, "the TTL ends")
            assert await one.held(task)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda url: url.replace("redis://:", "redis://:planted"), "refuses the login"),
        (lambda url: url.replace("redis://:", "redis://nobody:"), "refuses the login"),
        (lambda url: "redis://" + url.partition("@")[2], "refuses the login: Authentication required"),
        (lambda url: url.removesuffix("0") + "77", "DB index is out of range"),
    ],
)
@on_a_loop
async def test_what_only_an_operator_can_correct_is_an_error_at_start(
    redis: Redis, wrong: Callable[[str], str], reason: str
) -> None:
    with pytest.raises(SecondLockRefused) as caught:
        async with consumer(locks(redis, url=wrong(redis.url)), lease=LONG):
            pass
    assert reason in caught.value.what
    assert "planted" not in str(caught.value)
    assert "CONSUMERS_REDIS_URL" in caught.value.remedy


@pytest.mark.parametrize(
    ("refuse", "accept", "reason"),
    [
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "read only replica"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "maxmemory"),
    ],
)
@on_a_loop
async def test_a_redis_that_takes_no_writes_for_a_while_ends_no_consumer(
    redis: Redis, refuse: str, accept: str, reason: str
) -> None:
    redis.command(refuse)
    try:
        with capture_logs() as log:
            async with consumer(locks(redis), lease=LONG) as one:
                assert await one.held(uuid4())
                redis.command(accept)
                await comes(lambda: BACK in events(log), "it is back")
                redis.command(refuse)
                assert await one.held(uuid4())
                redis.command(accept)
                await comes(lambda: events(log).count(BACK) > 1, "it is back again")
                assert await one.held(uuid4())
                assert one.counted == {"without": 2, "held": 1}
    finally:
        redis.command(accept)
    assert events(log) == [GONE, BACK] * 2
    assert reason in log[0]["reason"]


async def is_refused(url: str) -> bool:
    """Return whether a consumer that logs in as in `url` does not start."""
    try:
        async with consumer(RedisLocks(lambda: address.read(url), ttl=LONG), lease=LONG) as one:
            return not await one.held(uuid4())
    except SecondLockRefused:
        return True


@on_a_loop
async def test_the_rights_in_the_documentation_are_enough_and_none_can_be_left_out(redis: Redis) -> None:
    words = [word for word in DOCUMENTED.split() if word[0] == "+"]
    assert words
    url = redis.url.replace("redis://:", "redis://consumers:")
    assert redis.command(DOCUMENTED.replace("PASSWORD", password(url))) == "+OK\r\n"
    assert not await is_refused(url)
    for word in words:
        redis.command("SCRIPT FLUSH")
        redis.command(f"ACL SETUSER consumers -{word[1:]}")
        assert await is_refused(url), f"{word} is not needed"
        redis.command(f"ACL SETUSER consumers {word}")


@on_a_loop
async def test_a_changed_password_is_used_at_the_next_connect(redis: Redis) -> None:
    url = redis.url.replace("redis://:", "redis://rotating:")
    redis.command(f"ACL SETUSER rotating reset on >{password(url)} ~* +@all")
    current = [url]
    server = RedisLocks(lambda: address.read(current[0]), ttl=LONG)
    async with consumer(server, lease=LONG) as one:
        assert await one.held(uuid4())
        redis.command("ACL SETUSER rotating resetpass >changed")
        current[0] = url.replace(password(url), "changed")
        await asyncio.to_thread(redis.command, "CLIENT KILL USER rotating")
        assert await one.held(uuid4())
        assert one.counted == {"held": 2}
