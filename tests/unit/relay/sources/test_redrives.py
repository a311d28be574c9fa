"""Redriven events: read as they were parked, by the relay that parked them; what has another form is passed over."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from relay.core.event import Headers, OutboxEvent
from relay.sources.wal.decoders.redrives import redriven
from tests.support.examples import EVENT
from tests.unit.relay.sources.decoders import of_wal2json
from tests.unit.relay.sources.wal2json_objects import ROW, begin, commit, insert, message

PARKED: dict[str, Any] = {
    "relay": "orders",
    "row": 17,
    "id": EVENT.id,
    "seq": 7,
    "aggregate_type": "order",
    "aggregate_id": "42",
    "aggregate_version": 3,
    "event_type": "placed",
    "payload": base64.b64encode(EVENT.payload).decode(),
    "headers": '{"traceparent": "00-ab"}',
    "exchange": None,
    "routing_key": None,
    "created_at": "2026-11-20T20:00:00.9+00:00",
    "content_type": "application/json",
}


def read(relay: str | None = "orders", **changes: object) -> OutboxEvent | None:
    return redriven(json.dumps(PARKED | changes).encode(), relay, 741)


def test_a_redriven_event_is_what_was_parked_and_names_its_row() -> None:
    assert read() == structs.replace(EVENT, transaction=741, redrives=17)


@given(st.binary())
def test_any_bytes_come_back_as_they_were(payload: bytes) -> None:
    event = read(payload=base64.b64encode(payload).decode(), content_type="application/octet-stream")

    assert event is not None
    assert (event.payload, event.content_type) == (payload, "application/octet-stream")


def test_the_text_of_the_headers_is_kept() -> None:
    text = '{"n": 1.10, "n" : 2}'
    event = read(headers=text)

    assert event is not None
    assert isinstance(event.headers, Headers)
    assert event.headers.text == text


@pytest.mark.parametrize("relay", ["other", None])
def test_a_relay_takes_no_event_that_another_one_parked(relay: str | None) -> None:
    assert read(relay) is None


@pytest.mark.parametrize(
    "broken",
    [
        lambda _: b"",
        lambda content: content[:-1],
        lambda content: b"\xff" + content,
        lambda content: content.replace(b'"row": 17', b'"row": "x"'),
        lambda content: content.replace(b'"seq": 7, ', b""),
        lambda content: content.replace(b'"placed"', b"1"),
        lambda content: content.replace(b"2026", b"20266"),
    ],
)
def test_a_message_of_another_form_is_passed_over(broken: Callable[[bytes], bytes]) -> None:
    content = json.dumps(PARKED).encode()
    assert broken(content) != content

    assert redriven(broken(content), "orders", 741) is None


def test_a_decoder_yields_redriven_events_of_its_own_relay_in_the_order_of_the_stream() -> None:
    decoder = of_wal2json(relay="orders")
    other, own = json.dumps(PARKED | {"relay": "other"}), json.dumps(PARKED)
    stream = [
        begin(xid=741),
        message(other, prefix="relay.redrive"),
        insert(ROW),
        message(own, prefix="relay.redrive"),
        message(own, prefix="relay.redrive", transactional=False),
        commit(),
    ]

    found = list(decoder.decode(stream))

    assert found[1] is found[4] is None
    assert found[3] == structs.replace(EVENT, transaction=741, redrives=17)


def test_every_event_names_its_transaction() -> None:
    decoder = of_wal2json()
    one = [begin(xid=741), insert(ROW), insert(ROW | {"payload": "1.10", "id": "é"}), commit()]
    two = [begin(xid=742), insert(ROW | {"tx": "742", "exchange": "other"}), commit()]

    found = [*decoder.decode(one), *(item for change in two for item in decoder.decode([change]))]

    assert [item.transaction for item in found if isinstance(item, OutboxEvent)] == [741, 741, 742]
