"""What is found of what was asked: a range and its count; or that no source has all of it. Pure."""

from dataclasses import dataclass
from datetime import datetime

from outboxkit.errors import Problem
from relay.core.replay import Range


class NotKept(Problem):
    """A source does not have all of the range. `remedy` names the oldest position that it has."""


@dataclass(frozen=True, slots=True)
class Found:
    """A range, and what is printed of it before it is used."""

    range: Range
    begin: str
    """The position that it begins with, as text."""
    end: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many events a replay publishes, and when they were created, as their table has it; None if unknown."""

    events: int
    first: datetime | int | None
    last: datetime | int | None
