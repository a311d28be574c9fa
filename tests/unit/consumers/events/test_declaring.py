"""How handlers of events are declared, and what a message has to have."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.errors import HandlersUnusable
from consumers.events.declaring.event import Message, decode, time
from consumers.events.declaring.registry import EventHandlers
from consumers.events.running.reading import Reading
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.format import UndecodableMessage

HEADERS = {"aggregate_type": "order", "aggregate_id": "42", "aggregate_version": 7, "seq": 3}
MESSAGE = Message("id", "paid", "order.paid", None, HEADERS, b"{}")


def handle(event: object, connection: object) -> None:
    """Do nothing."""


def no_arguments() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda handlers: handlers.on()(handle), "'handle' has no pattern"),
        (lambda handlers: handlers.on("ord*")(handle), "stand for whole words"),
        (lambda handlers: handlers.on("order.*", by="id")(handle), "by is 'id'"),
        (lambda handlers: handlers.on("order.*", starts_at=0)(handle), "starts_at is 0"),
        (lambda handlers: handlers.on("order.*", name="x" * 201)(handle), "is no name of a handler"),
        (lambda handlers: handlers.on("order.*")(no_arguments), "does not take an event and a connection"),
        (
            lambda handlers: [handlers.on("order.*")(handle), handlers.on("x.*")(handle)],
            "two event handlers are called",
        ),
    ],
)
def test_a_mistake_in_a_declaration_is_said_with_the_handlers_name(declare: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(HandlersUnusable, match=said):
        declare(EventHandlers())


def test_a_handler_keeps_the_name_that_it_was_given() -> None:
    handlers = EventHandlers()
    assert handlers.on("order.*", "invoice.#", name="totals")(handle) is handle
    (handler,) = handlers
    assert (handler.name, handler.is_async, handler.starts_at) == ("totals", False, 1)
    assert handler.takes("invoice.sent.again")
    assert not handler.takes("order.line.added")


def test_an_event_is_read_from_headers_of_either_spelling() -> None:
    event = decode(MESSAGE._replace(headers={**HEADERS, "traceparent": "x"}, body=b'{"a": [1]}'))
    assert (event.id, event.type, event.aggregate_type, event.aggregate_id) == ("id", "paid", "order", "42")
    assert (event.aggregate_version, event.seq, event.payload) == (7, 3, {"a": [1]})
    assert event.headers == {"traceparent": "x"}
    alphanumeric = {name.replace("_", ""): value for name, value in HEADERS.items()}
    assert decode(MESSAGE._replace(headers=alphanumeric)) == decode(MESSAGE)


@pytest.mark.parametrize(
    "changed",
    [
        {"message_id": None},
        {"message_id": ""},
        {"message_id": "a\x00"},
        {"message_id": "\N{REPLACEMENT CHARACTER}" * 86},
        {"routing_key": "order.\x00"},
        {"type": None},
        {"body": b"{"},
        {"body": b"\xff"},
        {"body": b"[" * 100_000},
        {"headers": {}},
        {"headers": {**HEADERS, "aggregate_id": ""}},
        {"headers": {**HEADERS, "aggregate_id": 42}},
        {"headers": {**HEADERS, "aggregate_type": None}},
        {"headers": {**HEADERS, "aggregate_version": "7"}},
        {"headers": {**HEADERS, "aggregate_version": True}},
        {"headers": {**HEADERS, "aggregate_version": 2**63}},
    ],
)
def test_a_message_without_what_an_event_has_is_undecodable(changed: dict[str, Any]) -> None:
    with pytest.raises(UndecodableMessage):
        decode(MESSAGE._replace(**changed))


@given(
    st.none() | st.text(max_size=5),
    st.dictionaries(st.sampled_from([*HEADERS, "x"]), st.none() | st.text() | st.integers() | st.binary()),
    st.binary(),
)
def test_no_message_raises_any_other_error(message_id: str | None, headers: dict[str, object], body: bytes) -> None:
    try:
        assert decode(Message(message_id, "paid", "order.paid", None, headers, body)).id == message_id
    except UndecodableMessage as error:
        assert str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, None), (0, datetime(1970, 1, 1, tzinfo=UTC)), (2**64 - 1, None), (10**13, None)]
)
def test_a_timestamp_is_a_time_or_none(seconds: int | None, expected: datetime | None) -> None:
    assert time(seconds) == expected


@pytest.mark.parametrize(
    ("key", "headers", "expected"),
    [
        ("a.b", {}, "a.b"),
        ("queue", {"x-death": [{"routing-keys": ["queue"]}, {"routing-keys": ["order.paid"]}]}, "order.paid"),
        ("queue", {"x-death": "nonsense"}, "order.paid"),
        ("queue", {"x-routing-key": "own.key", "x-death": [{"routing-keys": ["queue"]}]}, "own.key"),
        ("queue", {"x-routing-key": "queue"}, "order.paid"),
        ("a.b", {"x-routing-key": "own.key"}, "a.b"),
        ("queue", {}, "order.paid"),
    ],
)
def test_a_message_that_comes_straight_to_the_queue_has_the_key_that_it_was_published_under(
    key: str, headers: dict[str, object], expected: str
) -> None:
    delivery = Delivery(1, "id", {**HEADERS, **headers}, b"{}", False, key, 1, "paid", 0)
    event, message = Reading([], "queue").read(delivery)
    assert event.routing_key == message.routing_key == expected
    assert "x-routing-key" not in event.headers
