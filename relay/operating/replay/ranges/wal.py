"""Which range of the WAL a replay reads, and from which slot: the one that the relay keeps for replays, or one by name.

Times become LSNs by what the relay has noted, rounded outward. An event is looked for in all of the WAL that is kept.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, assert_never

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from relay.core.errors import NotOurs, SlotMissing, SourceRefused
from relay.core.position import Lsn
from relay.core.replay import WalRange
from relay.operating.replay.ranges import scanning
from relay.operating.replay.ranges.asked import AtEvent, AtLsn, AtSlot, AtTime, Begin, End
from relay.operating.replay.ranges.found import Found, NotKept
from relay.operating.replay.ranges.scanning import Place
from relay.settings import RelaySettings
from relay.sources.replay.wal import Origin

_NO_WINDOW = (
    "set RELAY_REPLAY_WINDOW, with which the relay keeps WAL from then on; or name a slot that has it with --from-slot"
)
_NO_WINDOW_YET = (
    "the active relay makes the slot that keeps it within seconds, as a copy of its own, unless its log names an "
    "obstacle: it has what was committed since; --from-slot names any other slot"
)


@dataclass(frozen=True, slots=True)
class _Facts:
    """The columns of sql/queries/replay_wal_facts.sql."""

    system_identifier: str
    timeline: int
    wal_end: str
    flushed: str
    kept: str | None
    kept_from: str | None
    named_found: bool
    named_database: str | None
    named_here: bool
    named_lost: bool
    named_from: str | None

    @property
    def origin(self) -> Origin:
        """Whose WAL it is."""
        return Origin(self.system_identifier, self.timeline)


class _Slot(NamedTuple):
    """A slot that can be copied, and where it begins."""

    name: str
    oldest: Lsn


class _NotedLsn(NamedTuple):
    """Where the WAL ended at a time."""

    lsn: str
    at: datetime


def find(connection: psycopg.Connection[Any], settings: RelaySettings, begin: Begin, end: End) -> Found:
    """Return the range of the WAL from `begin` to `end`; raises NotKept if no slot has all of it."""
    return _Finding(connection, settings, begin).found(begin, end)


def origin(connection: psycopg.Connection[Any], settings: RelaySettings) -> Origin:
    """Return whose WAL the server has."""
    return _facts(connection, settings, None).origin


class _Finding:
    """The questions of one range."""

    def __init__(self, connection: psycopg.Connection[Any], settings: RelaySettings, begin: Begin) -> None:
        self._connection = connection
        self._settings = settings
        named = begin.name if isinstance(begin, AtSlot) else None
        self._facts = facts = _facts(connection, settings, named)
        self._slot = _kept(facts, settings) if named is None else _named(facts, named, connection.info.dbname)
        self._now = Lsn.parse(facts.flushed)

    def found(self, begin: Begin, end: End) -> Found:
        """Return the range; raises NotKept."""
        ids = {at.id for at in (begin, end) if isinstance(at, AtEvent)}
        places = self._places(ids) if ids else {}
        after, began = self._begin(begin, places)
        until, ended = self._end(end, places)
        wanted = WalRange(
            self._slot.name,
            after,
            max(after, until),
            begin.id if isinstance(begin, AtEvent) else None,
            end.id if isinstance(end, AtEvent) else None,
        )
        return Found(wanted, began, ended)

    def _begin(self, begin: Begin, places: dict[str, Place]) -> tuple[Lsn, str]:
        match begin:
            case AtLsn(lsn):
                self._require_written(lsn)
                return self._kept(lsn), f"{lsn}, in the WAL that slot {self._slot.name} keeps"
            case AtTime(at):
                noted = self._noted("replay_lsn_from", at=at)
                if noted is None:
                    raise self._not_kept(f"no position is noted that is as old as {at:%Y-%m-%d %H:%M:%S %Z}")
                lsn = self._kept(Lsn.parse(noted.lsn))
                return lsn, f"{noted.at:%Y-%m-%d %H:%M:%S %Z}, {lsn} in the WAL that slot {self._slot.name} keeps"
            case AtEvent(event):
                lsn = places[event].begin
                return lsn, f"event {event}, {lsn} in the WAL that slot {self._slot.name} keeps"
            case AtSlot(name):
                return self._slot.oldest, f"{self._slot.oldest}, where slot {name} stands"
            case _:
                assert_never(begin)

    def _end(self, end: End, places: dict[str, Place]) -> tuple[Lsn, str]:
        match end:
            case None:
                return self._now, f"now, {self._now}"
            case AtLsn(lsn):
                self._require_written(lsn)
                return min(lsn, self._now), f"{lsn}"
            case AtTime(at):
                noted = self._noted("replay_lsn_to", at=at)
                if noted is None:
                    return self._now, f"now, {self._now}: no later position is noted"
                return Lsn.parse(noted.lsn), f"{noted.at:%Y-%m-%d %H:%M:%S %Z}, {noted.lsn}"
            case AtEvent(event):
                return places[event].end, f"event {event}, {places[event].end}"
            case _:
                assert_never(end)

    def _places(self, ids: set[str]) -> dict[str, Place]:
        """Return where the events are in all of the WAL that the slot has."""
        whole = WalRange(self._slot.name, self._slot.oldest, self._now)
        places = scanning.places(self._settings, whole, self._facts.origin, ids)
        for missing in sorted(ids - places.keys()):
            raise self._not_kept(f"event {missing} is not in the WAL that slot {self._slot.name!r} keeps")
        return places

    def _kept(self, lsn: Lsn) -> Lsn:
        if lsn < self._slot.oldest:
            raise self._not_kept(f"slot {self._slot.name!r} keeps no WAL of {lsn}")
        return lsn

    def _not_kept(self, what: str) -> NotKept:
        """Return a problem that names the oldest position of the slot, and the oldest time."""
        oldest = self._noted("replay_lsn_oldest", oldest=str(self._slot.oldest))
        time = "" if oldest is None else f", or --from-time '{oldest.at.isoformat(sep=' ')}'"
        return NotKept(what, remedy=f"the oldest that the WAL has is --from-lsn {self._slot.oldest}{time}")

    def _require_written(self, lsn: Lsn) -> None:
        if lsn > Lsn.parse(self._facts.wal_end):
            raise SourceRefused(
                f"{lsn} is ahead of the server's WAL, which ends at {self._facts.wal_end}",
                remedy="take a position that `relay positions` lists",
            )

    def _noted(self, query: str, **asked: object) -> _NotedLsn | None:
        facts = self._facts
        known = {"relay": self._settings.name, "system": facts.system_identifier, "timeline": facts.timeline}
        row = self._connection.execute(sql.query(query), {**known, **asked}).fetchone()
        return None if row is None else _NotedLsn(*row)


def _facts(connection: psycopg.Connection[Any], settings: RelaySettings, slot: str | None) -> _Facts:
    cursor = connection.cursor(row_factory=class_row(_Facts))
    facts = cursor.execute(sql.query("replay_wal_facts"), {"relay": settings.name, "slot": slot}).fetchone()
    assert facts is not None  # noqa: S101 - the query always returns one row
    return facts


def _kept(facts: _Facts, settings: RelaySettings) -> _Slot:
    if facts.kept is None or facts.kept_from is None:
        remedy = _NO_WINDOW if settings.replay_window is None else _NO_WINDOW_YET
        if settings.source == "polling":
            remedy = "RELAY_SOURCE is polling, so the relay keeps none; --from-slot names a slot that has it"
        raise NotKept("no WAL is kept for replays", remedy=remedy)
    return _Slot(facts.kept, Lsn.parse(facts.kept_from))


def _named(facts: _Facts, name: str, database: str) -> _Slot:
    if not facts.named_found:
        raise SlotMissing(f"replication slot {name!r} does not exist", remedy="pg_replication_slots lists them")
    if not facts.named_here:
        raise NotOurs(
            f"replication slot {name!r} is of "
            + ("no database: it is a physical slot" if facts.named_database is None else repr(facts.named_database)),
            remedy=f"name a logical slot of database {database!r}, such as pg_replication_slots lists",
        )
    if facts.named_lost or facts.named_from is None:
        raise SlotMissing(
            f"replication slot {name!r} is lost, or is being made", remedy="name another slot of pg_replication_slots"
        )
    return _Slot(name, Lsn.parse(facts.named_from))
