"""What a delivery's task turned out to be when it was to be claimed. Pure: it judges a row that was read."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from consumers.handlers.task import Task
from outboxkit.amqp.format import TaskReference

Reason: TypeAlias = Literal["duplicate", "stale", "cancelled", "unknown"]


class Row(NamedTuple):
    """A row of task_claim.sql: the named task as it stands after the claims; all None when there is none."""

    type: str | None
    status: str | None
    version: int | None
    attempts: int | None
    claimed_by: str | None
    payload: Any
    asked: str | None
    absent: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """It is ours to run."""

    task: Task


@dataclass(frozen=True, slots=True)
class Skipped:
    """There is nothing to do for this delivery; `type` is the task's, where there is one."""

    reason: Reason
    type: str | None


@dataclass(frozen=True, slots=True)
class Unseen:
    """No such row, but that proves nothing yet: ask again, and name the transaction id `asked`."""

    asked: str


Verdict: TypeAlias = Claimed | Skipped | Unseen


def judge(reference: TaskReference, row: Row, *, worker: str, known: Container[TaskReference]) -> Verdict:
    """Tell what the delivery of `reference` means, given its task's `row`.

    `known` are the claims (by their own, raised version) that `worker` held before it asked. One that the row shows
    and `worker` did not know was made by this question, now or on a connection that broke before it could answer.
    """
    match row:
        case Row(type=str(type_), status=str(status), version=int(version), attempts=int(attempts)):
            ours = status == "running" and row.claimed_by == worker and version == reference.version + 1
            if ours and TaskReference(reference.task_id, version) not in known:
                return Claimed(Task(reference.task_id, type_, row.payload, version, attempts, worker))
            return Skipped(_reason(reference.version, status, version), type_)
        case Row(absent=False, asked=str(asked)):
            return Unseen(asked)
        case _:
            return Skipped("unknown", None)


def _reason(delivered: int, status: str, version: int) -> Reason:
    """Say why a delivery of version `delivered` is not claimed, though its task has `status` at `version`."""
    if version <= delivered:
        return "unknown"  # the row has not been pending at that version: the message is not of this table
    if status == "cancelled":
        return "cancelled"
    # Claimed is one further, completed, failed or released two: the work of this very delivery.
    return "duplicate" if version <= delivered + 2 else "stale"
