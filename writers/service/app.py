"""The application: routes, errors as problems, and who may ask."""

import secrets
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outboxkit.http import health_route, metrics_route
from writers.service import problems
from writers.service.database import Database
from writers.service.metrics import Metrics
from writers.service.problems import Answered
from writers.service.requests import Requests
from writers.service.routes import about, demo, events, tasks
from writers.service.routes.serving import Parts
from writers.settings import WritersSettings

_SLUGS = {HTTPStatus.NOT_FOUND: "not-found", HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed"}
_bearer = HTTPBearer(auto_error=False, description="WRITERS_TOKEN, if the service has one.")


def create(settings: WritersSettings, database: Database) -> FastAPI:
    """Return the application of one instance."""
    metrics = Metrics(database)
    app = FastAPI(
        title="Task submission service",
        summary="Writes tasks and events, each with its outbox row in one transaction.",
        version="1",
        redoc_url=None,
    )
    app.state.parts = Parts(settings, database, metrics)
    protected = [Depends(_authorized)]
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


async def _authorized(request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    """Raise Answered unless the request has the token, if there is one."""
    parts: Parts = request.app.state.parts
    token = parts.settings.token
    if token is None:
        return
    given = "" if sent is None else sent.credentials
    if not secrets.compare_digest(given.encode(), token.get_secret_value().encode()):
        raise Answered(
            HTTPStatus.UNAUTHORIZED,
            "unauthorized",
            "send the service's token: Authorization: Bearer ...",
            headers={"WWW-Authenticate": "Bearer"},
        )


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
    assert isinstance(error, HTTPException)  # noqa: S101 - the same
    if isinstance(error, Answered):
        return problems.response(error)
    status = HTTPStatus(error.status_code)
    detail = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.url.path}; /docs lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not served at {request.url.path}",
    }.get(status, str(error.detail))
    return problems.response(Answered(status, _SLUGS.get(status, "invalid"), detail, headers=error.headers))
