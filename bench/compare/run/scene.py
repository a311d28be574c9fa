"""One run's own database, exchange and queue, the arm that relays between them, and the consumer."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from bench.compare.arms import Way
from bench.compare.planning.plan import Plan
from bench.compare.run.judging import Event
from bench.compare.run.processes.parts import Part, started
from bench.compare.run.reading import clock, committed
from bench.compare.run.reading.arrived import Arrived
from bench.compare.run.reading.spending import Meter
from bench.load import programs
from bench.load.programs import Program
from bench.load.queues import Kind
from bench.stage import Stage
from bench.watch import Counting
from sandbox import Sandbox
from sandbox.machine.waiting import until

_READY_SECONDS = 30.0
_PEER_SECONDS = 120.0
"""A peer may start a virtual machine, and make a schema."""
_STREAMS = 'relay_source_mode{mode="wal"} 1.0'
_CONTROLS = {"last_id": "bench_control_last_id", "one_confirm": "bench_control_one_confirm"}


class Scene:
    """The parts of one run; make it with `scene`."""

    def __init__(  # noqa: PLR0913 - its parts
        self, place: Stage, plan: Plan, way: Way, queue: str, stack: ExitStack, *, restarted: bool = False
    ) -> None:
        self.place = place
        self.plan = plan
        self.way = way
        self.queue = queue
        self.arrived = Arrived(place.place / "arrivals")
        self._stack = stack
        self._restarted = restarted
        self._parts: list[Part] = []
        self._loads = 0
        with place.connect() as connection:
            self._ahead = clock.ahead(connection)

    def settle(self) -> None:
        """Let an arm make its first start in front of an empty table.

        An arm of the WAL polls before it streams; a peer makes its slot, or its schema.
        """
        if self.way.arm.family not in {"wal", "peer"}:
            return
        with self._process(0) as part:

            def settled() -> bool:
                part.program.check()
                return part.ready() if part.endpoint is None else _STREAMS in part.endpoint.metrics()

            until(settled, what=f"{self.way.arm.name} has begun", seconds=self._ready_seconds)

    def start(self) -> None:
        """Start the arm."""
        for number in range(self.way.processes * self.way.relays):
            self._parts.append(self._stack.enter_context(self._process(number)))

    def ready(self) -> None:
        """Wait until the arm relays; raises Problem when it ends instead."""

        def done() -> bool:
            self.check()
            return all(each.ready() for each in self._parts)

        until(done, what=f"{self.way.arm.name} is ready", seconds=self._ready_seconds)

    def check(self) -> None:
        """Raise Problem if a process of the arm has ended, and is not started again."""
        for each in self._parts:
            each.program.check()

    def consume(self) -> None:
        """Start the consumer; a table queue applies its events itself."""
        if not self.way.queued:
            return
        arguments = {
            "amqp_url": self.place.amqp_url,
            "database_url": self.place.database_url,
            "queue": self.queue,
            "lines": str(self.place.place / "arrivals"),
        }
        program = self._stack.enter_context(
            programs.module(self.place.place, "bench.compare.load.consuming", arguments)
        )

        def begun() -> bool:
            program.check()
            return self.arrived.begun()

        until(begun, what="the queue is consumed", seconds=_READY_SECONDS)

    @contextmanager
    def write(self, parts: Sequence[object], begins: float) -> Iterator[tuple[Program, int]]:
        """Run the writers of a load for the block; yields their process and the load's number."""
        self._loads += 1
        arguments = {
            "database_url": self.place.database_url, "load": self._loads, "begins": begins + self._ahead,
            "parts": parts,
        }  # fmt: skip
        with programs.module(self.place.place, "bench.compare.load.writing", arguments) as program:
            yield program, self._loads

    def meter(self) -> Meter:
        """Return what reads what the arm spends."""
        return Meter(self.place, [each.program.pid for each in self._parts])

    def counting(self) -> Counting:
        """Return a watch on what RabbitMQ has confirmed to the arm."""
        return Counting(
            self.place,
            [each.program for each in self._parts],
            lambda: sum(each.confirmed() for each in self._parts),
        )

    def restarts(self) -> int:
        """Return how often a process of the arm was started again."""
        return sum(each.restarts for each in self._parts)

    def kill(self) -> None:
        """Kill the processes of the arm; those that are services are started again."""
        for each in self._parts:
            if each.service is not None:
                each.service.kill()

    def last_seq(self) -> int:
        """Return the number of the last event so far."""
        ((seq,),) = self.place.execute("bench_compare_last_seq")
        return int(seq)

    def events(self, after: int, dues: dict[int, float], commits: dict[int, float], otherwise: float) -> list[Event]:
        """Return the events committed behind `after`.

        `dues` and `commits` have the times of transactions of a schedule, by their number; `otherwise` is that of
        events that no schedule has.
        """
        return committed.events(self.place, after, dues, commits, otherwise)

    def commits(self, load: int) -> dict[int, float]:
        """Return when each transaction of a load was committed, by its number."""
        rows = self.place.execute("bench_compare_commits", load=load)
        return {number: at - self._ahead for number, at in rows}

    @property
    def _ready_seconds(self) -> float:
        return _READY_SECONDS if self.way.peer is None else _PEER_SECONDS

    def _process(self, number: int) -> AbstractContextManager[Part]:
        return started(self.place, self.way, number, self.queue, restarted=self._restarted)


@contextmanager
def scene(box: Sandbox, plan: Plan, way: Way, *, restarted: bool = False) -> Iterator[Scene]:
    """Set up a run of `way` for the block; nothing runs yet. What ends is `restarted`, if wanted; a peer always is."""
    with box.isolated() as isolated:
        place = Stage(box, isolated, window=plan.window)
        place.prepare(way.setup, *(["--notify"] if way.arm.notified else []))
        place.script("bench_compare")
        place.execute(
            "bench_compare_fill",
            aggregates=max(load.aggregates for load in plan.workload.load),
            payload_bytes=sorted({size for load in plan.workload.load for size in load.payload_bytes}),
        )
        if way.control is not None:
            place.script(_CONTROLS[way.control])
        if way.peer is not None and way.peer.script is not None:
            place.script(way.peer.script)
        (place.place / "arrivals").unlink(missing_ok=True)
        with place.queue("compare", Kind.QUORUM) as queue, ExitStack() as stack:
            yield Scene(place, plan, way, queue, stack, restarted=restarted)


def waited(until_time: float, check: Scene) -> None:
    """Return at `until_time`, seconds since 1970; raises Problem if the arm ends before."""

    def over() -> bool:
        check.check()
        return time.time() >= until_time

    until(over, what="the time is over", seconds=max(1.0, (until_time - time.time()) * 2 + 1), every=0.02)
