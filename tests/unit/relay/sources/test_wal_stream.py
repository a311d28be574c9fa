"""What the WAL stream reports as flushed, and where it starts: the rules whose breach loses events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from struct import pack, unpack
from typing import Any

import pytest

from relay.core.errors import SlotHeld, SlotMissing, SourceRefused, UndecodableChange
from relay.core.event import Boundary, OutboxEvent
from relay.core.observations import NotStored, Observation, Observe
from relay.core.position import Lsn, Snapshot
from relay.sources.wal.decoders.wal2json import Wal2JsonDecoder
from relay.sources.wal.replication import ReplicationConnection
from relay.sources.wal.starting import check, start_position
from relay.sources.wal.stream import Timings, WalStream, Writing
from relay.storage.facts import Facts, System
from relay.storage.position import Identity
from tests.unit.relay.sources.wal2json_objects import COMMITTED_AT, ROW, begin, commit, insert

START = Lsn(0x100)
SYSTEM = System("7000000000000000001", 1, Lsn(0x10000))
IDENTITY = Identity("relay", "outbox_relay", "wal2json", ["outbox.event"], SYSTEM.identifier, SYSTEM.timeline)
FACTS = Facts(
    server_encoding="UTF8",
    wal_sender_timeout_ms=60_000,
    database="app",
    role="relay",
    may_replicate=True,
    partitioned=True,
    slot="outbox_relay",
    plugin="wal2json",
    slot_database="app",
    wal_status="reserved",
    confirmed_flush_lsn="0/100",
    holder_pid=None,
    holder_name=None,
    holder_since=None,
    checkpoint_slot=None,
    checkpoint_lsn=None,
    checkpoint_system=None,
    checkpoint_timeline=None,
)


class Server(ReplicationConnection):
    """The far end of a stream: sends what a test gives it, and keeps the standby status that it receives."""

    def __init__(self) -> None:
        self.frames: list[bytes | memoryview] = []
        self.flushed: list[int] = []
        self.sent = asyncio.Event()

    def says(self, *payloads: bytes, at: int = 0) -> None:
        self.frames += [pack(">cQQq", b"w", at, 0, 0) + payload for payload in payloads]

    def keeps_alive(self, end: int, *, reply: bool = False) -> None:
        self.frames.append(pack(">cQq?", b"k", end, 0, reply))

    async def receive(self, *, silence: float) -> list[bytes | memoryview]:
        assert silence > 0
        frames, self.frames = self.frames, []
        if not frames:
            await asyncio.get_running_loop().create_future()
        return frames

    def send(self, frame: bytes) -> None:
        self.flushed.append(unpack(">cQQQq?", frame)[2])
        self.sent.set()


class Kept:
    """Keeps what a stream writes."""

    def __init__(self) -> None:
        self.saved: list[tuple[Lsn, Snapshot | None]] = []
        self.fences: asyncio.Queue[str] = asyncio.Queue()
        self.refused = 0
        """How many fences more are refused."""

    async def save(self, identity: Identity, position: Lsn, published: Snapshot | None) -> None:
        assert identity is IDENTITY
        self.saved.append((position, published))

    async def emit(self, token: str) -> None:
        if self.refused:
            self.refused -= 1
            raise SourceRefused("permission denied for function pg_logical_emit_message", remedy="grant it")
        self.fences.put_nowait(token)


@asynccontextmanager
async def stream(
    server: Server,
    kept: Kept | None = None,
    *,
    read_only: bool = False,
    observe: Observe = lambda _: None,
    alive_every: float = 1.0,
) -> AsyncIterator[WalStream]:
    kept = kept or Kept()
    opened = WalStream(
        server,
        Wal2JsonDecoder(),
        START,
        wal_sender_timeout=60,
        writing=None if read_only else Writing(IDENTITY, kept, kept),
        timings=Timings(fence_every=0.01, alive_every=alive_every),
        observe=observe,
    )
    try:
        yield opened
    finally:
        await opened.close()


def fence(content: str) -> bytes:
    """Return a fence as wal2json writes it."""
    change = {"action": "M", "transactional": True, "prefix": "relay.fence", "content": content}
    return json.dumps(change).encode()


async def _next_turn() -> None:
    """Let everything run that the loop has been given so far."""
    turned = asyncio.Event()
    asyncio.get_running_loop().call_soon(turned.set)
    await turned.wait()


def test_a_keepalive_is_answered_at_once_and_never_with_its_own_lsn_while_an_event_is_in_flight() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server) as opened:
            server.says(begin("0/200"), insert(ROW), commit("0/200"))
            server.keeps_alive(0x900, reply=True)
            await opened.receive()
            assert server.flushed == [START]

    asyncio.run(scenario())


def test_a_change_that_cannot_be_read_is_named_with_its_place_in_the_wal() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server) as opened:
            server.says(begin("0/200"), insert(ROW | {"headers": "["}), at=0x1A0)
            with pytest.raises(UndecodableChange, match=r"'headers' .* \(in the WAL at 0/1A0\)"):
                await opened.receive()

    asyncio.run(scenario())


def test_what_came_before_a_change_that_cannot_be_read_is_handed_over_first_and_nothing_behind_it() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server) as opened:
            server.says(begin("0/200"), insert(ROW), commit("0/200"), begin("0/300"), insert(ROW | {"headers": "["}))
            server.keeps_alive(0x900)
            server.says(insert(ROW), commit("0/300"))
            event, boundary = await opened.receive()
            assert isinstance(event, OutboxEvent)
            assert boundary == Boundary(Lsn(0x200), COMMITTED_AT.timestamp())
            with pytest.raises(UndecodableChange):
                await opened.receive()

    asyncio.run(scenario())


def test_exactly_the_confirmed_position_is_reported_as_flushed_once_for_many_confirms() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server) as opened:
            for position in (0x200, 0x300, 0x280):
                opened.confirm(Lsn(position))
            await _next_turn()
            assert server.flushed == [0x300]

    asyncio.run(scenario())


def test_a_keepalive_is_a_boundary_only_while_no_transaction_is_open() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server) as opened:
            server.says(begin("0/200"), insert(ROW))
            server.keeps_alive(0x900)
            server.says(commit("0/200"))
            server.keeps_alive(0x900)
            event, *boundaries = await opened.receive()
            assert isinstance(event, OutboxEvent)
            assert boundaries == [Boundary(Lsn(0x200), COMMITTED_AT.timestamp()), Boundary(Lsn(0x900))]

    asyncio.run(scenario())


def test_keepalives_below_the_start_are_passed_over() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server) as opened:
            server.keeps_alive(START - 1)
            server.keeps_alive(START)
            server.keeps_alive(START + 8)
            assert await opened.receive() == [Boundary(Lsn(START + 8))]

    asyncio.run(scenario())


def test_a_read_only_stream_never_moves_the_slot_or_the_checkpoint() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server, read_only=True) as opened:
            opened.confirm(Lsn(0x900))
            await opened.store(Lsn(0x900))
            server.keeps_alive(0x900, reply=True)
            await opened.receive()
        assert set(server.flushed) == {0}

    asyncio.run(scenario())


def test_the_snapshot_of_a_fence_is_stored_once_everything_before_the_fence_is_confirmed() -> None:
    async def scenario() -> None:
        server, kept = Server(), Kept()
        async with stream(server, kept) as opened:
            running = asyncio.create_task(opened.run())
            token = await kept.fences.get()
            running.cancel()
            server.says(begin("0/200"), insert(ROW), commit("0/200"))
            server.says(begin("0/300"), fence(f"{token} 740:745:742"), commit("0/300"))
            await opened.receive()
            for position in (Lsn(0x200), Lsn(0x300), Lsn(0x400)):
                opened.confirm(position)
                await opened.store(position)
        published = Snapshot(740, 745, (742,))
        assert kept.saved == [(Lsn(0x200), None), (Lsn(0x300), published), (Lsn(0x400), published)]

    asyncio.run(scenario())


def test_the_snapshot_of_a_fence_that_this_stream_did_not_write_is_not_stored() -> None:
    async def scenario() -> None:
        server, kept = Server(), Kept()
        async with stream(server, kept) as opened:
            server.says(begin("0/300"), fence("somebody:1 740:745:742"), commit("0/300"))
            await opened.receive()
            opened.confirm(Lsn(0x300))
            await opened.store(Lsn(0x300))
        assert kept.saved == [(Lsn(0x300), None)]

    asyncio.run(scenario())


def test_a_fence_that_postgres_refuses_is_reported_and_the_next_one_is_written() -> None:
    async def scenario() -> None:
        server, kept, seen = Server(), Kept(), list[Observation]()
        kept.refused = 1
        async with stream(server, kept, observe=seen.append) as opened:
            running = asyncio.create_task(opened.run())
            async with asyncio.timeout(5):
                await kept.fences.get()
            running.cancel()
        assert [each.what for each in seen if isinstance(each, NotStored)] == ["fence"]

    asyncio.run(scenario())


def test_a_boundary_that_goes_back_is_refused() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server) as opened:
            server.says(begin("0/300"), commit("0/300"), begin("0/200"), commit("0/200"))
            with pytest.raises(ValueError, match="0/200 is below the one before it, 0/300"):
                await opened.receive()

    asyncio.run(scenario())


def checkpoint(lsn: str, **changes: Any) -> Facts:  # noqa: ANN401 - any field
    stored = {"checkpoint_lsn": lsn, "checkpoint_slot": "outbox_relay", "checkpoint_system": SYSTEM.identifier}
    return facts(**(stored | {"checkpoint_timeline": 1} | changes))


def facts(**changes: Any) -> Facts:  # noqa: ANN401 - any field
    return Facts(**({name: getattr(FACTS, name) for name in Facts.__slots__} | changes))


@pytest.mark.parametrize(
    ("slot", "stored", "after", "start"),
    [
        ("0/100", None, None, 0x100),
        ("0/100", "0/300", None, 0x300),  # Postgres crashed, and set the slot back
        ("0/300", "0/100", None, 0x300),  # the relay was killed before it stored
        ("0/100", "0/200", 0x300, 0x300),  # the stream broke, and this process knows more than was stored
    ],
)
def test_a_stream_starts_at_the_furthest_position_known_to_be_confirmed(
    slot: str, stored: str | None, after: int | None, start: int
) -> None:
    known = checkpoint(stored, confirmed_flush_lsn=slot) if stored else facts(confirmed_flush_lsn=slot)

    assert start_position(known, SYSTEM, "outbox_relay", None if after is None else Lsn(after)) == start


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (checkpoint("0/200", checkpoint_system="1"), "stored on system 1"),
        (checkpoint("0/10001"), "ahead of the server's WAL"),
        (checkpoint("0/90", checkpoint_slot="old"), "belongs to slot 'old'"),
    ],
)
def test_a_checkpoint_that_does_not_hold_here_is_refused(known: Facts, words: str) -> None:
    with pytest.raises(SourceRefused, match=words):
        start_position(known, SYSTEM, "outbox_relay", None)


@pytest.mark.parametrize(
    ("change", "problem", "words"),
    [
        ({"server_encoding": "LATIN1"}, SourceRefused, "LATIN1"),
        ({"slot": None}, SlotMissing, "does not exist - run `relay setup`$"),
        ({"slot": None, "checkpoint_lsn": "0/50"}, SlotMissing, "it was lost: events after 0/50"),
        ({"plugin": "pgoutput"}, SourceRefused, "is for pgoutput"),
        ({"slot_database": "other"}, SourceRefused, "in database other"),
        ({"wal_status": "lost"}, SlotMissing, "is lost"),
    ],
)
def test_what_stops_a_stream_is_named_with_its_remedy(
    change: dict[str, Any], problem: type[Exception], words: str
) -> None:
    with pytest.raises(problem, match=words):
        check(facts(**change), "outbox_relay", plugin="wal2json")


def test_who_holds_the_slot_is_named() -> None:
    held = facts(holder_pid=42, holder_name="relay", holder_since=datetime(2026, 11, 20, tzinfo=UTC))

    with pytest.raises(SlotHeld, match="held by 'relay', pid 42, since 2026-11-20 00:00:00 UTC"):
        check(held, "outbox_relay", plugin="auto")
    with pytest.raises(SlotHeld, match="held by 'relay', pid 42 - this relay"):
        check(replace(held, holder_since=None), "outbox_relay", plugin="auto")


def test_a_stream_that_is_not_read_tells_the_server_that_it_lives_long_before_the_next_ping() -> None:
    """The server may have lowered wal_sender_timeout, and asks for an answer that nobody reads."""

    async def scenario() -> None:
        server = Server()
        async with stream(server, alive_every=0.01), asyncio.timeout(5):
            for _ in range(3):
                server.sent.clear()
                await server.sent.wait()

    asyncio.run(scenario())
