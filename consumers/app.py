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
from collections.abc import AsyncIterator, Callable
from typing import assert_never

import structlog
from pydantic import SecretStr
from starlette.routing import Route

from consumers.claims.claims import Claims
from consumers.connecting import address
from consumers.database import Database
from consumers.ending import end_within
from consumers.handlers.coroutines import Coroutines
from consumers.handlers.execution import AsyncExecution, Execution
from consumers.handlers.executor import Executor
from consumers.handlers.failures import Failures
from consumers.handlers.finished import Finished
from consumers.handlers.registry import Registry
from consumers.handlers.task import Task
from consumers.handlers.threads import Threads
from consumers.handlers.transactions import AsyncTransactions, Transactions
from consumers.intake.intake import Intake
from consumers.intake.pace import Pace
from consumers.intake.probes import Probes
from consumers.maintenance.declaring.declaration import Job
from consumers.maintenance.declaring.planning import Plan, plan
from consumers.maintenance.declaring.registry import Jobs
from consumers.maintenance.jobs import due_tasks, ended_tasks, expired_leases, unannounced
from consumers.maintenance.running.leadership import Leadership
from consumers.maintenance.running.locks import Locks
from consumers.maintenance.running.scheduler import Scheduler
from consumers.second_lock.address import read as read_redis_url
from consumers.second_lock.advisory import AdvisoryLocks
from consumers.second_lock.lock import SecondLock
from consumers.second_lock.served import ServedLock
from consumers.second_lock.server import LockServer
from consumers.settings import ConsumerSettings
from consumers.timings import Timings
from consumers.watching.executions import Executions, events_route
from consumers.watching.metrics import Metrics
from consumers.worker import Worker
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.format import TASK_PENDING
from outboxkit.amqp.subscription import Subscription
from outboxkit.amqp.topology import declare_queue
from outboxkit.amqp.turn import Turn
from outboxkit.errors import ConfigurationProblem
from outboxkit.http import health_route, metrics_route, serving
from outboxkit.process.service import Stop

log = structlog.get_logger()
_NOT_DRAINED = "these tasks run again when their leases expire, these jobs when their locks end"


async def run(fresh: Callable[[], ConsumerSettings], registry: Registry, jobs: Jobs, stop: Stop) -> None:
    """Consume, and run scheduled jobs, until `stop` is set; raises a Problem at start when something is missing.

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
        Intake(
            lambda prefetch: subscribe(fresh(), name, turn, prefetch),
            prefetch=pace.prefetch,
            probes=Probes(maintaining),
        ) as intake,
        contextlib.AsyncExitStack() as stack,
    ):
        if settings.http_address is not None:
            routes = _routes(metrics, executions, claiming, intake)
            serves = await stack.enter_async_context(serving(routes, settings.http_address))
            log.info("serving metrics and health", address=serves)
        lock = await _second_lock(stack, fresh, url, name, metrics)
        executor = await _executor(
            stack,
            registry,
            Failures(registry, settings.retry()),
            lock,
            address=lambda: address(url(), name=f"consumers handlers {name}"),
            concurrency=settings.concurrency,
            patience=timings.handler_connection,
        )
        metrics.watch(lambda: executor.active, executor.threads)
        worker = Worker(
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
        own = _own_jobs(settings, Claims(maintaining, worker=name, lease=settings.lease), maintaining, worker, metrics)
        planned += [(job, plan(job, settings)) for job in own]
        scheduler = _scheduler(settings, planned, Locks(locking, holder=name), metrics)
        _spare_collections()
        log.info("consuming", queue=settings.queue, worker=name, types=sorted(registry.types))
        stop.ready(
            lambda: log.warning(
                "not drained",
                tasks=worker.unfinished(),
                jobs=[] if scheduler is None else scheduler.running,
                remedy=_NOT_DRAINED,
            )
        )
        try:
            async with _beside(scheduler, stop):
                await worker.run(stop)
        finally:
            end_within(timings.forced_end, code=1 if sys.exc_info()[0] else 0)
    log.info("stopped", worker=name)


def _own_jobs(settings: ConsumerSettings, claims: Claims, database: Database, worker: Worker, metrics: Metrics) -> Jobs:
    """Return the project's own jobs: each is a file of consumers/maintenance/jobs/, and a line here."""
    own = Jobs(own=True)
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
async def _beside(scheduler: Scheduler | None, stop: Stop) -> AsyncIterator[None]:
    """Run jobs while the block runs. If either fails, the other is drained; what the block raises comes first."""
    if scheduler is None:
        yield
        return
    running = asyncio.create_task(scheduler.run(stop), name="scheduler")
    try:
        yield
    except BaseException:
        stop.set()
        await asyncio.wait([running])
        if not running.cancelled() and (failure := running.exception()) is not None:
            log.warning("scheduled jobs failed too", reason=str(failure))
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


def _routes(metrics: Metrics, executions: Executions, database: Database, intake: Intake) -> list[Route]:
    return [
        metrics_route(metrics.registry),
        events_route(executions),
        health_route("/livez", lambda: {"alive": True}),
        # A process that answers is alive: a restart of it would not bring back a server that is down.
        health_route("/healthz", lambda: {"alive": True}),
        health_route("/readyz", lambda: {"database": database.up, "broker": intake.up}),
    ]


async def _second_lock(
    stack: contextlib.AsyncExitStack,
    fresh: Callable[[], ConsumerSettings],
    url: Callable[[], str],
    name: str,
    metrics: Metrics,
) -> SecondLock | None:
    """Build what CONSUMERS_LOCK names; None for none."""
    settings = fresh()
    kind, lease = settings.lock, settings.lease
    server: LockServer
    match kind:
        case "none":
            return None
        case "advisory":
            server = AdvisoryLocks(url, name=f"consumers second locks {name}", lease=lease)
        case "redis":
            try:
                from consumers.second_lock import redis  # noqa: PLC0415 - an extra, which only this needs
            except ImportError as error:
                raise ConfigurationProblem(
                    f"CONSUMERS_LOCK is redis, and redis-py cannot be imported: {error}",
                    remedy="pip install 'outbox-relay[redis]', or set CONSUMERS_LOCK=advisory or none",
                ) from error
            server = redis.RedisLocks(lambda: read_redis_url(_required(fresh().redis_url)), ttl=lease)
        case _:
            assert_never(kind)
    return await stack.enter_async_context(ServedLock(server, name=kind, lease=lease, count=metrics.second_lock))


def _required(url: SecretStr | None) -> str:
    assert url is not None  # noqa: S101 - the settings refuse redis without it
    return url.get_secret_value()


async def _executor(  # noqa: PLR0913 - what it is built of
    stack: contextlib.AsyncExitStack,
    registry: Registry,
    failures: Failures,
    lock: SecondLock | None,
    *,
    address: Callable[[], str],
    concurrency: int,
    patience: float,
) -> Executor:
    """Build what runs handlers; their connections are closed with `stack`. `address` is called at each connect."""
    # Twice as many as handlers: one whose deadline has passed may still hold its connection.
    transactions = stack.enter_context(Transactions(address, size=2 * concurrency, timeout=patience))
    on_the_loop = await stack.enter_async_context(AsyncTransactions(address, size=2 * concurrency, timeout=patience))
    finished = Finished()

    def is_async(task: Task) -> bool:
        handler = registry.find(task.type)
        return handler is not None and handler.is_async

    return Executor(
        Threads(Execution(registry, transactions, failures, lock), finished, concurrency=concurrency),
        Coroutines(AsyncExecution(registry, on_the_loop, failures, lock), finished, concurrency=concurrency),
        finished,
        is_async=is_async,
        failures=failures,
        low_water=2 * concurrency,
    )
