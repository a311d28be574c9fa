"""A task as its handler gets it: what it is, and what the handler may ask and leave behind.

A handler knows nothing of retries, versions or the broker. It does no I/O here: what it publishes and submits is kept,
and written in the transaction that completes the task.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import structlog

from outboxkit.amqp.format import TaskReference

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"


@dataclass(frozen=True, slots=True)
class Left:
    """What a handler leaves: the name of a statement of sql/queries, and its parameters."""

    query: str
    parameters: Mapping[str, object]


@dataclass(slots=True)
class Task:
    """A claimed task."""

    claim: TaskReference = field(repr=False)
    """The task's id as text, and the version that the claim gave it."""
    type: str
    payload: Any = field(repr=False)
    attempt: int
    """1 at the first run."""
    max_attempts: int
    claimed_by: str
    deadline: float | None = field(default=None, compare=False)
    """Until when the handler may run, as `time.monotonic()` counts; None if its type has no timeout."""
    left: list[Left] | None = field(default=None, repr=False, compare=False)
    """What `publish` and `submit` have kept."""
    waited: float = field(default=0.0, repr=False, compare=False)
    """For how many seconds it was pending."""
    stopping: bool = field(default=False, repr=False, compare=False)

    @property
    def id(self) -> UUID:
        """The task's id."""
        return UUID(self.claim.task_id)

    @property
    def version(self) -> int:
        """The claim's own version: the fencing token of the handler's transaction."""
        return self.claim.version

    def cancelled(self) -> bool:
        """Return whether to stop: the task was cancelled, its time is over, or its claim is lost.

        It turns true within about a second. What the handler does after that is in vain: the task does not complete.
        """
        return self.stopping

    @property
    def log(self) -> Any:  # noqa: ANN401 - structlog's own type depends on its configuration
        """A logger that names the task, its type and the attempt."""
        return structlog.get_logger().bind(task=self.claim.task_id, type=self.type, attempt=self.attempt)

    def publish(  # noqa: PLR0913 - the columns of an event
        self,
        aggregate_type: str,
        aggregate_id: str,
        event_type: str,
        payload: JSON,
        *,
        aggregate_version: int | None = None,
        headers: Mapping[str, JSON] | None = None,
        exchange: str | None = None,
        routing_key: str | None = None,
    ) -> UUID:
        """Publish an event if the task completes, in the same transaction; return its id.

        Raises what `json.dumps` does.
        """
        event_id = uuid4()
        self._leave(
            Left(
                "publish_event",
                {
                    "aggregate_type": aggregate_type,
                    "aggregate_id": aggregate_id,
                    "aggregate_version": aggregate_version,
                    "event_type": event_type,
                    "payload": _json(payload),
                    "headers": _json(headers or {}),
                    "id": event_id,
                    "exchange": exchange,
                    "routing_key": routing_key,
                },
            )
        )
        return event_id

    def submit(
        self,
        type_: str,
        payload: JSON = None,
        *,
        run_at: datetime | None = None,
        max_attempts: int = 5,
        headers: Mapping[str, JSON] | None = None,
    ) -> UUID:
        """Submit another task if this one completes, in the same transaction; return its id.

        Raises what `json.dumps` does.
        """
        task_id = uuid4()
        self._leave(
            Left(
                "submit_task",
                {
                    "type": type_,
                    "payload": _json({} if payload is None else payload),
                    "max_attempts": max_attempts,
                    "headers": _json(headers or {}),
                    "id": task_id,
                    "run_at": run_at,
                },
            )
        )
        return task_id

    def _leave(self, left: Left) -> None:
        self.left = [*(self.left or ()), left]


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
