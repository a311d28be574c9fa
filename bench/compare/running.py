"""Makes the runs of a comparison, one after the other in the plan's order, and collects them.

It goes on where it was interrupted. Ctrl-C ends it; what was measured until then is there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.compare import ordering, wording
from bench.compare.arms import Way
from bench.compare.keeping import Kept
from bench.compare.peers import keeping
from bench.compare.plan import Plan
from bench.compare.results import Results, Run, Surroundings
from bench.compare.run.phases import run
from bench.report import surroundings
from sandbox import Sandbox

Measure = Callable[[Sandbox, Plan, Way, int], Run]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a comparison is."""

    made: int
    of: int
    next: str
    """The arm that comes next, with its repetition; empty at the end."""
    left: float
    """Seconds."""


Observe = Callable[[Progress], None]


def compare(box: Sandbox, kept: Kept, plan: Plan, observe: Observe, measure: Measure = run) -> bool:
    """Make every run that is not kept yet; returns whether all were made in time."""
    began = time.monotonic()
    order = list(ordering.order(plan))
    costs = [ordering.expected(plan, way, repetition) for repetition, way in order]
    open_ = [kept.run(repetition, way) is None for repetition, way in order]
    expected = 0.0
    for number, (repetition, way) in enumerate(order):
        if not open_[number]:
            continue
        spent = time.monotonic() - began
        if plan.at_most is not None and spent > plan.at_most:
            return False
        remaining = sum(cost for cost, still in zip(costs[number:], open_[number:], strict=True) if still)
        left = ordering.left(spent, expected, remaining)
        observe(Progress(number, len(order), f"{way.arm.name}, {repetition + 1} of {plan.repetitions}", left))
        kept.keep(measure(box, plan, way, repetition), way)
        expected += costs[number]
    observe(Progress(len(order), len(order), "", 0.0))
    return True


def collected(kept: Kept, plan: Plan, about: Surroundings, *, complete: bool) -> Results:
    """Return everything that was measured, of peers too."""
    arms = (*(way.arm for way in plan.ways), *keeping.measured(kept).arms)
    return Results(about, arms, (*kept.runs(ordering.order(plan)), *keeping.runs(kept)), complete=complete)


def look(box: Sandbox, plan: Plan, load_before: tuple[float, float, float]) -> Surroundings:
    """Describe the machine, the servers and the plan."""
    seen = surroundings.look(box, load_before=load_before, window=plan.window)
    sizes = plan.sizes
    return Surroundings(
        seed=plan.seed,
        started_at=plan.started_at,
        repetitions=plan.repetitions,
        quick=plan.quick,
        machine={
            "processor": seen.processor,
            "cores": str(seen.cores),
            "kernel": seen.kernel,
            "load before": " ".join(f"{value:.2f}" for value in seen.load_before),
        },
        versions={
            "PostgreSQL": seen.postgres,
            "RabbitMQ": seen.rabbitmq,
            "Python": seen.python,
            "psycopg": seen.psycopg,
            "pika": seen.pika,
        },
        settings={
            **seen.settings,
            "backlog": f"{sizes.backlog:,} events; {sizes.slow_backlog:,} for one confirm at a time",
            "each load": f"{sizes.load_seconds:g} s",
            "writers at most": str(plan.sessions),
        },
        workload=wording.told(plan.workload),
    )
