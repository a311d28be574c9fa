"""What follows a failed attempt, with real processes: when it is tried again, and when it is not."""

import re
from functools import partial

import pytest

from sandbox.machine.waiting import until
from tests.integration.consumers.stage import Stage, metric
from tests.support.commands import Command

SOON = {"retry_base": "10ms", "retry_jitter": "0", "enqueue_every": "0.1"}


def until_dead_or_done(stage: Stage, **statuses: int) -> None:
    """Relay the events of tasks that become due, until all tasks have these statuses."""

    def reached() -> bool:
        stage.relay()
        return stage.statuses() == statuses

    until(reached, what=f"tasks reach {statuses}", seconds=30)


def test_a_failed_attempt_is_made_again_by_the_policy_until_it_succeeds(stage: Stage) -> None:
    (task_id,) = stage.submit("fails-twice")
    consumer = stage.consume(**SOON)
    until_dead_or_done(stage, completed=1)
    assert stage.task(task_id)[2:] == (3, "attempt 3", None)
    path = stage.rows("SELECT to_status, error FROM tasks.history_of(%s)", task_id)
    once = [("running", None), ("failed", "ConnectionError: planted"), ("scheduled", None), ("pending", None)]
    assert path == [("pending", None), *once, *once, ("running", None), ("completed", None)]
    assert metric(consumer, "consumers_retries_total", type="fails-twice") == 2
    assert consumer.terminate() == 0


def test_each_wait_is_longer_and_the_last_failure_makes_the_task_dead(stage: Stage) -> None:
    (task_id,) = stage.submit("raises")
    consumer = stage.consume(**SOON | {"retry_base": "100ms", "retry_factor": "3", "retry_attempts": "3"})
    until_dead_or_done(stage, dead=1)
    failed, due = (
        [
            at
            for (at,) in stage.rows(
                "SELECT at FROM tasks.history_of(%s) WHERE to_status = %s AND version > 1 ORDER BY version",
                task_id,
                status,
            )
        ]
        for status in ("failed", "pending")
    )
    waits = [(end - begin).total_seconds() for begin, end in zip(failed, due, strict=False)]
    assert len(waits) == 2
    assert waits[0] >= 0.1
    assert waits[1] >= 0.3
    until(
        lambda: metric(consumer, "consumers_tasks_total", type="raises", outcome="dead") == 1,
        what="it is counted",
        seconds=30,
    )
    assert consumer.terminate() == 0


@pytest.mark.parametrize("type_", ["permanent", "refused"])
def test_a_permanent_error_makes_the_task_dead_at_once(stage: Stage, type_: str) -> None:
    (task_id,) = stage.submit(type_)
    consumer = stage.consume(**SOON)
    until_dead_or_done(stage, dead=1)
    assert stage.task(task_id)[1:3] == (4, 1)
    assert consumer.terminate() == 0


def test_a_handler_says_when_it_wants_to_be_tried_again(stage: Stage) -> None:
    (task_id,) = stage.submit("later")
    consumer = stage.consume(**SOON)
    until_dead_or_done(stage, scheduled=1)
    assert stage.task(task_id)[4] == "Retry: the bank is closed"
    [(wait,)] = stage.rows("SELECT extract(epoch FROM run_at - updated_at)::float FROM tasks.task")
    assert wait == pytest.approx(3600, abs=1)
    assert consumer.terminate() == 0


def test_a_cancel_that_comes_while_it_waits_for_its_next_attempt_is_final(stage: Stage) -> None:
    (task_id,) = stage.submit("later")
    consumer = stage.consume(**SOON)
    until_dead_or_done(stage, scheduled=1)
    assert stage.rows("SELECT tasks.cancel(%s)", task_id) == [("cancelled",)]
    assert consumer.terminate() == 0
    assert stage.statuses() == {"cancelled": 1}


def test_a_task_without_a_handler_here_is_tried_again_where_there_is_one(stage: Stage) -> None:
    """As in a rolling deployment: the first consumer is older than the task's type."""
    (task_id,) = stage.submit("fails-twice")
    without = stage.consume(**SOON, handlers="consumers.examples")
    until(lambda: (stage.relay(), stage.task(task_id)[2])[1] >= 1, what="it was tried", seconds=30)
    assert without.terminate() == 0
    having = stage.consume(**SOON)
    until_dead_or_done(stage, completed=1)
    assert having.terminate() == 0


def test_a_run_that_takes_too_long_fails_and_its_late_end_changes_nothing(stage: Stage) -> None:
    (task_id,) = stage.submit("too-long")
    consumer = stage.consume(**SOON, concurrency="1", retry_attempts="1")
    with stage.gate():
        stage.relay()
        stage.waiting_at_gate(1)
        stage.reaches(dead=1)
        assert stage.task(task_id)[4] == "TimeoutError: its handler ran for longer than 500ms"
        stage.submit("greet")
        stage.relay()
        stage.reaches(dead=1, completed=1)
        assert consumer.logged("a handler runs on after its deadline, in a thread that was given up")["thread"]
    consumer.logged("a handler ended long after its deadline; nothing of it was applied")
    assert stage.effects() == []
    assert stage.statuses() == {"dead": 1, "completed": 1}
    assert consumer.terminate() == 0


def test_a_handler_on_the_loop_is_cancelled_at_its_deadline(stage: Stage) -> None:
    (task_id,) = stage.submit("too-long-async")
    consumer = stage.consume(**SOON, retry_attempts="1")
    stage.relay()
    stage.reaches(dead=1)
    assert re.match("TimeoutError: its handler ran for longer than 300ms", stage.task(task_id)[4])
    assert stage.effects() == []
    assert consumer.terminate() == 0


def died(stage: Stage, consumer: Command) -> bool:
    stage.relay()
    return not consumer.running


def test_a_handler_that_kills_its_process_is_dead_after_its_last_attempt(stage: Stage) -> None:
    """Whoever finds the lease that ran out counts the run, and not who died."""
    [(task_id,)] = stage.rows("SELECT tasks.submit('kills', max_attempts => 2)")
    for attempt in (1, 2):
        consumer = stage.consume(**SOON, lease="1")
        until(partial(died, stage, consumer), what="it has died", seconds=30)
        assert stage.task(task_id)[2] == attempt
    last = stage.consume(**SOON, lease="1")
    until_dead_or_done(stage, dead=1)
    assert stage.task(task_id)[4] == "its lease ran out on attempt 2 of 2"
    assert last.terminate() == 0


def test_a_consumer_whose_handler_stops_python_for_longer_than_the_lease_applies_nothing_late(stage: Stage) -> None:
    (task_id,) = stage.submit("stops-python")
    consumers = [stage.consume(**SOON, lease="1"), stage.consume(**SOON, lease="1")]
    until_dead_or_done(stage, completed=1)
    until(
        lambda: sum(metric(each, "consumers_lease_lost_total") for each in consumers) == 1,
        what="the late one finds its claim lost",
        seconds=30,
    )
    assert stage.effects() == [task_id]
    assert stage.task(task_id)[2] == 2
    assert [each.terminate() for each in consumers] == [0, 0]


def test_a_task_whose_only_attempt_by_its_policy_broke_off_does_not_run_again(stage: Stage) -> None:
    (task_id,) = stage.submit("kills-once")
    first = stage.consume(**SOON, lease="1")
    until(partial(died, stage, first), what="it has died", seconds=30)
    second = stage.consume(**SOON, lease="1")
    until_dead_or_done(stage, dead=1)
    assert stage.task(task_id)[4] == "RuntimeError: its attempt 1 of 1 broke off"
    assert stage.effects() == [task_id]
    assert second.terminate() == 0
