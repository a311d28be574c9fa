"""Routing and AMQP properties: the message contract, seen from the relay's side."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties

from relay.errors import UnpublishableEvent
from relay.event import OutboxEvent
from relay.publishing.encoding import check, properties
from relay.publishing.lines import line
from relay.routing import Router
from runtime.errors import ConfigurationProblem

EVENT = OutboxEvent(
    id="0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f",
    seq=7,
    aggregate_type="order",
    aggregate_id="42",
    aggregate_version=3,
    event_type="placed",
    payload=b'{"total": 1.10}',
    headers={"traceparent": "00-ab"},
    exchange=None,
    routing_key=None,
    created_at=datetime(2026, 11, 20, 20, 0, 0, 900_000, tzinfo=UTC),
)
ROUTER = Router("outbox", "{aggregate_type}.{event_type}")


def encoded(event: OutboxEvent) -> BasicProperties:
    """Return the properties as they come off the wire."""
    read = BasicProperties()
    read.decode(b"".join(properties(ROUTER.route(event), app_id="relay").encode()))
    return read


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


def test_the_same_event_gives_the_same_message() -> None:
    assert ROUTER.route(EVENT) == ROUTER.route(EVENT)


def test_the_payload_is_the_body_unchanged() -> None:
    assert ROUTER.route(EVENT).body == b'{"total": 1.10}'


def test_a_row_cannot_override_the_headers_that_consumers_rely_on() -> None:
    forged = EVENT._replace(headers={"aggregate_version": 99, "seq": -1, "mine": 1})

    assert ROUTER.route(forged).headers["aggregate_version"] == 3
    assert ROUTER.route(forged).headers["seq"] == 7
    assert ROUTER.route(forged).headers["mine"] == 1


def test_exchange_and_routing_key_come_from_the_template_unless_the_row_says_otherwise() -> None:
    routed = ROUTER.route(EVENT)
    overridden = ROUTER.route(EVENT._replace(exchange="other", routing_key=""))

    assert (routed.exchange, routed.routing_key) == ("outbox", "order.placed")
    assert (overridden.exchange, overridden.routing_key) == ("other", "")


@pytest.mark.parametrize("template", ["{payload}", "{}", "{aggregate_type", "{aggregate_type!r}", "{event_type:>9}"])
def test_a_template_that_not_every_event_can_fill_is_refused(template: str) -> None:
    with pytest.raises(ConfigurationProblem, match="routing key template"):
        Router("outbox", template)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=60), inner, max_size=4),
    max_leaves=12,
)


@given(headers=st.dictionaries(st.text(max_size=60), _JSON, max_size=5))
def test_headers_that_pass_the_check_arrive_as_they_were(headers: dict[str, Any]) -> None:
    event = EVENT._replace(headers=headers)
    check(ROUTER.route(event))

    assert encoded(event).headers == ROUTER.route(event).headers


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"headers": {"n": 2**63}}, "header 'n' is an integer beyond 64 bits"),
        ({"headers": {"deep": [{"n": -(2**63) - 1}]}}, "header 'n' is an integer beyond 64 bits"),
        ({"headers": {"x" * 256: 1}}, "name of header"),
        ({"routing_key": "é" * 128}, "routing key is longer than 255 bytes"),
        ({"exchange": "e" * 256}, "exchange is longer than 255 bytes"),
        ({"event_type": "t" * 256, "routing_key": "k"}, "type is longer than 255 bytes"),
    ],
)
def test_what_amqp_cannot_carry_is_named_before_it_is_published(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UnpublishableEvent, match=words):
        check(ROUTER.route(EVENT._replace(**change)))


def test_a_printed_message_is_one_line_of_json_with_its_body_as_it_is() -> None:
    assert line(ROUTER.route(EVENT._replace(headers={}))) == (
        '{"exchange": "outbox", "routing_key": "order.placed", "type": "placed", "timestamp": 1795204800, '
        '"headers": {"aggregate_type": "order", "aggregate_id": "42", "aggregate_version": 3, "seq": 7}, '
        '"message_id": "0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f", "body": {"total": 1.10}}'
    )
