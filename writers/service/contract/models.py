"""What requests and answers hold, as OpenAPI shows it.

Requests are validated here. Answers are only described: their text is made from the rows (shown.py).
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from outboxkit.amqp.format import PROBE

JsonObject: TypeAlias = dict[str, Any]

Status: TypeAlias = Literal["scheduled", "pending", "running", "completed", "failed", "dead", "cancelling", "cancelled"]
MOST_PER_PAGE = 500
MOST_BYTES_PER_PAGE = 4_194_304
"""Of payloads, results and errors; a page has one task in any case."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _rfc3339(value: object) -> object:
    """Refuse what pydantic takes for a time beyond RFC 3339, such as a number of seconds."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("write a time with its zone, such as 2030-01-01T12:00:00Z; in a URL, + is written %2B")
    return value


def _utc(value: datetime) -> datetime:
    """Return the same moment in UTC: Postgres takes fewer zones than Python."""
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("it is outside of the years 1 to 9999 in UTC") from error


def _no_probe(headers: JsonObject) -> JsonObject:
    """Refuse the header by which consumers know a probe: they would not run the task of such a message."""
    if PROBE in headers:
        raise ValueError(f"{PROBE!r} is a header of the consumers' own messages: give it another name")
    return headers


# Postgres' text and jsonb hold no U+0000.
Text = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
Moment = Annotated[AwareDatetime, BeforeValidator(_rfc3339), AfterValidator(_utc)]
Missing = SkipJsonSchema[None]
"""A header may be left out; null, as OpenAPI would have it, is not what then stands there."""
Headers = Annotated[JsonObject, AfterValidator(_no_probe)]
Payload = Annotated[Any, Field(description="Any JSON, at most 1 MiB. Numbers keep all their digits.")]

_TASK: JsonDict = {
    "id": "6d8f5e0c-1c5b-4d0e-9a39-0a6d1b2f7c11",
    "type": "greet",
    "payload": {"name": "Ada"},
    "status": "pending",
    "version": 1,
    "attempts": 0,
    "max_attempts": 3,
    "run_at": "2030-01-01T12:00:00.000000+00:00",
    "lease_until": None,
    "claimed_by": None,
    "last_error": None,
    "result": None,
    "created_at": "2030-01-01T12:00:00.000000+00:00",
    "updated_at": "2030-01-01T12:00:00.000000+00:00",
    "locked_by": None,
}
_CHANGE: JsonDict = {
    "version": 1,
    "dropped": 0,
    "from_status": None,
    "to_status": "pending",
    "at": "2030-01-01T12:00:00.000000+00:00",
    "by_whom": "outbox_service",
    "error": None,
}


class NewTaskBody(BaseModel):
    """A task to be done once, by a consumer that has a handler for its type."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"type": "greet", "payload": {"name": "Ada"}, "max_attempts": 3},
                {"type": "remind", "payload": {"order": 42}, "run_at": "2030-01-01T12:00:00Z"},
            ]
        },
    )

    type: Text
    payload: Payload = Field(default_factory=dict)
    run_at: Moment | None = Field(None, description="When it is due, with a time zone; at once if it is missing.")
    max_attempts: int = Field(5, ge=1, le=2_147_483_647, strict=True)
    headers: Headers = Field(
        default_factory=dict,
        description="They travel with the message that announces the task; one that is due later has none. "
        "The request's traceparent is added, unless it is here.",
    )


class NewEventBody(BaseModel):
    """Something that happened to an aggregate."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "aggregate_type": "order",
                    "aggregate_id": "42",
                    "aggregate_version": 7,
                    "event_type": "paid",
                    "payload": {"total": 120},
                }
            ]
        },
    )

    aggregate_type: Text
    aggregate_id: Text
    aggregate_version: int = Field(
        ge=1, le=9_223_372_036_854_775_807, strict=True, description="It grows with every event of one aggregate."
    )
    event_type: Text
    payload: Payload = Field(default_factory=dict)
    headers: Headers = Field(default_factory=dict, description="The request's traceparent is added, unless it is here.")
    exchange: Text | None = Field(None, description="Instead of the relay's.")
    routing_key: Text | None = Field(None, description="Instead of the relay's.")
    id: UUID | None = Field(
        None,
        description="The event's id; a new one if it is missing. A request that is repeated with its id has the same "
        "answer, and consumers apply the event once.",
    )


class Rescheduling(BaseModel):
    """To which time a task is moved."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"run_at": "2030-01-01T12:00:00Z"}]})

    run_at: Moment


class Filter(BaseModel):
    """Which tasks a list has."""

    model_config = ConfigDict(extra="forbid")

    status: list[Status] | None = Field(None, description="Only these; repeatable.")
    type: Text | None = Field(None, description="Only this type.")
    created_after: Moment | None = Field(None, description="Not before this time.")
    created_before: Moment | None = Field(None, description="Before this time.")
    limit: int = Field(50, ge=1, le=MOST_PER_PAGE)
    cursor: str | None = Field(None, max_length=200, description="Where the last page ended: its `next`.")


class Holder(BaseModel):
    """The instance that has a task's row locked at this moment (only in the locking demo)."""

    instance: str
    since: datetime | None = Field(description="null if that session is of a role about which the service may not ask.")


class TaskState(BaseModel):
    """A task's state, without what it is about."""

    id: UUID
    status: Status
    version: int


class TaskBody(TaskState):
    """A task as its row is now."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TASK]})

    type: str
    payload: Any
    attempts: int
    max_attempts: int
    run_at: datetime
    lease_until: datetime | None
    claimed_by: str | None
    last_error: str | None
    result: Any
    created_at: datetime
    updated_at: datetime
    locked_by: Holder | None


class Change(BaseModel):
    """One transition of a task."""

    version: int
    dropped: int = Field(description="How many transitions before this one are no longer kept.")
    from_status: Status | None
    to_status: Status
    at: datetime
    by_whom: str
    error: str | None


class TaskWithHistory(TaskBody):
    """A task and its transitions, the first one first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_TASK, "history": [_CHANGE]}]})

    history: list[Change]


class Page(BaseModel):
    """Tasks, the newest first; the header Link has the next page."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tasks": [_TASK], "next": None}]})

    tasks: list[TaskBody]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


class EventBody(BaseModel):
    """An event that was written."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": _TASK["id"]}]})

    id: UUID


class Wrong(BaseModel):
    """A field or parameter that is wrong."""

    where: str
    what: str


class ProblemBody(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    task: TaskState | None = Field(None, description="How the task is now; with 409 and 412.")
    errors: list[Wrong] | None = Field(None, description="Each that is wrong; with 422 `invalid`.")
