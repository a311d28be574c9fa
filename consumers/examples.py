"""Example handlers, one of each kind. `make demo` runs them with `CONSUMERS_HANDLERS=consumers.examples`."""

import random
import time
from pathlib import Path
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


@task("note")
def note(task: Task) -> None:
    """Append this run to the file that the payload names. If the consumer dies too early, there is another run."""
    with Path(task.payload["file"]).open("a", encoding="ascii") as file:
        file.write(f"{task.id}\t{task.version}\n")


@task("record", in_transaction=True)
def record(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Append one row to `demo.effect` (sql/examples/effect.sql), in the transaction that completes the task."""
    connection.execute(
        sql.example("effect_insert"),
        {"task_id": task.id, "version": task.version, "worker": task.claimed_by, "payload": Jsonb(task.payload)},
    )


@task("flaky", in_transaction=True)
def flaky(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Record like `record`, and then fail by chance: `odds` in the payload, from 0 to 1. The record is rolled back."""
    record(task, connection)
    if random.random() < task.payload["odds"]:  # noqa: S311 - no secret
        raise ConnectionError("the mail server did not answer")


@task("slow", in_transaction=True)
def slow(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Take as long as `seconds` in the payload says, then record like `record`, unless it was cancelled meanwhile."""
    until = time.monotonic() + task.payload["seconds"]
    while time.monotonic() < until and not task.cancelled():
        time.sleep(0.05)
    record(task, connection)
