"""Which source a replay reads: the table if it has all of the range, else the WAL that is kept for replays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from outboxkit.errors import Problem
from relay.core.replay import Range
from relay.operating.replay.asked import Begin, End
from relay.settings import RelaySettings


class NotKept(Problem):
    """A source does not have all of the range. `remedy` names the oldest position that it has."""


@dataclass(frozen=True, slots=True)
class Found:
    """A range, and what is printed of it before it is used."""

    range: Range
    lines: Sequence[str]
    """The begin and the end as they were rounded, one line each."""


def choose(connection: psycopg.Connection[Any], settings: RelaySettings, begin: Begin, end: End) -> Found:
    """Return the range from `begin` to `end`; raises NotKept if neither source has all of it."""
    raise NotImplementedError
