"""Makes events from rows of the table, up to the first one that cannot be read. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from relay.core.errors import UndecodableChange
from relay.core.event import OutboxEvent
from relay.sources.reader import Reader


def decoded(
    rows: Iterable[tuple[Any, ...]], reader: Reader, *, remedy: str
) -> tuple[list[OutboxEvent], UndecodableChange | None]:
    """Return the events of `rows` in order, and why the next row cannot be read; None if there is no such row.

    Behind its columns, which are bytes or None, a row has its transaction and its place in it. The error names both,
    and `remedy`.
    """
    events = []
    for *values, tx, place in rows:
        texts = [None if value is None else value.decode() for value in values]
        try:
            events.append(reader.event(texts, now, int(tx), int(place)))
        except UndecodableChange as problem:
            undecodable = UndecodableChange(
                f"{problem.what} (it is number {int(place)} of those with tx = {int(tx)})", remedy=remedy
            )
            undecodable.__cause__ = problem
            return events, undecodable
    return events, None


def now() -> datetime:
    """Return the creation time of a row that has none."""
    return datetime.now(UTC)
