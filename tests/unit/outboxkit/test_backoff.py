"""Backoff: delays double up to a cap and are spread there, so that processes do not return all at once."""

from random import Random

from hypothesis import given
from hypothesis import strategies as some

from outboxkit.backoff import Backoff

bases = some.floats(min_value=0.001, max_value=10)
caps = some.floats(min_value=10, max_value=1000)
seeds = some.integers()


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - a test's dice


@given(base=bases, cap=caps, seed=seeds, failures=some.integers(min_value=1, max_value=200))
def test_each_delay_lies_in_the_upper_half_of_its_doubling_step(
    base: float, cap: float, seed: int, failures: int
) -> None:
    backoff = Backoff(base=base, cap=cap, random=seeded(seed))
    for failure in range(failures):
        step = min(cap, base * 2.0**failure)
        assert step / 2 <= backoff.next_delay() <= step


@given(base=bases, cap=caps, seed=seeds, failures=some.integers(min_value=0, max_value=100))
def test_after_a_success_it_starts_again(base: float, cap: float, seed: int, failures: int) -> None:
    backoff = Backoff(base=base, cap=cap, random=seeded(seed))
    for _ in range(failures):
        backoff.next_delay()
    backoff.reset()
    assert base / 2 <= backoff.next_delay() <= base


@given(seed=seeds)
def test_the_same_seed_gives_the_same_delays(seed: int) -> None:
    one, other = Backoff(random=seeded(seed)), Backoff(random=seeded(seed))
    assert [one.next_delay() for _ in range(20)] == [other.next_delay() for _ in range(20)]


def test_at_the_cap_many_processes_stay_spread() -> None:
    herd = [Backoff(base=1, cap=10, random=seeded(seed)) for seed in range(1000)]
    rounds = [[backoff.next_delay() for backoff in herd] for _ in range(50)]
    half_seconds = {int(delay * 2) for delay in rounds[-1]}
    assert half_seconds == set(range(10, 20)), "every half second from 5 s to 10 s has its share"


def test_any_number_of_failures_does_not_overflow() -> None:
    backoff = Backoff(base=0.1, cap=10)
    assert all(backoff.next_delay() <= 10 for _ in range(5000))
