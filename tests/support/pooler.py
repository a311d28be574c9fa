"""A connection pooler in front of Postgres, as far as its clients can tell: PgBouncer's answers, on the wire.

It refuses a replication connection as PgBouncer before 1.23 does, and gives at login a pid that no session has. What
follows a login is passed on as it is (https://www.postgresql.org/docs/current/protocol-flow.html).
"""

import asyncio
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

_SSL, _GSS = 80877103, 80877104
_REFUSAL = b"SFATAL\0C08P01\0Munsupported startup parameter: replication\0\0"
_PID = 1


class Pooler:
    """Listens at `url` during a `with` block; `replicates` lets replication connections through from then on."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url)
        self.url = ""
        self.replicates = threading.Event()
        self.refused = 0
        """How many replication connections it has refused."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pooler")
        self._tasks: set[asyncio.Task[Any]] = set()

    def cut(self) -> None:
        """End every open connection."""
        self._do(self._cut())

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._accept, "127.0.0.1", 0))
        login = self._place.netloc.rpartition("@")[0]
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._place._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._do(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever the work returns
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _cut(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._serve(reader, client)
        client.transport.abort()
        self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        startup = await _startup(reader, client)
        if b"\0replication\0" in startup and not self.replicates.is_set():
            self.refused += 1
            client.write(b"E" + struct.pack(">I", len(_REFUSAL) + 4) + _REFUSAL)
            await client.drain()
            return
        back, server = await asyncio.open_connection(self._place.hostname, self._place.port)
        server.write(startup)
        pumps = [asyncio.create_task(_copy(reader, server)), asyncio.create_task(_login(back, client))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            server.transport.abort()


async def _startup(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> bytes:
    """Return the startup message; encryption is refused."""
    while True:
        head = await reader.readexactly(8)
        length, code = struct.unpack(">II", head)
        if code not in {_SSL, _GSS}:
            return head + await reader.readexactly(length - 8)
        client.write(b"N")


async def _login(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Pass on the server's messages, with another pid in BackendKeyData, and then everything."""
    kind = b""
    while kind != b"K":
        head = await reader.readexactly(5)
        kind, length = head[:1], int.from_bytes(head[1:], "big")
        body = await reader.readexactly(length - 4)
        client.write(head + (struct.pack(">I", _PID) + body[4:] if kind == b"K" else body))
    await _copy(reader, client)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while received := await reader.read(1 << 16):
        writer.write(received)
        await writer.drain()
