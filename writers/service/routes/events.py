"""Events: publish one through the outbox."""

from http import HTTPStatus

from fastapi import APIRouter, Request

from writers.records import NewEvent
from writers.service.models import EventBody, NewEventBody
from writers.service.requests import trace_headers
from writers.service.routes.serving import Service, answers
from writers.transaction import publish as write

router = APIRouter(tags=["events"])


@router.post("/events", status_code=HTTPStatus.CREATED, responses=answers(413, 422, 503))
async def publish(body: NewEventBody, service: Service, request: Request) -> EventBody:
    """Write an event into the outbox; the relay publishes it with this id as its message id."""
    fields = body.model_dump() | {"headers": body.headers | trace_headers(request)}
    async with service.database.transaction() as session:
        event_id = await write(session, NewEvent(**fields))
    service.metrics.published.inc()
    return EventBody(id=event_id)
