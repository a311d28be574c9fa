"""The open load over HTTP: on time whether or not there are answers, and late answers count from when they were due."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bench.load.requesting import Request, run

Serve = Callable[[str], Awaitable[int]]


def served(serve: Serve, *, rate: int, count: int, requests: list[dict[str, Any]]) -> list[float]:
    """Send `requests` to a server that answers with the status that `serve` returns for a request's first line."""
    ended = asyncio.Event()
    open_: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.append(writer)
        while head := await reader.readline():
            length = 0
            while (line := await reader.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            await reader.readexactly(length)
            status = await serve(head.decode())
            writer.write(f"HTTP/1.1 {status} OK\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        writer.close()
        await writer.wait_closed()
        open_.remove(writer)
        if not open_:
            ended.set()

    async def play() -> list[float]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        async with server:
            try:
                return await run(address=f"{host}:{port}", rate=rate, count=count, requests=requests)
            finally:
                await ended.wait()

    return asyncio.run(play())


def test_requests_go_out_in_turn_and_each_has_its_latency() -> None:
    seen: list[str] = []

    async def serve(head: str) -> int:
        seen.append(head.split()[1])
        return 200

    found = served(serve, rate=100, count=6, requests=[{"method": "GET", "path": f"/{name}"} for name in "ab"])
    assert sorted(seen) == ["/a", "/a", "/a", "/b", "/b", "/b"]
    assert len(found) == 6
    assert all(each >= 0 for each in found)


def test_a_server_that_stands_still_makes_what_is_due_meanwhile_late_too() -> None:
    gate = asyncio.Event()
    waiting: list[str] = []

    async def serve(head: str) -> int:
        waiting.append(head)
        if len(waiting) == 10:
            gate.set()
        await gate.wait()
        return 200

    found = served(serve, rate=100, count=10, requests=[{"method": "GET", "path": "/"}])
    late = [(9 - number) / 100 for number in range(10)]
    assert all(each >= least - 0.002 for each, least in zip(found, late, strict=True)), found


def test_another_status_ends_it() -> None:
    async def serve(_: str) -> int:
        return 503

    with pytest.raises(ValueError, match="POST /x was answered with 503"):
        served(serve, rate=100, count=1, requests=[{"method": "POST", "path": "/x", "body": "{}", "status": 201}])


def test_a_body_is_sent_with_its_length_in_bytes() -> None:
    sent = Request("POST", "/tasks", '"ä"', 201).encode("h:1")
    assert b"Content-Length: 4\r\n" in sent
    assert sent.endswith(b'\r\n\r\n"\xc3\xa4"')
