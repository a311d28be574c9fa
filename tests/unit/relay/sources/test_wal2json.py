"""wal2json's objects, as format version 2 writes them, into events and boundaries."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from outboxkit.errors import ConfigurationProblem
from relay.core.errors import OutboxChanged, UndecodableChange
from relay.core.event import Boundary, Defective, Fence, OutboxEvent
from relay.core.position import Lsn
from relay.sources.layout import NATIVE, layout
from relay.sources.wal.decoders import wal2json
from relay.sources.wal.decoders.wal2json import Wal2JsonDecoder, options
from tests.unit.relay.sources.decoders import of_wal2json
from tests.unit.relay.sources.wal2json_objects import COMMITTED_AT, ROW, TABLE, begin, commit, insert, message, written

DEBEZIUM = layout("debezium", "public.outbox", {}, partitioned=False)
DEBEZIUM_ROW: dict[str, Any] = {
    "id": "0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f",
    "aggregatetype": "order",
    "aggregateid": "42",
    "type": "placed",
    "payload": '{"total": 12}',
}


def one(decoder: Wal2JsonDecoder, payload: bytes) -> OutboxEvent | Boundary[Lsn] | Fence | None:
    (item,) = decoder.decode([payload])
    return item


def together(row: dict[str, Any]) -> OutboxEvent | Boundary[Lsn] | Fence | None:
    """Return the result for a row that arrives together with an earlier one of its table."""
    *_, item = of_wal2json().decode([begin(), insert(ROW), insert(row)])
    return item


def event(row: dict[str, Any]) -> OutboxEvent:
    decoded = one(of_wal2json(), insert(row))
    assert isinstance(decoded, OutboxEvent)
    return decoded


def test_a_row_of_a_partition_becomes_an_event() -> None:
    assert event(ROW) == OutboxEvent(
        transaction=741,
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


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
)


@given(json_values)
def test_the_payload_is_the_text_that_postgres_stores_byte_for_byte(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    for decoded in (event(ROW | {"payload": text}), together(ROW | {"payload": text})):
        assert isinstance(decoded, OutboxEvent)
        assert decoded.payload == text.encode()


@pytest.mark.parametrize(
    "text",
    [
        '{"n": 123456789012345678901234567890}',
        '{"n": 1.10}',
        '{"n": 1e400}',
        '"\\u0001 \\" \\\\ / \\n"',
        '"héllo 😀 \u2028"',
        '{"name":"id","value":"x"},{"name":"seq","value":1}',
        "null",
    ],
)
def test_numbers_and_escapes_in_a_payload_are_never_reinterpreted(text: str) -> None:
    assert together(ROW | {"payload": text}) == structs.replace(event(ROW), payload=text.encode())


class General(Wal2JsonDecoder):
    """Reads every row in the general way, like one of another table."""

    def _parsed(self, payloads: Sequence[bytes | memoryview]) -> Iterable[Any]:
        return map(wal2json._change, payloads)  # noqa: SLF001 - the slow way, which the fast one is compared with


def answers(decoder: Wal2JsonDecoder, *pieces: list[bytes]) -> list[object]:
    """Return the results for payloads that arrive in `pieces`, and the error that ends them."""
    found: list[object] = []
    try:
        for piece in pieces:
            found.extend((item, decoder.in_transaction) for item in decoder.decode(piece))
    except UndecodableChange as problem:
        found.append(str(problem))
    return found


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
rows = st.fixed_dictionaries(
    {name: st.just(value) for name, value in ROW.items()}
    | {
        "id": st.sampled_from([ROW["id"], "", None, 7]),
        "aggregate_type": texts | st.none(),
        "aggregate_id": texts | st.none() | st.integers(),
        "payload": texts | st.none() | st.booleans() | st.integers(),
        "headers": st.sampled_from(["{}", '{"a": "b\\nc"}', "[]", "{", None, "[" * 5000]),
        "exchange": texts | st.none(),
        "created_at": st.sampled_from(
            [ROW["created_at"], "2026-11-20 20:00:00", "soon", "infinity", None, 1556890294344]
        ),
        "seq": st.integers() | st.none() | st.just("x"),
        '"},{"name': texts,
    }
)


payloads = st.builds(
    lambda row, dropped, more, table: insert(
        {name: value for name, value in row.items() if name not in dropped} | more, table=table
    ),
    row=st.just(ROW) | rows,
    dropped=st.just(set()) | st.sets(st.sampled_from(sorted(ROW)), max_size=2),
    more=st.sampled_from([{}, {}, {"new": "value"}]),
    table=st.sampled_from([TABLE, TABLE, TABLE, "other"]),
) | st.sampled_from([
    begin(), commit(), commit("zero"), message("a:1"), message(b"\xff"), message("a", prefix="b", transactional=False),
    b'{"action":"T"}', b'{"action":"X"}', b"{", b"1],[2",
])  # fmt: skip


@given(payloads=st.lists(payloads, min_size=1, max_size=8), cuts=st.sets(st.integers(1, 7)))
def test_payloads_give_the_same_together_and_one_by_one(payloads: list[bytes], cuts: set[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(payloads)), len(payloads)]

    together = answers(of_wal2json(), *(payloads[start:end] for start, end in pairwise(places)))
    assert together == answers(of_wal2json(kind=General), *([each] for each in payloads))


def test_payloads_that_arrive_together_are_parsed_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test before shows that the result is the same; this one shows that the fast way is used."""
    decoder, expected = of_wal2json(), event(ROW)
    one(decoder, insert(ROW))
    monkeypatch.delattr(wal2json, "_change")

    found = list(decoder.decode([begin(), insert(ROW), commit(), message("a:1")]))
    assert found == [None, expected, Boundary(Lsn(0x20), COMMITTED_AT.timestamp()), Fence("a:1")]


def test_headers_and_overrides_are_read() -> None:
    row = ROW | {"headers": '{"traceparent": "00-ab", "n": 1}', "exchange": "other", "routing_key": "a.b.c"}

    assert event(row).headers == {"traceparent": "00-ab", "n": 1}
    assert (event(row).exchange, event(row).routing_key) == ("other", "a.b.c")


@pytest.mark.parametrize("text", ['{"n": 1e400}', '{"n": 1' + "0" * 5000 + "}", "[]", "{", "[" * 5000])
def test_headers_that_no_message_can_carry_are_defective_and_their_text_is_kept(text: str) -> None:
    for decoded in (event(ROW | {"headers": text}), together(ROW | {"headers": text})):
        assert isinstance(decoded, OutboxEvent)
        assert isinstance(decoded.headers, Defective)
        assert decoded.headers.text == text


def test_integers_beyond_64_bits_are_kept_whole() -> None:
    assert event(ROW | {"headers": '{"n": 36893488147419103232}'}).headers == {"n": 2**65}


@pytest.mark.parametrize("tx", ["740", "1", str(2**32 + 740)])
def test_a_row_of_our_own_table_that_another_transaction_wrote_is_no_event(tx: str) -> None:
    assert together(ROW | {"tx": tx}) is None
    assert one(of_wal2json(), insert(ROW | {"tx": tx})) is None
    assert isinstance(together(ROW | {"tx": str(2**32 + 741)}), OutboxEvent)


def test_a_row_of_an_unknown_table_ends_the_stream_unless_the_catalog_knew_its_transaction() -> None:
    decoder = of_wal2json()
    assert one(decoder, insert(ROW, table="event_gone")) == event(ROW)
    assert one(decoder, insert(ROW, table="gone")) == event(ROW)
    assert one(decoder, insert({name: ROW[name] for name in ROW if name != "tx"}, table="gone")) is None
    one(decoder, begin(xid=1000))
    assert one(decoder, insert(ROW, table="other")) is None
    with pytest.raises(OutboxChanged, match=r"table outbox\.archive is in the stream"):
        one(decoder, insert(ROW, table="archive"))


def test_a_column_that_the_relay_does_not_know_is_ignored() -> None:
    assert event(ROW | {"tenant": "acme"}) == event(ROW)


@pytest.mark.parametrize("column", sorted(set(ROW) - {"tx"}))
def test_a_missing_column_is_named_even_if_it_is_dropped_while_streaming(column: str) -> None:
    row = {name: value for name, value in ROW.items() if name != column}
    decoder = of_wal2json()

    for _ in range(2):
        with pytest.raises(UndecodableChange, match=rf"outbox\.event has no column '{column}'"):
            one(decoder, insert(row))
        assert one(decoder, insert(ROW))


@pytest.mark.parametrize("change", [{"id": None}, {"id": ""}, {"created_at": "soon"}, {"aggregate_version": "2.00"}])
def test_a_value_that_no_event_can_have_is_refused_naming_its_column(change: dict[str, Any]) -> None:
    with pytest.raises(UndecodableChange, match=f"'{next(iter(change))}' of a row of outbox.event"):
        one(of_wal2json(), insert(ROW | change))


def test_a_commit_is_a_boundary_at_its_end_and_not_at_its_own_lsn() -> None:
    decoder = of_wal2json()
    one(decoder, begin("0/20"))

    assert one(decoder, commit("0/20")) == Boundary(Lsn(0x20), COMMITTED_AT.timestamp())


def test_an_end_beyond_the_first_four_gigabytes_is_read_whole() -> None:
    end = one(of_wal2json(), commit("A1/16B3748"))

    assert isinstance(end, Boundary)
    assert end.position == Lsn.parse("A1/16B3748")


def test_a_transaction_is_open_between_begin_and_commit() -> None:
    decoder = of_wal2json()
    seen = [decoder.in_transaction]
    for payload in (begin(), insert(ROW), commit()):
        one(decoder, payload)
        seen.append(decoder.in_transaction)

    assert seen == [False, True, True, False]


def test_an_empty_transaction_is_a_boundary_only() -> None:
    decoder = of_wal2json()

    assert one(decoder, begin()) is None
    assert isinstance(one(decoder, commit()), Boundary)


def test_rows_of_one_copy_share_an_lsn_and_stay_apart() -> None:
    decoder = of_wal2json()
    one(decoder, begin())
    rows = [one(decoder, insert(ROW | {"id": f"0b0c9a1e-9df5-4a0e-8f4e-00000000000{n}"})) for n in range(3)]

    assert len({row.id for row in rows if isinstance(row, OutboxEvent)}) == 3


def test_transactions_whose_changes_interleave_in_the_wal_arrive_whole() -> None:
    decoder = of_wal2json()
    first, second = ROW | {"aggregate_id": "first"}, ROW | {"aggregate_id": "second"}
    stream = [begin("0/90"), insert(second), commit("0/90"), begin("0/A0"), insert(first), commit("0/A0")]
    found = [item for item in decoder.decode(stream) if item is not None]

    assert [item.position if isinstance(item, Boundary) else getattr(item, "aggregate_id", None) for item in found] == [
        "second", Lsn(0x90), "first", Lsn(0xA0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [
        insert(ROW, schema="tasks", table="task"),
        insert(ROW, table="other"),
        insert(ROW | {"note": "x"}, table="events"),
        insert(ROW | {"tx": "740"}, table="events"),
        message("{}", prefix="somebody.else"),
        message("1:1:", transactional=False),
        written({"action": "T", "schema": "outbox", "table": "event"}),
    ],
)
def test_changes_that_are_not_events_are_ignored(payload: bytes) -> None:
    decoder = of_wal2json()

    assert [one(decoder, payload), one(decoder, payload)] == [None, None]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"action":"I"',
        b'{"action":"I","schema":"outbox"}',
        b'{"action":"C","nextlsn":"0/20"}',
        b'{"action":"M","transactional":true}',
        insert(ROW)[:-1],
        commit("0/2G"),
    ],
)
def test_what_wal2json_does_not_write_is_refused_and_not_ignored(payload: bytes) -> None:
    with pytest.raises(UndecodableChange, match="does not know"):
        one(of_wal2json(), payload)


def test_a_fence_is_read_with_its_text_even_if_that_is_not_utf_8() -> None:
    decoder = of_wal2json()

    assert one(decoder, message("ab:1 10:20:")) == Fence("ab:1 10:20:")
    assert one(decoder, message(b"\xff")) == Fence("\ufffd")


def test_rows_without_a_time_have_the_time_of_their_commit() -> None:
    decoder = of_wal2json(DEBEZIUM)
    one(decoder, begin())
    decoded = [one(decoder, insert(DEBEZIUM_ROW, schema="public", table="outbox", oids={})) for _ in range(2)]

    assert decoded[0] == decoded[1] == structs.replace(event(ROW), seq=0, aggregate_version=0, created_at=COMMITTED_AT)


def test_a_new_last_column_does_not_change_the_others() -> None:
    decoder = of_wal2json(DEBEZIUM)
    one(decoder, begin())
    rows = [DEBEZIUM_ROW, DEBEZIUM_ROW | {"new": "x"}, DEBEZIUM_ROW]
    found = [one(decoder, insert(row, schema="public", table="outbox", oids={})) for row in rows for _ in range(2)]

    assert all(event == found[0] for event in found)


def test_a_number_that_is_null_is_not_the_text_null() -> None:
    decoder = of_wal2json(DEBEZIUM)
    one(decoder, begin())
    rows = [DEBEZIUM_ROW | {"aggregateid": value} for value in (7, None, -7)]
    found = [one(decoder, insert(row, schema="public", table="outbox", oids={})) for row in rows]

    assert [event.aggregate_id for event in found if isinstance(event, OutboxEvent)] == ["7", "", "-7"]


def test_bytes_are_recognized_by_their_type() -> None:
    decoder = of_wal2json(DEBEZIUM)
    one(decoder, begin())
    row = DEBEZIUM_ROW | {"payload": "00ff41"}
    found = [
        one(decoder, insert(row, schema="public", table="outbox", oids={"payload": oid})) for oid in (17, 17, 25, 25)
    ]

    assert [item.payload for item in found if isinstance(item, OutboxEvent)] == [
        b"\x00\xffA", b"\x00\xffA", b"00ff41", b"00ff41",
    ]  # fmt: skip


def test_a_wal2json_that_sends_no_types_is_refused_if_a_payload_may_be_bytes() -> None:
    with pytest.raises(UndecodableChange, match=r"install wal2json 2\.5"):
        one(of_wal2json(DEBEZIUM), insert(DEBEZIUM_ROW, schema="public", table="outbox"))


def test_types_are_requested_only_if_a_payload_may_be_bytes() -> None:
    assert "include-type-oids" not in options(NATIVE, None)
    assert options(DEBEZIUM, None)["include-type-oids"] == "1"


@pytest.mark.parametrize(
    ("table", "partitioned", "asked"),
    [
        ("outbox.event", True, "outbox.*"),
        ("public.outbox", False, "public.outbox"),
        ("My app.it's,*", False, r"My\ app.it\'s\,\*"),
    ],
)
def test_tables_are_requested_in_wal2jsons_own_quoting(*, table: str, partitioned: bool, asked: str) -> None:
    assert options(layout("native", table, {}, partitioned=partitioned), None)["add-tables"] == asked


def test_messages_instead_of_a_table_are_requested_together_with_fences() -> None:
    asked = options(None, "orders")

    assert (asked["add-tables"], asked["add-msg-prefixes"]) == ("", "relay.fence,orders")


@pytest.mark.parametrize("prefix", ["a b", "a,b", "a\\", "a\tb"])
def test_a_prefix_that_wal2json_cannot_filter_by_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationProblem, match="wal2json cannot filter"):
        options(None, prefix)
