"""Handlers that do nothing, for `consumers run`: a task costs what the consumer itself takes."""

from typing import Any

import psycopg

from consumers import Task, task


@task("bench.sync")
def in_a_thread(_: Task) -> None:
    """Do nothing, in a thread."""


@task("bench.transaction", in_transaction=True)
def in_a_transaction(_: Task, __: psycopg.Connection[Any]) -> None:
    """Do nothing, in the transaction that completes the task."""
