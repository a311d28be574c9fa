"""The check of every benchmark: a figure is valid only if every committed event arrived. Pure."""

from collections.abc import Iterable, Sequence

from outboxkit.errors import Problem


def duplicates(committed: Iterable[str], arrived: Sequence[str]) -> int:
    """Return how many arrivals were duplicates; raises Problem when an event is missing or was never committed."""
    expected, found = set(committed), set(arrived)
    if missing := len(expected - found):
        raise Problem(
            f"{missing} of {len(expected)} committed events did not arrive",
            remedy="the figures are not valid: find out why they were lost",
        )
    if strange := len(found - expected):
        raise Problem(f"{strange} messages arrived that were never committed", remedy="find out what publishes them")
    return len(arrived) - len(found)
