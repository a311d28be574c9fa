"""When a channel that RabbitMQ refuses everything on is given up."""

import pytest

from relay.publishing.refusals import Refusals


@pytest.fixture
def refusals() -> Refusals:
    return Refusals(3)


def test_a_channel_is_given_up_when_nacks_have_lasted_for_the_limit(refusals: Refusals) -> None:
    assert not refusals.last_too_long(100)
    refusals.nacked(100)
    refusals.nacked(102)
    assert [refusals.last_too_long(now) for now in (103, 103.5, 104)] == [False, True, False]


def test_a_message_that_is_taken_ends_the_row(refusals: Refusals) -> None:
    refusals.nacked(0)
    refusals.accepted()
    assert not refusals.last_too_long(10)
    refusals.nacked(10)
    assert not refusals.last_too_long(12)


def test_each_further_channel_that_only_refuses_has_twice_as_long_until_a_message_is_taken(refusals: Refusals) -> None:
    def limit() -> int:
        refusals.restart()
        refusals.nacked(0)
        return next(waited for waited in range(1, 100) if refusals.last_too_long(waited))

    assert [limit(), limit(), limit()] == [4, 7, 13]
    refusals.accepted()
    assert limit() == 4
