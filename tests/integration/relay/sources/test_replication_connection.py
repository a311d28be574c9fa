"""The stream's connection over a link that breaks: the reader gets the error, and no other socket is touched."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import quote

import psycopg
import pytest

from outboxkit import sql
from relay.core.errors import SourceUnavailable
from relay.core.position import Lsn
from relay.sources.wal.frames import standby_status
from relay.sources.wal.replication import ReplicationConnection
from relay.storage.sessions.session import Session
from sandbox.lifetime.isolation import Isolated
from tests.support.proxy import Proxy

STATUS = standby_status(received=0, flushed=0, now=0, ping=True)


@asynccontextmanager
async def streaming(isolated: Isolated, proxy: Proxy, parameters: str = "") -> AsyncIterator[ReplicationConnection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(sql.query("slot_create"), {"slot": isolated.name, "plugin": "wal2json"})
    stream = await ReplicationConnection.connect(proxy.url + parameters, slot=isolated.name, name="test")
    try:
        await stream.start(Lsn(0), {"format-version": "2"})
        yield stream
    finally:
        await stream.close()


async def _silent(stream: ReplicationConnection) -> None:
    """Read until nothing more comes."""
    with suppress(SourceUnavailable):
        await _read(stream, silence=0.3)


async def _read(stream: ReplicationConnection, *, silence: float = 30) -> None:
    """Read until that fails."""
    while True:
        await stream.receive(silence=silence)


def test_a_failed_write_wakes_the_reader_and_a_new_socket_with_the_same_number_is_left_alone(
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


@pytest.mark.parametrize(("parameters", "milliseconds"), [("", 15_000), ("?tcp_user_timeout=4000", 4000)])
def test_what_is_not_acknowledged_for_fifteen_seconds_or_as_long_as_the_url_says_ends_the_connection(
    isolated: Isolated, parameters: str, milliseconds: int
) -> None:
    async def scenario() -> None:
        with Proxy(isolated.database_url) as proxy:
            async with streaming(isolated, proxy, parameters) as stream:
                number = os.dup(stream._socket)  # noqa: SLF001 - what libpq made of the parameters
                with socket.socket(fileno=number) as end:
                    assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds

    asyncio.run(scenario())


async def _settings(url: str, *names: str) -> list[str]:
    """Return settings of a replication connection to `url`."""
    stream = await ReplicationConnection.connect(url, slot="none", name="test")
    try:
        query = "SELECT current_setting(name) FROM unnest(%s::text[]) WITH ORDINALITY AS o (name, n) ORDER BY n"
        cursor = psycopg.AsyncClientCursor(stream._connection)  # noqa: SLF001 - what the walsender has
        await cursor.execute(query, [list(names)])
        return [str(row[0]) for row in await cursor.fetchall()]
    finally:
        await stream.close()


_OTHERS = (
    "-c statement_timeout=7777 -c DateStyle=German -c TimeZone=Asia/Tokyo -c IntervalStyle=postgres "
    "-c bytea_output=escape -c extra_float_digits=-1"
)
_FORMATS = {
    "DateStyle": "ISO",
    "TimeZone": "UTC",
    "IntervalStyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
}


@pytest.mark.parametrize("where", ["url", "environment"])
def test_what_the_user_sets_is_kept_and_the_formats_of_values_are_ours(
    where: str, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = isolated.database_url
    if where == "url":
        url += f"?options={quote(_OTHERS)}&client_encoding=latin1"
    else:
        for name, value in {
            "PGOPTIONS": _OTHERS,
            "PGTZ": "Asia/Tokyo",
            "PGDATESTYLE": "German",
            "PGCLIENTENCODING": "latin1",
        }.items():
            monkeypatch.setenv(name, value)
    found = asyncio.run(_settings(url, "statement_timeout", *_FORMATS))
    assert found[0] == "7777ms"
    assert [value.partition(",")[0] for value in found[1:]] == list(_FORMATS.values())


@pytest.mark.parametrize("where", ["url", "environment"])
def test_a_server_that_says_nothing_is_given_up_after_the_time_that_the_user_set(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/none"
            if where == "url":
                url += "?connect_timeout=2"
            else:
                monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
            async with asyncio.timeout(8):
                with pytest.raises(SourceUnavailable):
                    await ReplicationConnection.connect(url, slot="none", name="test")
                async with Session(lambda: url, name="test", slot="none") as session:
                    with pytest.raises(SourceUnavailable):
                        await session.execute("wal_level", {})

    asyncio.run(scenario())


def test_a_direction_that_loses_what_is_sent_is_noticed_although_data_goes_on_arriving(isolated: Isolated) -> None:
    async def scenario() -> None:
        with Proxy(isolated.database_url) as proxy:
            async with streaming(isolated, proxy, "?tcp_user_timeout=1000") as stream:
                await _silent(stream)
                proxy.lose()
                stream.send(STATUS)
                with psycopg.connect(isolated.database_url) as connection:
                    connection.execute("SELECT pg_logical_emit_message(true, 'any', 'more')")
                assert await stream.receive(silence=30)
                with pytest.raises(SourceUnavailable, match="Connection timed out"):
                    await asyncio.wait_for(_read(stream), timeout=10)

    asyncio.run(scenario())


def test_a_close_that_is_cancelled_while_it_waits_for_the_server_closes_the_connection(isolated: Isolated) -> None:
    """As when a relay that leaves the WAL is told to end."""

    async def scenario() -> None:
        with Proxy(isolated.database_url) as proxy:
            async with streaming(isolated, proxy) as stream:
                await _silent(stream)
                proxy.swallow_to_server.set()
                closing = asyncio.create_task(stream.close())
                await asyncio.sleep(0)  # it begins
                closing.cancel()
                with suppress(asyncio.CancelledError):
                    await closing
                assert not _is_open(stream._socket)  # noqa: SLF001 - what it holds

    asyncio.run(scenario())


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
