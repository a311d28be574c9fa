"""Routing and encoding: the message contract on the relay's side."""

import json
import math
from struct import pack
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from pika import BasicProperties
from pika.frame import Body, Frame, Header, Method, decode_frame
from pika.spec import Basic

from outboxkit.amqp.format import BINARY, JSON, TEXT
from outboxkit.errors import ConfigurationProblem
from relay.core.errors import MessageTooLarge, UnpublishableEvent
from relay.core.event import Defective, Message, OutboxEvent, Route
from relay.core.messages.routing import Router
from relay.publishing.encoding import MOST_DEEP, MOST_ELEMENTS, MOST_HEADERS, Encoder
from relay.publishing.json_lines import json_line
from tests.support.examples import EVENT

ROUTER = Router("outbox", "{aggregate_type}.{event_type}")


def encode(message: Message, *, channel: int = 1, frame_max: int = 131_072, max_bytes: int = 1 << 20) -> bytes:
    return Encoder(app_id="relay", channel=channel, frame_max=frame_max, max_bytes=max_bytes).encode(message)


def encoded(event: OutboxEvent) -> BasicProperties:
    """Return the properties as pika reads them."""
    header = read(encode(ROUTER.route(event)))[1]
    assert isinstance(header, Header)
    return header.properties


def read(wire: bytes) -> list[Any]:
    """Return the frames that pika reads in `wire`, which must end with the last of them."""
    found: list[Any] = []
    while wire:
        size, frame = decode_frame(wire)
        found.append(frame)
        wire = wire[size:]
    return found


def by_pika(message: Message, *, channel: int, frame_max: int) -> bytes:
    """Return the bytes that pika would write for `message`."""
    properties = BasicProperties(
        content_type=message.route.content_type,
        delivery_mode=2,
        message_id=message.id,
        timestamp=message.timestamp,
        type=message.route.type,
        app_id="relay",
        headers=cast("dict[str, Any]", message.all_headers()),
    )
    method = Basic.Publish(exchange=message.route.exchange, routing_key=message.route.routing_key, mandatory=True)
    most = frame_max - 8
    pieces = [message.body[start : start + most] for start in range(0, len(message.body), most)]
    wire: list[Frame] = [Method(channel, method), Header(channel, len(message.body), properties)]
    wire += [Body(channel, piece) for piece in pieces]
    return b"".join(frame.marshal() for frame in wire)


def test_a_message_is_persistent_and_carries_the_event_under_its_own_id() -> None:
    sent = encoded(EVENT)

    assert sent.delivery_mode == 2
    assert sent.message_id == EVENT.id
    assert sent.type == "placed"
    assert sent.content_type == "application/json"
    assert sent.app_id == "relay"
    assert sent.timestamp == int(EVENT.created_at.timestamp())
    assert sent.headers == {
        "aggregate_type": "order",
        "aggregate_id": "42",
        "aggregate_version": 3,
        "seq": 7,
        "traceparent": "00-ab",
    }


def test_the_content_type_of_a_message_is_its_payloads() -> None:
    assert encoded(structs.replace(EVENT, content_type=BINARY)).content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("content_type", "payload", "body"),
    [
        (JSON, b'{"a":  1}', '{"a":  1}'),
        (TEXT, 'no "JSON" é'.encode(), '"no \\"JSON\\" é"'),
        (BINARY, b"\xff\x00", '"ff00"'),
    ],
)
def test_a_line_is_json_whatever_the_payload_is(content_type: str, payload: bytes, body: str) -> None:
    written = json_line(ROUTER.route(structs.replace(EVENT, content_type=content_type, payload=payload)))
    assert written.endswith(f'"body": {body}}}')
    assert json.loads(written)["content_type"] == content_type


def test_the_same_event_gives_the_same_message() -> None:
    assert ROUTER.route(EVENT) == ROUTER.route(EVENT)


def test_events_of_one_kind_share_a_route_and_others_do_not() -> None:
    routes = [ROUTER.route(structs.replace(EVENT, **change)).route for change in (
        {"id": "other", "aggregate_id": "43"}, {}, {"event_type": "paid"}, {"content_type": TEXT}, {"exchange": "x"},
    )]  # fmt: skip
    assert routes[0] is routes[1]
    assert len(set(routes)) == 4


def test_a_template_may_contain_the_aggregates_id() -> None:
    router = Router("outbox", "{aggregate_type}.{aggregate_id}")
    assert [router.route(structs.replace(EVENT, aggregate_id=each)).route.routing_key for each in ("1", "2")] == [
        "order.1",
        "order.2",
    ]


def test_the_payload_is_the_body_unchanged() -> None:
    assert ROUTER.route(EVENT).body == b'{"total": 1.10}'


def test_a_row_cannot_override_the_headers_that_consumers_rely_on() -> None:
    forged = structs.replace(EVENT, headers={"aggregate_version": 99, "seq": -1, "mine": 1})

    headers = encoded(forged).headers
    assert headers is not None
    assert (headers["aggregate_version"], headers["seq"], headers["mine"]) == (3, 7, 1)
    assert ROUTER.route(forged).all_headers() == headers


def test_exchange_and_routing_key_are_the_relays_unless_the_row_has_its_own() -> None:
    routed = ROUTER.route(EVENT).route
    overridden = ROUTER.route(structs.replace(EVENT, exchange="other", routing_key="")).route

    assert (routed.exchange, routed.routing_key) == ("outbox", "order.placed")
    assert (overridden.exchange, overridden.routing_key) == ("other", "")


@pytest.mark.parametrize("template", ["{payload}", "{}", "{aggregate_type", "{aggregate_type!r}", "{event_type:>9}"])
def test_a_template_that_some_event_cannot_fill_is_refused(template: str) -> None:
    with pytest.raises(ConfigurationProblem, match="routing key template"):
        Router("outbox", template)


_SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text()
_SHORT = st.text(max_size=60)
_NAMES = _SHORT.filter(lambda name: name not in {"CC", "BCC"})  # lists of routing keys: see the tests of copies


def _json(scalars: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_SHORT, inner, max_size=4), max_leaves=12
    )
    return st.dictionaries(_NAMES, values, max_size=5)


_BIGINTS = st.integers(-(2**63), 2**63 - 1)
_MESSAGES = st.builds(
    Message,
    id=st.uuids().map(str),
    route=st.builds(
        Route,
        exchange=_SHORT,
        routing_key=_SHORT,
        aggregate_type=st.text(max_size=300),
        type=_SHORT,
        content_type=st.sampled_from([JSON, TEXT, BINARY]),
    ),
    aggregate_id=st.text(max_size=300),
    aggregate_version=_BIGINTS,
    seq=_BIGINTS,
    timestamp=st.integers(0, 2**63),
    headers=_json(_SCALARS),
    body=st.binary(max_size=300).flatmap(lambda piece: st.sampled_from([piece, piece * 40])),
)


@given(message=_MESSAGES, channel=st.integers(1, 65_535), frame_max=st.integers(1000, 5000))
def test_the_bytes_are_those_that_pika_would_write_and_no_frame_is_too_long(
    message: Message, channel: int, frame_max: int
) -> None:
    expected = by_pika(message, channel=channel, frame_max=frame_max)
    if all(len(frame.marshal()) <= frame_max for frame in read(expected)):
        assert encode(message, channel=channel, frame_max=frame_max) == expected
    else:
        with pytest.raises(UnpublishableEvent, match="in a frame"):
            encode(message, channel=channel, frame_max=frame_max)


@given(headers=_json(_SCALARS))
def test_headers_arrive_unchanged(headers: dict[str, Any]) -> None:
    event = structs.replace(EVENT, headers=headers)

    assert encoded(event).headers == ROUTER.route(event).all_headers()


@pytest.mark.parametrize("name", ["CC", "BCC"])
@pytest.mark.parametrize("keys", [[], ["a.b"], ["a.b", ""]])
def test_lists_of_routing_keys_for_copies_arrive_unchanged(name: str, keys: list[str]) -> None:
    headers = encoded(structs.replace(EVENT, headers={name: keys})).headers

    assert headers is not None
    assert headers[name] == keys


@pytest.mark.parametrize("name", ["CC", "BCC"])
@pytest.mark.parametrize("value", [None, "a.b", 1, {"a": "b"}, ["a.b", 1], [["a.b"]]])
def test_headers_for_copies_that_are_not_lists_of_routing_keys_are_refused(name: str, value: object) -> None:
    with pytest.raises(UnpublishableEvent, match=f"header '{name}' is not a list of routing keys"):
        encode(ROUTER.route(structs.replace(EVENT, headers={name: value})))


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_fraction_is_sent_as_a_double(number: float) -> None:
    """Pika cannot write doubles, and does not read them correctly."""
    wire = encode(ROUTER.route(structs.replace(EVENT, headers={"ratio": number})))

    assert b"\x05ratiod" + pack(">d", number) in wire


def wide(count: int) -> dict[str, object]:
    return {f"{number:x}": None for number in range(count)}


def deep(levels: int, kind: type[list[object] | dict[str, object]]) -> dict[str, object]:
    """Return headers with `levels` tables or arrays inside one another."""
    value: object = kind()
    for _ in range(levels - 1):
        value = [value] if kind is list else {"deep": value}
    return {"deep": value}


@pytest.mark.parametrize(
    "headers",
    [
        deep(MOST_DEEP, list),
        deep(MOST_DEEP, dict),
        {"wide": [None] * MOST_ELEMENTS},
        {"wide": wide(MOST_ELEMENTS)},
        wide(MOST_HEADERS),
    ],
)
def test_headers_that_every_client_reads_arrive_unchanged(headers: dict[str, object]) -> None:
    assert (encoded(structs.replace(EVENT, headers=headers)).headers or {}).items() >= headers.items()


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 300_000])
def test_a_body_is_split_at_frame_max_and_arrives_whole(size: int) -> None:
    message = ROUTER.route(structs.replace(EVENT, payload=b"x" * size))
    wire = read(encode(message))

    assert all(len(frame.marshal()) <= 131_072 for frame in wire[2:])
    assert b"".join(frame.fragment for frame in wire[2:]) == message.body


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"headers": {"n": 2**63}}, "header 'n' is an integer beyond 64 bits"),
        ({"headers": {"deep": [{"n": -(2**63) - 1}]}}, "header 'n' is an integer beyond 64 bits"),
        ({"headers": {"n": math.inf}}, "header 'n' is a number outside the range of a double"),
        ({"headers": {"deep": [-math.inf]}}, "header 'deep' is a number outside the range of a double"),
        ({"headers": deep(MOST_DEEP + 1, list)}, "header 'deep' is more than 32 levels deep"),
        ({"headers": deep(MOST_DEEP + 1, dict)}, "header 'deep' is more than 32 levels deep"),
        ({"headers": deep(1000, list)}, "header 'deep' is more than 32 levels deep"),
        ({"headers": {"wide": [None] * (MOST_ELEMENTS + 1)}}, "header 'wide' has more than 8192 elements"),
        ({"headers": {"wide": [wide(MOST_ELEMENTS + 1)]}}, "header 'wide' has more than 8192 elements"),
        ({"headers": wide(MOST_HEADERS + 1)}, "it has more than 8000 headers"),
        ({"aggregate_id": "a" * 131_064}, "a frame has room for 131064"),
        ({"headers": {"a": "a" * 131_064}}, "a frame has room for 131064"),
        ({"headers": {"x" * 256: 1}}, "header's name is longer"),
        ({"routing_key": "é" * 128}, "routing key is longer than 255 bytes"),
        ({"exchange": "e" * 256}, "exchange is longer than 255 bytes"),
        ({"event_type": "t" * 256, "routing_key": "k"}, "type is longer than 255 bytes"),
        ({"id": "i" * 256}, "id is longer than 255 bytes"),
    ],
)
def test_what_amqp_cannot_carry_is_refused_with_the_reason(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UnpublishableEvent, match=words):
        encode(ROUTER.route(structs.replace(EVENT, **change)))


@pytest.mark.parametrize("part", ["payload", "headers"])
def test_a_message_is_too_large_by_its_body_or_its_headers(part: str) -> None:
    sizes = {"payload": b"x" * 900} if part == "payload" else {"headers": {"x": "y" * 900}}
    message = ROUTER.route(structs.replace(EVENT, **sizes))

    assert encode(message, max_bytes=1200)
    with pytest.raises(MessageTooLarge, match="RELAY_MAX_MESSAGE_BYTES is 1000"):
        encode(message, max_bytes=1000)


def test_a_printed_message_is_one_line_of_json_with_its_body_unchanged() -> None:
    assert json_line(ROUTER.route(structs.replace(EVENT, headers={}))) == (
        '{"exchange": "outbox", "routing_key": "order.placed", "type": "placed", "timestamp": 1795204800, '
        '"headers": {"aggregate_type": "order", "aggregate_id": "42", "aggregate_version": 3, "seq": 7}, '
        '"content_type": "application/json", '
        '"message_id": "0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f", "body": {"total": 1.10}}'
    )


def test_a_cloudevent_has_its_own_headers_and_keeps_the_others() -> None:
    headers = Router("outbox", "{event_type}", cloudevents_source="/outbox/relay").route(EVENT).all_headers()

    assert headers["cloudEvents_specversion"] == "1.0"
    assert headers["cloudEvents_id"] == EVENT.id
    assert headers["cloudEvents_source"] == "/outbox/relay"
    assert headers["cloudEvents_type"] == "order.placed"
    assert headers["cloudEvents_subject"] == "42"
    assert headers["cloudEvents_time"] == "2026-11-20T20:00:00.900000+00:00"
    assert headers["aggregate_version"] == 3
    assert headers["traceparent"] == "00-ab"


@pytest.mark.parametrize("source", [None, "/outbox/relay"])
def test_an_event_with_defective_headers_is_refused_with_their_reason(source: str | None) -> None:
    event = structs.replace(EVENT, headers=Defective("[1]", "its headers are not a JSON object"))
    message = Router("outbox", "{event_type}", cloudevents_source=source).route(event)

    with pytest.raises(UnpublishableEvent, match="cannot be published: its headers are not a JSON object"):
        encode(message)


def test_a_message_is_one_line_whatever_whitespace_its_json_has() -> None:
    payload = '{\n"a":\r\n 1, "b": "\u2028 \\n"}'
    written = json_line(ROUTER.route(structs.replace(EVENT, payload=payload.encode())))

    assert "\n" not in written
    assert "\r" not in written
    assert json.loads(written)["body"] == {"a": 1, "b": "\u2028 \n"}
