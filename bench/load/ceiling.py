"""A publisher that does nothing but publish: frames encoded beforehand, a window, and confirms counted.

Run as a process of its own (`python -m bench.ceiling`), it shows what the broker takes on this machine. It reads no
database, encodes nothing, and answers at /metrics in the relay's words, so that both are counted by the same means.
"""

import asyncio
import signal
from array import array
from pathlib import Path
from typing import Any, TypeVar

import pika
from pika import frame, spec
from prometheus_client import CollectorRegistry, Counter

from bench.instruments.metrics import PUBLISHED
from bench.load import programs
from bench.load.wire import CHANNEL, Confirms
from outboxkit.amqp.connection import parameters
from outboxkit.errors import Problem
from outboxkit.http import metrics_route, serving

_READ_BYTES = 1 << 16
_FRAME_START = 7
_FRAME_END = 1

M = TypeVar("M", bound=pika.amqp_object.Method)


class Encoded:
    """Messages as they go on the wire, one after the other, kept in a file for as many runs as there are."""

    def __init__(self, frames: bytes, ends: "array[int]") -> None:
        self.frames = memoryview(frames)
        self.ends = ends
        """Where each message ends, in bytes from the start; the first is 0."""

    @classmethod
    def write(cls, path: Path, messages: list[bytes]) -> None:
        """Write `messages` to `path`, and beside it where each ends."""
        ends = array("Q", [0])
        with path.open("wb") as file:
            for message in messages:
                ends.append(ends[-1] + file.write(message))
        path.with_suffix(".ends").write_bytes(ends.tobytes())

    @classmethod
    def read(cls, path: Path) -> "Encoded":
        """Read what `write` wrote."""
        ends = array("Q")
        ends.frombytes(path.with_suffix(".ends").read_bytes())
        return cls(path.read_bytes(), ends)


async def run(*, amqp_url: str, frames: str, window: int, http_address: str) -> None:
    """Publish everything once, at most `window` messages unconfirmed, then wait for SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    registry = CollectorRegistry()
    counter = Counter(PUBLISHED, "Events with an outcome.", ["outcome"], registry=registry)
    encoded = Encoded.read(Path(frames))
    async with serving([metrics_route(registry)], http_address):
        await _publish(amqp_url, encoded, window, counter.labels("confirmed"))
        await stop.wait()


async def _publish(amqp_url: str, encoded: Encoded, window: int, counter: Counter) -> None:
    reader, writer = await _confirming_channel(amqp_url)
    confirms, sent, total = Confirms(), 0, len(encoded.ends) - 1
    while confirms.confirmed < total:
        until = min(total, confirms.confirmed + window)
        if until > sent:
            writer.write(encoded.frames[encoded.ends[sent] : encoded.ends[until]])
            sent = until
        before = confirms.confirmed
        confirms.feed(await _some(reader))
        counter.inc(confirms.confirmed - before)
    writer.close()


async def _confirming_channel(amqp_url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection without heartbeats and a channel in confirm mode (AMQP 0-9-1, section 2.2.4)."""
    to = parameters(amqp_url, name="ceiling")
    reader, writer = await asyncio.open_connection(to.host, to.port)

    def say(channel: int, method: pika.amqp_object.Method) -> None:
        writer.write(frame.Method(channel, method).marshal())

    writer.write(frame.ProtocolHeader().marshal())
    await _hear(reader, spec.Connection.Start)
    assert isinstance(to.credentials, pika.PlainCredentials)  # noqa: S101 - what a URL gives
    secret = f"\0{to.credentials.username}\0{to.credentials.password}"
    say(0, spec.Connection.StartOk(client_properties={"connection_name": "ceiling"}, response=secret))
    tune = await _hear(reader, spec.Connection.Tune)
    say(0, spec.Connection.TuneOk(channel_max=tune.channel_max, frame_max=tune.frame_max, heartbeat=0))
    say(0, spec.Connection.Open(virtual_host=to.virtual_host))
    await _hear(reader, spec.Connection.OpenOk)
    say(CHANNEL, spec.Channel.Open())
    await _hear(reader, spec.Channel.OpenOk)
    say(CHANNEL, spec.Confirm.Select())
    await _hear(reader, spec.Confirm.SelectOk)
    return reader, writer


async def _hear(reader: asyncio.StreamReader, kind: type[M]) -> M:
    start = await reader.readexactly(_FRAME_START)
    rest = await reader.readexactly(int.from_bytes(start[3:], "big") + _FRAME_END)
    _, heard = frame.decode_frame(start + rest)
    if not isinstance(heard, frame.Method) or not isinstance(heard.method, kind):
        raise Problem(f"RabbitMQ answered {heard!r}, not {kind.NAME}", remedy="see its log")
    return heard.method


async def _some(reader: asyncio.StreamReader) -> bytes:
    received = await reader.read(_READ_BYTES)
    if not received:
        raise Problem("RabbitMQ closed the connection of the ceiling", remedy="see its log")
    return received


def main(orders: dict[str, Any]) -> None:
    """Run with `orders`: the arguments of `run`."""
    asyncio.run(run(**orders))


if __name__ == "__main__":
    main(programs.orders())
