"""Builds what runs the handlers of tasks, for app.py, which builds the rest."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import assert_never

from pydantic import SecretStr

from consumers.handlers.declaring.registry import Registry
from consumers.handlers.declaring.task import Task
from consumers.handlers.running.coroutines import Coroutines
from consumers.handlers.running.execution import AsyncExecution, Execution
from consumers.handlers.running.executor import Executor
from consumers.handlers.running.failures import Failures
from consumers.handlers.running.finished import Finished
from consumers.handlers.running.threads import Threads
from consumers.handlers.transactions.transactions import AsyncTransactions, Transactions
from consumers.postgres.connecting import address
from consumers.second_lock.address import read as read_redis_url
from consumers.second_lock.advisory import AdvisoryLocks
from consumers.second_lock.lock import SecondLock
from consumers.second_lock.served import ServedLock
from consumers.second_lock.server import LockServer
from consumers.second_lock.telling import Outcome as LockOutcome
from consumers.settings import ConsumerSettings
from outboxkit.errors import ConfigurationProblem

_CONNECTION_SECONDS = 10.0
"""How long a handler waits for a connection to Postgres."""


@contextlib.asynccontextmanager
async def executing(
    fresh: Callable[[], ConsumerSettings], registry: Registry, *, name: str, count_lock: Callable[[LockOutcome], None]
) -> AsyncIterator[Executor]:
    """Yield what runs the handlers of `registry`; `count_lock` counts what became of second locks."""
    settings = fresh()
    concurrency = settings.concurrency
    # Twice as many as handlers: one whose deadline has passed may still hold its connection.
    connections = 2 * concurrency

    def url() -> str:
        return fresh().database_url.get_secret_value()

    def connect() -> str:
        return address(url(), name=f"consumers handlers {name}")

    def is_async(task: Task) -> bool:
        handler = registry.find(task.type)
        return handler is not None and handler.is_async

    async with (
        _second_lock(fresh, url, name=name, count=count_lock) as lock,
        AsyncTransactions(connect, size=connections, timeout=_CONNECTION_SECONDS) as on_the_loop,
    ):
        with Transactions(connect, size=connections, timeout=_CONNECTION_SECONDS) as in_threads:
            finished, failures = Finished(), Failures(registry, settings.retry())
            yield Executor(
                Threads(Execution(registry, in_threads, failures, lock), finished, concurrency=concurrency),
                Coroutines(AsyncExecution(registry, on_the_loop, failures, lock), finished, concurrency=concurrency),
                finished,
                is_async=is_async,
                failures=failures,
                low_water=2 * concurrency,
            )


@contextlib.asynccontextmanager
async def _second_lock(
    fresh: Callable[[], ConsumerSettings], url: Callable[[], str], *, name: str, count: Callable[[LockOutcome], None]
) -> AsyncIterator[SecondLock | None]:
    """Yield what CONSUMERS_LOCK names; None for none."""
    settings = fresh()
    server = lock_server(fresh, url, name=f"consumers second locks {name}")
    if server is None:
        yield None
        return
    async with ServedLock(server, name=settings.lock, lease=settings.lease, count=count) as lock:
        yield lock


def lock_server(fresh: Callable[[], ConsumerSettings], url: Callable[[], str], *, name: str) -> LockServer | None:
    """Return the server that CONSUMERS_LOCK names; raises ConfigurationProblem if it cannot be used here."""
    settings = fresh()
    match settings.lock:
        case "none":
            return None
        case "advisory":
            return AdvisoryLocks(url, name=name, lease=settings.lease)
        case "redis":
            return _redis(fresh)
        case _:
            assert_never(settings.lock)


def _redis(fresh: Callable[[], ConsumerSettings]) -> LockServer:
    try:
        from consumers.second_lock import redis  # noqa: PLC0415 - an extra, which only this needs
    except ImportError as error:
        raise ConfigurationProblem(
            f"CONSUMERS_LOCK is redis, and redis-py cannot be imported: {error}",
            remedy="pip install 'outbox-relay[redis]', or set CONSUMERS_LOCK=advisory or none",
        ) from error
    return redis.RedisLocks(lambda: read_redis_url(_required(fresh().redis_url)), ttl=fresh().lease)


def _required(url: SecretStr | None) -> str:
    assert url is not None  # noqa: S101 - the settings refuse redis without it
    return url.get_secret_value()
