"""The oracle of every benchmark: a figure counts only if every committed event arrived. Pure."""

from collections.abc import Iterable, Sequence

from outboxkit.errors import Problem


def duplicates(committed: Iterable[str], arrived: Sequence[str]) -> int:
    """Return how many arrivals were repetitions; raises Problem when an event is missing or was never committed."""
    expected, found = set(committed), set(arrived)
    if missing := len(expected - found):
        raise Problem(
            f"{missing} of {len(expected)} committed events did not arrive",
            remedy="the figure would be worth nothing: find out why they were lost",
        )
    if strange := len(found - expected):
        raise Problem(f"{strange} messages arrived that nobody committed", remedy="find out who publishes them")
    return len(arrived) - len(found)
