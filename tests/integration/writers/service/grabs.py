"""Grabs that a test sends and answers later, and what Postgres knows of them meanwhile."""

import http.client
from urllib.parse import urlencode

from sandbox.machine.waiting import until
from tests.integration.writers.service.stage import Instance, Stage


def create(instance: Instance, count: int) -> None:
    """Make tasks for grabbing."""
    answer = instance.ask("POST", "/create-tasks", count=count)
    assert (answer.status, answer.json) == (201, {"created": count}), answer


def grab(instance: Instance, *, seconds: float = 60) -> http.client.HTTPConnection:
    """Send a grab, and return its connection, which has the answer when it ends."""
    connection = instance.connect()
    connection.request("POST", f"/grab-task?{urlencode({'seconds': seconds})}")
    return connection


def held(stage: Stage, count: int) -> None:
    """Wait until exactly `count` tasks are grabbed."""
    until(lambda: _held(stage) == count, what=f"{count} tasks are grabbed", seconds=30, every=0.01)


def states(stage: Stage) -> dict[str, int]:
    """Return how many of the demo's tasks are in each status."""
    return dict(stage.rows("SELECT status, count(*) FROM tasks.task WHERE type = 'demo.grab' GROUP BY status"))


def _held(stage: Stage) -> int:
    ((count,),) = stage.rows(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
        " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
    )
    return int(count)
