"""What follows a failed attempt: another one after a while, or none. Pure: it reads no clock and executes nothing.

A handler only raises. The policy of its type decides, and whoever writes the outcome executes the decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from consumers.durations import Duration, seconds


class Retry(Exception):  # noqa: N818 - a wish of the handler, and no error of it
    """Raised by a handler: try again after `after` (seconds, or "5m"), if attempts are left; its text is stored."""

    def __init__(self, reason: str = "the handler asked for another attempt", *, after: Duration) -> None:
        super().__init__(reason)
        self.after = seconds(after)


class Permanent(Exception):  # noqa: N818 - the same
    """Raised by a handler: another attempt would fail too. The task is dead at once."""


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt after so many seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class Never:
    """No other attempt: the task is dead."""


Decision: TypeAlias = Again | Never


@dataclass(frozen=True, slots=True)
class Policy:
    """How often a task of a type is tried, and how long it waits between two attempts."""

    attempts: int | None
    """How often at most; the task's own max_attempts counts too, and the smaller one decides."""
    base: float
    """Seconds before the second attempt."""
    factor: float
    """How many times longer each further wait is."""
    cap: float
    """Seconds that no wait exceeds."""
    jitter: float
    """Which part of each wait is random, 0 to 1: also at the cap, so that tasks which failed together spread."""
    permanent: tuple[type[BaseException], ...] = ()
    """Exceptions after which another attempt would fail too."""

    def decide(self, error: BaseException, *, attempt: int, max_attempts: int, random: float) -> Decision:
        """Return what follows `attempt`, which failed by `error`; `random` is a number from 0 to 1."""
        last = max_attempts if self.attempts is None else min(self.attempts, max_attempts)
        if attempt >= last or isinstance(error, (Permanent, *self.permanent)):
            return Never()
        if isinstance(error, Retry):
            return Again(error.after)
        return Again(self.wait(attempt, random))

    def wait(self, attempt: int, random: float) -> float:
        """Return how many seconds the task waits after `attempt`: at most the cap, and less by the jitter."""
        try:
            full = min(self.cap, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            full = self.cap
        return full * (1 - self.jitter * random)


class RetryPolicy:
    """What a type's policy has of its own; the rest is as the settings CONSUMERS_RETRY_* say.

        @task("charge", retry=RetryPolicy(attempts=10, base="30 s", cap="1h", permanent=[CardRefused]))

    Raises ValueError if a value cannot be.
    """

    def __init__(  # noqa: PLR0913 - all are options
        self,
        *,
        attempts: int | None = None,
        base: Duration | None = None,
        factor: float | None = None,
        cap: Duration | None = None,
        jitter: float | None = None,
        permanent: "list[type[BaseException]] | tuple[type[BaseException], ...]" = (),
    ) -> None:
        if attempts is not None and attempts < 1:
            raise ValueError(f"attempts is {attempts}; a task is tried at least once")
        if factor is not None and not factor >= 1:
            raise ValueError(f"factor is {factor}; write a number from 1 on")
        if jitter is not None and not 0 <= jitter <= 1:
            raise ValueError(f"jitter is {jitter}; write a number from 0 to 1")
        for each in permanent:
            if not issubclass(each, BaseException):
                raise ValueError(f"permanent has {each!r}, which is no class of exceptions")  # noqa: TRY004 - a value
        own = {
            "attempts": attempts,
            "base": None if base is None else seconds(base),
            "factor": factor,
            "cap": None if cap is None else seconds(cap),
            "jitter": jitter,
            "permanent": tuple(permanent) or None,
        }
        self._own: Mapping[str, Any] = MappingProxyType({k: v for k, v in own.items() if v is not None})

    def over(self, settings: Policy) -> Policy:
        """Return the policy that has this one's values, and those of `settings` for the rest."""
        return replace(settings, **self._own)
