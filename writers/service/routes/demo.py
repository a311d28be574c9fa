"""The locking demo: many workers grab tasks at once, and none gets another's.

A grab is one transaction: it claims the oldest pending task (FOR NO KEY UPDATE SKIP LOCKED), works on it while it holds
the row's lock, completes it, and commits. If it breaks off in the middle, Postgres rolls back, and the task is pending.
"""

import asyncio
import contextlib
import math
import time
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from writers.service.contract.problems import Answered
from writers.service.postgres.database import fetch
from writers.service.routes.serving import Service, answers

router = APIRouter(tags=["locking demo"])

MOST_TASKS = 10_000
MOST_SECONDS = 60


class Created(BaseModel):
    """How many tasks were made."""

    created: int


class Grabbed(BaseModel):
    """A task that was grabbed and completed."""

    id: UUID
    number: int | None = Field(description="null if POST /create-tasks has not made it.")
    version: int
    instance: str
    seconds: float


class Reset(BaseModel):
    """How many tasks were removed, and how many stay because a transaction has them locked, such as a grab."""

    removed: int
    held: int


@router.post("/create-tasks", status_code=HTTPStatus.CREATED, responses=answers(422, 503))
async def create_tasks(service: Service, count: Annotated[int, Query(ge=1, le=MOST_TASKS)] = 30) -> Created:
    """Make tasks for grabbing. No consumer takes them."""
    [row] = await service.database.ask("demo_create", {"count": count})
    return Created(created=row["demo_create"])


@router.post("/grab-task", responses=answers(404, 422, 503))
async def grab_task(
    service: Service,
    request: Request,
    seconds: Annotated[float | None, Query(ge=0, le=MOST_SECONDS, description="How long it works on the task.")] = None,
    *,
    skip_locked: Annotated[bool, Query(description="Without it, grabs wait for each other.")] = True,
) -> Grabbed:
    """Grab the oldest pending task, work on it while its row is locked, and complete it."""
    began = time.perf_counter()
    work = service.settings.grab_seconds if seconds is None else seconds
    instance = service.settings.instance
    async with service.database.holding(work if skip_locked else math.inf) as session:
        found = await fetch(session, "demo_grab", {"instance": instance, "skip_locked": skip_locked})
        if not found:
            raise Answered(HTTPStatus.NOT_FOUND, "not-found", "no task is left; POST /create-tasks makes some")
        task = found[0]
        await _work(request, work)
        [done] = await fetch(session, "demo_complete", {"id": task["id"], "version": task["version"]})
        # In the transaction: what fails here takes the grab back.
        return Grabbed(
            id=task["id"],
            number=task["number"],
            version=done["demo_complete"],
            instance=instance,
            seconds=round(time.perf_counter() - began, 3),
        )


@router.delete("/reset-tasks", responses=answers(503))
async def reset_tasks(service: Service) -> Reset:
    """Remove the demo's tasks, and no others."""
    [row] = await service.database.ask("demo_reset", {})
    return Reset(**row)


async def _work(request: Request, seconds: float) -> None:
    """Work for `seconds`; raises Answered if the client leaves before, which rolls the grab back."""
    left = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({left}, timeout=seconds)
        if left.done():
            raise Answered(HTTPStatus.BAD_REQUEST, "client-left", "the client has left: the task is pending again")
    finally:
        left.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await left


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
