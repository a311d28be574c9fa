"""Which columns of which table make an event, what stands in for those that are missing, and what is refused."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from outboxkit.errors import ConfigurationProblem
from relay.core.errors import SourceRefused, UndecodableChange
from relay.core.event import Fence, OutboxEvent
from relay.sources.layout import FIELDS, NATIVE, REQUIRED, Column, Layout, layout
from relay.sources.tables import check
from relay.sources.wal.decoders.decoding import decoder
from relay.sources.wal.decoders.messages import Messages
from relay.storage.facts import TableFacts

COMMITTED_AT = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
DEBEZIUM = layout("debezium", "public.outbox", {}, partitioned=False)
ROW: dict[str, str | None] = {
    "id": "7f2c",
    "aggregatetype": "order",
    "aggregateid": "42",
    "type": "placed",
    "payload": '{"total": 1.10}',
}
EVENT = OutboxEvent(
    id="7f2c",
    seq=0,
    aggregate_type="order",
    aggregate_id="42",
    aggregate_version=0,
    event_type="placed",
    payload=b'{"total": 1.10}',
    headers={},
    exchange=None,
    routing_key=None,
    created_at=COMMITTED_AT,
)


def read(of: Layout, row: Mapping[str, str | None], **oids: int) -> OutboxEvent:
    reader = of.reader([Column(name, oids.get(name, 3802)) for name in row])
    return reader.event(list(row.values()), lambda: COMMITTED_AT)


def test_a_table_made_for_debeziums_outbox_router_is_read_as_it_is() -> None:
    assert read(DEBEZIUM, ROW) == EVENT


def test_columns_that_no_field_names_are_passed_over_wherever_they_stand() -> None:
    row = {"tenant": "acme", **dict(reversed(ROW.items())), "tracingspancontext": None}

    assert read(DEBEZIUM, row) == EVENT


@pytest.mark.parametrize("column", ROW)
def test_a_missing_column_is_named_with_the_setting_that_names_another(column: str) -> None:
    with pytest.raises(UndecodableChange, match=f"public.outbox has no column '{column}'.*RELAY_OUTBOX_COLUMNS"):
        read(DEBEZIUM, {name: value for name, value in ROW.items() if name != column})


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026-11-20 20:00:00.5+00", datetime(2026, 11, 20, 20, 0, 0, 500000, tzinfo=UTC)),
        ("2026-11-20 22:00:00+02", datetime(2026, 11, 20, 20, 0, tzinfo=UTC)),
        ("2026-11-20 20:00:00", datetime(2026, 11, 20, 20, 0, tzinfo=UTC)),
        ("1795204800123", datetime(2026, 11, 20, 20, 0, 0, 123000, tzinfo=UTC)),
        ("1704011512344", datetime(2023, 12, 31, 8, 31, 52, 344000, tzinfo=UTC)),  # a date and an hour, in ISO 8601
        (None, COMMITTED_AT),
        ("infinity", COMMITTED_AT),
        ("-infinity", COMMITTED_AT),
        ("0044-03-15 00:00:00+00 BC", COMMITTED_AT),
        ("20000-01-01 00:00:00+00", COMMITTED_AT),
        ("9" * 30, COMMITTED_AT),
    ],
)
def test_a_time_is_a_timestamp_or_milliseconds_and_otherwise_that_of_the_commit(
    written: str | None, time: datetime
) -> None:
    assert read(DEBEZIUM, ROW | {"timestamp": written}) == structs.replace(EVENT, created_at=time)


def test_null_means_jsons_null_for_a_payload_and_no_aggregate_for_its_id() -> None:
    assert read(DEBEZIUM, ROW | {"payload": None}) == structs.replace(EVENT, payload=b"null")
    assert read(DEBEZIUM, ROW | {"aggregateid": None}) == structs.replace(EVENT, aggregate_id="")


@pytest.mark.parametrize("row", [{"id": None}, {"id": ""}, {"aggregatetype": None}, {"type": None}])
def test_an_event_without_an_id_or_a_type_is_refused_by_the_columns_name(row: dict[str, str | None]) -> None:
    with pytest.raises(UndecodableChange, match=f"'{next(iter(row))}' of a row of public.outbox is empty"):
        read(DEBEZIUM, ROW | row)


def test_bytes_are_relayed_as_they_are() -> None:
    assert read(DEBEZIUM, ROW | {"payload": r"\x00ff"}, payload=17).payload == b"\x00\xff"
    assert read(DEBEZIUM, ROW | {"payload": r"\x00ff"}).payload == rb"\x00ff"


def test_single_columns_are_named_in_place_of_the_layouts_own() -> None:
    chosen = layout(
        "debezium",
        "public.outbox",
        {"id": "event id", "headers": "headers", "aggregate_version": "version", "created_at": "at"},
        partitioned=False,
    )
    row = ROW | {"event id": "other", "version": "3", "headers": '{"a": [1]}', "at": "2026-11-20 20:00:00+00"}
    time = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)

    assert read(chosen, row) == structs.replace(
        EVENT, id="other", aggregate_version=3, headers={"a": [1]}, created_at=time
    )
    assert read(chosen, row | {"version": None, "headers": None, "at": None}) == structs.replace(EVENT, id="other")


def test_a_column_that_is_named_must_be_there() -> None:
    chosen = layout("debezium", "public.outbox", {"created_at": "timestamp"}, partitioned=False)

    with pytest.raises(UndecodableChange, match="no column 'timestamp'"):
        read(chosen, ROW)


def test_an_empty_name_says_that_the_table_has_no_such_column() -> None:
    optional = set(FIELDS) - REQUIRED
    chosen = layout("native", "app.events", dict.fromkeys(optional, ""), partitioned=False)
    row = {"id": "7f2c", "aggregate_type": "order", "aggregate_id": "42", "event_type": "placed"}

    assert read(chosen, row | {"payload": ROW["payload"], "seq": "not a number"}) == EVENT


@pytest.mark.parametrize("field", sorted(REQUIRED))
def test_no_event_is_without_what_it_needs(field: str) -> None:
    with pytest.raises(ConfigurationProblem, match=f"no event is without {field}"):
        layout("debezium", "public.outbox", {field: ""}, partitioned=False)


def test_a_field_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigurationProblem, match=r"'body' is no field.*payload"):
        layout("native", "outbox.event", {"body": "payload"}, partitioned=True)


@pytest.mark.parametrize("headers", ["[]", '"text"', "1", "{", "null", "[" * 100_000])
def test_headers_that_are_no_object_are_refused_by_the_columns_name(headers: str) -> None:
    chosen = layout("debezium", "public.outbox", {"headers": "h"}, partitioned=False)

    with pytest.raises(UndecodableChange, match=r"'h' of a row of public\.outbox cannot be read"):
        read(chosen, ROW | {"h": headers})


def test_partitions_are_told_by_their_names_and_only_where_there_are_any() -> None:
    plain = layout("native", "app.events", {}, partitioned=False)

    assert plain.holds("app", "events")
    assert not plain.holds("app", "events_archive")
    assert not plain.holds("other", "events")
    assert NATIVE.holds("outbox", "event_20261120")
    assert not NATIVE.holds("outbox", "events")


FACTS = TableFacts(partitioned=True, columns=list(FIELDS), other_names=[], other_tables=[])


def facts(**changes: Any) -> TableFacts:  # noqa: ANN401 - any field
    return TableFacts(**({name: getattr(FACTS, name) for name in TableFacts.__slots__} | changes))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "there is no table outbox.event"),
        (facts(other_names=["outbox.old"]), "would not tell that these are partitions of outbox.event: outbox.old"),
        (facts(other_tables=["outbox.event_log"]), "would take these for partitions.*: outbox.event_log"),
    ],
)
def test_a_table_that_wal2json_would_read_wrongly_is_refused(found: TableFacts | None, words: str) -> None:
    with pytest.raises(SourceRefused, match=words):
        check(found, NATIVE, plugin="wal2json")


def test_pgoutput_knows_partitions_whatever_they_are_called() -> None:
    check(facts(other_names=["outbox.old"], other_tables=["outbox.event_log"]), NATIVE, plugin="pgoutput")


def test_a_column_that_is_missing_from_the_start_is_named() -> None:
    with pytest.raises(UndecodableChange, match="no column 'payload'"):
        check(facts(columns=sorted({*FIELDS} - {"payload"})), NATIVE, plugin="wal2json")


CONTENT = """ {"id": "7f2c", "aggregate_type": "order", "aggregate_id" : 42,
    "event_type": "placed", "payload": {"total": 1.10}, "unknown": [1, {"a": "}"}]} """


def message(content: str | bytes, *, prefix: str = "orders") -> object:
    encoded = content.encode() if isinstance(content, str) else content
    return Messages("orders").read(prefix, encoded, lambda: COMMITTED_AT)


def test_a_message_with_the_prefix_is_an_event_and_its_payload_is_relayed_as_it_was_written() -> None:
    assert message(CONTENT) == EVENT


def test_a_message_may_say_all_that_a_row_can() -> None:
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
    ("content", "words"),
    [
        ("", "there is no {"),
        ("[]", "there is no {"),
        ("{}", "'id' is missing"),
        ('{"id": "1"', "there is no , or }"),
        ('{"id": "1",}', "cannot be read"),
        ('{"id": NaN}', "JSON has no NaN"),
        ("{1: 2}", "1 is no name"),
        (CONTENT + "x", "something follows"),
        (CONTENT.replace('"payload"', '"body"'), "'payload' is missing"),
        (CONTENT.replace("42", "null"), "'aggregate_id' is missing"),
        (CONTENT.replace("42", "[42]"), "'aggregate_id' is neither text nor a number"),
        (CONTENT.replace("42", '"\\ud800"'), "cannot be read"),
        (CONTENT.replace('"7f2c"', '""'), "'id' of a message 'orders' is empty"),
        (CONTENT.replace('"unknown"', '"seq"'), "'seq' is neither text nor a number"),
        (CONTENT.replace('"unknown": [1, {"a": "}"}]', '"headers": []'), "'headers' of a message 'orders'"),
        (CONTENT.replace('{"total": 1.10}', "[" * 100_000), "cannot be read"),
        (b"\xff", "cannot be read"),
    ],
)
def test_a_message_that_is_no_event_is_refused_with_what_is_wrong(content: str | bytes, words: str) -> None:
    with pytest.raises(UndecodableChange, match=words):
        message(content)


def test_messages_of_others_are_passed_over_and_fences_are_told() -> None:
    assert message("no event", prefix="other") is None
    assert message("1 2", prefix="relay.fence") == Fence("1 2")
    assert Messages(None).read("orders", b"no event", lambda: COMMITTED_AT) is None


@pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
def test_a_decoder_comes_with_the_options_of_its_stream(plugin: str) -> None:
    made, options = decoder(plugin, NATIVE, None, publication="outbox_relay")

    assert not made.in_transaction
    assert ("outbox.*" in options.values()) == (plugin == "wal2json")
    assert ('"outbox_relay"' in options.values()) == (plugin == "pgoutput")
