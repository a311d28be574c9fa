"""wal2json's objects, as format version 2 writes them, into events and boundaries."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import UndecodableChange
from relay.event import Boundary, OutboxEvent
from relay.position import Lsn
from relay.sources.wal2json import Wal2JsonDecoder

ROW: dict[str, Any] = {
    "id": "0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f",
    "seq": 7,
    "tx": "741",
    "aggregate_type": "order",
    "aggregate_id": "42",
    "aggregate_version": 3,
    "event_type": "placed",
    "payload": '{"total": 12}',
    "headers": "{}",
    "exchange": None,
    "routing_key": None,
    "created_at": "2026-11-20 20:00:00.123456+00",
}


def insert(row: dict[str, Any], *, schema: str = "outbox", table: str = "event_20261120") -> bytes:
    columns = [{"name": name, "value": value} for name, value in row.items()]
    change = {"action": "I", "lsn": "0/16B3748", "schema": schema, "table": table, "columns": columns}
    return json.dumps(change, ensure_ascii=False).encode()


def begin(end: str = "0/20") -> bytes:
    return json.dumps({"action": "B", "lsn": "0/10", "nextlsn": end}).encode()


def commit(end: str = "0/20") -> bytes:
    return json.dumps({"action": "C", "lsn": "0/10", "nextlsn": end}).encode()


def event(row: dict[str, Any]) -> OutboxEvent:
    decoded = Wal2JsonDecoder().decode(insert(row))
    assert isinstance(decoded, OutboxEvent)
    return decoded


def test_a_row_of_a_partition_becomes_an_event() -> None:
    assert event(ROW) == OutboxEvent(
        id="0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f",
        seq=7,
        aggregate_type="order",
        aggregate_id="42",
        aggregate_version=3,
        event_type="placed",
        payload=b'{"total": 12}',
        headers={},
        exchange=None,
        routing_key=None,
        created_at=datetime(2026, 11, 20, 20, 0, 0, 123456, tzinfo=UTC),
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_the_payload_is_the_text_that_postgres_stores_byte_for_byte(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)

    assert event(ROW | {"payload": text}).payload == text.encode()


@pytest.mark.parametrize(
    "text",
    [
        '{"n": 123456789012345678901234567890}',
        '{"n": 1.10}',
        '{"n": 1e400}',
        '"\\u0001 \\" \\\\ / \\n"',
        '"héllo 😀 \u2028"',
        "null",
    ],
)
def test_numbers_and_escapes_in_a_payload_are_never_reinterpreted(text: str) -> None:
    assert event(ROW | {"payload": text}).payload == text.encode()


def test_headers_and_overrides_are_read() -> None:
    row = ROW | {"headers": '{"traceparent": "00-ab", "n": 1}', "exchange": "other", "routing_key": "a.b.c"}

    assert event(row).headers == {"traceparent": "00-ab", "n": 1}
    assert (event(row).exchange, event(row).routing_key) == ("other", "a.b.c")


def test_integers_beyond_64_bits_are_kept_whole() -> None:
    assert event(ROW | {"headers": '{"n": 36893488147419103232}'}).headers == {"n": 2**65}


def test_a_column_that_the_relay_does_not_know_is_ignored() -> None:
    assert event(ROW | {"tenant": "acme"}) == event(ROW)


@pytest.mark.parametrize("column", sorted(set(ROW) - {"tx"}))
def test_a_missing_column_is_named(column: str) -> None:
    row = {name: value for name, value in ROW.items() if name != column}

    with pytest.raises(UndecodableChange, match=f"no column '{column}'"):
        Wal2JsonDecoder().decode(insert(row))


@pytest.mark.parametrize("change", [{"payload": None}, {"created_at": "soon"}, {"headers": "{"}])
def test_a_column_of_another_type_is_an_error_and_not_a_guess(change: dict[str, Any]) -> None:
    with pytest.raises(UndecodableChange, match="cannot be read"):
        Wal2JsonDecoder().decode(insert(ROW | change))


def test_a_commit_is_a_boundary_at_its_end_and_not_at_its_own_lsn() -> None:
    decoder = Wal2JsonDecoder()
    decoder.decode(begin("0/20"))

    assert decoder.decode(commit("0/20")) == Boundary(Lsn(0x20))


def test_a_transaction_is_open_between_begin_and_commit() -> None:
    decoder = Wal2JsonDecoder()
    seen = [decoder.in_transaction]
    for payload in (begin(), insert(ROW), commit()):
        decoder.decode(payload)
        seen.append(decoder.in_transaction)

    assert seen == [False, True, True, False]


def test_an_empty_transaction_is_a_boundary_only() -> None:
    decoder = Wal2JsonDecoder()

    assert [decoder.decode(begin()), decoder.decode(commit())] == [None, Boundary(Lsn(0x20))]


def test_rows_of_one_copy_share_an_lsn_and_stay_apart() -> None:
    decoder = Wal2JsonDecoder()
    decoder.decode(begin())
    rows = [decoder.decode(insert(ROW | {"id": f"0b0c9a1e-9df5-4a0e-8f4e-00000000000{n}"})) for n in range(3)]

    assert len({row.id for row in rows if isinstance(row, OutboxEvent)}) == 3


def test_transactions_whose_changes_interleave_in_the_wal_arrive_whole() -> None:
    decoder = Wal2JsonDecoder()
    first, second = ROW | {"aggregate_id": "first"}, ROW | {"aggregate_id": "second"}
    stream = [begin("0/90"), insert(second), commit("0/90"), begin("0/A0"), insert(first), commit("0/A0")]
    decoded = [decoder.decode(payload) for payload in stream]

    assert [item.aggregate_id if isinstance(item, OutboxEvent) else item for item in decoded] == [
        None, "second", Boundary(Lsn(0x90)), None, "first", Boundary(Lsn(0xA0)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [
        insert(ROW, schema="tasks", table="task"),
        insert(ROW, table="other"),
        json.dumps({"action": "M", "prefix": "relay.fence", "content": "1:1:"}).encode(),
        json.dumps({"action": "T", "schema": "outbox", "table": "event"}).encode(),
    ],
)
def test_whatever_is_no_event_is_passed_over(payload: bytes) -> None:
    assert Wal2JsonDecoder().decode(payload) is None
