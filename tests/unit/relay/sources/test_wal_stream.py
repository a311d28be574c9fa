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
from relay.sources.wal.replication import ReplicationConnection
from relay.sources.wal.stream import Timings, WalStream, Writing
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

    def wrote(self, *_: object) -> bool:
        raise AssertionError("an open stream does not ask")

    async def claim(self, *_: object, **__: object) -> None:
        raise AssertionError("an open stream does not claim")

    async def save(self, position: Lsn, published: Snapshot | None) -> None:
        if self.unavailable:
            raise SourceUnavailable("the disk is full", remedy="free space")
        self.saved.append((position, published))

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
        wal_sender_timeout=60,


def test_a_stream_that_is_not_read_tells_the_server_that_it_lives_long_before_the_next_ping() -> None:
    """The server may have lowered wal_sender_timeout, and asks for an answer that nobody reads."""

    async def scenario() -> None:
        server = Server()
        async with stream(server, alive_every=0.01), asyncio.timeout(5):
            for _ in range(3):
                server.sent.clear()
                await server.sent.wait()

    asyncio.run(scenario())
