"""The one way to wait for something that cannot be awaited: ask again until it is so, or give up loudly."""

import time
from collections.abc import Callable
from typing import TypeVar

from outboxkit.errors import Problem

T = TypeVar("T")


def until(condition: Callable[[], T], *, what: str, seconds: float, every: float = 0.05) -> T:
    """Return the first true answer of `condition`, asked every `every` seconds; raises Problem after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise Problem(f"{what}: not so after {seconds:g} s", remedy="look at its log")
        time.sleep(every)
    return answer
