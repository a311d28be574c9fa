"""The verdict on a delivery, given its task's row: checked against the history of the row."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.claims.verdicts import Claimed, Row, RowLocked, Skipped, Unseen, judge
from consumers.handlers.declaring.task import Task
from outboxkit.amqp.format import TaskReference

ID = str(UUID(int=1))
NOBODY = frozenset[TaskReference]()


def row(status: str, version: int, claimed_by: str | None = None) -> Row:
    return Row("t", status, version, 1, 5, claimed_by, {"n": 1}, 0.5, None, absent=False, locked=False)


def test_a_row_that_runs_one_version_further_under_our_name_is_claimed() -> None:
    verdict = judge(TaskReference(ID, 4), row("running", 5, "me"), worker="me", known=NOBODY)
    assert verdict == Claimed(Task(TaskReference(ID, 5), "t", {"n": 1}, 1, 5, "me"))


def test_a_claim_that_was_known_before_is_a_duplicate() -> None:
    verdict = judge(TaskReference(ID, 4), row("running", 5, "me"), worker="me", known={TaskReference(ID, 5)})
    assert verdict == Skipped("duplicate", "t")


@pytest.mark.parametrize(
    ("status", "version", "claimed_by", "reason"),
    [
        ("running", 5, "other", "duplicate"),
        ("completed", 6, None, "duplicate"),
        ("pending", 6, None, "duplicate"),
        ("cancelling", 6, "other", "duplicate"),
        ("dead", 7, None, "duplicate"),
        ("scheduled", 7, None, "stale"),
        ("running", 7, "me", "stale"),
        ("completed", 8, None, "stale"),
        ("cancelled", 5, None, "cancelled"),
        ("cancelled", 7, None, "cancelled"),
        ("pending", 3, None, "unknown"),
        ("running", 3, "me", "unknown"),
        ("scheduled", 4, None, "unknown"),
        ("running", 4, "me", "unknown"),
    ],
)
def test_every_other_state_says_why_it_is_not_claimed(
    status: str, version: int, claimed_by: str | None, reason: str
) -> None:
    verdict = judge(TaskReference(ID, 4), row(status, version, claimed_by), worker="me", known=NOBODY)
    assert verdict == Skipped(reason, "t")  # type: ignore[arg-type]


def test_a_row_that_another_transaction_holds_is_claimed_later() -> None:
    locked = Row(None, None, None, None, None, None, None, None, "77", absent=False, locked=True)
    assert judge(TaskReference(ID, 1), locked, worker="me", known=NOBODY) == RowLocked()


def test_a_missing_row_is_unseen_until_it_is_proven_absent() -> None:
    missing = Row(None, None, None, None, None, None, None, None, "77", absent=False, locked=False)
    assert judge(TaskReference(ID, 1), missing, worker="me", known=NOBODY) == Unseen("77")
    absent = missing._replace(absent=True)
    assert judge(TaskReference(ID, 1), absent, worker="me", known=NOBODY) == Skipped("unknown", None)


@given(rounds=st.integers(0, 5), delivered=st.integers(0, 5), ended=st.booleans())
def test_a_delivery_of_any_round_is_judged_by_how_far_its_task_has_come(
    rounds: int, delivered: int, *, ended: bool
) -> None:
    """A task that was claimed and released `rounds` times, then claimed by another and maybe completed."""
    now = row("completed", 2 * rounds + 3) if ended else row("running", 2 * rounds + 2, "other")
    verdict = judge(TaskReference(ID, 2 * delivered + 1), now, worker="me", known=NOBODY)
    expected = "unknown" if delivered > rounds else "duplicate" if delivered == rounds else "stale"
    assert verdict == Skipped(expected, "t")  # type: ignore[arg-type]
