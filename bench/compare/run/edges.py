"""What becomes of events when a message is unroutable, when the broker is killed, and when the relay itself is killed.

Each edge has a database of its own, and whatever ends is started again as systemd does. The last two are drains of a
backlog, with the consumer running.
"""

from collections.abc import Callable, Collection
from contextlib import suppress

import psycopg

from bench.compare.arms import Way
from bench.compare.planning.plan import Plan
from bench.compare.results import Correctness, Edge, Phase, Run
from bench.compare.run import judging
from bench.compare.run.routes import Routes
from bench.compare.run.scene import Scene, scene
from bench.load import programs
from outboxkit.errors import Problem
from outboxkit.text import one_line
from sandbox import Sandbox
from sandbox.machine.waiting import until

UNROUTABLE = "a message is unroutable"
BROKER = "the broker is killed in a drain"
PROGRAM = "the relay is killed in a drain"
NO_BROKER = "it has no broker"
_UNROUTABLE_EVENTS = 50
"""While the queue is not bound, and so many again afterwards."""
_DRAIN_EVENTS = 20_000
_DRAIN_TIMES = 5
"""Or so many times the backlog of the plan's drain, if that is less."""
_KILL_AFTER = 0.25
"""The share of the events that have arrived when something is killed."""
_PATIENCE = 45.0
"""Seconds in which all have connected again: silence until then loses nothing."""
_STEP_SECONDS = 120.0


def run(box: Sandbox, plan: Plan, way: Way) -> Run:
    """Measure all edges of one arm."""
    edges: list[tuple[str, Callable[[Scene, float], Edge], bool]] = [
        (UNROUTABLE, _unroutable, True),
        (BROKER, _broker_killed, True),
        (PROGRAM, _program_killed, False),
    ]
    phases = []
    for name, measure, needs_broker in edges:
        if needs_broker and not way.queued:
            phases.append(Phase(name, "edge", not_measured=NO_BROKER))
        else:
            phases.append(_phase(box, plan, way, name, measure))
    return Run(way.arm.name, 0, tuple(phases))


def _phase(box: Sandbox, plan: Plan, way: Way, name: str, measure: Callable[[Scene, float], Edge]) -> Phase:
    try:
        with scene(box, plan, way, restarted=True) as made:
            made.settle()
            found = measure(made, plan.sizes.patience + way.interval)
    except Problem as problem:
        return Phase(name, "edge", not_measured=f"{problem.what}; {problem.remedy}")
    except psycopg.Error as error:
        return Phase(name, "edge", not_measured=one_line(f"Postgres refused a statement of the comparison: {error}"))
    # Neither the order is judged here, nor what came again in a way that a consumer cannot know: see the edge itself.
    counts = Correctness(found.committed, missed=found.lost, duplicated=found.duplicated, reordered=0)
    return Phase(name, "edge", correctness=counts, edge=found)


def _unroutable(made: Scene, patience: float) -> Edge:
    """Commit events while no queue is bound, and some more when one is bound again."""
    routes = Routes(made.place, made.queue)
    made.start()
    made.ready()
    made.consume()
    after, seen = made.last_seq(), routes.unroutable()
    routes.unbind()
    try:
        _write(made, _UNROUTABLE_EVENTS)
        with suppress(Problem):  # a relay that stops at the first one never publishes the others now
            until(lambda: routes.unroutable() >= seen + _UNROUTABLE_EVENTS, what="all were published", seconds=patience)
    finally:
        routes.bind()
    _write(made, _UNROUTABLE_EVENTS)
    return _judged(made, after, patience)


def _broker_killed(made: Scene, patience: float) -> Edge:
    """Kill RabbitMQ in a drain, and start it again."""
    broker = made.place.box.rabbitmq
    broker.start()  # it runs, so this only tells whether it is ours to kill

    def kill() -> None:
        broker.kill()
        broker.start()

    return _drained(made, kill, patience)


def _program_killed(made: Scene, patience: float) -> Edge:
    """Kill the relay in a drain; its service starts it again."""
    return _drained(made, made.kill, patience)


def _drained(made: Scene, kill: Callable[[], None], patience: float) -> Edge:
    sizes, after = made.plan.sizes, made.last_seq()
    events = min(_DRAIN_EVENTS, _DRAIN_TIMES * (sizes.slow_backlog if made.way.slow else sizes.backlog))
    made.place.write_backlog(events, per_transaction=1)
    made.consume()
    made.start()

    def underway() -> bool:
        made.check()
        return made.arrived.count() >= events * _KILL_AFTER

    until(underway, what="a part of the backlog has arrived", seconds=_STEP_SECONDS, every=0.02)
    if made.arrived.count() >= events:
        raise Problem(
            f"All {events:,} events had arrived before anything was killed", remedy="measure it again in another --out"
        )
    kill()
    return _judged(made, after, max(patience, _PATIENCE))


def _judged(made: Scene, after: int, patience: float) -> Edge:
    events = {event.id for event in made.events(after, {}, {}, 0.0)}
    at_most = made.plan.sizes.at_most + patience
    come = made.arrived.until(events, patience=patience, at_most=at_most)
    aside = _aside(made)
    redriven = _redrive(made, aside & events)
    if redriven:
        come = made.arrived.until(events, patience=patience, at_most=at_most)
    if come.unfinished:
        what = f"Not all of {len(events):,} events had arrived after {at_most:g} s, and others still did"
        raise Problem(what, remedy="measure it again on a faster machine")
    return judging.edge(events, come.arrivals, aside, redriven=redriven, restarts=made.restarts())


def _aside(made: Scene) -> set[str]:
    """Return the ids of the events that are kept: parked by ours, or whatever a peer says."""
    peer = made.way.peer
    name = "bench_edge_parked" if peer is None else peer.aside
    return set() if name is None else {str(row[0]) for row in made.place.execute(name)}


def _redrive(made: Scene, parked: Collection[str]) -> set[str]:
    """Publish again what ours has parked, as an operator does; returns what that was."""
    if made.way.peer is not None or not parked:
        return set()
    words = ("relay", "parked", "redrive", "--all")
    with programs.command(made.place.place / "redrive", *words, environment=made.place.settings()) as program:
        program.finish(seconds=_STEP_SECONDS)
    return set(parked)


def _write(made: Scene, events: int) -> None:
    made.place.execute("bench_backlog", events=events, per_transaction=1)
