"""The oracle's reader of AMQP connections: it yields the same facts however the bytes are cut."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties
from pika.spec import Basic

from tests.support.wire.amqp import Answered, Fact, Opened, Published, Returned, Selected, Session
from tests.support.wire.confirms import Confirms
from tests.unit.support import wire_bytes as said

Cuts = st.lists(st.integers(min_value=0), max_size=40)
Text = st.text(max_size=20)
Properties: dict[str, st.SearchStrategy[Any]] = {
    "content_type": Text,
    "content_encoding": Text,
    "headers": st.dictionaries(Text, st.integers(0, 2**40) | Text, max_size=3),
    "delivery_mode": st.just(2),
    "priority": st.integers(0, 9),
    "correlation_id": Text,
    "reply_to": Text,
    "expiration": Text,
    "message_id": Text,
    "timestamp": st.integers(0, 2**40),
    "app_id": Text,
}


def reading(stream: bytes, session: Session, *, to_server: bool, cuts: list[int] | None = None) -> list[Any]:
    return said.in_pieces(stream, cuts or [], lambda data: list(session.feed(data, to_server=to_server)))


@given(Cuts, Cuts, st.binary(max_size=300))
def test_a_connection_yields_the_same_however_it_is_cut(ours: list[int], theirs: list[int], body: bytes) -> None:
    session = Session()
    client = said.PROTOCOL_HEADER + said.opened() + said.publish("ä", body=body) + said.HEARTBEAT
    client += said.publish("b", channel=2)
    server = said.returned("ä") + said.HEARTBEAT + said.ack(1) + said.nack(2, multiple=True, channel=2) + said.closed()
    assert reading(client, session, to_server=True, cuts=ours) == [
        Opened(1),
        Selected(1),
        Published(1, "ä"),
        Published(2, "b"),
    ]
    assert reading(server, session, to_server=False, cuts=theirs) == [
        Returned(1, "ä"),
        Answered(1, 1, multiple=False, nack=False),
        Answered(2, 2, multiple=True, nack=True),
    ]


@given(st.fixed_dictionaries({}, optional=Properties))
def test_the_message_id_is_found_with_any_other_properties(properties: dict[str, Any]) -> None:
    session = Session()
    stream = said.carried(Basic.Publish(exchange="x", routing_key="y"), BasicProperties(**properties), b"", 1)
    found = reading(said.PROTOCOL_HEADER + stream, session, to_server=True)
    assert found == [Published(1, properties.get("message_id", ""))]


def test_a_consumers_deliveries_and_acks_are_neither_publishes_nor_confirms() -> None:
    session = Session()
    delivery = said.carried(Basic.Deliver("tag", 1, False, "x", "y"), BasicProperties(message_id="a"), b"{}", 1)
    assert reading(said.PROTOCOL_HEADER + said.ack(1) + said.nack(2), session, to_server=True) == []
    assert reading(delivery, session, to_server=False) == []


@pytest.mark.parametrize("stream", [b"\x16\x03\x01\x02\0\x01\0\x01", b"AMQP\0\0\x09\x01" + b"\x01\0\0\0\0\0\4abcde"])
def test_what_is_not_amqp_is_an_error_rather_than_nothing(stream: bytes) -> None:
    with pytest.raises(ValueError, match="AMQP"):
        Session().feed(stream, to_server=True)


def confirming(*facts: Fact) -> list[str]:
    confirms = Confirms()
    return [message for fact in facts for message in confirms.read(fact)]


def published(*messages: str, channel: int = 1) -> list[Fact]:
    return [Selected(channel), *(Published(channel, message) for message in messages)]


def test_an_ack_confirms_its_own_message_and_no_other() -> None:
    assert confirming(*published("a", "b", "c"), Answered(1, 2, multiple=False, nack=False)) == ["b"]


def test_a_multiple_ack_confirms_everything_up_to_it_that_is_not_answered() -> None:
    answers = (Answered(1, 2, multiple=False, nack=False), Answered(1, 3, multiple=True, nack=False))
    assert confirming(*published("a", "b", "c", "d"), *answers) == ["b", "a", "c"]


def test_a_nack_confirms_nothing_and_is_an_answer() -> None:
    answers = (Answered(1, 2, multiple=True, nack=True), Answered(1, 3, multiple=True, nack=False))
    assert confirming(*published("a", "b", "c"), *answers) == ["c"]


def test_an_ack_after_a_return_confirms_nothing_but_one_for_the_next_publish_does() -> None:
    first = (*published("a", "b"), Returned(1, "a"), Answered(1, 2, multiple=True, nack=False))
    assert confirming(*first) == ["b"]
    assert confirming(*first, Published(1, "a"), Answered(1, 3, multiple=False, nack=False)) == ["b", "a"]


@pytest.mark.parametrize("lost", [lambda: Opened(1), lambda: Selected(1)])
def test_what_was_in_doubt_on_a_channel_is_not_confirmed_by_the_next_one_of_its_number(
    lost: Callable[[], Fact],
) -> None:
    then = (lost(), *published("b"), Answered(1, 1, multiple=True, nack=False))
    assert confirming(*published("a"), *then) == ["b"]


def test_each_channel_counts_its_own_publishes() -> None:
    found = confirming(*published("a"), *published("b", channel=2), Answered(2, 1, multiple=False, nack=False))
    assert found == ["b"]


def test_what_is_published_without_asking_for_confirms_is_not_confirmed() -> None:
    assert confirming(Opened(1), Published(1, "a"), Answered(1, 1, multiple=True, nack=False)) == []
