"""What a writer writes: a task or an event. Pure values; each has its id before any server was asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be done once by a consumer that has a handler for `type`.

    `payload` is anything that json.dumps takes, at most 1 MiB as JSON text. `headers` travel with the message that
    announces the task, such as traceparent. Submitting the same `id` twice is refused, so repeating a transaction
    whose outcome is unknown is safe.
    """

    type: str
    payload: object = field(default_factory=dict)
    max_attempts: int = 5
    headers: Mapping[str, object] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something that happened to an aggregate, to be published under `id` as its message id.

    `aggregate_version` grows with every event of one aggregate: consumers drop what is not newer than what they
    have. `payload` is anything that json.dumps takes, at most 1 MiB as JSON text. `exchange` and `routing_key`
    override the relay's, each at most 255 bytes.
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
