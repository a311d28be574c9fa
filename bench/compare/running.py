"""Makes the runs of a comparison, one after the other in the plan's order, and collects them.

It goes on where it ended. Ctrl-C and its time limit end it; what was measured until then is there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from bench.compare import wording
from bench.compare.arms import Way
from bench.compare.keeping import Kept
from bench.compare.peers import keeping
from bench.compare.planning import ordering
from bench.compare.planning.plan import Plan
from bench.compare.results import Results, Run, Stopped, Surroundings
from bench.compare.run.phases import run
from bench.report import surroundings
from sandbox import Sandbox
from sandbox.settings import read

Measure = Callable[[Sandbox, Plan, Way, int], Run]
Ended = Literal["complete", "interrupted", "time limit", "earlier"]
"""Why a comparison makes no other run; earlier: it had ended before, and nobody went on with it."""


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
    """Make every run that is not kept yet; returns False if the time limit leaves no time for the next.

    The first one is made in any case: whoever goes on comes further.
    """
    began = time.monotonic()
    order = list(ordering.order(plan))
    costs = [ordering.expected(plan, way, repetition) for repetition, way in order]
    open_ = [kept.run(repetition, way) is None for repetition, way in order]
    expected = 0.0
    for number, (repetition, way) in enumerate(order):
        if not open_[number]:
            continue
        spent = time.monotonic() - began
        if expected and not ordering.fits(plan, spent, expected, costs[number]):
            return False
        remaining = sum(cost for cost, still in zip(costs[number:], open_[number:], strict=True) if still)
        left = ordering.left(spent, expected, remaining)
        observe(Progress(number, len(order), _next(plan, way, repetition), left))
        kept.keep(measure(box, plan, way, repetition), way)
        expected += costs[number]
    observe(Progress(len(order), len(order), "", 0.0))
    return True


def ended(make: Callable[[], bool]) -> Ended:
    """Call `make`, which makes runs and returns whether all were made in time; return why it ended."""
    try:
        return "complete" if make() else "time limit"
    except KeyboardInterrupt:
        return "interrupted"


def collected(kept: Kept, plan: Plan, about: Surroundings, why: Ended) -> Results:
    """Return everything that was measured, of peers too; `why` no other run was made."""
    order = list(ordering.order(plan))
    ours = kept.runs(order)
    runs = (*ours, *keeping.runs(kept))
    arms = (*(way.arm for way in plan.ways), *keeping.measured(kept).arms)
    if why == "complete":
        return Results(about, arms, runs)
    stopped = Stopped(
        why, made=len(ours), planned=len(order), limit=plan.at_most, go_on=f"bench compare --out {kept.place}"
    )
    return Results(about, arms, runs, complete=False, stopped=stopped)


def _next(plan: Plan, way: Way, repetition: int) -> str:
    return f"{way.arm.name}, {repetition + 1} of {ordering.repetitions(plan, way)}"


def look(box: Sandbox, plan: Plan) -> Surroundings:
    """Describe the machine, the servers and the plan."""
    seen = surroundings.look(box, load_before=surroundings.load(), window=plan.window)
    return Surroundings(
        seed=plan.seed,
        started_at=plan.started_at,
        repetitions=plan.repetitions,
        quick=plan.quick,
        machine={
            "processor": seen.processor,
            "cores": str(seen.cores),
            "kernel": seen.kernel,
            **({"load before": plan.load_before} if plan.load_before else {}),
        },
        versions={
            "outbox-relay": version("outbox-relay"),
            "PostgreSQL": seen.postgres,
            "RabbitMQ": seen.rabbitmq,
            "Python": seen.python,
            "psycopg": seen.psycopg,
            "pika": seen.pika,
        },
        settings=seen.settings | _servers() | wording.measured(plan),
        workload=wording.told(plan.workload),
    )


def _servers() -> dict[str, str]:
    named = read().choice == "auto" and read().database_url is not None
    return {"servers": "those of SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL"} if named else {}
