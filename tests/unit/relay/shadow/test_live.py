"""What the live stream gives is noted while a shadow compares, and nothing about the stream changes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.core.event import Boundary, OutboxEvent
from relay.core.position import Lsn, PollPosition, Position, Snapshot
from relay.shadow import live as module
from relay.shadow.live import Live, WatchedSource
from relay.shadow.row import Row
from relay.storage.state import Mode


def event(number: int, transaction: int | None) -> OutboxEvent:
    return OutboxEvent(
        f"id{number}", number, "order", "a", 1, "paid", b"{}", {}, None, None, datetime(2026, 1, 1, tzinfo=UTC),
        transaction=transaction,
    )  # fmt: skip


class OneBatch:
    """A source whose stream gives one batch, and notes what it is told."""

    def __init__(self, start: Position, items: Sequence[OutboxEvent | Boundary[Any]]) -> None:
        self.start = start
        self._items = items
        self.confirmed: list[Position] = []

    async def held(self) -> bool:
        return True

    @asynccontextmanager
    async def open(self, after: Position | None) -> AsyncIterator[Any]:
        del after
        yield self

    async def receive(self) -> Sequence[OutboxEvent | Boundary[Any]]:
        return self._items

    def confirm(self, position: Position) -> None:
        self.confirmed.append(position)

    async def store(self, position: Position) -> None:
        """Store nothing."""

    async def run(self) -> None:
        """Do nothing."""


class Watcher:
    """Notes which streams were opened."""

    def __init__(self) -> None:
        self.lives: list[Live] = []
        self.ended: list[Live] = []
        self.took = 0.0

    def opened(self, mode: Mode) -> Live:
        def took(seconds: float) -> None:
            self.took += seconds

        self.lives.append(Live(mode, took))
        return self.lives[-1]

    def closed(self, live: Live) -> None:
        self.ended.append(live)


BATCH: list[OutboxEvent | Boundary[Any]] = [
    event(1, 9), event(2, 10), event(3, None), event(4, 11), Boundary(Lsn(5)),
]  # fmt: skip


def received(watcher: Watcher, source: OneBatch, *, since: int | None) -> Live:
    """Receive and confirm the batch, while the shadow counts from the transaction `since`, if it does."""

    async def run() -> None:
        async with WatchedSource(source, watcher).open(None) as stream:
            if since is not None:
                watcher.lives[0].begin()
                watcher.lives[0].count_from(since)
            assert stream.start == source.start
            assert await stream.receive() is BATCH
            stream.confirm(Lsn(4))
            stream.confirm(Lsn(5))

    asyncio.run(run())
    return watcher.lives[0]


def test_events_from_the_given_transaction_on_are_noted_and_then_what_is_confirmed() -> None:
    watcher, source = Watcher(), OneBatch(Lsn(1), BATCH)
    live = received(watcher, source, since=10)
    item = live.next()
    assert isinstance(item, tuple)
    assert item[1] == [Row("id2", 2, 10, "order", "a"), Row("id4", 4, 11, "order", "a")]
    assert (live.next(), live.next()) == (Lsn(5), None)
    assert source.confirmed == [Lsn(4), Lsn(5)]
    assert watcher.took > 0
    assert watcher.ended == [live]


def test_nothing_is_noted_while_no_shadow_compares() -> None:
    watcher, source = Watcher(), OneBatch(Lsn(1), BATCH)
    assert received(watcher, source, since=None).next() is None
    assert source.confirmed == [Lsn(4), Lsn(5)]
    assert watcher.took == 0


@pytest.mark.parametrize(
    ("start", "mode"), [(Lsn(1), "wal"), (PollPosition(Snapshot(1, 1)), "polling")], ids=["wal", "polling"]
)
def test_the_position_says_what_the_live_stream_reads(start: Position, mode: str) -> None:
    assert received(Watcher(), OneBatch(start, BATCH), since=None).mode == mode


def test_no_more_is_noted_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_MOST", 1)
    live = received(Watcher(), OneBatch(Lsn(1), BATCH), since=10)
    assert live.too_much
    assert live.next() is None
