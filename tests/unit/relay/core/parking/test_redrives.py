"""Redriven events: published as they were parked, marked once they are confirmed, asked for again after a failure."""

import asyncio
from collections.abc import Sequence

from msgspec import structs

from relay.core.errors import SourceUnavailable
from relay.core.event import OutboxEvent
from relay.core.observations import NotStored, Observation
from relay.core.parking.redrives import Redrives
from relay.core.ports import Parcel, Rejection
from tests.support.examples import EVENT
from tests.unit.relay.core.engine_stage import ROUTER, Broker


class Rows:
    """The rows of relay.parked that are asked for."""

    def __init__(self, *rows: int) -> None:
        self.rows = list(rows)
        self.done: list[int] = []
        self.away = False

    async def asked(self) -> Sequence[OutboxEvent]:
        if self.away:
            raise SourceUnavailable("Postgres is away", remedy="wait")
        return [structs.replace(EVENT, id=str(row), redrives=row, place=2) for row in self.rows]

    async def redriven(self, rows: Sequence[int]) -> None:
        self.done += rows
        self.rows = [row for row in self.rows if row not in rows]


async def looks(redrives: Redrives, seconds: float = 0.05) -> None:
    task = asyncio.create_task(redrives.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def of(rows: Rows, broker: Broker, seen: list[Observation] | None = None) -> Redrives:
    return Redrives(rows, ROUTER, broker, (list[Observation]() if seen is None else seen).append, every=0.001)


def test_a_row_is_marked_only_when_its_message_is_confirmed() -> None:
    async def play() -> None:
        rows, broker = Rows(1, 2), Broker()
        redrives = of(rows, broker)

        await looks(redrives)
        assert (broker.published, rows.done) == (["1", "2"], [])

        redrives.confirmed(broker.taken)
        await looks(redrives)
        assert (broker.published, rows.done) == (["1", "2"], [1, 2])

    asyncio.run(play())


def test_what_is_refused_again_is_not_marked() -> None:
    async def play() -> None:
        rows, broker = Rows(1, 2), Broker()
        redrives = of(rows, broker)

        await looks(redrives)
        redrives.rejected([Rejection(broker.taken[0], "returned", "no queue")])
        redrives.confirmed(broker.taken[1:])
        rows.rows.remove(1)  # parking it lets its row wait again
        await looks(redrives)

        assert rows.done == [2]

    asyncio.run(play())


def test_what_was_dropped_is_published_again() -> None:
    async def play() -> None:
        rows, broker = Rows(1), Broker()
        redrives = of(rows, broker)

        await looks(redrives)
        redrives.clear()
        redrives.confirmed(broker.taken)  # an answer to what was dropped
        await looks(redrives)

        assert (broker.published, rows.done) == (["1", "1"], [])

    asyncio.run(play())


def test_an_event_keeps_its_place_in_its_transaction() -> None:
    async def play() -> None:
        rows, broker = Rows(1), Broker()

        await looks(of(rows, broker))

        assert [parcel.place for parcel in broker.taken] == [2]

    asyncio.run(play())


def test_other_parcels_are_none_of_its_business() -> None:
    async def play() -> None:
        rows, broker = Rows(1), Broker()
        redrives = of(rows, broker)
        await looks(redrives)
        own: Parcel = broker.taken[0]

        redrives.confirmed([structs.replace(own, event=EVENT)])

        assert redrives

    asyncio.run(play())


def test_a_database_that_is_away_is_an_incident() -> None:
    async def play() -> None:
        rows, broker, seen = Rows(1), Broker(), list[Observation]()
        rows.away = True
        redrives = of(rows, broker, seen)

        await looks(redrives)
        rows.away = False
        await looks(redrives)

        assert isinstance(seen[0], NotStored)
        assert broker.published == ["1"]

    asyncio.run(play())
