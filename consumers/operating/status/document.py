"""The answer of `consumers status`, and whether it is bad. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

_LATE = 60.0
"""For how many seconds a lease may be over, or a scheduled task due, before it is said that nobody attends to it."""
_OPEN = ("scheduled", "pending", "running", "cancelling")
_STUCK = 300.0
"""For how many seconds a task may be pending while the queue is empty."""


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One queue: messages ready for delivery, and consumers; None when the queue does not exist or is forbidden."""

    name: str
    ready: int | None
    consumers: int | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The task that has been pending for longest."""

    id: UUID
    type: str
    since: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Running:
    """A claim, with its lease."""

    id: UUID
    type: str
    status: str
    attempts: int
    claimed_by: str
    seconds: float
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Due:
    """The scheduled task that is due next."""

    id: UUID
    type: str
    run_at: datetime
    seconds: float
    """Until it is due; negative if that is over."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many tasks are in each status; those of `estimated` are no exact numbers."""

    tasks: dict[str, int]
    estimated: Sequence[str]
    types: dict[str, dict[str, int]]
    """By status and type; of an estimated status, not all are counted."""


@dataclass(frozen=True, slots=True)
class Status:
    """What both servers said."""

    counted: Counted
    oldest_pending: Waiting | None
    running: Sequence[Running]
    lease_over: float | None
    """For how many seconds the oldest lease has been over; negative if it is not."""
    completed_per_minute: float
    due_next: Due | None
    queue: QueueDepth
    dead_letter_queue: QueueDepth
    events_queue: QueueDepth | None = None
    """None without CONSUMERS_EVENTS_QUEUE."""
    events_dead_letter_queue: QueueDepth | None = None

    @property
    def bad(self) -> str | None:
        """Why tasks are not taken or not attended to; None if they are."""
        return next(self._reasons(), None)

    def _reasons(self) -> Iterator[str]:
        jobs = "at least one consumer needs CONSUMERS_SCHEDULER=lock or leader"
        # Where events are handled, there may be no handler for tasks, and no queue for them.
        tasks_wait = self.events_queue is None or any(self.counted.tasks.get(each) for each in _OPEN)
        for queue in (self.queue if tasks_wait else None, self.events_queue):
            if queue is not None and queue.ready is None:
                yield f"queue {queue.name!r} does not exist, or its reading is forbidden"
            elif queue is not None and not queue.consumers:
                yield f"no consumer reads queue {queue.name!r}"
        if self.lease_over is not None and self.lease_over > _LATE:
            yield (
                f"a claim's lease ended {self.lease_over:.0f} s ago and nobody released the task: {jobs}, "
                "or an open transaction has locked its row"
            )
        if self.due_next is not None and -self.due_next.seconds > _LATE:
            yield f"task {self.due_next.id} was due {-self.due_next.seconds:.0f} s ago and is still scheduled: {jobs}"
        oldest = self.oldest_pending
        if oldest is not None and oldest.seconds > _STUCK and self.queue.ready == 0:
            yield (
                f"task {oldest.id} has been pending for {oldest.seconds:.0f} s and queue {self.queue.name!r} is empty: "
                "`relay status` says whether its message was published; see docs/tasks.md"
            )

    def as_json(self) -> dict[str, object]:
        """Return the status as `consumers status --json` prints it."""
        return {
            "ok": self.bad is None,
            "bad": self.bad,
            **asdict(self.counted),
            "oldest_pending": self.oldest_pending and asdict(self.oldest_pending),
            "running": [asdict(each) for each in self.running],
            "completed_per_minute": round(self.completed_per_minute, 1),
            "due_next": self.due_next and asdict(self.due_next),
            "queue": asdict(self.queue),
            "dead_letter_queue": asdict(self.dead_letter_queue),
            "events_queue": self.events_queue and asdict(self.events_queue),
            "events_dead_letter_queue": self.events_dead_letter_queue and asdict(self.events_dead_letter_queue),
        }
