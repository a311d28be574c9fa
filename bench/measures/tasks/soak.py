"""A soak: many tasks, of which some fail, some are cancelled and some hang, while consumers are stopped now and then.

An append-only table of runs, written by the handler, shows that nothing runs twice at one version; and nothing is stuck
at the end.
"""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench.stage import Publisher
from bench.workers import Workers, workers
from outboxkit import sql
from outboxkit.errors import Problem
from sandbox import Sandbox
from sandbox.machine.waiting import until

REPLICAS = 2
CONCURRENCY = 8
CANCELLED = 0.02
LEASE = 2.0
HANG = 3.0
_STALLED_SECONDS = 120.0
_EVERY = 0.5
_ENDS = frozenset({"completed", "cancelled", "dead"})
_SETTINGS = {
    "CONSUMERS_CONCURRENCY": str(CONCURRENCY),
    "CONSUMERS_LEASE": f"{LEASE:g}",
    "CONSUMERS_ENQUEUE_EVERY": "0.5",
    "CONSUMERS_RETRY_BASE": "0.2",
}


@dataclass(frozen=True, slots=True)
class Soak:
    """What became of the tasks."""

    tasks: int
    seed: int
    seconds: float
    states: dict[str, int]
    """How many tasks ended in each status."""
    counted: dict[str, int]


def soak(box: Sandbox, *, tasks: int, seed: int, window: int, settings: dict[str, str] | None = None) -> Soak:
    """Run it; raises Problem when a task is stuck, or ran twice at one version."""
    draw = random.Random(seed)  # noqa: S311 - for a run that can be repeated
    began = time.monotonic()
    with workers(box, window=window) as shop, shop.place.relay() as relay, ExitStack() as stack:
        shop.place.execute("bench_soak")
        until(relay.endpoint.ready, what="the relay is ready", seconds=30)
        replicas = [
            stack.enter_context(
                shop.run(f"consumer-{number + 1}", handlers="bench.load.soak_handlers",
                         settings=_SETTINGS if settings is None else settings)
            )
            for number in range(REPLICAS)
        ]  # fmt: skip
        for replica in replicas:
            shop.ready(replica)
        shop.place.execute("bench_soak_submit", tasks=tasks, hang=HANG, seed=draw.random())
        cancelled = _until_ended(shop, tasks, _disturbances(replicas, draw))
        seconds = time.monotonic() - began
        return _judged(shop, Soak(tasks, seed, seconds, {}, {"cancels": cancelled}))


def _until_ended(shop: Workers, tasks: int, disturb: Iterator[None]) -> int:
    """Cancel tasks, and disturb consumers, until all tasks have ended; return how many cancels there were."""
    cancelled = ended = 0
    since = time.monotonic()
    with shop.place.connect() as connection:
        while ended < tasks:
            next(disturb)
            if more := round(ended * CANCELLED) - cancelled:
                row = connection.execute(sql.example("bench_soak_cancel"), {"tasks": more}).fetchone()
                cancelled += row[0] if row else 0
            row = connection.execute(sql.example("bench_soak_ended")).fetchone()
            if row and row[1] > ended:
                ended, since = row[1], time.monotonic()
            elif time.monotonic() - since > _STALLED_SECONDS:
                raise Problem(f"{tasks - ended} of {tasks} tasks are stuck: {_states(shop)}", remedy="find out why")
            time.sleep(_EVERY)
    return cancelled


def _disturbances(replicas: list[Publisher], draw: random.Random) -> Iterator[None]:
    """Now and then stop a consumer for longer than a lease; each `next` is one look."""
    while True:
        for _ in range(draw.randint(10, 30)):
            yield
        replica = draw.choice(replicas)
        replica.program.send(signal.SIGSTOP)
        resumes = time.monotonic() + LEASE * 2
        while time.monotonic() < resumes:
            yield
        replica.program.send(signal.SIGCONT)


def _judged(shop: Workers, found: Soak) -> Soak:
    ((twice, without_run, too_early, runs, failures, while_running),) = shop.place.execute("bench_soak_verdict")
    states = _states(shop)
    counted = {
        **found.counted, "cancelled while they ran": while_running, "runs": runs, "runs that failed": failures,
        "ran twice at one version": twice, "completed without a run": without_run, "dead too early": too_early,
        "stuck": sum(number for status, number in states.items() if status not in _ENDS),
    }  # fmt: skip
    verdict = Soak(found.tasks, found.seed, found.seconds, states, counted)
    if wrong := {name: number for name, number in list(counted.items())[-4:] if number}:
        raise Problem(f"the soak of {found.tasks} tasks with seed {found.seed} found: {wrong}", remedy="find out why")
    if sum(states.values()) != found.tasks:
        raise Problem(f"{found.tasks} tasks were submitted, and there are {states}", remedy="find out why")
    return verdict


def _states(shop: Workers) -> dict[str, int]:
    states: dict[str, int] = {}
    for status, _, number in shop.place.execute("bench_task_states"):
        states[status] = states.get(status, 0) + number
    return states
