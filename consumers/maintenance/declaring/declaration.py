"""A scheduled job as it was declared, and what its function may ask about a run. Pure."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from consumers.durations import Duration

Function: TypeAlias = Callable[..., Awaitable[object] | object]


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a job may ask about its run."""

    name: str
    epoch: int
    """Greater at each run: store it with what the job writes, and refuse writes with a smaller one."""
    locked_until: datetime
    """Until when no other consumer runs the job, by the database's clock."""
    log: Any = field(repr=False)
    """A logger that names the job and the epoch."""


@dataclass(frozen=True, slots=True)
class Job:
    """One of `every` and `cron` is set; a name of a setting in it is looked up when the consumer starts."""

    name: str
    function: Function
    every: Duration | None = None
    cron: str | None = None
    time_zone: str | None = None
    at_most: float | None = None
    at_least: float | None = None
    initial_delay: Duration = 0

    @property
    def is_async(self) -> bool:
        """Whether it runs on the loop, and not in a thread."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def takes_context(self) -> bool:
        """Whether the function takes a JobContext; raises TypeError if it needs more than that."""
        try:
            inspect.signature(self.function).bind()
        except TypeError:
            inspect.signature(self.function).bind(None)
            return True
        return False
