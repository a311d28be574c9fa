"""Around every request: its id, its line in the log, its metrics, its size."""

import re
import time
from http import HTTPStatus
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from writers.service.contract import problems
from writers.service.contract.problems import Answered
from writers.service.metrics import Metrics

log = structlog.get_logger()

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[ -~]{1,512}")
# Labels of metrics: a client cannot make more of them.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "(other)"
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


def trace_headers(request: Request) -> dict[str, str]:
    """Return the trace context of `request`, for an event (https://www.w3.org/TR/trace-context/)."""
    parent = request.headers.get("traceparent", "")
    if not _TRACEPARENT.fullmatch(parent):
        return {}
    state = ",".join(request.headers.getlist("tracestate"))
    return {"traceparent": parent} | ({"tracestate": state} if _TRACESTATE.fullmatch(state) else {})


class Requests:
    """Middleware: answers carry the request's id and the instance's name, and bodies have a limit."""

    def __init__(self, app: ASGIApp, *, instance: str, most_bytes: int, metrics: Metrics) -> None:
        self._app = app
        self._instance = instance
        self._most_bytes = most_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid4().hex
        began = time.perf_counter()
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value
        started = False

        async def sending(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started = True
                status = int(message["status"])
                answer = MutableHeaders(scope=message)
                answer["X-Request-Id"] = request_id
                answer["X-Instance"] = self._instance
            await send(message)

        structlog.contextvars.bind_contextvars(request=request_id)
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, _Limited(receive, headers, self._most_bytes), sending)
        except Answered as problem:
            if started:
                raise
            await problems.response(problem)(scope, receive, sending)
        except ClientDisconnect:
            status = HTTPStatus.BAD_REQUEST.value  # for the log: nobody reads an answer
        except Exception:
            if started:
                raise
            log.exception("bug", path=scope["path"])
            bug = Answered(
                HTTPStatus.INTERNAL_SERVER_ERROR, "bug", f"this is a bug of the service; see its log at {request_id}"
            )
            await problems.response(bug)(scope, receive, sending)
        finally:
            self._metrics.in_flight.dec()
            seconds = time.perf_counter() - began
            route = _route(scope)
            method = scope["method"] if scope["method"] in _METHODS else _OTHER
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.seconds.labels(method, route).observe(seconds)
            if route not in _QUIET:
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    ms=round(seconds * 1000, 1),
                    client=(scope.get("client") or ("",))[0],
                )
            structlog.contextvars.unbind_contextvars("request")


def _route(scope: Scope) -> str:
    """Return the address as OpenAPI writes it, such as /tasks/{task_id}."""
    path = scope["path"]
    return path if path in _QUIET else getattr(scope.get("route"), "path", _OTHER)


class _Limited:
    """Receives a body of `most` bytes at most; raises Answered for a larger one."""

    def __init__(self, receive: Receive, headers: Headers, most: int) -> None:
        self._receive = receive
        self._most = most
        self._read = 0
        declared = headers.get("content-length", "")
        self._too_large = declared.isdigit() and int(declared) > most

    async def __call__(self) -> Message:
        if self._too_large:
            raise self._refused()
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self._most:
                raise self._refused()
        return message

    def _refused(self) -> Answered:
        return Answered(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-large",
            f"the body is larger than {self._most} bytes (WRITERS_REQUEST_BYTES)",
            headers={"Connection": "close"},
        )
