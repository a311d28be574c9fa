"""A stream of shared rows: a batch is marked once all of it is confirmed, and let go when the stream ends."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from relay.core.event import Boundary, OutboxEvent
from relay.core.observations import CaughtUp, Observation
from relay.core.position import BatchPosition
from relay.sources.layout import NATIVE, Column
from relay.sources.polling.skip_locked.batches import Ended, Locked
from relay.sources.polling.skip_locked.stream import SkipLockedStream, Tidying
from tests.unit.relay.sources.decoders import columns

VALUES = {
    "id": b"0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f", "seq": b"7", "aggregate_type": b"order", "aggregate_id": b"42",
    "aggregate_version": b"3", "event_type": b"placed", "payload": b'{"total": 1.10}', "headers": b"{}",
    "exchange": None, "routing_key": None, "created_at": b"2026-11-20 20:00:00+00",
}  # fmt: skip
NAMES = list(NATIVE.columns.values())


def locked(seq: int, tx: int | None = 701) -> Locked:
    values = VALUES | {"id": str(seq).encode(), "seq": str(seq).encode()}
    return Locked(tuple(values[name] for name in NAMES), tx, str(seq))


class Table:
    """Gives the batches that a test has prepared, then waits."""

    def __init__(self, *batches: Sequence[Locked]) -> None:
        self._batches = list(batches)
        self.marked: list[str] = []
        self.rolled_back: list[str] = []
        self.empty = asyncio.Event()
        self.asked = 0

    async def next(self, publish: Callable[[Sequence[Locked]], asyncio.Future[None]]) -> Ended:
        self.asked += 1
        if not self._batches:
            self.empty.set()
            return Ended(again=False, caught_up=True, published=0)
        rows = self._batches.pop(0)
        published = publish(rows)
        await asyncio.wait({published})
        if published.cancelled():
            self.rolled_back += [row.key for row in rows]
            return Ended(again=False, caught_up=False, published=0)
        self.marked += [row.key for row in rows]
        return Ended(again=True, caught_up=False, published=len(rows))


def stream(
    table: Table, *, number: int = 0, tidying: Tidying | None = None, seen: list[Observation]
) -> SkipLockedStream:
    oids = {column.name: column.base for column in columns(NATIVE)}
    reader = NATIVE.reader([Column(name, oids[name]) for name in NAMES])
    return SkipLockedStream(table, reader, number=number, interval=60, tidying=tidying, beside={}, observe=seen.append)


def ids(items: Sequence[OutboxEvent | Boundary[BatchPosition]]) -> list[str]:
    return [item.id for item in items if isinstance(item, OutboxEvent)]


def test_a_batch_is_marked_when_it_is_confirmed_and_stored_when_it_is_marked() -> None:
    async def play() -> None:
        table = Table([locked(7), locked(8)], [locked(9)])
        opened = stream(table, number=4, seen=[])
        running = asyncio.create_task(opened.run())

        items = await opened.receive()
        assert ids(items) == ["7", "8"]
        boundary = items[-1]
        assert isinstance(boundary, Boundary)
        assert boundary.position == BatchPosition(5)
        storing = asyncio.create_task(opened.store(boundary.position))
        await asyncio.sleep(0)
        assert (table.marked, storing.done()) == ([], False)

        opened.confirm(boundary.position)
        await storing
        assert table.marked == ["7", "8"]
        assert ids(await opened.receive()) == ["9"]
        running.cancel()

    asyncio.run(play())


def test_the_place_of_an_event_is_its_own_whichever_batch_has_it() -> None:
    async def play() -> None:
        opened = stream(Table([locked(2**31 + 7), locked(8, tx=None)]), seen=[])
        running = asyncio.create_task(opened.run())
        first, second, _ = await opened.receive()
        assert isinstance(first, OutboxEvent)
        assert isinstance(second, OutboxEvent)
        assert [(each.transaction, each.place) for each in (first, second)] == [(701, 7), (None, 8)]
        running.cancel()

    asyncio.run(play())


def test_what_is_not_confirmed_is_let_go_when_the_stream_ends() -> None:
    async def play() -> None:
        table = Table([locked(7)])
        opened = stream(table, seen=[])
        taking = asyncio.create_task(table.next(opened._publish))  # noqa: SLF001 - as the stream does
        await opened.receive()

        opened.release()
        await taking
        assert (table.rolled_back, table.marked) == (["7"], [])

    asyncio.run(play())


def test_a_batch_that_comes_after_the_end_is_let_go_at_once() -> None:
    async def play() -> None:
        table = Table([locked(7)])
        opened = stream(table, seen=[])
        opened.release()
        await table.next(opened._publish)  # noqa: SLF001 - as the stream does
        assert table.rolled_back == ["7"]
        assert opened.number == 0

    asyncio.run(play())


def test_an_empty_poll_says_that_the_relay_has_caught_up_and_a_wake_ends_the_interval() -> None:
    async def play() -> None:
        seen: list[Observation] = []
        table = Table()
        opened = stream(table, seen=seen)
        running = asyncio.create_task(opened.run())
        await table.empty.wait()
        table.empty.clear()
        await asyncio.sleep(0)
        opened.wake()
        await table.empty.wait()
        assert table.asked == 2
        assert any(isinstance(each, CaughtUp) for each in seen)
        running.cancel()

    asyncio.run(play())


def test_marks_are_removed_after_many_batches_and_not_while_nothing_is_published() -> None:
    async def play() -> None:
        removed = asyncio.Event()

        async def remove() -> None:
            removed.set()

        table = Table([locked(7)], [locked(8)])
        opened = stream(table, tidying=Tidying(remove, every=60, idle_every=600, after=2), seen=[])
        running = asyncio.create_task(opened.run())
        await opened.receive()
        opened.confirm(BatchPosition(1))
        await opened.receive()
        assert not removed.is_set()
        opened.confirm(BatchPosition(2))
        await removed.wait()
        running.cancel()

    asyncio.run(play())


def test_a_failure_of_the_table_ends_the_stream() -> None:
    class Broken(Table):
        async def next(self, _: Callable[[Sequence[Locked]], asyncio.Future[None]]) -> Ended:
            raise LookupError

    async def play() -> None:
        with pytest.raises(LookupError):
            await stream(Broken(), seen=[]).run()

    asyncio.run(play())
