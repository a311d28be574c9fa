"""One run's own database, exchange and queue, the arm that relays between them, and the consumer."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

from bench.compare.arms import Way
from bench.compare.plan import Plan
from bench.compare.run import clock, committed
from bench.compare.run.arrived import Arrived
from bench.compare.run.judging import Event
from bench.compare.run.spending import Meter
from bench.instruments.metrics import Endpoint
from bench.load import programs
from bench.load.programs import Program
from bench.load.queues import Kind
from bench.stage import Publisher, Stage, free_address
from bench.watch import Counting
from sandbox import Sandbox
from sandbox.machine.waiting import until

_READY_SECONDS = 30.0
_STREAMS = 'relay_source_mode{mode="wal"} 1.0'
_CONTROLS = {"last_id": "bench_control_last_id", "one_confirm": "bench_control_one_confirm"}


class Scene:
    """The parts of one run; make it with `scene`."""

    def __init__(self, place: Stage, plan: Plan, way: Way, queue: str, stack: ExitStack) -> None:
        self.place = place
        self.plan = plan
        self.way = way
        self.queue = queue
        self.arrived = Arrived(place.place / "arrivals")
        self._stack = stack
        self._publishers: list[Publisher] = []
        self._loads = 0
        with place.connect() as connection:
            self._ahead = clock.ahead(connection)

    def settle(self) -> None:
        """Let an arm of the WAL make its first start in front of an empty table: it polls before it streams."""
        if self.way.arm.family != "wal":
            return
        with self._process(0) as publisher:

            def streams() -> bool:
                publisher.program.check()
                return _STREAMS in publisher.endpoint.metrics()

            until(streams, what=f"{self.way.arm.name} streams", seconds=_READY_SECONDS)

    def start(self) -> None:
        """Start the arm."""
        for number in range(self.way.processes * self.way.relays):
            self._publishers.append(self._stack.enter_context(self._process(number)))

    def ready(self) -> None:
        """Wait until the arm relays; raises Problem when it ends instead."""

        def done() -> bool:
            self.check()
            return all(each.endpoint.ready() for each in self._publishers)

        until(done, what=f"{self.way.arm.name} is ready", seconds=_READY_SECONDS)

    def check(self) -> None:
        """Raise Problem if a process of the arm has ended."""
        for each in self._publishers:
            each.program.check()

    def consume(self) -> None:
        """Start the consumer."""
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
        return Meter(self.place, [each.program.pid for each in self._publishers])

    def counting(self) -> Counting:
        """Return a watch on what RabbitMQ has confirmed to the arm."""
        return Counting(
            self.place,
            [each.program for each in self._publishers],
            lambda: sum(each.endpoint.confirmed() for each in self._publishers),
        )

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

    @contextmanager
    def _process(self, number: int) -> Iterator[Publisher]:
        place, address, way = self.place.place / f"arm{number}", free_address(), self.way
        if way.control is None:
            environment = {**self.place.settings(), **way.arm.settings, "RELAY_HTTP_ADDRESS": address}
            running = programs.command(place, "relay", "run", environment=environment)
        else:
            running = programs.module(place, "bench.compare.controls.process", self._control(way, address))
        with running as program, closing(Endpoint(address)) as endpoint:
            yield Publisher(program, endpoint)

    def _control(self, way: Way, address: str) -> dict[str, object]:
        return {
            "control": way.control,
            "database_url": self.place.database_url,
            "amqp_url": self.place.amqp_url,
            "exchange": self.place.exchange,
            "window": self.place.window,
            "interval": way.arm.interval,
            "http_address": address,
        }


@contextmanager
def scene(box: Sandbox, plan: Plan, way: Way) -> Iterator[Scene]:
    """Set up a run of `way` for the block; nothing runs yet."""
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
        (place.place / "arrivals").unlink(missing_ok=True)
        with place.queue("compare", Kind.QUORUM) as queue, ExitStack() as stack:
            yield Scene(place, plan, way, queue, stack)


def waited(until_time: float, check: Scene) -> None:
    """Return at `until_time`, seconds since 1970; raises Problem if the arm ends before."""

    def over() -> bool:
        check.check()
        return time.time() >= until_time

    until(over, what="the time is over", seconds=max(1.0, (until_time - time.time()) * 2 + 1), every=0.02)
