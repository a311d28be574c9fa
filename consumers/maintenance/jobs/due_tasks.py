"""Makes scheduled tasks pending when they are due, together with their outbox event: no dual write, no delay queue."""

from consumers.maintenance.declaring.registry import Jobs
from consumers.postgres.database import Database
from outboxkit import sql

BATCH = 1000
_BATCHES = 20
"""How many batches a run makes pending at most: a long backlog must not outlast the lock of a short interval."""


def register(jobs: Jobs, database: Database, *, batch: int = BATCH) -> None:
    """Add the job."""

    @jobs.task_lock("consumers.enqueue-due-tasks", every="CONSUMERS_ENQUEUE_EVERY")
    async def enqueue_due_tasks() -> None:
        for _ in range(_BATCHES):
            ((enqueued,),) = await database.fetch(sql.query("task_due"), {"limit": batch})
            if enqueued < batch:  # rows that others hold come at the next run
                return
