"""Handlers for the tests of `consumers run`: they wait for the test, or fail in a certain way."""

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from consumers import Permanent, Retry, RetryPolicy, Task, examples, task
from outboxkit import sql

# The gate: the handlers below wait while a session holds this advisory lock.
GATE = 4711


@task("gated")
def gated(task: Task) -> int:
    """Wait for the gate, on a connection of its own."""
    with psycopg.connect(os.environ["CONSUMERS_DATABASE_URL"], application_name="handler") as connection:
        connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATE])
    return task.attempt


@task("gated-effect", in_transaction=True)
def gated_effect(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Append an effect, then wait for the gate before the transaction may end."""
    examples.record(task, connection)
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATE])


@task("raises")
def raises(task: Task) -> None:
    """Raise an error whose text Postgres does not accept unchanged."""
    raise ValueError(f"planted {task.payload} \x00 \ud800" + "x" * 5000)


@task("not-json")
def not_json(task: Task) -> float:
    """Return what JSON does not have."""
    del task
    return float("nan")


@task("fails-twice")
def fails_twice(task: Task) -> str:
    """Fail at the first two attempts."""
    if task.attempt < 3:
        raise ConnectionError("planted")
    return f"attempt {task.attempt}"


@task("permanent")
def permanent(task: Task) -> None:
    """Fail so that another attempt would be in vain."""
    raise Permanent(f"no such card as {task.payload}")


@task("refused", retry=RetryPolicy(permanent=[PermissionError]))
def refused(task: Task) -> None:
    """Fail by an exception that the policy calls permanent."""
    del task
    raise PermissionError("planted")


@task("later")
def later(task: Task) -> None:
    """Ask for another attempt in an hour."""
    del task
    raise Retry("the bank is closed", after="1h")


@task("too-long", in_transaction=True, timeout="500ms")
def too_long(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Take longer than allowed."""
    gated_effect(task, connection)


@task("too-long-async", in_transaction=True, timeout="300ms")
async def too_long_async(task: Task, connection: psycopg.AsyncConnection[Any]) -> None:
    """Take longer than allowed."""
    await async_effect(task, connection)
    await asyncio.Event().wait()


@task("async-effect", in_transaction=True)
async def async_effect(task: Task, connection: psycopg.AsyncConnection[Any]) -> None:
    """Append one effect."""
    await connection.execute(
        sql.example("effect_insert"),
        {"task_id": task.id, "version": task.version, "worker": task.claimed_by, "payload": Jsonb(task.payload)},
    )


@task("leaves")
def leaves(task: Task) -> dict[str, int]:
    """Leave an event and a task."""
    task.publish("order", "17", "paid", {"by": task.type}, aggregate_version=7, headers={"a": "b"})
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    task.submit("greet", {"name": "later"}, run_at=tomorrow, max_attempts=2)
    return {"attempt": task.attempt, "of": task.max_attempts}


@task("leaves-async")
async def leaves_async(task: Task) -> dict[str, int]:
    """Leave the same."""
    return leaves(task)


@task("leaves-in-transaction", in_transaction=True)
def leaves_in_transaction(task: Task, connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Leave the same."""
    del connection
    return leaves(task)


@task("leaves-async-in-transaction", in_transaction=True)
async def leaves_async_in_transaction(task: Task, connection: psycopg.AsyncConnection[Any]) -> dict[str, int]:
    """Leave the same."""
    del connection
    return leaves(task)


@task("leaves-wrong")
def leaves_wrong(task: Task) -> None:
    """Leave an event that the outbox refuses, after one that it takes."""
    task.publish("order", "17", "paid", {})
    task.publish("order", "18", "", {})


@task("leaves-and-raises")
def leaves_and_raises(task: Task) -> None:
    """Leave an event, and fail."""
    task.publish("order", "17", "paid", {})
    raise ValueError("planted")


@task("heeds")
def heeds(task: Task) -> None:
    """Work until the task is cancelled."""
    while not task.cancelled():
        time.sleep(0.01)
    task.log.info("it was cancelled")


@task("heeds-async")
async def heeds_async(task: Task) -> None:
    """Work until the task is cancelled."""
    while not task.cancelled():  # noqa: ASYNC110 - a handler's work
        await asyncio.sleep(0.01)
    task.log.info("it was cancelled")


@task("leaves-thread")
def leaves_thread(task: Task) -> None:
    """Leave a thread that does not end."""
    del task
    threading.Thread(target=threading.Event().wait, name="left behind", daemon=False).start()


@task("leaves-process")
def leaves_process(task: Task) -> None:
    """Leave a process that does not end before its parent does."""
    del task
    multiprocessing.get_context("spawn").Process(target=_until_the_parent_ends, name="left behind").start()


def _until_the_parent_ends() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()


@task("forks")
def forks(task: Task) -> None:
    """Come back twice, once in a child."""
    del task
    os.fork()


@task("forks-in-transaction", in_transaction=True)
def forks_in_transaction(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Come back twice, once in a child."""
    del task, connection
    os.fork()


@task("exits")
def exits(task: Task) -> None:
    """Ask Python to end."""
    del task
    sys.exit(3)


@task("exits-async")
async def exits_async(task: Task) -> None:
    """Raise what a signal would."""
    del task
    raise KeyboardInterrupt


@task("kills")
def kills(task: Task) -> None:
    """End the process as the kernel does when memory is short."""
    del task
    os.kill(os.getpid(), signal.SIGKILL)


@task("stops-python", in_transaction=True)
def stops_python(task: Task, connection: psycopg.Connection[Any]) -> None:
    """Append one effect; at the first attempt, keep the interpreter's lock for longer than the lease."""
    examples.record(task, connection)
    if task.attempt == 1:
        ctypes.PyDLL(None).sleep(4)


@task("takes")
def takes(task: Task, seconds: float | None = None) -> None:
    """Take as long as the payload says; each run appends an effect."""
    time.sleep(task.payload["seconds"] if seconds is None else seconds)
    with psycopg.connect(os.environ["CONSUMERS_DATABASE_URL"], autocommit=True) as connection:
        examples.record(task, connection)


@task("kills-once", retry=RetryPolicy(attempts=1))
def kills_once(task: Task) -> None:
    """Append an effect, and end the process as the kernel does when memory is short."""
    takes(task, seconds=0)
    kills(task)
