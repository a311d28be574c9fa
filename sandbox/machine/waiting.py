"""Waits for a condition that cannot be awaited, by checking it again and again until a timeout."""

import time
from collections.abc import Callable
from typing import TypeVar

from outboxkit.errors import Problem

T = TypeVar("T")


def until(condition: Callable[[], T | None], *, what: str, seconds: float, every: float = 0.05) -> T:
    """Return the first true answer of `condition`, checked every `every` seconds; raises Problem after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise Problem(f"timed out after {seconds:g} s, waiting until {what}", remedy="see its log")
        time.sleep(every)
    return answer
