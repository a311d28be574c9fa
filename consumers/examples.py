"""Example handlers, one of each kind; `CONSUMERS_HANDLERS=consumers.examples` runs them. The demo does."""

from typing import Any

import psycopg
import structlog
from psycopg.types.json import Jsonb

from consumers import Task, task
from outboxkit import sql

log = structlog.get_logger()


@task("greet")
def greet(task: Task) -> dict[str, str]:
    """Greet whoever the payload names, visibly, and return the greeting as the task's result."""
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
