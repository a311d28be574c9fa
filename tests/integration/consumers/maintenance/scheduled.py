"""A module of jobs for `consumers run`: each writes its runs into a table, by the database's clock."""

import os
from typing import Any

import psycopg

from consumers import JobContext, task_lock
from consumers.examples import greet
from tests.integration.consumers.task_handlers import GATE

__all__ = ["greet"]


def _connect() -> psycopg.Connection[Any]:
    return psycopg.connect(os.environ["CONSUMERS_DATABASE_URL"], autocommit=True, application_name="job")


def _note(context: JobContext) -> None:
    with _connect() as connection:
        connection.execute(
            "INSERT INTO public.run (job, epoch, pid, locked_until) VALUES (%s, %s, %s, %s)",
            [context.name, context.epoch, os.getpid(), context.locked_until],
        )


@task_lock("tick", every="TICK_EVERY")
def tick(context: JobContext) -> None:
    """Note a run, in a thread."""
    _note(context)


@task_lock("tock", every="TICK_EVERY")
async def tock(context: JobContext) -> None:
    """Note a run, on the loop."""
    _note(context)


@task_lock("hourly", every="1h")
def hourly(context: JobContext) -> None:
    """Note a run that is due again much later."""
    _note(context)


@task_lock("once", cron=os.environ.get("ONCE", "0 0 1 1 *"))
def once(context: JobContext) -> None:
    """Note a run at a certain time."""
    _note(context)


if "GATED" in os.environ:

    @task_lock("gated", every=1, at_most=3)
    def gated(context: JobContext) -> None:
        """Note a run, then wait for the gate."""
        _note(context)
        with _connect() as connection:
            connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATE])
