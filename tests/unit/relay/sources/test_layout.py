"""Which columns of which table make an event, the values of missing ones, and what is refused."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from outboxkit.errors import ConfigurationProblem
from relay.core.errors import UndecodableChange
from relay.core.event import Defective, OutboxEvent
from relay.sources import types
from relay.sources.fields import FIELDS, REQUIRED
from relay.sources.layout import Column, Layout, layout
from tests.unit.relay.sources.events import COMMITTED_AT, EVENT

DEBEZIUM = layout("debezium", "public.outbox", {}, partitioned=False)
ROW: dict[str, str | None] = {
    "id": "7f2c",
    "aggregatetype": "order",
    "aggregateid": "42",
    "type": "placed",
    "payload": '{"total": 1.10}',
}


def read(of: Layout, row: Mapping[str, str | None], **oids: int) -> OutboxEvent:
    reader = of.reader([Column(name, oids.get(name, 3802)) for name in row])
    return reader.event(list(row.values()), lambda: COMMITTED_AT)


def test_a_table_made_for_debeziums_outbox_router_is_read_unchanged() -> None:
    assert read(DEBEZIUM, ROW) == EVENT


def test_columns_without_a_field_are_ignored_in_any_place() -> None:
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
def test_a_time_is_a_timestamp_or_milliseconds_or_else_the_time_of_the_commit(
    written: str | None, time: datetime
) -> None:
    assert read(DEBEZIUM, ROW | {"timestamp": written}) == structs.replace(EVENT, created_at=time)


@pytest.mark.parametrize(
    ("unit", "written", "microseconds"),
    [
        ("ms", "-1", -1_000),
        ("ms", "1732600000123.5", 1_732_600_000_123_500),
        ("ms", "1.7326000001235e+12", 1_732_600_000_123_500),
        ("s", "1732600000", 1_732_600_000_000_000),
        ("s", "1732600000.123456", 1_732_600_000_123_456),
        ("s", "-0.5", -500_000),
        ("us", "1732600000123456", 1_732_600_000_123_456),
        ("ns", "1732600000123456789", 1_732_600_000_123_456),
        ("ns", "-1", -1),
    ],
)
def test_a_number_is_a_time_in_the_unit_that_is_set(unit: str, written: str, microseconds: int) -> None:
    chosen = layout("debezium", "public.outbox", {}, partitioned=False, time_unit=unit)
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)

    assert read(chosen, ROW | {"timestamp": written}) == structs.replace(EVENT, created_at=time)


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "1e300", "-9" + "0" * 30, "1e999999999999999999"])
def test_a_number_that_is_no_time_is_that_of_the_commit(written: str) -> None:
    assert read(DEBEZIUM, ROW | {"timestamp": written}) == EVENT


def test_null_reads_as_json_null_in_a_payload_and_as_empty_in_an_aggregate_id() -> None:
    assert read(DEBEZIUM, ROW | {"payload": None}) == structs.replace(EVENT, payload=b"null")
    assert read(DEBEZIUM, ROW | {"aggregateid": None}) == structs.replace(EVENT, aggregate_id="")


@pytest.mark.parametrize("row", [{"id": None}, {"id": ""}, {"id": None, "type": None}])
def test_an_event_without_an_id_is_refused_naming_the_column(row: dict[str, str | None]) -> None:
    with pytest.raises(UndecodableChange, match=r"'id' of a row of public\.outbox is empty"):
        read(DEBEZIUM, ROW | row)


@pytest.mark.parametrize("column", ["aggregatetype", "type"])
def test_an_event_without_a_type_is_one_that_no_message_can_carry(column: str) -> None:
    chosen = layout("debezium", "public.outbox", {"headers": "h"}, partitioned=False)
    found = read(chosen, ROW | {column: None, "h": '{"a": 1}'})

    assert isinstance(found.headers, Defective)
    assert (found.headers.why, found.headers.text) == (f"'{column}' of a row of public.outbox is empty", '{"a": 1}')
    assert structs.replace(found, headers={}, aggregate_type="order", event_type="placed") == EVENT


def test_bytes_are_relayed_unchanged() -> None:
    assert read(DEBEZIUM, ROW | {"payload": r"\x00ff"}, payload=17).payload == b"\x00\xff"
    assert read(DEBEZIUM, ROW | {"payload": r"\x00ff"}).payload == rb"\x00ff"


def test_single_columns_of_a_layout_can_be_renamed() -> None:
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


def test_a_column_that_is_named_must_exist() -> None:
    chosen = layout("debezium", "public.outbox", {"created_at": "timestamp"}, partitioned=False)

    with pytest.raises(UndecodableChange, match="no column 'timestamp'"):
        read(chosen, ROW)


def test_an_empty_name_means_that_the_table_has_no_such_column() -> None:
    optional = set(FIELDS) - REQUIRED
    chosen = layout("native", "app.events", dict.fromkeys(optional, ""), partitioned=False)
    row = {"id": "7f2c", "aggregate_type": "order", "aggregate_id": "42", "event_type": "placed"}

    assert read(chosen, row | {"payload": ROW["payload"], "seq": "not a number"}) == EVENT


@pytest.mark.parametrize("field", sorted(REQUIRED))
def test_a_required_field_without_a_column_is_refused(field: str) -> None:
    with pytest.raises(ConfigurationProblem, match=f"every event needs {field}"):
        layout("debezium", "public.outbox", {field: ""}, partitioned=False)


def test_an_unknown_field_is_refused_with_a_list_of_the_known_ones() -> None:
    with pytest.raises(ConfigurationProblem, match=r"'body' is not a field.*payload"):
        layout("native", "outbox.event", {"body": "payload"}, partitioned=True)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ("[]", "its headers are not a JSON object"),
        ('"text"', "its headers are not a JSON object"),
        ("1", "its headers are not a JSON object"),
        ("{", "its headers cannot be read"),
        ('{"a": NaN}', "its headers cannot be read: JSON has no NaN"),
        ('{"a":' * 1000 + "1" + "}" * 1000, "its headers nest too deep"),
        ("[" * 100_000, "its headers nest too deep"),
        ('{"a": 1e400}', "the number 1e400 has more digits than a message keeps"),
        ('{"a": 0.12345678901234567890}', "the number 0.12345678901234567890 has more digits"),
        ('{"a": 12345678901234567890.5}', "has more digits than a message keeps"),
        ('{"a": 1e-999999999999999999999}', "has more digits than a message keeps"),
        ('{"a": ' + "1" * 5000 + "}", "has 5000 digits"),
    ],
)
def test_headers_that_cannot_be_read_whole_are_kept_with_the_reason(headers: str, why: str) -> None:
    chosen = layout("debezium", "public.outbox", {"headers": "h"}, partitioned=False)
    found = read(chosen, ROW | {"h": headers})

    assert isinstance(found.headers, Defective)
    assert found.headers.text == headers
    assert why in found.headers.why
    assert structs.replace(found, headers={}) == EVENT


@pytest.mark.parametrize("headers", [None, "null", " null\n", "{}", "{ }"])
def test_no_headers_are_null_or_json_null_or_empty(headers: str | None) -> None:
    chosen = layout("debezium", "public.outbox", {"headers": "h"}, partitioned=False)
    found = read(chosen, ROW | {"h": headers})

    assert found == EVENT
    assert not isinstance(found.headers, Defective)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1))
def test_numbers_in_headers_keep_their_digits(number: float) -> None:
    chosen = layout("debezium", "public.outbox", {"headers": "h"}, partitioned=False)
    (found,) = read(chosen, ROW | {"h": f'{{"a": {number!r}}}'}).headers.values()

    assert (found, type(found)) == (number, type(number))


@pytest.mark.parametrize(
    ("oid", "streamed", "text"),
    [
        (types.BOOL, "t", "true"),
        (types.BOOL, "f", "false"),
        (types.INET, "10.0.0.1", "10.0.0.1/32"),
        (types.INET, "10.0.0.0/8", "10.0.0.0/8"),
        (types.INET, "::1", "::1/128"),
        (types.BPCHAR, " ab   ", " ab"),
        (25, " ab   ", " ab   "),
        (types.BYTEA, r"\x00", r"\x00"),
    ],
)
def test_a_value_is_the_text_of_the_cast(oid: int, streamed: str, text: str) -> None:
    assert read(DEBEZIUM, ROW | {"aggregateid": streamed}, aggregateid=oid).aggregate_id == text
    if oid != types.BYTEA:
        assert read(DEBEZIUM, ROW | {"payload": streamed}, payload=oid).payload == text.encode()
