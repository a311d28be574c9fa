"""`relay replay` from the table, on real servers: which events it publishes, in which order and form."""

import json

import psycopg
import pytest

from sandbox.machine.waiting import until
from tests.integration.relay.operating.replay.replay_stage import History, lines, write
from tests.integration.relay.stage import call, environment, one
from tests.support.stage import Stage


def test_every_kind_of_begin_and_end_names_a_range_that_is_published_in_order(history: History) -> None:
    history.publish("before")
    first = history.note()
    begin = history.time()
    wanted = history.publish("a", "b") + history.publish("c")
    end = history.time()
    last = history.note()
    after = history.publish("after")
    history.note()
    starts = [["--from-lsn", first], ["--from-time", begin], ["--from-event", wanted[0]]]
    ends = [["--to-lsn", last], ["--to-time", end], ["--to-event", wanted[-1]]]
    for start in starts:
        for stop in ends:
            said = history.replay(*start, *stop)
            assert said.code == 0, said.output
            assert history.ids() == wanted, (start, stop)
        assert history.replay(*start).code == 0
        assert history.ids() == wanted + after, start


def test_a_range_is_rounded_outward_to_stored_positions_and_printed_first(history: History) -> None:
    history.note()
    early = history.publish("early")
    moment = history.time()
    wanted = history.publish("wanted")
    history.note()
    dry = call(environment(history.isolated), "replay", "--from-time", moment, "--to-time", moment, "--dry-run")
    assert dry.code == 0
    assert "2 events" in dry.output
    assert history.jobs() == []
    assert history.replay("--from-time", moment, "--to-time", moment).code == 0
    assert history.ids() == early + wanted


def test_a_transaction_that_commits_late_is_in_the_range_of_its_commit_and_one_that_is_rolled_back_in_none(
    history: History,
) -> None:
    first = history.note()
    with history.transaction() as late, history.transaction() as undone:
        slow = write(late, "late")
        write(undone, "undone")
        quick = history.publish("quick")
        middle = history.note()
        undone.rollback()
    history.note()
    assert history.replay("--from-lsn", middle).code == 0
    assert history.ids() == slow
    assert history.replay("--from-lsn", first).code == 0
    assert history.ids() == slow + quick  # in the order in which they were written


def test_what_commits_while_a_job_waits_to_be_resumed_is_not_in_its_range(history: History) -> None:
    first = history.note()
    wanted = history.publish("a")
    with history.transaction() as late:
        write(late, "late")
        dead = {"RELAY_CONFIRM_TIMEOUT": "30", "RELAY_ON_RETURN": "halt"}
        history.tap.unbind()
        assert history.replay("--from-lsn", first, **dead).code == 1
        history.tap.bind()
    (job,) = history.jobs()
    assert (job["state"], job["events"], job["confirmed"]) == ("failed", 1, 0)
    assert call(environment(history.isolated), "replay", "resume", str(job["job"])).code == 0
    assert history.ids() == wanted


@pytest.mark.parametrize("batch", ["2", "1000"])
def test_a_selection_takes_aggregates_and_types_and_nothing_else(history: History, batch: str) -> None:
    first = history.note()
    with psycopg.connect(history.url) as connection:
        ids = [
            str(connection.execute("SELECT outbox.publish(%s, %s, 1, %s, '{}')", row).fetchone()[0])  # type: ignore[index]
            for row in [
                ("order", "1", "paid"), ("order", "2", "paid"), ("order", "1", "part_paid"),
                ("order", "1", "part%paid"), ("Order", "1", "paid"), ("order", "1", "partxpaid"),
                ("order:1", "x", "paid"),
            ]
        ]  # fmt: skip

    def replayed(*arguments: str) -> list[int]:
        assert history.replay("--from-lsn", first, *arguments, RELAY_POLL_BATCH=batch).code == 0
        return [ids.index(each) for each in history.ids()]

    assert replayed("--aggregate", "order") == [0, 1, 2, 3, 5]
    assert replayed("--aggregate", "order:1") == [0, 2, 3, 5]
    assert replayed("--aggregate", "order:2") == [1]
    assert replayed("--type", "pa*") == [0, 1, 2, 3, 4, 5, 6]
    assert replayed("--type", "part_*") == [2]
    assert replayed("--type", "part?paid", "--aggregate", "order:1") == [2, 3, 5]
    assert replayed("--type", "part%paid") == [3]


def test_a_message_is_as_it_was_with_the_job_in_a_header(history: History, stage: Stage) -> None:
    relay = stage.start("relay", "run")
    first = history.note()
    with psycopg.connect(history.url) as connection:
        headers = json.dumps({"traceparent": "x", "many": [1, 2.5, {"deep": None}]})
        connection.execute("SELECT outbox.publish('order', '1', 1, 'paid', '{\"a\": 1}', headers => %s)", [headers])
    until(lambda: history.tap.waiting() == 1, what="the live message", seconds=60)
    assert relay.terminate() == 0
    live = history.get()
    assert history.replay("--from-lsn", first).code == 0
    again = history.get()
    (job,) = history.jobs()
    assert again.headers.pop("x-replay") == str(job["job"])
    assert again == live


def test_an_exchange_or_a_queue_takes_the_place_of_what_rows_say(history: History) -> None:
    other, queue = f"{history.isolated.name}.other", history.isolated.queue("direct")
    first = history.note()
    with history.tap.channel() as channel, psycopg.connect(history.url) as connection:
        channel.exchange_declare(other, "topic")
        channel.queue_declare(queue)
        channel.queue_bind(queue, other, "order.paid")
        connection.execute("SELECT outbox.publish('order', '1', 1, 'paid', '{}', exchange => 'gone')")
        connection.commit()
        try:
            assert history.replay("--from-lsn", first, "--exchange", other).code == 0
            got = history.get(queue)
            assert (got.exchange, got.routing_key) == (other, "order.paid")
            assert history.replay("--from-lsn", first, "--queue", queue).code == 0
            got = history.get(queue)
            assert (got.exchange, got.routing_key, got.headers["x-routing-key"]) == ("", queue, "order.paid")
        finally:
            channel.queue_delete(queue)
            channel.exchange_delete(other)


def test_a_queue_or_exchange_that_does_not_exist_is_refused_before_anything_is_published(history: History) -> None:
    first = history.note()
    history.publish("a")
    for option in ("--queue", "--exchange"):
        said = history.replay("--from-lsn", first, option, "nowhere")
        assert said.code == 1
        assert "'nowhere' does not exist" in said.output
    assert history.jobs() == []


def test_an_empty_range_says_so_and_is_no_failure(history: History) -> None:
    history.publish("before")
    first = history.note()
    said = history.replay("--from-lsn", first)
    assert (said.code, "nothing to replay" in said.output) == (0, True)
    assert history.jobs() == []


def test_events_that_no_queue_takes_are_parked_once_and_wait_again_after_a_redrive(history: History) -> None:
    first = history.note()
    (event,) = history.publish("a")
    history.tap.unbind()
    for _ in range(2):
        assert history.replay("--from-lsn", first).code == 3
        variables = environment(history.isolated)
        (parked,) = call(variables, "parked", "list", "--json").json
        assert parked["id"] == event
        with psycopg.connect(history.url) as connection:
            connection.execute("UPDATE relay.parked SET redriven_at = now()")
    assert one(history.url, "SELECT count(*) FROM relay.parked") == 1
    assert [job["parked"] for job in history.jobs()] == [1, 1]


def test_an_event_has_its_place_among_all_of_its_transaction_also_in_a_selection(history: History) -> None:
    first = history.note()
    history.publish("a", "b", "c")
    history.tap.unbind()
    for _ in range(2):
        assert history.replay("--from-lsn", first, "--aggregate", "order:c").code == 3
        assert history.replay("--from-lsn", first).code == 3
    assert one(history.url, "SELECT array_agg(aggregate_id || place ORDER BY place) FROM relay.parked") == [
        "a1", "b2", "c3",
    ]  # fmt: skip


def test_the_lines_of_json_say_the_range_and_how_it_ended(history: History) -> None:
    first = history.note()
    history.publish("a", "b")
    said = lines(history.replay("--from-lsn", first, "--json").output)
    assert (said[0]["what"], said[0]["source"], said[0]["events"]) == ("range", "table", 2)
    assert (said[-1]["what"], said[-1]["done"], said[-1]["events"]) == ("finished", 2, 2)


def test_what_a_replay_publishes_is_recorded_as_confirmed(history: History) -> None:
    first = history.note()
    ids = history.publish("a", "b")
    assert history.replay("--from-lsn", first).code == 0
    recorded = (
        "SELECT array_agg(id::text ORDER BY number, place)"
        " FROM relay.confirmed, unnest(ids) WITH ORDINALITY AS of (id, place)"
    )
    assert one(history.url, recorded) == ids


def test_what_a_replay_sends_to_another_place_is_no_evidence_that_it_was_delivered(history: History) -> None:
    first = history.note()
    history.publish("a", "b")
    assert history.replay("--from-lsn", first, "--queue", history.tap.queue).code == 0
    assert len(history.ids()) == 2
    assert one(history.url, "SELECT count(*) FROM relay.confirmed") == 0
