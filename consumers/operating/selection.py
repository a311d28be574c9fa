"""Which dead tasks a command is about, and the statements on them. Each batch is a transaction of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row, dict_row

from outboxkit import sql

BATCH = 500


@dataclass(frozen=True, slots=True)
class Dead:
    """A row of dead_find.sql."""

    id: UUID
    type: str
    attempts: int
    max_attempts: int
    last_error: str | None
    created_at: datetime
    died_at: datetime


@dataclass(frozen=True, slots=True)
class Total:
    """How many dead tasks of a type have a reason, and when the first and the last of them died."""

    type: str
    reason: str | None
    tasks: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Selection:
    """Dead tasks that meet all that is given; those that died after the command began are not meant."""

    ids: Sequence[UUID] | None
    types: Sequence[str] | None
    reason: str | None
    """A LIKE pattern."""
    until: datetime
    since: datetime | None

    @property
    def _parameters(self) -> dict[str, object]:
        ids, types = self.ids, self.types
        return {
            "ids": None if ids is None else list(ids),
            "types": None if types is None else list(types),
            "reason": self.reason,
            "until": self.until,
            "since": self.since,
        }

    def totals(self, connection: psycopg.Connection[Any]) -> tuple[list[Total], int]:
        """Return the totals by type and reason, and the number of all."""
        rows = connection.execute(sql.query("dead_totals"), self._parameters).fetchall()
        *found, (_, _, count, _, _) = rows
        return [Total(*row) for row in found], count

    def find(self, connection: psycopg.Connection[Any], limit: int, after: Dead | None = None) -> list[Dead]:
        """Return at most `limit` tasks, those that died first first, behind `after`."""
        place = {"limit": limit, "after": after and after.died_at, "after_id": after and after.id}
        cursor = connection.cursor(row_factory=class_row(Dead))
        return cursor.execute(sql.query("dead_find"), {**self._parameters, **place}).fetchall()

    def change(
        self, connection: psycopg.Connection[Any], statement: LiteralString, batch: int = BATCH
    ) -> Iterator[tuple[int, int]]:
        """Run `statement` on all of them, by batches; yield how many tasks of each it changed, and how many it saw.

        A task that died again meanwhile is not changed twice, and one that somebody else changed is passed over.
        """
        after: Dead | None = None
        while found := self.find(connection, batch, after):
            changed = connection.execute(statement, {"ids": [each.id for each in found]}).fetchall()
            yield len(changed), len(found)
            after = found[-1]


def select(  # noqa: PLR0913 - one for each option
    connection: psycopg.Connection[Any],
    *,
    ids: Sequence[UUID] | None,
    types: Sequence[str] | None,
    reason: str | None,
    older: float | None,
    since: float | None,
) -> Selection:
    """Return what the options select; `older` and `since` are seconds before now, by the database's clock."""
    ((until, begin),) = connection.execute(sql.query("dead_times"), {"older": older, "since": since}).fetchall()
    return Selection(ids or None, types or None, None if reason is None else like(reason), until, begin)


def like(reason: str) -> str:
    r"""Return the LIKE pattern of texts that contain `reason`, in which * stands for any text."""
    escaped = reason.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped.replace('*', '%')}%"


def stored(connection: psycopg.Connection[Any], task_id: UUID) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """Return a task and its history; None when there is no such task."""
    cursor = connection.cursor(row_factory=dict_row)
    task = cursor.execute(sql.query("dead_show"), {"id": task_id}).fetchone()
    if task is None:
        return None
    return task, cursor.execute(sql.query("dead_history"), {"id": task_id}).fetchall()


def statuses(connection: psycopg.Connection[Any], ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the statuses of those tasks that are there."""
    return dict(connection.execute(sql.query("dead_statuses"), {"ids": list(ids)}).fetchall())
