"""The ceiling: a publisher that only sends frames encoded beforehand, within a window, and counts confirms.

It is a process (`python -m bench.load.ceiling`) and shows how fast the broker on this machine accepts messages. It
reads no database and encodes nothing. Its /metrics have the relay's names, so both are counted in the same way.
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
from outboxkit.amqp.url import nodes
from outboxkit.errors import Problem
from outboxkit.http import metrics_route, serving

_READ_BYTES = 1 << 16
_FRAME_START = 7
_FRAME_END = 1

M = TypeVar("M", bound=pika.amqp_object.Method)


class Encoded:
    """Messages in wire format, one after the other, kept in a file that every run reads."""

    def __init__(self, frames: bytes, ends: "array[int]") -> None:
        self.frames = memoryview(frames)
        self.ends = ends
        """Where each message ends, in bytes from the start; the first is 0."""

    @classmethod
    def write(cls, path: Path, messages: list[bytes]) -> None:
        """Write `messages` to `path`, and their ends to a file beside it."""
        ends = array("Q", [0])
        with path.open("wb") as file:
            for message in messages:
                ends.append(ends[-1] + file.write(message))
        path.with_suffix(".ends").write_bytes(ends.tobytes())

    @classmethod
    def read(cls, path: Path) -> "Encoded":
        """Read the files that `write` wrote."""
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
        confirms.feed(await _receive_bytes(reader))
        counter.inc(confirms.confirmed - before)
    writer.close()


async def _confirming_channel(amqp_url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection without heartbeats and a channel in confirm mode (AMQP 0-9-1, section 2.2.4)."""
    to = nodes(amqp_url)[0]
    reader, writer = await asyncio.open_connection(to.host, to.port)

    def send(channel: int, method: pika.amqp_object.Method) -> None:
        writer.write(frame.Method(channel, method).marshal())

    writer.write(frame.ProtocolHeader().marshal())
    await _receive(reader, spec.Connection.Start)
    secret = f"\0{to.user}\0{to.password}"
    send(0, spec.Connection.StartOk(client_properties={"connection_name": "ceiling"}, response=secret))
    tune = await _receive(reader, spec.Connection.Tune)
    send(0, spec.Connection.TuneOk(channel_max=tune.channel_max, frame_max=tune.frame_max, heartbeat=0))
    send(0, spec.Connection.Open(virtual_host=to.virtual_host))
    await _receive(reader, spec.Connection.OpenOk)
    send(CHANNEL, spec.Channel.Open())
    await _receive(reader, spec.Channel.OpenOk)
    send(CHANNEL, spec.Confirm.Select())
    await _receive(reader, spec.Confirm.SelectOk)
    return reader, writer


async def _receive(reader: asyncio.StreamReader, kind: type[M]) -> M:
    start = await reader.readexactly(_FRAME_START)
    rest = await reader.readexactly(int.from_bytes(start[3:], "big") + _FRAME_END)
    _, received = frame.decode_frame(start + rest)
    if not isinstance(received, frame.Method) or not isinstance(received.method, kind):
        raise Problem(f"RabbitMQ answered {received!r}, not {kind.NAME}", remedy="see RabbitMQ's log")
    return received.method


async def _receive_bytes(reader: asyncio.StreamReader) -> bytes:
    received = await reader.read(_READ_BYTES)
    if not received:
        raise Problem("RabbitMQ closed the connection of the ceiling", remedy="see RabbitMQ's log")
    return received


def main(arguments: dict[str, Any]) -> None:
    """Call `run` with `arguments`."""
    asyncio.run(run(**arguments))


if __name__ == "__main__":
    main(programs.arguments())
