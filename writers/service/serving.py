"""The composition root of `writers serve`: the pool, the application, the address."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import structlog

from outboxkit.errors import Problem
from outboxkit.http import hosting
from outboxkit.process.service import Stop
from outboxkit.sql.apply import require_current
from writers.errors import NotSetUp
from writers.service.app import create
from writers.service.database import Database
from writers.service.problems import Answered
from writers.settings import WritersSettings

log = structlog.get_logger()

_PRUNE_SECONDS = 600
_SET_UP = "run `relay setup`, then sql/roles.sql again"
_ADDRESS = "set WRITERS_HTTP_ADDRESS to a free host:port"


async def run(fresh: Callable[[], WritersSettings], stop: Stop) -> None:
    """Serve until `stop` is set, then let requests in flight end.

    `fresh` reads the settings; it is called again at each connect, so that a changed secret file is used. Without a
    database it serves all the same, and answers with 503; raises a Problem if that has another schema.
    """
    settings = fresh()
    async with Database(
        lambda: fresh().database_url.get_secret_value(),  # noqa: PLW0108 - read anew at each connect
        name=f"writers {settings.instance}",
        size=settings.pool_size,
        wait=settings.pool_wait,
    ) as database:
        await _require_schema(database)
        app = create(settings, database)
        async with (
            hosting(app, settings.http_address, grace=settings.grace, remedy=_ADDRESS) as address,
            _pruning(database, settings.request_retention),
        ):
            log.info("serving", address=address, instance=settings.instance, demo=settings.demo)
            stop.ready(lambda: log.warning("not drained", remedy="requests in flight were broken off, and rolled back"))
            await stop.wait()
    log.info("stopped", instance=settings.instance)


async def _require_schema(database: Database) -> None:
    try:
        rows = await database.ask("schema_record_list", {})
    except Answered as problem:
        if problem.slug == "database-refuses":
            raise NotSetUp("the database has no outbox", remedy=_SET_UP) from problem
        log.warning(
            "database not available", reason=problem.detail, remedy="requests are answered with 503 until it is"
        )
        return
    require_current(next(iter(rows[0].values())) if rows else {}, remedy=_SET_UP)


@contextlib.asynccontextmanager
async def _pruning(database: Database, keep: float) -> AsyncIterator[None]:
    """Remove keys of requests that are older than `keep` seconds, while the block runs."""
    pruning = asyncio.create_task(_prune(database, keep))
    try:
        yield
    finally:
        pruning.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pruning


async def _prune(database: Database, keep: float) -> None:
    while True:
        with contextlib.suppress(Answered, Problem):
            await database.ask("service_prune", {"keep": keep})
        await asyncio.sleep(_PRUNE_SECONDS)
