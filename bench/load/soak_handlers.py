"""The soak's handler: each run leaves a row of its own, then fails or hangs as its task's payload says."""

import os
import threading
import time
from typing import Any

import psycopg

from consumers import Task, task
from outboxkit import sql


class _Connections(threading.local):
    """One connection for each thread; a run's row is visible, and stays, whatever becomes of the run."""

    def __init__(self) -> None:
        self.own: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
            os.environ["CONSUMERS_DATABASE_URL"], autocommit=True, options="-c synchronous_commit=off"
        )


_connections = _Connections()


@task("bench.soak")
def soak(task: Task) -> None:
    """Record the run; fail the first `fails` times, hang for `hangs` seconds."""
    parameters = {"task_id": task.id, "version": task.version, "worker": task.claimed_by}
    row = _connections.own.execute(sql.example("bench_soak_run"), parameters).fetchone()
    assert row is not None  # noqa: S101 - an aggregate
    time.sleep(task.payload.get("hangs", 0))
    if row[0] <= task.payload.get("fails", 0):
        raise RuntimeError("as its payload says")
