"""The application: its routes, and errors as problems."""

from http import HTTPStatus
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from outboxkit.http import health_route, metrics_route
from writers.service.contract import problems
from writers.service.contract.models import Page, ProblemBody, TaskWithHistory
from writers.service.contract.problems import Answered
from writers.service.metrics import Metrics
from writers.service.postgres.database import Database
from writers.service.requests import Requests
from writers.service.routes import about, demo, events, tasks
from writers.service.routes.serving import Parts, authorize
from writers.settings import WritersSettings

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def create(settings: WritersSettings, database: Database) -> FastAPI:
    """Return the application of one instance."""
    metrics = Metrics(database)
    app = _App(
        title="Task submission service",
        summary="Writes tasks and events, each with its outbox row in one transaction.",
        version="1",
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts = Parts(settings, database, metrics)
    protected = [Depends(authorize)]
    app.include_router(about.router)
    app.include_router(tasks.router, dependencies=protected)
    app.include_router(events.router, dependencies=protected)
    if settings.demo:
        app.include_router(demo.router, dependencies=protected)
    app.router.routes += [
        health_route("/healthz", lambda: {"alive": True}),
        Route("/readyz", _ready),
        metrics_route(metrics.registry),
    ]
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Requests, instance=settings.instance, most_bytes=settings.request_bytes, metrics=metrics)
    return app


async def _ready(request: Request) -> Response:
    parts: Parts = request.app.state.parts
    up = await parts.database.alive()
    return JSONResponse({"database": up}, HTTPStatus.OK if up else HTTPStatus.SERVICE_UNAVAILABLE)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for nothing else
    found = [
        {"where": ".".join(str(part) for part in each["loc"]), "what": each["msg"].removeprefix("Value error, ")}
        for each in error.errors()
    ]
    first = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return problems.response(
        Answered(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", f"{first['where']}: {first['what']}{more}", errors=found)
    )


async def _http(request: Request, error: Exception) -> Response:
    """Answer with a problem of ours, or for what the framework raises."""
    match error:
        case Answered():
            problem = error
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            detail = f"there is nothing at {request.url.path}; /docs lists what there is"
            problem = Answered(HTTPStatus.NOT_FOUND, "not-found", detail)
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            problem = Answered(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "method-not-allowed",
                f"{request.method} is not served at {request.url.path}",
                headers={"Allow": ", ".join(_allowed(request))},
            )
        case HTTPException():  # the body ended too early, or the like
            problem = problems.invalid("body", str(error.detail))
        case _:
            raise error
    return problems.response(problem)


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes at the request's address; the framework looks at the first one only."""
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


class _App(FastAPI):
    """An application whose OpenAPI has the problems, to which its routes refer, and nulls in examples."""

    def openapi(self) -> dict[str, Any]:
        """Return the description of all routes."""
        described = super().openapi()
        _, answers = models_json_schema(
            [(model, "serialization") for model in (ProblemBody, Page, TaskWithHistory)],
            ref_template="#/components/schemas/{model}",
        )
        described["components"]["schemas"].update(answers["$defs"])
        return described
