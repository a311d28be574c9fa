"""What a writer writes: a task or an event. Pure values; each has its id from the start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid4


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be done once by a consumer that has a handler for `type`.

    `payload` is anything that json.dumps takes, at most 1 MiB as JSON text. `headers` travel with the message that
    announces the task, such as traceparent. The database refuses a second task with the same `id`, so a transaction
    whose outcome is unknown can safely be repeated. A task whose `run_at` is later than now is scheduled: no message
    announces it before; `run_at` must have a time zone.
    """

    type: str
    payload: object = field(default_factory=dict)
    max_attempts: int = 5
    headers: Mapping[str, object] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid4)
    run_at: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a time that is another one on another machine."""
        if self.run_at is not None and self.run_at.tzinfo is None:
            raise ValueError(f"run_at has no time zone: {self.run_at}; pass one such as datetime.now(UTC) + delay")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something that happened to an aggregate; it is published with `id` as its message id.

    `aggregate_version` grows with every event of one aggregate: consumers drop an event that is not newer than the
    last one they applied. `payload` is anything that json.dumps takes, at most 1 MiB as JSON text. `exchange` and
    `routing_key` override the relay's, each at most 255 bytes.
    """

    aggregate_type: str
    aggregate_id: str
    aggregate_version: int
    event_type: str
    payload: object = field(default_factory=dict)
    headers: Mapping[str, object] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid4)
    exchange: str | None = None
    routing_key: str | None = None
