"""A partition: each aggregate is in exactly one, always in the same one; what is read of the others is passed over."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from relay.core import pump
from relay.core.event import Boundary, OutboxEvent
from relay.core.hashing.partition import MOST, WHOLE, Partition, partition_of
from relay.core.position import Lsn
from tests.support.examples import EVENT
from tests.support.partitions import KNOWN
from tests.unit.relay.core.engine_stage import Broker, Item, Lot, Script, engine

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def of(aggregate: str, *, kind: str = "order") -> OutboxEvent:
    return structs.replace(EVENT, id=aggregate, aggregate_type=kind, aggregate_id=aggregate)


@pytest.mark.parametrize(("aggregate_type", "aggregate_id", "partitions", "number"), KNOWN)
def test_the_hash_stays_what_it_is(aggregate_type: str, aggregate_id: str, partitions: int, number: int) -> None:
    """Another one would give aggregates to other relays, in the middle of their events, and differ from Postgres'."""
    assert partition_of(aggregate_type, aggregate_id, partitions) == number


@given(text, text, st.integers(1, MOST))
def test_each_aggregate_is_in_exactly_one_partition(kind: str, aggregate: str, partitions: int) -> None:
    event = structs.replace(EVENT, aggregate_type=kind, aggregate_id=aggregate)
    assert [Partition(n, partitions).has(event) for n in range(1, partitions + 1)].count(True) == 1


def test_partitions_are_about_equal() -> None:
    counts = Counter(partition_of("order", str(n), 8) for n in range(8000))
    assert set(counts) == set(range(1, 9))
    assert all(850 < count < 1150 for count in counts.values())


def test_the_whole_outbox_has_every_event() -> None:
    assert WHOLE.whole
    assert all(WHOLE.has(of(str(n))) for n in range(100))


@pytest.mark.parametrize("written", ["1/1", "1/4", "4/4", "256/256"])
def test_it_survives_its_own_text(written: str) -> None:
    assert str(Partition.parse(written)) == written


@pytest.mark.parametrize("written", ["", "1", "0/4", "5/4", "1/0", "1/257", "01/4", "1 / 4", "-1/4", "1/4\n", "a/b"])
def test_anything_else_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="partition"):
        Partition.parse(written)


MINE = Partition(partition_of("order", "a", 4), 4)
OTHERS = [name for name in map(str, range(100)) if not MINE.has(of(name))][:5]
ALSO_MINE = next(name for name in map(str, range(100)) if MINE.has(of(name)))


def test_what_other_relays_publish_is_neither_published_nor_waited_for_and_the_position_passes_it() -> None:
    async def scenario() -> None:
        first: list[Item] = [of(OTHERS[0]), Boundary(Lsn(10)), of("a"), of(OTHERS[1]), Boundary(Lsn(20))]
        script, broker = Script(first), Broker()
        stop = asyncio.Event()
        running = asyncio.create_task(engine(script, broker, partition=MINE).run(stop))
        await broker.has("a")
        await script.played.wait()
        assert script.confirmed == [Lsn(10)]
        broker.confirms("a")
        assert script.confirmed == [Lsn(10), Lsn(20)]
        script.later.put_nowait([of(OTHERS[2]), Boundary(Lsn(30)), of(ALSO_MINE), Boundary(Lsn(40))])
        await broker.has(ALSO_MINE)
        broker.confirms(ALSO_MINE)
        stop.set()
        await running
        assert broker.published == ["a", ALSO_MINE]
        assert script.confirmed == [Lsn(10), Lsn(20), Lsn(30), Lsn(40)]
        assert script.stored[-1] == Lsn(40)

    asyncio.run(scenario())


def test_an_event_has_the_place_in_its_transaction_that_it_has_among_all_events() -> None:
    """So it is the same parked event for whoever reads it: a stream, a poll, or a relay of all events."""

    async def scenario() -> None:
        first: list[Item] = [of(OTHERS[0]), of("a"), of(OTHERS[1]), of(ALSO_MINE), Boundary(Lsn(20))]
        script, broker, lot = Script(first), Broker(), Lot()
        stop = asyncio.Event()
        lot.opened.set()
        running = asyncio.create_task(engine(script, broker, lot, partition=MINE).run(stop))
        await broker.has("a", ALSO_MINE)
        broker.rejects("a", ALSO_MINE)
        stop.set()
        await running
        assert dict(zip(lot.parked, lot.places, strict=True)) == {"a": 2, ALSO_MINE: 4}

    asyncio.run(scenario())


def test_what_is_read_behind_an_event_that_is_not_confirmed_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of other partitions are in no window; each transaction is remembered until those before it are settled."""
    monkeypatch.setattr(pump, "AT_MOST", 5)

    async def scenario() -> None:
        script, broker = Script([of("a"), Boundary(Lsn(10))]), Broker()
        for number in range(2, 12):
            script.later.put_nowait([of(OTHERS[0]), Boundary(Lsn(10 * number))])
        stop = asyncio.Event()
        running = asyncio.create_task(engine(script, broker, partition=MINE).run(stop))
        await broker.has("a")
        await script.played.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert script.later.qsize() > 4, "it has read on without a limit"
        broker.confirms("a")
        for _ in range(50):
            await asyncio.sleep(0)
        assert script.confirmed[-1] == Lsn(110)
        stop.set()
        await running

    asyncio.run(scenario())


@pytest.mark.parametrize("mine", [True, False])
def test_a_stop_waits_for_the_end_of_a_transaction_only_if_some_of_it_was_published(*, mine: bool) -> None:
    async def scenario() -> None:
        begun = "a" if mine else OTHERS[0]
        script, broker = Script([of(ALSO_MINE), Boundary(Lsn(10)), of(begun), of(OTHERS[1])]), Broker()
        stop = asyncio.Event()
        running = asyncio.create_task(engine(script, broker, partition=MINE).run(stop))
        await broker.has(ALSO_MINE, *(["a"] if mine else []))
        await script.played.wait()
        broker.confirms(ALSO_MINE, "a")
        stop.set()
        done, _ = await asyncio.wait([running], timeout=0.3)
        assert bool(done) is not mine
        script.later.put_nowait([of(OTHERS[2]), Boundary(Lsn(20))])
        await running
        assert script.confirmed[-1] == Lsn(20 if mine else 10)

    asyncio.run(scenario())
