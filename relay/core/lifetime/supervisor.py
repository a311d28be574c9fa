"""The background tasks of a process, or of one stream. None of them ends unnoticed.

A task that raises ends what it belongs to, with its reason. So does one that returns or is cancelled by itself, which
only a bug does. What may be tried again is tried again: `repeat` reports a Problem, whichever it is, and goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, Self

from outboxkit.errors import Problem
from relay.core.lifetime.attempts import Attempts
from relay.core.observations import Observe


class Supervisor:
    """Starts tasks, reports the first that fails through `failure`, and ends all of them in `stop`."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._problem = False
        self.failure: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        """Raises what the first failed task raised."""

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, which lasts until it is cancelled."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def repeat(self, name: str, action: Callable[[], Awaitable[None]], *, every: float) -> None:
        """Run `action` now, and again `every` so many seconds; a Problem is reported as an incident of `name`."""
        self.start(name, self._repeated(name, action, every))

    async def stop(self) -> None:
        """Cancel every task and wait for its end."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self.failure.done():
            self.failure.cancel()
        elif self._problem:
            self.failure.exception()  # marks it as seen; asyncio logs the traceback of a bug that nobody has seen

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _repeated(self, name: str, action: Callable[[], Awaitable[None]], every: float) -> None:
        attempts = Attempts(name, self._observe)
        while True:
            try:
                await action()
            except Problem as problem:
                attempts.failed(problem)
            else:
                attempts.succeeded()
            await asyncio.sleep(every)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        name = task.get_name()
        error = None if task.cancelled() else task.exception()
        if error is None:
            if self._stopping:
                return
            error = RuntimeError(f"background task {name!r} {'was cancelled' if task.cancelled() else 'has returned'}")
        if not self.failure.done():
            self._problem = isinstance(error, Problem)
            self.failure.set_exception(error)
        elif not isinstance(error, Problem):  # a Problem behind the first one has the same cause
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"background task {name!r} has failed", "exception": error, "task": task}
            )
