"""Logical messages: which are events or fences, and which are refused."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from relay.core.errors import UndecodableChange
from relay.core.event import Defective, Fence, OutboxEvent
from relay.sources.layout import NATIVE
from relay.sources.wal.decoders.decoding import decoder
from relay.sources.wal.decoders.messages import Messages
from relay.sources.wal.decoders.relations import Relations
from tests.unit.relay.sources.decoders import facts
from tests.unit.relay.sources.events import COMMITTED_AT, EVENT

CONTENT = """ {"id": "7f2c", "aggregate_type": "order", "aggregate_id" : 42,
    "event_type": "placed", "payload": {"total": 1.10}, "unknown": [1, {"a": "}"}]} """


def message(content: str | bytes, *, prefix: str = "orders") -> object:
    encoded = content.encode() if isinstance(content, str) else content
    return Messages("orders").read(prefix, encoded, lambda: COMMITTED_AT)


def test_a_message_with_the_prefix_is_an_event_and_its_payload_is_relayed_unchanged() -> None:
    assert message(CONTENT) == EVENT


def test_a_message_may_have_every_field_of_a_row() -> None:
    more = (
        '"aggregate_version": 3, "seq": 9, "headers": {"a": null}, "exchange": "x", "routing_key": "r", '
        '"created_at": "2026-11-20T20:00:00Z"'
    )

    assert message(CONTENT.replace('"unknown": [1, {"a": "}"}]', more)) == structs.replace(
        EVENT,
        aggregate_version=3,
        seq=9,
        headers={"a": None},
        exchange="x",
        routing_key="r",
        created_at=datetime(2026, 11, 20, 20, 0, tzinfo=UTC),
    )


@given(
    payload=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    ),
    indent=st.sampled_from([None, 1, "\t"]),
    ascii_only=st.booleans(),
)
def test_any_payload_of_a_message_is_relayed_byte_for_byte(
    *, payload: object, indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(payload, indent=indent, ensure_ascii=ascii_only)
    content = f'{{"payload":{text},"id":"7f2c","aggregate_type":"order","aggregate_id":"42","event_type":"placed"}}'

    assert message(content) == structs.replace(EVENT, payload=text.encode())


@pytest.mark.parametrize(
    "payload",
    [
        "1" * 5000,
        "-" + "1" * 5000 + ".5e-7",
        "[" * 50_000 + "]" * 50_000,
        '{"a" :' * 20_000 + " 1" + " }" * 20_000,
        '[1 , {"b": [[]' + ", [{ }]" * 3 + '], "c}]": "]}"} , ' + "[" * 5000 + "null" + "]" * 5000 + " ,true]",
    ],
)
def test_a_payload_of_any_size_and_depth_is_relayed_byte_for_byte(payload: str) -> None:
    assert message(CONTENT.replace('{"total": 1.10}', payload)) == structs.replace(EVENT, payload=payload.encode())


@pytest.mark.parametrize("ends", ["", "]", "}", ",]", ":", " 1]", ",,", "NaN]"])
def test_a_deep_payload_that_is_no_json_is_refused(ends: str) -> None:
    with pytest.raises(UndecodableChange, match="cannot be read"):
        message(CONTENT.replace('{"total": 1.10}', "[" * 5000 + "1" + ends + "]" * 4998))


@pytest.mark.parametrize("change", [('"unknown": [1, {"a": "}"}]', '"headers": []'), ('"order"', "null")])
def test_a_message_with_an_id_that_cannot_be_published_is_an_event_all_the_same(change: tuple[str, str]) -> None:
    found = message(CONTENT.replace(*change))

    assert isinstance(found, OutboxEvent)
    assert isinstance(found.headers, Defective)
    assert structs.replace(found, headers={}, aggregate_type="order") == EVENT


def test_a_time_of_a_message_is_in_the_unit_that_is_set() -> None:
    content = CONTENT.replace('"unknown": [1, {"a": "}"}]', '"created_at": 1795204800.5').encode()
    found = Messages("orders", time_unit="s").read("orders", content, lambda: COMMITTED_AT)

    assert isinstance(found, OutboxEvent)
    assert found.created_at == datetime(2026, 11, 20, 20, 0, 0, 500000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "{ is missing"),
        ("[]", "{ is missing"),
        ("{}", "'id' is missing"),
        ('{"id": "1"', ", or } is missing"),
        ('{"id": "1",}', "cannot be read"),
        ('{"id": NaN}', "JSON has no NaN"),
        ("{1: 2}", "1 is not the name"),
        (CONTENT + "x", "text follows"),
        (CONTENT.replace('"payload"', '"body"'), "'payload' is missing"),
        (CONTENT.replace("42", "null"), "'aggregate_id' is missing"),
        (CONTENT.replace("42", "[42]"), "'aggregate_id' is neither text nor a number"),
        (CONTENT.replace("42", '"\\ud800"'), "cannot be read"),
        (CONTENT.replace('"7f2c"', '""'), "'id' of a message 'orders' is empty"),
        (CONTENT.replace('"unknown"', '"seq"'), "'seq' is neither text nor a number"),
        (CONTENT.replace('{"total": 1.10}', "[" * 100_000), "cannot be read"),
        (b"\xff", "cannot be read"),
    ],
)
def test_a_message_that_is_not_an_event_is_refused_with_the_reason(content: str | bytes, words: str) -> None:
    with pytest.raises(UndecodableChange, match=words):
        message(content)


def test_messages_of_others_are_ignored_and_fences_are_read() -> None:
    assert message("no event", prefix="other") is None
    assert message("1 2", prefix="relay.fence") == Fence("1 2")
    assert Messages(None).read("orders", b"no event", lambda: COMMITTED_AT) is None


@pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
def test_a_decoder_comes_with_the_options_of_its_stream(plugin: str) -> None:
    relations = Relations.of(NATIVE, facts(NATIVE))
    made, options = decoder(plugin, NATIVE, None, publication="outbox_relay", relations=relations)

    assert not made.in_transaction
    assert ("outbox.*" in options.values()) == (plugin == "wal2json")
    assert ('"outbox_relay"' in options.values()) == (plugin == "pgoutput")
