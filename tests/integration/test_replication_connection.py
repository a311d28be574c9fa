"""The stream's connection over a link that breaks: whoever reads hears of it, and nobody else's socket is touched."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest

import sql
from relay.errors import SourceUnavailable
from relay.position import Lsn
from relay.sources.frames import standby_status
from relay.sources.replication import ReplicationConnection
from sandbox.isolation import Isolated
from tests.acceptance.proxy import Proxy

STATUS = standby_status(received=0, flushed=0, now=0, ping=True)


@asynccontextmanager
async def streaming(isolated: Isolated, proxy: Proxy) -> AsyncIterator[ReplicationConnection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(sql.query("slot_create"), {"slot": isolated.name, "plugin": "wal2json"})
    stream = await ReplicationConnection.connect(proxy.url, slot=isolated.name, name="test")
    try:
        await stream.start(Lsn(0), {"format-version": "2"})
        yield stream
    finally:
        await stream.close()


async def _silent(stream: ReplicationConnection) -> None:
    """Read until nothing more comes."""
    with suppress(SourceUnavailable):
        while True:
            await stream.receive(silence=0.3)


def test_a_write_that_fails_is_told_to_the_reader_and_the_socket_of_whoever_gets_its_number_is_left_alone(
    isolated: Isolated,
) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        with Proxy(isolated.database_url) as proxy:
            async with streaming(isolated, proxy) as stream:
                await _silent(stream)
                number = stream._socket  # noqa: SLF001 - whose number libpq gives away
                proxy.cut()
                while _is_open(number):
                    stream.send(STATUS)
                heir, other = os.pipe()
                os.dup2(heir, number)
                readable = asyncio.Event()
                loop.add_reader(number, readable.set)
                with pytest.raises(SourceUnavailable, match="not available"):
                    await stream.receive(silence=30)
                await stream.close()
                os.write(other, b"x")
                async with asyncio.timeout(5):
                    await readable.wait()
                loop.remove_reader(number)
                for each in {heir, other, number}:
                    os.close(each)

    asyncio.run(scenario())


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
