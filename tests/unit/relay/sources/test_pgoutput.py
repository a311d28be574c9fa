"""pgoutput's binary messages into events and boundaries, whole and cut."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from struct import pack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.core.errors import UndecodableChange
from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.position import Lsn
from relay.sources.layout import NATIVE, layout
from relay.sources.wal.decoders.pgoutput import PgoutputDecoder, options
from tests.unit.relay.sources.decoders import of_pgoutput

ROW: dict[str, str | None] = {
    "id": "0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f",
    "seq": "7",
    "tx": "741",
    "aggregate_type": "order",
    "aggregate_id": "42",
    "aggregate_version": "3",
    "event_type": "placed",
    "payload": '{"total": 12}',
    "headers": '{"n": 1}',
    "exchange": None,
    "routing_key": "a.b",
    "created_at": "2026-11-20 20:00:00.123456+00",
}
EVENT = OutboxEvent(
    transaction=741,
    id="0b0c9a1e-9df5-4a0e-8f4e-1f2f3f4f5f6f",
    seq=7,
    aggregate_type="order",
    aggregate_id="42",
    aggregate_version=3,
    event_type="placed",
    payload=b'{"total": 12}',
    headers={"n": 1},
    exchange=None,
    routing_key="a.b",
    created_at=datetime(2026, 11, 20, 20, 0, 0, 123456, tzinfo=UTC),
)
COMMITTED_AT = datetime(2026, 11, 20, 20, 0, 1, 500000, tzinfo=UTC)
_MICROSECONDS = (COMMITTED_AT - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
OID = 16400


def begin() -> bytes:
    return pack(">cQqI", b"B", 0x10, _MICROSECONDS, 741)


def commit(end: int = 0x20) -> bytes:
    return pack(">cBQQq", b"C", 0, 0x10, end, _MICROSECONDS)


def relation(
    columns: Sequence[str] = tuple(ROW), *, table: str = "event", schema: str = "outbox", oid: int = OID, of: int = 3802
) -> bytes:
    described = b"".join(b"\0%b\0%b" % (name.encode(), pack(">Ii", of, -1)) for name in columns)
    names = b"%b\0%b\0" % (schema.encode(), table.encode())
    return pack(">cI", b"R", oid) + names + pack(">cH", b"d", len(columns)) + described


def insert(values: Sequence[str | None] = tuple(ROW.values()), *, oid: int = OID) -> bytes:
    row = b"".join(b"n" if v is None else pack(">cI", b"t", len(v.encode())) + v.encode() for v in values)
    return pack(">cIcH", b"I", oid, b"N", len(values)) + row


def message(content: bytes, *, prefix: str = "relay.fence", flags: int = 1) -> bytes:
    return pack(">cBQ", b"M", flags, 0x10) + prefix.encode() + b"\0" + pack(">I", len(content)) + content


def one(decoder: PgoutputDecoder, payload: bytes) -> OutboxEvent | Boundary[Lsn] | Fence | None:
    (item,) = decoder.decode([payload])
    return item


def answer(decoder: PgoutputDecoder, payload: bytes) -> object:
    try:
        return one(decoder, payload)
    except UndecodableChange as problem:
        return str(problem)


def test_a_row_becomes_an_event_when_its_relation_has_been_described() -> None:
    decoder = of_pgoutput()

    assert [one(decoder, payload) for payload in (begin(), relation(), insert(), commit())] == [
        None, None, EVENT, Boundary(Lsn(0x20), COMMITTED_AT.timestamp()),
    ]  # fmt: skip


def test_a_transaction_is_open_between_begin_and_commit() -> None:
    decoder = of_pgoutput()
    seen = [decoder.in_transaction]
    for payload in (begin(), relation(), insert(), commit()):
        one(decoder, payload)
        seen.append(decoder.in_transaction)

    assert seen == [False, True, True, True, False]


def test_a_relation_that_is_described_again_is_read_by_the_new_description() -> None:
    decoder = of_pgoutput()
    columns = ["tenant", *reversed(ROW), "region"]
    values = ["acme", *reversed(ROW.values()), "eu"]
    stream = [relation(), insert(), relation(columns), insert(values)]

    assert [one(decoder, payload) for payload in stream] == [None, EVENT, None, EVENT]


def test_two_relations_are_kept_apart() -> None:
    decoder = of_pgoutput()
    one(decoder, relation())
    one(decoder, relation(["a"], table="other", oid=1))

    assert [one(decoder, insert(["x"], oid=1)), one(decoder, insert())] == [None, EVENT]


@pytest.mark.parametrize("column", sorted(set(ROW) - {"tx"}))
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(UndecodableChange, match=rf"outbox\.event has no column '{column}'"):
        one(of_pgoutput(), relation([name for name in ROW if name != column]))


def test_bytes_are_recognized_by_their_type() -> None:
    decoder = of_pgoutput(layout("debezium", "public.outbox", {}, partitioned=False))
    columns = ["id", "aggregatetype", "aggregateid", "type", "payload"]
    one(decoder, begin())
    one(decoder, relation(columns, schema="public", table="outbox", of=17))
    event = one(decoder, insert(["1", "order", "42", "placed", r"\x00ff41"]))

    assert isinstance(event, OutboxEvent)
    assert (event.payload, event.created_at) == (b"\x00\xffA", COMMITTED_AT)


@pytest.mark.parametrize(
    "payload",
    [
        b"O" + bytes(8) + b"origin\0",
        b"Y" + bytes(4) + b"\0text\0",
        b"T" + bytes(13),
        b"U" + bytes(9),
        b"D" + bytes(9),
        relation(["a"], table="other"),
        relation(["a"], table="events"),
        message(b"{}", prefix="somebody.else"),
        message(b"1:1:", flags=0),
    ],
)
def test_changes_that_are_not_events_are_ignored(payload: bytes) -> None:
    assert one(of_pgoutput(), payload) is None


def test_a_fence_is_read_with_its_text_even_if_that_is_not_utf_8() -> None:
    decoder = of_pgoutput()

    assert one(decoder, message(b"ab:1 10:20:")) == Fence("ab:1 10:20:")
    assert one(decoder, message(b"\xff")) == Fence("\ufffd")


def test_without_a_table_its_rows_are_ignored() -> None:
    decoder = of_pgoutput(None, "orders")

    assert [one(decoder, relation()), one(decoder, insert())] == [None, None]


@pytest.mark.parametrize("kind", [b"S", b"E", b"c", b"A", b"b", b"P", b"K", b"r", b"p", b"x", b""])
def test_an_unknown_kind_of_message_is_refused_since_it_may_contain_events(kind: bytes) -> None:
    """Streamed and prepared transactions come only if they are requested; ignoring them would lose events."""
    with pytest.raises(UndecodableChange, match="does not know"):
        one(of_pgoutput(), kind + bytes(30))


def test_a_row_of_a_relation_that_was_not_described_is_refused() -> None:
    with pytest.raises(UndecodableChange, match="does not know"):
        one(of_pgoutput(), insert())


@pytest.mark.parametrize("values", [list(ROW.values())[:-1], [*ROW.values(), "more"]])
def test_a_row_with_other_columns_than_its_relation_is_refused(values: list[str | None]) -> None:
    decoder = of_pgoutput()
    one(decoder, relation())

    with pytest.raises(UndecodableChange, match="does not know"):
        one(decoder, insert(values))


@pytest.mark.parametrize("kind", [b"u", b"b"])
def test_a_value_that_is_not_text_is_refused(kind: bytes) -> None:
    decoder = of_pgoutput()
    one(decoder, relation())
    cut = insert().replace(pack(">cI", b"t", 1) + b"7", kind + pack(">I", 1) + b"7", 1)

    with pytest.raises(UndecodableChange, match="does not know"):
        one(decoder, cut)


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
payloads = st.one_of(
    st.builds(begin),
    st.builds(commit, st.integers(0, 2**64 - 1)),
    st.builds(relation),
    st.builds(insert, st.tuples(*[texts for _ in ROW])),
    st.builds(message, st.binary(max_size=30), prefix=st.sampled_from(["relay.fence", "orders", "other"])),
)


WITH_PAYLOAD_LAST = sorted(ROW, key=lambda name: name == "payload")


@pytest.mark.parametrize(
    "payload",
    [
        begin(),
        commit(),
        relation(WITH_PAYLOAD_LAST),
        insert([ROW[name] for name in WITH_PAYLOAD_LAST]),
        message(b"1:1:"),
    ],
)
def test_a_payload_of_any_shorter_length_is_refused(payload: bytes) -> None:
    decoder = of_pgoutput()
    one(decoder, relation(WITH_PAYLOAD_LAST))
    assert isinstance(answer(decoder, payload), OutboxEvent | Boundary | Fence | None)

    for length in range(len(payload)):
        with pytest.raises(UndecodableChange, match="does not know"):
            one(decoder, payload[:length])


@given(payloads, st.data())
def test_an_incomplete_payload_is_refused_and_yields_nothing(payload: bytes, data: st.DataObject) -> None:
    cut = payload[: data.draw(st.integers(0, len(payload) - 1))]
    decoder = of_pgoutput(NATIVE, "orders")
    one(decoder, relation())

    with pytest.raises(UndecodableChange):
        one(decoder, cut)


@given(st.binary(max_size=200) | st.builds(bytes.__add__, payloads, st.binary(min_size=1, max_size=20)))
@example(pack(">cQqI", b"B", 0, 2**63 - 1, 0))
def test_any_input_raises_undecodable_change_or_nothing(payload: bytes) -> None:
    decoder = of_pgoutput(layout("debezium", "outbox.event", {}, partitioned=False), "orders")
    one(decoder, relation(["id", "aggregatetype", "aggregateid", "type", "payload"], oid=1))
    for item in (payload, insert(["1", "a", "b", "c", "d"], oid=1)):
        answer(decoder, item)


@given(st.tuples(*[texts for _ in ROW]))
def test_every_value_of_a_row_is_read_or_refused_naming_its_column(values: tuple[str | None, ...]) -> None:
    decoder = of_pgoutput()
    one(decoder, relation())
    row = dict(zip(ROW, values, strict=True))
    good = dict(ROW) | {name: row[name] for name in ("payload", "exchange", "routing_key")}
    event = one(decoder, insert(list(good.values())))

    assert isinstance(event, OutboxEvent)
    assert event.payload == (good["payload"] or ("null" if good["payload"] is None else "")).encode()
    assert (event.exchange, event.routing_key) == (good["exchange"], good["routing_key"])
    for name in ("id", "seq", "headers", "created_at"):
        found = answer(decoder, insert(list((ROW | {name: row[name]}).values())))
        assert isinstance(found, OutboxEvent) or f"'{name}' of a row of outbox.event" in str(found)


def test_the_publication_is_named_as_an_identifier() -> None:
    assert options('odd "name')["publication_names"] == '"odd ""name"'
    assert options("relay") == {"proto_version": "1", "publication_names": '"relay"', "messages": "true"}
