"""Tasks that are brought into any state on the edges of the matrix, and the matrix as DESIGN has it."""

from typing import Any
from uuid import UUID

import psycopg

Connection = psycopg.Connection[Any]

STATES = ("scheduled", "pending", "running", "completed", "failed", "dead", "cancelling", "cancelled")
EDGES = {
    ("scheduled", "scheduled"),
    ("scheduled", "pending"),
    ("scheduled", "cancelled"),
    ("pending", "scheduled"),
    ("pending", "running"),
    ("pending", "cancelled"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "pending"),
    ("running", "cancelling"),
    ("cancelling", "cancelled"),
    ("failed", "scheduled"),
    ("failed", "dead"),
    ("dead", "pending"),
}
LEASED = ("running", "cancelling")
TERMINAL = ("completed", "cancelled", "dead")

_WAYS = {
    "scheduled": [],
    "pending": [],
    "running": ["running"],
    "completed": ["running", "completed"],
    "failed": ["running", "failed"],
    "dead": ["running", "failed", "dead"],
    "cancelling": ["running", "cancelling"],
    "cancelled": ["cancelled"],
}


def a_task(connection: Connection, status: str) -> UUID:
    """Return a task in this state; it has a claimer 'somebody' while it runs."""
    run_at = "clock_timestamp() + '1 h'" if status == "scheduled" else "NULL"
    row = connection.execute(f"SELECT tasks.submit('t', run_at => {run_at})".encode()).fetchone()
    assert row is not None
    for step in _WAYS[status]:
        move(connection, row[0], step)
    return UUID(str(row[0]))


def move(connection: Connection, task_id: UUID, status: str, *, version: int | None = None, **columns: object) -> None:
    """Update the task as the law has it for each column; `version` and `columns` break it."""
    others = "".join(f", {name} = %({name})s" for name in columns)
    kept = {"attempts", "lease_until", "claimed_by", "last_error"} - columns.keys()
    lawful = {
        "attempts": "CASE WHEN %(to)s = 'running' THEN attempts + 1 WHEN status = 'dead' THEN 0 ELSE attempts END",
        "lease_until": "CASE WHEN NOT %(leased)s THEN NULL WHEN lease_until IS NULL THEN clock_timestamp() + '1 min'"
        " ELSE lease_until END",
        "claimed_by": "CASE WHEN %(leased)s THEN 'somebody' END",
        "last_error": "CASE WHEN %(to)s = 'failed' THEN 'it raised' ELSE last_error END",
    }
    sets = "".join(f", {name} = {lawful[name]}" for name in sorted(kept))
    updated = connection.execute(
        f"UPDATE tasks.task SET status = %(to)s, version = coalesce(%(version)s, version + 1){sets}{others}"  # noqa: S608 - ours
        " WHERE id = %(task_id)s".encode(),
        {"task_id": task_id, "to": status, "version": version, "leased": status in LEASED, **columns},
    ).rowcount
    assert updated == 1


def state(connection: Connection, task_id: UUID) -> tuple[str, int]:
    """Return the task's status and version."""
    row = connection.execute("SELECT status, version FROM tasks.task WHERE id = %s", [task_id]).fetchone()
    assert row is not None
    return row[0], row[1]


def sqlstate(connection: Connection, statement: str, *parameters: object) -> str | None:
    """Run `statement`, take it back, and return the SQLSTATE with which it is refused; None if it is not."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode(), parameters)
    except psycopg.Error as error:
        return error.sqlstate
    return None
