"""Claims, in batches: each method is one statement, and each statement is one transaction.

The statements decide by a row's version; this module only passes values in and rows out.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TypeVar

from consumers.claims.verdicts import Row, RowLocked
from consumers.handlers.declaring.task import Task
from consumers.handlers.outcomes import ClaimLost, Completed, Ending, Failed, Unfinished, Unwritten, ending
from consumers.postgres.database import Database
from outboxkit import sql
from outboxkit.amqp.format import TaskReference

_RELEASE_AT_ONCE = 1000

E = TypeVar("E")


class Claims:
    """The claims of `worker`, each with a lease of `lease` seconds by the database's clock."""

    def __init__(self, database: Database, *, worker: str, lease: float) -> None:
        self._database = database
        self.worker = worker
        self.lease = lease

    async def claim(self, asked: dict[TaskReference, str | None]) -> dict[TaskReference, Row]:
        """Claim the tasks that can be claimed, and return the row of each task as it is afterwards.

        A value of `asked` is the transaction id that an earlier `claim` of the same task returned, or None.
        """
        rows = await self._database.fetch(
            sql.query("task_claim"),
            {
                "ids": _array(reference.task_id for reference in asked),
                "versions": _array(str(reference.version) for reference in asked),
                "asked": list(asked.values()) if any(asked.values()) else None,
                "worker": self.worker,
                "lease": self.lease,
            },
        )
        return {reference: Row(*row) for reference, row in zip(asked, rows, strict=True)}

    async def end(self, outcomes: Sequence[tuple[Task, Unwritten]]) -> list[Ending | RowLocked]:
        """Write the outcomes of tasks whose claims are not lost, and return how each claim ended.

        A task that was asked to stop becomes cancelled with any outcome. Nothing is written to a row that is locked.
        """
        rows = await self._database.fetch(sql.query("task_end"), as_parameters(outcomes))
        return [
            RowLocked() if locked else ending(outcome, task.version, status, version)
            for (task, outcome), (status, version, locked) in zip(outcomes, rows, strict=True)
        ]

    async def extend(self, claimed: Collection[TaskReference]) -> set[TaskReference]:
        """Extend the leases of `claimed` tasks, each named with its claim's version; a lost claim stays lost.

        Returns the claims that were not extended: they are lost, or their rows are locked.
        """
        asked = set(claimed)  # `claimed` may change meanwhile
        rows = await self._database.fetch(
            sql.query("task_extend"),
            {
                "ids": _array(claim.task_id for claim in asked),
                "versions": _array(str(claim.version) for claim in asked),
                "lease": self.lease,
            },
        )
        extended = {str(task_id) for (task_id,) in rows}
        return {claim for claim in asked if claim.task_id not in extended}

    async def stopping(self, claimed: Collection[TaskReference]) -> list[TaskReference]:
        """Return which `claimed` tasks are no longer to be worked on: asked to stop, or somebody else's by now."""
        rows = await self._database.fetch(
            sql.query("task_stopping"),
            {
                "ids": _array(claim.task_id for claim in claimed),
                "versions": _array(str(claim.version) for claim in claimed),
            },
        )
        return [TaskReference(*row) for row in rows]

    async def release_expired(self) -> list[tuple[str, str]]:
        """End claims whose lease has expired, of any consumer; return who had each, and its task's status now.

        The tasks are pending again; or dead, if it was their last attempt; or cancelled, if they were asked to stop.
        """
        rows = await self._database.fetch(sql.query("task_release"), {"limit": _RELEASE_AT_ONCE})
        return [(claimed_by, status) for _, claimed_by, status in rows]


def as_parameters(outcomes: Sequence[tuple[Task, Unwritten]]) -> dict[str, object]:
    """Return the parameters of task_end.sql."""
    columns = [_columns(outcome) for _, outcome in outcomes]
    return {
        "ids": _array(task.claim.task_id for task, _ in outcomes),
        "versions": _array(str(task.claim.version) for task, _ in outcomes),
        "statuses": _array(column.status for column in columns),
        "results": _unless_empty([column.result for column in columns]),
        "errors": _unless_empty([column.error for column in columns]),
        "delays": _unless_empty([column.delay for column in columns]),
        "counted": _array("t" if column.counted else "f" for column in columns),
    }


def _array(elements: Iterable[str]) -> str:
    """Return an array as Postgres reads it, of elements that need no quotes; psycopg looks at each several times."""
    return f"{{{','.join(elements)}}}"


def _unless_empty(elements: list[E]) -> list[E] | None:
    """Return None for an array of nothing but NULLs: unnest() fills up the shorter one of two arrays with them."""
    return None if all(element is None for element in elements) else elements


class _Columns(NamedTuple):
    """An outcome as task_end.sql takes it."""

    status: str
    result: str | None = None
    error: str | None = None
    delay: float | None = None
    counted: bool = True
    """Whether the claim counts as an attempt."""


def _columns(outcome: Unwritten) -> _Columns:
    match outcome:
        case Completed(result):
            return _Columns("completed", result=result)
        case Failed(error, again_after):
            return _Columns("failed", error=error, delay=again_after)
        case Unfinished(reason, started, after):
            return _Columns("pending", error=reason if started else None, delay=after, counted=started)
        case ClaimLost():
            return _Columns("cancelled")
