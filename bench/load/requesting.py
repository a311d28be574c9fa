"""Sends HTTP requests evenly, whether earlier ones are answered or not: a process (`python -m bench.load.requesting`).

The loop is open: a request has a time at which it is due, and its latency counts from there. A service that stands
still makes every request late that was due meanwhile, not only the ones that were on their way.

A request goes out on a connection that is kept; when all are busy, a new one is opened.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.load import programs

# By then the process is up; the first requests would wait for its imports.
_BEGIN_AFTER = 0.5


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and the status that it is to have."""

    method: str
    path: str
    body: str | None = None
    status: int = 200

    def encode(self, host: str) -> bytes:
        """Return it as it is sent."""
        body = (self.body or "").encode()
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
        kind = "Content-Type: application/json\r\n" if body else ""
        return f"{head}{kind}\r\n".encode() + body


class Client:
    """Connections to one address."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._opened: list[asyncio.StreamWriter] = []

    async def send(self, request: bytes) -> int:
        """Send `request` and return the status of its answer, which is read to its end."""
        if self._free:
            reader, writer = self._free.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            self._opened.append(writer)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await reader.readexactly(int(head.partition("\r\ncontent-length:")[2].partition("\r\n")[0]))
        self._free.append((reader, writer))
        return int(head.split(maxsplit=2)[1])

    async def close(self) -> None:
        """Close every connection."""
        for writer in self._opened:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def run(*, address: str, rate: int, count: int, requests: list[dict[str, Any]]) -> list[float]:
    """Send `count` of `requests`, one after the other in turn, `rate` per second; return their latencies in seconds.

    Raises ValueError if an answer has another status.
    """
    client = Client(address)
    begins = time.monotonic() + _BEGIN_AFTER
    loop = asyncio.get_running_loop()

    async def one(request: Request, sent: bytes, due: float) -> float:
        await asyncio.sleep(due - loop.time())
        if (status := await client.send(sent)) != request.status:
            raise ValueError(f"{request.method} {request.path} was answered with {status}")
        return time.monotonic() - due

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(one(request, sent, begins + number / rate))
                for number, (request, sent) in enumerate(_sent(requests, address, count))
            ]
    except* (ValueError, OSError, EOFError) as errors:
        raise errors.exceptions[0] from errors
    finally:
        await client.close()
    return [task.result() for task in tasks]


def _sent(requests: list[dict[str, Any]], address: str, count: int) -> Iterator[tuple[Request, bytes]]:
    known = [Request(**each) for each in requests]
    return islice(cycle([(each, each.encode(address)) for each in known]), count)


def main(arguments: dict[str, Any]) -> None:
    """Call `run` with `arguments`, and write the latencies to `to` as JSON."""
    to = Path(arguments.pop("to"))
    to.write_text(json.dumps(asyncio.run(run(**arguments))), encoding="ascii")


if __name__ == "__main__":
    main(programs.arguments())
