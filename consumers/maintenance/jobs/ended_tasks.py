"""Removes tasks that have ended, once they are older than the retention.

A dead task is kept however old it is: it waits for an operator.
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

    @jobs.task_lock("consumers.prune-ended-tasks", every="CONSUMERS_PRUNE_EVERY")
    async def prune_ended_tasks() -> None:
        total, removed = 0, batch
        while removed == batch:
            ((removed,),) = await database.fetch(sql.query("task_prune"), {"keep": keep, "limit": batch})
            total += removed
        if total:
            log.info("ended tasks removed", tasks=total, kept=str(keep))
