"""Events: publish one through the outbox."""

from http import HTTPStatus
from uuid import uuid4

from fastapi import APIRouter, Request
from psycopg.types.json import Jsonb

from writers.service.contract.models import EventBody, NewEventBody
from writers.service.requests import trace_headers
from writers.service.routes.serving import BodyText, JsonRoute, Service, answers

router = APIRouter(tags=["events"], route_class=JsonRoute)


@router.post("/events", status_code=HTTPStatus.CREATED, responses=answers(body=True))
async def publish(body: NewEventBody, text: BodyText, service: Service, request: Request) -> EventBody:
    """Write an event into the outbox; the relay publishes it with this id as its message id.

    A second event with the same id is written and published too; consumers, who know it by its message id, drop it.
    """
    event = {
        **body.model_dump(exclude={"payload", "headers", "id"}),
        "id": body.id or uuid4(),
        "body": text,
        "trace": Jsonb(trace_headers(request)),
    }
    await service.database.ask("service_publish", event)
    service.metrics.published.inc()
    return EventBody(id=event["id"])
