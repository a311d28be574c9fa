"""A set of transaction ids, kept as ranges: a busy stream reads thousands in a row. Pure.

Its text is that of Postgres' int8multirange, `{[5,8),[10,11)}`
(https://www.postgresql.org/docs/current/rangetypes.html).
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Self

from relay.core.position import Snapshot

_MULTIRANGE = re.compile(r"\{(?:\[\d+,\d+\)(?:,\[\d+,\d+\))*)?\}")
_RANGE = re.compile(r"\[(\d+),(\d+)\)")


class Transactions:
    """Transaction ids, 64 bits wide. Ids that come in order cost constant time, and those in a row constant memory."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """Contain `ranges`, which are in order and apart: of each the first id, and the first behind it."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self._starts.append(start)
            self._ends.append(end)

    @classmethod
    def of(cls, ids: Iterable[int]) -> Self:
        """Return the set of `ids`, in any order."""
        found = cls()
        for each in ids:
            found.add(each)
        return found

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read Postgres' form; raises ValueError for anything else."""
        if _MULTIRANGE.fullmatch(text) is None:
            raise ValueError(f"{text!r} is not a set of transactions; one looks like {{[5,8),[10,11)}}")
        return cls((int(start), int(end)) for start, end in _RANGE.findall(text))

    def add(self, transaction: int) -> None:
        """Add one id."""
        starts, ends = self._starts, self._ends
        at = bisect_right(starts, transaction)
        if at and transaction < ends[at - 1]:
            return
        follows = bool(at) and ends[at - 1] == transaction
        precedes = at < len(starts) and starts[at] == transaction + 1
        if follows and precedes:
            ends[at - 1] = ends[at]
            del starts[at], ends[at]
        elif follows:
            ends[at - 1] += 1
        elif precedes:
            starts[at] -= 1
        else:
            starts.insert(at, transaction)
            ends.insert(at, transaction + 1)

    def unseen(self, snapshot: Snapshot) -> Self:
        """Return those that `snapshot` does not see."""
        left = type(self).of(each for each in snapshot.running if each in self)
        for start, end in self.ranges():
            if end > snapshot.xmax:
                left.append(max(start, snapshot.xmax), end)
        return left

    def append(self, start: int, end: int) -> None:
        """Add a range behind all others."""
        if self._ends and self._ends[-1] == start:
            self._ends[-1] = end
        else:
            self._starts.append(start)
            self._ends.append(end)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the ranges, as the constructor takes them."""
        return zip(self._starts, self._ends, strict=True)

    def __contains__(self, transaction: object) -> bool:
        if not isinstance(transaction, int):
            return False
        at = bisect_right(self._starts, transaction)
        return bool(at) and transaction < self._ends[at - 1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transactions) and [*self.ranges()] == [*other.ranges()]

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __len__(self) -> int:
        """Return how many ranges there are: what it costs in memory and text."""
        return len(self._starts)

    def __str__(self) -> str:
        return "{" + ",".join(f"[{start},{end})" for start, end in self.ranges()) + "}"

    def __repr__(self) -> str:
        return f"Transactions({self})"
