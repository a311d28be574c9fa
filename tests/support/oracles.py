"""What must be true after any fault, judged from records of others. Pure, and independent of the code under test.

1. No loss: every id that a writer's own log says was committed has been applied, or was seen by the tap.
2. Once: the effect table has one row for each of them. It has no unique constraint that could hide a second one.
3. Order: on a queue bound to everything, the first deliveries of an aggregate's events are in version order.
6. Duplicates: how many deliveries were not the first of their message. At least once allows some, up to a bound.

Each returns what breaks it: an empty result is a pass, and a failing test shows the ids.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple


class Effect(NamedTuple):
    """One row of the effect table: the task, and the version of the claim under which it was applied."""

    task: str
    version: int


class Delivery(NamedTuple):
    """One message as the tap received it."""

    message: str
    aggregate_type: str
    aggregate: str
    version: int


def lost(committed: Collection[str], found: Iterable[str]) -> set[str]:
    """Return the ids that were committed and not found."""
    return set(committed) - set(found)


def ghosts(committed: Collection[str], found: Iterable[str]) -> set[str]:
    """Return the ids that were found and never committed."""
    return set(found) - set(committed)


def applied_again(effects: Iterable[Effect]) -> dict[str, list[int]]:
    """Return the tasks with more than one effect, and under which versions."""
    versions: dict[str, list[int]] = {}
    for effect in effects:
        versions.setdefault(effect.task, []).append(effect.version)
    return {task: found for task, found in versions.items() if len(found) > 1}


def out_of_order(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """Return the first deliveries whose version is not above the one before it of the same aggregate."""
    seen: set[str] = set()
    highest: dict[tuple[str, str], int] = {}
    found = []
    for delivery in deliveries:
        if delivery.message in seen:
            continue
        seen.add(delivery.message)
        aggregate = (delivery.aggregate_type, delivery.aggregate)
        if delivery.version <= highest.get(aggregate, 0):
            found.append(delivery)
        highest[aggregate] = max(delivery.version, highest.get(aggregate, 0))
    return found


def duplicates(deliveries: Iterable[Delivery]) -> int:
    """Return how many deliveries were not the first of their message."""
    return sum(count - 1 for count in Counter(delivery.message for delivery in deliveries).values())
