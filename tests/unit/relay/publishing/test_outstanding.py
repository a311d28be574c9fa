"""Confirms out of order, for many messages at once, and with returns among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.publishing.outstanding import Item, Outstanding
from tests.unit.relay.publishing.items import item


@given(st.data())
def test_every_message_is_answered_for_once(data: st.DataObject) -> None:
    outstanding = Outstanding()
    waiting: dict[int, Item] = {}
    answered: list[int] = []
    for order in range(data.draw(st.integers(1, 40))):
        new = item(order)
        outstanding.published([new])
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
    outstanding.published(items)

    assert outstanding.answered(0, multiple=True) == items


def test_single_and_multiple_answers_are_not_confused() -> None:
    outstanding = Outstanding()
    items = [item(n) for n in range(3)]
    outstanding.published(items)

    assert outstanding.answered(2, multiple=False) == [items[1]]
    assert outstanding.answered(3, multiple=True) == [items[0], items[2]]


def test_a_return_counts_once_and_only_for_its_own_message() -> None:
    outstanding = Outstanding()
    returned, routed = item(0), item(1)
    outstanding.published([returned, routed])
    outstanding.returned(returned.parcel.message.id, "NO_ROUTE")

    answered = outstanding.answered(2, multiple=True)
    assert [outstanding.why_returned(each) for each in answered] == ["NO_ROUTE", None]
    assert outstanding.why_returned(returned) is None


@pytest.mark.parametrize("multiple", [False, True])
def test_an_answer_for_a_tag_that_is_not_outstanding_is_refused(*, multiple: bool) -> None:
    with pytest.raises(ValueError, match="tag 1 "):
        Outstanding().answered(1, multiple=multiple)
