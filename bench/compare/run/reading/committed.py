"""The events of a run that were committed, read from its database. There may be a million."""

from collections.abc import Mapping

from bench.compare.run.judging import Event
from bench.stage import Stage
from outboxkit import sql

_ROWS = 10_000
"""How many are fetched at a time."""


def events(
    place: Stage, after: int, dues: Mapping[int, float], commits: Mapping[int, float], otherwise: float
) -> list[Event]:  # fmt: skip
    """Return the events behind `after`.

    `dues` and `commits` have the times of transactions of a schedule, by their number; `otherwise` is that of events
    that no schedule has.
    """
    found = []
    names: dict[str, str] = {}  # all events of an aggregate share one text
    with place.connect() as connection, connection.transaction(), connection.cursor("events") as rows:
        rows.itersize = _ROWS
        rows.execute(sql.example("bench_compare_events"), {"after": after})
        for event_id, aggregate, version, number in rows:
            committed = commits.get(number, otherwise)
            name = names.setdefault(aggregate, aggregate)
            found.append(Event(event_id, name, version, dues.get(number, committed), committed))
    return found
