"""When a silent broker is asked, and when it is given up."""

import pytest

from relay.publishing.silence import Silence


@pytest.fixture
def silence() -> Silence:
    return Silence(0.0, ask_after=5, answer_within=2)


def test_a_broker_is_asked_once_when_it_has_answered_nothing_for_a_while(silence: Silence) -> None:
    assert [silence.judge(now) for now in (1, 5, 5.5, 6)] == ["wait", "wait", "ask", "wait"]


def test_a_broker_that_replies_is_asked_again_only_after_the_next_silence(silence: Silence) -> None:
    silence.judge(6)
    silence.heard_at = 7
    assert [silence.judge(now) for now in (9, 12, 12.5)] == ["wait", "wait", "ask"]


def test_a_broker_that_does_not_reply_is_given_up(silence: Silence) -> None:
    assert [silence.judge(now) for now in (6, 8, 8.5)] == ["ask", "wait", "give up"]


def test_each_time_in_a_row_without_a_reply_doubles_the_limit_until_something_is_heard(silence: Silence) -> None:
    def limit(start: float) -> float:
        silence.restart(start)
        assert silence.judge(start + 6) == "ask"
        return next(waited for waited in range(1, 100) if silence.judge(start + 6 + waited) == "give up")

    assert [limit(0), limit(100), limit(200)] == [3, 5, 9]
    silence.restart(300)
    silence.heard_at = 301
    silence.judge(302)
    assert limit(400) == 3


def test_nothing_is_expected_of_a_broker_that_does_not_read(silence: Silence) -> None:
    silence.judge(6)
    silence.restart(7)
    assert [silence.judge(now) for now in (9, 12, 12.5)] == ["wait", "wait", "ask"]
