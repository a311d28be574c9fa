"""Handlers for the tests of `consumers run`: they end when the test lets them, or fail as they are told."""

import os
from typing import Any

import psycopg

from consumers import Task, examples, task

# A session-wide gate: whoever holds this advisory lock holds the handlers below.
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
    """Raise what no column takes as it is."""
    raise ValueError(f"planted {task.payload} \x00 \ud800" + "x" * 5000)


@task("not-json")
def not_json(task: Task) -> float:
    """Return what JSON does not have."""
    del task
    return float("nan")
