"""What the WAL stream stores and reports as flushed: the rules whose breach loses events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import pack, unpack

import pytest

from relay.core.errors import OutboxChanged, SourceRefused, SourceUnavailable, UndecodableChange
from relay.core.event import Boundary, OutboxEvent
from relay.core.observations import NotStored, Observation, Observe
from relay.core.position import Lsn, Snapshot
from relay.core.transactions import Transactions
from relay.sources.wal.published import Published
from relay.sources.wal.replication import ReplicationConnection
from relay.sources.wal.stream import Timings, WalStream, Writing
from relay.storage.state import State
from tests.unit.relay.sources.decoders import of_wal2json
from tests.unit.relay.sources.wal2json_objects import COMMITTED_AT, ROW, begin, commit, insert

START = Lsn(0x100)
RELATIONS = "16400 outbox.event"


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
        self.unavailable = False
        """Whether a position cannot be stored now."""
        self.relations = RELATIONS

    async def save(self, state: State) -> None:
        if self.unavailable:
            raise SourceUnavailable("the disk is full", remedy="free space")
        assert isinstance(state.lsn, Lsn)
        self.saved.append((state.lsn, state.snapshot))

    async def emit(self, token: str) -> str:
        if self.refused:
            self.refused -= 1
            raise SourceRefused("permission denied for function pg_logical_emit_message", remedy="grant it")
        self.fences.put_nowait(token)
        return self.relations


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
        of_wal2json(),
        START,
        Published(State("wal", START, None, Transactions())),
        wal_sender_timeout=60,
        relations=RELATIONS,
        writing=None if read_only else Writing(kept, kept),
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


def test_a_keepalive_is_answered_at_once_and_never_with_its_own_lsn_while_an_event_is_in_flight() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server) as opened:
            server.says(begin("0/200"), insert(ROW), commit("0/200"))
            server.keeps_alive(0x900, reply=True)
            await opened.receive()
            assert server.flushed == [0]

    asyncio.run(scenario())


def test_a_change_that_cannot_be_read_is_named_with_its_place_in_the_wal() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server) as opened:
            server.says(begin("0/200"), insert(ROW | {"created_at": "soon"}), at=0x1A0)
            with pytest.raises(UndecodableChange, match=r"'created_at' .* \(in the WAL at 0/1A0\)"):
                await opened.receive()

    asyncio.run(scenario())


def test_what_came_before_a_change_that_cannot_be_read_is_handed_over_first_and_nothing_behind_it() -> None:
    async def scenario() -> None:
        server = Server()
        async with stream(server) as opened:
            server.says(
                begin("0/200"), insert(ROW), commit("0/200"), begin("0/300"), insert(ROW | {"created_at": "soon"})
            )
            server.keeps_alive(0x900)
            server.says(insert(ROW), commit("0/300"))
            event, boundary = await opened.receive()
            assert isinstance(event, OutboxEvent)
            assert boundary == Boundary(Lsn(0x200), COMMITTED_AT.timestamp())
            with pytest.raises(UndecodableChange):
                await opened.receive()

    asyncio.run(scenario())


def test_exactly_the_stored_position_is_reported_as_flushed_and_only_once_it_is_stored() -> None:
    async def scenario() -> None:
        server, kept = Server(), Kept()
        async with stream(server, kept) as opened:
            opened.confirm(Lsn(0x300))
            assert server.flushed == []
            await opened.store(Lsn(0x300))
            assert server.flushed == [0x300]
            kept.unavailable = True
            with pytest.raises(SourceUnavailable):
                await opened.store(Lsn(0x400))
            server.keeps_alive(0x900, reply=True)
            await opened.receive()
        assert set(server.flushed) == {0x300}
        assert kept.saved == [(Lsn(0x300), None)]

    asyncio.run(scenario())


def test_a_position_is_stored_again_with_what_was_confirmed_since_and_an_earlier_one_is_not() -> None:
    async def scenario() -> None:
        kept = Kept()
        async with stream(Server(), kept) as opened:
            for lsn in (0x300, 0x300, 0x200):
                await opened.store(Lsn(lsn))
        assert kept.saved == [(Lsn(0x300), None)] * 2

    asyncio.run(scenario())


def test_a_stream_ends_when_the_outbox_has_other_partitions_than_it_streams() -> None:
    async def scenario() -> None:
        kept = Kept()
        async with stream(Server(), kept) as opened:
            running = asyncio.create_task(opened.run())
            await kept.fences.get()
            kept.relations = f"{RELATIONS} 16500 outbox.archive"
            with pytest.raises(OutboxChanged):
                await asyncio.wait_for(running, 5)

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


def test_a_stream_that_is_not_read_tells_the_server_that_it_lives_long_before_the_next_ping() -> None:
    """The server may have lowered wal_sender_timeout, and asks for an answer that nobody reads."""

    async def scenario() -> None:
        server = Server()
        async with stream(server, alive_every=0.01), asyncio.timeout(5):
            for _ in range(3):
                server.sent.clear()
                await server.sent.wait()

    asyncio.run(scenario())


class Late(Server):
    """A server whose frames arrive when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.due = asyncio.Event()

    async def receive(self, *, silence: float) -> list[bytes | memoryview]:
        await self.due.wait()
        return await super().receive(silence=silence)


def test_a_stream_ends_for_a_poll_only_when_nothing_is_on_its_way_any_more() -> None:
    """Otherwise a transaction that is being read would be streamed, and not be in what the poll passes over."""

    async def scenario() -> None:
        server = Late()
        async with stream(server) as opened:
            server.says(begin("0/200"), insert(ROW), commit("0/200"))
            reading = asyncio.create_task(opened.receive())
            ending = asyncio.create_task(opened.finish())
            await asyncio.sleep(0)

            opened.confirm(START)
            await asyncio.sleep(0)
            assert not ending.done()

            server.due.set()
            items = await reading
            assert [item.position for item in items if isinstance(item, Boundary)] == [Lsn(0x200)]
            last = asyncio.create_task(opened.receive())
            await asyncio.sleep(0)
            opened.confirm(Lsn(0x200))
            assert await ending == Lsn(0x200)
            last.cancel()

    asyncio.run(scenario())
