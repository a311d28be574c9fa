"""A consumer as far as its second lock goes: the lock, what it counted, and the waits of a test."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import wraps
from typing import Any, ParamSpec
from uuid import UUID

from consumers.second_lock.lock import SecondLock
from consumers.second_lock.served import ServedLock
from consumers.second_lock.server import LockServer
from sandbox.machine.waiting import until
from tests.integration.consumers.second_lock import holder

P = ParamSpec("P")

_SECONDS = 20.0


def on_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of a coroutine."""

    @wraps(test)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        asyncio.run(test(*arguments, **options))

    return run


class Consumer:
    """A second lock, and how often it had each outcome."""

    def __init__(self, lock: SecondLock, counted: Counter[str]) -> None:
        self.lock = lock
        self.counted = counted

    async def held(self, task_id: UUID) -> bool:
        """Return whether a handler of the task could run now."""
        async with self.lock.hold_async(task_id) as held:
            return held

    def held_in_thread(self, task_id: UUID) -> bool:
        """Return the same, asked from a thread."""
        with self.lock.hold(task_id) as held:
            return held

    async def holds(self, stack: AsyncExitStack, *task_ids: UUID) -> None:
        """Hold these locks until `stack` ends."""
        for task_id in task_ids:
            assert await stack.enter_async_context(self.lock.hold_async(task_id))

    async def counts(self, **outcomes: int) -> None:
        """Wait until exactly these outcomes were counted."""
        await comes(lambda: self.counted == outcomes, f"{outcomes}, and not {self.counted}")


@asynccontextmanager
async def consumer(server: LockServer, *, lease: float, name: str = "redis") -> AsyncIterator[Consumer]:
    """Yield a consumer whose locks end `lease` seconds after it was killed."""
    counted: Counter[str] = Counter()
    async with ServedLock(server, name=name, lease=lease, count=lambda outcome: counted.update([outcome])) as lock:
        yield Consumer(lock, counted)


async def comes(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition` is true; the loop goes on meanwhile."""
    await asyncio.to_thread(until, condition, what=what, seconds=_SECONDS, every=0.01)


@contextmanager
def holding(kind: str, url: str, task_id: UUID, *, lease: float) -> Iterator[subprocess.Popen[str]]:
    """Start a process that holds the lock of a task, and kill it at the end."""
    command = [sys.executable, "-m", holder.__name__, kind, url, str(task_id), str(lease)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "True\n"
            yield process
        finally:
            process.kill()
