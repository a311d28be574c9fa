"""What is checked of a run: each observation holds for a good run, and for no other."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from writers.locking.client import Failed, Holder, NoneLeft, Outcome, Result, Taken, Task
from writers.locking.grabbing import Look, Plan, Run
from writers.locking.observing import by_instance, observe

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def task(number: int, **changes: object) -> Task:
    fields: dict[str, object] = {
        "id": f"task-{number}",
        "status": "pending",
        "attempts": 0,
        "created_at": _NOON + timedelta(seconds=number),
    }
    return Task.model_validate(fields | changes)


def completed(number: int, instance: str = "writers-1", **changes: object) -> Task:
    return task(number, **({"status": "completed", "attempts": 1, "result": Result(grabbed_by=instance)} | changes))


def taken(number: int, instance: str = "writers-1") -> Taken:
    return Taken(f"task-{number}", number, instance, 2.0)


GOOD = Run(
    Plan(tasks=4, requests=3, seconds=2),
    made=(task(1), task(2), task(3), task(4)),
    outcomes=(taken(2), taken(1, "writers-2"), taken(3)),
    total=2.1,
    looks=(Look(0, frozenset()), Look(3, frozenset({"writers-1", "writers-2"}))),
    left=(completed(1, "writers-2"), completed(2), completed(3), task(4)),
)
FAILED = Failed("502 Bad Gateway", 1.0)


def wrong(run: Run, *, instances: int | None = None) -> list[str]:
    """Return what does not hold of `run`."""
    return [each.text for each in observe(run, instances=instances) if not each.holds]


def outcomes(*found: Outcome) -> Run:
    return replace(GOOD, outcomes=found)


def left(*tasks: Task) -> Run:
    return replace(GOOD, left=tasks)


def test_of_a_good_run_everything_holds() -> None:
    assert wrong(GOOD, instances=2) == []
    assert [each.text for each in observe(GOOD, instances=2)] == [
        "no task was grabbed twice: 3 answers, all of different tasks",
        "each of them was claimed once, and completed by the instance that answered",
        "nothing stayed locked: 1 task is pending",
        "every request was answered: 3 with a task, 0 that none is left",
        "the 3 oldest tasks were taken",
        "they worked at the same time: 2.1 s for 6 s of work",
        "at most 3 rows were seen locked at once, by writers-1, writers-2 (GET /tasks)",
        "2 of 2 instances answered",
    ]


def test_a_task_that_two_answers_name_was_grabbed_twice() -> None:
    assert "tasks were grabbed twice: task-1" in wrong(outcomes(taken(1), taken(1), taken(2)))


@pytest.mark.parametrize(
    "first",
    [
        completed(1, "writers-2", attempts=2),
        completed(1, "writers-1"),
        completed(1, result=None),
        task(1),
        task(1, status="cancelled"),
    ],
    ids=["claimed twice", "completed by another", "completed by nobody", "pending", "cancelled"],
)
def test_a_grabbed_task_that_is_not_completed_once_by_the_instance_that_answered_is_found(first: Task) -> None:
    found = wrong(left(first, *GOOD.left[1:]))
    assert "tasks are not completed once by the instance that answered: task-1" in found


def test_a_task_that_is_completed_and_that_nobody_was_told_of_is_found() -> None:
    assert wrong(left(*GOOD.left[:3], completed(4))) == ["4 tasks are completed, and 3 were grabbed"]


def test_the_answer_of_a_completed_task_may_be_lost_with_its_request() -> None:
    run = replace(GOOD, outcomes=(taken(2), FAILED, taken(3)))
    texts = [each.text for each in observe(run) if each.holds]
    assert (
        "each of them was claimed once, and completed by the instance that answered; 1 more, whose answer was lost"
        in texts
    )


@pytest.mark.parametrize(
    "last",
    [task(4, locked_by=Holder(instance="writers-1")), task(4, status="running")],
    ids=["locked", "running"],
)
def test_what_stays_locked_is_found(last: Task) -> None:
    assert wrong(left(*GOOD.left[:3], last)) == [f"tasks stayed locked: task-4 ({last.status})"]


def test_tasks_that_are_gone_are_found() -> None:
    assert wrong(left(*GOOD.left[:3])) == ["1 of 4 tasks are gone"]


def test_a_request_that_failed_is_found_with_its_reason() -> None:
    run = replace(left(*GOOD.left[:2], task(3), task(4)), outcomes=(taken(2), taken(1, "writers-2"), FAILED))
    assert wrong(run) == ["1 request has failed: 502 Bad Gateway (1)"]


def test_no_request_may_be_told_that_none_is_left_while_there_are_tasks() -> None:
    run = replace(
        left(*GOOD.left[:2], task(3), task(4)),
        outcomes=(taken(2), taken(1, "writers-2"), NoneLeft("writers-3", 0.1)),
    )
    assert wrong(run) == ["every request was answered: 2 with a task, 1 that none is left"]
    everything = replace(GOOD, made=GOOD.made[:2], left=GOOD.left[:2], outcomes=run.outcomes)
    assert wrong(everything) == []


def test_an_older_task_that_was_passed_over_is_found() -> None:
    run = replace(
        left(completed(1, "writers-2"), completed(2), task(3), completed(4)),
        outcomes=(taken(2), taken(1, "writers-2"), taken(4)),
    )
    assert wrong(run) == ["older tasks were passed over"]


def test_with_skip_locked_nobody_waits_and_without_it_everybody_does() -> None:
    assert wrong(replace(GOOD, total=6.2)) == ["they waited for each other: 6.2 s for 6 s of work"]
    without = replace(GOOD, plan=replace(GOOD.plan, skip_locked=False))
    assert wrong(without) == [
        "they did not wait for each other: 2.1 s for 6 s of work",
        "at most 3 rows were seen locked at once, by writers-1, writers-2 (GET /tasks)",
    ]
    assert wrong(replace(without, total=6.2, looks=(Look(1, frozenset({"writers-1"})),))) == []


def test_an_instance_that_does_not_answer_is_found() -> None:
    assert wrong(GOOD, instances=3) == ["2 of 3 instances answered"]
    assert wrong(outcomes(*GOOD.outcomes[:2], NoneLeft("writers-3", 0.1)), instances=3) != ["2 of 3 instances answered"]


def test_an_instance_that_had_nothing_to_give_has_an_empty_bar() -> None:
    run = outcomes(*GOOD.outcomes, NoneLeft("writers-3", 0.1), NoneLeft("writers-1", 0.1))
    assert by_instance(run) == {"writers-1": 2, "writers-2": 1, "writers-3": 0}
