"""Compares what two sources give. Pure: it reads no clock, and methods take the time.

Only transactions from X on count. X was drawn when both sources were open, so each of them gives every one of these,
and the order in which they give the events of one aggregate is the same.

An event that one side has given waits until the other gives it. It is missing only if the other side has passed it:

* a poll has passed what its snapshot sees;
* a stream of the WAL has passed what was given before a time t, once it has come to where the WAL ended at t.

A side that stands still passes nothing, so nothing is missing there, however long that takes.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from msgspec import Struct

from outboxkit.errors import Problem
from relay.core.observations import Difference
from relay.core.position import Lsn, PollPosition, Position, Snapshot
from relay.shadow.row import Row

Side = Literal["live", "shadow"]
KINDS = ("missing_live", "missing_shadow", "order", "twice")
AT_MOST = 100_000
"""How many events of one side may wait for the other."""
_REMEMBERED = 20_000
"""How many events that both have given, and aggregates, are remembered: to find what comes twice, or out of order."""
_LOOKED_AT = 1000
"""How many waiting events are looked at in one go; those behind them have their turn when these are gone."""
_MARKS = 1000

_Key = tuple[str, int, int]


class Behind(Problem):
    """One side has given more than may wait for the other."""


class _Waiting(Struct, frozen=True, gc=False):
    row: Row
    at: float
    number: int


@dataclass(slots=True)
class _Given:
    """What one side has given, and how far it has come."""

    waiting: dict[_Key, _Waiting] = field(default_factory=dict)
    """In the order in which they came."""
    number: int = 0
    snapshot: Snapshot | None = None
    as_of: float = float("-inf")
    marks: deque[tuple[float, Lsn]] = field(default_factory=lambda: deque(maxlen=_MARKS))

    def has_passed(self, event: _Waiting) -> bool:
        if self.snapshot is not None:
            return self.snapshot.sees(event.row.transaction)
        return self.as_of >= event.at


@dataclass(slots=True)
class Compared:
    """What was found since the last time."""

    live: list[float] = field(default_factory=list)
    """For each event that the live stream gave first: by how many seconds."""
    shadow: list[float] = field(default_factory=list)
    """For each event that the shadow gave first: the same."""
    differences: list[Difference] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.live or self.shadow or self.differences)


class Comparison:
    """Compares events of transactions from `since` on; one may be missing for `patience` seconds until that counts."""

    def __init__(self, since: int, *, patience: float, at_most: int = AT_MOST) -> None:
        self._since = since
        self._patience = patience
        self._at_most = at_most
        self._live, self._shadow = _Given(), _Given()
        self._settled: dict[_Key, Side | None] = {}
        """Events that do not wait any more, and the only side that has given each; None: both."""
        self._aggregates: dict[tuple[str, str], tuple[int, int]] = {}
        """The last event of each that both have given: its number on the live side, and on the shadow's."""
        self._found = Compared()

    def arrived(self, side: Side, rows: Sequence[Row], at: float) -> None:
        """Note that `side` has given `rows`, in order; raises Behind when too many wait for the other side."""
        mine, other = self._of(side), self._of(_OTHER[side])
        for row in rows:
            if row.transaction < self._since:
                continue
            mine.number += 1
            key = (row.id, row.seq, row.transaction)
            if (first := other.waiting.pop(key, None)) is not None:
                self._match(side, row, at, mine.number, first)
                self._settle(key, None)
            elif key in mine.waiting or self._settled.get(key, _OTHER[side]) != _OTHER[side]:
                self._differ("twice", row)
            elif key in self._settled:  # it was missing, and comes late
                self._settle(key, None)
            else:
                mine.waiting[key] = _Waiting(row, at, mine.number)
        if len(mine.waiting) > self._at_most:
            raise Behind(
                f"{len(mine.waiting)} events of one source wait for the other", remedy="none: the shadow begins anew"
            )

    def reached(self, side: Side, position: Position) -> None:
        """Note that `side` has given everything up to `position`."""
        given = self._of(side)
        if isinstance(position, Lsn):
            while given.marks and given.marks[0][1] <= position:
                given.as_of, _ = given.marks.popleft()
        elif isinstance(position, Snapshot):
            given.snapshot = position
        elif isinstance(position, PollPosition):
            given.snapshot = position.snapshot

    def mark(self, side: Side, at: float, end: Lsn) -> None:
        """Note that all that the other side gave before `at` lies before `end` in the WAL that `side` reads."""
        self._of(side).marks.append((at, end))

    def overdue(self, now: float) -> None:
        """Find what one side has given long ago and the other one has passed over."""
        for side, other in _OTHER.items():
            given, passes = self._of(side), self._of(other).has_passed
            late = [
                (key, event)
                for key, event in islice(given.waiting.items(), _LOOKED_AT)
                if now - event.at >= self._patience and passes(event)
            ]
            for key, event in late:
                del given.waiting[key]
                self._settle(key, side)
                self._differ(f"missing_{other}", event.row)

    def take(self) -> Compared:
        """Return what was found since the last time."""
        found, self._found = self._found, Compared()
        return found

    def _of(self, side: Side) -> _Given:
        return self._live if side == "live" else self._shadow

    def _match(self, side: Side, row: Row, at: float, number: int, first: _Waiting) -> None:
        live_at, shadow_at = (at, first.at) if side == "live" else (first.at, at)
        if live_at <= shadow_at:  # what came first may be compared last
            self._found.live.append(shadow_at - live_at)
        else:
            self._found.shadow.append(live_at - shadow_at)
        numbers = (number, first.number) if side == "live" else (first.number, number)
        aggregate = (row.aggregate_type, row.aggregate_id)
        live, shadow = self._aggregates.pop(aggregate, (0, 0))
        # This side gives it after all that both have given: so the other must have done that too.
        if first.number < (shadow if side == "live" else live):
            self._differ("order", row)
        self._aggregates[aggregate] = (max(live, numbers[0]), max(shadow, numbers[1]))
        if len(self._aggregates) > _REMEMBERED:
            del self._aggregates[next(iter(self._aggregates))]

    def _settle(self, key: _Key, only: Side | None) -> None:
        self._settled.pop(key, None)
        self._settled[key] = only
        if len(self._settled) > _REMEMBERED:
            del self._settled[next(iter(self._settled))]

    def _differ(self, kind: str, row: Row) -> None:
        self._found.differences.append(
            Difference(kind, row.id, row.seq, row.transaction, row.aggregate_type, row.aggregate_id)
        )


_OTHER: dict[Side, Side] = {"live": "shadow", "shadow": "live"}
