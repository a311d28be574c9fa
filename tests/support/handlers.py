"""Task handlers for the faults; consumers under test load them by CONSUMERS_HANDLERS.

Each effect is a row of a table without a unique constraint, so that a task that is applied twice shows as two rows.
"""

import threading
from pathlib import Path
from typing import Any

import psycopg

from consumers import Task, task

EFFECT_TABLE = "CREATE TABLE effect (task_id uuid NOT NULL, version bigint NOT NULL)"


@task("effect", in_transaction=True)
def effect(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Append one effect."""
    connection.execute("INSERT INTO effect VALUES (%s, %s)", [task.id, task.version])


@task("hang", in_transaction=True)
def hang(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Append one effect and create the file that the payload names; the first attempt never returns."""
    effect(task, connection)
    Path(task.payload["started"]).touch()
    if task.attempt == 1:
        threading.Event().wait()
