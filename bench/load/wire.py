"""AMQP 0-9-1 for the ceiling: encodes messages with pika, and counts confirms. No I/O.

pika's encoder is independent of the relay's own. A test compares their messages for the same rows.
"""

import time
from collections.abc import Iterator
from struct import Struct

from pika import frame, spec

from outboxkit.amqp.format import JSON, PERSISTENT
from outboxkit.errors import Problem

CHANNEL = 1
_FRAME = Struct(">BHI")
_OVERHEAD = _FRAME.size + 1
_ANSWER = Struct(">HHQB")
_METHOD = 1
_HEARTBEAT = 8
_ACK = (spec.Basic.INDEX, spec.Basic.Ack.INDEX & 0xFFFF)
_MULTIPLE = 1
_BODY = b"x" * 180
_MICROSECONDS = 1e6


def encode(  # noqa: PLR0913 - the parts of a message
    *, exchange: str, routing_key: str, message_id: str, app_id: str, kind: str, timestamp: int,
    headers: dict[str, str | int], body: bytes,
) -> bytes:  # fmt: skip
    """Return the frames of one mandatory, persistent message; the body must fit into one frame."""
    properties = spec.BasicProperties(
        content_type=JSON,
        headers=headers,
        delivery_mode=PERSISTENT,
        message_id=message_id,
        timestamp=timestamp,
        type=kind,
        app_id=app_id,
    )
    publish = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True)
    return b"".join((
        frame.Method(CHANNEL, publish).marshal(),
        frame.Header(CHANNEL, len(body), properties).marshal(),
        frame.Body(CHANNEL, body).marshal(),
    ))  # fmt: skip


def cost(messages: int = 5000) -> float:
    """Return how many CPU microseconds pika takes to encode one message like the benchmark's.

    Relative to this cost, figures from two machines or two versions of Python can be compared.
    """
    headers: dict[str, str | int] = {"aggregate_type": "order", "aggregate_id": "42", "aggregate_version": 3, "seq": 7}
    before = time.process_time()
    for number in range(messages):
        encode(
            exchange="outbox", routing_key="order.placed", message_id=str(number), app_id="relay", kind="placed",
            timestamp=number, headers=headers, body=_BODY,
        )  # fmt: skip
    return (time.process_time() - before) / messages * _MICROSECONDS


class Confirms:
    """Counts what the broker confirms on one channel, from the bytes that it sends."""

    def __init__(self) -> None:
        self.confirmed = 0
        self._rest = b""
        self._up_to = 0
        self._ahead: set[int] = set()

    def feed(self, received: bytes) -> None:
        """Count the confirms in `received`; raises Problem for anything else: a return, a nack, a close."""
        for kind, payload in self._frames(received):
            if kind == _HEARTBEAT:
                continue
            if kind != _METHOD or len(payload) != _ANSWER.size or _ANSWER.unpack(payload)[:2] != _ACK:
                raise Problem(
                    f"RabbitMQ sent something else than a confirm: {payload[:80]!r}",
                    remedy="see RabbitMQ's log; the ceiling needs a broker that confirms every message",
                )
            _, _, tag, bits = _ANSWER.unpack(payload)
            self._count(tag, multiple=bool(bits & _MULTIPLE))

    def _count(self, tag: int, *, multiple: bool) -> None:
        if multiple:
            self._up_to = max(self._up_to, tag)
            self._ahead = {ahead for ahead in self._ahead if ahead > self._up_to}
        else:
            self._ahead.add(tag)
        while self._up_to + 1 in self._ahead:
            self._up_to += 1
            self._ahead.remove(self._up_to)
        self.confirmed = self._up_to + len(self._ahead)

    def _frames(self, received: bytes) -> Iterator[tuple[int, bytes]]:
        stream = self._rest + received
        start = 0
        while len(stream) - start >= _OVERHEAD:
            kind, _, size = _FRAME.unpack_from(stream, start)
            end = start + size + _OVERHEAD
            if end > len(stream):
                break
            yield kind, stream[start + _FRAME.size : end - 1]
            start = end
        self._rest = stream[start:]
