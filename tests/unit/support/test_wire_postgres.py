"""The oracle's reader of replication connections: it yields the same facts however the bytes are cut."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wire.changes import Changes, Transaction
from tests.support.wire.postgres import Flushed, KeptAlive, Sent, Session, Started, format_lsn, parse_lsn
from tests.unit.support import wire_bytes as said

Cuts = st.lists(st.integers(min_value=0), max_size=40)


def reading(stream: bytes, session: Session, *, to_server: bool, cuts: list[int] | None = None) -> list[Any]:
    return said.in_pieces(stream, cuts or [], lambda data: list(session.feed(data, to_server=to_server)))


@given(Cuts, Cuts, st.lists(st.binary(max_size=200), max_size=5))
def test_a_stream_yields_the_same_however_it_is_cut(ours: list[int], theirs: list[int], payloads: list[bytes]) -> None:
    session = Session()
    assert reading(said.SSL_REQUEST, session, to_server=True) == []
    assert reading(b"N", session, to_server=False) == []
    client = said.REPLICATION + said.message(b"p", b"secret\0") + said.message(b"Q", b"IDENTIFY_SYSTEM\0")
    client += said.start((3 << 32) + 16) + said.status(5) + said.message(b"X")
    server = said.LOGIN + said.message(b"W", b"\0\0\0") + b"".join(said.sent(payload) for payload in payloads)
    server += said.keepalive(7)
    assert reading(client, session, to_server=True, cuts=ours) == [Started((3 << 32) + 16), Flushed(5)]
    assert reading(server, session, to_server=False, cuts=theirs) == [*map(Sent, payloads), KeptAlive(7)]


def test_the_flushed_position_counts_and_not_the_written_one() -> None:
    session = Session()
    assert reading(said.REPLICATION + said.status(5), session, to_server=True) == [Flushed(5)]


def test_an_ordinary_connection_yields_nothing() -> None:
    session = Session()
    assert reading(said.ORDINARY + said.start(1) + said.status(5), session, to_server=True) == []
    assert reading(said.LOGIN + said.sent(b"{}") + said.keepalive(7), session, to_server=False) == []


def test_an_encrypted_connection_is_an_error_rather_than_nothing() -> None:
    session = Session()
    session.feed(said.SSL_REQUEST, to_server=True)
    with pytest.raises(ValueError, match="encrypts"):
        session.feed(b"S", to_server=False)


def test_a_notice_is_not_taken_for_the_answer_to_an_encryption_request() -> None:
    session = Session()
    session.feed(said.REPLICATION, to_server=True)
    notice = said.message(b"N", b"SWARNING\0\0")
    assert reading(notice + said.keepalive(7), session, to_server=False) == [KeptAlive(7)]


@given(st.integers(0, 2**64 - 1))
def test_an_lsn_reads_as_it_is_written(position: int) -> None:
    assert parse_lsn(format_lsn(position)) == position


def test_a_transaction_has_the_rows_of_the_outbox_and_both_ends_of_its_commit() -> None:
    changes = Changes()
    found = [changes.read(payload) for payload in said.transaction(10, 18, ["a", "b"])]
    assert [each for each in found if each] == [Transaction(10, 18, ["a", "b"])]


def test_a_transaction_that_broke_off_leaves_nothing_to_the_next() -> None:
    changes = Changes()
    for payload in said.transaction(10, 18, ["a"])[:-1]:
        assert changes.read(payload) is None
    *rows, commit = said.transaction(20, 28, ["b"])
    for payload in rows:
        assert changes.read(payload) is None
    assert changes.read(commit) == Transaction(20, 28, ["b"])


def test_another_plugins_stream_is_an_error_rather_than_nothing() -> None:
    with pytest.raises(ValueError, match="wal2json"):
        Changes().read(b"B\0\0\0\0\0\0\0\1")
