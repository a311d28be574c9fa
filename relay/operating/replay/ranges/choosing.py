"""Which source a replay reads: the table if it has all of the range, else the WAL that is kept for replays."""

from typing import Any

import psycopg

from outboxkit import sql
from relay.core.errors import SourceRefused, UndecodableChange
from relay.operating.replay.ranges import history
from relay.operating.replay.ranges.asked import AtEvent, AtLsn, AtSlot, AtTime, Begin, End
from relay.operating.replay.ranges.found import Found, NotKept
from relay.operating.replay.ranges.rounding import table_range
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.preconditions import require_state
from relay.sources.wal.ownership import require_position


def choose(connection: psycopg.Connection[Any], settings: RelaySettings, begin: Begin, end: End) -> Found:
    """Return the range from `begin` to `end`; raises NotKept if no source has all of it."""
    facts = slots.facts(connection, settings)
    require_state(facts, settings.name)
    require_position(facts, settings.owner)
    # It takes a third of a second to import, so only what needs it imports it.
    from relay.operating.replay.ranges import wal  # noqa: PLC0415 - see above

    if isinstance(begin, AtSlot):
        return wal.find(connection, settings, begin, end)
    try:
        return _table(connection, settings, begin, end)
    except (NotKept, SourceRefused, UndecodableChange) as of_table:
        connection.rollback()
        try:
            return wal.find(connection, settings, begin, end)
        except NotKept as of_wal:
            remedy = f"{of_table.remedy}; {of_wal.remedy}"
            raise NotKept(f"{of_table.what}; {of_wal.what}", remedy=remedy) from of_table


def _table(
    connection: psycopg.Connection[Any], settings: RelaySettings, begin: AtLsn | AtTime | AtEvent, end: End
) -> Found:
    """Return the range of the table; everything is asked at one moment."""
    connection.execute(sql.query("poll_begin"))
    past = history.past(connection, settings)
    table = history.Table(connection, settings)
    gone = bool(past.retired)
    first = table.event(begin, may_be_gone=gone) if isinstance(begin, AtEvent) else begin
    last = table.event(end, may_be_gone=gone) if isinstance(end, AtEvent) else end
    connection.commit()
    found = table_range(past, first, last)
    return Found(
        found.range,
        f"the beginning of {table.layout.name}" if found.first is None else str(found.first),
        "now" if found.last is None else str(found.last),
    )
