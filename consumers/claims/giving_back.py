"""Gives claims back from outside the loop, in a moment: a second signal ends the process after this."""

import threading
from collections.abc import Callable, Sequence

import psycopg

from consumers.claims.claims import as_parameters
from consumers.connecting import PREPARE_THRESHOLD
from consumers.handlers.outcomes import Applied
from consumers.handlers.running.finished import Run
from outboxkit import sql


def give_back(address: Callable[[], str], runs: Sequence[Run], within: float) -> bool:
    """Write the outcomes of `runs` on a session of its own; return whether all were written `within` seconds.

    A row that another transaction holds is not waited for: its task runs again when its lease has run out.
    """
    outcomes = [(run.task, run.outcome) for run in runs if not isinstance(run.outcome, Applied)]
    if not outcomes:
        return True
    written = threading.Event()

    def write() -> None:
        with psycopg.connect(address(), autocommit=True, prepare_threshold=PREPARE_THRESHOLD) as connection:
            rows = connection.execute(sql.query("task_end"), as_parameters(outcomes)).fetchall()
        if not any(locked for *_, locked in rows):
            written.set()

    def attempt() -> None:
        try:
            write()
        except psycopg.Error:
            return  # the leases run out

    writer = threading.Thread(target=attempt, name="giving back", daemon=True)
    writer.start()
    writer.join(within)
    return written.is_set()
