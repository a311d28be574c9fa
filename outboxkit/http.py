"""The HTTP endpoint of a process, served in the same event loop as the work: metrics and health, or an application.

It handles no signals, and logs only its own failure.
"""

import asyncio
import contextlib
import functools
import math
import socket
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from outboxkit.address import parse_address
from outboxkit.errors import Problem

log = structlog.get_logger()

_CLEAN_UP_SECONDS = 5.0
_MOST_CONNECTIONS = 1000  # with so many, uvicorn itself answers each request with 503, in plain text
# Longer than a balancer keeps an idle connection: else a request may meet one that is being closed. For nginx, 60 s:
# https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive_timeout
_KEEP_ALIVE_SECONDS = 75
_ENDED = "restart the process to have metrics and health again; its work continues"


def metrics_route(registry: CollectorRegistry) -> Route:
    """Serve `registry` at /metrics in the Prometheus text format."""

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return Route("/metrics", metrics)


def health_route(path: str, checks: Callable[[], Mapping[str, bool]]) -> Route:
    """Serve `checks` at `path` as JSON: 200 if all are true, 503 otherwise."""

    async def health(_: Request) -> Response:
        found = dict(checks())
        return JSONResponse(found, status_code=200 if all(found.values()) else 503)

    return Route(path, health)


@dataclass(frozen=True, slots=True)
class Hosted:
    """An application that is served at `address`, as host:port. `ended` is done when nothing is served any more."""

    address: str
    ended: "asyncio.Task[None]"


@contextlib.asynccontextmanager
async def serving(routes: Sequence[BaseRoute], address: str) -> AsyncIterator[str]:
    """Serve `routes` at `address` in the running loop until the block ends; yields the address that it listens on.

    Raises Problem if it cannot listen there.
    """
    remedy = "set RELAY_HTTP_ADDRESS or CONSUMERS_HTTP_ADDRESS to a free host:port, or to nothing for no HTTP"
    app = Starlette(routes=list(routes))
    async with hosting(app, address, grace=1, remedy=remedy, ended=_ENDED) as hosted:
        yield hosted.address


@contextlib.asynccontextmanager
async def hosting(app: ASGIApp, address: str, *, grace: float, remedy: str, ended: str) -> AsyncIterator[Hosted]:
    """Serve `app` as `serving` does. When the block ends, requests in flight have `grace` seconds to end.

    What has not ended by then is cancelled, and ends within the block. `ended` is the remedy in the log if the server
    ends before. Raises Problem with `remedy` if it cannot listen at `address`.
    """
    with _listen(address, remedy) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,  # else whoever connects from FORWARDED_ALLOW_IPS names the client's address
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=math.ceil(grace),
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        log_end = functools.partial(_log_early_end, remedy=ended)
        task.add_done_callback(log_end)
        try:
            host, port = listener.getsockname()[:2]
            yield Hosted(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", task)
        finally:
            task.remove_done_callback(log_end)
            server.should_exit = True
            await asyncio.wait([task])
            await _broken_off(server)


async def _broken_off(server: uvicorn.Server) -> None:
    """Wait until the requests that the server has cancelled have cleaned up."""
    left = set(server.server_state.tasks)
    if left:
        remedy = "give them more time to end; what they had not committed is rolled back"
        log.warning("requests broken off", requests=len(left), remedy=remedy)
        await asyncio.wait(left, timeout=_CLEAN_UP_SECONDS)


def _log_early_end(task: "asyncio.Task[None]", *, remedy: str) -> None:
    error = None if task.cancelled() else task.exception()
    log.error("http server ended", error=repr(error), remedy=remedy)


class _Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _listen(address: str, remedy: str) -> socket.socket:
    try:
        host, port = parse_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        # Else the second packet of an answer waits 40 ms for a delayed ACK. Connections inherit the option; asyncio
        # sets it only for sockets that name TCP as their protocol (https://man7.org/linux/man-pages/man7/tcp.7.html).
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, ValueError) as error:
        raise Problem(f"cannot serve HTTP at {address}: {error}", remedy=remedy) from error
    return listener
