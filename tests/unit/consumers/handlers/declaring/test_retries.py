"""The policy of retries: what follows a failed attempt, for any numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.handlers.declaring.retries import Again, Never, Permanent, Policy, Retry, RetryPolicy
from tests.unit.consumers.executors import POLICY

numbers = st.floats(0, 1)
policies = st.builds(
    Policy,
    attempts=st.none() | st.integers(1, 50),
    base=st.floats(0, 1000),
    factor=st.floats(1, 1000),
    cap=st.floats(0, 100_000),
    jitter=numbers,
)


@given(policies, st.integers(1, 100_000), numbers)
def test_no_wait_is_longer_than_the_cap_and_the_jitter_takes_its_part_at_most(
    policy: Policy, attempt: int, random: float
) -> None:
    wait = policy.wait(attempt, random)
    full = policy.wait(attempt, 0)
    assert 0 <= full * (1 - policy.jitter) <= wait + 1e-9
    assert wait <= full <= policy.cap


def test_each_wait_is_longer_by_the_factor_until_the_cap() -> None:
    assert [POLICY.wait(attempt, 0.5) for attempt in range(1, 10)] == [1, 2, 4, 8, 16, 32, 64, 100, 100]


def test_tasks_that_failed_together_spread_at_the_cap_too() -> None:
    policy = Policy(attempts=None, base=1, factor=2, cap=10, jitter=0.5)
    assert {policy.wait(30, random) for random in (0, 0.5, 1)} == {10, 7.5, 5}


@given(policies, st.integers(1, 60), st.integers(1, 60), numbers)
def test_after_the_last_attempt_there_is_none(policy: Policy, attempt: int, most: int, random: float) -> None:
    last = min(most, policy.attempts or most)
    decision = policy.decide(ValueError(), attempt=attempt, max_attempts=most, random=random)
    assert isinstance(decision, Never if attempt >= last else Again)


def test_permanent_errors_are_not_tried_again() -> None:
    policy = RetryPolicy(permanent=[LookupError]).over(POLICY)

    def after(error: BaseException) -> object:
        return policy.decide(error, attempt=1, max_attempts=5, random=0)

    assert after(KeyError("a subclass")) == Never()
    assert after(Permanent("no such card")) == Never()
    assert after(ValueError()) == Again(1)


def test_a_handler_can_say_when_but_not_how_often() -> None:
    assert POLICY.decide(Retry(after="5m"), attempt=1, max_attempts=2, random=1) == Again(300)
    assert POLICY.decide(Retry(after=7), attempt=2, max_attempts=2, random=1) == Never()
    assert str(Retry("the card's bank is closed", after=1)) == "the card's bank is closed"


def test_what_a_type_does_not_say_is_as_in_the_settings() -> None:
    own = RetryPolicy(attempts=2, base="1h", factor=3, cap="2h", jitter=0.1, permanent=[OSError])
    assert own.over(POLICY) == Policy(2, 3600, 3, 7200, 0.1, (OSError,))
    assert RetryPolicy().over(POLICY) == POLICY
    assert RetryPolicy(jitter=0).over(Policy(3, 5, 2, 9, 0.7)) == Policy(3, 5, 2, 9, 0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"attempts": 0}, "attempts is 0"),
        ({"base": "soon"}, "'soon' is no duration"),
        ({"factor": 0.5}, "factor is 0.5"),
        ({"cap": -1}, "-1 is no duration"),
        ({"jitter": 2}, "jitter is 2"),
        ({"permanent": [int]}, "no class of exceptions"),
    ],
)
def test_a_value_that_cannot_be_is_refused_where_it_is_written(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


def test_a_wish_that_is_no_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="no duration"):
        Retry(after="tomorrow")
