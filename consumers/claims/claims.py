"""Claims and what becomes of them, in batches: each method is one statement, each statement one transaction.

It decides nothing about a row; it asks, writes, and returns the state of the row afterwards.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from consumers.claims.outcomes import Completed, Failed, Settlement, Unfinished, Written, settlement
from consumers.claims.verdicts import Row
from consumers.database import Database
from consumers.handlers.task import Task
from outboxkit import sql
from outboxkit.amqp.format import TaskReference

_RELEASE_AT_ONCE = 1000


class Claims:
    """The claims of `worker`, each with a lease of `lease` seconds by the database's clock."""

    def __init__(self, database: Database, *, worker: str, lease: float) -> None:
        self._database = database
        self.worker = worker
        self.lease = lease

    async def claim(self, asked: dict[TaskReference, str | None]) -> dict[TaskReference, Row]:
        """Claim what can be claimed and return each task's row as it is then.

        A value of `asked` is the transaction id with which the same question was asked before, or None.
        """
        rows = await self._database.fetch(
            sql.query("task_claim"),
            {
                "ids": [reference.task_id for reference in asked],
                "versions": [reference.version for reference in asked],
                "asked": list(asked.values()),
                "worker": self.worker,
                "lease": self.lease,
            },
        )
        return {reference: Row(*row) for reference, row in zip(asked, rows, strict=True)}

    async def settle(self, outcomes: Sequence[tuple[Task, Written]]) -> list[Settlement]:
        """Write the outcomes of tasks whose claims still hold, and tell what became of each."""
        columns = [_columns(outcome) for _, outcome in outcomes]
        rows = await self._database.fetch(
            sql.query("task_settle"),
            {
                "ids": [task.id for task, _ in outcomes],
                "versions": [task.version for task, _ in outcomes],
                "statuses": [status for status, _, _ in columns],
                "results": [result for _, result, _ in columns],
                "errors": [error for _, _, error in columns],
            },
        )
        return [
            settlement(task.version, status, version)
            for (task, _), (status, version, _) in zip(outcomes, rows, strict=True)
        ]

    async def extend(self, held: Collection[TaskReference]) -> None:
        """Extend the leases of `held` claims (by their own version); those that are lost stay so."""
        await self._database.fetch(
            sql.query("task_extend"),
            {
                "ids": [claim.task_id for claim in held],
                "versions": [claim.version for claim in held],
                "lease": self.lease,
            },
        )

    async def release_expired(self) -> dict[UUID, str]:
        """Make tasks whose lease ran out pending again, whoever held them; returns their ids and claimers."""
        rows = await self._database.fetch(sql.query("task_release"), {"limit": _RELEASE_AT_ONCE})
        return {task_id: claimed_by for task_id, claimed_by, _ in rows}


def _columns(outcome: Written) -> tuple[str, str | None, str | None]:
    match outcome:
        case Completed(result):
            return "completed", result, None
        case Failed(error):
            return "failed", None, error
        case Unfinished():
            return "pending", None, None
