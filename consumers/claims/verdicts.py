"""Whether a delivery's task was claimed, and why not: a verdict on the row that task_claim.sql returned. Pure."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from consumers.handlers.declaring.task import Task
from outboxkit.amqp.format import TaskReference

Reason: TypeAlias = Literal["duplicate", "stale", "cancelled", "unknown"]


class Row(NamedTuple):
    """A row of task_claim.sql: the task after the claim; its columns are None if it does not exist or is locked."""

    type: str | None
    status: str | None
    version: int | None
    attempts: int | None
    max_attempts: int | None
    claimed_by: str | None
    payload: Any
    waited: float | None
    """For how many seconds the row had its state before the claim."""
    asked: str | None
    absent: bool
    locked: bool
    """Whether another transaction has locked the row."""


class Claimed(NamedTuple):
    """The task was claimed: run it."""

    task: Task


@dataclass(frozen=True, slots=True)
class Skipped:
    """The delivery needs no work; `type` is the task's, or None when the task does not exist."""

    reason: Reason
    type: str | None


@dataclass(frozen=True, slots=True)
class Unseen:
    """The task cannot be seen, but may be committed soon: claim it again, with the transaction id `asked`."""

    asked: str


@dataclass(frozen=True, slots=True)
class RowLocked:
    """Another transaction has locked the task's row: claim it again after that has ended."""


Verdict: TypeAlias = Claimed | Skipped | Unseen | RowLocked


def judge(reference: TaskReference, row: Row, *, worker: str, known: Container[TaskReference]) -> Verdict:
    """Return the verdict on the delivery of `reference`, given its task's `row`.

    `known` are the claims (with the claim's own version) that `worker` had before it sent the statement. If the row
    shows a claim of `worker` that is not among them, this statement made it: now, or in an earlier attempt whose
    connection broke before the answer.
    """
    if row.locked:
        return RowLocked()
    version = row.version
    if version is None or row.type is None or row.status is None:
        return Skipped("unknown", None) if row.absent or row.asked is None else Unseen(row.asked)
    if row.status == "running" and row.claimed_by == worker and version == reference.version + 1:
        claim = TaskReference(reference.task_id, version)
        if claim not in known:
            return Claimed(Task(claim, row.type, row.payload, row.attempts or 0, row.max_attempts or 0, worker))
    return Skipped(_reason(reference.version, row.status, version), row.type)


def _reason(delivered: int, status: str, version: int) -> Reason:
    """Return why a delivery at version `delivered` is not claimed when its task has `status` at `version`."""
    if version <= delivered:
        return "unknown"  # the row was never pending at that version: the message is about another table
    if status == "cancelled":
        return "cancelled"
    if status == "scheduled":
        return "stale"  # it was postponed, or is tried again later: another message will announce it
    # A claim adds one to the delivery's version, its end one more, its death another: all of this delivery.
    return "duplicate" if version <= delivered + (3 if status == "dead" else 2) else "stale"
