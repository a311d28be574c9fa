"""What can be measured with one backlog of tasks: consumers, and bare acknowledging. Each run has its own stage."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from bench.instruments import figures
from bench.load import acking, programs
from bench.stage import Stage
from bench.watch import Counting
from bench.workers import HANDLERS, Workers, workers
from sandbox import Sandbox

_EVERY = 0.25
_SAMPLES_AT_LEAST = 10_000
_MICROSECONDS = 1e6
_PREFETCH = 1000
"""The consumers' default."""


@dataclass(frozen=True, slots=True)
class Worked:
    """One run of one arm."""

    per_second: float
    cpu_per_task: float
    """CPU microseconds of the consumers, user and system."""
    transactions: float | None
    """For each task; None where no database is used."""
    wal_bytes: float | None
    """The same."""


class Arm(Protocol):
    """One line of the table."""

    @property
    def name(self) -> str:
        """How the table calls it."""

    def run(self, box: Sandbox, *, tasks: int, window: int) -> Worked:
        """Work through a new backlog of `tasks`."""


@dataclass(frozen=True, slots=True)
class Bare:
    """Deliver and acknowledge, and nothing else: the most that a consumer in Python can reach."""

    name: str
    by_hand: bool
    """With the consumers' own decoding of deliveries, or with pika's."""

    def run(self, box: Sandbox, *, tasks: int, window: int) -> Worked:
        """Acknowledge the messages of `tasks` tasks."""
        with workers(box, window=window) as shop:
            shop.fill("bench.sync", tasks)
            result = shop.place.place / "acked"
            arguments = {
                "amqp_url": shop.place.amqp_url,
                "queue": shop.queue,
                "events": tasks,
                "prefetch": _PREFETCH,
                "by_hand": self.by_hand,
                "result": str(result),
            }
            with programs.module(shop.place.place, "bench.load.acking", arguments) as program:
                program.finish(seconds=60 + tasks / 100)
            acked = acking.read(result)
        return Worked(acked.deliveries / acked.seconds, acked.cpu / acked.deliveries * _MICROSECONDS, None, None)


@dataclass(frozen=True, slots=True)
class Consumed:
    """`consumers run` with its defaults, and handlers that do nothing."""

    name: str
    task: str
    """The type of the tasks."""
    handlers: str = HANDLERS
    replicas: int = 1

    def run(self, box: Sandbox, *, tasks: int, window: int) -> Worked:
        """Complete `tasks` tasks."""
        with workers(box, window=window) as shop:
            shop.fill(self.task, tasks)
            measured = measure(shop.place, tasks, lambda stack: self._watch(shop, stack))
            shop.check(tasks)
        return measured

    def _watch(self, shop: Workers, stack: ExitStack) -> Counting:
        names = [f"consumer-{number + 1}" for number in range(self.replicas)]
        return shop.watch([stack.enter_context(shop.run(name, handlers=self.handlers)) for name in names])


def measure(
    place: Stage, tasks: int, starting: Callable[[ExitStack], Counting], *, at_most: float = float("inf")
) -> Worked:
    """Watch what `starting` starts until `tasks` are done, for `at_most` seconds, end it, and return what it took.

    The counters are read after its end: a session tells the server all that it did when it ends.
    """
    before = place.counters()
    with ExitStack() as stack:
        watch = starting(stack)
        samples = watch.until_counted(tasks, every=_EVERY * min(1, tasks / _SAMPLES_AT_LEAST), at_most=at_most)
    spent = place.counters() - before
    done = samples[-1].confirmed
    steady = figures.steady(samples, done)
    return Worked(
        per_second=steady.rate,
        cpu_per_task=steady.cpu["publisher"] / steady.events * _MICROSECONDS,
        transactions=spent.transactions / done,
        wal_bytes=spent.wal_bytes / done,
    )


BARE = Bare("bare: delivered and acknowledged", by_hand=True)
BARE_PIKA = Bare("bare, by pika's basic_consume", by_hand=False)
ASYNC = Consumed("async handler", "bench.async", "bench.load.async_handlers")
SYNC = Consumed("sync handler, in threads", "bench.sync")
TRANSACTION = Consumed("handler in a transaction", "bench.transaction")
REPLICAS = 3
THREE = Consumed(f"sync handler, {REPLICAS} consumers", "bench.sync", replicas=REPLICAS)
OURS: Sequence[Arm] = (BARE, BARE_PIKA, ASYNC, SYNC, TRANSACTION, THREE)
