"""Makes the runs of peers: the phases that every arm has, and their edges, with ours to compare with.

What cannot be installed is kept as a run that was not measured, and is tried again next time.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from bench.compare import running
from bench.compare.arms import Way, named
from bench.compare.keeping import Kept
from bench.compare.peers import keeping
from bench.compare.peers.peer import Peer
from bench.compare.planning import ordering
from bench.compare.planning.plan import Plan
from bench.compare.results import Results, Run, Stopped, Surroundings
from bench.compare.run import edges, phases
from bench.compare.running import Observe, Progress
from outboxkit.errors import Problem
from sandbox import Sandbox

OURS = ("WAL (wal2json)", "polling, 1 s")
"""Whose edges stand beside those of the peers."""
QUICK_SECONDS = 1100.0
"""After so many seconds, no other run of the quick form is begun."""
_EDGES_SECONDS = 90.0
"""Of one arm, as a guess for the time that is left."""
Measure = Callable[[Sandbox, Plan, Way, int], Run]
MeasureEdges = Callable[[Sandbox, Plan, Way], Run]


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is to be made."""

    way: Way
    repetition: int
    part: str = ""
    """EDGES, or empty for the phases of an arm."""


def installed(kept: Kept, peers: Sequence[Peer], place: Path) -> list[Way]:
    """Install the peers below `place`, and return those that can be run; of the others, keep why not."""
    found = []
    for peer in peers:
        way = Way(peer.arm, peer=peer)
        directory = place / way.slug
        directory.mkdir(parents=True, exist_ok=True)
        try:
            command = peer.install(directory.resolve())
        except Problem as problem:
            if kept.run(0, way) is None:
                kept.keep(Run(peer.arm.name, 0, not_measured=f"{problem.what}; {problem.remedy}"), way)
        else:
            found.append(Way(peer.arm, peer=peer, command=command))
    return found


def jobs(plan: Plan, ways: Sequence[Way], repetitions: int) -> list[Job]:
    """Return what is to be made, in order: the arms take turns, in an order that is drawn for each repetition. Pure.

    Edges come after the first repetition, so that an interrupted comparison has something of each.
    """
    turns = []
    for repetition in range(repetitions):
        draw = random.Random(f"{plan.seed} peers {repetition}")  # noqa: S311 - for an order that can be repeated
        turns.append([Job(way, repetition) for way in draw.sample(ways, len(ways))])
    first, *others = turns
    broken = [Job(way, 0, keeping.EDGES) for way in (*map(named, OURS), *ways)]
    return [*first, *broken, *(job for turn in others for job in turn)]


def measure(  # noqa: PLR0913 - what a comparison has, and what measures a run
    box: Sandbox,
    kept: Kept,
    plan: Plan,
    todo: Sequence[Job],
    observe: Observe,
    *,
    run: Measure = phases.run,
    run_edges: MeasureEdges = edges.run,
) -> bool:
    """Make every run that is not kept yet; returns whether all were made in time.

    The first one is made in any case: whoever goes on comes further.
    """
    began, expected = time.monotonic(), 0.0
    missing = [job for job in todo if kept.run(job.repetition, job.way, job.part) is None]
    for number, job in enumerate(missing):
        spent = time.monotonic() - began
        if number and plan.quick and spent > QUICK_SECONDS:
            return False
        left = ordering.left(spent, expected, sum(_seconds(plan, each) for each in missing[number:]))
        what = "edges" if job.part else f"{job.repetition + 1}"
        observe(Progress(number, len(missing), f"{job.way.arm.name}, {what}", left))
        made = run_edges(box, plan, job.way) if job.part else run(box, plan, job.way, job.repetition)
        kept.keep(made, job.way, job.part)
        expected += _seconds(plan, job)
    observe(Progress(len(missing), len(missing), "", 0.0))
    return True


def collected(kept: Kept, plan: Plan, about: Surroundings, todo: Sequence[Job], ended: running.Ended) -> Results:
    """Return everything that was measured, of the arms too; `ended` says why no other run of a peer was made."""
    whole = all(kept.run(repetition, way) is not None for repetition, way in ordering.order(plan))
    found = running.collected(kept, plan, about, "complete" if whole else "earlier")
    if ended == "complete":
        return found
    made = sum(kept.run(job.repetition, job.way, job.part) is not None for job in todo)
    limit = QUICK_SECONDS if plan.quick else None
    stopped = Stopped(ended, made=made, planned=len(todo), limit=limit, go_on=f"bench peers --out {kept.place}")
    return replace(found, complete=False, stopped=stopped)


def _seconds(plan: Plan, job: Job) -> float:
    return _EDGES_SECONDS if job.part else ordering.expected(plan, job.way, job.repetition)
