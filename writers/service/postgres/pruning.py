"""Removes the keys of requests that are old; each makes a task again after that."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from writers.service.contract.problems import Answered
from writers.service.postgres.database import Database

log = structlog.get_logger()

BATCH = 1000
_SECONDS = 60


@contextlib.asynccontextmanager
async def pruning(database: Database, keep: float) -> AsyncIterator[None]:
    """Remove keys that are older than `keep` seconds, while the block runs. Instances share the work."""
    task = asyncio.create_task(_prune(database, keep))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _prune(database: Database, keep: float) -> None:
    while True:
        try:
            await prune(database, keep)
        except Answered:  # the log has it, and it is tried again
            pass
        except Exception:
            log.exception("bug", path="(removing old keys)")
        await asyncio.sleep(_SECONDS)


async def prune(database: Database, keep: float, *, batch: int = BATCH) -> int:
    """Remove all keys that are older than `keep` seconds, `batch` in each transaction; return how many."""
    removed = 0
    while True:
        [row] = await database.ask("service_prune", {"keep": keep, "batch": batch})
        now = int(row["removed"])
        removed += now
        if now < batch:
            return removed
