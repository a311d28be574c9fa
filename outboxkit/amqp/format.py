"""The message format that relay and consumers share: names of headers, and a task read from them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
PERSISTENT: Final = 2  # delivery mode, https://www.rabbitmq.com/docs/publishers#message-properties

AGGREGATE_TYPE = "aggregate_type"
AGGREGATE_ID = "aggregate_id"
AGGREGATE_VERSION = "aggregate_version"
SEQ = "seq"
OURS = frozenset({AGGREGATE_TYPE, AGGREGATE_ID, AGGREGATE_VERSION, SEQ})
"""The headers of every message; a row cannot override them."""

_MAX_VERSION = 2**63 - 1  # of a bigint: one message must not make the statement of a whole batch fail

TASK_PENDING = "task.pending"  # the routing key of a task that waits for a consumer


class UndecodableMessage(ValueError):  # noqa: N818 - a property of the message
    """The message does not follow the format; trying again does not help."""


@dataclass(frozen=True, slots=True)
class TaskReference:
    """What the message of a pending task carries: the task's id and version."""

    task_id: UUID
    version: int


def task_reference(headers: Mapping[str, object] | None) -> TaskReference:
    """Read the task from a message's headers; raises UndecodableMessage when they do not name one."""
    headers = headers or {}
    kind, task_id, version = (headers.get(name) for name in (AGGREGATE_TYPE, AGGREGATE_ID, AGGREGATE_VERSION))
    if kind != "task":
        raise UndecodableMessage(f"header {AGGREGATE_TYPE} is {kind!r}, not 'task'")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= _MAX_VERSION:
        raise UndecodableMessage(f"header {AGGREGATE_VERSION} is {version!r}, not a positive bigint")
    try:
        return TaskReference(UUID(str(task_id)), version)
    except ValueError as error:
        raise UndecodableMessage(f"header {AGGREGATE_ID} is {task_id!r}, not a uuid") from error
