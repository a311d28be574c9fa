"""The messages of the ceiling, and how it counts confirms."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec

from bench.load.ceiling import Encoded
from bench.load.wire import CHANNEL, Confirms, encode
from outboxkit.errors import Problem
from relay.core.event import Message, Route
from relay.publishing.encoding import Encoder


def ack(tag: int, *, multiple: bool = False) -> bytes:
    return bytes(frame.Method(CHANNEL, spec.Basic.Ack(tag, multiple)).marshal())


def test_the_relay_makes_the_same_frames_of_the_same_event() -> None:
    headers: dict[str, str | int] = {
        "aggregate_type": "order", "aggregate_id": "42", "aggregate_version": 3, "seq": 2**40, "n": -1,
    }  # fmt: skip
    body = '{"note": "Grüße"}'.encode()
    encoded = encode(
        exchange="x", routing_key="order.placed", message_id="id", app_id="relay", kind="placed",
        timestamp=1_700_000_000, headers=headers, body=body,
    )  # fmt: skip
    message = Message(
        "id", Route("x", "order.placed", "order", "placed"), "42", 3, 2**40, 1_700_000_000, {"n": -1}, body
    )
    encoder = Encoder(app_id="relay", channel=CHANNEL, frame_max=131072, max_bytes=1000)
    assert encoded == encoder.encode(message)


def test_confirms_are_counted_in_any_order_and_with_multiple() -> None:
    confirms = Confirms()
    counted = []
    for answer in (ack(2), ack(5), ack(3, multiple=True), ack(4), ack(9, multiple=True)):
        confirms.feed(answer)
        counted.append(confirms.confirmed)
    assert counted == [1, 2, 4, 5, 9]


@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_confirms_are_counted_wherever_the_bytes_are_split(rng: random.Random, count: int) -> None:
    tags = list(range(1, count + 1))
    rng.shuffle(tags)
    stream = b"".join(ack(tag) for tag in tags)
    cuts = sorted({0, len(stream), *(rng.randrange(len(stream)) for _ in range(20))})
    confirms = Confirms()
    for start, end in pairwise(cuts):
        confirms.feed(stream[start:end])
    assert confirms.confirmed == count


def test_a_heartbeat_is_not_counted() -> None:
    confirms = Confirms()
    confirms.feed(frame.Heartbeat().marshal())
    assert confirms.confirmed == 0


@pytest.mark.parametrize(
    "method", [spec.Basic.Nack(1), spec.Basic.Return(312, "NO_ROUTE", "x", "k"), spec.Channel.Close(404, "gone", 0, 0)]
)
def test_anything_but_a_confirm_fails_the_measurement(method: spec.Basic.Nack) -> None:
    with pytest.raises(Problem, match="something else than a confirm"):
        Confirms().feed(frame.Method(CHANNEL, method).marshal())


def test_messages_are_read_from_the_file_as_written(tmp_path: Path) -> None:
    messages = [b"one", b"", b"three"]
    path = tmp_path / "frames"
    Encoded.write(path, messages)
    found = Encoded.read(path)
    assert [bytes(found.frames[start:end]) for start, end in pairwise(found.ends)] == messages
