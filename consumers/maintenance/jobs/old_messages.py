"""Removes from the inbox what is older than its retention: the claims of messages, and parked events that were settled.

The retention has to be longer than a message can take to come again: after that, it would be applied again.
"""

from datetime import timedelta

import structlog

from consumers.maintenance.declaring.registry import Jobs
from consumers.postgres.database import Database
from outboxkit import sql

log = structlog.get_logger()
BATCH = 1000


def register(jobs: Jobs, database: Database, *, keep: timedelta, batch: int = BATCH) -> None:
    """Add the job."""

    @jobs.task_lock("consumers.prune-inbox", every="CONSUMERS_PRUNE_EVERY")
    async def prune_inbox() -> None:
        total, removed = 0, batch
        while removed >= batch:
            ((removed,),) = await database.fetch(sql.query("inbox_prune"), {"keep": keep, "limit": batch})
            total += removed
        if total:
            log.info("old messages removed from the inbox", rows=total, kept=str(keep))
