"""How long an event that cannot be applied is tried again. Pure.

All delays together stay well below RabbitMQ's consumer_timeout, 30 minutes by default: after that it would close the
channel and deliver everything again (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout).
"""

from dataclasses import dataclass

from outboxkit.backoff import Backoff

MOST_SECONDS = 1200.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits for one event and one handler."""

    attempts: int = 6
    """How many times a handler that raises is called."""
    first: float = 0.5
    """After how many seconds it is called again; each further delay is twice as long."""
    cap: float = 30.0
    """The longest delay, in seconds."""
    gap: float = 10.0
    """For how many seconds an event waits for one before it."""
    look_again: float = 0.5
    """After which time it is looked whether that one was applied by another consumer."""

    def backoff(self) -> Backoff:
        """Return the delays of one event."""
        return Backoff(base=self.first, cap=self.cap)

    @property
    def longest(self) -> float:
        """How long an event is tried at most, without the time that its handler takes."""
        return sum(min(self.cap, self.first * 2.0 ** min(failure, 60)) for failure in range(self.attempts - 1))
