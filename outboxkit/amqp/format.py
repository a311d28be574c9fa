"""The message format that relay and consumers share: names of headers, and a task read from them. Pure."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from uuid import UUID

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
PERSISTENT: Final = 2  # delivery mode, https://www.rabbitmq.com/docs/publishers#message-properties


class HeaderNames(NamedTuple):
    """The names of the headers that every message has."""

    aggregate_type: str = "aggregate_type"
    aggregate_id: str = "aggregate_id"
    aggregate_version: str = "aggregate_version"
    seq: str = "seq"


NAMES = HeaderNames()
OURS = frozenset(NAMES)
"""The headers of every message; a row cannot override them."""
ALPHANUMERIC = HeaderNames("aggregatetype", "aggregateid", "aggregateversion")
"""The same for consumers that know only letters and digits in a name."""

_MAX_VERSION = 2**63 - 1  # of a bigint: one message must not make the statement of a whole batch fail

# As Postgres prints a uuid (https://www.postgresql.org/docs/current/datatype-uuid.html).
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}").fullmatch

PROBE = "x-probe"  # a header: the message is none of a task, but goes the same way
REPLAY = "x-replay"  # a header: the number of the job that published the message again
REPLAY_ALPHANUMERIC = "xreplay"  # the same for consumers that know only letters and digits in a name
ROUTING_KEY = "x-routing-key"  # a header of what was moved back to a queue of events: the key that it had first
TASK_PENDING = "task.pending"  # the routing key of a task that waits for a consumer


class UndecodableMessage(ValueError):  # noqa: N818 - a property of the message
    """The message does not follow the format; trying again does not help."""


class TaskReference(NamedTuple):
    """What the message of a pending task carries: the task's id, in Postgres' form of a uuid, and its version."""

    task_id: str
    version: int


def task_reference(headers: Mapping[str, object] | None) -> TaskReference:
    """Read the task from a message's headers; raises UndecodableMessage when they do not name one."""
    headers = headers or {}
    task_id, version = headers.get(NAMES.aggregate_id), headers.get(NAMES.aggregate_version)
    if (
        headers.get(NAMES.aggregate_type) == "task"
        and version.__class__ is int
        and 1 <= version <= _MAX_VERSION
        and task_id.__class__ is str
        and _UUID(task_id)
    ):
        return TaskReference(task_id, version)
    return _other_reference(headers)


def _other_reference(headers: Mapping[str, object]) -> TaskReference:
    """Read what is not as a relay with its defaults writes it, or say what is wrong."""
    plain = NAMES.aggregate_type in headers or ALPHANUMERIC.aggregate_type not in headers
    of = NAMES if plain else ALPHANUMERIC
    kind, task_id, version = (headers.get(name) for name in (of.aggregate_type, of.aggregate_id, of.aggregate_version))
    if kind != "task":
        raise UndecodableMessage(f"header {of.aggregate_type} is {kind!r}, not 'task'")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= _MAX_VERSION:
        raise UndecodableMessage(f"header {of.aggregate_version} is {version!r}, not a positive bigint")
    try:
        return TaskReference(str(UUID(str(task_id))), version)
    except ValueError as error:
        raise UndecodableMessage(f"header {of.aggregate_id} is {task_id!r}, not a uuid") from error
