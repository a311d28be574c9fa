"""Peers as arms: their jobs that do nothing, in a database of their own on the same server."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.load import programs
from bench.load.peers import installing
from bench.load.programs import Program
from bench.measures.tasks.arms import Arm, Worked, measure
from bench.stage import Stage, stage
from bench.watch import Counting, wait_for_quiet
from sandbox import Sandbox

_PREPARE_SECONDS = 120.0
_SECONDS = 60.0
"""How long one run lasts at most: a peer that is slow need not do all of its jobs to show its rate."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer."""

    name: str
    words: list[str]
    done: Callable[[Stage, int], int]
    """How many of so many jobs are done."""

    def run(self, box: Sandbox, *, tasks: int, window: int) -> Worked:
        """Work through `tasks` jobs, or for a minute."""
        with stage(box, window=window) as place:
            place.vacuum()
            with self._program(place, "prepare", tasks) as preparing:
                preparing.finish(seconds=_PREPARE_SECONDS)
            with place.connect() as connection:
                connection.execute("VACUUM ANALYZE")
            wait_for_quiet(tasks)
            return measure(place, tasks, lambda stack: self._watch(place, tasks, stack), at_most=_SECONDS)

    def _watch(self, place: Stage, tasks: int, stack: ExitStack) -> Counting:
        program = stack.enter_context(self._program(place, "work", tasks))
        return Counting(place, [program], lambda: self.done(place, tasks))

    def _program(self, place: Stage, action: str, jobs: int) -> AbstractContextManager[Program]:
        arguments = {"database_url": place.database_url, "jobs": jobs}
        return programs.script(place.place, [*self.words, action], self.name, arguments, installing.ENVIRONMENT)


def install(directory: Path) -> Sequence[Arm]:
    """Install the peers below `directory` and return their arms."""
    directory.mkdir(parents=True)
    procrastinate, graphile = installing.procrastinate(directory), installing.graphile_worker(directory)
    return (
        Peer(f"Procrastinate {installing.PROCRASTINATE}", procrastinate, _procrastinated),
        Peer(f"graphile-worker {installing.GRAPHILE_WORKER}", graphile, _graphiled),
    )


def _procrastinated(place: Stage, _: int) -> int:
    ((done,),) = place.execute("bench_procrastinate_done")
    return int(done)


def _graphiled(place: Stage, jobs: int) -> int:
    ((left,),) = place.execute("bench_graphile_left")
    return jobs - int(left)
