"""Runs the function of a job: on the loop if it is async, else in one of a few threads of their own."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor

from consumers.maintenance.declaring.declaration import Job, JobContext


class Execution:
    """At most `threads` functions that are not async run at once; made and used on the loop."""

    def __init__(self, *, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="job")
        self._free = asyncio.Semaphore(threads)
        self._running: dict[str, Future[object]] = {}

    @contextlib.asynccontextmanager
    async def room(self, job: Job) -> AsyncIterator[None]:
        """Wait for a thread, if `job` needs one: it takes no lock before it can run."""
        async with contextlib.nullcontext() if job.is_async else self._free:
            yield

    async def __call__(self, job: Job, context: JobContext) -> None:
        """Run the function; raises what it raises. A thread goes on when this is cancelled."""
        arguments = (context,) if job.takes_context else ()
        if job.is_async:
            result = job.function(*arguments)
        else:
            future = self._running[job.name] = self._executor.submit(job.function, *arguments)
            result = await asyncio.shield(asyncio.wrap_future(future))
        if inspect.isawaitable(result):
            await result

    def unfinished(self, job: Job) -> bool:
        """Return whether a thread still runs the function."""
        future = self._running.get(job.name)
        return future is not None and not future.done()

    def close(self) -> None:
        """Start nothing more."""
        self._executor.shutdown(wait=False)
