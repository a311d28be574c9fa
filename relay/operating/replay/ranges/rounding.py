"""From what was asked to a range of the table. Pure.

The history has a position every ten seconds, and fewer of older times. So a range is rounded outward: it begins with
the last position at or before its begin, and ends with the first at or behind its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from outboxkit.errors import ConfigurationProblem
from relay.core.position import Lsn, Snapshot
from relay.core.replay import TableRange
from relay.operating.replay.ranges.asked import AtEvent, AtLsn, AtTime
from relay.operating.replay.ranges.found import NotKept

BEGINNING = Snapshot(1, 1)
"""It sees nothing."""
_SLACK = timedelta(seconds=1)
"""A position was taken at most so long before its time."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A position of the past: a row of relay.checkpoint_history."""

    at: datetime
    lsn: Lsn
    snapshot: Snapshot
    next: int
    """Every transaction with a lower id had begun."""
    timeline: int

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S %Z} ({self.lsn})"


@dataclass(frozen=True, slots=True)
class Retired:
    """What was removed from the outbox at one time."""

    at: datetime
    last_tx: int | None
    """No event of a later transaction was in it; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of the past, oldest first, and the present."""

    noted: Sequence[Noted]
    retired: Sequence[Retired]
    now: Noted


@dataclass(frozen=True, slots=True)
class AtTransaction(AtEvent):
    """An event that the table has, and its transaction."""

    tx: int


Begin = AtLsn | AtTime | AtTransaction
End = Begin | None


@dataclass(frozen=True, slots=True)
class Rounded:
    """A range of the table, and between which positions it is."""

    range: TableRange
    first: Noted | None
    """None: the beginning of the table."""
    last: Noted | None
    """None: now."""


def table_range(past: Past, begin: Begin, end: End) -> Rounded:
    """Return the rows from `begin` to `end`; raises NotKept if some of them are not in the table any more."""
    _require_order(past.now, begin, end)
    first = _before(past, begin)
    if first is None and not isinstance(begin, AtTransaction):
        raise NotKept(f"no position of {named(begin)} or before is known", remedy=_oldest(past))
    if not whole(past, first):
        raise NotKept(f"events of {named(begin)} are not in the table any more", remedy=_oldest(past))
    last = _behind(past, end)
    until = past.now.snapshot if last is None else past.now.snapshot.below(last.next)
    return Rounded(TableRange(BEGINNING if first is None else first.snapshot, until), first, last)


def whole(past: Past, first: Noted | None) -> bool:
    """Return whether the table has every row that `first` does not see: nothing of that was removed."""
    return all(
        first is not None
        and (retired.at < first.at - _SLACK or (retired.last_tx is not None and retired.last_tx < first.snapshot.xmin))
        for retired in past.retired
    )


def _before(past: Past, begin: Begin) -> Noted | None:
    """Return the last position that sees nothing of what is behind `begin`."""
    return next((noted for noted in reversed(past.noted) if _is_before(noted, begin)), None)


def _behind(past: Past, end: End) -> Noted | None:
    """Return the first position that covers all that is before `end`; None if there is none yet."""
    return None if end is None else next((noted for noted in past.noted if _is_behind(noted, end)), None)


def _is_before(noted: Noted, begin: Begin) -> bool:
    match begin:
        case AtTime(at):
            return noted.at <= at
        case AtLsn(lsn):
            return noted.lsn <= lsn
        case AtTransaction(tx=tx):
            return not noted.snapshot.sees(tx)
        case never:
            assert_never(never)


def _is_behind(noted: Noted, end: Begin) -> bool:
    match end:
        case AtTime(at):
            return noted.at >= at
        case AtLsn(lsn):
            return noted.lsn >= lsn
        case AtTransaction(tx=tx):
            return noted.snapshot.sees(tx)  # so are all that were committed before it, whatever their ids
        case never:
            assert_never(never)


def _require_order(now: Noted, begin: Begin, end: End) -> None:
    for at in (begin, end):
        if isinstance(at, AtLsn) and at.lsn > now.lsn:
            raise ConfigurationProblem(
                f"position {at.lsn} is ahead of the server's WAL, which ends at {now.lsn}: it is of another server, or "
                "of a timeline that was left",
                remedy="`relay positions` lists the positions of this server",
            )
    if isinstance(begin, AtTime) and begin.at > now.at:
        raise ConfigurationProblem(f"{begin.at} is in the future", remedy="give a time that has passed")
    times = isinstance(begin, AtTime) and isinstance(end, AtTime) and begin.at > end.at
    lsns = isinstance(begin, AtLsn) and isinstance(end, AtLsn) and begin.lsn > end.lsn
    if end is not None and (times or lsns):
        raise ConfigurationProblem(
            f"the range ends at {named(end)}, before it begins, at {named(begin)}", remedy="swap the two"
        )


def _oldest(past: Past) -> str:
    """Return what names the oldest position that can be replayed from."""
    if (oldest := next((noted for noted in past.noted if whole(past, noted)), None)) is not None:
        return (
            f"the oldest position from which the table has everything is {oldest}: "
            f"--from-time '{oldest.at.isoformat(sep=' ')}'"
        )
    if whole(past, None):
        return (
            "the relay has stored no position that is older; --from-event with the first event replays all of the table"
        )
    return "the relay stores a position every ten seconds while it runs; none is younger than the events that are gone"


def named(at: Begin) -> str:
    """Return what was asked for as text."""
    match at:
        case AtTime(time):
            return f"{time:%Y-%m-%d %H:%M:%S %Z}"
        case AtLsn(lsn):
            return str(lsn)
        case AtTransaction(id=event):
            return f"event {event}"
        case never:
            assert_never(never)
