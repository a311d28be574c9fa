"""Oracle 4 itself: it finds every report that comes too early, and no other."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.support.wire.acknowledgement import Acknowledgement
from tests.unit.support import wire_bytes as said


class Conversation:
    """A relay that talks to both servers; the oracle gets all bytes, in pieces that `draw` cuts."""

    def __init__(self, draw: random.Random | None = None) -> None:
        self.oracle = Acknowledgement()
        self._draw = draw
        self._streams = self._brokers = 0
        self.stream(0)
        self.connect()

    def stream(self, position: int) -> None:
        """Open another stream."""
        self._streams += 1
        self.relay(said.REPLICATION, said.start(position))
        self._postgres(said.LOGIN, to_server=False)

    def connect(self) -> None:
        """Open another connection to the broker."""
        self._brokers += 1
        self.publish(said.PROTOCOL_HEADER, said.opened())

    def sent(self, commit: int, end: int, *ids: str) -> None:
        self._postgres(*map(said.sent, said.transaction(commit, end, ids)), to_server=False)

    def keepalive(self, position: int) -> None:
        self._postgres(said.keepalive(position), to_server=False)

    def relay(self, *stream: bytes) -> None:
        self._postgres(*stream, to_server=True)

    def flush(self, position: int) -> None:
        self.relay(said.status(position))

    def publish(self, *stream: bytes) -> None:
        self._broker(*stream, to_server=True)

    def answer(self, *stream: bytes) -> None:
        self._broker(*stream, to_server=False)

    def _postgres(self, *stream: bytes, to_server: bool) -> None:
        for piece in self._pieces(b"".join(stream)):
            self.oracle.postgres(self._streams, to_server, piece)

    def _broker(self, *stream: bytes, to_server: bool) -> None:
        for piece in self._pieces(b"".join(stream)):
            self.oracle.broker(self._brokers, to_server, piece)

    def _pieces(self, stream: bytes) -> list[bytes]:
        cuts = sorted(self._draw.choices(range(len(stream) + 1), k=5)) if self._draw else []
        return [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def one_transaction() -> Conversation:
    """Return a conversation in which `a` and `b` have been sent as one transaction and published."""
    conversation = Conversation()
    conversation.sent(10, 18, "a", "b")
    conversation.publish(said.publish("a"), said.publish("b"))
    return conversation


@given(st.randoms(use_true_random=False))
def test_a_correct_relay_is_clean_however_its_bytes_are_cut(draw: random.Random) -> None:
    talk = Conversation(draw)
    talk.sent(10, 18, "a", "b")
    talk.keepalive(20)
    talk.sent(24, 30, "c")
    talk.sent(30, 38)
    talk.publish(said.publish("a"), said.publish("b"), said.publish("c"))
    talk.answer(said.nack(1), said.ack(3))
    talk.publish(said.publish("a"))
    talk.answer(said.returned("a"), said.ack(2), said.ack(4, multiple=True))
    talk.publish(said.publish("a"))
    talk.answer(said.ack(5))
    for position in (18, 20, 20, 38):
        talk.flush(position)
    assert talk.oracle.violations() == []
    assert (talk.oracle.flushes, talk.oracle.covered) == (3, 2)


def test_a_flush_before_the_last_confirm_is_found() -> None:
    talk = one_transaction()
    talk.answer(said.ack(1))
    talk.flush(18)
    talk.answer(said.ack(2))
    (found,) = talk.oracle.violations()
    assert found == "0/12 was flushed, and of the transaction that ends at 0/12 1 of 2 messages were unconfirmed: ['b']"


def test_a_flush_of_the_end_of_a_message_that_was_returned_is_found_unless_it_is_parked() -> None:
    talk = one_transaction()
    talk.answer(said.returned("b"), said.ack(2, multiple=True))
    talk.flush(18)
    assert len(talk.oracle.violations()) == 1
    assert talk.oracle.violations(besides=["b"]) == []
    assert len(talk.oracle.violations(besides=["a"])) == 1


def test_a_flush_of_a_message_that_was_nacked_is_found() -> None:
    talk = one_transaction()
    talk.answer(said.ack(1), said.nack(2))
    talk.flush(18)
    assert len(talk.oracle.violations()) == 1


def test_a_flush_that_takes_a_single_confirm_for_multiple_is_found() -> None:
    talk = one_transaction()
    talk.answer(said.ack(2))
    talk.flush(18)
    assert len(talk.oracle.violations()) == 1


def test_a_flush_of_a_later_transaction_that_is_confirmed_alone_is_found() -> None:
    talk = one_transaction()
    talk.sent(20, 28, "c")
    talk.publish(said.publish("c"))
    talk.answer(said.ack(3))
    talk.flush(28)
    assert len(talk.oracle.violations()) == 1


def test_a_flush_of_a_keepalive_while_messages_are_in_flight_is_found() -> None:
    talk = one_transaction()
    talk.keepalive(40)
    talk.flush(40)
    assert len(talk.oracle.violations()) == 1


def test_a_flush_of_messages_without_an_answer_on_a_closed_connection_is_found() -> None:
    talk = one_transaction()
    talk.connect()
    talk.publish(said.publish("a"))
    talk.answer(said.ack(1))
    talk.flush(18)
    assert len(talk.oracle.violations()) == 1


def test_one_position_too_many_is_found_though_everything_before_it_is_confirmed() -> None:
    talk = one_transaction()
    talk.answer(said.ack(2, multiple=True))
    talk.flush(19)
    assert talk.oracle.violations() == ["0/13 was flushed, and the server never named it"]


def test_one_position_too_many_is_found_to_cover_a_transaction_whose_commit_is_adjacent() -> None:
    talk = one_transaction()
    talk.answer(said.ack(2, multiple=True))
    talk.sent(18, 26, "c")
    talk.flush(19)
    assert len(talk.oracle.violations()) == 2


def test_a_flush_of_a_transaction_that_is_sent_only_later_is_found() -> None:
    talk = Conversation()
    talk.keepalive(40)
    talk.flush(40)
    talk.sent(30, 38, "a")
    assert len(talk.oracle.violations()) == 1


def test_a_transaction_that_was_flushed_in_order_may_come_again() -> None:
    talk = one_transaction()
    talk.answer(said.ack(2, multiple=True))
    talk.flush(18)
    talk.stream(0)
    talk.sent(10, 18, "a", "b")
    talk.sent(20, 28, "c")
    talk.flush(18)
    assert talk.oracle.violations() == []
    talk.flush(28)
    assert len(talk.oracle.violations()) == 1


def test_messages_that_an_earlier_relay_published_unconfirmed_must_be_confirmed_to_the_next() -> None:
    talk = one_transaction()
    talk.stream(0)
    talk.connect()
    talk.sent(10, 18, "a", "b")
    talk.publish(said.publish("a"), said.publish("b"))
    talk.answer(said.ack(2, multiple=True))
    talk.flush(18)
    assert talk.oracle.violations() == []


def test_reporting_nothing_and_reporting_less_than_before_move_nothing() -> None:
    talk = one_transaction()
    talk.answer(said.ack(2, multiple=True))
    for position in (0, 18, 7):
        talk.flush(position)
    assert talk.oracle.violations() == []
    assert talk.oracle.flushes == 1


def test_a_stream_may_report_where_it_began() -> None:
    talk = Conversation()
    talk.stream(77)
    talk.flush(77)
    assert talk.oracle.violations() == []
