"""A TCP proxy that breaks what it forwards: cut, refused, slow, late, in small pieces, or swallowed one way or both.

A direction that has swallowed bytes stays dead until its connection is cut, and carries no end of the connection
either. A network that drops packets does the same, since TCP delivers nothing behind a gap.
"""

import asyncio
import ctypes
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

Watch = Callable[[int, bool, bytes], None]
"""Called before bytes are forwarded: the connection's number, whether they go to the server, and the bytes."""

_READ_BYTES = 65536
_SLICE_BYTES = 200
# A slow link sends often, so that a change of its speed takes effect soon.
_SLOW_SENDS_PER_SECOND = 20
# Closing sends RST, as a firewall that cuts a connection does (socket(7), SO_LINGER).
_RESET = struct.pack("ii", 1, 0)
# A filter of one instruction, `ret #0`: the kernel drops every packet that comes for the socket before TCP sees it
# (https://www.kernel.org/doc/html/latest/networking/filter.html). Python has no name for the option.
_DROP = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
_FILTER = struct.pack("HL", 1, ctypes.addressof(_DROP))
_SO_ATTACH_FILTER = 26


class Proxy:
    """Forwards connections to the server of `url` within the block; clients connect to `self.url`.

    `watch` is called in a thread of the proxy, in order for each direction, and not for swallowed bytes. An exception
    of it is raised at the end of the block.
    """

    def __init__(self, url: str, watch: Watch | None = None) -> None:
        place = urlsplit(url)
        self._server = (place.hostname, place.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        credentials = place.netloc.rpartition("@")[0]
        self.url = place._replace(netloc=f"{credentials}@127.0.0.1:{self._listener.getsockname()[1]}").geturl()
        self.swallow_to_server = threading.Event()
        self.swallow_to_client = threading.Event()
        self.refuse = threading.Event()
        """New connections are reset at once."""
        self.asked = 0
        """How many connections were requested, refused ones too."""
        self._watch = watch
        self._bytes_per_second: int | None = None
        self._slice: random.Random | None = None
        self._connections = 0
        self._held = 0
        """How many of the connections, from the first on, are held."""
        self._released = asyncio.Event()
        self._open: dict[asyncio.Task[Any], list[asyncio.StreamWriter]] = {}
        self._failure: Exception | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy")

    def redirect(self, url: str) -> None:
        """Forward later connections to the server of `url`, as an address does that moves to another machine."""
        place = urlsplit(url)
        self._server = (place.hostname, place.port)

    def slow(self, bytes_per_second: int | None) -> None:
        """Limit each direction of each connection to this rate; None for no limit."""
        self._bytes_per_second = bytes_per_second

    def slice(self, draw: random.Random | None) -> None:
        """Forward in small pieces of random lengths; None to forward bytes as they come."""
        self._slice = draw

    def hold(self) -> None:
        """Keep what the server sends on the connections so far until `release`; later connections are not held."""
        self._do(self._hold())

    def release(self) -> None:
        """Deliver what was held to the clients that still read it."""
        self._loop.call_soon_threadsafe(self._released.set)

    def lose(self) -> None:
        """Drop the packets that clients send on the open connections, so that TCP does not acknowledge them.

        Bytes from the server still pass. (Swallowed bytes, in contrast, are acknowledged by this proxy.)
        """
        self._do(self._lose())

    def cut(self) -> None:
        """Reset every open connection, towards both ends."""
        self._do(self._cut())

    def __enter__(self) -> Self:
        self._thread.start()
        self._accepting = self._do(asyncio.start_server(self._accept, sock=self._listener))
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._accepting.close)
        self._do(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _hold(self) -> None:
        self._held, self._released = self._connections, asyncio.Event()

    async def _lose(self) -> None:
        for client, *_ in self._open.values():
            client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _FILTER)

    async def _cut(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.asked += 1
        self._open[task] = [client]
        try:
            if not self.refuse.is_set():
                await self._connect(reader, client, self._open[task])
        except (OSError, asyncio.CancelledError):
            pass  # no server, or the connection was cut; Python 3.11 would print such a task's exception
        except Exception as error:  # noqa: BLE001 - raised at the end of the block
            self._failure = self._failure or error
        finally:
            for each in self._open[task]:
                _reset(each)
            del self._open[task]

    async def _connect(
        self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, ends: list[asyncio.StreamWriter]
    ) -> None:
        back, server = await asyncio.open_connection(*self._server)
        ends.append(server)
        number, self._connections = self._connections, self._connections + 1
        pumps = [
            asyncio.create_task(self._pump(number, reader, server, to_server=True)),
            asyncio.create_task(self._pump(number, back, client, to_server=False)),
        ]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                pump.result()
            for each in ends:
                each.close()
                with suppress(OSError):
                    await each.wait_closed()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, number: int, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, to_server: bool
    ) -> None:
        """Forward until `source` ends; never returns if the direction is dead, so that `target` is not closed."""
        swallow = self.swallow_to_server if to_server else self.swallow_to_client
        target.transport.set_write_buffer_limits(0)
        dead = False
        with suppress(OSError):
            while received := await source.read(_READ_BYTES):
                if not to_server and number < self._held:
                    await self._released.wait()
                for piece in self._pieces(received):
                    dead = dead or swallow.is_set()
                    if not dead:
                        if self._watch is not None:
                            self._watch(number, to_server, piece)
                        dead = not await self._send(target, piece)
        if dead or swallow.is_set():
            await asyncio.Event().wait()

    async def _send(self, target: asyncio.StreamWriter, piece: bytes) -> bool:
        """Forward `piece` at the speed of the link; return whether `target` is still open."""
        try:
            target.write(piece)
            await target.drain()
        except OSError:
            return False
        if speed := self._bytes_per_second:
            await _pass(len(piece) / speed)
        return True

    def _pieces(self, received: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(received):
            size = len(received)
            if speed := self._bytes_per_second:
                size = max(1, speed // _SLOW_SENDS_PER_SECOND)
            if draw := self._slice:
                size = min(size, draw.randint(1, _SLICE_BYTES))
            yield received[start : start + size]
            start += size


def _reset(end: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # closed already
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()


async def _pass(seconds: float) -> None:
    """Let time pass."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
