"""The composition root: the only file that builds concrete parts.

Order at start: Postgres and its schema, RabbitMQ and the queue, the HTTP address. Each step fails at once, with its
remedy. SIGTERM or SIGINT drains the worker (the steps are in worker.py) and the scheduled jobs, closes RabbitMQ and
then Postgres.
"""

import asyncio
import contextlib
import gc
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from starlette.routing import Route

from consumers.abandoning import not_drained
from consumers.claims.claims import Claims
from consumers.claims.giving_back import give_back
from consumers.composition import executing
from consumers.ending import end_within
from consumers.events.composition import consuming
from consumers.events.declaring.registry import EventHandlers
from consumers.events.running.worker import EventWorker
from consumers.handlers.declaring.registry import Registry
from consumers.intake.intake import Intake
from consumers.intake.pace import Pace
from consumers.intake.probes import Probes
from consumers.maintenance.declaring.declaration import Job
from consumers.maintenance.declaring.planning import Plan, plan
from consumers.maintenance.declaring.registry import Jobs
from consumers.maintenance.jobs import due_tasks, ended_tasks, expired_leases, old_messages, unannounced
from consumers.maintenance.running.leadership import Leadership
from consumers.maintenance.running.locks import Locks
from consumers.maintenance.running.scheduler import Scheduler
from consumers.postgres.connecting import address
from consumers.postgres.database import Database
from consumers.settings import ConsumerSettings
from consumers.timings import Timings
from consumers.watching.executions import Executions, events_route
from consumers.watching.metrics import Metrics
from consumers.worker import Worker
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.subscription import Subscription
from outboxkit.amqp.format import TASK_PENDING
from outboxkit.amqp.topology import declare_queue
from outboxkit.amqp.turn import Turn
from outboxkit.http import health_route, metrics_route, serving
from outboxkit.process.service import Stop

log = structlog.get_logger()


async def run(
    fresh: Callable[[], ConsumerSettings], registry: Registry, jobs: Jobs, event_handlers: EventHandlers, stop: Stop
) -> None:
    """Consume, and run scheduled jobs, until `stop` is set; raises a Problem at start when something is missing.

    Without a handler for tasks, no tasks are taken: they are for other consumers, maybe with another database.

    `fresh` reads the settings. It is called again at each connect, so that a changed secret file is used.
    """
    # Unique for each start: a claim under this name is of this process.
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    settings = fresh()
    planned = [(job, plan(job, settings)) for job in jobs]
    timings = Timings()
    metrics = Metrics(registry.types)
    executions = Executions()
    turn = Turn()
    pace = Pace(concurrency=settings.concurrency, cap=settings.prefetch)

    def url() -> str:
        return fresh().database_url.get_secret_value()

    async with (
        Database(url, name=f"consumers claims {name}") as claiming,
        Database(url, name=f"consumers leases {name}") as leasing,
        Database(url, name=f"consumers outcomes {name}") as ending,
        # Beside each other: a lock must never wait behind a job's statement.
        Database(url, name=f"consumers locks {name}") as locking,
        Database(url, name=f"consumers jobs {name}") as maintaining,
        _task_intake(
            registry, lambda prefetch: subscribe(fresh(), name, turn, prefetch), pace.prefetch, Probes(maintaining)
        ) as intake,
        consuming(fresh, event_handlers, metrics.registry, name=name, grace=settings.grace) as events,
        executing(fresh, registry, name=name, count_lock=metrics.second_lock) as executor,
        contextlib.AsyncExitStack() as stack,
    ):
        metrics.watch(lambda: executor.active, executor.threads)
        if settings.http_address is not None:
            routes = _routes(metrics, executions, claiming, intake, events)
            served = await stack.enter_async_context(serving(routes, settings.http_address))
            log.info("serving metrics and health", address=served)
        worker = (
            None
            if intake is None
            else Worker(
                intake,
                Claims(claiming, worker=name, lease=settings.lease),
                ending=Claims(ending, worker=name, lease=settings.lease),
                leasing=Claims(leasing, worker=name, lease=settings.lease),
                executor=executor,
                pace=pace,
                metrics=metrics,
                executions=executions,
                timings=timings,
                grace=settings.grace,
            )
        )
        own = _own_jobs(settings, Claims(maintaining, worker=name, lease=settings.lease), maintaining, worker, metrics)
        planned += [(job, plan(job, settings)) for job in own]
        scheduler = _scheduler(settings, planned, Locks(locking, holder=name), metrics)
        _spare_collections()
        if worker is not None:
            log.info("consuming", queue=settings.queue, worker=name, types=sorted(registry.types))

        def ending_address() -> str:
            return address(url(), name=f"consumers end {name}")

        def give_up() -> None:
            unfinished = [] if worker is None else worker.unfinished()
            facts = not_drained(
                give_back(ending_address, unfinished, timings.giving_back),
                tasks=len(unfinished),
                events=0 if events is None else events.unfinished(),
                jobs=[] if scheduler is None else scheduler.running,
            )
            log.warning("not drained", **facts)

        stop.ready(give_up)
        try:
            async with _beside(scheduler, stop), _beside(events, stop):
                await (stop.wait() if worker is None else worker.run(stop))
        finally:
            end_within(timings.forced_end, code=1 if sys.exc_info()[0] else 0)
    log.info("stopped", worker=name)


def _task_intake(
    registry: Registry, subscribe: Callable[[int], Awaitable[Subscription]], prefetch: int, probes: Probes
) -> contextlib.AbstractAsyncContextManager[Intake | None]:
    return Intake(subscribe, prefetch=prefetch, probes=probes) if registry.types else contextlib.nullcontext()


def _own_jobs(
    settings: ConsumerSettings, claims: Claims, database: Database, worker: Worker | None, metrics: Metrics
) -> Jobs:
    """Return the project's own jobs: each is a file of consumers/maintenance/jobs/, and a line here."""
    own = Jobs(own=True)
    if settings.inbox_retention is not None:
        old_messages.register(own, database, keep=settings.inbox_retention)
    if worker is None:
        return own
    expired_leases.register(own, claims, worker.extend_leases)
    due_tasks.register(own, database)
    unannounced.register(own, database, metrics, wait=settings.reannounce_every)
    if settings.retention is not None:
        ended_tasks.register(own, database, keep=settings.retention)
    return own


def _scheduler(
    settings: ConsumerSettings, planned: list[tuple[Job, Plan]], locks: Locks, metrics: Metrics
) -> Scheduler | None:
    if settings.scheduler == "off":
        log.info(
            "no scheduled jobs run here",
            remedy="at least one consumer needs CONSUMERS_SCHEDULER=lock or leader: without it no task becomes due, "
            "and tasks of a consumer that died never run again",
        )
        return None
    log.info("scheduling", mode=settings.scheduler, jobs=sorted(job.name for job, _ in planned))
    leadership = Leadership(locks, metrics, lease=settings.lease) if settings.scheduler == "leader" else None
    return Scheduler(planned, locks, metrics, threads=settings.job_threads, grace=settings.grace, leadership=leadership)


@contextlib.asynccontextmanager
async def _beside(part: Scheduler | EventWorker | None, stop: Stop) -> AsyncIterator[None]:
    """Run `part` while the block runs. If either fails, the other is drained; what the block raises comes first."""
    if part is None:
        yield
        return
    running = asyncio.create_task(part.run(stop), name=type(part).__name__)
    try:
        yield
    except BaseException:
        stop.set()
        await asyncio.wait([running])
        if not running.cancelled() and (failure := running.exception()) is not None:
            log.warning("another part failed too", part=type(part).__name__, reason=str(failure))
        raise
    await running


def _spare_collections() -> None:
    """Let Python look for cycles less often: what a batch of tasks makes has none, and was a sixth of the CPU.

    What is there at start stays, so it is not looked at any more (https://docs.python.org/3/library/gc.html#gc.freeze).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


async def subscribe(settings: ConsumerSettings, name: str, turn: Turn, prefetch: int) -> Subscription:
    """Connect, declare the queue and consume it; the caller closes the subscription's connection."""
    connection = await Connection.open(
        settings.amqp_url.get_secret_value(), name=f"consumers {name}", tls=settings.tls(), turn=turn
    )
    try:
        channel = await connection.channel()
        await declare_queue(connection, channel, settings.queue, exchange=settings.exchange, binding_key=TASK_PENDING)
        channel.close()
        return await Subscription.open(connection, settings.queue, prefetch=prefetch)
    except BaseException:
        await connection.close()
        raise


def _routes(
    metrics: Metrics, executions: Executions, database: Database, intake: Intake | None, events: EventWorker | None
) -> list[Route]:
    def ready() -> dict[str, bool]:
        tasks = {} if intake is None else {"broker": intake.up}
        return {"database": database.up, **tasks} | ({} if events is None else {"events": events.up})

    return [
        metrics_route(metrics.registry),
        events_route(executions),
        health_route("/livez", lambda: {"alive": True}),
        # A process that answers is alive: a restart of it would not bring back a server that is down.
        health_route("/healthz", lambda: {"alive": True}),
        health_route("/readyz", ready),
    ]
