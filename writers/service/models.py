"""What requests and answers hold, as OpenAPI shows it."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

JsonObject: TypeAlias = dict[str, Any]

Status: TypeAlias = Literal["scheduled", "pending", "running", "completed", "failed", "dead", "cancelling", "cancelled"]
DEMO_TYPE = "demo.grab"

# Postgres' text and jsonb hold no U+0000.
Text = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]


class NewTaskBody(BaseModel):
    """A task to be done once, by a consumer that has a handler for its type."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"type": "greet", "payload": {"name": "Ada"}, "max_attempts": 3}]},
    )

    type: Text
    payload: Any = Field(default_factory=dict, description="Any JSON, at most 1 MiB.")
    run_at: AwareDatetime | None = Field(None, description="When it is due, with a time zone; now if it is missing.")
    max_attempts: int = Field(5, ge=1, le=2_147_483_647)
    headers: JsonObject = Field(default_factory=dict, description="They travel with the message that announces it.")


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
    aggregate_version: int = Field(ge=1, le=9_223_372_036_854_775_807)
    event_type: Text
    payload: Any = Field(default_factory=dict, description="Any JSON, at most 1 MiB.")
    headers: JsonObject = Field(default_factory=dict)
    exchange: Text | None = None
    routing_key: Text | None = None


class Rescheduling(BaseModel):
    """To which time a task is moved."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"run_at": "2030-01-01T12:00:00Z"}]})

    run_at: AwareDatetime


class Holder(BaseModel):
    """Who has locked a task's row at this moment (only in the locking demo)."""

    instance: str
    since: datetime


class TaskState(BaseModel):
    """A task's state, without what it is about."""

    id: UUID
    status: Status
    version: int


class TaskBody(TaskState):
    """A task as its row is now."""

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
    locked_by: Holder | None = None


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

    history: list[Change]


class Page(BaseModel):
    """Tasks, the newest first; the header Link has the next page."""

    tasks: list[TaskBody]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


class EventBody(BaseModel):
    """An event that was written."""

    id: UUID


class ProblemBody(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
