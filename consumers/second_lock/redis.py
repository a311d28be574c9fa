"""Second locks in Redis, by redis-py's Lock: a key with a token of ours and a TTL, extended and released by script.

https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/, with one instance. Loaded only with
CONSUMERS_LOCK=redis; needs the extra `redis`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.lock import Lock
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    LockNotOwnedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from consumers.second_lock.address import RedisAddress
from consumers.second_lock.server import ServerAwayError

PREFIX = "outbox-relay:task:"
"""What every key of ours begins with; the task's id follows."""
_SECONDS = 1.0
_PASSES = (BusyLoadingError, ClusterDownError, OutOfMemoryError, ReadOnlyError)
"""What Redis answers while it starts, is full, or is a replica."""


class RedisLocks:
    """Locks that end `ttl` seconds after they were taken or extended.

    It calls `address` at each connect, so that a changed password is used; host, port and database are those of the
    first call.
    """

    def __init__(self, address: Callable[[], RedisAddress], *, ttl: float) -> None:
        self._ttl = ttl
        self._client = Redis.from_pool(_pool(address))

    async def take(self, task_id: UUID) -> "_HeldRedis | None":
        """Take the lock; None if another has it."""
        lock = self._client.lock(f"{PREFIX}{task_id}", timeout=self._ttl, blocking=False, thread_local=False)
        with _told():
            return _HeldRedis(lock) if await lock.acquire(token=uuid4().hex) else None

    async def probe(self) -> None:
        """Take, extend and release a lock that no task has: that needs all rights."""
        if (held := await self.take(uuid4())) is not None:
            await held.extend()
            await held.release()

    async def close(self) -> None:
        """Close its connections."""
        with suppress(RedisError, OSError):
            await self._client.aclose()


class _HeldRedis:
    """One key."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    async def extend(self) -> bool:
        """Give the key its whole TTL again, if it still has our token."""
        with _told():
            try:
                await self._lock.reacquire()
            except LockNotOwnedError:
                return False
            return True

    async def release(self) -> bool:
        """Delete the key, if it still has our token."""
        with _told():
            try:
                await self._lock.release()
            except LockNotOwnedError:
                return False
            return True

    def forget(self) -> None:
        """Leave the key to its TTL."""


class _Credentials(CredentialProvider):
    """User and password as they are now."""

    def __init__(self, address: Callable[[], RedisAddress]) -> None:
        self._address = address

    async def get_credentials_async(self) -> tuple[str, str] | tuple[str]:
        address = self._address()
        password = address.password or ""
        return (password,) if address.user is None else (address.user, password)


def _pool(address: Callable[[], RedisAddress]) -> ConnectionPool:
    place = address()
    options: dict[str, Any] = {"ssl_ca_certs": place.ca} if place.tls else {}
    return ConnectionPool(
        connection_class=SSLConnection if place.tls else Connection,
        host=place.host,
        port=place.port,
        db=place.database,
        credential_provider=_Credentials(address) if place.password is not None else None,
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
        retry=Retry(NoBackoff(), 0),  # whoever asks goes on without the lock
        protocol=2,
        **options,
    )


@contextmanager
def _told() -> Iterator[None]:
    """Raise every other error of redis-py, and of the socket below it, as ServerAwayError; none contains a password."""
    try:
        yield
    except AuthenticationError as error:
        raise ServerAwayError(f"Redis refuses the login: {error}", refused=True) from error
    except ResponseError as error:
        passes = isinstance(error, _PASSES) or str(error).startswith("MISCONF")  # it cannot write its snapshot
        raise ServerAwayError(f"Redis answers: {error}", refused=not passes) from error
    except (RedisError, OSError) as error:
        raise ServerAwayError(str(error) or type(error).__name__) from error
