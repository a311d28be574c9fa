"""Which message is found to be the one that RabbitMQ closes the channel for."""

import pytest

from outboxkit.amqp.errors import (
    AccessRefused,
    BrokerUnavailable,
    ChannelRefused,
    FramesRefused,
    FramesUnreadable,
    PreconditionFailed,
)
from outboxkit.errors import Problem
from relay.publishing.suspects import Suspects, held, is_final, rejected
from tests.unit.relay.publishing.items import item

REFUSED = ChannelRefused("404", remedy="create it")


def test_after_a_refusal_all_that_was_in_doubt_goes_one_by_one_until_it_is_answered_for() -> None:
    suspects = Suspects()
    assert not suspects.found(REFUSED, outstanding=3)
    left = [suspects.left]
    for _ in range(3):
        suspects.answered(1)
        left.append(suspects.left)
    assert left == [3, 2, 1, 0]


def test_the_message_that_is_outstanding_alone_at_the_next_refusal_is_the_culprit() -> None:
    suspects = Suspects()
    suspects.found(REFUSED, outstanding=3)
    suspects.answered(1)
    assert suspects.found(REFUSED, outstanding=1)


def test_one_message_alone_is_not_the_culprit_at_the_first_refusal() -> None:
    """Messages before it may have been confirmed by an answer that was lost with the channel."""
    suspects = Suspects()
    assert [suspects.found(REFUSED, outstanding=1) for _ in range(2)] == [False, True]


def test_a_connection_that_is_lost_for_another_reason_makes_no_suspects() -> None:
    suspects = Suspects()
    assert not suspects.found(BrokerUnavailable("gone", remedy="wait"), outstanding=3)
    assert suspects.left == 0


@pytest.mark.parametrize(
    ("kind", "final"),
    [
        (ChannelRefused, False),
        (AccessRefused, False),
        (FramesRefused, False),
        (FramesUnreadable, True),
        (PreconditionFailed, True),
    ],
)
def test_a_message_that_will_never_be_taken_is_told_from_one_that_may_be(kind: type[Problem], *, final: bool) -> None:
    assert is_final(kind("refused", remedy="see")) == final


def test_a_rejected_message_is_named_in_what_is_reported() -> None:
    culprit = item(0)
    rejection, lost = rejected(culprit, PreconditionFailed("406", remedy="see"))
    assert (rejection.parcel, rejection.reason, rejection.detail) == (culprit.parcel, "refused", "406")
    assert isinstance(lost.problem, PreconditionFailed)
    assert culprit.parcel.message.id in lost.problem.what


def test_a_message_that_is_tried_again_is_named_with_its_remedy_and_what_waits_for_it() -> None:
    culprit = item(0)
    seen = held(culprit, REFUSED)
    assert seen.message == culprit.named()
    assert "create it; " in seen.problem.remedy
    assert "later messages wait for it" in seen.problem.remedy
