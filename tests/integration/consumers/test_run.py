"""`consumers run` as a real process: tasks are applied once, counted by outcome, given back, and ended in order."""

import json
import math
import signal
import socket
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

from sandbox.machine.waiting import until
from tests.integration.consumers.stage import Stage, get, header, metric
from tests.support.commands import Command


def test_everything_delivered_three_times_is_applied_once_by_two_consumers(stage: Stage) -> None:
    tasks = stage.submit("record", 300)
    consumers = [stage.consume(), stage.consume()]
    stage.relay(copies=3)
    stage.reaches(completed=300)
    until(lambda: counted(*consumers) == 900, what="every delivery is counted", seconds=30)
    assert sorted(stage.effects()) == sorted(tasks)
    assert counted(*consumers, type="record", outcome="completed") == 300
    assert counted(*consumers, outcome="duplicate") == 600
    assert sum(metric(each, "consumers_task_seconds_count", type="record") for each in consumers) == 300
    assert [each.terminate() for each in consumers] == [0, 0]
    assert stage.ready(stage.queue) == 0
    assert stage.dead == 0


def counted(*consumers: Command, **labels: str) -> float:
    return sum(metric(each, "consumers_tasks_total", **labels) for each in consumers)


def test_a_handler_that_raises_fails_only_its_own_task(stage: Stage) -> None:
    (raises,), (not_json,), (unregistered,), (good,) = (
        stage.submit(type_) for type_ in ("raises", "not-json", "nobody's", "greet")
    )
    consumer = stage.consume(retry_attempts="1")
    stage.relay()
    stage.reaches(dead=3, completed=1)
    status, version, attempts, result, error = stage.task(raises)
    assert (status, version, attempts, result) == ("dead", 4, 1, None)
    assert error.startswith("ValueError: planted {'n': 1} \N{REPLACEMENT CHARACTER} ?xxx")
    assert len(error) == 1000
    with pytest.raises(ValueError, match="not JSON compliant") as refused:  # its words depend on the version of Python
        json.dumps(math.nan, allow_nan=False)
    assert stage.task(not_json)[4] == f"ValueError: {refused.value}"
    assert stage.task(unregistered)[4] == '''LookupError: no handler is registered for tasks of type "nobody's"'''
    assert stage.task(good)[3] == {"greeting": "Hello, world!"}
    assert consumer.terminate() == 0
    assert [line["task"] for line in consumer.log if line["event"] == "task failed"].count(str(raises)) == 1
    assert stage.ready(stage.queue) == 0


def test_an_undecodable_delivery_lands_in_the_dead_letter_queue(stage: Stage) -> None:
    consumer = stage.consume()
    stage.publish({"aggregate_type": "order"}, {}, header("not-a-uuid", 1), header(uuid4(), 0))
    until(lambda: stage.dead == 4, what="all four are dead-lettered", seconds=30)
    assert metric(consumer, "consumers_tasks_total", outcome="undecodable") == 4
    assert consumer.terminate() == 0


def test_unknown_stale_and_cancelled_deliveries_are_counted_and_acked(stage: Stage) -> None:
    (done,), (cancelled,) = stage.submit("greet"), stage.submit("greet")
    assert stage.rows("SELECT tasks.cancel(%s)", cancelled) == [("cancelled",)]
    consumer = stage.consume()
    stage.relay()
    stage.reaches(completed=1, cancelled=1)
    stage.publish(header(uuid4(), 1), header(done, 9), header(cancelled, 1))
    until(lambda: counted(consumer) == 5, what="every delivery is counted", seconds=30)
    assert [counted(consumer, outcome=each) for each in ("unknown", "cancelled", "completed")] == [2, 2, 1]
    assert consumer.terminate() == 0
    assert (stage.ready(stage.queue), stage.dead) == (0, 0)


def test_an_open_transaction_holds_up_its_own_tasks_and_no_others(stage: Stage) -> None:
    """It has locked more pending rows than there are handlers, and the row of one that runs; then it is rolled back."""
    pending, (running,) = stage.submit("record", 30), stage.submit("gated")
    consumer = stage.consume(concurrency="8")
    with stage.gate() as open_gate, psycopg.connect(stage.isolated.database_url) as other:
        for task_id in pending:
            other.execute("SELECT tasks.cancel(%s)", [task_id])
        stage.relay()
        stage.reaches(running=1, pending=30)
        other.execute("SELECT tasks.cancel(%s)", [running])
        open_gate()
        stage.submit("record", 100)
        stage.relay()
        stage.reaches(completed=100, running=1, pending=30)
        other.rollback()
        stage.reaches(completed=131)
    assert consumer.terminate() == 0
    assert (stage.ready(stage.queue), stage.dead) == (0, 0)


def test_a_message_that_overtakes_its_transaction_waits_for_it(stage: Stage) -> None:
    task_id = uuid4()
    consumer = stage.consume()
    with psycopg.connect(stage.isolated.database_url) as writer:
        writer.execute("SELECT tasks.submit('record', id => %s)", [task_id])
        stage.publish(header(task_id, 1))
        until(lambda: stage.rows(_ASKED), what="the consumer has asked for the task", seconds=30)
        assert metric(consumer, "consumers_tasks_total") == 0
        writer.commit()
    stage.reaches(completed=1)
    assert stage.effects() == [task_id]


# The statement that a consumer's session ran last was a claim.
_ASKED: LiteralString = """
    SELECT FROM pg_stat_activity WHERE datname = current_database()
    AND starts_with(application_name, 'consumers claims') AND starts_with(query, '-- Claims') AND state = 'idle'
"""


def test_at_sigterm_a_running_handler_ends_and_no_other_begins(stage: Stage) -> None:
    stage.submit("gated", 5)
    consumer = stage.consume(concurrency="1", prefetch="3")
    with stage.gate() as open_gate:
        stage.relay()
        stage.waiting_at_gate(1)
        stage.reaches(running=1, pending=4)
        consumer.process.send_signal(signal.SIGTERM)
        open_gate()
        assert consumer.ended() == 0
    assert stage.statuses() == {"completed": 1, "pending": 4}
    assert stage.ready(stage.queue) == 4
    other = stage.consume()
    stage.reaches(completed=5)
    assert other.terminate() == 0


def test_a_second_signal_gives_back_what_runs_and_ends_the_process(stage: Stage) -> None:
    """An open transaction has locked one of the two rows, and the process does not wait for it."""
    (locked,), (free,) = stage.submit("gated"), stage.submit("gated")
    consumer = stage.consume()
    with stage.gate(), psycopg.connect(stage.isolated.database_url) as other:
        stage.relay()
        stage.waiting_at_gate(2)
        other.execute("SELECT FROM tasks.task WHERE id = %s FOR UPDATE", [locked])
        for number in (signal.SIGTERM, signal.SIGINT):
            consumer.process.send_signal(number)
        assert consumer.ended() in {128 + signal.SIGTERM, 128 + signal.SIGINT}, "whichever was handled last"
        assert stage.task(free)[:3] == ("pending", 3, 1)
        assert stage.task(locked)[:3] == ("running", 2, 1)
    last = consumer.log[-1]
    assert (last["event"], last["tasks"], last["given_back"], last["left"]) == ("not drained", 2, 1, 1)
    assert last["reason"] == "another transaction has locked the rows of 1 tasks"
    assert "when their leases expire" in last["remedy"]
    stage.relay()
    other_consumer = stage.consume()
    until(lambda: stage.task(free)[0] == "completed", what="the task that was given back is completed", seconds=30)
    assert other_consumer.terminate() == 0


def test_long_tasks_are_shared_with_a_consumer_that_comes_later(stage: Stage) -> None:
    """The first one holds many deliveries by then, since its tasks were short."""
    short = 100
    stage.submit("greet", short)
    first = stage.consume(concurrency="2", prefetch="100")
    stage.relay()
    stage.reaches(completed=short)
    with stage.gate():
        stage.submit("gated", 20)
        stage.relay()
        stage.waiting_at_gate(2)
        second = stage.consume(concurrency="3", prefetch="100")
        published_again = until(stage.relay, what="the first one gives claims back", seconds=30)
        assert published_again <= 18
        stage.waiting_at_gate(5, meanwhile=stage.relay)  # it may give them back in several statements
        stage.reaches(completed=short, running=5, pending=15)

    def all_completed() -> bool:
        stage.relay()
        return stage.statuses() == {"completed": short + 20}

    until(all_completed, what="every task is completed", seconds=30)
    assert [first.terminate(), second.terminate()] == [0, 0]


def test_a_killed_consumers_task_runs_again_when_its_lease_has_run_out(stage: Stage) -> None:
    (effect,), (plain,) = stage.submit("gated-effect"), stage.submit("gated")
    first = stage.consume(lease="1")
    with stage.gate():
        stage.relay()
        stage.waiting_at_gate(2)
        first.kill()
        second = stage.consume(lease="1")
        until(stage.relay, what="a release is announced", seconds=30)
    until(lambda: stage.relay() or stage.statuses() == {"completed": 2}, what="both are applied", seconds=30)
    stage.relay()
    stage.reaches(completed=2)
    assert stage.effects() == [effect]
    assert stage.task(plain)[2:4] == (2, 2)
    assert second.terminate() == 0


def test_a_delivery_is_not_acked_before_its_claim_is_committed(stage: Stage) -> None:
    stage.submit("record")
    with psycopg.connect(stage.isolated.database_url) as other:
        other.execute("LOCK TABLE tasks.task IN EXCLUSIVE MODE")
        consumer = stage.consume()
        stage.relay()
        until(lambda: stage.rows(_WAITING_CLAIM), what="a claim waits for the table", seconds=30)
        consumer.kill()
        until(lambda: stage.ready(stage.queue) == 1, what="the delivery is back in the queue", seconds=30)


def test_a_delivery_is_not_acked_before_its_outcome_is_committed(stage: Stage) -> None:
    stage.submit("gated-effect")
    consumer = stage.consume()
    with stage.gate():
        stage.relay()
        stage.waiting_at_gate(1)
        consumer.kill()
        until(lambda: stage.ready(stage.queue) == 1, what="the delivery is back in the queue", seconds=30)


_WAITING_CLAIM: LiteralString = """
    SELECT FROM pg_stat_activity WHERE datname = current_database()
    AND starts_with(application_name, 'consumers claims') AND wait_event_type = 'Lock'
"""


def test_a_lease_is_extended_while_the_handler_runs(stage: Stage) -> None:
    (task_id,) = stage.submit("gated")
    consumers = [stage.consume(lease="3"), stage.consume(lease="3")]
    with stage.gate():
        stage.relay()
        stage.waiting_at_gate(1)
        until(
            lambda: stage.rows(
                "SELECT 1 FROM tasks.task WHERE id = %s AND lease_until > updated_at + interval '6 s'", task_id
            ),
            what="the lease was extended several times",
            seconds=30,
        )
    stage.reaches(completed=1)
    assert stage.task(task_id)[1:3] == (3, 1)
    assert [each.terminate() for each in consumers] == [0, 0]


def test_a_task_that_is_cancelled_while_its_handler_runs_leaves_no_effect_and_is_cancelled_when_it_ends(
    stage: Stage,
) -> None:
    (task_id,) = stage.submit("gated-effect")
    consumer = stage.consume()
    with stage.gate():
        stage.relay()
        stage.waiting_at_gate(1)
        assert stage.rows("SELECT tasks.cancel(%s)", task_id) == [("cancelling",)]
    stage.reaches(cancelled=1)
    assert stage.effects() == []
    assert stage.task(task_id)[:2] == ("cancelled", 4)
    assert consumer.terminate() == 0
    assert stage.ready(stage.queue) == 0


def test_a_claim_that_was_lost_while_its_handler_ran_leaves_no_effect(stage: Stage) -> None:
    (task_id,) = stage.submit("gated-effect")
    consumer = stage.consume()
    with stage.gate():
        stage.relay()
        stage.waiting_at_gate(1)
        stage.rows(
            "UPDATE tasks.task SET status = 'pending', version = version + 1, lease_until = NULL, claimed_by = NULL"
            " WHERE id = %s RETURNING id",
            task_id,
        )
    until(lambda: metric(consumer, "consumers_lease_lost_total") == 1, what="the lost claim is counted", seconds=30)
    assert stage.effects() == []
    assert stage.task(task_id)[:2] == ("pending", 3)
    assert consumer.terminate() == 0
    assert stage.ready(stage.queue) == 0


def test_a_lost_connection_to_postgres_fails_no_task(stage: Stage) -> None:
    tasks = stage.submit("gated-effect", 3)
    consumer = stage.consume()
    with stage.gate():
        stage.relay()
        stage.waiting_at_gate(3)
        stage.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND starts_with(application_name, 'consumers ')"
        )
        stage.reaches(pending=3)
    stage.relay()
    stage.reaches(completed=3)
    assert sorted(stage.effects()) == sorted(tasks)
    assert consumer.terminate() == 0


def test_a_deleted_queue_is_declared_again_and_the_running_task_completes(stage: Stage) -> None:
    stage.submit("gated")
    consumer = stage.consume()
    with stage.gate():
        stage.relay()
        stage.waiting_at_gate(1)
        stage.broker(lambda connection, channel: connection.call(channel.queue_delete, stage.queue))
        consumer.logged("subscribed again")
    stage.reaches(completed=1)
    stage.submit("greet")
    stage.relay()
    stage.reaches(completed=2)
    assert [line["event"] for line in consumer.log].count("broker not available") == 1
    assert consumer.terminate() == 0


def test_health_and_status_report_tasks_and_queues(stage: Stage) -> None:
    status = stage.command("status", "--json")
    assert status.ended() == 3
    assert status.stderr == f"consumers: queue '{stage.queue}' does not exist, or its reading is forbidden\n"
    assert json.loads(status.stdout)["queue"] == {"name": stage.queue, "ready": None, "consumers": None}
    consumer = stage.consume()
    assert get(consumer, "/healthz") == (200, '{"alive":true}')
    assert get(consumer, "/readyz") == (200, '{"database":true,"broker":true}')
    stage.submit("greet", 2)
    stage.relay()
    stage.reaches(completed=2)
    status = stage.command("status", "--json")
    assert status.ended() == 0
    found = json.loads(status.stdout)
    assert {name: found[name] for name in ("tasks", "queue", "dead_letter_queue")} == {
        "tasks": {"completed": 2},
        "queue": {"name": stage.queue, "ready": 0, "consumers": 1},
        "dead_letter_queue": {"name": f"{stage.queue}.dead", "ready": 0, "consumers": 0},
    }
    table = stage.command("status")
    assert table.ended() == 0
    assert "completed" in table.stdout


def test_an_error_at_start_is_one_line_with_its_remedy(stage: Stage) -> None:
    amqp, url = stage.isolated.amqp_url, stage.isolated.database_url
    password = amqp.split(":")[2].split("@")[0]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        wrong = {
            "Postgres is not reachable": (1, {"database_url": "postgresql://u:planted@127.0.0.1:1/d"}),
            "password authentication failed": (1, {"database_url": url.replace(password, "planted")}),
            "RabbitMQ at 127.0.0.1:1/ is not reachable": (1, {"amqp_url": "amqp://u:planted@127.0.0.1:1/%2F"}),
            "refused the user or password": (1, {"amqp_url": amqp.replace(password, "planted")}),
            "answered 404": (1, {"exchange": "nowhere"}),
            f"cannot serve HTTP at {address}": (1, {"http_address": address}),
            "importing no.such raised ModuleNotFoundError": (2, {"handlers": "no.such"}),
            "consumers.errors registers no handler": (2, {"handlers": "consumers.errors"}),
            "did you mean CONSUMERS_QUEUE?": (2, {"qeue": "x"}),
            "CONSUMERS_PREFETCH is wrong: it is less than CONSUMERS_CONCURRENCY": (2, {"prefetch": "2"}),
            "CONSUMERS_AMQP_URL is wrong: it does not begin with amqp:// or amqps://": (
                2,
                {"amqp_url": "http://planted"},
            ),
            "CONSUMERS_LEASE is wrong": (2, {"lease": "0"}),
        }
        started = {line: stage.command("run", **settings) for line, (_, settings) in wrong.items()}
        for line, (code, _) in wrong.items():
            assert (line, started[line].ended(seconds=120)) == (line, code)
            _is_one_clear_line(started[line].stderr, line)


def test_a_database_without_the_schema_and_a_run_without_handlers_are_refused(stage: Stage) -> None:
    stage.database.execute("DROP SCHEMA tasks CASCADE")
    command = stage.command("run")
    assert command.ended() == 1
    _is_one_clear_line(command.stderr, "or `relay setup` if it is the outbox's")
    del stage.settings["CONSUMERS_HANDLERS"]
    command = stage.command("run")
    assert command.ended() == 2
    _is_one_clear_line(command.stderr, "CONSUMERS_HANDLERS is not set")


def test_a_final_error_of_the_database_ends_a_running_consumer_with_one_line(stage: Stage) -> None:
    stage.submit("gated")
    consumer = stage.consume(lease="1")
    with stage.gate():
        stage.relay()
        stage.waiting_at_gate(1)
        stage.database.execute("ALTER TABLE tasks.task RENAME TO gone")
        assert consumer.ended() == 1
        stage.database.execute("ALTER TABLE tasks.gone RENAME TO task")
    line = consumer.stderr.splitlines()[-1]
    assert line.startswith("consumers: the database has no tables for tasks of this version")
    assert line.endswith(
        "or `relay setup` if it is the outbox's; the 1 claimed tasks run again when their leases expire"
    )


def _is_one_clear_line(text: str, line: str) -> None:
    assert text.startswith("consumers: ")
    assert line in text
    assert " - " in text
    assert text.count("\n") == 1
    assert "planted" not in text
