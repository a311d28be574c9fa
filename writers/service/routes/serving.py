"""What the routes have in common: the parts of the service, what they check first, and what they document."""

import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from writers.service.contract.json_text import require_readable
from writers.service.contract.models import ProblemBody
from writers.service.contract.problems import MEDIA_TYPE, PREFIX, Answered, title
from writers.service.metrics import Metrics
from writers.service.postgres.database import Database
from writers.settings import WritersSettings

_ALWAYS = (401, 500, 503)
_WITH_BODY = (413, 415, 422)
_EXAMPLES = {
    400: ("bad-cursor", "cursor is not one of this service: begin with the first page, and follow its Link"),
    401: ("unauthorized", "send the service's token: Authorization: Bearer ..."),
    404: ("not-found", "there is no task 6d8f5e0c-1c5b-4d0e-9a39-0a6d1b2f7c11"),
    409: ("state-conflict", "the task is completed, which does not allow this"),
    412: (
        "version-conflict",
        "the task is running at version 2, and If-Match names 1: look at it again",
    ),
    413: ("too-large", "the body is larger than 2097152 bytes (WRITERS_REQUEST_BYTES)"),
    415: ("unsupported-media-type", "send Content-Type: application/json"),
    422: ("invalid", "body.type: Field required"),
    500: ("bug", "this is a bug of the service; see its log at 5d1f0c2e"),
    503: ("overloaded", "every session with the database is busy; try again"),
}


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the service."""

    settings: WritersSettings
    database: Database
    metrics: Metrics


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Service = Annotated[Parts, Depends(_parts)]


_bearer = HTTPBearer(auto_error=False, description="WRITERS_TOKEN, if the service has one.")


async def authorize(
    request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)] = None
) -> None:
    """Raise Answered unless the request has the token, if there is one."""
    token = _parts(request).settings.token
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


class JsonRoute(APIRoute):
    """A route that reads a body only from a client that may ask, and checks it before FastAPI parses it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def checked(request: Request) -> Response:
            await authorize(request, await _bearer(request))
            _require_json(request)
            require_readable(await request.body())
            return await handle(request)

        return checked


async def _text(request: Request) -> str:
    """Return the request's body, which a JsonRoute has read and checked."""
    return (await request.body()).decode()


BodyText = Annotated[str, Depends(_text)]


def answers(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """Document the problems that a route answers with, beside those that each has; `body`: it has a body."""
    return {status: _documented(status) for status in sorted({*_ALWAYS, *statuses, *(_WITH_BODY if body else ())})}


def headers(**described: str) -> dict[str, Any]:
    """Document headers of an answer."""
    return {
        name.replace("_", "-"): {"description": text, "schema": {"type": "string"}} for name, text in described.items()
    }


def _documented(status: int) -> dict[str, Any]:
    slug, detail = _EXAMPLES[status]
    example = {"type": f"{PREFIX}{slug}", "title": title(status), "status": status, "detail": detail}
    schema = {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}  # which app.py adds
    return {"description": title(status), "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


def _require_json(request: Request) -> None:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    if header.get_content_type() != "application/json":
        raise Answered(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "send Content-Type: application/json"
        )
