"""One arm in one repetition: its phases, in a database of its own."""

from collections.abc import Callable
from functools import partial

import psycopg
from msgspec.structs import replace

from bench.compare.arms import Way
from bench.compare.planning.ordering import cut_off, flooded, long, watched
from bench.compare.planning.plan import Plan
from bench.compare.results import Figure, Phase, Run
from bench.compare.run import incidents, measuring
from bench.compare.run.scene import Scene, scene
from outboxkit.errors import Problem
from outboxkit.text import one_line
from sandbox import Sandbox


def run(box: Sandbox, plan: Plan, way: Way, repetition: int) -> Run:
    """Measure one run; what ends it early is its reason for not being measured, with the phases before it."""
    phases: list[Phase] = []
    why: str | None = None
    try:
        with scene(box, plan, way) as made:
            for measure in _phases(made, repetition):
                before = made.restarts()
                phases.append(_counted(made, measure(), before))
            made.check()
    except Problem as problem:
        why = f"{problem.what}; {problem.remedy}"
    except psycopg.Error as error:
        why = one_line(f"Postgres refused a statement of the comparison: {error}")
    return Run(way.arm.name, repetition, tuple(phases), not_measured=why)


def _phases(made: Scene, repetition: int) -> list[Callable[[], Phase]]:
    """Return what measures each phase, in order. All runs get the same schedules."""
    plan, way, seed = made.plan, made.way, str(made.plan.seed)
    loads = plan.workload.load
    found: list[Callable[[], Phase]] = []
    if way.relays:
        found.append(partial(measuring.drain, made))
    found += [partial(measuring.load, made, each, seed) for each in loads[:-1]]
    found.append(partial(_last_load, made, seed))
    breaks = long(plan, way, repetition)
    if breaks and plan.rates and way.peer is None:
        found.append(partial(measuring.rates, made, loads[0], seed))
    if watched(plan, way, repetition):
        found.append(partial(measuring.idle, made))
    if breaks and cut_off(plan, way):
        found.append(partial(incidents.outage, made, seed))
    if breaks and flooded(plan, way):
        found.append(partial(incidents.large, made, seed))
    return found


def _counted(made: Scene, phase: Phase, before: int) -> Phase:
    """Add how often a peer was started again: nothing is broken in these phases, so it ended by itself."""
    restarts = made.restarts() - before
    return replace(phase, figures={**phase.figures, "restarts": Figure(restarts, "")}) if restarts else phase


def _last_load(made: Scene, seed: str) -> Phase:
    """Measure the last load, and a vacuum of what all loads have left."""
    phase = measuring.load(made, made.plan.workload.load[-1], seed)
    return replace(phase, figures={**phase.figures, **measuring.vacuum(made)}) if made.way.relays else phase
