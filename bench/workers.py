"""Consumers on a stage: their queue with a backlog in it, and `consumers run` as processes that are measured."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from bench.instruments.metrics import Endpoint
from bench.load import programs
from bench.stage import Publisher, Stage, free_address, stage
from bench.watch import Counting, Watch, wait_for_quiet
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.format import TASK_PENDING
from outboxkit.amqp.topology import declare_queue
from outboxkit.errors import Problem
from sandbox import Sandbox
from sandbox.machine.waiting import until

HANDLERS = "bench.load.handlers"
_READY_SECONDS = 30.0
_DONE = ("completed", 3)
"""The status of a task that was claimed once and completed, and its version then."""


class Workers:
    """The queue of one stage, and the consumers that read it; make it with `workers`."""

    def __init__(self, place: Stage) -> None:
        self.place = place
        self.queue = place.new_queue("tasks")
        asyncio.run(self._declare())
        place.rewind()

    def fill(self, task: str, tasks: int) -> None:
        """Submit `tasks` tasks of type `task` and let a relay publish them, so that all wait in the queue."""
        self.place.vacuum()  # not after it: what a checkpoint has written is written to the WAL as whole pages again
        self.place.execute("bench_task_backlog", type=task, tasks=tasks)
        with self.place.relay() as relay:
            Watch(self.place, relay).until_confirmed(tasks, every=0.25)
        self.place.vacuum(checkpoint=False)
        wait_for_quiet(tasks)

    def settings(self) -> dict[str, str]:
        """Return the consumers' settings; all others are defaults."""
        return {
            "CONSUMERS_DATABASE_URL": self.place.database_url,
            "CONSUMERS_AMQP_URL": self.place.amqp_url,
            "CONSUMERS_EXCHANGE": self.place.exchange,
            "CONSUMERS_QUEUE": self.queue,
        }

    @contextmanager
    def run(self, name: str, *, handlers: str = HANDLERS, settings: Mapping[str, str] = {}) -> Iterator[Publisher]:
        """Run a consumer for the block; `name` is that of its directory, `settings` win over the stage's own."""
        address = free_address()
        environment = {**self.settings(), "CONSUMERS_HANDLERS": handlers, "CONSUMERS_HTTP_ADDRESS": address, **settings}
        with (
            programs.command(self.place.place / name, "consumers", "run", environment=environment) as program,
            closing(Endpoint(address)) as endpoint,
        ):
            yield Publisher(program, endpoint)

    def ready(self, worker: Publisher) -> None:
        """Wait until `worker` consumes; raises Problem when it ends instead."""

        def consumes() -> bool:
            worker.program.check()
            return worker.endpoint.ready()

        until(consumes, what="the consumer is ready", seconds=_READY_SECONDS)

    def watch(self, workers: Sequence[Publisher]) -> Counting:
        """Return a watch that counts what `workers` have completed."""
        return Counting(
            self.place,
            [worker.program for worker in workers],
            lambda: sum(worker.endpoint.completed() for worker in workers),
        )

    def check(self, tasks: int) -> None:
        """Raise Problem unless exactly `tasks` tasks were completed, each by its only claim."""
        states = {(status, version): number for status, version, number in self.place.execute("bench_task_states")}
        if states != {_DONE: tasks}:
            raise Problem(
                f"not every one of {tasks} tasks was completed by its only claim: {states}",
                remedy="the figures are not valid: find out why",
            )

    async def _declare(self) -> None:
        connection = await Connection.open(self.place.amqp_url, name="bench")
        channel = await connection.channel()
        await declare_queue(connection, channel, self.queue, exchange=self.place.exchange, binding_key=TASK_PENDING)
        await connection.close()


@contextmanager
def workers(box: Sandbox, *, window: int) -> Iterator[Workers]:
    """Set up a stage with a queue for consumers, for the block; `window` is the relay's."""
    with stage(box, window=window) as place:
        yield Workers(place)
