"""How fast one backlog of tasks is worked through: by each arm in turns, on the same servers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.instruments import figures
from bench.measures.tasks.arms import BARE, Arm, Worked
from sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Rate:
    """One arm: its runs, and their medians."""

    arm: str
    tasks: int
    runs: list[Worked]
    per_second: float
    of_bare: float | None
    """The rate as a share of deliver and acknowledge; the median of the rounds. None where that was not measured."""
    cpu_per_task: float
    """CPU microseconds of the consumers."""
    transactions: float | None
    """For each task, as the next."""
    wal_bytes: float | None


def compare(  # noqa: PLR0913 - the sizes of a measurement
    box: Sandbox, *, arms: Sequence[Arm], tasks: int, runs: int, window: int, say: Callable[[str], object]
) -> list[Rate]:
    """Let each of `arms` work through a backlog of `tasks`, `runs` times, every second round in reversed order."""
    made: dict[str, list[Worked]] = {arm.name: [] for arm in arms}
    for number in range(runs):
        for arm in arms if number % 2 == 0 else reversed(arms):
            worked = arm.run(box, tasks=tasks, window=window)
            made[arm.name].append(worked)
            say(f"run {number + 1} of {runs}: {arm.name}: {worked.per_second:,.0f} tasks/s")
    bare = made.get(BARE.name)
    return [_rate(arm.name, tasks, made[arm.name], bare) for arm in arms]


def _rate(name: str, tasks: int, runs: list[Worked], bare: list[Worked] | None) -> Rate:
    ratios = [run.per_second / limit.per_second for run, limit in zip(runs, bare or [], strict=False)]
    return Rate(
        arm=name,
        tasks=tasks,
        runs=runs,
        per_second=figures.median([run.per_second for run in runs]),
        of_bare=figures.median(ratios) if ratios else None,
        cpu_per_task=figures.median([run.cpu_per_task for run in runs]),
        transactions=_median([run.transactions for run in runs]),
        wal_bytes=_median([run.wal_bytes for run in runs]),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return figures.median(known) if known else None
