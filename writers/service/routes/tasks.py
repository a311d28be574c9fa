"""Tasks: submit, look, list, cancel, reschedule."""

import hashlib
import json
import re
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Header, Path, Query, Request, Response
from psycopg.types.json import Jsonb
from pydantic import AwareDatetime

from writers.records import NewTask
from writers.service import paging
from writers.service.database import fetch
from writers.service.models import (
    DEMO_TYPE,
    NewTaskBody,
    Page,
    Rescheduling,
    Status,
    TaskBody,
    TaskWithHistory,
    Text,
)
from writers.service.problems import Answered
from writers.service.requests import trace_headers
from writers.service.routes.serving import Parts, Service, answers
from writers.transaction import submit as write

router = APIRouter(tags=["tasks"])

MOST_PER_PAGE = 500

IfMatch = Annotated[
    str | None,
    Header(description='The ETag of the version that was seen, such as "3"; without it, any version is changed.'),
]
Id = Annotated[UUID, Path(description="The task's id.")]
_ETAG = re.compile(r'"(\d{1,18})"')


@router.post("/tasks", status_code=HTTPStatus.CREATED, responses=answers(409, 413, 422, 503))
async def submit(
    body: NewTaskBody,
    service: Service,
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="The same key and body return the same task."),
    ] = None,
) -> TaskBody:
    """Submit a task: the task and the event that announces it are committed together, or neither is."""
    if body.type == DEMO_TYPE:
        raise Answered(HTTPStatus.UNPROCESSABLE_ENTITY, "refused", f"type {DEMO_TYPE!r} is for POST /create-tasks only")
    headers = body.headers | trace_headers(request)
    task = NewTask(body.type, body.payload, body.max_attempts, headers, uuid4(), body.run_at)
    made = True
    task_id = task.id
    async with service.database.transaction() as session:
        if idempotency_key is None:
            await write(session, task)
        else:
            [once] = await fetch(
                session,
                "service_submit_once",
                {
                    "key": idempotency_key,
                    "digest": _digest(body),
                    "type": task.type,
                    "payload": Jsonb(task.payload),
                    "max_attempts": task.max_attempts,
                    "headers": Jsonb(task.headers),
                    "id": task.id,
                    "run_at": task.run_at,
                },
            )
            if not once["same"]:
                raise Answered(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    "key-reused",
                    "this Idempotency-Key was sent with another body: send a new key, or the same body",
                )
            made, task_id = once["made"], once["task_id"]
        found = await fetch(session, "service_task", {"id": task_id})
    if not found:
        raise Answered(
            HTTPStatus.CONFLICT,
            "state-conflict",
            f"task {task_id} was made by this Idempotency-Key, and has been removed since",
        )
    if made:
        service.metrics.submitted.inc()
    else:
        service.metrics.replayed.inc()
        response.headers["Idempotency-Replayed"] = "true"
    answer = TaskBody(**found[0])
    response.headers["Location"] = f"/tasks/{answer.id}"
    response.headers["ETag"] = _etag(answer.version)
    return answer


@router.get("/tasks", responses=answers(400, 422, 503))
async def list_tasks(  # noqa: PLR0913 - a filter each
    service: Service,
    request: Request,
    response: Response,
    *,
    status: Annotated[list[Status] | None, Query(description="Only these; repeatable.")] = None,
    type: Annotated[Text | None, Query(description="Only this type.")] = None,  # noqa: A002 - the parameter's name
    created_after: Annotated[AwareDatetime | None, Query(description="Not before this time.")] = None,
    created_before: Annotated[AwareDatetime | None, Query(description="Before this time.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_PER_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="Where the last page ended.")] = None,
) -> Page:
    """List tasks, the newest first. The header Link has the next page (RFC 8288)."""
    after = None if cursor is None else paging.decode(cursor)
    rows = await service.database.ask(
        "service_list",
        {
            "before_at": after and after.created_at,
            "before_id": after and after.id,
            "statuses": status,
            "type": type,
            "created_before": created_before,
            "created_after": created_after,
            "limit": limit + 1,
        },
    )
    more, rows = len(rows) > limit, rows[:limit]
    following = paging.encode(paging.Position(rows[-1]["created_at"], rows[-1]["id"])) if more else None
    if following is not None:
        response.headers["Link"] = f'<{request.url.include_query_params(cursor=following)}>; rel="next"'
    held = await _holders(service, rows)
    return Page(tasks=[TaskBody(**row, locked_by=held.get(row["id"])) for row in rows], next=following)


@router.get("/tasks/{task_id}", responses=answers(404, 422, 503))
async def look(task_id: Id, service: Service, response: Response) -> TaskWithHistory:
    """Show one task and its transitions. ETag is its version."""
    async with service.database.transaction() as session:
        found = await fetch(session, "service_task", {"id": task_id})
        history = await fetch(session, "service_history", {"id": task_id})
    if not found:
        raise _no_task(task_id)
    held = await _holders(service, found)
    response.headers["ETag"] = _etag(found[0]["version"])
    return TaskWithHistory(**found[0], locked_by=held.get(task_id), history=history)


@router.post("/tasks/{task_id}/cancel", responses=answers(404, 409, 412, 422, 503))
async def cancel(task_id: Id, service: Service, response: Response, if_match: IfMatch = None) -> TaskBody:
    """Cancel a task. One that runs becomes `cancelling`, and `cancelled` when its handler has ended.

    A task that is cancelled already, or is to stop, is left so and answered with 200, unless If-Match names another
    version.
    """
    return await _change(
        service, response, task_id, "service_cancel", {}, if_match, settled=("cancelling", "cancelled")
    )


@router.post("/tasks/{task_id}/reschedule", responses=answers(404, 409, 412, 422, 503))
async def reschedule(
    task_id: Id, body: Rescheduling, service: Service, response: Response, if_match: IfMatch = None
) -> TaskBody:
    """Move a task that no consumer has claimed to another time."""
    return await _change(service, response, task_id, "service_reschedule", {"run_at": body.run_at}, if_match)


async def _change(  # noqa: PLR0913, PLR0917 - what differs
    service: Parts,
    response: Response,
    task_id: UUID,
    query: Any,  # noqa: ANN401 - a literal
    parameters: dict[str, Any],
    if_match: str | None,
    settled: tuple[str, ...] = (),
) -> TaskBody:
    expected = _expected(if_match)
    async with service.database.transaction() as session:
        [change] = await fetch(session, query, {"id": task_id, "expected": expected, **parameters})
        if change["status"] is None:
            raise _no_task(task_id)
        if not change["changed"]:
            state = {"id": str(task_id), "status": change["status"], "version": change["version"]}
            etag = {"ETag": _etag(change["version"])}
            if expected is not None and change["version"] != expected:
                raise Answered(
                    HTTPStatus.PRECONDITION_FAILED,
                    "version-conflict",
                    f"the task is {change['status']} at version {change['version']}, and If-Match names {expected}: "
                    "look at it again, and decide anew",
                    task=state,
                    headers=etag,
                )
            if change["status"] not in settled:
                raise Answered(
                    HTTPStatus.CONFLICT,
                    "state-conflict",
                    f"the task is {change['status']}, which does not allow this",
                    task=state,
                    headers=etag,
                )
        found = await fetch(session, "service_task", {"id": task_id})
    answer = TaskBody(**found[0])
    response.headers["ETag"] = _etag(answer.version)
    return answer


async def _holders(service: Parts, rows: list[dict[str, Any]]) -> dict[UUID, dict[str, Any]]:
    """Return who holds the rows of the locking demo's tasks at this moment."""
    ids = [row["id"] for row in rows if row["type"] == DEMO_TYPE]
    if not ids:
        return {}
    found = await service.database.ask("service_holders", {"ids": ids})
    return {
        row["task_id"]: {"instance": row["holder"].removeprefix("writers "), "since": row["since"]} for row in found
    }


def _etag(version: int) -> str:
    return f'"{version}"'


def _expected(if_match: str | None) -> int | None:
    """Return the version that If-Match names; `*` is any."""
    if if_match is None or if_match.strip() == "*":
        return None
    named = _ETAG.fullmatch(if_match.strip())
    if named is None:
        raise Answered(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid",
            'If-Match is no ETag of a task: send one such as "3", with its quotes',
        )
    return int(named[1])


def _digest(body: NewTaskBody) -> str:
    """Return what tells two bodies apart: fields that are left out are as their defaults, and their order is free."""
    text = json.dumps(body.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _no_task(task_id: UUID) -> Answered:
    return Answered(HTTPStatus.NOT_FOUND, "not-found", f"there is no task {task_id}")
