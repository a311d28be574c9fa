"""How long a task takes from its submission to its completion, at an even load: relay and one consumer together.

The load is open: tasks are submitted when they are due, however far the consumer is. Times are commit timestamps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.instruments import figures
from bench.instruments.figures import Spread
from bench.workers import workers
from sandbox import Sandbox
from sandbox.machine.waiting import until

_READY_SECONDS = 30.0
_LATE_SECONDS = 60.0
_TASK = "bench.sync"


@dataclass(frozen=True, slots=True)
class Applied:
    """One run at an even load."""

    rate: int
    """Tasks per second, as requested."""
    achieved: float
    """Tasks per second, as committed."""
    tasks: int
    applied_ms: Spread
    """Submission's commit → completion's commit."""
    worker_cpu: float
    """CPU microseconds of the consumer for each task."""


def measure(box: Sandbox, *, rates: Sequence[int], seconds: int, window: int) -> list[Applied]:
    """Load relay and consumer evenly at each of `rates`, `seconds` long."""
    return [_measure(box, rate, rate * seconds, window) for rate in rates]


def _measure(box: Sandbox, rate: int, tasks: int, window: int) -> Applied:
    with workers(box, window=window) as shop, shop.place.relay() as relay, shop.run("consumer") as worker:
        until(relay.endpoint.ready, what="the relay is ready", seconds=_READY_SECONDS)
        shop.ready(worker)
        watch = shop.watch([worker])
        watch.sample()
        with shop.place.even_load(rate, tasks, _TASK) as load:
            load.finish(seconds=tasks / rate * 10 + _LATE_SECONDS)
        samples = watch.until_counted(tasks, every=0.1)
        shop.check(tasks)
        latencies = [latency for (latency,) in shop.place.execute("bench_task_latencies")]
        ((span,),) = shop.place.execute("bench_task_span")
    used = figures.between(samples[0], samples[-1])
    return Applied(
        rate=rate,
        achieved=(tasks - 1) / span if span else 0.0,
        tasks=tasks,
        applied_ms=figures.spread(latencies),
        worker_cpu=used.cpu["publisher"] / tasks * 1e6,
    )
