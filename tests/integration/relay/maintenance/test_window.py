"""The slot that keeps WAL for replays, on a real server."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from relay.core.errors import NotOurs, SlotHeld
from relay.core.observations import Observation, ReplayWindow, ReplayWindowDropped, ReplayWindowMade
from relay.core.position import Lsn
from relay.maintenance.window import NOT_WANTED, Window
from relay.storage.sessions.session import Session
from relay.storage.slots.replay_slot import ReplaySlot
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import one
from tests.support.stage import Stage

MIB = 1 << 20


async def _true() -> bool:
    return True


async def _false() -> bool:
    return False


async def _ours() -> None:
    pass


def look(isolated: Isolated, size: int | None, *, active: bool = True) -> list[Observation]:
    """Look once; return what was seen."""
    seen: list[Observation] = []

    async def once() -> None:
        async with (
            Session(lambda: isolated.database_url, name="asking", slot=isolated.name) as asking,
            Session(lambda: isolated.database_url, name="moving", slot=isolated.name) as moving,
        ):
            slot = ReplaySlot(asking, moving, slot=isolated.name, relay="relay")
            window = Window(
                slot, seen.append, size=size, own_budget=None, active=_true if active else _false, ours=_ours
            )
            await window.look()

    asyncio.run(once())
    return [each for each in seen if not isinstance(each, ReplayWindow)]


def place(isolated: Isolated, slot: str) -> Lsn | None:
    query = "SELECT (SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s)"
    found = one(isolated.database_url, query, slot)
    return None if found is None else Lsn.parse(found)


def write(isolated: Isolated, megabytes: int) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        for _ in range(megabytes):
            connection.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 1048576))")


def confirm(isolated: Isolated) -> Lsn:
    """Let the relay's slot go on to the end of the WAL."""
    query = "SELECT end_lsn::text FROM pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())"
    return Lsn.parse(one(isolated.database_url, query, isolated.name))


@contextmanager
def streamed(isolated: Isolated, slot: str) -> Iterator[None]:
    walsender = psycopg.connect(isolated.database_url, autocommit=True, replication="database")
    with closing(walsender) as connection:
        connection.pgconn.send_query(f'START_REPLICATION SLOT "{slot}" LOGICAL 0/0'.encode())
        query = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
        until(lambda: one(isolated.database_url, query, slot), what="the slot is held", seconds=10)
        yield


def test_it_is_made_as_a_copy_stays_behind_is_moved_at_its_size_and_dropped_without_a_window(
    streaming: Isolated,
) -> None:
    name = f"{streaming.name}_replay"
    assert look(streaming, 4 * MIB, active=False) == []
    assert place(streaming, name) is None
    assert look(streaming, 4 * MIB) == [ReplayWindowMade(name)]
    made = place(streaming, name)
    assert made == place(streaming, streaming.name)

    write(streaming, 1)
    first = confirm(streaming)
    assert look(streaming, 4 * MIB) == []
    assert place(streaming, name) == made

    write(streaming, 6)
    confirm(streaming)
    assert look(streaming, 4 * MIB) == []
    moved = place(streaming, name)
    assert moved is not None
    end = Lsn.parse(one(streaming.database_url, "SELECT pg_current_wal_lsn()::text"))
    assert first < moved
    assert 3 * MIB <= end - moved <= 4 * MIB

    assert look(streaming, None) == [ReplayWindowDropped(name, NOT_WANTED, wanted=False)]
    assert place(streaming, name) is None
    assert look(streaming, None) == []


def test_it_waits_where_the_relays_slot_stands(streaming: Isolated) -> None:
    look(streaming, MIB)
    before = place(streaming, f"{streaming.name}_replay")
    write(streaming, 4)
    assert look(streaming, MIB) == []
    assert place(streaming, f"{streaming.name}_replay") == before == place(streaming, streaming.name)


def test_a_slot_of_that_name_that_the_relay_has_not_made_is_neither_moved_nor_dropped(streaming: Isolated) -> None:
    name = f"{streaming.name}_replay"
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
    before = place(streaming, name)
    write(streaming, 3)
    confirm(streaming)
    with pytest.raises(NotOurs, match=f"replication slot '{name}' was not made by this relay"):
        look(streaming, MIB)
    assert look(streaming, None) == []
    assert place(streaming, name) == before


def test_a_name_that_another_relay_has_is_not_taken(streaming: Isolated) -> None:
    name = f"{streaming.name}_replay"
    with psycopg.connect(streaming.database_url) as connection:
        connection.execute(
            "INSERT INTO relay.checkpoint (name, slot, system_identifier, timeline, mode, snapshot) "
            "SELECT 'other', %s, system_identifier, timeline, 'polling', snapshot FROM relay.checkpoint",
            [name],
        )
    with pytest.raises(NotOurs, match=f"replication slot '{name}' is another relay's"):
        look(streaming, MIB)
    assert place(streaming, name) is None


def test_one_that_somebody_reads_is_moved_later(streaming: Isolated) -> None:
    name = f"{streaming.name}_replay"
    look(streaming, MIB)
    write(streaming, 3)
    confirm(streaming)
    before = place(streaming, name)
    with streamed(streaming, name), pytest.raises(SlotHeld, match="end who streams from it"):
        look(streaming, MIB)
    query = "SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s"
    until(lambda: one(streaming.database_url, query, name), what="the slot is free", seconds=10)
    look(streaming, MIB)
    after = place(streaming, name)
    assert before is not None
    assert after is not None
    assert after > before


def test_one_that_was_dropped_behind_its_back_is_made_again(streaming: Isolated) -> None:
    name = f"{streaming.name}_replay"
    look(streaming, MIB)
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [name])
    assert look(streaming, MIB) == [ReplayWindowMade(name)]
    assert place(streaming, name) is not None


def test_the_active_relay_makes_it_and_the_next_one_without_a_window_drops_it(
    stage: Stage, streaming: Isolated
) -> None:
    assert streaming == stage.isolated
    name = f"{streaming.name}_replay"
    relay = stage.start("relay", "run", RELAY_REPLAY_WINDOW=str(64 * MIB))
    until(lambda: "replay window made" in relay.stderr, what="the window is made", seconds=60)
    assert place(streaming, name) is not None
    assert relay.terminate() == 0, relay.tail()
    assert place(streaming, name) is not None
    relay = stage.start("relay", "run")
    until(lambda: "replay window dropped" in relay.stderr, what="the window is dropped", seconds=60)
    assert place(streaming, name) is None
