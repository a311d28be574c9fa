"""Announces pending tasks again whose message will not come: dead-lettered, or lost with its queue.

The rule is in sql/schema/016_operating.sql, beside the functions that follow it: a probe goes the way of the tasks'
messages, and when it has arrived, a task that was pending before it, and still is, has no message. A backlog or a relay
that is down holds up the probe too, and nothing is announced. consumers/intake/probes.py notes that one has arrived.
"""

from collections import Counter

import structlog

from consumers.maintenance.declaring.registry import Jobs
from consumers.postgres.database import Database
from consumers.watching.metrics import Metrics
from outboxkit import sql

log = structlog.get_logger()
BATCH = 1000
_BATCHES = 20
"""How many batches a run announces at most: the next run goes on only when a probe behind them has arrived."""
_NAMED = 5


def register(jobs: Jobs, database: Database, metrics: Metrics, *, wait: float, batch: int = BATCH) -> None:
    """Add the job; a task that has been pending for less than `wait` seconds is not looked at."""

    @jobs.task_lock("consumers.reannounce-tasks", every="CONSUMERS_REANNOUNCE_EVERY")
    async def reannounce_tasks() -> None:
        found: list[tuple[object, str, int, str]] = []
        for _ in range(_BATCHES):
            rows = await database.fetch(sql.query("task_unannounced"), {"wait": wait, "limit": batch})
            found += [(task_id, type_, times, reason) for task_id, type_, times, reason in rows]
            if len(rows) < batch:
                break
        if found:
            _report(found, metrics)
        # After what was announced has committed: the next probe is behind it.
        await database.fetch(sql.query("task_probe"), {"wait": wait})


def _report(found: list[tuple[object, str, int, str]], metrics: Metrics) -> None:
    reasons = Counter(reason for _, _, _, reason in found)
    for reason, count in reasons.items():
        metrics.reannounced.labels(reason).inc(count)
    log.warning(
        "tasks announced again",
        tasks=len(found),
        reasons=dict(sorted(reasons.items())),
        again=sum(times > 1 for _, _, times, _ in found),
        types=sorted({type_ for _, type_, _, _ in found})[:_NAMED],
        first=[str(task_id) for task_id, _, _, _ in found[:_NAMED]],
        remedy="the tasks run now; their messages went with the queue, were purged or dead-lettered (`consumers dlq "
        "list`), or are parked by the relay (`relay parked list`)",
    )
