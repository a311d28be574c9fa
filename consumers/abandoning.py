"""What is said of tasks that were not done when the consumer had to end. It writes nothing to the database."""

from collections.abc import Sequence

import structlog

from consumers.claims.giving_back import GivenBack
from consumers.claims.locked_rows import how_to_find
from consumers.errors import HandlersAbandoned
from consumers.handlers.outcomes import Unfinished
from consumers.handlers.running.finished import Run

log = structlog.get_logger()
UNFINISHED = Unfinished("the consumer ended before its handler did", started=True)


def tell_given_back(runs: Sequence[Run], left: Sequence[Run], *, grace: float) -> None:
    """Log which of `runs` were given back although their handlers ran; those that are `left` were not."""
    not_written = {run.task.claim for run in left}
    given_back = [run.task for run in runs if run.outcome is UNFINISHED and run.task.claim not in not_written]
    if given_back:
        log.warning(
            "tasks given back that were not done in time",
            tasks=len(given_back),
            types=sorted({task.type for task in given_back}),
            grace=grace,
            remedy="let handlers look at task.cancelled(), or raise CONSUMERS_GRACE",
        )


def not_given_back(left: Sequence[Run], *, grace: float) -> HandlersAbandoned:
    """Return the error for runs that the database was not told of in time."""
    return HandlersAbandoned(
        f"{len(left)} tasks were not done within {grace:g} s, and could not be given back",
        remedy="they run again when their leases expire; let handlers end sooner, or raise CONSUMERS_GRACE",
    )


def rows_locked(left: Sequence[Run]) -> HandlersAbandoned:
    """Return the error for runs whose tasks' rows another transaction has locked for all that time."""
    some_run = any(run.outcome is UNFINISHED for run in left)
    what = "could not be ended or given back" if some_run else "have ended, and their outcomes could not be written"
    return HandlersAbandoned(
        f"{len(left)} tasks {what}: another transaction has locked their rows",
        remedy="they run again when their leases have expired and that transaction has ended; "
        f"{how_to_find(left[0].task.claim.task_id)}",
    )


def not_drained(gave: GivenBack, *, tasks: int, events: int, jobs: Sequence[str]) -> dict[str, object]:
    """Return the facts of the line that ends a consumer after a second signal."""
    left = gave.asked - gave.written
    reason = gave.error
    if reason is None and gave.locked:
        reason = f"another transaction has locked the rows of {gave.locked} tasks"
    remedies = [
        text
        for count, text in (
            (gave.written, "the tasks that were given back run again"),
            (left, "the tasks that are left run again when their leases expire"),
            (events, "the events are delivered again"),
            (len(jobs), "the jobs run again when their locks end"),
        )
        if count
    ]
    return {
        "tasks": tasks,
        "given_back": gave.written,
        "left": left,
        "events": events,
        "jobs": list(jobs),
        **({"reason": reason} if reason else {}),
        **({"remedy": "; ".join(remedies)} if remedies else {}),
    }
