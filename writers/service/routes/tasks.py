"""Tasks: submit, look, list, cancel, reschedule."""

from http import HTTPStatus
from typing import Annotated, Any, LiteralString
from urllib.parse import urlencode
from uuid import UUID, uuid4

from fastapi import APIRouter, Header, Path, Query, Request, Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from writers.demo_type import DEMO_TYPE
from writers.service.contract import paging, shown
from writers.service.contract.models import (
    MOST_BYTES_PER_PAGE,
    Filter,
    Missing,
    NewTaskBody,
    Page,
    Rescheduling,
    TaskBody,
    TaskWithHistory,
)
from writers.service.contract.preconditions import expected
from writers.service.contract.problems import Answered
from writers.service.postgres.database import fetch
from writers.service.requests import trace_headers
from writers.service.routes.serving import BodyText, JsonRoute, Parts, Service, answers, headers

router = APIRouter(tags=["tasks"], route_class=JsonRoute)

IfMatch = Annotated[
    str | Missing,
    Header(
        description='The ETag of the version that was seen, such as "3"; without it, any version is changed.',
        json_schema_extra={"pattern": r'^(\*|"[1-9][0-9]{0,17}")$'},
    ),
]
Key = Annotated[
    str | Missing,
    Header(min_length=1, max_length=255, description="The same key and body return the same task."),
]
Id = Annotated[UUID, Path(description="The task's id.")]
_ETAG = headers(ETag="Its version, for If-Match.")
_SUBMITTED = headers(
    ETag="Its version, for If-Match.",
    Location="Where it is.",
    Idempotency_Replayed="`true` if this key had made it before.",
)


@router.post(
    "/tasks",
    status_code=HTTPStatus.CREATED,
    response_model=TaskBody,
    responses={**answers(409, body=True), 201: {"headers": _SUBMITTED}},
)
async def submit(
    body: NewTaskBody, text: BodyText, service: Service, request: Request, idempotency_key: Key = None
) -> Response:
    """Submit a task: the task and the event that announces it are committed together, or neither is."""
    if body.type == DEMO_TYPE:
        raise Answered(HTTPStatus.UNPROCESSABLE_ENTITY, "refused", f"type {DEMO_TYPE!r} is for POST /create-tasks only")
    task: dict[str, Any] = {
        "id": uuid4(),
        "type": body.type,
        "max_attempts": body.max_attempts,
        "run_at": body.run_at,
        "body": text,
        "trace": Jsonb(trace_headers(request)),
    }
    made = True
    task_id = task["id"]
    async with service.database.transaction() as session:
        if idempotency_key is None:
            await fetch(session, "service_submit", task)
        else:
            task_id, made = await _submit_once(session, {**task, "key": idempotency_key})
        found = await fetch(session, "service_task", {"id": task_id})
    (service.metrics.submitted if made else service.metrics.replayed).inc()
    if not found:
        raise Answered(
            HTTPStatus.CONFLICT,
            "state-conflict",
            f"task {task_id} was made by this Idempotency-Key, and has been removed since",
        )
    more = {"Location": f"/tasks/{task_id}"} | ({} if made else {"Idempotency-Replayed": "true"})
    return _task(found[0], HTTPStatus.CREATED, more)


@router.get(
    "/tasks",
    response_model=Page,
    responses={**answers(400, 422), 200: {"headers": headers(Link="The next page, if there is one (RFC 8288).")}},
)
async def list_tasks(service: Service, wanted: Annotated[Filter, Query()]) -> Response:
    """List tasks, the newest first. Tasks that are submitted meanwhile change nothing about the pages that follow.

    A page has fewer than `limit` tasks if their payloads and results are larger than 4 MiB together: follow `next`.
    """
    after = None if wanted.cursor is None else paging.decode(wanted.cursor)
    rows = await service.database.ask(
        "service_list",
        {
            "before_at": after and after.created_at,
            "before_id": after and after.id,
            "statuses": wanted.status,
            "type": wanted.type,
            "created_before": wanted.created_before,
            "created_after": wanted.created_after,
            "limit": wanted.limit,
            "bytes": MOST_BYTES_PER_PAGE,
        },
    )
    more = bool(rows) and rows[0]["found"] > len(rows)
    following = paging.encode(paging.Position(rows[-1]["created_at"], rows[-1]["id"])) if more else None
    link = {"Link": f'<{_page(wanted, following)}>; rel="next"'} if following else {}
    return shown.answer(shown.page(await _with_holders(service, rows), following), link)


@router.get(
    "/tasks/{task_id}", response_model=TaskWithHistory, responses={**answers(404, 422), 200: {"headers": _ETAG}}
)
async def look(task_id: Id, service: Service) -> Response:
    """Show one task and its transitions. ETag is its version."""
    found = await service.database.ask("service_history", {"id": task_id})
    if not found:
        raise _no_task(task_id)
    [text] = await _with_holders(service, found)
    return shown.answer(text, {"ETag": shown.etag(found[0]["version"])})


@router.post(
    "/tasks/{task_id}/cancel",
    response_model=TaskBody,
    responses={**answers(404, 409, 412, 422), 200: {"headers": _ETAG}},
)
async def cancel(task_id: Id, service: Service, if_match: IfMatch = None) -> Response:
    """Cancel a task. One that runs becomes `cancelling`, and `cancelled` when its handler has ended.

    A task that is cancelled already, or is to stop, is left so and answered with 200, unless If-Match names another
    version.
    """
    version = expected(if_match)
    async with service.database.transaction() as session:
        change = await _change(session, "service_cancel", {"id": task_id, "expected": version})
        if not change["changed"]:
            _require(change, version, settled=("cancelling", "cancelled"))
        return _task(await _after(session, task_id))


@router.post(
    "/tasks/{task_id}/reschedule",
    response_model=TaskBody,
    responses={**answers(404, 409, 412, body=True), 200: {"headers": _ETAG}},
)
async def reschedule(task_id: Id, body: Rescheduling, service: Service, if_match: IfMatch = None) -> Response:
    """Move a task that no consumer has claimed to another time."""
    version = expected(if_match)
    async with service.database.transaction() as session:
        change = await _change(
            session, "service_reschedule", {"id": task_id, "expected": version, "run_at": body.run_at}
        )
        if not change["changed"]:
            _require(change, version)
        found = await _after(session, task_id)
        if found["type"] == DEMO_TYPE:  # it would be announced when it is due
            raise Answered(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "refused",
                f"a task of type {DEMO_TYPE!r} waits for POST /grab-task only",
            )
        return _task(found)


async def _submit_once(session: AsyncConnection[DictRow], task: dict[str, Any]) -> tuple[UUID, bool]:
    """Return the task's id, and whether this request has made it."""
    [once] = await fetch(session, "service_submit_once", task)
    if not once["same"]:
        raise Answered(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "key-reused",
            "this Idempotency-Key was sent with another body: send a new key, or the same body",
        )
    return once["task_id"], once["made"]


async def _change(session: AsyncConnection[DictRow], query: LiteralString, parameters: dict[str, Any]) -> DictRow:
    """Try to change a task; raises Answered if there is none."""
    [change] = await fetch(session, query, parameters)
    if change["status"] is None:
        raise _no_task(parameters["id"])
    return {**change, "id": parameters["id"]}


def _require(state: DictRow, version: int | None, settled: tuple[str, ...] = ()) -> None:
    """Raise Answered for a task that was not changed, unless it is at `version` and already as it should be."""
    task = {"id": str(state["id"]), "status": state["status"], "version": state["version"]}
    etag = {"ETag": shown.etag(state["version"])}
    if version is not None and state["version"] != version:
        named = f"names {version}" if version else "names no version"
        raise Answered(
            HTTPStatus.PRECONDITION_FAILED,
            "version-conflict",
            f"the task is {state['status']} at version {state['version']}, and If-Match {named}: look at it again",
            task=task,
            headers=etag,
        )
    if state["status"] not in settled:
        raise Answered(
            HTTPStatus.CONFLICT,
            "state-conflict",
            f"the task is {state['status']}, which does not allow this",
            task=task,
            headers=etag,
        )


async def _after(session: AsyncConnection[DictRow], task_id: UUID) -> DictRow:
    """Return the task after a change; raises Answered if it was removed at this moment."""
    found = await fetch(session, "service_task", {"id": task_id})
    if not found:
        raise _no_task(task_id)
    return found[0]


async def _with_holders(service: Parts, rows: list[DictRow]) -> list[str]:
    """Return the tasks of `rows` as JSON; those of the locking demo have their holders of this moment."""
    ids = [row["id"] for row in rows if row["type"] == DEMO_TYPE]
    found = await service.database.ask("service_holders", {"ids": ids}) if ids else []
    holders = {row["task_id"]: row["holder"] for row in found}
    return [shown.task(row["shown"], holders.get(row["id"])) for row in rows]


def _task(row: DictRow, status: HTTPStatus = HTTPStatus.OK, more: dict[str, str] | None = None) -> Response:
    text = shown.task(row["shown"], shown.NOBODY)
    return shown.answer(text, {"ETag": shown.etag(row["version"]), **(more or {})}, status)


def _page(wanted: Filter, cursor: str) -> str:
    """Return the address of the page that begins at `cursor`, without a host: a balancer's is not ours."""
    query = wanted.model_dump(mode="json", exclude_none=True, exclude_defaults=True) | {"cursor": cursor}
    return f"/tasks?{urlencode(query, doseq=True)}"


def _no_task(task_id: UUID) -> Answered:
    return Answered(HTTPStatus.NOT_FOUND, "not-found", f"there is no task {task_id}")
