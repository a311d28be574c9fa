"""A second lock that a server keeps; it runs on the loop, and threads wait for it there.

One timer extends all locks that are held. When the server fails, it is not asked again for each task: handlers run
without the lock, and only the timer asks, after a backoff, until the server is back.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from uuid import UUID

from consumers.errors import SecondLockRefused
from consumers.second_lock.server import Held, LockServer, ServerAwayError
from consumers.second_lock.telling import Outcome, Telling
from outboxkit.backoff import Backoff

T = TypeVar("T")

_SECONDS = 2.0
"""How long a handler waits for an answer of the server, once; a server answers in about a millisecond."""
_AT_ONCE = 32
"""How many locks are asked for at once. When the server stands still, only those wait for the timeout."""
_EXTEND_SECONDS = 10.0
_SETTLED_SECONDS = 60.0


@dataclass(eq=False, slots=True)
class _Hold:
    """A handler that may run, with its lock; without one while the server is away, or once the lock was lost."""

    held: Held | None
    guard: asyncio.Lock = field(default_factory=asyncio.Lock)


class ServedLock:
    """The second lock of `server`, between `__aenter__` and `__aexit__`.

    `name` is its setting, and names it in the log. A lock that is not extended ends after `lease` seconds.
    """

    def __init__(self, server: LockServer, *, name: str, lease: float, count: Callable[[Outcome], None]) -> None:
        self._server = server
        self._name = name
        self._interval = min(lease / 3, _EXTEND_SECONDS)
        self._telling = Telling(name, count)
        self._loop = asyncio.get_running_loop()
        self._asking = asyncio.Semaphore(_AT_ONCE)
        self._holds: set[_Hold] = set()
        self._releasing: set[asyncio.Task[None]] = set()
        self._away = asyncio.Event()
        """Set while the server is not asked."""
        self._backoff = Backoff()
        self._back_at = self._loop.time()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Ask the server once; raises SecondLockRefused when only another configuration helps."""
        try:
            await self._ask(self._server.probe())
        except ServerAwayError as error:
            if error.refused:
                await self._server.close()
                raise SecondLockRefused(
                    f"CONSUMERS_LOCK={self._name} cannot be used: {error}",
                    remedy="correct CONSUMERS_REDIS_URL, or what its user may do (docs/second-lock.md), or set "
                    "CONSUMERS_LOCK=none",
                ) from error
            self._fail(error)
        self._timer = self._loop.create_task(self._keep(), name="second lock")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        self._away.set()  # handlers that were abandoned ask no more
        self._timer.cancel()
        await asyncio.wait([self._timer])
        self._telling.flush()
        for hold in list(self._holds):
            self._drop(hold)
        await self._server.close()
        if not self._timer.cancelled():
            self._timer.result()  # it ended by itself: a bug

    @contextlib.contextmanager
    def hold(self, task_id: UUID) -> Iterator[bool]:
        """Hold the lock of `task_id` for a block in a thread other than the loop's."""
        hold = self._from_thread(self._take(task_id))
        try:
            yield hold is not None
        finally:
            if hold is not None and hold.held is not None:
                self._from_thread(self._release(hold))

    @contextlib.asynccontextmanager
    async def hold_async(self, task_id: UUID) -> AsyncIterator[bool]:
        """Hold the lock of `task_id` for a block on the loop."""
        hold = await self._take(task_id)
        try:
            yield hold is not None
        finally:
            if hold is not None and hold.held is not None:
                # Also if this handler is cancelled meanwhile: the lock would be extended for ever.
                releasing = self._loop.create_task(self._release(hold), name="releasing a second lock")
                self._releasing.add(releasing)
                releasing.add_done_callback(self._releasing.discard)
                await asyncio.shield(releasing)

    def _from_thread(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what `work` returns on the loop; None when the loop has ended, and this handler was abandoned."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except (RuntimeError, CancelledError):
            if not self._closed:
                raise
            work.close()
            return None

    async def _take(self, task_id: UUID) -> _Hold | None:
        async with self._asking:
            try:
                if not self._away.is_set():
                    held = await self._ask(self._server.take(task_id))
                    self._telling.asked("busy" if held is None else "held")
                    return None if held is None else self._keeping(_Hold(held))
            except ServerAwayError as error:
                self._fail(error)
        self._telling.asked("without")
        return _Hold(None)

    def _keeping(self, hold: _Hold) -> _Hold:
        self._holds.add(hold)
        return hold

    async def _release(self, hold: _Hold) -> None:
        async with self._asking, hold.guard:
            if hold.held is None:  # it was lost meanwhile
                return
            if self._away.is_set():  # it ends by itself
                self._drop(hold)
                return
            try:
                released = await self._ask(hold.held.release())
            except ServerAwayError as error:
                self._fail(error)
                self._drop(hold)
            else:
                self._end(hold, lost=not released)

    async def _keep(self) -> None:
        """Extend the locks in time; while the server is away, ask it until it is back."""
        while True:
            if self._away.is_set():
                await asyncio.sleep(self._backoff.next_delay())
                await self._look()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._away.wait()
            await self._extend()

    async def _extend(self) -> None:
        for hold in list(self._holds):
            async with hold.guard:
                if hold.held is None or self._away.is_set():
                    continue
                try:
                    extended = await self._ask(hold.held.extend())
                except ServerAwayError as error:
                    self._fail(error)
                else:
                    if not extended:
                        self._end(hold, lost=True)

    async def _look(self) -> None:
        """Ask the server whether it is back; extend what is held at once then, since much of its time is over."""
        try:
            await self._ask(self._server.probe())
        except ServerAwayError:
            return
        self._back_at = self._loop.time()
        self._away.clear()
        self._telling.back()
        await self._extend()

    async def _ask(self, question: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(_SECONDS):
                return await question
        except TimeoutError as error:
            raise ServerAwayError(f"no answer within {_SECONDS:g} s") from error

    def _fail(self, error: ServerAwayError) -> None:
        """Stop asking the server; the first failure of an incident is logged."""
        if self._away.is_set():
            return
        if (
            self._loop.time() - self._back_at > _SETTLED_SECONDS
        ):  # otherwise it comes and goes: ask, and tell, less often
            self._backoff.reset()
        self._away.set()
        self._telling.away(str(error))

    def _drop(self, hold: _Hold) -> None:
        if hold.held is not None:
            hold.held.forget()
        self._end(hold, lost=False)

    def _end(self, hold: _Hold, *, lost: bool) -> None:
        hold.held = None
        self._holds.discard(hold)
        if lost:
            self._telling.lost()
