"""`relay replay` from the WAL, on real servers: when it is read, from which slot, and what comes of it."""

import json
import re
from typing import Any

import psycopg
import pytest

from relay.operating.setup.steps import setup
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.operating.replay.replay_stage import History, write
from tests.integration.relay.operating.slot_stage import position, slots
from tests.integration.relay.stage import call, environment, one, settings, streams
from tests.support.stage import Stage


class Window(History):
    """A past whose WAL is kept, by the slot that the relay keeps for replays."""

    def __init__(self, isolated: Isolated, **changes: object) -> None:
        assert list(setup(settings(isolated, **changes), accept_gap=False))
        streams(isolated)
        super().__init__(isolated)
        self.name = f"{isolated.name}_replay"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("UPDATE relay.checkpoint SET replay_slot = %s", [self.name])
            connection.execute("SELECT pg_copy_logical_replication_slot(%s, %s, false)", [isolated.name, self.name])

    def gone(self) -> None:
        """Drop the partitions with events, as retention does that is published and old; the relay's slot goes on."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("UPDATE relay.checkpoint SET snapshot = pg_current_snapshot()")
            self.drop_partitions()
            assert not connection.execute("SELECT FROM outbox.event").rowcount
            connection.execute(
                "SELECT pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", [self.isolated.name]
            )

    def place(self) -> str:
        """Return where the slot for replays stands."""
        query = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
        return str(one(self.url, query, self.name))


def messages(past: Window) -> list[tuple[str, bytes, dict[str, Any]]]:
    """Return id, body and headers of the messages that are in the queue."""
    found = []
    with past.tap.channel() as channel:
        while (got := channel.basic_get(past.tap.queue, auto_ack=True))[0] is not None:
            _, properties, body = got
            assert properties is not None
            found.append((str(properties.message_id), bytes(body or b""), dict(properties.headers or {})))
    return found


@pytest.fixture
def window(isolated: Isolated) -> Window:
    """Return the past of a relay that has streamed, and whose WAL is kept."""
    return Window(isolated)


@pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
def test_a_range_whose_rows_are_gone_is_published_from_the_wal_with_the_same_messages(
    isolated: Isolated, plugin: str
) -> None:
    past = Window(isolated, plugin=plugin)
    past.publish("before")
    first = past.note()
    wanted = past.publish("a", "b")
    with past.transaction() as late:
        after = write(late, "committed later")
        wanted += past.publish("c")
        last = past.note()
    past.publish("behind")
    table = past.replay("--from-lsn", first, "--to-lsn", last)
    assert table.code == 0, table.output
    published = [each for each in messages(past) if each[0] not in after]
    past.gone()
    before = past.place()

    said = past.replay("--from-lsn", first, "--to-lsn", last)

    assert said.code == 0, said.output
    assert f"{first}, in the WAL that slot {past.name} keeps" in said.output
    came = messages(past)
    assert [each[0] for each in came] == wanted
    assert [(*each[:2], each[2] | {"x-replay": None}) for each in came] == [
        (*each[:2], each[2] | {"x-replay": None}) for each in published
    ]
    assert [each[2]["x-replay"] for each in came] == ["2"] * 3
    assert past.place() == before
    until(lambda: slots(isolated) == 2, what="its temporary slots are gone", seconds=60)
    job = past.jobs()[0]
    assert (job["source"], job["slot"], job["state"], job["events"], job["confirmed"]) == (
        "wal",
        past.name,
        "finished",
        3,
        3,
    )
    assert job["done_lsn"] == job["until_lsn"]


def test_times_are_rounded_outward_to_noted_positions(window: Window) -> None:
    window.publish("before")
    window.note()
    begin = window.time()
    wanted = window.publish("a")
    end = window.time()
    until(
        lambda: one(window.url, "SELECT clock_timestamp() > %s::timestamptz + interval '1 second'", end),
        what="a second has passed", seconds=5,
    )  # fmt: skip
    window.note()
    window.publish("behind")
    window.gone()
    said = window.replay("--from-time", begin, "--to-time", end)
    assert said.code == 0, said.output
    assert window.ids() == wanted


def test_events_are_found_in_the_wal_and_published_to_the_event(window: Window) -> None:
    window.publish("before")
    ids = window.publish("a", "b", "c")
    more = window.publish("d", "e", "f")
    window.publish("behind")
    window.gone()
    said = window.replay("--from-event", ids[1], "--to-event", more[1])
    assert said.code == 0, said.output
    assert window.ids() == [*ids[1:], *more[:2]]
    missing = "00000000-0000-0000-0000-000000000000"
    said = window.replay("--from-event", missing)
    assert said.code == 1
    assert f"event {missing} is not in the WAL that slot '{window.name}' keeps" in said.output
    assert window.tap.waiting() == 0


def test_what_is_selected_is_counted_and_published_and_a_range_without_it_is_no_error(window: Window) -> None:
    first = window.note()
    ids = window.publish("a", "b", "a")
    window.gone()
    said = window.replay("--from-lsn", first, "--aggregate", "order:a", "--dry-run")
    assert said.code == 0, said.output
    assert "2 events" in said.output
    assert window.jobs() == []
    said = window.replay("--from-lsn", first, "--aggregate", "order:a")
    assert said.code == 0, said.output
    assert window.ids() == [ids[0], ids[2]]
    said = window.replay("--from-lsn", first, "--type", "shipped")
    assert said.code == 0, said.output
    assert "nothing to replay" in said.output


def test_a_position_that_neither_has_names_the_oldest_of_both_and_these_work(window: Window) -> None:
    first = window.note()
    window.publish("a")
    window.gone()
    with psycopg.connect(window.url, autocommit=True) as connection:
        connection.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", [window.name])
    window.note()
    wanted = window.publish("b")
    said = window.replay("--from-lsn", first)
    assert said.code == 1
    assert "are not in the table any more" in said.output
    assert f"slot '{window.name}' keeps no WAL of {first}" in said.output
    lsn = re.search(r"the oldest that the WAL has is --from-lsn ([0-9A-F/]+)", said.output)
    times = re.findall(r"--from-time '([^']+)'", said.output)
    assert lsn is not None
    assert lsn[1] == window.place()
    assert window.replay("--from-lsn", lsn[1]).code == 0
    assert window.ids() == wanted
    for time in times:
        assert window.replay("--from-time", time, "--dry-run").code == 0
    assert times


def test_without_a_window_the_error_says_how_to_have_one(window: Window) -> None:
    first = window.note()
    window.publish("a")
    window.gone()
    with psycopg.connect(window.url, autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [window.name])
    said = window.replay("--from-lsn", first)
    assert said.code == 1
    assert "no WAL is kept for replays - " in said.output
    assert "set RELAY_REPLAY_WINDOW" in said.output


def test_from_a_slot_it_begins_where_that_stands_and_the_slot_stays_there(window: Window) -> None:
    wanted = window.publish("a", "b")
    before = position(window.isolated)
    said = window.replay("--from-slot", window.isolated.name)
    assert said.code == 0, said.output
    assert window.ids() == wanted
    assert position(window.isolated) == before
    with psycopg.connect(window.url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [f"{window.name}_2"])
        connection.execute("SELECT pg_create_physical_replication_slot(%s)", [f"{window.name}_3"])
    later = window.publish("c")
    assert window.replay("--from-slot", f"{window.name}_2").code == 0
    assert window.ids() == later
    said = window.replay("--from-slot", f"{window.name}_3")
    with psycopg.connect(window.url, autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [f"{window.name}_3"])
    assert said.code == 1
    assert "it is a physical slot" in said.output
    said = window.replay("--from-slot", "missing")
    assert said.code == 1
    assert "replication slot 'missing' does not exist" in said.output


def test_an_outbox_of_messages_is_replayed_from_the_wal(isolated: Isolated) -> None:
    past = Window(isolated, message_prefix="shop", source="wal", plugin="wal2json")
    ids = [f"00000000-0000-0000-0000-{number:012}" for number in range(3)]
    with psycopg.connect(past.url) as connection:
        for each in ids:
            event = {
                "id": each, "aggregate_type": "order", "aggregate_id": "a", "aggregate_version": 1,
                "event_type": "paid", "payload": {}, "created_at": "2026-01-01T00:00:00Z",
            }  # fmt: skip
            connection.execute("SELECT pg_logical_emit_message(true, 'shop', %s)", [json.dumps(event)])
    said = past.replay("--from-lsn", past.place(), RELAY_MESSAGE_PREFIX="shop", RELAY_SOURCE="wal")
    assert said.code == 0, said.output
    assert past.ids() == ids


def test_a_job_that_was_killed_goes_on_behind_what_it_stored(window: Window, stage: Stage) -> None:
    first = window.note()
    wanted = [each for _ in range(40) for each in window.publish(*"abcde")]
    window.gone()
    replay = stage.start("relay", "replay", "--from-lsn", first, "--rate", "20", "--yes")
    stored = "SELECT count(*) FROM relay.replay WHERE done_lsn > after_lsn"
    until(lambda: stage.value(stored), what="progress is stored", seconds=60)
    replay.kill()
    job = window.interrupted()
    came = window.ids()
    window.hurry()
    said = call(environment(window.isolated), "replay", "resume", str(job["job"]))
    assert said.code == 0, said.output
    again = window.ids()
    assert again[-1] == wanted[-1]
    assert list(dict.fromkeys(came + again)) == wanted  # what was in flight may come behind what was counted
    assert len(came) + len(again) - len(wanted) <= 100
    assert window.jobs()[0]["state"] == "finished"


def test_a_job_of_another_timeline_is_refused(window: Window) -> None:
    first = window.note()
    window.publish("a")
    window.gone()
    assert window.replay("--from-lsn", first).code == 0
    with psycopg.connect(window.url) as connection:
        connection.execute("UPDATE relay.replay SET state = 'interrupted', timeline = 7, done_lsn = NULL")
    said = call(environment(window.isolated), "replay", "resume", "1")
    assert said.code == 1
    assert "the range is of timeline 7, and the server is on timeline" in said.output


def test_the_live_stream_goes_on_beside_a_replay_from_the_window_that_the_relay_keeps(
    ready: Isolated, stage: Stage
) -> None:
    past = History(ready)
    relay = stage.start("relay", "run", RELAY_REPLAY_WINDOW=str(1 << 30))
    until(lambda: "replay window made" in relay.stderr, what="the window is made", seconds=60)
    noted = past.note()
    old = [each for _ in range(50) for each in past.publish(*"ab")]
    until(lambda: past.tap.waiting() == len(old), what="the old events are published", seconds=60)
    stored = "SELECT count(*) FROM outbox.event, relay.checkpoint WHERE NOT pg_visible_in_snapshot(tx, snapshot)"
    until(lambda: not stage.value(stored), what="that is stored", seconds=60)
    relay.streams()
    streamed = relay.sources.count("wal")
    past.drop_partitions()
    # What is published before the relay has noticed that is read again from the stored position, and comes twice.
    until(
        lambda: relay.sources.count("wal") > streamed, what="the stream is opened with the partitions of now",
        seconds=60,
    )  # fmt: skip
    assert past.ids() == old

    replay = stage.start("relay", "replay", "--from-lsn", noted, "--rate", "20", "--yes")
    until(past.tap.waiting, what="the replay has begun", seconds=60)
    live = [each for _ in range(20) for each in past.publish("c")]
    assert replay.ended(seconds=60) == 0, replay.tail()
    until(lambda: past.tap.waiting() == len(old) + len(live), what="the live events are published", seconds=60)
    came = past.ids()
    assert [each for each in came if each in set(old)] == old
    assert [each for each in came if each in set(live)] == live
    assert came.index(live[0]) < came.index(old[-1])
    assert past.jobs()[0]["source"] == "wal"
    assert relay.terminate() == 0, relay.tail()
