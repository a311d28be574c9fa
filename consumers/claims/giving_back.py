"""Gives claims back from outside the loop, in a moment: a second signal ends the process after this."""

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psycopg

from consumers.claims.claims import as_parameters
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import Applied, Unwritten
from consumers.handlers.running.finished import Run
from consumers.postgres.connecting import PREPARE_THRESHOLD
from outboxkit import sql
from outboxkit.errors import Problem
from outboxkit.postgres import message


class GivenBack(NamedTuple):
    """What became of outcomes that were to be written."""

    asked: int
    """How many there were."""
    written: int = 0
    locked: int = 0
    """How many were not written because another transaction has locked their rows."""
    error: str | None = None
    """Why it is not known whether any was written."""


def give_back(address: Callable[[], str], runs: Sequence[Run], within: float) -> GivenBack:
    """Write the outcomes of `runs` on a session of its own, within so many seconds.

    It does not wait for a row that another transaction has locked: that task runs again when its lease has run out.
    """
    outcomes = [(run.task, run.outcome) for run in runs if not isinstance(run.outcome, Applied)]
    if not outcomes:
        return GivenBack(0)
    answer: list[GivenBack] = []
    writer = threading.Thread(
        target=lambda: answer.append(_written(address, outcomes)), name="giving back", daemon=True
    )
    writer.start()
    writer.join(within)
    return answer[0] if answer else GivenBack(len(outcomes), error=f"Postgres has not answered within {within:g} s")


def _written(address: Callable[[], str], outcomes: Sequence[tuple[Task, Unwritten]]) -> GivenBack:
    try:
        with psycopg.connect(address(), autocommit=True, prepare_threshold=PREPARE_THRESHOLD) as connection:
            rows = connection.execute(sql.query("task_end"), as_parameters(outcomes)).fetchall()
    except psycopg.Error as error:
        return GivenBack(len(outcomes), error=message(error))
    except Problem as problem:  # the settings are read again
        return GivenBack(len(outcomes), error=problem.what)
    locked = sum(is_locked for *_, is_locked in rows)
    return GivenBack(len(outcomes), len(rows) - locked, locked)
