"""Which columns of which table make an event, the values of missing ones, and what is refused."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from msgspec import structs

from outboxkit.errors import ConfigurationProblem
from relay.core.errors import UndecodableChange
from relay.core.event import OutboxEvent
from relay.sources.fields import FIELDS, REQUIRED
from relay.sources.layout import NATIVE, Column, Layout, layout
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


def test_null_reads_as_json_null_in_a_payload_and_as_empty_in_an_aggregate_id() -> None:
    assert read(DEBEZIUM, ROW | {"payload": None}) == structs.replace(EVENT, payload=b"null")
    assert read(DEBEZIUM, ROW | {"aggregateid": None}) == structs.replace(EVENT, aggregate_id="")


@pytest.mark.parametrize("row", [{"id": None}, {"id": ""}, {"aggregatetype": None}, {"type": None}])
def test_an_event_without_an_id_or_a_type_is_refused_naming_the_column(row: dict[str, str | None]) -> None:
    with pytest.raises(UndecodableChange, match=f"'{next(iter(row))}' of a row of public.outbox is empty"):
        read(DEBEZIUM, ROW | row)


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


@pytest.mark.parametrize("headers", ["[]", '"text"', "1", "{", "null", "[" * 100_000])
def test_headers_that_are_not_an_object_are_refused_naming_the_column(headers: str) -> None:
    chosen = layout("debezium", "public.outbox", {"headers": "h"}, partitioned=False)

    with pytest.raises(UndecodableChange, match=r"'h' of a row of public\.outbox cannot be read"):
        read(chosen, ROW | {"h": headers})


def test_partitions_are_recognized_by_their_names_and_only_in_a_partitioned_table() -> None:
    plain = layout("native", "app.events", {}, partitioned=False)

    assert plain.holds("app", "events")
    assert not plain.holds("app", "events_archive")
    assert not plain.holds("other", "events")
    assert NATIVE.holds("outbox", "event_20261120")
    assert not NATIVE.holds("outbox", "events")
