"""What is compared of an event. Pure."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from relay.core.event import Boundary, OutboxEvent


class Row(Struct, frozen=True, gc=False):
    """An event without what it says: the same whichever source has read it."""

    id: str
    seq: int
    transaction: int
    aggregate_type: str
    aggregate_id: str


def rows(items: Iterable[OutboxEvent | Boundary[Any]], since: int) -> list[Row]:
    """Return the events among `items` that were written by the transaction `since` or a later one."""
    return [
        Row(item.id, item.seq, item.transaction, item.aggregate_type, item.aggregate_id)
        for item in items
        if isinstance(item, OutboxEvent) and item.transaction is not None and item.transaction >= since
    ]
