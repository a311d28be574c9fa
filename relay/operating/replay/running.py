"""Runs a job: the engine of the relay, with a source that ends, and a connection to RabbitMQ of its own."""

from collections.abc import Callable
from dataclasses import dataclass

from outboxkit.process.service import Stop
from relay.core.replay import Job
from relay.settings import RelaySettings


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of a job has ended."""

    finished: bool
    """Else it was interrupted, and can be resumed."""
    confirmed: int
    parked: int


async def run(fresh: Callable[[], RelaySettings], job: Job, stop: Stop, seen: Callable[[int, int], None]) -> Outcome:
    """Publish the events of `job` until it has ended, or `stop` is set; raises a Problem for one that has failed.

    `seen` is called with how many events this run has confirmed and parked, whenever that changes.
    """
    raise NotImplementedError
