"""Whether the versions of each aggregate came in their order, and what came twice. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """What is seen in a sequence of aggregates and versions."""

    first: int
    """How many versions came for the first time."""
    again: int
    out_of_order: int
    """How many came for the first time after a later one of their aggregate."""


def seen(versions: Iterable[tuple[str, int]]) -> Order:
    """Look at `versions` in the order in which they came; a repetition is no disorder."""
    came: set[tuple[str, int]] = set()
    highest: dict[str, int] = {}
    again = out_of_order = 0
    for aggregate, version in versions:
        if (aggregate, version) in came:
            again += 1
            continue
        came.add((aggregate, version))
        out_of_order += version < highest.get(aggregate, version)
        highest[aggregate] = max(version, highest.get(aggregate, version))
    return Order(len(came), again, out_of_order)
