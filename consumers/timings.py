"""How long the consumer waits for what, in seconds, as one value that is passed in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """The defaults are those of `consumers run`."""

    abandoning: float = 5.0
    """How long it may take to give back the tasks of handlers that did not end in time."""
    giving_back: float = 2.0
    """How long that may take after a second signal."""
    forced_end: float = 5.0
    """How long threads that handlers have left may keep the process after its end."""
    cancelled_interval: float = 1.0
    """After which time it is looked at again whether tasks that run were asked to stop."""
    pace_interval: float = 0.1
    """After which time it is looked at again how long handlers take."""
    overdue_interval: float = 0.1
    """After which time it is looked at again whether handlers have run for too long."""
    again_interval: float = 0.1
    """After which time a task that could not be seen, or whose row another transaction locked, is tried again. A commit
    that the WAL shows is visible within a moment, unless a synchronous standby is slow or gone."""
    again_at_first: float = 0.01
    """The same for an outcome that finds its row locked for the first time: the consumer's own extension of leases may
    have locked it, which takes a moment."""
    locked_told: float = 10.0
    """After which time it is said that deliveries or outcomes wait for such rows, and said again."""
    unseen_limit: float = 10.0
    """After which time the delivery of a task that could not be seen is dead-lettered."""
    lease_again: float = 1.0
    """After which time leases are extended again whose rows were locked when the others were extended."""
    extensions_per_lease: int = 3
    """How many times a lease is extended before it would expire."""
