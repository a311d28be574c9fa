"""When a channel on which RabbitMQ nacks everything is given up."""

import pytest

from relay.publishing.nacks import Nacks


@pytest.fixture
def nacks() -> Nacks:
    return Nacks(3)


def test_a_channel_is_given_up_when_nacks_have_lasted_for_the_limit(nacks: Nacks) -> None:
    assert not nacks.last_too_long(100)
    nacks.nacked(100)
    nacks.nacked(102)
    assert [nacks.last_too_long(now) for now in (103, 103.5, 104)] == [False, True, False]


def test_nacks_end_when_a_message_is_taken(nacks: Nacks) -> None:
    nacks.nacked(0)
    nacks.accepted()
    assert not nacks.last_too_long(10)
    nacks.nacked(10)
    assert not nacks.last_too_long(12)


def test_each_further_channel_that_has_only_nacks_gets_twice_as_long_until_a_message_is_taken(nacks: Nacks) -> None:
    def limit() -> int:
        nacks.restart()
        nacks.nacked(0)
        return next(waited for waited in range(1, 100) if nacks.last_too_long(waited))

    assert [limit(), limit(), limit()] == [4, 7, 13]
    nacks.accepted()
    assert limit() == 4
