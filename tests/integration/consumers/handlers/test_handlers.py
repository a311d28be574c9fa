"""What a handler gets and may leave, with real processes: of both kinds, in a transaction and without."""

import json
import re
import signal

import pytest

from sandbox.machine.waiting import until
from tests.integration.consumers.stage import Stage, metric


@pytest.mark.parametrize("type_", ["leaves", "leaves-async", "leaves-in-transaction", "leaves-async-in-transaction"])
def test_events_and_tasks_that_a_handler_leaves_are_written_with_its_completion(stage: Stage, type_: str) -> None:
    (task_id,) = stage.submit(type_)
    consumer = stage.consume()
    stage.relay()
    stage.reaches(completed=1, scheduled=1)
    assert stage.task(task_id)[3] == {"attempt": 1, "of": 5}
    [(event, payload, version, headers, moment)] = stage.rows(
        "SELECT event_type, payload, aggregate_version, headers, tx::text FROM outbox.event"
        " WHERE aggregate_type = 'order'"
    )
    assert (event, payload, version, headers) == ("paid", {"by": type_}, 7, {"a": "b"})
    [(submitted, max_attempts)] = stage.rows("SELECT payload, max_attempts FROM tasks.task WHERE type = 'greet'")
    assert (submitted, max_attempts) == ({"name": "later"}, 2)
    assert stage.rows("SELECT xmin::text FROM tasks.task WHERE type = 'greet'") == [(moment,)], "one transaction"
    assert consumer.terminate() == 0


@pytest.mark.parametrize("type_", ["leaves-wrong", "leaves-and-raises"])
def test_nothing_is_left_by_a_handler_that_fails_or_whose_event_is_refused(stage: Stage, type_: str) -> None:
    stage.submit(type_, 2)
    consumer = stage.consume(retry_attempts="1")
    stage.relay()
    stage.reaches(dead=2)
    assert stage.rows("SELECT count(*) FROM outbox.event WHERE aggregate_type <> 'task'") == [(0,)]
    expected = "NotNullViolation|CheckViolation" if type_ == "leaves-wrong" else "ValueError: planted"
    assert all(re.match(expected, error) for (error,) in stage.rows("SELECT last_error FROM tasks.task"))
    assert consumer.terminate() == 0


def test_asynchronous_handlers_run_at_once_on_the_loop_and_each_is_applied_once(stage: Stage) -> None:
    tasks = stage.submit("async-effect", 20)
    consumer = stage.consume()
    stage.relay(copies=3)
    stage.reaches(completed=20)
    assert sorted(stage.effects()) == sorted(tasks)
    assert consumer.terminate() == 0


@pytest.mark.parametrize("type_", ["heeds", "heeds-async"])
def test_a_handler_sees_that_its_task_was_cancelled(stage: Stage, type_: str) -> None:
    (task_id,) = stage.submit(type_)
    consumer = stage.consume()
    stage.relay()
    stage.reaches(running=1)
    assert stage.rows("SELECT tasks.cancel(%s)", task_id) == [("cancelling",)]
    stage.reaches(cancelled=1)
    assert stage.task(task_id)[3] is None
    assert consumer.logged("it was cancelled")["task"] == str(task_id)
    assert consumer.terminate() == 0


def test_what_does_not_end_within_the_grace_period_is_given_back_and_counts(stage: Stage) -> None:
    (task_id,) = stage.submit("gated")
    consumer = stage.consume(grace="0.2")
    with stage.gate():
        stage.relay()
        stage.waiting_at_gate(1)
        consumer.process.send_signal(signal.SIGTERM)
        stage.reaches(pending=1)
        assert consumer.ended() == 0
        assert stage.task(task_id)[1:3] == (3, 1)
    line = consumer.logged("tasks given back that were not done in time")
    assert (line["tasks"], line["types"], line["grace"]) == (1, ["gated"], 0.2)
    stage.relay()
    other = stage.consume()
    stage.reaches(completed=1)
    assert stage.task(task_id)[3] == 2
    assert other.terminate() == 0


@pytest.mark.parametrize("type_", ["leaves-thread", "leaves-process"])
def test_threads_and_processes_that_a_handler_leaves_do_not_keep_the_consumer(stage: Stage, type_: str) -> None:
    stage.submit(type_)
    consumer = stage.consume()
    stage.relay()
    stage.reaches(completed=1)
    consumer.process.send_signal(signal.SIGTERM)
    assert consumer.ended() == 0
    line = consumer.logged("the process ends without what handlers left")
    assert "left behind" in json.dumps([line["threads"], line["children"]])


@pytest.mark.parametrize("type_", ["forks", "forks-in-transaction"])
def test_a_handler_that_forks_and_comes_back_twice_completes_once(stage: Stage, type_: str) -> None:
    tasks = stage.submit(type_, 5)
    consumer = stage.consume()
    stage.relay()
    stage.reaches(completed=5)
    stage.submit("greet")
    stage.relay()
    stage.reaches(completed=6)
    until(
        lambda: metric(consumer, "consumers_tasks_total", type=type_) == len(tasks), what="all are counted", seconds=30
    )
    assert consumer.terminate() == 0


def test_a_handler_that_raises_what_ends_programs_ends_only_its_task(stage: Stage) -> None:
    stage.submit("exits", 1)
    stage.submit("exits-async", 1)
    consumer = stage.consume(retry_attempts="1")
    stage.relay()
    stage.reaches(dead=2)
    stage.submit("greet")
    stage.relay()
    stage.reaches(dead=2, completed=1)
    assert consumer.terminate() == 0
