"""The composition root of `writers serve`: the pool, the application, the address.

At SIGTERM: no new connection is taken, requests in flight have WRITERS_GRACE seconds to end, what is left is broken off
and rolled back, and then the sessions are closed.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from outboxkit.errors import Problem
from outboxkit.http import Hosted, hosting
from outboxkit.process.service import Stop
from outboxkit.sql.apply import require_current
from writers.errors import NotSetUp
from writers.service.app import create
from writers.service.contract.problems import Answered
from writers.service.postgres.database import Database
from writers.service.postgres.pruning import pruning
from writers.settings import WritersSettings

log = structlog.get_logger()

_SET_UP = "run `relay setup`, then sql/roles.sql again"
_ENDED = "start the process again, and report what its log says"
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
            hosting(app, settings.http_address, grace=settings.grace, remedy=_ADDRESS, ended=_ENDED) as hosted,
            pruning(database, settings.request_retention),
        ):
            log.info("serving", address=hosted.address, instance=settings.instance, demo=settings.demo)
            stop.ready(lambda: log.warning("not drained", remedy="requests in flight were broken off, and rolled back"))
            await _until(stop, hosted)
    log.info("stopped", instance=settings.instance)


async def _require_schema(database: Database) -> None:
    try:
        rows = await database.ask("schema_record_list", {})
    except Answered as problem:
        if problem.slug == "database-refuses":
            raise NotSetUp("the database has no outbox", remedy=_SET_UP) from problem
        return  # the log has the reason
    require_current(next(iter(rows[0].values())) if rows else {}, remedy=_SET_UP)


async def _until(stop: Stop, hosted: Hosted) -> None:
    """Wait for `stop`; raises Problem if the server ends before."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopping, hosted.ended}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            raise Problem("the HTTP server has ended by itself", remedy=_ENDED)
    finally:
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stopping
