"""Example handlers, one of each kind. `make demo` runs them with `CONSUMERS_HANDLERS=consumers.examples`."""

from typing import Any

import psycopg
import structlog
from psycopg.types.json import Jsonb

from consumers import Task, task
from outboxkit import sql

log = structlog.get_logger()


@task("greet")
def greet(task: Task) -> dict[str, str]:
    """Log a greeting for the name in the payload, and return it as the task's result."""
    payload = task.payload if isinstance(task.payload, dict) else {}
    greeting = f"Hello, {payload.get('name', 'world')}!"
    log.info(greeting, task=str(task.id))
    return {"greeting": greeting}


@task("record", in_transaction=True)
def record(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Append one row to `demo.effect` (sql/examples/effect.sql), in the transaction that completes the task."""
    connection.execute(
        sql.example("effect_insert"),
        {"task_id": task.id, "version": task.version, "worker": task.claimed_by, "payload": Jsonb(task.payload)},
    )
