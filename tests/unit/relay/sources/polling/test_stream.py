"""A polled stream: what a round hands over, what is confirmed and stored, and how it ends for the WAL."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from relay.core.errors import UndecodableChange
from relay.core.event import Boundary, OutboxEvent
from relay.core.observations import CaughtUp, Observation
from relay.core.position import Lsn, PollPosition, Round, Snapshot
from relay.core.transactions import Transactions
from relay.sources.layout import NATIVE, Column
from relay.sources.polling.reading import Batch, Begun, Row
from relay.sources.polling.stream import PollingStream
from relay.storage.state import State
from tests.unit.relay.sources.decoders import columns

FIRST, SECOND, THIRD = Snapshot(700, 700), Snapshot(710, 710), Snapshot(720, 730, (720,))
START = State("polling", None, FIRST, Transactions())
VALUES = {
    "id": b"0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f", "seq": b"7", "aggregate_type": b"order", "aggregate_id": b"42",
    "aggregate_version": b"3", "event_type": b"placed", "payload": b'{"total": 1.10}', "headers": b"{}",
    "exchange": None, "routing_key": None, "created_at": b"2026-11-20 20:00:00+00",
}  # fmt: skip
NAMES = list(NATIVE.columns.values())


def row(seq: int, transaction: int, place: int = 1) -> Row:
    values = VALUES | {"id": str(seq).encode(), "seq": str(seq).encode()}
    return (*(values[name] for name in NAMES), str(transaction).encode(), str(place).encode())


class Rounds:
    """Gives what a test has prepared; begins wait for it."""

    def __init__(self, *begun: Begun, parts: Sequence[Batch] = ()) -> None:
        self.asked: list[tuple[Snapshot, Round | None]] = []
        self.called = asyncio.Event()
        self._parts = list(parts)
        self._begun: asyncio.Queue[Begun] = asyncio.Queue()
        for each in begun:
            self._begun.put_nowait(each)

    def then(self, begun: Begun) -> None:
        self._begun.put_nowait(begun)

    async def begin(self, after: Snapshot, resumed: Round | None) -> Begun:
        self.asked.append((after, resumed))
        self.called.set()
        return await self._begun.get()

    async def more(self) -> Batch:
        return self._parts.pop(0)


class Kept:
    """Keeps what is stored."""

    def __init__(self) -> None:
        self.saved: list[State] = []

    async def save(self, state: State) -> None:
        self.saved.append(state)


def stream(
    rounds: Rounds, state: State = START, *, kept: Kept | None = None, seen: list[Observation] | None = None
) -> PollingStream:
    oids = {column.name: column.base for column in columns(NATIVE)}
    return PollingStream(
        rounds,
        NATIVE.reader([Column(name, oids[name]) for name in NAMES]),
        state,
        interval=0.001,
        positions=kept,
        listening=None,
        observe=(list[Observation]() if seen is None else seen).append,
    )


def ids(items: Sequence[OutboxEvent | Boundary[PollPosition]]) -> list[str]:
    return [item.id for item in items if isinstance(item, OutboxEvent)]


def test_a_round_is_its_rows_and_a_boundary_that_is_its_snapshot() -> None:
    async def play() -> None:
        rounds = Rounds(Begun(SECOND, [row(7, 701), row(8, 701, 2)], large=False))

        items = await stream(rounds).receive()

        assert ids(items) == ["7", "8"]
        boundary = items[-1]
        assert isinstance(boundary, Boundary)
        assert boundary.position == PollPosition(SECOND)

    asyncio.run(play())


def test_an_event_names_its_transaction_and_its_place_in_it() -> None:
    async def play() -> None:
        rounds = Rounds(Begun(SECOND, [row(7, (5 << 32) + 701, 2)], large=False))

        event = (await stream(rounds).receive())[0]

        assert isinstance(event, OutboxEvent)
        assert (event.transaction, event.place, event.payload) == ((5 << 32) + 701, 2, b'{"total": 1.10}')

    asyncio.run(play())


def test_the_next_round_is_behind_the_snapshot_of_the_one_before() -> None:
    async def play() -> None:
        rounds = Rounds(Begun(SECOND, [], large=False), Begun(THIRD, [], large=False))
        opened = stream(rounds)

        await opened.receive()
        await opened.receive()

        assert rounds.asked == [(FIRST, None), (SECOND, None)]

    asyncio.run(play())


def test_what_was_streamed_before_is_passed_over_until_a_stored_snapshot_sees_it() -> None:
    async def play() -> None:
        state = replace(START, streamed=Transactions.of([705, 720]))
        rounds = Rounds(
            Begun(SECOND, [row(7, 705), row(8, 706)], large=False), Begun(THIRD, [row(9, 720)], large=False)
        )
        kept = Kept()
        opened = stream(rounds, state, kept=kept)

        assert ids(await opened.receive()) == ["8"]
        await opened.store(PollPosition(SECOND))
        assert kept.saved[-1].streamed == Transactions.of([720])
        assert ids(await opened.receive()) == []

    asyncio.run(play())


def test_a_large_round_is_stored_in_part_and_resumed_there() -> None:
    async def play() -> None:
        part = Round(SECOND, 8)
        rounds = Rounds(Begun(SECOND, [], large=True), parts=[Batch([row(7, 701), row(8, 702)], 8), Batch([], None)])
        kept = Kept()
        opened = stream(rounds, kept=kept)

        items = await opened.receive()
        assert isinstance(items[-1], Boundary)
        assert items[-1].position == PollPosition(FIRST, part)
        await opened.store(items[-1].position)
        assert (kept.saved[-1].snapshot, kept.saved[-1].round) == (FIRST, part)

        again = Rounds(Begun(SECOND, [row(9, 703)], large=False))
        assert ids(await stream(again, kept.saved[-1]).receive()) == ["9"]
        assert again.asked == [(FIRST, part)]

        (end,) = await opened.receive()
        assert isinstance(end, Boundary)
        assert end.position == PollPosition(SECOND)

    asyncio.run(play())


def test_without_an_order_a_large_round_is_stored_only_as_a_whole() -> None:
    async def play() -> None:
        rounds = Rounds(Begun(SECOND, [], large=True), parts=[Batch([row(7, 701)], None), Batch([], None)])
        opened = stream(rounds)

        assert [type(item) for item in await opened.receive()] == [OutboxEvent]
        assert [type(item) for item in await opened.receive()] == [Boundary]

    asyncio.run(play())


def test_a_confirmed_snapshot_says_how_far_the_relay_has_caught_up() -> None:
    async def play() -> None:
        seen: list[Observation] = []
        opened = stream(Rounds(Begun(SECOND, [], large=False), Begun(THIRD, [], large=False)), seen=seen)

        await opened.receive()
        await opened.receive()
        opened.confirm(PollPosition(FIRST, Round(SECOND, 8)))
        assert seen == []
        opened.confirm(PollPosition(THIRD))
        assert [type(each) for each in seen] == [CaughtUp]

    asyncio.run(play())


def test_a_round_whose_snapshot_is_the_same_hands_nothing_over_and_says_that_the_relay_has_caught_up() -> None:
    async def play() -> None:
        seen: list[Observation] = []
        rounds = Rounds(*[Begun(FIRST, [], large=False)] * 2, Begun(SECOND, [], large=False))
        opened = stream(rounds, seen=seen)

        (boundary,) = await opened.receive()

        assert isinstance(boundary, Boundary)
        assert boundary.position == PollPosition(SECOND)
        assert len(rounds.asked) == 3
        assert [type(each) for each in seen] == [CaughtUp, CaughtUp]

    asyncio.run(play())


def test_a_stream_that_has_nothing_new_ends_at_once() -> None:
    async def play() -> None:
        rounds = Rounds(Begun(SECOND, [row(7, 701)], large=False), Begun(SECOND, [], large=False))
        opened = stream(rounds)
        await opened.receive()
        reading = asyncio.create_task(opened.receive())
        opened.confirm(PollPosition(SECOND))  # the engine confirms a position once
        ending = asyncio.create_task(opened.finish(lambda _: True))
        await asyncio.sleep(0)
        rounds.then(Begun(SECOND, [], large=False))  # for the round that was beginning

        async with asyncio.timeout(1):
            assert await ending == PollPosition(SECOND)
        reading.cancel()

    asyncio.run(play())


def test_the_end_is_awaited_until_a_last_snapshot_is_confirmed_and_no_round_begins_behind_it() -> None:
    async def play() -> None:
        rounds = Rounds(Begun(SECOND, [row(7, 701)], large=False))
        opened = stream(rounds)
        await opened.receive()
        ending = asyncio.create_task(opened.finish(lambda snapshot: snapshot.xmin > 715))
        reading = asyncio.create_task(opened.receive())
        opened.confirm(PollPosition(SECOND))
        rounds.then(Begun(THIRD, [row(8, 711)], large=False))
        assert ids(await reading) == ["8"]
        assert not ending.done()

        stopped = asyncio.create_task(opened.receive())
        opened.confirm(PollPosition(THIRD))

        assert await ending == PollPosition(THIRD)
        assert len(rounds.asked) == 2
        assert not stopped.done()
        stopped.cancel()

    asyncio.run(play())


def test_a_poll_that_is_idle_ends_at_once() -> None:
    async def play() -> None:
        opened = stream(Rounds(Begun(SECOND, [], large=False)))
        await opened.receive()
        opened.confirm(PollPosition(SECOND))

        assert await opened.finish(lambda _: True) == PollPosition(SECOND)

    asyncio.run(play())


def test_a_round_that_is_being_read_is_not_forgotten_when_the_poll_ends() -> None:
    async def play() -> None:
        rounds = Rounds(Begun(SECOND, [], large=False))
        opened = stream(rounds)
        await opened.receive()
        opened.confirm(PollPosition(SECOND))
        rounds.called.clear()
        reading = asyncio.create_task(opened.receive())
        await rounds.called.wait()

        ending = asyncio.create_task(opened.finish(lambda _: True))
        await asyncio.sleep(0)
        assert not ending.done()
        rounds.then(Begun(THIRD, [row(8, 711)], large=False))
        await reading
        opened.confirm(PollPosition(THIRD))

        assert await ending == PollPosition(THIRD)

    asyncio.run(play())


def test_nothing_is_stored_behind_the_state_that_the_other_source_goes_on_from() -> None:
    async def play() -> None:
        kept = Kept()
        opened = stream(Rounds(Begun(SECOND, [], large=False)), kept=kept)
        await opened.receive()
        back = opened.state(PollPosition(SECOND)).streamed_on(Lsn(0x100), Lsn(0x200))

        await opened.hand_over(back)
        await opened.store(PollPosition(SECOND))

        assert kept.saved == [back]
        assert opened.state(PollPosition(SECOND)) == back

    asyncio.run(play())


def test_a_poll_without_a_snapshot_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="behind a snapshot"):
        asyncio.run(_opened())


async def _opened() -> None:
    stream(Rounds(), replace(START, snapshot=None))


def test_a_row_that_cannot_be_read_ends_the_poll_behind_those_before_it() -> None:
    async def play() -> None:
        without_id = (b"", *row(8, 702)[1:])
        polled = stream(Rounds(Begun(SECOND, [row(7, 701), without_id, row(9, 703)], large=False)))

        items = await polled.receive()

        assert (ids(items), len(items)) == (["7"], 1)
        with pytest.raises(UndecodableChange, match=r"'id' .* is empty \(.* tx = 702\)") as refused:
            await polled.receive()
        assert "correct the row with UPDATE, or delete it" in refused.value.remedy

    asyncio.run(play())
