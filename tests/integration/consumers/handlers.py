"""Handlers for the tests of `consumers run`: they wait for the test, or fail in a certain way."""

import os
from typing import Any

import psycopg

from consumers import Task, examples, task

# The gate: the handlers below wait while a session holds this advisory lock.
GATE = 4711


@task("gated")
def gated(task: Task) -> int:
    """Wait for the gate, on a connection of its own."""
    with psycopg.connect(os.environ["CONSUMERS_DATABASE_URL"], application_name="handler") as connection:
        connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATE])
    return task.attempts


@task("gated-effect", in_transaction=True)
def gated_effect(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Append an effect, then wait for the gate before the transaction may end."""
    examples.record(task, connection)
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATE])


@task("raises")
def raises(task: Task) -> None:
    """Raise an error whose text Postgres does not accept unchanged."""
    raise ValueError(f"planted {task.payload} \x00 \ud800" + "x" * 5000)


@task("not-json")
def not_json(task: Task) -> float:
    """Return what JSON does not have."""
    del task
    return float("nan")
