"""Confirms out of order, for many messages at once, with returns among them, and two messages with one id."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outboxkit.amqp.errors import ProtocolViolated
from relay.publishing.outstanding import Item, Outstanding
from tests.unit.relay.publishing.items import item


def publish(outstanding: Outstanding, *items: Item) -> list[Item]:
    """Publish `items`, and return those that have to wait."""
    waiting = deque(items)
    assert [*outstanding.publish(waiting, len(items)), *waiting] == list(items)
    return list(waiting)


@given(st.data())
def test_every_message_is_answered_for_once(data: st.DataObject) -> None:
    outstanding = Outstanding()
    waiting: dict[int, Item] = {}
    answered: list[int] = []
    for order in range(data.draw(st.integers(1, 40))):
        new = item(order)
        publish(outstanding, new)
        waiting[order + 1] = new  # tags count from one
        if data.draw(st.booleans()):
            tag = data.draw(st.sampled_from(sorted(waiting)))
            multiple = data.draw(st.booleans())
            expected = [waiting.pop(t) for t in sorted(waiting) if t == tag or (multiple and t < tag)]

            assert outstanding.answered(tag, multiple=multiple) == expected
            answered.extend(each.order for each in expected)
    assert outstanding.rest() == list(waiting.values())
    assert len(outstanding) == len(waiting)
    assert sorted(answered + [each.order for each in waiting.values()]) == list(range(order + 1))


def test_tag_zero_with_multiple_answers_for_everything() -> None:
    outstanding = Outstanding()
    items = [item(n) for n in range(3)]
    publish(outstanding, *items)

    assert outstanding.answered(0, multiple=True) == items


def test_single_and_multiple_answers_are_not_confused() -> None:
    outstanding = Outstanding()
    items = [item(n) for n in range(3)]
    publish(outstanding, *items)

    assert outstanding.answered(2, multiple=False) == [items[1]]
    assert outstanding.answered(3, multiple=True) == [items[0], items[2]]


def test_a_return_counts_once_and_only_for_its_own_message() -> None:
    outstanding = Outstanding()
    returned, routed = item(0), item(1)
    publish(outstanding, returned, routed)
    outstanding.returned(returned.parcel.message.id, "NO_ROUTE")

    answered = outstanding.answered(2, multiple=True)
    assert [outstanding.why_returned(each) for each in answered] == ["NO_ROUTE", None]
    assert outstanding.why_returned(returned) is None


@pytest.mark.parametrize("multiple", [False, True])
def test_an_answer_for_a_tag_that_is_not_outstanding_violates_the_protocol(*, multiple: bool) -> None:
    with pytest.raises(ProtocolViolated, match="delivery tag 1,"):
        Outstanding().answered(1, multiple=multiple)


def test_a_return_of_a_message_that_is_not_outstanding_violates_the_protocol() -> None:
    outstanding, once = Outstanding(), item(0)
    publish(outstanding, once)
    outstanding.answered(1, multiple=False)

    with pytest.raises(ProtocolViolated, match=f"message '{once.parcel.message.id}'"):
        outstanding.returned(once.parcel.message.id, "NO_ROUTE")


def test_the_second_of_two_messages_with_one_id_waits_with_what_is_behind_it_until_the_first_is_answered_for() -> None:
    outstanding = Outstanding()
    first, second, behind = item(0, "twin"), item(1, "twin"), item(2)

    assert publish(outstanding, first, second, behind) == [second, behind]
    assert publish(outstanding, second, behind) == [second, behind]
    outstanding.answered(1, multiple=False)
    assert publish(outstanding, second, behind) == []


@given(st.data())
def test_no_two_outstanding_messages_have_the_same_id_and_a_return_counts_for_the_one_that_was_sent(
    data: st.DataObject,
) -> None:
    outstanding = Outstanding()
    ids = data.draw(st.lists(st.sampled_from("abc"), max_size=20))
    waiting = deque(item(order, each) for order, each in enumerate(ids))
    tag = 0
    while waiting:
        sent = outstanding.publish(waiting, data.draw(st.integers(1, 4)))
        assert len({each.parcel.message.id for each in outstanding.rest()}) == len(outstanding)
        returns = data.draw(st.booleans())
        if sent and returns:
            outstanding.returned(sent[-1].parcel.message.id, "NO_ROUTE")
            tag += len(sent)
            answered = outstanding.answered(tag, multiple=True)
            assert [each for each in answered if outstanding.why_returned(each)] == [sent[-1]]
        else:
            tag += len(sent)
            outstanding.answered(0, multiple=True)
