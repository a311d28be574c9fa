"""What is true of a run, checked against what its clients were told and what the service shows afterwards. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from writers.locking.client import NoneLeft, Taken, Task
from writers.locking.grabbing import Run

_MEASURABLE_SECONDS = 1.0
"""Below this much work in all, what a run takes is not the work."""


class Observation(NamedTuple):
    """Whether something holds, and what was found."""

    holds: bool
    text: str


def observe(run: Run, *, instances: int | None = None) -> list[Observation]:
    """Return what was checked of `run`; `instances` is how many should have answered, if that is known."""
    found = [*_safe(run), _nothing_locked(run), _answered(run), *_in_order(run), *_at_once(run)]
    if instances is not None:
        found.append(_spread(run, instances))
    return found


def by_instance(run: Run) -> dict[str, int]:
    """Return how many tasks each instance has grabbed; 0 for one that only answered that none was left."""
    counts = Counter({each.instance: 0 for each in run.outcomes if isinstance(each, NoneLeft)})
    counts.update(each.instance for each in run.taken)
    return dict(sorted(counts.items()))


def _safe(run: Run) -> Iterator[Observation]:
    times = Counter(each.id for each in run.taken)
    twice = sorted(task for task, number in times.items() if number > 1)
    if twice:
        yield Observation(holds=False, text=f"tasks were grabbed twice: {', '.join(twice)}")
    else:
        yield Observation(
            holds=True,
            text=f"no task was grabbed twice: {_count(len(times), 'answer', 'answers')}, all of different tasks",
        )
    again = sorted(task.id for task in run.left if task.attempts > 1)
    left = {task.id: task for task in run.left}
    wrong = sorted({each.id for each in run.taken if not _completed(each, left)})
    completed = sum(task.status == "completed" for task in run.left)
    unknown = completed - len(times)
    if again or wrong:
        yield Observation(
            holds=False, text=f"tasks are not completed once by the instance that answered: {', '.join(again + wrong)}"
        )
    elif not 0 <= unknown <= len(run.failed):
        yield Observation(holds=False, text=f"{completed} tasks are completed, and {len(times)} were grabbed")
    else:
        more = f"; {unknown} more, whose answer was lost" if unknown else ""
        yield Observation(
            holds=True, text=f"each of them was claimed once, and completed by the instance that answered{more}"
        )


def _completed(grab: Taken, left: dict[str, Task]) -> bool:
    task = left.get(grab.id)
    return (
        task is not None
        and task.status == "completed"
        and task.result is not None
        and task.result.grabbed_by == grab.instance
    )


def _nothing_locked(run: Run) -> Observation:
    locked = [task for task in run.left if task.locked_by is not None]
    stuck = [task for task in run.left if task.status not in {"pending", "completed"}]
    if locked or stuck:
        names = ", ".join(f"{task.id} ({task.status})" for task in {each.id: each for each in locked + stuck}.values())
        return Observation(holds=False, text=f"tasks stayed locked: {names}")
    gone = len(run.made) - len(run.left)
    if gone:
        return Observation(holds=False, text=f"{gone} of {len(run.made)} tasks are gone")
    pending = sum(task.status == "pending" for task in run.left)
    return Observation(holds=True, text=f"nothing stayed locked: {_count(pending, 'task is', 'tasks are')} pending")


def _answered(run: Run) -> Observation:
    if run.failed:
        reasons = Counter(each.reason for each in run.failed)
        text = "; ".join(f"{reason} ({number})" for reason, number in reasons.most_common())
        return Observation(
            holds=False, text=f"{_count(len(run.failed), 'request has', 'requests have')} failed: {text}"
        )
    wanted = min(len(run.made), len(run.outcomes))
    return Observation(
        len(run.taken) == wanted,
        f"every request was answered: {len(run.taken)} with a task, {len(run.none_left)} that none is left",
    )


def _in_order(run: Run) -> Iterator[Observation]:
    """Check the order, unless a grab failed: it may have held an older task for a while."""
    if run.failed or not run.taken:
        return
    number = len({each.id for each in run.taken})
    oldest = {task.id for task in run.made[:number]} == {each.id for each in run.taken}
    yield Observation(oldest, f"the {number} oldest tasks were taken" if oldest else "older tasks were passed over")


def _at_once(run: Run) -> Iterator[Observation]:
    one_by_one = run.plan.seconds * len(run.taken)
    if len(run.taken) < 2 or one_by_one < _MEASURABLE_SECONDS:  # noqa: PLR2004 - it takes two to wait
        return
    took = f"{run.total:.1f} s for {one_by_one:g} s of work"
    if run.plan.skip_locked:
        holds = run.total < one_by_one
        yield Observation(holds, f"they {'worked at the same time' if holds else 'waited for each other'}: {took}")
    else:
        holds = run.total >= one_by_one
        yield Observation(holds, f"they {'waited for each other' if holds else 'did not wait for each other'}: {took}")
    holders = sorted({name for look in run.looks for name in look.holders})
    if run.locked_at_once:
        holds = run.plan.skip_locked or run.locked_at_once == 1
        rows = _count(run.locked_at_once, "row was", "rows were")
        yield Observation(holds, f"at most {rows} seen locked at once, by {', '.join(holders)} (GET /tasks)")


def _spread(run: Run, instances: int) -> Observation:
    answered = by_instance(run)
    wanted = min(instances, len(run.outcomes))
    return Observation(len(answered) >= wanted, f"{len(answered)} of {instances} instances answered")


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
