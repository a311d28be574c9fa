"""Deliveries out of a stream of frames: as pika itself would read them, however the stream is cut."""

import random
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties, frame, spec
from pika.frame import decode_frame

from outboxkit.amqp.consuming.deliveries import Delivery, DeliveryFrames, acknowledgements

OURS, OTHER = 3, 4
FRAME_MAX = 40
names = st.text(max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=30)
    | st.integers(-(2**63), 2**63 - 1)
    | st.decimals(-1000, 1000, places=2)
    | st.binary(max_size=5).map(bytes)
    | st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
properties = st.builds(
    BasicProperties,
    content_type=st.none() | names,
    content_encoding=st.none() | names,
    headers=st.none() | st.dictionaries(names, values, max_size=6),
    delivery_mode=st.none() | st.sampled_from([1, 2]),
    priority=st.none() | st.integers(0, 9),
    correlation_id=st.none() | names,
    reply_to=st.none() | names,
    expiration=st.none() | names,
    message_id=st.none() | names,
    timestamp=st.none() | st.integers(0, 2**32),
    type=st.none() | names,
    user_id=st.none() | names,
    app_id=st.none() | names,
)
deliveries = st.tuples(st.integers(1, 2**63), st.booleans(), names, names, properties, st.binary(max_size=200))


def frames(channel: int, tag: int, body: bytes, about: BasicProperties, **method: object) -> list[bytes]:
    """Return the frames of a delivery as pika writes them."""
    given: dict[str, Any] = {"consumer_tag": "c", "exchange": "", "routing_key": "a.b"} | method
    pieces = [body[at : at + FRAME_MAX] for at in range(0, len(body), FRAME_MAX)]
    return [
        frame.Method(channel, spec.Basic.Deliver(delivery_tag=tag, **given)).marshal(),
        frame.Header(channel, len(body), about).marshal(),
        *(frame.Body(channel, piece).marshal() for piece in pieces),
    ]


def one(about: BasicProperties, body: bytes = b"{}") -> Delivery:
    (found,), others, _ = DeliveryFrames(OURS, generation=7).take(b"".join(frames(OURS, 1, body, about)))
    assert others == b""
    return found


@given(st.lists(deliveries, max_size=4), st.randoms(use_true_random=False))
def test_every_delivery_is_found_whatever_stands_between_its_frames_and_wherever_the_stream_is_cut(
    wanted: list[tuple[int, bool, str, str, BasicProperties, bytes]], draw: random.Random
) -> None:
    others = [
        frame.Heartbeat().marshal(),
        frame.Method(OURS, spec.Basic.ConsumeOk("c")).marshal(),
        *frames(OTHER, 9, b"another channel's", BasicProperties()),
    ]
    stream: list[bytes] = []
    left: list[bytes] = []
    for tag, redelivered, exchange, key, about, body in wanted:
        for each in frames(OURS, tag, body, about, redelivered=redelivered, exchange=exchange, routing_key=key):
            if draw.random() < 0.3:
                stream.append(draw.choice(others))
                left.append(stream[-1])
            stream.append(each)
    whole, at = b"".join(stream), 0
    reading = DeliveryFrames(OURS, generation=7)
    found: list[Delivery] = []
    passed, taken = b"", 0
    while at < len(whole):
        size = draw.randint(1, 60)
        some, rest, count = reading.take(whole[at : at + size])
        found, passed, taken, at = found + some, passed + rest, taken + count, at + size

    assert passed == b"".join(left)
    assert taken == len(whole) - len(passed)
    assert [(each.tag, each.redelivered, each.routing_key, each.body) for each in found] == [
        (tag, redelivered, key, body) for tag, redelivered, _, key, _, body in wanted
    ]
    for delivery, (*_, about, _) in zip(found, wanted, strict=True):
        decoded = BasicProperties().decode(b"".join(about.encode()))
        assert (delivery.message_id, delivery.headers) == (decoded.message_id, decoded.headers)
        assert (delivery.timestamp, delivery.type) == (decoded.timestamp, decoded.type)
        assert delivery.generation == 7


def test_a_table_that_nobody_can_decode_leaves_a_delivery_without_headers() -> None:
    """It would be delivered again to each connection that ended because of it."""
    headers: Any = {"a": Decimal(1), "b": "text"}
    good = frames(OURS, 1, b"{}", BasicProperties(headers=headers, message_id="m"))
    broken = good[1].replace(b"\x01aD", b"\x01a?")
    assert broken != good[1]
    (found,), others, _ = DeliveryFrames(OURS, generation=1).take(good[0] + broken + good[2])
    assert (found.headers, found.message_id, found.body, others) == (None, "m", b"{}", b"")


@pytest.mark.parametrize("number", [0, -1, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63)])
def test_an_integer_of_each_size_is_read(number: int) -> None:
    assert one(BasicProperties(headers={"n": number})).headers == {"n": number}


def test_a_body_of_no_bytes_is_complete_with_its_header() -> None:
    assert one(BasicProperties(message_id="m"), body=b"").body == b""


def test_bytes_that_are_no_frame_are_left_to_pika() -> None:
    good = b"".join(frames(OURS, 1, b"{}", BasicProperties()))
    nonsense = b"\x01\x00\x03\x00\x00\x00\x01xx" + b"more"
    found, others, taken = DeliveryFrames(OURS, generation=1).take(good + nonsense)
    assert ([each.tag for each in found], others, taken) == ([1], nonsense, len(good))


def test_acknowledgements_are_what_pika_would_send() -> None:
    tags = [1, 2, 2**63]
    sent = acknowledgements(OURS, tags)
    assert sent == b"".join(frame.Method(OURS, spec.Basic.Ack(tag, multiple=False)).marshal() for tag in tags)
    size, first = decode_frame(sent)
    assert isinstance(first, frame.Method)
    assert (size, first.channel_number, first.method.delivery_tag) == (struct.calcsize(">BHIHHQBB"), OURS, 1)


def test_headers_that_are_nested_too_deep_are_none_and_end_nothing() -> None:
    depth = 3000
    table = b""
    for _ in range(depth):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    properties = struct.pack(">HHQH", 60, 0, 0, 1 << 13) + struct.pack(">I", len(table)) + table
    header = struct.pack(">BHI", 2, OURS, len(properties)) + properties + b"\xce"
    method = frame.Method(OURS, spec.Basic.Deliver("c", 7, exchange="", routing_key="a.b")).marshal()
    found, others, taken = DeliveryFrames(OURS, generation=1).take(method + header)
    assert [(each.tag, each.headers) for each in found] == [(7, None)]
    assert (others, taken) == (b"", len(method + header))
