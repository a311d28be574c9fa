"""What the consumer of a run has noted so far, read from its file while it writes on."""

import time
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from bench.compare.run.judging import Arrival
from sandbox.machine.waiting import until

_FIELDS = {3, 4}
_EVERY = 0.1
_BYTES = 1_000_000
"""That are read at a time: a large transaction has a hundred times as many."""


class Awaited(NamedTuple):
    """What has come of the events that were waited for."""

    arrivals: list[Arrival]
    unfinished: bool
    """Whether the time was over while others still came: what is not there is late, and need not be lost."""


class Arrived:
    """Reads the lines of bench.compare.load.consuming, each once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._arrivals: list[Arrival] = []

    def begun(self) -> bool:
        """Return whether the queue is consumed."""
        return self._path.exists() and self._path.stat().st_size > 0

    def forget(self) -> None:
        """Forget what has come so far: what follows is another part of the run."""
        self._read()
        self._arrivals = []

    def count(self) -> int:
        """Return how many have come so far."""
        self._read()
        return len(self._arrivals)

    def until(self, expected: Collection[str], *, patience: float, at_most: float) -> Awaited:
        """Return the arrivals once all of `expected` are there, or nothing has come for `patience` seconds.

        After `at_most` seconds, what has come so far is returned as unfinished.
        """
        missing = set(expected)
        began = moved = time.monotonic()
        read, unfinished = 0, False

        def done() -> bool:
            nonlocal moved, read, unfinished
            self._read()
            missing.difference_update([arrival.id for arrival in self._arrivals[read:]])
            now = time.monotonic()
            if len(self._arrivals) > read:
                moved, read = now, len(self._arrivals)
            silent = now - moved > patience
            unfinished = bool(missing) and not silent and now - began > at_most
            return not missing or silent or unfinished

        until(done, what="everything has arrived", seconds=float("inf"), every=_EVERY)
        return Awaited(list(self._arrivals), unfinished)

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while text := file.read(_BYTES):
                whole = text[: text.rfind(b"\n") + 1]  # a line that is being written is read next time
                self._offset += len(whole)
                self._arrivals += parse(whole.decode("ascii"))
                if not whole:
                    break
                file.seek(self._offset)


def parse(text: str) -> list[Arrival]:
    """Read lines `id arrived applied`, some with a message id of their own; other lines are none of them. Pure."""
    lines = (line.split() for line in text.splitlines())
    return [Arrival(each[0], _seconds(each[1]), _seconds(each[2]), *each[3:]) for each in lines if len(each) in _FIELDS]


@lru_cache(maxsize=2)
def _seconds(text: str) -> float:
    """Return a number; what was received together has one object for it, since there may be a million."""
    return float(text)
