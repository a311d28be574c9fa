"""What goes wrong, as answers: problem details (https://www.rfc-editor.org/rfc/rfc9457).

| status | slug                   | when                                                                   |
|--------|------------------------|------------------------------------------------------------------------|
| 400    | bad-cursor             | `cursor` is not from a page of this service                            |
| 400    | client-left            | nobody reads it: the client has left in its request, or in a grab      |
| 401    | unauthorized           | no bearer token, or a wrong one                                        |
| 404    | not-found              | there is no such task, or no such address                              |
| 405    | method-not-allowed     | the address exists, and not with this method; Allow                    |
| 409    | state-conflict         | the task's state does not allow it; `task` has its status and version  |
| 412    | version-conflict       | If-Match names another version; `task` has its status and version      |
| 413    | too-large              | the body is larger than WRITERS_REQUEST_BYTES                          |
| 415    | unsupported-media-type | the body is not application/json                                       |
| 422    | invalid                | a field or parameter is wrong; `errors` has a list                     |
| 422    | refused                | the database refuses the row                                           |
| 422    | key-reused             | the Idempotency-Key was sent with another request                      |
| 500    | bug                    | see the log, at this request's id                                      |
| 503    | overloaded             | every session is busy, or half of them with grabs; Retry-After         |
| 503    | locked                 | another transaction is in the way; nothing was written; Retry-After    |
| 503    | database-unavailable   | Postgres cannot be reached, takes no writes or is too slow; Retry-After|
| 503    | database-refuses       | its role or schema is wrong; the log has the remedy                    |
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
PREFIX = "urn:outbox-relay:problem:"
_RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}  # by RFC 9110, which older Pythons do not know yet


class Answered(HTTPException):
    """A request that is answered with a problem."""

    def __init__(
        self,
        status: HTTPStatus,
        slug: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,  # noqa: ANN401 - JSON
    ) -> None:
        super().__init__(status, detail, headers)
        self.slug = slug
        self.members = members


def title(status: int) -> str:
    """Return the words for `status`."""
    return _RENAMED.get(status) or HTTPStatus(status).phrase


def response(problem: Answered) -> Response:
    """Return `problem` as a response. It may quote what was sent, so it is ASCII: any text can be written so."""
    body = {
        "type": f"{PREFIX}{problem.slug}",
        "title": title(problem.status_code),
        "status": int(problem.status_code),
        "detail": problem.detail,
        **problem.members,
    }
    return Response(json.dumps(body), problem.status_code, problem.headers, media_type=MEDIA_TYPE)


def invalid(where: str, what: str) -> Answered:
    """One field, header or parameter is wrong."""
    return Answered(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", f"{where}: {what}", errors=[{"where": where, "what": what}]
    )


def unavailable(detail: str, *, retry_after: int = 1) -> Answered:
    """Postgres cannot be reached, or takes no writes."""
    return Answered(
        HTTPStatus.SERVICE_UNAVAILABLE, "database-unavailable", detail, headers={"Retry-After": str(retry_after)}
    )


def overloaded(detail: str, *, retry_after: int = 1) -> Answered:
    """Every session of the pool is busy."""
    return Answered(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", detail, headers={"Retry-After": str(retry_after)})


def locked(detail: str, *, retry_after: int = 1) -> Answered:
    """Another transaction has what the request must change."""
    return Answered(HTTPStatus.SERVICE_UNAVAILABLE, "locked", detail, headers={"Retry-After": str(retry_after)})
