"""Stretches of time between two positions of the past, and how an audit divides what it looks at into them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from relay.core.position import Snapshot

EVER = datetime(1, 1, 1, tzinfo=UTC)
"""The time of an edge that has none: where the record begins, before the first position."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A time, and what was committed by then: a position of the past, or the present."""

    at: datetime
    snapshot: Snapshot
    next: int | None = None
    """Every transaction with a lower number had begun."""
    published: Snapshot | None = None
    """What the relay said by then that it had published."""


def edge(at: datetime, snapshot: str, next: int, published: str | None) -> Edge:  # noqa: A002 - the column's name
    """Return the edge of a row of sql/queries/audit_edges.sql."""
    return Edge(at, Snapshot.parse(snapshot), next, None if published is None else Snapshot.parse(published))


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was committed after one edge, up to another."""

    after: Edge
    until: Edge

    def parameters(self) -> dict[str, object]:
        """Return it as parameters of sql/queries/audit_bucket.sql."""
        return {
            "after": str(self.after.snapshot),
            "until": str(self.until.snapshot),
            "running": [str(each) for each in self.after.snapshot.running],
        }


def divide(edges: Sequence[Edge], width: timedelta) -> list[Bucket]:
    """Return buckets of about `width` between `edges`: each ends at the last edge of its stretch of the clock.

    An edge that does not come after the one before it, since a clock was set back, is passed over.
    """
    kept: list[Edge] = []
    for edge in edges:
        if not kept:
            kept.append(edge)
        elif _follows(edge.snapshot, kept[-1].snapshot):
            if len(kept) > 1 and _stretch(edge.at, width) == _stretch(kept[-1].at, width):
                kept[-1] = edge
            else:
                kept.append(edge)
    return [Bucket(after, until) for after, until in pairwise(kept)]


def settled(edges: Sequence[Edge], now: Snapshot) -> datetime | None:
    """Return up to when every transaction has ended that had begun by then; None if that is not known of any edge.

    What was confirmed by then is a row that `now` sees, or was deleted. A commit that waits for a standby is none yet.
    """
    return max((edge.at for edge in edges if edge.next is not None and edge.next <= now.xmin), default=None)


def _follows(later: Snapshot, earlier: Snapshot) -> bool:
    """Return whether `later` sees all that `earlier` sees; snapshots of one server are in order."""
    return (later.xmin, later.xmax) >= (earlier.xmin, earlier.xmax) and later.xmax >= earlier.xmax


def _stretch(at: datetime, width: timedelta) -> int:
    return int((at - datetime(2000, 1, 1, tzinfo=UTC)) / width)
